"""Bridge: the encoder's final state to the decoder's first state."""

from torch import Tensor, nn

from seq2seq.models.cells import CellState
from seq2seq.parts import Part


class Bridge(Part):
    """How the fixed vector enters the decoder; `module` builds the network part."""

    def module(self, states: int, size: int) -> nn.Module:
        """states: tensors in a state; size: the hidden size of encoder and decoder."""
        raise TypeError(f"{type(self).__name__} does not say how to build its module")


class Copy(Bridge):
    """The final state as it is (Sutskever et al. 2014)."""

    def module(self, states: int, size: int) -> nn.Module:
        return CopyState()


class Linear(Bridge):
    """tanh(W h + b) for each tensor of the state (Bahdanau et al. 2015, app. A.2.2)."""

    def module(self, states: int, size: int) -> nn.Module:
        return LinearState(states, size)


class Zeros(Bridge):
    """A state of zeros: the decoder then knows the source through attention or the context at every step only."""

    def module(self, states: int, size: int) -> nn.Module:
        return ZeroState()


class CopyState(nn.Module):
    """State in, the same state out."""

    def forward(self, state: CellState) -> CellState:
        """Tensors (L, B, H) to tensors (L, B, H)."""
        return state


class LinearState(nn.Module):
    """One affine map and tanh for each state tensor, shared by the layers."""

    def __init__(self, states: int, size: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(size, size) for _ in range(states))

    def forward(self, state: CellState) -> CellState:
        """Tensors (L, B, H) to tensors (L, B, H)."""
        return tuple(self._map(index, tensor) for index, tensor in enumerate(state))

    def _map(self, index: int, tensor: Tensor) -> Tensor:
        mapped: Tensor = self.maps[index](tensor)
        return mapped.tanh()


class ZeroState(nn.Module):
    """State in, zeros of its shape out."""

    def forward(self, state: CellState) -> CellState:
        """Tensors (L, B, H) to tensors (L, B, H)."""
        return tuple(tensor.new_zeros(tensor.shape) for tensor in state)
