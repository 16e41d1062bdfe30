"""What Python asks about CUDA, answered for the pretended device: torch.cuda, modules, optimisers."""

import sys
from functools import wraps
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils import _foreach_utils

from tests.cuda import cudnn
from tests.cuda.counts import now
from tests.cuda.device import Cuda

MEMORY = 1 << 34
"""Bytes that the device claims to have."""

PROPERTIES = SimpleNamespace(
    name="pretended CUDA", total_memory=MEMORY, major=9, minor=0, multi_processor_count=1, uuid="pretended"
)


class Event:
    """A mark in the stream. Waiting for one is a wait of the host unless the device has got more to do since then."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.launched = -1

    def record(self, stream: Any = None) -> None:
        """Mark the present."""
        self.launched = sum(now().launches.values())

    def query(self) -> bool:
        """Whether the device has got there."""
        return True

    def synchronize(self) -> None:
        """Wait for that."""
        if sum(now().launches.values()) <= self.launched:
            now().wait("event")

    def elapsed_time(self, other: "Event") -> float:
        """Milliseconds."""
        return 0.0


def synchronise(device: Any = None) -> None:
    """torch.cuda.synchronize."""
    now().wait("synchronize")


ANSWERS: dict[str, Any] = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "is_bf16_supported": lambda including_emulation=True: True,
    "_lazy_init": lambda: None,
    "_lazy_call": lambda call, **named: None,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda device: None,
    "empty_cache": lambda: None,
    "synchronize": synchronise,
    "get_device_name": lambda device=None: PROPERTIES.name,
    "get_device_capability": lambda device=None: (PROPERTIES.major, PROPERTIES.minor),
    "get_device_properties": lambda device=None: PROPERTIES,
    "mem_get_info": lambda device=None: (MEMORY, MEMORY),
    "memory_reserved": lambda device=None: 0,
    "memory_allocated": lambda device=None: 0,
    "max_memory_allocated": lambda device=None: 0,
    "max_memory_reserved": lambda device=None: 0,
    "reset_peak_memory_stats": lambda device=None: None,
    "memory_stats": lambda device=None: {},
    "get_rng_state_all": lambda: [],
    "set_rng_state_all": lambda states: None,
    "Event": Event,
}


def install() -> None:
    """Make this process, which has loaded the library before torch, believe in the device; there is no way back."""
    for name, answer in ANSWERS.items():
        setattr(torch.cuda, name, answer)
    torch.backends.cudnn.is_acceptable = lambda tensor: False  # weights are not laid out anew
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    keep_shared_parameters()
    for module in (_foreach_utils, sys.modules["torch.optim.optimizer"]):
        getattr(module, "_foreach_supported_types", []).append(Cuda)
    cudnn.install()


def keep_shared_parameters() -> None:
    """A module that moves gets new parameters, as the device's are of another class: what was shared stays so."""
    apply, busy = torch.nn.Module._apply, False

    @wraps(apply)
    def moved(self: torch.nn.Module, fn: Any, recurse: bool = True) -> torch.nn.Module:
        nonlocal busy
        if busy:
            return apply(self, fn, recurse)
        owners = [(module, name) for module in self.modules() for name in module._parameters]
        before = [module._parameters[name] for module, name in owners]
        busy = True
        try:
            apply(self, fn, recurse)
        finally:
            busy = False
        first: dict[int, torch.nn.Parameter | None] = {}
        for (module, name), old in zip(owners, before, strict=True):
            module._parameters[name] = first.setdefault(id(old), module._parameters[name])
        return self

    torch.nn.Module._apply = moved  # type: ignore[method-assign]
