"""Findings about the rows of a split: what, how bad, where, and how to show it."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from seq2seq.data.batching.split import Split
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import UNK, Tokenizer, Tokenizers
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Listed

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first."""

EXAMPLES = 3
"""Rows shown for each finding."""


class Example(NamedTuple):
    """A row that a finding is about."""

    location: str
    """file:line"""
    excerpt: str
    like: str = ""
    """The location of the earlier row, or the one in train, that this row repeats."""


class Finding(NamedTuple):
    """Something that may be wrong with a split."""

    kind: str
    severity: Severity
    split: str
    rows: int
    share: float
    """Of the split's rows."""
    text: str
    """What it is, in half a line."""
    examples: Sequence[Example] = ()


class Scan(NamedTuple):
    """What reading a split once gives for each row."""

    name: str
    texts: Texts
    source: np.ndarray
    """(rows,) hashes of the sources"""
    target: np.ndarray
    pair: np.ndarray
    """(rows,) hashes of source and target together"""
    lengths: np.ndarray
    """(rows, 2) characters"""
    marks: np.ndarray
    """(rows,) bits"""
    least: np.ndarray
    """(orders, rows) the least shingles of each row in several orders; equal in rows that are nearly the same"""

    def marked(self, mark: int) -> np.ndarray:
        """The rows that have a mark."""
        return np.flatnonzero(self.marks & mark)


class Encoded(NamedTuple):
    """A split as ids, and what made them."""

    name: str
    split: Split
    tokenizers: Tokenizers

    def sides(self) -> Iterator[tuple[str, Ragged, Tokenizer, Sequence[str]]]:
        """Name, ids, tokenizer and texts of source and target."""
        ids, texts = (self.split.source, self.split.target), self.split.texts
        yield from zip(Tokenizers._fields, ids, self.tokenizers, texts[:2], strict=True)

    def example(self, row: int, excerpt: str) -> Example:
        """A row with what to show of it."""
        return Example(self.split.texts.location(int(row)), excerpt)


def pieces(ids: Ragged, rows: int = 50_000) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Where some rows begin in their own flat ids, these, and their offset in all."""
    for start in range(0, len(ids), rows):
        starts = ids.starts[start : start + rows + 1]
        yield starts[:-1] - starts[0], ids.flat[starts[0] : starts[-1]], int(starts[0])


def rows_with_unknown(ids: Ragged, tokenizer: Tokenizer) -> np.ndarray:
    """The rows that hold something unknown."""
    return np.unique(rows_at(ids, [np.flatnonzero(tokenizer.unknown_among(flat)) + at for _, flat, at in pieces(ids)]))


def unknown_units(tokenizer: Tokenizer, text: str) -> list[str]:
    """The units of a text that a vocabulary lacks; none of a tokenizer that cannot name them."""
    if isinstance(tokenizer, Spelled):
        words, ids = list(tokenizer.words.split(text)), tokenizer.own_ids(text)
    elif isinstance(tokenizer, Listed):
        words, ids = list(tokenizer.split(text)), tokenizer.encode([text])[0]
    else:
        return []
    return [word for word, number in zip(words, ids, strict=True) if number == UNK]


def rows_at(ids: Ragged, indices: Sequence[np.ndarray]) -> np.ndarray:
    """The rows that hold the ids with these indices, some arrays of them."""
    return np.searchsorted(ids.starts, np.concatenate([np.empty(0, dtype=np.int64), *indices]), side="right") - 1


Shown = Callable[[str, str], str]
"""What to show of a source and a target."""


def noted(
    split: Scan | Encoded,
    kind: str,
    severity: Severity,
    rows: np.ndarray,
    text: str,
    show: Shown | None = None,
    examples: Sequence[Example] | None = None,
) -> list[Finding]:
    """A finding about these rows; an empty list when there are no rows."""
    if not len(rows):
        return []
    texts = split.texts if isinstance(split, Scan) else split.split.texts
    examples = examples_of(texts, rows, show) if examples is None else examples
    return [Finding(kind, severity, split.name, len(rows), len(rows) / len(texts.source), text, examples)]


def examples_of(texts: Texts, rows: np.ndarray, show: Shown | None = None) -> list[Example]:
    """The first of some rows."""
    show = show or pair_shown
    chosen = [int(row) for row in rows[:EXAMPLES]]
    return [Example(texts.location(row), show(texts.source[row], texts.target[row])) for row in chosen]


def pair_shown(source: str, target: str) -> str:
    """The beginnings of both sides."""
    return " | ".join(shown(text, longest=36) or repr(text) for text in (source, target))


def around(pattern: "re.Pattern[str]") -> Shown:
    """Shows the first match of a pattern."""

    def show(source: str, target: str) -> str:
        for text in (source, target):
            if match := pattern.search(text):
                return shown(text, match.start())
        return pair_shown(source, target)

    return show


def shown(text: str, at: int = 0, longest: int = 60) -> str:
    """The part of a text around an index, on one line, with escapes for what cannot be seen."""
    start = max(0, at - longest // 3)
    part = text[start : start + longest].replace("\t", " ")
    visible = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in part)
    return f"{'...' * (start > 0)}{visible.strip()}{'...' * (start + longest < len(text))}"
