"""Metric: predictions and references to a score with its interval and signature."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from seq2seq.parts import Part

RESAMPLES = 1000
"""Bootstrap resamples behind an interval."""

SEED = 12345
"""Of the resamples."""

AT_ONCE = 50
"""Resamples whose rows are drawn together; divides RESAMPLES."""


class Prediction(NamedTuple):
    """A row of a split with what was predicted for it: a line of predictions/<split>.jsonl."""

    id: int
    source: str
    reference: str
    prediction: str
    score: float
    token_scores: list[float]
    """Log-probability in nats of each predicted token or label."""
    reference_scores: list[float] | None = None
    """The same of each token of the reference, by tasks that look at them."""
    quantiles: dict[str, str] | None = None
    """The forecast of each quantile, by tasks that make several."""


class Score(NamedTuple):
    """A number that can be quoted."""

    value: float
    low: float | None
    """Lower end of the 95 % bootstrap interval; None when it was not asked for."""
    high: float | None
    signature: str
    """Everything that changes the number."""


class Metric(Part):
    """A score of texts; `name` is its key in results.json."""

    name: str = ""
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = "percent"

    def rank(self, value: float) -> float:
        """The value, or minus it where a lower one is better: what to compare checkpoints and rows by."""
        return value if self.higher_is_better else -value

    def score(self, rows: Sequence[Prediction], interval: bool = False) -> Score:
        """Score the rows of a split; `interval` adds the bootstrap."""
        return self.compute([row.prediction for row in rows], [row.reference for row in rows], interval)

    def compute(self, predictions: Sequence[str], references: Sequence[str], interval: bool = False) -> Score:
        """Score predictions against raw references, line by line; `interval` adds the bootstrap."""
        raise TypeError(f"{type(self).__name__} does not say how to compute its score")

    def rows(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """The score of each row by itself."""
        return [self.compute([one], [other]).value for one, other in zip(predictions, references, strict=True)]

    def each(self, rows: Sequence[Prediction]) -> list[float]:
        """The score of each row by itself."""
        return self.rows([row.prediction for row in rows], [row.reference for row in rows])

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """What lies behind the score, plain values for results.json: scores by label, confusions."""
        return {}


class Counted(Metric):
    """A score of sums over rows, so that it adds up over devices and its bootstrap only adds.

    A subclass writes `statistics` and `value`.
    """

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, K) numbers of each row whose sums make the score."""
        raise TypeError(f"{type(self).__name__} does not say what it counts")

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Sums (..., K) to scores (...)."""
        raise TypeError(f"{type(self).__name__} does not say what its counts mean")

    def settings(self) -> str:
        """The signature without what belongs to the bootstrap."""
        return self.name

    def score(self, rows: Sequence[Prediction], interval: bool = False) -> Score:
        """The interval is the 2.5th and 97.5th percentile over resampled rows."""
        return self.scored(self.statistics(rows), interval)

    def scored(self, counts: np.ndarray, interval: bool) -> Score:
        """The score of statistics (N, K)."""
        value = float(self.value(counts.sum(axis=0)))
        if not interval or len(counts) < 2:
            return Score(value, None, None, self.settings())
        low, high = np.percentile(self.value(resampled(counts)), [2.5, 97.5])
        return Score(value, float(low), float(high), f"{self.settings()}|bs:{RESAMPLES}|seed:{SEED}")

    def each(self, rows: Sequence[Prediction]) -> list[float]:
        found: list[float] = self.value(self.statistics(rows)).tolist() if rows else []
        return found


def resampled(counts: np.ndarray) -> np.ndarray:
    """(N, K) numbers of rows to their sums (RESAMPLES, K) over N rows drawn with replacement."""
    random, rows = np.random.default_rng(SEED), len(counts)
    found = []
    for _ in range(0, RESAMPLES, AT_ONCE):
        times = [np.bincount(random.integers(rows, size=rows), minlength=rows) for _ in range(AT_ONCE)]
        found.append(np.array(times, dtype=counts.dtype) @ counts)
    return np.concatenate(found)
