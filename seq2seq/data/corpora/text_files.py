"""Corpora in local files of every common form, gzipped or not."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.data.corpora import lines as readers
from seq2seq.data.corpora.corpus import Corpus, Take
from seq2seq.data.corpora.hub import Hub
from seq2seq.data.corpora.lines import Pair
from seq2seq.data.rows import Row
from seq2seq.errors import InputError, check_range

SPLITS: Mapping[str, Sequence[str]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""What the files of a split may be called."""

Shard = tuple[Path, ...]
"""Files that are read together: one for most forms, two for parallel text."""

Columns = int | str | list[int | str]
"""One column or several, which are joined by tabs."""


class Files(Corpus):
    """A corpus in local files. `files` names those of each split, in the folder data.path; patterns may match many."""

    files: dict[str, str | list[str]] | None = None
    endings: Sequence[str] = ()

    def shards(self, split: str, path: str | None) -> list[Shard]:
        """The files of a split, in order; none when there is no such split."""
        return [(file,) for file in find(path, split, self.files, (*self.endings, ""))]

    def read(self, shard: Shard) -> Iterator[Pair]:
        """The pairs of one shard."""
        raise TypeError(f"{type(self).__name__} does not say how to read a file")

    def has(self, split: str, path: str | None) -> bool:
        return bool(self.shards(split, path))

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        for shard in self.shards(split, path):
            for source, target, line in self.read(shard):
                yield Row(source, target, line, str(shard[0]))

    def stream(self, split: str, path: str | None, order: Sequence[int] | None) -> Any:
        import datasets  # takes two seconds to import

        shards = self.shards(split, path)
        if order is not None:
            shards = [shards[place] for place in np.random.default_rng(list(order)).permutation(len(shards))]
        described = {"shards": [(self, shard) for shard in shards]}
        return datasets.IterableDataset.from_generator(shard_examples, gen_kwargs=described)

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        return [file for shard in self.shards(split, path) for file in shard]


def shard_examples(shards: list[tuple[Files, Shard]]) -> Iterator[dict[str, str]]:
    """The rows of shards in the form of `datasets`, which continues with the shard in which it stopped."""
    for corpus, shard in shards:
        for source, target, _ in corpus.read(shard):
            yield {"source": source, "target": target}


