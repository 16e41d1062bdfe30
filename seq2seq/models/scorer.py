"""What every attention shares: the memory it looks at, scores to weights, weights to contexts."""

from typing import Literal, NamedTuple

import torch
from entmax import entmax15, sparsemax
from torch import Tensor, nn

from seq2seq.configurable import Part
from seq2seq.errors import InputError

Normalizer = Literal["softmax", "sparsemax", "entmax15"]
"""What turns scores into weights or probabilities; the sparse ones give most of them none (Peters et al. 2019)."""


class Memory(NamedTuple):
    """What attention looks at; keys are computed once for each source."""

    keys: Tensor
    """(B, S, A)"""
    values: Tensor
    """(B, S, M), or what the attention makes of them"""
    padding: Tensor
    """(B, S), true where there is no source token; real tokens come first"""

    def select(self, rows: Tensor) -> "Memory":
        """The memory of the given sources (B',)."""
        return Memory(*(tensor.index_select(0, rows) for tensor in self))


def distribution(scores: Tensor, normalizer: Normalizer) -> Tensor:
    """Scores (..., N), in single precision or better, to probabilities (..., N)."""
    if normalizer == "softmax":
        return scores.softmax(-1)
    # Both give nothing to a score two or more below the best (no probability exceeds one): cutting the scores below
    # that changes nothing, and neither their squares nor their sums overflow.
    scores = (scores - scores.detach().amax(-1, keepdim=True)).clamp(min=-3)
    found: Tensor = (sparsemax if normalizer == "sparsemax" else entmax15)(scores, dim=-1)
    return found


def normalize(scores: Tensor, padding: Tensor, normalizer: Normalizer) -> Tensor:
    """Scores (..., S) to weights (..., S) in single precision or better; zero on padding and where a score is -inf."""
    scores = scores if scores.dtype == torch.double else scores.float()
    scores = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
    return distribution(scores, normalizer).masked_fill(padding, 0.0)


class Attention(Part):
    """How well a decoder state fits a source state; `module` builds the network part."""

    coverage: bool = False
    """Whether the scores look at the attention paid so far."""

    def __init__(self, normalizer: Normalizer = "softmax") -> None:
        """Settings.

        Args:
            normalizer: scores to weights: softmax, or sparsemax or entmax15, which give most source tokens a weight of
                exactly zero (Peters et al. 2019).
        """
        self.normalizer = normalizer

    def module(self, query_size: int, memory_size: int) -> "Scorer":
        """query_size, Q: the decoder's hidden size; memory_size, M: the encoder's."""
        raise TypeError(f"{type(self).__name__} does not say how to build its module")


class Scorer(nn.Module):
    """Scores q . k, and the frame of the other scores."""

    coverage: bool = False

    def __init__(self, query_size: int, memory_size: int, normalizer: Normalizer = "softmax") -> None:
        super().__init__()
        self.query_size, self.memory_size, self.context_size = query_size, memory_size, memory_size
        self.normalizer = normalizer

    def memory(self, values: Tensor, padding: Tensor) -> Memory:
        """values (B, S, M), padding (B, S); computes the keys once."""
        return Memory(self.keys(values), values, padding)

    def keys(self, values: Tensor) -> Tensor:
        """(B, S, M) to (B, S, A)."""
        return values

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, T, Q) and (B, S, A) to (B, T, S)."""
        return queries @ keys.transpose(1, 2)

    def forward(self, queries: Tensor, memory: Memory, coverage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """queries (B, T, Q) to contexts (B, T, context_size) and weights (B, T, S), which are zero on padding.

        T may be time steps or hypotheses. coverage (B, T, S): the sum of the weights so far, all zero when None.
        """
        if coverage is not None and not self.coverage:
            raise InputError("this attention has no coverage; Additive with coverage: true has")
        return self.read(self.weights(queries, memory, coverage), memory)

    def weights(self, queries: Tensor, memory: Memory, coverage: Tensor | None) -> Tensor:
        """(B, T, Q) to (B, T, S)."""
        return normalize(self.scores(queries, memory.keys), memory.padding.unsqueeze(1), self.normalizer)

    def read(self, weights: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """What `weights` made to contexts (B, T, context_size) and weights (B, T, S)."""
        return weights.to(memory.values.dtype) @ memory.values, weights
