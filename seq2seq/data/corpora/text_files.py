"""Corpora in local files: which files make up a split, and plain text, the simplest of their formats."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from seq2seq.data.corpora.corpus import SPLITS, Corpus, SplitSelection
from seq2seq.data.lines import as_list, lines
from seq2seq.data.rows import Row
from seq2seq.errors import InputError

OTHER_NAMES = {"validation": ("valid", "val", "dev")}
"""What the files of a split may be called besides its own name."""

Shard = tuple[Path, ...]
"""Files that are read together: one for most formats, two for parallel text."""


class Files(Corpus):
    """A corpus in local files. `files` names those of each split, in the folder data.path; patterns may match many."""

    writes: ClassVar[tuple[str, ...]] = ("read",)
    files: dict[str, str | list[str]] | None = None
    endings: Sequence[str] = ()

    def shards(self, split: str, path: str | None) -> list[Shard]:
        """The files of a split, in order; empty when there is no such split."""
        return [(file,) for file in find(path, split, self.files, (*self.endings, ""))]

    def read(self, shard: Shard) -> Iterator[Row]:
        """The rows of one shard."""
        raise TypeError(f"{type(self).__name__} does not say how to read a file")

    def has(self, split: str, path: str | None) -> bool:
        return bool(self.shards(split, path))

    def of_one_file(self) -> Corpus | None:
        corpus = copy.copy(self)
        corpus.files = None
        return corpus

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        return itertools.chain.from_iterable(map(self.read, self.shards(split, path)))

    def stream(self, split: str, path: str | None, order: Sequence[int] | None) -> Any:
        import datasets  # takes two seconds to import

        shards = self.shards(split, path)
        if order is not None:
            shards = [shards[index] for index in np.random.default_rng(list(order)).permutation(len(shards))]
        arguments = {"shards": [(self, shard) for shard in shards]}
        return datasets.IterableDataset.from_generator(shard_examples, gen_kwargs=arguments)

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        return [file for shard in self.shards(split, path) for file in shard]


def shard_examples(shards: list[tuple[Files, Shard]]) -> Iterator[dict[str, str]]:
    """The rows of shards in the form of `datasets`, which continues with the shard in which it stopped."""
    for corpus, shard in shards:
        for row in corpus.read(shard):
            yield {"source": row.source, "target": row.target}


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
        self.held_out_one_by_one = not running
        self.held_out = "its beginning and its end" if running else "by hash of the line"

    def selected_rows(self, wanted: SplitSelection, path: str | None) -> Iterator[Row]:
        if not self.running or wanted.everything:
            return super().selected_rows(wanted, path)
        count = sum(1 for _ in self.rows(wanted.split, path))
        first, after = round(wanted.low * count), round(wanted.high * count)
        if wanted.limit is not None:
            after = min(after, first + wanted.limit)
        return itertools.islice(self.rows(wanted.split, path), first, max(first, after))

    def read(self, shard: Shard) -> Iterator[Row]:
        [file] = shard
        for number, line in enumerate(lines(file, self.encoding), 1):
            yield Row("", line, number, str(file))


def find(
    path: str | None, split: str, files: Mapping[str, str | list[str]] | None, endings: Sequence[str]
) -> list[Path]:
    """The files of a split, by their usual names unless `files` has others; empty when there is no such split."""
    if path is None:
        raise InputError("this data.corpus reads files; name their folder with --data.path FOLDER")
    folder, files = Path(path), files or {}
    if folder.is_file():
        return [folder] if split == "train" and not files else []
    if not folder.is_dir():
        raise InputError(f"data.path {location(folder)} does not exist; name the folder of the corpus with --data.path")
    unknown = sorted(set(files) - set(SPLITS))
    if unknown:
        raise InputError(f"data.corpus.files names {unknown[0]!r}; it maps {', '.join(SPLITS)} to files")
    if split in files:
        return [file for pattern in as_list(files[split]) for file in matching(folder, str(pattern), endings)]
    for name in usual_names(split):
        for ending, packed in itertools.product(endings, ("", ".gz")):
            if (file := folder / f"{name}{ending}{packed}").is_file():
                return [file]
    if split == "train":
        raise InputError(f"{location(folder)} holds no train{endings[0]} ({contents(folder)}); name the files with "
                         "data.corpus.files, e.g. {train: my_data.*}, or another folder with --data.path")  # fmt: skip
    return []


def usual_names(split: str) -> Sequence[str]:
    """What the files of a split may be called."""
    return (split, *OTHER_NAMES.get(split, ()))


def matching(folder: Path, pattern: str, endings: Sequence[str]) -> list[Path]:
    """The files that a name or pattern in data.corpus.files means, with one of the endings; without packed copies."""
    for ending in endings:  # "train-*" means train-1.en, not train-1.de
        matches: dict[str, Path] = {}
        for packed in (".gz", ""):
            try:
                named = folder / (pattern + ending + packed)
                itself = [named] if named.parent == folder and named.is_file() else []
                files = itself or [file for file in folder.glob(pattern + ending + packed) if file.is_file()]
            except (ValueError, NotImplementedError) as problem:
                raise InputError(f"data.corpus.files: {pattern!r} is no name inside {folder}: {problem}") from problem
            matches |= {unpacked(file): file for file in sorted(files, reverse=True)}
        if matches:
            return [matches[name] for name in sorted(matches)]
    raise InputError(f"{location(folder)} holds no {pattern} as data.corpus.files says ({contents(folder)}); name "
                     "another folder with --data.path")  # fmt: skip


def location(folder: Path) -> str:
    """A folder for a message: a relative one is another one where the command is started elsewhere."""
    return str(folder) if folder.is_absolute() else f"{folder} in {Path.cwd()}"


def unpacked(file: Path) -> str:
    """The name of a file without .gz."""
    return str(file).removesuffix(".gz")


def contents(folder: Path) -> str:
    """What a folder holds, for a message."""
    names = sorted(file.name for file in folder.iterdir())
    return f"it holds {', '.join(names[:12]) or 'nothing'}{', ...' * (len(names) > 12)}"
