"""Which rows go together: a pure function of (lengths, seed, epoch, budget), whatever the number of devices.

One batch of the plan is one optimiser step. Devices and micro-batches slice it; the position is one integer.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from torch.utils.data import Sampler

from seq2seq.errors import InputError

CHUNK = 1 << 20
"""Rows of a large array handled at once."""


class Rows(NamedTuple):
    """The rows of an optimiser step; like lengths stand together."""

    epoch: int
    numbers: np.ndarray
    """Row numbers; in a mixture a row may be there twice."""
    row_keys: np.ndarray
    """What tells the rows of an epoch apart, even a row from its repetition: it decides what is random."""


LEAST, LARGEST = 256, 4096
"""Padded tokens of an optimiser step over few and over many rows."""

FEWEST_STEPS = 128
"""Of an epoch, before its steps have fewer than `LARGEST` tokens."""


def fitting_budget(tokens: int) -> int:
    """Padded tokens of a step over rows that have `tokens` together: a 128th of them, at least 256, at most 4,096.

    Small data need many steps more than large ones: on a few hundred rows, 4,096 tokens are all of them.
    """
    return min(LARGEST, max(LEAST, tokens // FEWEST_STEPS))


class Plan:
    """The optimiser steps of a training split.

    Rows are sorted by source length (of aligned rows by target length, `Split.grouping_lengths`), then by the other in
    alternating direction, and cut before a batch's padded tokens (rows x (longest source + longest target)) exceed the
    budget. Rows of equal lengths are shuffled in each epoch, so the cuts, and with them the number of steps, are the
    same in every epoch; so is the order of the steps shuffled.
    """

    def __init__(
        self,
        source_lengths: np.ndarray,
        target_lengths: np.ndarray,
        batch_tokens: int | None,
        seed: int,
        kept: np.ndarray | None = None,
        repetitions: Sequence[tuple[int, float]] = (),
    ) -> None:
        """The plan of all rows or, if given, of those whose numbers `kept` holds.

        Args:
            source_lengths: (rows,) tokens as the model sees them; of labelled tokens the other way round.
            target_lengths: likewise.
            batch_tokens: padded tokens of one step; None for as many as fit the rows.
            seed: of the order.
            kept: numbers of the rows to train on, rising; None for all.
            repetitions: rows of each corpus of a mixture (of the kept ones, in their order) and how often an epoch
                shall hold each; empty for once.
        """
        self.seed, self._kept, self._count = seed, kept, len(source_lengths)
        sources, targets = (side if kept is None else side[kept] for side in (source_lengths, target_lengths))
        longest = int((sources.astype(np.int32) + targets).max(initial=0))
        self.tokens = int(sources.sum(dtype=np.int64) + targets.sum(dtype=np.int64))
        """Of all rows, source and target together."""
        if batch_tokens is None:
            batch_tokens = max(longest, fitting_budget(self.tokens))
        self.batch_tokens = batch_tokens
        if longest > batch_tokens:
            raise InputError(
                f"a single row has {longest} tokens, more than data.batch_tokens {batch_tokens}; "
                "raise data.batch_tokens or lower data.max_length"
            )
        self._slots = make_slots(sources, targets, repetitions) if repetitions else None
        if self._slots is not None:
            sources, targets = self._slots.sources, self._slots.targets
        span = int(targets.max(initial=0)) + 1
        wide = (int(sources.max(initial=0)) + 1) * span >= 1 << 31
        keys = sources.astype(np.int64 if wide else np.int32) * span
        keys += np.where(sources % 2 == 0, targets, span - 1 - targets)
        unique, counts = np.unique(keys, return_counts=True)
        self._ranks = ranks(keys, unique)
        self._cuts = cuts(unique, counts, span, batch_tokens)
        self._epoch = -1
        self._order: np.ndarray = np.empty(0, dtype=np.int32)
        self._steps: np.ndarray = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """Optimiser steps in an epoch."""
        return len(self._cuts) - 1

    @property
    def kept(self) -> np.ndarray:
        """The numbers of the rows to train on."""
        return np.arange(self._count) if self._kept is None else self._kept

    def rows(self, step: int) -> np.ndarray:
        """The row numbers of an optimiser step, counted from the start of training."""
        return self.step(step).numbers

    def step(self, step: int) -> Rows:
        """The rows of an optimiser step, counted from the start of training."""
        epoch, number = divmod(step, len(self))
        if epoch != self._epoch:
            random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            shuffled = np.arange(len(self._ranks), dtype=np.int32)
            random.shuffle(shuffled)
            self._order = shuffled[np.argsort(self._ranks[shuffled], kind="stable")]
            self._steps, self._epoch = random.permutation(len(self)), epoch
        batch = self._steps[number]
        slots: np.ndarray = self._order[self._cuts[batch] : self._cuts[batch + 1]].astype(np.int64)
        numbers = slots if self._slots is None else self._slots.rows(slots, epoch)
        numbers = numbers if self._kept is None else self._kept[numbers]
        return Rows(epoch, numbers, numbers if self._slots is None else slots)


class Slots(NamedTuple):
    """The slots of a mixture's epoch. A slot is a row, or a block of rows of like lengths that take turns."""

    sources: np.ndarray
    """Source tokens of the longest row of each block."""
    targets: np.ndarray
    starts: np.ndarray
    """Where in `members` each block begins."""
    sizes: np.ndarray
    members: np.ndarray
    """Row numbers, those of a corpus sorted by length."""

    def rows(self, slots: np.ndarray, epoch: int) -> np.ndarray:
        """The rows that take these slots in an epoch."""
        rows: np.ndarray = self.members[self.starts[slots] + (epoch + slots) % self.sizes[slots]]
        return rows


