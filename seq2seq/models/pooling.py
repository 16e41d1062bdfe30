"""Pooling: all states of a source into the one fixed vector."""

import torch
from torch import Tensor, nn

from seq2seq.configurable import Part
from seq2seq.models.cells import CellState


class Pooling(Part):
    """How the states of a source become its fixed vector; `module` builds the network part."""

    def module(self, size: int) -> "Pool":
        """size: the hidden size of the encoder."""
        raise TypeError(f"{type(self).__name__} does not say how to build its module")


class Last(Pooling):
    """The state after the last token (Sutskever et al. 2014)."""

    def module(self, size: int) -> "Pool":
        return Pool()


class Mean(Pooling):
    """The mean of the states."""

    def module(self, size: int) -> "Pool":
        return MeanPool()


class Max(Pooling):
    """The largest value of each unit (Conneau et al. 2017, sec. 3.2.2)."""

    def module(self, size: int) -> "Pool":
        return MaxPool()


class Attentive(Pooling):
    """A learned weighted mean: softmax(v . tanh(W h + b)) (Yang et al. 2016, eq. 5 to 7)."""

    def module(self, size: int) -> "Pool":
        return AttentivePool(size)


class Pool(nn.Module):
    """The last state, and the frame of the others: these give one vector that stands for the state of every layer."""

    def forward(self, states: Tensor, padding: Tensor, final: CellState) -> tuple[Tensor, CellState]:
        """states (B, S, H), padding (B, S), final (L, B, H) tensors to the vector (B, H) and the state to hand on."""
        return final[0][-1], final


class MeanPool(Pool):
    """The mean over a row's own tokens."""

    def forward(self, states: Tensor, padding: Tensor, final: CellState) -> tuple[Tensor, CellState]:
        real = (~padding).unsqueeze(-1).to(states.dtype)
        return everywhere((states * real).sum(1) / real.sum(1), final)


class MaxPool(Pool):
    """The maximum over a row's own tokens."""

    def forward(self, states: Tensor, padding: Tensor, final: CellState) -> tuple[Tensor, CellState]:
        return everywhere(states.masked_fill(padding.unsqueeze(-1), -torch.inf).amax(1), final)


class AttentivePool(Pool):
    """Weights from the states themselves."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.map = nn.Linear(size, size)
        self.vector = nn.Linear(size, 1, bias=False)

    def forward(self, states: Tensor, padding: Tensor, final: CellState) -> tuple[Tensor, CellState]:
        scores = self.vector(self.map(states).tanh()).squeeze(-1)  # (B, S)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        weights = scores.masked_fill(padding, -torch.inf).softmax(-1).to(states.dtype)
        return everywhere((weights.unsqueeze(1) @ states).squeeze(1), final)


def everywhere(vector: Tensor, final: CellState) -> tuple[Tensor, CellState]:
    """The vector, and a state that holds nothing else."""
    return vector, tuple(vector.to(tensor.dtype).expand_as(tensor) for tensor in final)
