"""Metric: predictions and references to a score with its interval and signature."""

import copy
import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from seq2seq.configurable import Part
from seq2seq.errors import InputError

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
    more_references: list[str] | None = None
    """Further references of the row, beside `reference`; None for none."""
    at_limit: bool | None = None
    """Whether it is as long as the limit of length lets it be, by tasks that have one."""
    speaker: str | None = None
    """Who speaks, where that is known."""

    @property
    def references(self) -> list[str]:
        """All references."""
        return [self.reference, *(self.more_references or ())]


class Score(NamedTuple):
    """A number that can be quoted."""

    value: float
    """NaN where there is nothing to score."""
    low: float | None
    """Lower end of the 95 % bootstrap interval; None when it was not asked for, or there is none."""
    high: float | None
    signature: str
    """Everything that changes the number."""


class Metric(Part):
    """A score of sums over rows, so that it adds up over devices and its resampling only adds.

    A subclass has a `name`, its key in results.json, and writes `statistics` and `value`.
    """

    writes: ClassVar[tuple[str, ...]] = ("statistics", "value")
    name: str = ""
    kind_name: str = ""
    """The name without what `distinct` has added; empty where that is nothing."""
    decided: tuple[str, ...] = ()
    """Settings that were left open and that `settled` has decided."""
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = "percent"

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, K) numbers of each row whose sums make the score."""
        raise TypeError(f"{type(self).__name__} does not say what it counts")

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Sums (..., K) to scores (...); NaN where there is nothing to score."""
        raise TypeError(f"{type(self).__name__} does not say what its counts mean")

    def settings(self) -> str:
        """The signature without what belongs to the bootstrap."""
        return self.name

    def settled(self, references: Sequence[Sequence[str]]) -> "Metric":
        """The metric for rows with these references, with settings decided that were left open; mostly itself."""
        return self

    def of_sets(self) -> "Metric":
        """The metric for rows that are sets of labels, in no order; itself where the order plays no part."""
        return self

    def split_at(self, separator: str) -> "Metric":
        """The metric for labels with this character between them; itself where its settings name another."""
        return changed(self, separator=separator) if getattr(self, "separator", "") is None else self

    def rank(self, value: float) -> float:
        """What to compare checkpoints and rows by: higher is better, and what has no score comes last."""
        return -np.inf if np.isnan(value) else value if self.higher_is_better else -value

    def score(self, rows: Sequence[Prediction], interval: bool = False) -> Score:
        """Score the rows of a split; `interval` adds the bootstrap."""
        metric = self.settled([row.references for row in rows])
        return metric.scored(metric.statistics(rows), interval)

    def scored(self, counts: np.ndarray, interval: bool) -> Score:
        """The score of statistics (N, K); the interval spans the middle 95 % of the values of resampled rows."""
        value = float(self.value(counts.sum(axis=0)))
        if not interval or len(counts) < 2 or np.isnan(value):
            return Score(value, None, None, self.settings())
        low, high = self.interval(self.of_resamples(counts))
        return Score(value, low, high, self.signature_of_bootstrap())

    def of_resamples(self, counts: np.ndarray) -> np.ndarray:
        """The values (RESAMPLES,) of rows drawn with replacement from those with statistics (N, K)."""
        return self.value(resampled(counts))

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """The 95 % interval that the values of resamples (R,) make: their 2.5th and 97.5th percentile."""
        low, high = percentiles(values)
        return low, high

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


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of values (R,), without those of resamples that have nothing to score."""
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


M = TypeVar("M", bound=Metric)


def changed(metric: M, **attributes: Any) -> M:
    """The same metric with other values of these attributes."""
    other = copy.copy(metric)
    vars(other).update(attributes)
    return other


def decide(metric: M, **settings: Any) -> M:
    """The same metric with settings that were left open."""
    return changed(metric, decided=(*metric.decided, *settings), **settings)


def distinct(metrics: Sequence[Metric]) -> list[Metric]:
    """Metrics of one name get names that say how they differ, such as bleu_char, or else a number."""
    for metric in metrics:
        if not metric.name:
            raise InputError(f"the metric {type(metric).__qualname__} lacks its `name`: docs/extending.md")
    kinds = [metric.kind_name or metric.name for metric in metrics]
    counts = Counter(kinds)
    named: list[Metric] = []
    for kind, metric in zip(kinds, metrics, strict=True):
        base = name = kind
        if counts[kind] > 1:
            others = [other for other, same in zip(metrics, kinds, strict=True) if same == kind and other is not metric]
            base = name = "_".join([kind, *differences(metric, others)])
        number = 1
        while name in {one.name for one in named}:
            number += 1
            name = f"{base}_{number}"
        named.append(metric if name == metric.name else changed(metric, name=name, kind_name=kind))
    return named


def settled(metrics: Sequence[Metric], references: Sequence[Sequence[str]]) -> list[Metric]:
    """The metrics for rows with these references, under names that differ."""
    return distinct([metric.settled(references) for metric in metrics])


def differences(metric: Metric, others: Sequence[Metric]) -> list[str]:
    """Words for the settings in which a metric differs from others and from the defaults."""
    defaults = inspect.signature(type(metric)).parameters
    words = [] if all(type(one) is type(metric) for one in others) else [type(metric).__name__]
    for name, parameter in defaults.items():
        value = getattr(metric, name)
        if value == parameter.default or all(getattr(one, name, None) == value for one in others):
            continue
        if isinstance(value, bool):
            words.append(name if value else f"no_{name}")
        elif isinstance(value, str) and value.replace("-", "").isalnum():
            words.append(value)
        else:
            words.append(f"{name}_{NAMED.get(value, value)}")
    return words


NAMED = {"\t": "tab", " ": "space"}
"""Values of settings that are no word."""


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
