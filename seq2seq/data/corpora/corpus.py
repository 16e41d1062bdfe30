"""Corpora: where rows come from, and which of them make up a split."""

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seq2seq.configurable import Part, plain
from seq2seq.data.cache import Cache, checksum, code_of
from seq2seq.data.corpora.builtin import cldr
from seq2seq.data.corpora.lines import JOINER
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

    def taken(self, wanted: "Take", path: str | None) -> Iterator[Row]:
        """The rows that `wanted` describes."""
        rows = self.rows(wanted.split, path)
        if not wanted.everything:
            rows = (row for row in rows if wanted.takes(row.source, row.target))
        return itertools.islice(rows, wanted.limit)

    def streamed(self, wanted: "Take", path: str | None, order: Sequence[int]) -> Any:
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


class Localised(Corpus):
    """A corpus that is generated from Unicode CLDR: no download. A subclass writes `made`."""

    train: int
    validation: int
    test: int
    _rows: Mapping[str, Sequence[tuple[str, str]]] | None = None

    def made(self, counts: Mapping[str, int]) -> Mapping[str, Sequence[tuple[str, str]]]:
        """So many sources and targets of each split; ValueError for a locale that cannot give them."""
        raise TypeError(f"{type(self).__name__} does not say how to make rows")

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        if path is not None:
            name = type(self).__name__
            raise InputError(f"the corpus {name} is generated and reads no data.path; choose data.corpus Parallel")
        if self._rows is None:  # all splits are drawn together
            try:
                self._rows = self.made({"train": self.train, "validation": self.validation, "test": self.test})
            except ValueError as problem:
                raise InputError(f"{problem}; choose another locale in data.corpus") from problem
        for number, (source, target) in enumerate(self._rows[split], 1):
            yield Row(source, target, number)


class Cldr(Localised):
    """Localised phrases of two languages, of any locale pair."""

    def __init__(
        self,
        source_locale: str = "en",
        target_locale: str = "de",
        train: int = 20_000,
        validation: int = 500,
        test: int = 1_000,
        seed: int = 1,
    ) -> None:
        """source_locale, target_locale: such as en, de, pt_BR; train, validation, test: rows of each split."""
        self.source_locale, self.target_locale, self.seed = source_locale, target_locale, seed
        self.train, self.validation, self.test = train, validation, test

    def made(self, counts: Mapping[str, int]) -> Mapping[str, Sequence[tuple[str, str]]]:
        made = cldr.generate(self.source_locale, self.target_locale, counts, self.seed)
        return {split: [(row["source"], row["target"]) for row in rows] for split, rows in made.items()}


class Mixture(Corpus):
    """Several corpora in one, each as much of an epoch as its weight says."""

    def __init__(
        self,
        corpora: list[Corpus],
        shares: list[float] | None = None,
        temperature: float = 1.0,
        names: list[str] | None = None,
    ) -> None:
        """corpora: any, all of the folder data.path. shares: how much of the training each one is, in proportion.

        temperature: without shares, proportional to rows ** (1 / temperature): 1 for as many as there are, more for
        more of the small ones (Arivazhagan et al. 2019, sec. 4.2). names: put before each source of a corpus, with a
        tab, such as its language.
        """
        if not corpora:
            raise InputError("data.corpus.corpora is empty; name at least one corpus")
        for name, values in (("shares", shares), ("names", names)):
            if values is not None and len(values) != len(corpora):
                raise InputError(f"data.corpus.{name} has {len(values)} entries for {len(corpora)} corpora")
        if shares is not None and not min(shares) > 0:
            raise InputError(f"data.corpus.shares is {shares}; each must be above 0")
        if not temperature > 0:
            raise InputError(f"data.corpus.temperature is {temperature}; it must be above 0")
        self.corpora, self.shares, self.temperature, self.names = corpora, shares, temperature, names

    def has(self, split: str, path: str | None) -> bool:
        return all(corpus.has(split, path) for corpus in self.corpora)

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        return self.taken(Take(split), path)

    def taken(self, wanted: "Take", path: str | None) -> Iterator[Row]:
        for number, corpus in enumerate(self.corpora):
            prefix = "" if self.names is None else self.names[number] + JOINER
            for row in corpus.taken(wanted, path):  # before the prefix, so that a source is held out for all names
                yield row._replace(source=prefix + row.source, corpus=number)

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        each = [corpus.stored(split, path) for corpus in self.corpora]
        return None if any(one is None for one in each) else [file for one in each for file in one or ()]

    def streamed(self, wanted: "Take", path: str | None, order: Sequence[int]) -> Any:
        import datasets

        if self.shares is None and len(self.corpora) > 1:
            raise InputError("a mixture that is streamed needs data.corpus.shares: its rows have not been counted")
        parts = [corpus.streamed(wanted, path, order) for corpus in self.corpora]
        if self.names is not None:
            prefixes = [{"prefix": name + JOINER} for name in self.names]
            parts = [part.map(with_prefix, fn_kwargs=prefix) for part, prefix in zip(parts, prefixes, strict=True)]
        shares = self.proportions([1] * len(parts))
        seed = int(np.random.SeedSequence(list(order)).generate_state(1)[0])
        return datasets.interleave_datasets(parts, shares, seed=seed, stopping_strategy="all_exhausted")

    def proportions(self, rows: Sequence[int]) -> list[float] | None:
        wanted = [count ** (1 / self.temperature) for count in rows]
        if self.shares is not None:
            wanted = [share if count else 0.0 for share, count in zip(self.shares, rows, strict=False)]
        return [one / sum(wanted) for one in wanted]


def with_prefix(row: dict[str, str], prefix: str) -> dict[str, str]:
    """A row whose source begins with `prefix`."""
    return {"source": prefix + row["source"], "target": row["target"]}


class Take(NamedTuple):
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


def take(corpus: Corpus, split: str, path: str | None, holdout: float, limit: int | None = None) -> Take:
    """What to read for a split; one that the corpus lacks is held out from its training rows by hash of the source."""
    if split == "train":
        absent = {name: holdout > 0 and not corpus.has(name, path) for name in ("validation", "test")}
        return Take("train", holdout * absent["validation"], 1 - holdout * absent["test"], limit)
    if corpus.has(split, path):
        return Take(split, limit=limit)
    if not holdout:
        raise InputError(f"there is no {split} split; name its files in data.corpus, or set data.holdout above 0")
    return Take("train", *((0.0, holdout) if split == "validation" else (1 - holdout, 1.0)), limit)


def load(corpus: Corpus, wanted: Take, path: str | None, cache: Cache) -> Texts:
    """The rows that `wanted` describes, memory-mapped; read anew only when a file has changed."""
    files = corpus.stored(wanted.split, path)
    if files is None:
        return in_memory(corpus.taken(wanted, path))
    origins = [Origin(str(file), checksum(file), file.stat().st_size) for file in files]
    key = [VERSION, plain(corpus), code_of(corpus), wanted, [(one.file, one.checksum) for one in origins]]
    folder = cache.folder("rows", key, lambda folder: write(corpus.taken(wanted, path), folder))
    return read(folder)._replace(origins=origins)
