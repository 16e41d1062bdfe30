"""Metric: predictions and references to a score with its interval and signature."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from seq2seq.configurable import Part

RESAMPLES = 1000
"""Bootstrap resamples behind an interval."""

SEED = 12345
"""Of the resamples."""

AT_ONCE = 50
"""Resamples whose rows are drawn together."""

TOLERANCE = 1e-9
"""Scores are equal within this, in their own unit."""


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
    at_limit: bool | None = None
    """Whether it is as long as the limit of length lets it be, by tasks that have one."""


class Score(NamedTuple):
    """A number that can be quoted."""

    value: float
    low: float | None
    """Lower end of the 95 % bootstrap interval; None when it was not asked for."""
    high: float | None
    signature: str
    """Everything that changes the number."""


class Metric(Part):
    """A score of sums over rows, so that it adds up over devices and its resampling only adds.

    A subclass has a `name`, its key in results.json, and writes `statistics` and `value`.
    """

    name: str = ""
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = "percent"

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, K) numbers of each row whose sums make the score."""
        raise TypeError(f"{type(self).__name__} does not say what it counts")

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Sums (..., K) to scores (...)."""
        raise TypeError(f"{type(self).__name__} does not say what its counts mean")

    def settings(self) -> str:
        """The signature without what belongs to the bootstrap."""
        return self.name

    def rank(self, value: float) -> float:
        """The value, or minus it where a lower one is better: what to compare checkpoints and rows by."""
        return value if self.higher_is_better else -value

    def score(self, rows: Sequence[Prediction], interval: bool = False) -> Score:
        """Score the rows of a split; `interval` adds the bootstrap."""
        return self.scored(self.statistics(rows), interval)

    def scored(self, counts: np.ndarray, interval: bool) -> Score:
        """The score of statistics (N, K); the interval spans the middle 95 % of the values of resampled rows."""
        value = float(self.value(counts.sum(axis=0)))
        if not interval or len(counts) < 2:
            return Score(value, None, None, self.settings())
        low, high = self.interval(self.value(resampled(counts)))
        return Score(value, low, high, self.signature_of_bootstrap())

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """The 95 % interval that the values of resamples (R,) make: their 2.5th and 97.5th percentile."""
        low, high = np.percentile(values, [2.5, 97.5])
        return float(low), float(high)

    def extreme(self, distances: np.ndarray, observed: float) -> np.ndarray:
        """Which distances (R,) between exchanged systems speak against the observed one as strongly as it is.

        Equal ones do (Riezler and Maxwell 2005), or else chance would be doubted too often where few rows differ.
        """
        return distances >= observed - TOLERANCE

    def signature_of_bootstrap(self) -> str:
        """The whole signature of a score with its interval."""
        return f"{self.settings()}|bs:{RESAMPLES}|seed:{SEED}"

    def each(self, rows: Sequence[Prediction]) -> list[float]:
        """The score of each row by itself."""
        return self.each_of(self.statistics(rows)) if rows else []

    def each_of(self, counts: np.ndarray) -> list[float]:
        """The same of statistics (N, K)."""
        scores: list[float] = self.value(counts).tolist()
        return scores

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """What lies behind the score, plain values for results.json: scores by label, confusions."""
        return {}


def draws(rows: int, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each of `rows` rows is drawn in each resample, (AT_ONCE, rows) at a time.

    Always the same: those that sacreBLEU draws with the same seed.
    """
    random = np.random.default_rng(SEED)
    for start in range(0, resamples, AT_ONCE):
        count = min(AT_ONCE, resamples - start)
        times = [np.bincount(random.integers(rows, size=rows), minlength=rows) for _ in range(count)]
        yield np.array(times, dtype=np.float64)


def resampled(counts: np.ndarray) -> np.ndarray:
    """(N, K) numbers of rows to their sums (RESAMPLES, K) over N rows drawn with replacement."""
    return np.concatenate([times @ counts for times in draws(len(counts))])
