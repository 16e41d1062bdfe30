"""Several columns of a text, each with a tokenizer of its own."""

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Literal

import numpy as np

from seq2seq.data.tokenizers.base import SPECIAL, UNK, Tokenizer, pack, unpack
from seq2seq.data.tokenizers.units import Labels, Words
from seq2seq.errors import InputError


class Columns(Tokenizer):
    """Columns between tabs, each with a tokenizer and ids of its own: a language and a word, features and a lemma."""

    def __init__(self, parts: list[Tokenizer], single: bool | Literal["first", "between"] = False) -> None:
        """What stands in the columns.

        Args:
            parts: the tokenizer of each column, from left to right.
            single: a text without tabs is one of the last column alone, or of the first: with data.shared_vocabulary
                the target of a source of lemma and features, whose letters decoder.copy may then copy. between: of
                the first, which is read between two copies of the others, so that what is written before a lemma
                and what is written after it each have the features at hand, in order.
        """
        if not parts:
            raise InputError("data.tokenizer.parts is empty; name a tokenizer for each column")
        for part in parts:
            if part.width is not None:
                raise InputError(f"data.tokenizer.parts holds {part!r}, but columns have tokens; choose another one")
            if isinstance(part, Columns) or (isinstance(part, (Words, Labels)) and part.separator == "\t"):
                raise InputError(
                    f"data.tokenizer.parts holds {part!r}, but no column holds a tab; choose another separator"
                )
        self.parts, self.single = parts, single
        self._alone = 0 if single in ("first", "between") else len(parts) - 1

    def train(self, texts: Iterable[str]) -> None:
        columns = self._columns(texts)
        for number, (part, column) in enumerate(zip(self.parts, columns, strict=True), start=1):
            try:
                part.train(column)
            except InputError as problem:
                raise InputError(f"column {number}: {problem}") from problem

    def check(self, text: str) -> None:
        if len(self._row(text)) < len(self.parts):  # a target may be one column alone, a source lacks the others
            raise InputError(f"{text!r} has no tab, but a source has {len(self.parts)} columns between tabs")

    def unknown_values(self, text: str) -> list[str]:
        row = self._row(text)
        parts = [self.parts[index] for index in self._indices(row)]
        pairs = zip(row, parts, strict=True)
        return [column for column, part in pairs if isinstance(part, Labels) and UNK in part.encode([column])[0]]

    def _columns(self, texts: Iterable[str]) -> list[list[str]]:
        columns: list[list[str]] = [[] for _ in self.parts]
        for row in map(self._row, texts):
            for index, column in zip(self._indices(row), row, strict=True):
                columns[index].append(column)
        return columns

    def _row(self, text: str) -> list[str]:
        row = text.split("\t")
        if self.single and len(row) == 1:
            return row
        if len(row) != len(self.parts):
            raise InputError(
                f"{text!r} has {len(row)} columns between tabs, but {len(self.parts)} are expected: "
                "one for each of data.tokenizer.parts"
            )
        return row

    def _indices(self, row: Sequence[str]) -> Sequence[int]:
        """To which parts the columns of a row belong."""
        return range(len(self.parts)) if len(row) == len(self.parts) else [self._alone]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        columns = [iter(part.encode(column)) for part, column in zip(self.parts, self._columns(texts), strict=True)]
        rows = [self._indices(self._row(text)) for text in texts]
        return [self._numbered({index: next(columns[index]) for index in indices}) for indices in rows]

    def decode(self, ids: Sequence[int]) -> str:
        """Columns between tabs; an unknown belongs to the column of the token before it."""
        columns: list[list[int]] = [[] for _ in self.parts]
        starts, alone = self._starts, self._alone
        own = range(starts[alone], starts[alone + 1])
        lone = self.single and all(number < SPECIAL or number in own for number in ids)
        index = alone if lone else 0
        if self.single == "between" and not lone:  # without the copy before the first column
            ids = ids[next((position for position, number in enumerate(ids) if number in own), 0) :]
        for number in ids:
            index = bisect_right(starts, number) - 1 if number >= SPECIAL else index
            columns[index].append(number - starts[index] + SPECIAL if number >= SPECIAL else number)
        texts = [part.decode(column) for part, column in zip(self.parts, columns, strict=True)]
        if lone:
            return texts[alone]
        return "\t".join(text.replace("\t", " ") for text in texts)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each id by itself, as the tokenizer of its column shows it."""
        starts = self._starts
        shown = []
        for number in ids:
            index = max(0, bisect_right(starts, number) - 1)
            own = number - starts[index] + SPECIAL if number >= SPECIAL else number
            shown += self.parts[index].pieces([own])
        return shown

    @property
    def row_names(self) -> list[list[Hashable]]:
        parts = [part.row_names[0][SPECIAL:] for part in self.parts]
        return [[*range(SPECIAL), *((index, name) for index, names in enumerate(parts) for name in names)]]

    @property
    def _starts(self) -> list[int]:
        """The first id of each part, and the size of the vocabulary."""
        return list(accumulate((len(part) - SPECIAL for part in self.parts), initial=SPECIAL))

    @property
    def samples(self) -> bool:
        return any(part.samples for part in self.parts)

    def sample(self, text: str, random: np.random.Generator) -> list[int]:
        row = self._row(text)
        pairs = zip(self._indices(row), row, strict=True)
        return self._numbered({index: self.parts[index].sample(column, random) for index, column in pairs})

    def _numbered(self, row: Mapping[int, list[int]]) -> list[int]:
        """Ids of some parts as ids of the whole, in the order in which they are read."""
        starts = self._starts
        own = [[number + starts[index] - SPECIAL if number >= SPECIAL else number for number in ids]
               for index, ids in row.items()]  # fmt: skip
        return list(chain(*(own[1:] if self.single == "between" else []), *own))

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def state(self) -> bytes:
        return pack(part.state for part in self.parts)

    def restore(self, state: bytes) -> None:
        for part, own in zip(self.parts, unpack(self, state, len(self.parts)), strict=True):
            part.restore(own)
