"""LengthBound: how many tokens a search may write for a source, learnt from the training targets."""

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from seq2seq.errors import InputError

HEAD_ROOM = 1.25
"""How much longer than in training a target may be."""

MORE = 10
"""Tokens that are always allowed besides."""

MOST = 1_000_000
"""Tokens of a target in any bound that is believed."""


class LengthBound(NamedTuple):
    """A target has at most `ratio` x source tokens + `offset` tokens, its end included."""

    ratio: float
    offset: int

    def of(self, source_lengths: Tensor) -> Tensor:
        """(B,) source tokens, on the CPU, to (B,) the most target tokens."""
        return (source_lengths.clamp(min=1).double() * self.ratio).ceil().long() + self.offset

    def __str__(self) -> str:
        if not self.ratio:
            return f"{self.offset}"
        return f"{self.ratio:g} x source tokens + {self.offset}"


def learn(source_lengths: np.ndarray, target_lengths: np.ndarray, room: float = HEAD_ROOM) -> LengthBound:
    """The tightest line, on average over the rows (N,), with all target lengths below it, and `room` times that.

    It rises at least as fast as targets usually do, so that a source longer than all of training has room too.
    """
    if not len(source_lengths):
        return LengthBound(0.0, MORE)
    lengths, place = np.unique(np.maximum(source_lengths, 1), return_inverse=True)
    longest = np.zeros(len(lengths))
    np.maximum.at(longest, place, target_lengths)
    usual = target_lengths.sum() / np.maximum(source_lengths, 1).sum()
    if len(lengths) == 1:  # nothing follows from the source
        usual = 0.0
    ratios = np.linspace(usual, max(usual, (longest / lengths).max()), 101) if usual else np.zeros(1)
    offsets = np.maximum(longest - ratios[:, None] * lengths, 0).max(axis=1)
    best = int((ratios * lengths[place].mean() + offsets).argmin())
    ratio = math.ceil(1000 * room * ratios[best]) / 1000
    return LengthBound(ratio, math.ceil(room * offsets[best]) + MORE)


def read(value: object) -> LengthBound | None:
    """What a checkpoint holds of a bound; None for none."""
    if value is None:
        return None
    numbers = value if isinstance(value, list) and len(value) == 2 else []
    if not numbers or not all(isinstance(one, (int, float)) and 0 <= one <= MOST for one in numbers):
        raise InputError(f"the stored length_bound is damaged: {value!r:.80} is no ratio and offset")
    return LengthBound(float(numbers[0]), max(1, int(numbers[1])))
