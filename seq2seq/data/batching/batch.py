"""Batch: what travels from the data to a task."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Layout(NamedTuple):
    """What a task puts around the sequences of a row, and what its loss is a sum over."""

    source_end: bool = True
    """Whether an end token follows each source; never after vectors."""
    target_ends: bool = True
    """Whether a beginning and an end token stand around each target."""
    aligned: bool = False
    """Whether the target has one token for each token of the source."""
    labels: bool = False
    """Whether the target is made of labels, so that one which training lacks can never be predicted."""
    per_row: bool = False
    """Whether the loss is a sum over rows instead of target tokens."""
    conditions: bool = False
    """Whether a source is a condition that many rows share, so that splits share them too."""
    single: bool = False
    """Whether each target is one token."""
    steady: bool = False
    """Whether all targets have as many steps as those of training."""
    newest: bool = False
    """Whether a source that is too long keeps its last steps instead of its first."""

    def summands(self, target_lengths: np.ndarray) -> int:
        """What the loss of rows with these target lengths (B,), as the network sees them, is a sum over."""
        rows = len(target_lengths)
        return rows if self.per_row else int(target_lengths.sum()) - rows * self.target_ends  # the first is given


class Batch(NamedTuple):
    """Some rows of a split, padded."""

    rows: Tensor
    """(B,) row numbers in the split, on the CPU."""
    places: Tensor
    """(B,) the same or, in a mixture, what tells repetitions of a row apart: with `seed` it decides dropout masks."""
    source: Tensor
    """(B, S) ids, each row ended by its end token where the layout has one; of vectors (B, S, D) numbers."""
    source_lengths: Tensor
    """(B,) tokens, on the CPU, where packing wants them."""
    target: Tensor
    """(B, T) ids, from the beginning token to the end token where the layout has them; of vectors (B, T, D)."""
    target_lengths: Tensor
    """(B,) tokens, on the CPU."""
    step_tokens: int
    """Target tokens (or rows) to predict in the whole optimiser step, over all devices: the loss is divided by it."""
    seed: int = 0
    """Of all that is random in the optimiser step."""
    step: int = 0
    """Number of the optimiser step, from 0."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its ids on `device`."""
        source = self.source.to(device, non_blocking=True)
        return self._replace(source=source, target=self.target.to(device, non_blocking=True))


class Ragged:
    """Many sequences of ids, or of vectors, in one flat array, which may stay on the disk."""

    def __init__(self, flat: np.ndarray, starts: np.ndarray) -> None:
        """flat: all ids (N,) or vectors (N, D); starts (rows + 1,): where each row begins, and the end of the last."""
        self.flat, self.starts = flat, starts
        self.lengths = np.diff(starts).astype(np.int32)

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]] | Sequence[np.ndarray]) -> "Ragged":
        """The ids or vectors of every row, in order."""
        starts = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
        if len(sequences) and isinstance(sequences[0], np.ndarray):
            return cls(np.concatenate(sequences), starts)
        flat = np.fromiter(itertools.chain.from_iterable(sequences), dtype=np.int32, count=int(starts[-1]))
        return cls(flat, starts)

    def __len__(self) -> int:
        return len(self.lengths)

    def pad(
        self,
        rows: np.ndarray,
        padding: int,
        first: int | None = None,
        last: int | None = None,
        longest: int = 1 << 30,
        newest: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The given rows as ids (B, longest row) or vectors filled up with `padding`, and their lengths (B,).

        `first` and `last` are put around each row, which is cut so that it has at most `longest` tokens with them: its
        first ones or, with `newest`, its last.
        """
        before, after = int(first is not None), int(last is not None)
        inner = np.minimum(self.lengths[rows], longest - before - after).astype(np.int64)
        lengths = inner + before + after
        size = len(rows), int(lengths.max(initial=before + after)), *self.flat.shape[1:]
        ids = np.full(size, padding, dtype=np.int64 if self.flat.ndim == 1 else self.flat.dtype)
        steps = np.arange(ids.shape[1] - before)
        real = steps < inner[:, None]
        starts = self.starts[rows + 1] - inner if newest else self.starts[rows]
        places = (starts[:, None] + steps)[real]
        ids[:, before:][real] = self.flat[places]
        if first is not None:
            ids[:, 0] = first
        if last is not None:
            ids[np.arange(len(rows)), lengths - 1] = last
        return torch.from_numpy(ids), torch.from_numpy(lengths)
