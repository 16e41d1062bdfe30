"""The device that a command computes on: which one, why not, and how it rounds."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from seq2seq.errors import InputError

log = logging.getLogger(__name__)

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""With :16:8 recurrent layers (torch.nn.LSTM) and products of a GPU repeat their numbers."""

LEAST = 1 << 29
"""Free bytes below which a GPU is full: CUDA itself needs most of them."""

OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
"""Words of CUDA, of cuBLAS and cuDNN, and of the processor."""


def find(name: str, setting: str, remedy: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:1` means here; setting, remedy: words of a refusal."""
    os.environ.setdefault(WORKSPACE, ":16:8")
    if name == "auto":
        if reason := unused_gpu():
            log.warning("the GPU of this machine is not used: %s", reason)
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"{setting}: {no_cuda()}; or set {remedy}")
    try:
        device = torch.device(name)
        if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
            raise InputError(f"{setting}: there is no GPU {device.index}, this process sees {count}{slice_hint()}")
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        if out_of_memory(problem):
            raise InputError(f"{setting}: GPU {name} is full; {elsewhere(remedy)}") from problem
        raise InputError(f"{setting} cannot be used here: {str(problem).splitlines()[0]}; set {remedy}") from problem
    if device.type == "cuda":
        look_for_room(device, setting, remedy)
    return device


def look_for_room(device: torch.device, setting: str, remedy: str) -> None:
    """Refuse a GPU that others have filled; say so where they have taken half of it."""
    free, total = torch.cuda.mem_get_info(device)
    text = f"{setting}: {free / 2**30:.1f} of {total / 2**30:.1f} GiB of {torch.cuda.get_device_name(device)} are free"
    if free < LEAST:
        raise InputError(f"{text}, it is full; {elsewhere(remedy)}")
    if free < total / 2:
        log.warning("%s: another process computes there; nvidia-smi shows it", text)


def elsewhere(remedy: str) -> str:
    """What to do about a full GPU."""
    return f"nvidia-smi shows the processes that hold it; choose another GPU with CUDA_VISIBLE_DEVICES, or set {remedy}"


def unused_gpu() -> str:
    """Why torch does not use a GPU that this machine has; empty where it does, or where the user has hidden it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return "" if torch.cuda.is_available() or hidden or not has_nvidia() else no_cuda()


def has_nvidia() -> bool:
    """Whether this machine has an NVIDIA GPU, whatever torch knows of it."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def no_cuda() -> str:
    """Why there is no CUDA, and what to do."""
    build = torch.__version__
    if torch.version.cuda is None and torch.version.hip is None:
        if not has_nvidia():
            return f"there is no GPU here (and torch {build} is built without CUDA)"
        version = build.partition("+")[0]
        return (
            f"torch {build} is built without CUDA; pip install --force-reinstall torch=={version} "
            "--index-url https://download.pytorch.org/whl/cu126"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES is {visible!r}, which hides every GPU; unset it"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).strip().partition("\n")[0].partition(". ")[0]
        if "too old" in reason:
            return f"{reason}, for CUDA {torch.version.cuda} of torch {build}; update it, or install an older torch"
        return f"there is no GPU that torch {build} can use ({reason})"
    return f"there is no GPU that torch {build} can use"


def slice_hint() -> str:
    """Beside a number of GPUs: of MIG slices a process sees one."""
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    sliced = "MIG" in os.environ.get("CUDA_VISIBLE_DEVICES", "") or any(" MIG " in name for name in names)
    return "; of MIG slices a process sees only one, name it in CUDA_VISIBLE_DEVICES" if sliced else ""


def out_of_memory(problem: BaseException) -> bool:
    """Whether a device, or the processor, had too little memory."""
    return isinstance(problem, torch.OutOfMemoryError) or any(words in str(problem) for words in OUT_OF_MEMORY)


@contextlib.contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Inside, a GPU rounds the factors of 32-bit products to 10 bits, in recurrent layers and elsewhere, or nowhere."""
    products, layers = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, layers.allow_tf32
    products.allow_tf32 = layers.allow_tf32 = on
    try:
        yield
    finally:
        products.allow_tf32, layers.allow_tf32 = before
