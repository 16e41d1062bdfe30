"""How many edits lead from a prediction to its reference: error rates of transcriptions, distance in characters."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.edits import edits
from seq2seq.metrics.ratios import MacroAverage, Ratio, divided


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest symbols to insert, delete or replace that make `one` into `other` (Levenshtein 1966).

    A column of the table of distances is kept as the bits of two integers, in which rows the distance grows and in
    which it shrinks, so that a symbol of `other` takes a few operations however long `one` is (Myers 1999, fig. 4, as
    Hyyro 2003 writes it).
    """
    if not one:
        return len(other)
    masks: dict[str, int] = {}
    for index, symbol in enumerate(one):
        masks[symbol] = masks.get(symbol, 0) | 1 << index
    every, last, distance = (1 << len(one)) - 1, 1 << len(one) - 1, len(one)
    grows, shrinks = every, 0
    for symbol in other:
        same = masks.get(symbol, 0)
        diagonal = (((same & grows) + grows) ^ grows) | same | shrinks  # where a step along it costs nothing
        wider, narrower = shrinks | ~(diagonal | grows) & every, diagonal & grows
        distance += bool(wider & last) - bool(narrower & last)
        wider, narrower = wider << 1 | 1, narrower << 1
        grows, shrinks = (narrower | ~(diagonal | wider)) & every, wider & diagonal & every
    return distance


class ErrorRate(MacroAverage):
    """Errors over what could be wrong, percent; or the mean of that over groups of rows, each weighing the same."""

    writes = ("errors",)
    higher_is_better: ClassVar[bool] = False
    kinds = 2

    def __init__(self, grouped: bool = False) -> None:
        """grouped: take the mean over groups of rows that share the source before its first tab, such as languages."""
        self.grouped = grouped

    def errors(self, row: Prediction) -> tuple[int, int]:
        """The errors of a row and what they are divided by."""
        raise TypeError(f"{type(self).__name__} does not say what an error is")

    def groups(self, rows: Sequence[Prediction]) -> list[str]:
        """The group of each row."""
        if not self.grouped:
            return [""] * len(rows)
        for row in rows:
            if "\t" not in row.source:
                raise InputError(
                    f"row {row.id}: the source {row.source!r} has no tab, before which {self.name} looks for its "
                    "group; set grouped to false"
                )
        return [row.source.partition("\t")[0] for row in rows]

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2 * groups): of each group that occurs in these rows, in order, errors and what they are divided by."""
        groups = self.groups(rows)
        index_of = {name: index for index, name in enumerate(sorted({*groups}))}
        counts = np.zeros((len(rows), len(index_of), 2))
        for index, (row, group) in enumerate(zip(rows, groups, strict=True)):
            counts[index, index_of[group]] = self.errors(row)
        return counts.reshape(len(rows), 2 * len(index_of))

    def parts(self, totals: np.ndarray) -> np.ndarray:
        """(..., groups, 2) to percent (..., groups); NaN where nothing can be wrong."""
        return 100.0 * divided(totals[..., 0], totals[..., 1])

    def settings(self) -> str:
        return f"{self.name}|mean:{'groups' if self.grouped else 'all'}"

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """The score of each group."""
        if not self.grouped:
            return {}
        names, totals = sorted({*self.groups(rows)}), self.statistics(rows).sum(axis=0)
        values = self.parts(totals.reshape(len(names), 2)).tolist()
        return {"groups": dict(zip(names, values, strict=True))}


class SequenceErrorRate(ErrorRate):
    """Percent of rows that are not exactly the reference, symbol by symbol, as SIGMORPHON counts transcriptions.

    Each row is one word (Gorman et al. 2020); this is not the edit distance over words of speech recognition.
    """

    name = "wer"

    def errors(self, row: Prediction) -> tuple[int, int]:
        return int(row.prediction.split() != row.reference.split()), 1


class SymbolErrorRate(ErrorRate):
    """Edits over the symbols of all references, percent: the phoneme error rate where symbols are phonemes.

    Symbols are separated by whitespace.
    """

    name = "per"

    def errors(self, row: Prediction) -> tuple[int, int]:
        reference = row.reference.split()
        return edit_distance(row.prediction.split(), reference), len(reference)


class WordErrorRate(SymbolErrorRate):
    """Words inserted, deleted and replaced over the words of all references, percent, as speech recognition counts.

    Words are separated by whitespace, case and punctuation count. With more insertions than words it is above 100.
    """

    name = "word_error_rate"

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """The score of each group, the edits of each kind, and the words that are taken for others most often."""
        pairs = ((row.reference.split(), row.prediction.split()) for row in rows)
        return {**super().details(rows), "edits": edits(pairs)}


class CharacterErrorRate(ErrorRate):
    """Characters inserted, deleted and replaced over the characters of all references, percent; a space is one.

    Spaces at the ends of a text do not count, several in a row are one.
    """

    name = "character_error_rate"

    def errors(self, row: Prediction) -> tuple[int, int]:
        reference = " ".join(row.reference.split())
        return edit_distance(" ".join(row.prediction.split()), reference), len(reference)


class EditDistance(Ratio):
    """The mean edit distance between a row and its reference, both stripped, in characters."""

    name = "edit_distance"
    higher_is_better: ClassVar[bool] = False
    unit: ClassVar[str] = "characters"
    scale: ClassVar[float] = 1.0

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): edits, and 1."""
        edits = [edit_distance(row.prediction.strip(), row.reference.strip()) for row in rows]
        return np.stack([np.array(edits, dtype=float), np.ones(len(rows))], axis=1)

    def settings(self) -> str:
        return f"{self.name}|strip:yes"
