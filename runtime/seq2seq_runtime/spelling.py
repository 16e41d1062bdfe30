"""Words with all that can be seen of them, as the tokenizer `Spelled` of seq2seq writes them."""

import unicodedata
from collections.abc import Sequence
from itertools import groupby

SEEN = 64
"""Letters of a word that its shape is made of."""


def shape(word: str) -> str:
    """X for capitals, x for other letters, 9 for digits, other signs as they are; a run of several is doubled."""
    kinds = "".join(map(kind, word[:SEEN]))
    return "".join(sign * min(2, len(list(run))) for sign, run in groupby(kinds))


def kind(letter: str) -> str:
    """The kind of a letter."""
    category = unicodedata.category(letter)
    if category in ("Lu", "Lt"):
        return "X"
    if category[0] in "LM":
        return "x"
    return "9" if category[0] == "N" else letter


def looks(word: str, affixes: int) -> list[str]:
    """A word's shape, its beginnings and its endings."""
    sizes = range(1, affixes + 1)
    return [shape(word), *(word[:size] for size in sizes), *(word[-size:] for size in sizes)]


class Spelling:
    """Words to rows of ids: the word's own, those of its looks, and those of its letters."""

    def __init__(
        self, own: dict[str, int], size: int, tables: Sequence[Sequence[str]], affixes: int, longest: int | None
    ) -> None:
        """own: ids of known words, 1 for others; size: how many there are; longest: letters, None for no letters."""
        self.own, self.affixes, self.longest = own, affixes, longest
        self.tables = [{unit: number for number, unit in enumerate(units, 1)} for units in tables]
        self.heads = len(self.tables)
        """Ids of a word besides those of its letters."""
        self.starts = [size]
        for table in self.tables:
            self.starts.append(self.starts[-1] + 1 + len(table))

    def ids(self, word: str) -> list[int]:
        """All ids of a word."""
        *tables, letters = self.tables
        each = zip(looks(word, self.affixes), tables, self.starts[:-2], strict=True)
        ids = [self.own.get(word, 1), *(start + table.get(seen, 0) for seen, table, start in each)]
        if self.longest is None:
            return ids
        half = self.longest // 2
        kept = word if len(word) <= self.longest else word[: self.longest - half] + word[-half:]
        return ids + [self.starts[-2] + letters.get(letter, 0) for letter in kept]
