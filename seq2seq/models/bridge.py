"""Bridge: the encoder's final state to the decoder's first state."""

from typing import NamedTuple

import torch
from torch import nn

from seq2seq.configurable import Part
from seq2seq.errors import InputError
from seq2seq.models.cells import CellState


class StateShape(NamedTuple):
    """The size of a state."""

    layers: int
    """L"""
    size: int
    """H, both directions together."""

    def __str__(self) -> str:
        return f"{self.layers} x {self.size}"


class Bridge(Part):
    """How the fixed vector enters the decoder; `module` builds the network part."""

    informs = True
    """Whether the decoder's first state depends on the source."""

    def module(self, states: int, source: StateShape, target: StateShape) -> nn.Module:
        """states: tensors in a state; source, target: what encoder and decoder hold in each."""
        raise TypeError(f"{type(self).__name__} does not say how to build its module")


class Copy(Bridge):
    """The final state as it is (Sutskever et al. 2014)."""

    def module(self, states: int, source: StateShape, target: StateShape) -> nn.Module:
        if source != target:
            raise InputError(
                f"model.bridge Copy needs equal states, but the encoder has {source} (layers x units) and the decoder "
                f"{target}; choose Linear, Zeros or Learned, or make them equal"
            )
        return CopyState()


class Linear(Bridge):
    """tanh(W h + b) for each layer and tensor of the state (Bahdanau et al. 2015, app. A.2.2)."""

    def module(self, states: int, source: StateShape, target: StateShape) -> nn.Module:
        return LinearState(states, source, target)


class Zeros(Bridge):
    """A state of zeros: the decoder then knows the source through attention or the context at every step only."""

    informs = False

    def module(self, states: int, source: StateShape, target: StateShape) -> nn.Module:
        return ZeroState(target)


class Learned(Bridge):
    """A state that is a parameter, the same for every source; otherwise as Zeros."""

    informs = False

    def module(self, states: int, source: StateShape, target: StateShape) -> nn.Module:
        return LearnedState(states, target)


class CopyState(nn.Module):
    """State in, the same state out."""

    def forward(self, state: CellState) -> CellState:
        """Tensors (L, B, H) to tensors (L, B, H)."""
        return state


class LinearState(nn.Module):
    """One affine map and tanh for each tensor of each layer.

    A layer of the decoder reads the encoder's layer at the same distance from the top, or the lowest one.
    """

    def __init__(self, states: int, source: StateShape, target: StateShape) -> None:
        super().__init__()
        self.read = [max(0, layer + source.layers - target.layers) for layer in range(target.layers)]
        self.maps = nn.ModuleList(
            nn.ModuleList(nn.Linear(source.size, target.size) for _ in range(target.layers)) for _ in range(states)
        )

    def forward(self, state: CellState) -> CellState:
        """Tensors (L, B, H) of the encoder to tensors (L', B, H') of the decoder."""
        return tuple(
            torch.stack([one(tensor[layer]) for one, layer in zip(maps, self.read, strict=True)]).tanh()  # type: ignore[call-overload]
            for maps, tensor in zip(self.maps, state, strict=True)
        )


class ZeroState(nn.Module):
    """State in, zeros out."""

    def __init__(self, target: StateShape) -> None:
        super().__init__()
        self.shape = target

    def forward(self, state: CellState) -> CellState:
        """Tensors (L, B, H) of the encoder to tensors (L', B, H') of the decoder."""
        layers, size = self.shape
        return tuple(tensor.new_zeros(layers, tensor.shape[1], size) for tensor in state)


class LearnedState(nn.Module):
    """State in, parameters out."""

    def __init__(self, states: int, target: StateShape) -> None:
        super().__init__()
        self.first = nn.ParameterList(torch.zeros(target.layers, 1, target.size) for _ in range(states))

    def forward(self, state: CellState) -> CellState:
        """Tensors (L, B, H) of the encoder to tensors (L', B, H') of the decoder."""
        return tuple(
            first.to(tensor.dtype).expand(-1, tensor.shape[1], -1)
            for first, tensor in zip(self.first, state, strict=True)
        )
