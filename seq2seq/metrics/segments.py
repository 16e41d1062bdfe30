"""Segments of frames that have one label: F1 of those that are found where they are."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from seq2seq.errors import check_range
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.labels import check_separator, described, labels_of
from seq2seq.metrics.ratios import F1, by_label
from seq2seq.metrics.spans import Span


class SegmentF1(F1):
    """F1 of segments, neighbouring steps with one label, percent: event-based F1 (Mesaros et al. 2016, sec. 3.2).

    A predicted segment is right if one of the reference has its label and begins and ends within `collar` steps of it;
    each counts once.
    """

    name = "segment_f1"

    def __init__(self, collar: int = 20, other: str = "none", separator: str | None = None) -> None:
        """collar: steps by which each end may be wrong; 20 are 200 ms of sound. other: the label that is no segment.

        separator: between labels; null for tabs where a reference has any, else whitespace.
        """
        check_range("the collar of SegmentF1", collar, 0)
        check_separator(separator)
        self.collar, self.other, self.separator = collar, other, separator

    def counts(self, rows: Sequence[Prediction]) -> list[dict[str, list[int]]]:
        """Of each row, of each label: right, predicted and reference segments."""
        result = []
        for row in rows:
            predicted, reference = (segments(side, self.other) for side in labels_of(row, self.separator))
            counts: dict[str, list[int]] = {}
            for column, several in enumerate((matched(predicted, reference, self.collar), predicted, reference)):
                for one in several:
                    counts.setdefault(one.kind, [0, 0, 0])[column] += 1
            result.append(counts)
        return result

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 3): right, predicted and reference segments."""
        sums = [np.sum([[0, 0, 0], *counts.values()], axis=0) for counts in self.counts(rows)]
        return np.array(sums, dtype=float).reshape(len(rows), 3)

    def settings(self) -> str:
        return f"{self.name}|collar:{self.collar}|other:{self.other}|{described(self.separator)}"

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """Precision, recall, F1 and support of each label."""
        found = self.counts(rows)
        names = sorted({name for counts in found for name in counts})
        table = np.zeros((len(names), 3))
        for counts in found:
            for name, several in counts.items():
                table[names.index(name)] += several
        return {"labels": by_label(names, table)} if names else {}


def segments(labels: Sequence[str], other: str) -> list[Span]:
    """Neighbouring steps with one label, but for `other`."""
    result, start = list[Span](), 0
    for label, several in groupby(labels):
        stop = start + len(list(several))
        if label != other:
            result.append(Span(label, start, stop))
        start = stop
    return result


def matched(predicted: Sequence[Span], reference: Sequence[Span], collar: int) -> list[Span]:
    """The segments of the reference that are found, each by another predicted one, the first that fits."""
    left, result = list(predicted), list[Span]()
    for one in reference:
        fits = (
            other
            for other in left
            if other.kind == one.kind
            and abs(other.start - one.start) <= collar
            and abs(other.stop - one.stop) <= collar
        )
        if (other := next(fits, None)) is not None:
            left.remove(other)
            result.append(one)
    return result
