"""Parallel text: line n of one file belongs to line n of the other."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from seq2seq.data.corpora.hub import Hub
from seq2seq.data.corpora.text_files import Files, Shard, find, unpacked
from seq2seq.data.lines import lines
from seq2seq.data.rows import Row
from seq2seq.errors import InputError


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
        pairs: dict[str, list[str]] | None = None,
    ) -> None:
        """source, target: endings of the files and columns on the Hub, such as en and de.

        name, configuration, splits: the data set on the Hub, read when there is no data.path, and what train,
        validation and test are called there. files: what they are called in the folder, without the ending.
        pairs: instead, the whole names of two files for each split, the source first, which may have nothing in common
            (`{train: [train/seq.in, train/seq.out]}`); source and target are then not looked at.
        """
        for split, names in (pairs or {}).items():
            if len(names) != 2:
                raise InputError(f"data.corpus.pairs: {split} has {len(names)} names; it takes two, the source first")
        if pairs and files:
            raise InputError("data.corpus.pairs and data.corpus.files both name the files; leave one of them out")
        self.source, self.target, self.name, self.configuration = source, target, name, configuration
        self.splits, self.files, self.encoding, self.pairs = splits, files, encoding, pairs

    def shards(self, split: str, path: str | None) -> list[Shard]:
        if path is not None and Path(path).is_file():
            raise InputError(f"data.path {path} is a file; parallel text is in two, so give the folder that holds them")
        if self.pairs is not None:
            named = [
                find(path, split, {name: pair[side] for name, pair in self.pairs.items()}, ("",)) for side in (0, 1)
            ]
            return list(zip(*named, strict=True))
        sides = [find(path, split, self.files, (f".{ending}",)) for ending in (self.source, self.target)]
        if any(sides) and len(sides[0]) != len(sides[1]):
            there, ending = (self.source, self.target) if sides[0] else (self.target, self.source)
            raise InputError(
                f"data.path {path}: {split} has {max(map(len, sides))} file(s) ending in .{there} "
                f"but {min(map(len, sides))} in .{ending}"
            )
        shards = list(zip(*sides, strict=True))
        for one, other in shards:
            if unpacked(one).removesuffix(f".{self.source}") != unpacked(other).removesuffix(f".{self.target}"):
                raise InputError(f"{one} and {other} would be read together; give parallel files the same name")
        return shards

    def read(self, shard: Shard) -> Iterator[Row]:
        source, target = shard
        pairs = zip_longest(*(lines(file, self.encoding) for file in shard))
        for number, (one, other) in enumerate(pairs, 1):
            if one is None or other is None:
                longer = number + sum(1 for _ in pairs)
                counts = (number - 1, longer) if one is None else (longer, number - 1)
                raise InputError(
                    f"{source} has {counts[0]} lines but {target} has {counts[1]}; "
                    "line n of one must belong to line n of the other"
                )
            yield Row(one, other, number, str(source))

    def has(self, split: str, path: str | None) -> bool:
        return super().has(split, path) if path is not None else self.hub().has(split, None)

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        return super().rows(split, path) if path is not None else self.hub().rows(split, None)

    def stream(self, split: str, path: str | None, order: Sequence[int] | None) -> Any:
        return super().stream(split, path, order) if path is not None else self.hub().stream(split, None, order)

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        return super().stored(split, path) if path is not None else self.hub().stored(split, None)

    def hub(self) -> Hub:
        """The same data on the Hub."""
        if self.name is None:
            raise InputError("data.corpus Parallel needs --data.path FOLDER or the name of a Hub data set")
        return Hub(self.name, self.source, self.target, self.configuration, self.splits)
