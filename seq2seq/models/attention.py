"""Attention: a query and a memory to a context vector and weights (Luong et al. 2015; Bahdanau et al. 2015)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seq2seq.parts import Part


class Memory(NamedTuple):
    """What attention looks at; keys are computed once for each source."""

    keys: Tensor
    """(B, S, A)"""
    values: Tensor
    """(B, S, H)"""
    padding: Tensor
    """(B, S), true where there is no source token"""

    def select(self, rows: Tensor) -> "Memory":
        """The memory of the given sources (B',)."""
        return Memory(*(tensor.index_select(0, rows) for tensor in self))


class Attention(Part):
    """How well a decoder state fits a source state; `module` builds the network part."""

    def module(self, size: int) -> "Scorer":
        """size: the hidden size of encoder and decoder, H."""
        raise TypeError(f"{type(self).__name__} does not say how to build its module")


class Dot(Attention):
    """score = q . k (Luong et al. 2015, eq. 8)."""

    def module(self, size: int) -> "Scorer":
        return Scorer(size)


class General(Attention):
    """score = q . W k (Luong et al. 2015, eq. 8)."""

    def module(self, size: int) -> "Scorer":
        return GeneralScorer(size)


class Additive(Attention):
    """score = v . tanh(W q + U k) (Bahdanau et al. 2015, app. A.1.2)."""

    def __init__(self, attention_size: int | None = None) -> None:
        """attention_size: length of v; the hidden size when null."""
        self.attention_size = attention_size

    def module(self, size: int) -> "Scorer":
        return AdditiveScorer(size, self.attention_size or size)


class Scorer(nn.Module):
    """Dot attention, and the frame of the others."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def memory(self, values: Tensor, padding: Tensor) -> Memory:
        """values (B, S, H), padding (B, S); computes the keys once."""
        return Memory(self.keys(values), values, padding)

    def keys(self, values: Tensor) -> Tensor:
        """(B, S, H) to (B, S, A)."""
        return values

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, T, H) and (B, S, A) to (B, T, S)."""
        return queries @ keys.transpose(1, 2)

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """queries (B, T, H) to contexts (B, T, H) and weights (B, T, S), which are zero on padding."""
        scores = self.scores(queries, memory.keys).float()  # (B, T, S)
        hidden = memory.padding.unsqueeze(1)
        weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1)
        weights = weights.masked_fill(hidden, 0.0).to(memory.values.dtype)
        return weights @ memory.values, weights


class GeneralScorer(Scorer):
    """q . W k, with W k computed once for each source."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.map = nn.Linear(size, size, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        mapped: Tensor = self.map(values)
        return mapped


class AdditiveScorer(Scorer):
    """v . tanh(W q + U k), with U k computed once for each source."""

    def __init__(self, size: int, attention_size: int) -> None:
        super().__init__(size)
        self.key_map = nn.Linear(size, attention_size)
        self.query_map = nn.Linear(size, attention_size, bias=False)
        self.vector = nn.Linear(attention_size, 1, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        mapped: Tensor = self.key_map(values)
        return mapped

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        both = self.query_map(queries).unsqueeze(2) + keys.unsqueeze(1)  # (B, T, S, A)
        score: Tensor = self.vector(both.tanh())
        return score.squeeze(-1)
