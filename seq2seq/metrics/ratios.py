"""Scores that are one sum over another: shares, means and F1."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from seq2seq.metrics.base import Metric


def divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Elementwise above / below, both of one shape; 0 where `below` is 0, so that nothing scores nothing."""
    result = np.zeros(np.shape(below))
    np.divide(above, below, out=result, where=np.asarray(below) != 0)
    return result


class Ratio(Metric):
    """The sum of a row's first number over the sum of its second, times `scale`."""

    scale: ClassVar[float] = 100.0

    def value(self, totals: np.ndarray) -> np.ndarray:
        """(..., 2) to (...)."""
        return self.scale * divided(totals[..., 0], totals[..., 1])


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 in percent (...) of (..., 3) numbers of right, predicted and reference things: 2 right / (the other two).

    That is the harmonic mean of precision, right / predicted, and recall, right / reference (van Rijsbergen 1979).
    """
    return 200.0 * divided(counts[..., 0], counts[..., 1] + counts[..., 2])


class F1(Metric):
    """F1 of the sums of (right, predicted, reference), percent."""

    def value(self, totals: np.ndarray) -> np.ndarray:
        """(..., 3) to (...)."""
        return f1(totals)

    def each_of(self, counts: np.ndarray) -> list[float]:
        """The score of each row by itself; 100 where there was nothing to find and nothing was found.

        Such rows are right, so they must not stand among the worst examples.
        """
        scores: list[float] = np.where(counts.any(axis=1), self.value(counts), 100.0).tolist()
        return scores


def by_label(names: Sequence[str], counts: np.ndarray) -> dict[str, dict[str, float]]:
    """Percent and support of each name, the most frequent first; counts (names, 3) as `f1` takes them."""
    precision, recall = (100.0 * divided(counts[:, 0], counts[:, index]) for index in (1, 2))
    table: dict[str, dict[str, Any]] = {}
    for index in sorted(range(len(names)), key=lambda index: (-counts[index, 2], names[index])):
        table[names[index]] = {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1(counts[index])),
            "support": int(counts[index, 2]),
        }
    return table
