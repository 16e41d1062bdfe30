"""Is the difference between two systems significant? Paired tests for any metric that is a sum over rows.

Both resample rows, the same of both systems; what another training of the same system would score they do not know.
With sacreBLEU's seeds and counts they give sacreBLEU's numbers (`sacrebleu --paired-bs`, `--paired-ar`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seq2seq.metrics.base import SEED, Metric, percentiles

TRIALS = 10_000
"""Of approximate randomisation."""

AT_ONCE = 512
"""Of them computed together; a multiple of 32, the bits that the generator draws at once."""


class Difference(NamedTuple):
    """How a system differs from another in one metric."""

    difference: float
    """The score of the system less that of the other."""
    low: float
    """Ends of its 95 % interval, percentiles over resampled rows."""
    high: float
    p_randomised: float
    """Two-sided, of approximate randomisation: how often exchanging outputs makes as large a difference."""
    p_bootstrap: float
    """Of the paired bootstrap as Moses and sacreBLEU compute it (Koehn 2004)."""


class Scored(NamedTuple):
    """A system in one metric; its score is the mean over its seeds."""

    seeds: Sequence[np.ndarray]
    """Statistics (N, K) of the rows of each seed."""
    value: float
    resampled: np.ndarray
    """(R,) scores of resampled rows."""


def scored(metric: Metric, seeds: Sequence[np.ndarray]) -> Scored:
    """The score of a system, and what it might have been with other rows."""
    value = float(mean(metric, [one.sum(axis=0) for one in seeds]))
    resamples = [metric.of_resamples(one) for one in seeds]
    return Scored(seeds, value, np.asarray(sum(resamples) / len(resamples)))


def compare(metric: Metric, system: Scored, other: Scored) -> Difference:
    """How `system` differs from `other`; all statistics have the same rows and columns."""
    observed = system.value - other.value
    low, high = percentiles(system.resampled - other.resampled)
    return Difference(
        observed,
        low,
        high,
        randomised(metric, system.seeds, other.seeds),
        bootstrap_p(system.resampled, other.resampled, abs(observed)),
    )


def clustered(statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Statistics (N, K) of rows to their sums (G, K) over groups (N,), numbered from 0.

    Tests of these draw whole groups, as rows of one speaker demand, which do not go wrong one by one.
    """
    sums = np.zeros((int(groups.max()) + 1, statistics.shape[1]))
    np.add.at(sums, groups, statistics)
    return sums


def mean(metric: Metric, totals: Sequence[np.ndarray]) -> np.ndarray:
    """The mean score over seeds of sums (..., K)."""
    return np.asarray(sum(metric.value(one) for one in totals) / len(totals))


def bootstrap_p(values: np.ndarray, others: np.ndarray, observed: float) -> float:
    """The p-value of scores of resamples (R,) of two systems whose scores differ by `observed`, without its sign.

    The distribution is centred after its sign is dropped, as Moses does; where there is no difference such a test
    finds one at 0.05 two or three times as often as it should. `randomised` does not.
    """
    distances = np.abs(values - others)
    extreme = int((distances - distances.mean() > observed).sum())
    return (extreme + 1) / (len(values) + 1)


def randomised(metric: Metric, system: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """Approximate randomisation (Noreen 1989; Riezler and Maxwell 2005): exchange the outputs of random rows.

    Seeds are exchanged together, the first of one system with the first of the other.
    """
    pairs = list(zip(system, other, strict=False))
    sums = [(one.sum(axis=0), two.sum(axis=0)) for one, two in pairs]
    random, rows = np.random.default_rng(SEED), len(system[0])
    differences = [np.array([difference(metric, sums)])]
    for start in range(0, TRIALS, AT_ONCE):
        # True keeps what is the system's and the other's, as sacreBLEU draws it with its first system as `other`.
        kept = random.integers(2, size=(min(AT_ONCE, TRIALS - start), rows), dtype=bool).astype(np.float64)
        moved = [kept @ (two - one) for one, two in pairs]
        differences.append(
            difference(metric, [(one + move, two - move) for (one, two), move in zip(sums, moved, strict=True)])
        )
    distances = np.abs(np.concatenate(differences))
    extreme = int(metric.extreme(distances[1:], float(distances[0])).sum())
    return (extreme + 1) / (TRIALS + 1)


def difference(metric: Metric, sums: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Between the mean scores over seeds of sums (..., K) of two systems."""
    one, other = (mean(metric, side) for side in zip(*sums, strict=True))
    return np.asarray(one - other)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """p-values of several tests so that one false alarm among all of them is no likelier than in one (Holm 1979)."""
    order, result, least = np.argsort(p_values, kind="stable"), [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order.tolist()):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        result[index] = least
    return result
