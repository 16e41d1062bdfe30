"""What corpora that need no file share: their rows are made on the spot, or come with a library."""

from collections.abc import Iterator
from typing import ClassVar
from zlib import crc32

import numpy as np

from seq2seq.data.corpora.corpus import SPLITS, Corpus
from seq2seq.data.rows import Row
from seq2seq.errors import InputError, check_range

PATIENCE = 20_000
"""After that many draws without a new row of a split, there are held to be no more."""


class Builtin(Corpus):
    """A corpus that needs no file. A subclass writes `made`."""

    writes: ClassVar[tuple[str, ...]] = ("made",)

    def made(self, split: str) -> Iterator[Row]:
        """The rows of a split in order."""
        raise TypeError(f"{type(self).__name__} does not say how to make rows")

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        self.refuse_path(path)
        return self.made(split)


class Generated(Builtin):
    """A corpus of random rows. A subclass writes `drawn`.

    A row depends on seed, split and its number alone, so the same rows are made on every machine, and asking for more
    rows only appends. No row of one split has the source of a row of another.
    """

    writes: ClassVar[tuple[str, ...]] = ("drawn",)
    splits_by_target = False
    """Whether splits are kept apart by their targets, because many rows share a source."""

    def __init__(self, train: int, validation: int, test: int, seed: int) -> None:
        """train, validation, test: rows of each split."""
        check_range("data.corpus.seed", seed, 0, 1 << 63)
        for name, rows in zip(SPLITS, (train, validation, test), strict=True):
            check_range(f"data.corpus.{name}", rows, 1)
        self.train, self.validation, self.test, self.seed = train, validation, test, seed

    def drawn(self, random: np.random.Philox) -> Iterator[tuple[str, str]]:
        """Sources and targets of any split, without end."""
        raise TypeError(f"{type(self).__name__} does not say how to draw rows")

    def made(self, split: str) -> Iterator[Row]:
        wanted, number, barren = getattr(self, split), 0, 0
        for source, target in self.drawn(random_bits(self.seed, SPLITS.index(split))):
            barren += 1
            if split_of(target if self.splits_by_target else source) == split:
                number, barren = number + 1, 0
                yield Row(source, target, number)
            if number == wanted:
                return
            if barren == PATIENCE:
                raise InputError(f"{self!r} has too few different rows for its {split} split; change data.corpus")


def random_bits(seed: int, stream: int) -> np.random.Philox:
    """Random 64-bit numbers. This raw stream is fixed, that of numpy's distributions may change with its version."""
    return np.random.Philox(key=[seed, stream])


def split_of(text: str) -> str:
    """The split that a text belongs to: by its checksum, 8 in 10 train, 1 validation, 1 test."""
    return {0: "validation", 1: "test"}.get(crc32(text.encode()) % 10, "train")
