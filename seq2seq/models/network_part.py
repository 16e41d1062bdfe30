"""NetworkPart: a part of the network that a configuration selects, settings and module in one class."""

import copy
from abc import ABC
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from seq2seq.configurable import Part
from seq2seq.errors import InputError

N = TypeVar("N", bound="NetworkPart")


class NetworkPart(Part, nn.Module, ABC):
    """Settings, and the module that is built from them.

    The constructor only keeps settings. `build` of each kind takes the sizes and returns a copy on which `create` has
    made the parameters, so that one object may be the default of many tasks and build any number of modules.
    """

    is_built: bool = False

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def copied(self: N) -> N:
        """The copy that `build` gives parameters to."""
        module = copy.deepcopy(self)
        module.is_built = True
        return module

    def refuse_broken(self, contract: str, kept: Callable[[], object]) -> None:
        """Raise InputError where a class of others breaks a contract of shapes, tried once on a few zeros.

        kept: what was found to differ, nothing if all is as it should be.
        """
        if type(self).__module__.startswith("seq2seq."):  # ours have tests
            return
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                found = kept()
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as problem:
            found = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
        if found:
            raise InputError(f"{type(self).__qualname__} breaks its contract ({contract}): {found}; docs/extending.md")

    def __repr__(self) -> str:
        return nn.Module.__repr__(self) if self.is_built else super().__repr__()
