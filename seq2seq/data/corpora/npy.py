"""Corpora in arrays of numpy: features of audio, frames of video, readings of sensors."""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from seq2seq.data.corpora.text_files import Files, Shard, contents, usual_names
from seq2seq.data.lines import lines
from seq2seq.data.number_text import text_of_array
from seq2seq.data.rows import Row
from seq2seq.errors import InputError

MAGIC, HEADER = b"\x93NUMPY", 1 << 16
"""With what files of numpy begin, and the bytes of the longest header."""


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
        for name in usual_names(split):
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
        """The file or folder of one side of a split, if there is one."""
        candidates = [file for file in (folder / f"{name}.npy", folder / f"{name}.txt") if file.is_file()]
        candidates += [folder / name] * (folder / name).is_dir()
        if len(candidates) > 1:
            raise InputError(f"{candidates[0]} and {candidates[1]} both claim to be {name}; remove one")
        return candidates[0] if candidates else None

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        sides = [side for shard in self.shards(split, path) for side in shard]
        return [file for side in sides for file in (numbered(side) if side.is_dir() else [side])]

    def read(self, shard: Shard) -> Iterator[Row]:
        folders = all(side.is_dir() for side in shard)
        for number, (one, other) in enumerate(zip_longest(*map(self.sequences, shard)), 1):
            if one is None or other is None:
                short, long = shard if one is None else shard[::-1]
                raise InputError(
                    f"{short} has {number - 1} rows, but {long} has more; row n of one belongs to row n of the other"
                )
            if folders and one[1].stem != other[1].stem:
                raise InputError(f"{one[1]} and {other[1]} would be read together; give both the same name")
            text, file, line = one
            yield Row(text, other[0], line, str(file))

    def sequences(self, side: Path) -> Iterator[tuple[str, Path, int]]:
        """One side of each row in order: its text, its file, and its number there, from 1."""
        if side.is_dir():
            for file in numbered(side):
                yield text_at(array_in(file), file, 1), file, 1
        elif side.suffix == ".npy":
            for line, values in enumerate(array_in(side), 1):
                yield text_at(np.atleast_1d(values), side, line), side, line
        else:
            for line, text in enumerate(lines(side, self.encoding), 1):
                yield text, side, line


def numbered(folder: Path) -> list[Path]:
    """The files of numpy in a folder by the last number in their names."""
    files = []
    for file in sorted(folder.glob("*.npy")):
        digits = re.findall(r"\d+", file.stem)
        if not digits:
            raise InputError(f"{file} has no number in its name; number the rows, such as 0001.npy")
        files.append((int(digits[-1]), file))
    if not files:
        raise InputError(f"{folder} holds no .npy file ({contents(folder)}); put one there for each row")
    return [file for _, file in sorted(files)]


def array_in(file: Path) -> np.ndarray:
    """The array of a file, left on the disk; an array of objects, which could run code, is never loaded."""
    try:
        refuse_long_header(file)
        array = np.lib.format.open_memmap(file, mode="r")
    except Exception as problem:  # a header is Python, and its numbers are anything
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        raise InputError(f"{file}: not an array of numbers ({reason}); write it with numpy.save, rows of one length, "
                         "or a file for each row") from problem  # fmt: skip
    if not isinstance(array, np.ndarray) or not array.ndim:
        raise InputError(f"{file}: not an array of rows; write it with numpy.save")
    return array


def refuse_long_header(file: Path) -> None:
    """Raise ValueError for a header that claims to be long: numpy would take the memory for it at once."""
    with open(file, "rb") as opened:
        beginning = opened.read(12)
    if beginning.startswith(MAGIC) and beginning[6:7] > b"\x01" and int.from_bytes(beginning[8:], "little") > HEADER:
        raise ValueError("its header claims to be longer than any")


def text_at(values: np.ndarray, file: Path, line: int) -> str:
    """A sequence as text; what is wrong with it names its location."""
    try:
        return text_of_array(np.asarray(values))
    except InputError as problem:
        raise InputError(f"{file}:{line}: {problem}") from problem