class Parallel(Files):
    """Line-aligned text: files `<split>.<source>` and `<split>.<target>`, gzipped or not, or a data set of the Hub."""

    def __init__(
        self,
        source: str,
        target: str,
        name: str | None = None,
        configuration: str | None = None,
        splits: dict[str, str | None] | None = None,
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """source, target: endings of the files and columns on the Hub, such as en and de.

        name, configuration, splits: the data set on the Hub, read when there is no data.path, and what train,
        validation and test are called there. files: what they are called in the folder, without the ending.
        """
        self.source, self.target, self.name, self.configuration = source, target, name, configuration
        self.splits, self.files, self.encoding = splits, files, encoding

    def shards(self, split: str, path: str | None) -> list[Shard]:
        if path is not None and Path(path).is_file():
            raise InputError(f"data.path {path} is a file; parallel text is in two, so give the folder that holds them")
        sides = [find(path, split, self.files, (f".{ending}",)) for ending in (self.source, self.target)]
        if any(sides) and len(sides[0]) != len(sides[1]):
            there, ending = (self.source, self.target) if sides[0] else (self.target, self.source)
            raise InputError(
                f"data.path {path}: {split} has {max(map(len, sides))} file(s) ending in .{there} "
                f"but {min(map(len, sides))} in .{ending}"
            )
        for one, other in zip(*sides, strict=True):
            if unpacked(one).removesuffix(f".{self.source}") != unpacked(other).removesuffix(f".{self.target}"):
                raise InputError(f"{one} and {other} would be read together; give parallel files the same name")
        return list(zip(*sides, strict=True))

    def read(self, shard: Shard) -> Iterator[Pair]:
        return readers.parallel(shard[0], shard[1], self.encoding)

    def has(self, split: str, path: str | None) -> bool:
        return super().has(split, path) if path is not None else self.hub().has(split, None)

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        return super().rows(split, path) if path is not None else self.hub().rows(split, None)

    def stream(self, split: str, path: str | None, order: Sequence[int] | None) -> Any:
        return super().stream(split, path, order) if path is not None else self.hub().stream(split, None, order)

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        return super().stored(split, path) if path is not None else self.hub().stored(split, None)

    def hub(self) -> "Hub":
        """The same data on the Hub."""
        if self.name is None:
            raise InputError("data.corpus Parallel needs --data.path FOLDER or the name of a Hub data set")
        return Hub(self.name, self.source, self.target, self.configuration, self.splits)


class Tsv(Files):
    """A table, one row a line, columns divided by a delimiter; quotation marks are text."""

    endings = (".tsv", ".txt", ".csv")

    def __init__(
        self,
        source: Columns = 1,
        target: Columns = 2,
        delimiter: str = "\t",
        columns: int | None = None,
        header: bool = False,
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """source, target: columns counted from 1, or names, which the first line then holds (so does `header` say).

        Several columns are joined by tabs. columns: the most columns of a line, so that the last one may hold
        delimiters. files: the files of each split in the folder data.path; patterns may match many.
        """
        check_delimiter(delimiter)
        if columns is not None:
            check_range("data.corpus.columns", columns, 1)
        self.source, self.target, self.delimiter, self.columns = source, target, delimiter, columns
        self.header, self.files, self.encoding = header, files, encoding

    def read(self, shard: Shard) -> Iterator[Pair]:
        records = readers.delimited(shard[0], self.delimiter, self.columns, self.encoding)
        return readers.table(records, shard[0], *named(self.source, self.target, self.header))


class Lines(Files):
    """Plain text: each line is a target, its source is empty."""

    endings = (".txt", "")

    def __init__(
        self, running: bool = False, files: dict[str, str | list[str]] | None = None, encoding: str = "utf-8"
    ) -> None:
        """running: the lines are one text: what is held out is its beginning for validation and its end for the test.

        files: the files of each split in the folder data.path; patterns may match many.
        """
        self.running, self.files, self.encoding = running, files, encoding
        self.held_out = "its beginning and its end" if running else "by hash of the line"

    def taken(self, wanted: Take, path: str | None) -> Iterator[Row]:
        if not self.running or wanted.everything:
            return super().taken(wanted, path)
        count = sum(1 for _ in self.rows(wanted.split, path))
        first, after = round(wanted.low * count), round(wanted.high * count)
        if wanted.limit is not None:
            after = min(after, first + wanted.limit)
        return itertools.islice(self.rows(wanted.split, path), first, max(first, after))

    def read(self, shard: Shard) -> Iterator[Pair]:
        for number, line in enumerate(readers.lines(shard[0], self.encoding), 1):
            yield "", line, number


class Csv(Files):
    """A table with a delimiter, in which quotation marks protect fields that hold delimiters or line ends."""

    endings = (".csv", ".tsv")

    def __init__(
        self,
        source: Columns = "source",
        target: Columns = "target",
        delimiter: str = ",",
        header: bool = True,
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """source, target: names of columns in the header, or numbers from 1; several are joined by tabs.

        files: the files of each split in the folder data.path; patterns may match many.
        """
        check_delimiter(delimiter)
        self.source, self.target, self.delimiter, self.header = source, target, delimiter, header
        self.files, self.encoding = files, encoding

    def read(self, shard: Shard) -> Iterator[Pair]:
        records = readers.quoted(shard[0], self.delimiter, self.encoding)
        return readers.table(records, shard[0], *named(self.source, self.target, self.header))


class Jsonl(Files):
    """One JSON object a line."""

    endings: Sequence[str] = (".jsonl", ".json", ".ndjson")

    def __init__(
        self,
        source: str | list[str] = "source",
        target: str | list[str] = "target",
        files: dict[str, str | list[str]] | None = None,
    ) -> None:
        """source, target: names of values, with dots into inner objects (translation.en); several are joined by tabs.

        files: the files of each split in the folder data.path; patterns may match many.
        """
        self.source, self.target, self.files = source, target, files

    def read(self, shard: Shard) -> Iterator[Pair]:
        return readers.json_lines(shard[0], (readers.listed(self.source), readers.listed(self.target)))


class Parquet(Jsonl):
    """Parquet files, with columns where JSON lines have names; lists of texts become tokens joined by tabs."""

    endings = (".parquet",)

    def read(self, shard: Shard) -> Iterator[Pair]:
        return readers.parquet(shard[0], (readers.listed(self.source), readers.listed(self.target)))


class Conllu(Files):
    """Universal Dependencies: two columns of each sentence, tokens joined by tabs (word forms may hold blanks)."""

    endings = (".conllu",)

    def __init__(
        self,
        source: str | list[str] = "form",
        target: str | list[str] = "upos",
        files: dict[str, str | list[str]] | None = None,
    ) -> None:
        """source, target: columns: id, form, lemma, upos, xpos, feats, head, deprel, deps, misc.

        Several are joined by ￨ in each word, as the tokenizer TokenFeatures wants them. files: the files of each split
        in the folder data.path; patterns may match many.
        """
        for name, columns in (("source", source), ("target", target)):
            for column in readers.listed(columns):
                if column not in readers.COLUMNS:
                    raise InputError(f"data.corpus.{name} is {column!r}; CoNLL-U has {', '.join(readers.COLUMNS)}")
        self.source, self.target, self.files = source, target, files

    def read(self, shard: Shard) -> Iterator[Pair]:
        return readers.conllu(shard[0], readers.listed(self.source), readers.listed(self.target))


class Conll(Files):
    """A token a line, columns of tags beside it, a blank line after each sentence; tokens are joined by tabs."""

    endings = (".conll", ".bio", ".txt")

    def __init__(
        self,
        source: int | list[int] = 1,
        target: int | list[int] = 2,
        delimiter: str | None = None,
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """source, target: columns, counted from 1; delimiter: what divides them, null for any blanks.

        Several columns are joined by ￨ in each word, as the tokenizer TokenFeatures wants them. files: the files of
        each split in the folder data.path; patterns may match many.
        """
        for name, columns in (("source", source), ("target", target)):
            for column in readers.listed(columns):
                check_range(f"data.corpus.{name}", column, 1)
        if delimiter is not None:
            check_delimiter(delimiter)
        self.source, self.target, self.delimiter, self.files, self.encoding = source, target, delimiter, files, encoding

    def read(self, shard: Shard) -> Iterator[Pair]:
        columns = readers.listed(self.source), readers.listed(self.target)
        return readers.conll(shard[0], *columns, self.delimiter, self.encoding)


def find(
    path: str | None, split: str, files: Mapping[str, str | list[str]] | None, endings: Sequence[str]
) -> list[Path]:
    """The files of a split, by their usual names unless `files` has others; none when there is no such split."""
    if path is None:
        raise InputError("this data.corpus reads files; name their folder with --data.path FOLDER")
    folder = Path(path)
    if folder.is_file():
        return [folder] if split == "train" and not files else []
    if not folder.is_dir():
        raise InputError(f"data.path {folder} does not exist; give the folder that holds the files of the corpus")
    unknown = sorted(set(files or {}) - set(SPLITS))
    if unknown:
        raise InputError(f"data.corpus.files names {unknown[0]!r}; it maps train, validation and test to files")
    if split not in (files or {}):
        found = [folder / f"{name}{ending}{packed}" for name in SPLITS[split] for ending in endings
                 for packed in ("", ".gz")]  # fmt: skip
        found = [file for file in found if file.is_file()][:1]
        if not found and split == "train":
            raise InputError(f"{folder} holds no train{endings[0]} ({contents(folder)}); name the files with "
                             "data.corpus.files, e.g. {train: my_data.*}")  # fmt: skip
        return found
    return [
        file for pattern in readers.listed((files or {})[split]) for file in matching(folder, str(pattern), endings)
    ]


def matching(folder: Path, pattern: str, endings: Sequence[str]) -> list[Path]:
    """The files that a name or pattern in data.corpus.files means, given one of the endings; a packed copy is left."""
    for ending in endings:  # "train-*" means train-1.en, not train-1.de
        found: dict[str, Path] = {}
        for packed in (".gz", ""):
            try:
                files = [file for file in folder.glob(pattern + ending + packed) if file.is_file()]
            except (ValueError, NotImplementedError) as problem:
                raise InputError(f"data.corpus.files: {pattern!r} is no name inside {folder}: {problem}") from problem
            found |= {unpacked(file): file for file in sorted(files, reverse=True)}
        if found:
            return [found[name] for name in sorted(found)]
    raise InputError(f"{folder} holds no {pattern} as data.corpus.files says ({contents(folder)})")


def unpacked(file: Path) -> str:
    """The name of a file without .gz."""
    return str(file).removesuffix(".gz")


def contents(folder: Path) -> str:
    """What a folder holds, for a message."""
    names = sorted(file.name for file in folder.iterdir())
    return f"it holds {', '.join(names[:12]) or 'nothing'}{', ...' * (len(names) > 12)}"


def check_delimiter(delimiter: str) -> None:
    """A delimiter is one character."""
    if len(delimiter) != 1:
        raise InputError(f'data.corpus.delimiter is {delimiter!r}; it must be one character, for a tab "\\t"')


def named(source: Columns, target: Columns, header: bool) -> tuple[tuple[list[int | str], list[int | str]], bool]:
    """The columns of both sides, and whether the first line names the columns."""
    sides = readers.listed(source), readers.listed(target)
    return sides, header or any(isinstance(column, str) for side in sides for column in side)