def make_slots(sources: np.ndarray, targets: np.ndarray, repetitions: Sequence[tuple[int, float]]) -> Slots:
    """As many slots for each corpus as the number of its rows times its repetitions.

    Every row gets the whole part of the repetitions. For the rest the corpus, sorted by length, is cut into as many
    blocks as there are slots left, and each epoch takes the next row of every block: lengths, and with them the cuts,
    stay the same, and no row is favoured.
    """
    members, starts, sizes = [], [], []
    before = 0
    for rows, times in repetitions:
        part = slice(before, before + rows)
        members.append((before + np.lexsort((targets[part], sources[part]))).astype(np.int32))
        whole = int(times)
        rest = max(round((times - whole) * rows), int(not whole and rows > 0))  # at least one row in each epoch
        starts += [np.arange(before, before + rows, dtype=np.int32)] * whole
        sizes += [np.ones(rows, dtype=np.int32)] * whole
        if rest:
            edges = before + np.arange(rest + 1) * rows // rest
            starts.append(edges[:-1].astype(np.int32))
            sizes.append(np.diff(edges).astype(np.int32))
        before += rows
    order, start, size = np.concatenate(members), np.concatenate(starts), np.concatenate(sizes)
    widest = [np.maximum.reduceat(np.append(side[order], 0), interleaved(start, size))[::2]
              for side in (sources, targets)]  # fmt: skip
    return Slots(widest[0], widest[1], start, size, order)


def interleaved(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Begin, end, begin, end ... of blocks, as reduceat wants them."""
    return np.stack((starts, starts + sizes), axis=1).ravel()


def ranks(keys: np.ndarray, unique: np.ndarray) -> np.ndarray:
    """The number of each key among the sorted unique ones, in as few bytes as that takes: it is sorted every epoch."""
    result = np.empty(len(keys), dtype=np.min_scalar_type(max(0, len(unique) - 1)))
    for start in range(0, len(keys), CHUNK):
        result[start : start + CHUNK] = np.searchsorted(unique, keys[start : start + CHUNK])
    return result


def cuts(unique: np.ndarray, counts: np.ndarray, span: int, budget: int) -> np.ndarray:
    """Where batches begin among the sorted rows; the last entry is the number of rows.

    A batch also ends where the source length changes once it is half full: sources of one length need no packing.
    """
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


def pieces(lengths: np.ndarray, device_tokens: int | None, devices: int) -> list[tuple[int, int]]:
    """Cuts a step into the fewest micro-batches of like numbers of tokens that each hold at most `device_tokens`.

    lengths (rows, 2) of source and target. The number of pieces is a multiple of `devices`, so that all take equally
    many; some are empty when there are too few rows.
    """
    rows, number = len(lengths), devices
    tokens = lengths.sum(axis=1, dtype=np.int64)
    middles = 2 * tokens.cumsum() - tokens  # twice the tokens before the middle of each row
    if device_tokens is not None:  # no fewer can hold them
        number = -(-int(lengths.sum()) // device_tokens // devices) * devices or devices
    while True:
        shares = np.arange(number + 1)
        edges = np.searchsorted(middles * number, 2 * tokens.sum() * shares)
        if number > rows:  # then one row each
            edges = shares * rows // number
        cut = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
        if device_tokens is None or number > rows + devices:
            return cut
        if all((b - a) * int(lengths[a:b].max(axis=0).sum()) <= device_tokens for a, b in cut if a < b):
            return cut
        number += devices


class Steps(Protocol):
    """The optimiser steps of an epoch."""

    def __len__(self) -> int: ...

    def step(self, step: int) -> Rows:
        """The rows of an optimiser step, counted from the start of training."""
        ...


class TrainingSampler(Sampler[Rows]):
    """The optimiser steps that are left of the epoch."""

    def __init__(self, plan: Steps, position: Callable[[], int]) -> None:
        """position: optimiser steps taken so far, asked at each epoch."""
        self.plan, self.position = plan, position

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Rows]:
        first = self.position()
        return map(self.plan.step, range(first, (first // len(self.plan) + 1) * len(self.plan)))


def evaluation_batches(source_lengths: np.ndarray, rows: int, rank: int = 0, world_size: int = 1) -> list[np.ndarray]:
    """Every row once over all devices, at most `rows` together, like lengths together, longest first.

    Each device gets the same number of batches (some may be empty), and a row meets the same neighbours however many
    devices there are, so the predictions are the same too.
    """
    order = np.argsort(-source_lengths, kind="stable")
    batches = [order[start : start + rows] for start in range(0, len(order), rows)]
    batches += [order[:0]] * (-len(batches) % world_size)
    return batches[rank::world_size]


def consecutive(count: int, rows: int, rank: int = 0) -> list[np.ndarray]:
    """All rows in their order, `rows` at once, for the first device; as many empty batches for the others."""
    batches = [np.arange(start, min(start + rows, count)) for start in range(0, count, rows)]
    return batches if rank == 0 else [batch[:0] for batch in batches]
