"""Morphemes of words: precision, recall and F1 as SIGMORPHON 2022 counts them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.ratios import F1, divided


class MorphemeF1(F1):
    """F1 of the morphemes of all words, each word's in any order and as often as they occur, percent.

    That is the score of the shared task (Batsuren et al. 2022): the sums over all words of morphemes that prediction
    and reference share, of predicted ones and of those of the references.
    """

    name = "morpheme_f1"

    def __init__(self, separator: str = " @@") -> None:
        """separator: what stands between two morphemes."""
        if not separator:
            raise InputError("separator of MorphemeF1 is empty; set it to what stands between morphemes, such as ' @@'")
        self.separator = separator

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 3): morphemes that both sides have, predicted ones and those of the reference."""
        counts = np.zeros((len(rows), 3))
        for count, row in zip(counts, rows, strict=True):
            predicted, reference = self.morphemes(row.prediction), self.morphemes(row.reference)
            count += (predicted & reference).total(), predicted.total(), reference.total()
        return counts

    def morphemes(self, text: str) -> "Counter[str]":
        """The morphemes of a word, and how often each occurs in it."""
        return Counter(filter(None, map(str.strip, text.split(self.separator))))

    def settings(self) -> str:
        return f"{self.name}|separator:{self.separator!r}"

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """Precision and recall in percent."""
        right, predicted, reference = self.statistics(rows).sum(axis=0)
        return {
            "precision": 100.0 * float(divided(right, predicted)),
            "recall": 100.0 * float(divided(right, reference)),
        }
