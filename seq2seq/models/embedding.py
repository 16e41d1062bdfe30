"""Embedding: the table of token vectors, begun alike on both sides, and beside it those of features."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from seq2seq.models.dropout import Noise


class Reader(Protocol):
    """What an encoder needs of the sources' vectors."""

    size: int

    def read(self, source: Tensor, lengths: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """A batch's sources and their lengths to vectors (B, S, size) and how many there are of each, on the CPU."""
        ...


class Projection(nn.Module):
    """Vectors (B, S, D) of real numbers to vectors (B, S, size), by a linear map and tanh."""

    def __init__(self, width: int, size: int) -> None:
        """width: numbers of a vector, D."""
        super().__init__()
        self.map, self.size = nn.Linear(width, size), size

    def forward(self, values: Tensor) -> Tensor:
        """(B, S, D) to (B, S, size)."""
        mapped: Tensor = self.map(values)
        return mapped.tanh()

    def read(self, source: Tensor, lengths: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """What an encoder reads."""
        return self(source), lengths


class Embedding(nn.Embedding):
    """Ids to vectors: a token's, drawn with a standard deviation of 1 / sqrt(E), beside one for each of its features.

    An id of a vocabulary with features is token + V (first feature + F1 (second feature + ...)).
    """

    def __init__(self, sizes: Sequence[int], embedding_size: int, feature_size: int, padding: int) -> None:
        """sizes: tokens, then values of each feature; padding: the id of no token, whose vector is zero."""
        super().__init__(sizes[0], embedding_size, padding_idx=padding)
        self.sizes = tuple(sizes)
        self.tables = nn.ModuleList(nn.Embedding(size, feature_size) for size in sizes[1:])
        self.size = embedding_size + feature_size * len(self.tables)
        """Of a whole vector."""
        nn.init.normal_(self.weight, std=embedding_size**-0.5)
        for table in self.tables:
            nn.init.normal_(table.get_parameter("weight"), std=feature_size**-0.5)
        with torch.no_grad():
            self.weight[padding].zero_()

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) to (B, T, size)."""
        if len(self.sizes) == 1:
            return super().forward(ids)
        return torch.cat((super().forward(ids % self.sizes[0]), self.features(ids)), dim=-1)

    def read(self, source: Tensor, lengths: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """What an encoder reads of sources (B, S): vectors (B, S, size), and how many there are, (B,) on the CPU."""
        vectors: Tensor = self(source)
        return vectors, lengths

    def features(self, ids: Tensor) -> Tensor:
        """Ids of any shape to the vectors (..., features * feature_size) of their features."""
        vectors, rest = [], ids // self.sizes[0]
        for table, size in zip(self.tables, self.sizes[1:], strict=True):
            vectors.append(table(rest % size))
            rest = rest // size
        return torch.cat(vectors, dim=-1)
