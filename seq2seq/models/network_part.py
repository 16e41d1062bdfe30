"""NetworkPart: a part of the network that a configuration selects, settings and module in one class."""

import copy
from abc import ABC
from typing import TypeVar

from torch import nn

from seq2seq.configurable import Part

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

    def __repr__(self) -> str:
        return nn.Module.__repr__(self) if self.is_built else super().__repr__()
