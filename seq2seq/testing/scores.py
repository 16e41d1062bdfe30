"""The contract of a metric: numbers of each row that add up."""

from collections.abc import Sequence

import numpy as np

from seq2seq.metrics.base import Metric, Prediction
from seq2seq.testing.demands import demand, described

PAIRS = [
    ("the cat sat", "the cat sat"),
    ("a dog runs fast", "a dog runs"),
    ("two men in a red car", "two men in a car"),
    ("", "a bird"),
    ("nothing like it", "children play"),
]


def example_rows() -> list[Prediction]:
    """Rows of words, right, nearly right, empty and wrong: what is predicted, and the reference."""
    return [
        Prediction(number, f"source {number}", reference, text, -1.0, [-0.5] * (len(text.split()) + 1),
                   [-0.4] * (len(reference.split()) + 1))
        for number, (text, reference) in enumerate(PAIRS)
    ]  # fmt: skip


def check_metric(metric: Metric, rows: Sequence[Prediction] | None = None) -> None:
    """The order of rows plays no part, counts add over processes, and what is right scores no worse than what is not.

    rows: predictions of the kind that the metric is for; None for some of words.
    """
    described(metric, Metric)
    demand(bool(metric.name), metric, "name, its key in results.json")
    rows = list(example_rows() if rows is None else rows)
    metric = metric.settled([row.references for row in rows])
    counts = counts_of(metric, rows)
    demand(np.array_equal(counts_of(metric, rows), counts), metric, "the same rows have the same numbers")
    turned = counts_of(metric, rows[::-1])[::-1]
    demand(np.array_equal(turned, counts), metric, "the numbers of a row do not depend on the order of rows")
    for cut in range(1, len(rows)):
        parts = counts_of(metric, rows[:cut]), counts_of(metric, rows[cut:])
        if any(part.shape[1] != counts.shape[1] for part in parts):
            continue  # numbers for each label that rows have
        apart = np.concatenate(parts)
        demand(np.array_equal(apart, counts), metric, "counts add over processes", f"rows cut at {cut}")
    value = np.asarray(metric.value(counts.sum(axis=0)))
    demand(value.shape == (), metric, "value(sums (K,)) is one number", value.shape)
    several = np.asarray(metric.value(counts))
    demand(several.shape == (len(rows),), metric, "value(sums (..., K)) is (...)", several.shape)
    each = [float(metric.value(one)) for one in counts]
    demand(np.allclose(several, each, equal_nan=True), metric, "value treats each of several sums by itself")
    empty = float(metric.value(np.zeros(counts.shape[1])))
    demand(not np.isinf(empty), metric, "NaN where there is nothing to score", empty)
    right = [row._replace(prediction=row.reference, token_scores=[0.0] * len(row.token_scores)) for row in rows]
    better = metric.score(right).value, metric.score(rows).value
    kept = metric.rank(better[0]) >= metric.rank(better[1])
    demand(kept, metric, "higher_is_better says which way is up", f"references score {better[0]}, others {better[1]}")


def counts_of(metric: Metric, rows: Sequence[Prediction]) -> np.ndarray:
    """The statistics, of the shape that they must have."""
    counts = np.asarray(metric.statistics(rows))
    fits = counts.ndim == 2 and len(counts) == len(rows) and bool(np.isfinite(counts).all())
    demand(fits, metric, "statistics(rows) are (N, K) finite numbers", f"{counts.shape} for {len(rows)} rows")
    return counts
