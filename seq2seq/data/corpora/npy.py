"""Corpora in arrays of numpy: features of audio, frames of video, readings of sensors."""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seq2seq.data.corpora.lines import Pair, lines
from seq2seq.data.corpora.text_files import SPLITS, Files, Shard, contents
from seq2seq.data.number_text import text_of_array
from seq2seq.data.rows import Row
from seq2seq.errors import InputError

MAGIC, HEADER = b"\x93NUMPY", 1 << 16
"""With what files of numpy begin, and the bytes of the longest header."""


class Sequence(NamedTuple):
    """One side of a row."""

    text: str
    file: Path
    line: int
    """The number of the row in that file, from 1."""


class Npy(Files):
    """Arrays of numpy beside each other, or an array and the lines of a text.

    A side of a split is a file `<split>.<source>.npy` with an array (rows,), (rows, steps) or (rows, steps, numbers),
    a folder `<split>.<source>` with a file of numpy for each row, (steps,) or (steps, numbers), whose names are
    numbered, or a file `<split>.<source>.txt` with a line for each row.
    """

    def __init__(self, source: str = "source", target: str = "target", encoding: str = "utf-8") -> None:
        """source, target: what the sides are called, such as frames and text; encoding: of lines."""
        self.source, self.target, self.encoding = source, target, encoding

    def shards(self, split: str, path: str | None) -> list[Shard]:
        if path is None or not Path(path).is_dir():
            raise InputError(f"data.path is {path}; data.corpus Npy needs the folder that holds its arrays")
        folder = Path(path)
        for name in SPLITS[split]:
            sides = [self.side(folder, f"{name}.{side}") for side in (self.source, self.target)]
            if all(sides):
                return [tuple(side for side in sides if side is not None)]
            for side, other, called in zip(sides, sides[::-1], (self.target, self.source), strict=True):
                if side is not None and other is None:
                    raise InputError(f"{side} has no {name}.{called}.npy or .txt, nor a folder of that name, beside it")
        if split == "train":
            raise InputError(
                f"{folder} holds no train.{self.source}.npy ({contents(folder)}); name the sides with "
                "data.corpus.source and data.corpus.target"
            )
        return []

    @staticmethod
    def side(folder: Path, name: str) -> Path | None:
        """Where one side of a split is, if anywhere."""
        places = folder / f"{name}.npy", folder / f"{name}.txt"
        found = [place for place in places if place.is_file()]
        found += [folder / name] * (folder / name).is_dir()
        if len(found) > 1:
            raise InputError(f"{found[0]} and {found[1]} both claim to be {name}; remove one")
        return found[0] if found else None

    def read(self, shard: Shard) -> Iterator[Pair]:
        for source, target in self.pairs(shard):
            yield source.text, target.text, source.line

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        for shard in self.shards(split, path):
            for source, target in self.pairs(shard):
                yield Row(source.text, target.text, source.line, str(source.file))

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        places = [place for shard in self.shards(split, path) for place in shard]
        return [file for place in places for file in (numbered(place) if place.is_dir() else [place])]

    def pairs(self, shard: Shard) -> Iterator[tuple[Sequence, Sequence]]:
        """Both sides of each row; as many on each."""
        folders = all(place.is_dir() for place in shard)
        for row, (one, other) in enumerate(zip_longest(*(self.sequences(place) for place in shard)), 1):
            if one is None or other is None:
                short, long = shard if one is None else shard[::-1]
                raise InputError(f"{short} has {row - 1} rows, but {long} has more; row n of one belongs to n of other")
            if folders and one.file.stem != other.file.stem:
                raise InputError(f"{one.file} and {other.file} would be read together; give both the same name")
            yield one, other

    def sequences(self, place: Path) -> Iterator[Sequence]:
        """One side of each row in order."""
        if place.is_dir():
            for file in numbered(place):
                yield Sequence(text_at(array_in(file), file, 1), file, 1)
        elif place.suffix == ".npy":
            for line, values in enumerate(array_in(place), 1):
                yield Sequence(text_at(np.atleast_1d(values), place, line), place, line)
        else:
            for line, text in enumerate(lines(place, self.encoding), 1):
                yield Sequence(text, place, line)


def numbered(folder: Path) -> list[Path]:
    """The files of numpy in a folder by the last number in their names."""
    found = []
    for file in sorted(folder.glob("*.npy")):
        digits = re.findall(r"\d+", file.stem)
        if not digits:
            raise InputError(f"{file} has no number in its name; number the rows, such as 0001.npy")
        found.append((int(digits[-1]), file))
    if not found:
        raise InputError(f"{folder} holds no .npy file ({contents(folder)}); put one there for each row")
    return [file for _, file in sorted(found)]


def array_in(file: Path) -> np.ndarray:
    """The array of a file, left on the disk; an array of objects, which could run code, is never loaded."""
    try:
        refuse_long_header(file)
        found = np.lib.format.open_memmap(file, mode="r")
    except Exception as problem:  # a header is Python, and its numbers are anything
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        raise InputError(f"{file}: no array of numbers ({reason}); write it with numpy.save, all rows of one length, "
                         "or a file for each row") from problem  # fmt: skip
    if not isinstance(found, np.ndarray) or not found.ndim:
        raise InputError(f"{file}: no array of rows; write it with numpy.save")
    return found


def refuse_long_header(file: Path) -> None:
    """Raise ValueError for a header that claims to be long: numpy would take the memory for it at once."""
    with open(file, "rb") as opened:
        beginning = opened.read(12)
    if beginning.startswith(MAGIC) and beginning[6:7] > b"\x01" and int.from_bytes(beginning[8:], "little") > HEADER:
        raise ValueError("its header claims to be longer than any")


def text_at(values: np.ndarray, file: Path, line: int) -> str:
    """A sequence as text; what is wrong with it names its place."""
    try:
        return text_of_array(np.asarray(values))
    except InputError as problem:
        raise InputError(f"{file}:{line}: {problem}") from problem
