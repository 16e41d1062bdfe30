"""Scores that are one sum over another: shares, means and F1."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from seq2seq.metrics.base import Metric, resampled


def divided(above: np.ndarray, below: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """Elementwise above / below, both of one shape; `otherwise` where `below` is 0: NaN, since there is no score."""
    result = np.full(np.shape(below), otherwise)
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

    NaN where nothing was predicted and nothing is in the references.

    That is the harmonic mean of precision, right / predicted, and recall, right / reference (van Rijsbergen 1979).
    """
    return 200.0 * divided(counts[..., 0], counts[..., 1] + counts[..., 2])


class F1(Metric):
    """F1 of the sums of (right, predicted, reference), percent."""

    def value(self, totals: np.ndarray) -> np.ndarray:
        """(..., 3) to (...); NaN where there is nothing to find and nothing was found."""
        return f1(totals)


class MacroAverage(Metric):
    """The mean of the scores of several parts, such as labels or groups of rows, which weigh the same."""

    kinds: ClassVar[int]
    """Numbers of each part in the statistics (N, parts * kinds), the last of which tells whether there is any."""

    def parts(self, totals: np.ndarray) -> np.ndarray:
        """(..., kinds) to the score of each part (...); NaN for one that does not occur."""
        raise TypeError(f"{type(self).__name__} does not say how a part is scored")

    def split(self, totals: np.ndarray) -> np.ndarray:
        """(..., parts * kinds) to (..., parts, kinds)."""
        return totals.reshape(*totals.shape[:-1], totals.shape[-1] // self.kinds, self.kinds)

    def value(self, totals: np.ndarray) -> np.ndarray:
        return mean_of(self.parts(self.split(totals)))

    def of_resamples(self, counts: np.ndarray) -> np.ndarray:
        """A part that a resample lacks has its score in all rows, or else the mean would jump by leaving it out."""
        scores, whole = self.parts(self.split(resampled(counts))), self.parts(self.split(counts.sum(axis=0)))
        return mean_of(np.where(np.isnan(scores), whole, scores))


def mean_of(scores: np.ndarray) -> np.ndarray:
    """The mean (...) of those scores (..., parts) that are known."""
    known = ~np.isnan(scores)
    return divided(np.where(known, scores, 0.0).sum(-1), known.sum(-1))


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
