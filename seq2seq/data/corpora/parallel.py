"""Parallel text: line n of one file belongs to line n of the other."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from seq2seq.data.corpora.hub import Hub
from seq2seq.data.corpora.text_files import Files, Shard, find, unpacked
from seq2seq.data.lines import lines, with_class
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
        sentence: str | None = None,
    ) -> None:
        """source, target: endings of the files and columns on the Hub, such as en and de.

        name, configuration, splits: the data set on the Hub, read when there is no data.path, and what train,
        validation and test are called there. files: what they are called in the folder, without the ending.
        pairs: instead, the whole names of two files for each split, the source first, which may have nothing in common
            (`{train: [train/seq.in, train/seq.out]}`); source and target are then not looked at.
        sentence: ending of a third file, or column on the Hub, with a class of each sentence, beside the labels of its
            tokens (docs/tagging.md); of `pairs` it is the third name.
        """
        for split, names in (pairs or {}).items():
            if len(names) not in (2, 3):
                raise InputError(
                    f"data.corpus.pairs: {split} has {len(names)} names; it takes two, the source first, or a third "
                    "with a class of each sentence"
                )
        if len({len(names) for names in (pairs or {}).values()}) > 1:
            raise InputError("data.corpus.pairs: all splits need as many names, two or three")
        if pairs and files:
            raise InputError("data.corpus.pairs and data.corpus.files both name the files; leave one of them out")
        self.source, self.target, self.name, self.configuration = source, target, name, configuration
        self.splits, self.files, self.encoding, self.pairs = splits, files, encoding, pairs
        self.sentence = sentence

    def shards(self, split: str, path: str | None) -> list[Shard]:
        if path is not None and Path(path).is_file():
            raise InputError(f"data.path {path} is a file; parallel text is in two, so give the folder that holds them")
        if self.pairs is not None:
            count = max((len(names) for names in self.pairs.values()), default=2)
            named = [
                find(path, split, {name: names[side] for name, names in self.pairs.items()}, ("",))
                for side in range(count)
            ]
            return list(zip(*named, strict=True))
        endings = [self.source, self.target, *([] if self.sentence is None else [self.sentence])]
        sides = [find(path, split, self.files, (f".{ending}",)) for ending in endings]
        counts = [*map(len, sides)]
        if min(counts) < max(counts):
            there, ending = endings[counts.index(max(counts))], endings[counts.index(min(counts))]
            raise InputError(
                f"data.path {path}: {split} has {max(counts)} file(s) ending in .{there} but {min(counts)} in .{ending}"
            )
        shards = list(zip(*sides, strict=True))
        for shard in shards:
            stems = [unpacked(file).removesuffix(f".{ending}") for file, ending in zip(shard, endings, strict=True)]
            if other := next((file for file, stem in zip(shard, stems, strict=True) if stem != stems[0]), None):
                raise InputError(f"{shard[0]} and {other} would be read together; give parallel files the same name")
        return shards

    def read(self, shard: Shard) -> Iterator[Row]:
        together = zip_longest(*(lines(file, self.encoding) for file in shard))
        for number, texts in enumerate(together, 1):
            if None in texts:
                short, long = (shard[[text is None for text in texts].index(missing)] for missing in (True, False))
                longer = number + sum(1 for _ in together)
                first, second = sorted(((short, number - 1), (long, longer)), key=lambda one: shard.index(one[0]))
                raise InputError(
                    f"{first[0]} has {first[1]} lines but {second[0]} has {second[1]}; "
                    "line n of one must belong to line n of the other"
                )
            source, target, *names = texts
            for name in names:
                target = with_class(name, target, f"{shard[2]}:{number}")
            yield Row(source, target, number, str(shard[0]))

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
        return Hub(self.name, self.source, self.target, self.configuration, self.splits, sentence=self.sentence)
