"""Corpora: where rows come from, and which of them make up a split."""

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from seq2seq.configurable import Part, plain
from seq2seq.data.cache import Cache, checksum, code_of
from seq2seq.data.rows import Origin, Row, Texts, in_memory, read, write
from seq2seq.data.sound import SoundFrames
from seq2seq.errors import InputError

SPLITS = ("train", "validation", "test")

HOLDOUT = 0.05
"""Share of the training rows for each split that is missing, where nothing else is said."""

LEAST_HELD_OUT = 5
"""Distinct sources that a held-out split must have to be expected; with fewer its rows are chosen one by one."""

LOOKED_AT = 20_000
"""Training rows at most whose sources are counted for that."""

VERSION = 4
"""Of what is kept about rows; a new one leaves the old ones unused."""


class Corpus(Part):
    """Where rows come from. A subclass writes `rows`; one that reads files is a `Files` and writes `read`."""

    writes: ClassVar[tuple[str, ...]] = ("rows",)
    held_out: str = "by hash of the source"
    """How the rows of a missing split are chosen."""
    held_out_one_by_one: bool = True
    """Whether any row may be chosen, and not only a piece of a running text."""

    @property
    def sound(self) -> SoundFrames | None:
        """What a frame is, where sources are frames of sound that this corpus makes."""
        return None

    def recorded(self, split: str, texts: Texts, rows: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Of some rows of a split the samples at the rate of `sound`, where they can be had."""
        return iter(())

    def has(self, split: str, path: str | None) -> bool:
        """Whether there is a split of `SPLITS`; a missing one is held out from the training rows."""
        return True

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        """The rows of a split in order; `path` names a local folder or file to read."""
        raise TypeError(f"{type(self).__name__} does not say how to read rows")

    def selected_rows(self, wanted: "SplitSelection", path: str | None) -> Iterator[Row]:
        """The rows that `wanted` describes."""
        rows = self.rows(wanted.split, path)
        if not wanted.everything:
            rows = (row for row in rows if wanted.contains(row.source, row.target))
        return itertools.islice(rows, wanted.limit)

    def streamed(self, wanted: "SplitSelection", path: str | None, order: Sequence[int]) -> Any:
        """The same as a `datasets.IterableDataset`; shards in their own order when only the first rows are wanted."""
        rows = self.stream(wanted.split, path, None if wanted.limit else order)
        if not wanted.everything:
            rows = rows.filter(wanted.contains, input_columns=["source", "target"])
        return rows if wanted.limit is None else rows.take(wanted.limit)

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        """Every file that `rows` would read, so that a changed one is noticed; None when they come from no file."""
        return None

    def stream(self, split: str, path: str | None, order: Sequence[int] | None) -> Any:
        """The rows of a split as a `datasets.IterableDataset` with columns source and target, never all in memory.

        order: the seed and epoch by which shards are shuffled, where there are several; None for their own order.
        """
        import datasets  # takes two seconds to import

        arguments = {"corpus": self, "split": split, "path": path}
        return datasets.IterableDataset.from_generator(examples, gen_kwargs=arguments)

    def of_one_file(self) -> "Corpus | None":
        """The same format for a data.path that is one file, all rows of which are its train split.

        None where the corpus alone knows what is a split.
        """
        return None

    def proportions(self, rows: Sequence[int]) -> list[float] | None:
        """How much of an epoch each corpus of a mixture shall be, given the rows of each; None for every row once."""
        return None

    def refuse_path(self, path: str | None) -> None:
        """Raise InputError for a data.path where the corpus reads none."""
        if path is not None:
            raise InputError(
                f"the corpus {type(self).__name__} reads no data.path, which is {path}; leave it out, or choose the "
                "data.corpus that reads those files (docs/data.md)"
            )


def examples(corpus: Corpus, split: str, path: str | None) -> Iterator[dict[str, str]]:
    """Rows in the form of `datasets`."""
    for row in corpus.rows(split, path):
        yield {"source": row.source, "target": row.target}


class SplitSelection(NamedTuple):
    """Which rows of a corpus make up a split."""

    split: str
    """The corpus's own split to read."""
    low: float = 0.0
    """Rows whose source has a smaller hash, as a share of all hashes, are left out."""
    high: float = 1.0
    """So are those with this hash or a larger one."""
    limit: int | None = None
    """Only the first rows, of a mixture those of each corpus."""
    by_row: bool = False
    """The hash is that of source and target, because too few sources are distinct."""

    @property
    def everything(self) -> bool:
        """Whether no row is left for another split."""
        return (self.low, self.high) == (0.0, 1.0)

    def contains(self, source: str, target: str) -> bool:
        """Whether a row is in the split; rows of equal sources or, without one, targets are in the same split."""
        text = f"{source}\0{target}" if self.by_row else source or target
        return round(self.low * (1 << 32)) <= zlib.crc32(text.encode()) < round(self.high * (1 << 32))


def select_split(
    corpus: Corpus,
    split: str,
    path: str | None,
    holdout: float,
    limit: int | None,
    rows: Iterable[tuple[str, str]] | None = None,
) -> SplitSelection:
    """What to read for a split; a missing one is held out from the training rows by hash of the source.

    rows: those of training, source and target, where they are in memory.
    """
    if rows is None:
        rows = ((row.source, row.target) for row in corpus.rows("train", path))
    if split == "train":
        absent = {name: holdout > 0 and not corpus.has(name, path) for name in ("validation", "test")}
        low, high = holdout * absent["validation"], 1 - holdout * absent["test"]
        return SplitSelection("train", low, high, limit, any(absent.values()) and few_sources(corpus, rows, holdout))
    if corpus.has(split, path):
        return SplitSelection(split, limit=limit)
    if not holdout:
        raise InputError(f"there is no {split} split; name its files in data.corpus, or set data.holdout above 0")
    low, high = (0.0, holdout) if split == "validation" else (1 - holdout, 1.0)
    return SplitSelection("train", low, high, limit, few_sources(corpus, rows, holdout))


def least_holdout(
    corpus: Corpus, path: str | None, rows: Sequence[tuple[str, str]], splits: Sequence[str]
) -> float | None:
    """The least share, in hundredths, that leaves some training rows to each of `splits`; None where none does."""
    for share in (hundredths / 100 for hundredths in range(1, 51)):
        wanted = [select_split(corpus, split, path, share, None, rows) for split in ("train", *splits)]
        if all(any(one.contains(*row) for row in rows) for one in wanted):
            return share
    return None


def few_sources(corpus: Corpus, rows: Iterable[tuple[str, str]], holdout: float) -> bool:
    """Whether so few sources are distinct, each with rows of its own, that less than five would be held out."""
    if not corpus.held_out_one_by_one:
        return False
    enough, seen, distinct = LEAST_HELD_OUT / holdout, 0, set[str]()
    for source, target in itertools.islice(rows, LOOKED_AT):
        seen += 1
        distinct.add(source or target)
        if len(distinct) >= enough:
            return False
    return seen >= 2 * len(distinct)


def load(corpus: Corpus, wanted: SplitSelection, path: str | None, cache: Cache) -> Texts:
    """The rows that `wanted` describes, memory-mapped; read anew only when a file has changed."""
    files = corpus.stored(wanted.split, path)
    if files is None:
        return in_memory(corpus.selected_rows(wanted, path))
    origins = [Origin(str(file), checksum(file), file.stat().st_size) for file in files]
    key = [VERSION, plain(corpus), code_of(corpus), wanted, [(origin.file, origin.checksum) for origin in origins]]
    folder = cache.folder("rows", key, lambda folder: write(corpus.selected_rows(wanted, path), folder))
    return read(folder)._replace(origins=origins)
