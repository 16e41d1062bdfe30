"""Corpora: where rows come from, and which of them make up a split."""

import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.configurable import Part, plain
from seq2seq.data.cache import Cache, checksum, code_of
from seq2seq.data.rows import Origin, Row, Texts, in_memory, read, write
from seq2seq.errors import InputError

VERSION = 1
"""Of what is kept about rows; a new one leaves the old ones unused."""


class Corpus(Part):
    """Where rows come from. A subclass writes `rows`; one that reads files writes `shards` and `read`."""

    held_out: str = "by hash of the source"
    """How the rows of a split that is missing are chosen."""

    def has(self, split: str, path: str | None) -> bool:
        """Whether there is a split "train", "validation" or "test"; what is missing is held out from the first."""
        return True

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        """The rows of a split in order; `path` names a local folder or file to read."""
        raise TypeError(f"{type(self).__name__} does not say how to read rows")

    def taken(self, wanted: "SplitSelection", path: str | None) -> Iterator[Row]:
        """The rows that `wanted` describes."""
        rows = self.rows(wanted.split, path)
        if not wanted.everything:
            rows = (row for row in rows if wanted.takes(row.source, row.target))
        return itertools.islice(rows, wanted.limit)

    def streamed(self, wanted: "SplitSelection", path: str | None, order: Sequence[int]) -> Any:
        """The same as a `datasets.IterableDataset`; shards in their own order when only the first rows are wanted."""
        rows = self.stream(wanted.split, path, None if wanted.limit else order)
        if not wanted.everything:
            rows = rows.filter(wanted.takes, input_columns=["source", "target"])
        return rows if wanted.limit is None else rows.take(wanted.limit)

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        """Every file that `rows` would read, so that a changed one is noticed; None when they come from no file."""
        return None

    def stream(self, split: str, path: str | None, order: Sequence[int] | None) -> Any:
        """The rows of a split as a `datasets.IterableDataset` with columns source and target, never all in memory.

        order: the seed and epoch by which shards are shuffled, where there are several; None for their own order.
        """
        import datasets  # takes two seconds to import

        described = {"corpus": self, "split": split, "path": path}
        return datasets.IterableDataset.from_generator(examples, gen_kwargs=described)

    def proportions(self, rows: Sequence[int]) -> list[float] | None:
        """How much of an epoch each corpus of a mixture shall be, given the rows of each; None for every row once."""
        return None


def examples(corpus: Corpus, split: str, path: str | None) -> Iterator[dict[str, str]]:
    """Rows in the form of `datasets`."""
    for row in corpus.rows(split, path):
        yield {"source": row.source, "target": row.target}


class SplitSelection(NamedTuple):
    """Which rows of a corpus make up a split."""

    split: str
    """The corpus's own split to read."""
    low: float = 0.0
    """Rows whose source has a smaller hash, as a share of all hashes, are not taken."""
    high: float = 1.0
    """Nor are those with this hash or a larger one."""
    limit: int | None = None
    """Only the first rows, of a mixture those of each corpus."""

    @property
    def everything(self) -> bool:
        """Whether no row is left for another split."""
        return (self.low, self.high) == (0.0, 1.0)

    def takes(self, source: str, target: str) -> bool:
        """Whether a row is taken; those of equal sources or, without one, targets are taken or left together."""
        return round(self.low * (1 << 32)) <= zlib.crc32((source or target).encode()) < round(self.high * (1 << 32))


def take(corpus: Corpus, split: str, path: str | None, holdout: float, limit: int | None = None) -> SplitSelection:
    """What to read for a split; one that the corpus lacks is held out from its training rows by hash of the source."""
    if split == "train":
        absent = {name: holdout > 0 and not corpus.has(name, path) for name in ("validation", "test")}
        return SplitSelection("train", holdout * absent["validation"], 1 - holdout * absent["test"], limit)
    if corpus.has(split, path):
        return SplitSelection(split, limit=limit)
    if not holdout:
        raise InputError(f"there is no {split} split; name its files in data.corpus, or set data.holdout above 0")
    return SplitSelection("train", *((0.0, holdout) if split == "validation" else (1 - holdout, 1.0)), limit)


def load(corpus: Corpus, wanted: SplitSelection, path: str | None, cache: Cache) -> Texts:
    """The rows that `wanted` describes, memory-mapped; read anew only when a file has changed."""
    files = corpus.stored(wanted.split, path)
    if files is None:
        return in_memory(corpus.taken(wanted, path))
    origins = [Origin(str(file), checksum(file), file.stat().st_size) for file in files]
    key = [VERSION, plain(corpus), code_of(corpus), wanted, [(one.file, one.checksum) for one in origins]]
    folder = cache.folder("rows", key, lambda folder: write(corpus.taken(wanted, path), folder))
    return read(folder)._replace(origins=origins)
