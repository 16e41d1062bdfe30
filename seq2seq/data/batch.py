"""Batch: what travels from the data to a task."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Batch(NamedTuple):
    """Some rows of a split, padded."""

    rows: Tensor
    """(B,) row numbers in the split, on the CPU."""
    places: Tensor
    """(B,) the same or, in a mixture, what tells repetitions of a row apart: with `seed` it decides dropout masks."""
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
    seed: int = 0
    """Of all that is random in the optimiser step."""
    step: int = 0
    """Number of the optimiser step, from 0."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its ids on `device`."""
        source = self.source.to(device, non_blocking=True)
        return self._replace(source=source, target=self.target.to(device, non_blocking=True))


class Ragged:
    """Many id sequences in one flat array, which may stay on the disk."""

    def __init__(self, flat: np.ndarray, starts: np.ndarray) -> None:
        """flat: all ids; starts (rows + 1,): where each row begins, and the end of the last."""
        self.flat, self.starts = flat, starts
        self.lengths = np.diff(starts).astype(np.int32)

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> "Ragged":
        """The ids of every row, in order."""
        starts = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
        flat = np.fromiter(itertools.chain.from_iterable(sequences), dtype=np.int32, count=int(starts[-1]))
        return cls(flat, starts)

    def __len__(self) -> int:
        return len(self.lengths)

    def pad(
        self, rows: np.ndarray, padding: int, first: int | None = None, last: int | None = None, longest: int = 1 << 30
    ) -> tuple[Tensor, Tensor]:
        """The given rows as ids (B, longest row) filled up with `padding`, and their lengths (B,).

        `first` and `last` are put around each row, which is cut so that it has at most `longest` tokens with them.
        """
        before, after = int(first is not None), int(last is not None)
        inner = np.minimum(self.lengths[rows], longest - before - after).astype(np.int64)
        lengths = inner + before + after
        ids = np.full((len(rows), int(lengths.max(initial=before + after))), padding, dtype=np.int64)
        steps = np.arange(ids.shape[1] - before)
        real = steps < inner[:, None]
        places = (self.starts[rows][:, None] + steps)[real]
        ids[:, before:][real] = self.flat[places]
        if first is not None:
            ids[:, 0] = first
        if last is not None:
            ids[np.arange(len(rows)), lengths - 1] = last
        return torch.from_numpy(ids), torch.from_numpy(lengths)
