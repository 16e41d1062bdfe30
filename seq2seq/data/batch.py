"""Batch: what travels from the data to a task."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Batch(NamedTuple):
    """Some rows of a split, padded."""

    rows: Tensor
    """(B,) row numbers in the split, on the CPU."""
    source: Tensor
    """(B, S) ids, each row ended by its end token."""
    source_lengths: Tensor
    """(B,) tokens, on the CPU, where packing wants them."""
    target: Tensor
    """(B, T) ids from the beginning token to the end token."""
    target_lengths: Tensor
    """(B,) tokens, on the CPU."""
    step_tokens: int
    """Target tokens to predict in the whole optimiser step, over all devices: the loss is divided by it."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its ids on `device`."""
        source = self.source.to(device, non_blocking=True)
        return self._replace(source=source, target=self.target.to(device, non_blocking=True))


class Ragged:
    """Many id sequences in one flat array."""

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        """The ids of every row, in order."""
        self.lengths = np.fromiter((len(ids) for ids in sequences), dtype=np.int32, count=len(sequences))
        self._starts = np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))
        self._flat = np.fromiter((i for ids in sequences for i in ids), dtype=np.int32, count=int(self._starts[-1]))

    def __len__(self) -> int:
        return len(self.lengths)

    def pad(self, rows: np.ndarray, padding: int) -> tuple[Tensor, Tensor]:
        """The given rows as ids (B, longest) filled up with `padding`, and their lengths (B,)."""
        lengths = self.lengths[rows]
        width = int(lengths.max()) if len(rows) else 0
        steps = np.arange(width)
        real = steps < lengths[:, None]
        places = np.where(real, self._starts[rows][:, None] + steps, 0)
        ids = np.where(real, self._flat[places], padding) if len(self._flat) else np.full(real.shape, padding)
        return torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(lengths.astype(np.int64))
