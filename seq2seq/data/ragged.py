"""Ragged: rows of different lengths in one array."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


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
        keep_last: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The given rows as ids (B, longest row) or vectors filled up with `padding`, and their lengths (B,).

        `first` and `last` are put around each row, which is cut so that it has at most `longest` tokens with them: its
        first ones or, with `keep_last`, its last.
        """
        before, after = int(first is not None), int(last is not None)
        inner = np.minimum(self.lengths[rows], longest - before - after).astype(np.int64)
        lengths = inner + before + after
        size = len(rows), int(lengths.max(initial=before + after)), *self.flat.shape[1:]
        ids = np.full(size, padding, dtype=np.int64 if self.flat.ndim == 1 else self.flat.dtype)
        steps = np.arange(ids.shape[1] - before)
        real = steps < inner[:, None]
        starts = self.starts[rows + 1] - inner if keep_last else self.starts[rows]
        ids[:, before:][real] = self.flat[(starts[:, None] + steps)[real]]
        if first is not None:
            ids[:, 0] = first
        if last is not None:
            ids[np.arange(len(rows)), lengths - 1] = last
        return torch.from_numpy(ids), torch.from_numpy(lengths)
