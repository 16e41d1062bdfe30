"""Batch: what travels from the data to a task."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq.pinned_copy import to_device


class RowFormat(NamedTuple):
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
    single_token_target: bool = False
    """Whether each target is one token."""
    fixed_target_length: bool = False
    """Whether all targets have as many steps as those of training."""
    keep_last_steps: bool = False
    """Whether a source that is too long keeps its last steps instead of its first."""
    frames: int = 0
    """Of a source, how many vectors may write one target token: the target must fit, with a step between equal
    neighbours (CTC); 0 where the length of the source does not bound the target."""
    filled_target: bool = False
    """Whether an empty target is a mistake."""
    consecutive: bool = False
    """Whether the rows are one running text, each continuing the row before."""

    def loss_denominator(self, target_lengths: np.ndarray) -> int:
        """What the loss of rows with these target lengths (B,), as the network sees them, is a sum over."""
        rows = len(target_lengths)
        return rows if self.per_row else int(target_lengths.sum()) - rows * self.target_ends  # the first is given


class Batch(NamedTuple):
    """Some rows of a split, padded."""

    rows: Tensor
    """(B,) row numbers in the split, on the CPU."""
    row_keys: Tensor
    """(B,) the same or, in a mixture, what tells repetitions of a row apart: with `seed` it decides dropout masks."""
    source: Tensor
    """(B, S) ids, each row ended by its end token where the row format has one; of vectors (B, S, D) numbers."""
    source_lengths: Tensor
    """(B,) tokens, on the CPU, where packing wants them."""
    target: Tensor
    """(B, T) ids, from the beginning token to the end token where the row format has them; of vectors (B, T, D)."""
    target_lengths: Tensor
    """(B,) tokens, on the CPU."""
    step_tokens: int
    """Target tokens (or rows) to predict in the whole optimiser step, over all devices: the loss is divided by it."""
    seed: int = 0
    """Of all that is random in the optimiser step."""
    step: int = 0
    """Number of the optimiser step, from 0."""
    risk: bool = False
    """Whether the optimiser step teaches predictions (`training/minimum_risk.py`)."""
    ids: Tensor | None = None
    """The source before it went to a device."""
    texts: Sequence[str] | None = None
    """Of the sources, where predictions are made."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its ids on `device`; what says how many there are stays on the CPU, where it is read."""
        source, target = to_device(self.source, device), to_device(self.target, device)
        return self._replace(source=source, target=target, ids=self.source)

    def part(self, rows: slice) -> "Batch":
        """Some of the rows, with the padding of all."""
        cut: dict[str, Any] = {name: value[rows] for name, value in self._asdict().items() if isinstance(value, Tensor)}
        return self._replace(**cut, texts=None if self.texts is None else self.texts[rows])
