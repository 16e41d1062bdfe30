"""Which rows go together: a pure function of (lengths, seed, epoch, budget), whatever the number of devices.

One batch of the plan is one optimiser step. Devices slice it; the position in the plan is one integer.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from seq2seq.errors import InputError


class Slice(NamedTuple):
    """One device's share of an optimiser step."""

    rows: np.ndarray
    """Row numbers; never empty."""
    step_tokens: int
    """Target tokens to predict in the whole step."""
    counts: bool
    """False when the step has fewer rows than there are devices: this copy keeps the device busy at weight zero."""


class Plan:
    """The optimiser steps of a training split.

    Rows are sorted by source length, then by target length in alternating direction, and cut before a batch's padded
    tokens (rows x (longest source + longest target)) exceed the budget. Rows of equal lengths are shuffled in each
    epoch, so the cuts, and with them the number of steps, are the same in every epoch; so is the order of the steps
    shuffled.
    """

    def __init__(self, source_lengths: np.ndarray, target_lengths: np.ndarray, batch_tokens: int, seed: int) -> None:
        """Lengths in tokens as the model sees them, one for each row; batch_tokens: padded tokens of one step."""
        lengths = source_lengths.astype(np.int64) + target_lengths
        if lengths.max(initial=0) > batch_tokens:
            raise InputError(
                f"one row alone has {lengths.max()} tokens, more than data.batch_tokens {batch_tokens}; "
                "raise data.batch_tokens or lower data.max_length"
            )
        self.seed, self._targets = seed, target_lengths
        span = int(target_lengths.max(initial=0)) + 1
        snake = np.where(source_lengths % 2 == 0, target_lengths, span - 1 - target_lengths)
        self._keys = source_lengths.astype(np.int64) * span + snake
        self._cuts = cuts(self._keys, span, batch_tokens)
        self._epoch = -1
        self._order = self._steps = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """Optimiser steps in an epoch."""
        return len(self._cuts) - 1

    def rows(self, step: int) -> np.ndarray:
        """The row numbers of an optimiser step, counted from the start of training."""
        epoch, place = divmod(step, len(self))
        if epoch != self._epoch:
            random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            shuffled = random.permutation(len(self._keys))
            self._order = shuffled[np.argsort(self._keys[shuffled], kind="stable")]
            self._steps, self._epoch = random.permutation(len(self)), epoch
        batch = self._steps[place]
        return self._order[self._cuts[batch] : self._cuts[batch + 1]]

    def slice(self, step: int, rank: int, world_size: int) -> Slice:
        """The rows of one of `world_size` devices at an optimiser step."""
        rows = self.rows(step)
        tokens = int(self._targets[rows].sum() - len(rows))  # the beginning token is not predicted
        mine = rows[rank::world_size]
        return Slice(mine if len(mine) else rows[:1], tokens, bool(len(mine)))


def cuts(keys: np.ndarray, span: int, budget: int) -> np.ndarray:
    """Where batches begin among the sorted rows; the last entry is the number of rows.

    A batch also ends where the source length changes once it is half full: sources of one length need no packing.
    """
    unique, counts = np.unique(keys, return_counts=True)
    result, size, widest, start = [0], 0, 0, 0
    previous = -1
    for key, count in zip(unique.tolist(), counts.tolist(), strict=True):
        source, snake = divmod(key, span)
        target = snake if source % 2 == 0 else span - 1 - snake
        if source != previous and size and 2 * size * (previous + widest) >= budget:
            result.append(start)
            size, widest = 0, 0
        previous = source
        while count:
            widest = max(widest, target)
            room = budget // (source + widest) - size
            if room <= 0:
                result.append(start)
                size, widest = 0, 0
                continue
            taken = min(room, count)
            size, start, count = size + taken, start + taken, count - taken
    if size:
        result.append(start)
    return np.array(result)


class TrainingSampler(Sampler[Slice]):
    """This device's slices from where training stands to the end of the epoch."""

    def __init__(self, plan: Plan, position: Callable[[], int], rank: int = 0, world_size: int = 1) -> None:
        """position: optimiser steps taken so far, asked at the start of each epoch."""
        self.plan, self.position, self.rank, self.world_size = plan, position, rank, world_size

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Slice]:
        first = self.position()
        for step in range(first, (first // len(self.plan) + 1) * len(self.plan)):
            yield self.plan.slice(step, self.rank, self.world_size)


def evaluation_batches(source_lengths: np.ndarray, rows: int, rank: int = 0, world_size: int = 1) -> list[np.ndarray]:
    """Every row once over all devices, at most `rows` together, like lengths together, longest first.

    Each device gets the same number of batches (some may be empty), and a row meets the same neighbours however many
    devices there are, so the predictions are the same too.
    """
    order = np.argsort(-source_lengths, kind="stable")
    batches = [order[start : start + rows] for start in range(0, len(order), rows)]
    batches += [order[:0]] * (-len(batches) % world_size)
    return batches[rank::world_size]
