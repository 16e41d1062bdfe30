"""Coverage: how often a reference lies between the outermost quantiles of its forecast."""

from collections.abc import Sequence

import numpy as np

from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.ratios import Ratio


class Coverage(Ratio):
    """Percent of the reference's numbers from the lowest forecast quantile to the highest; 80 for 0.1 and 0.9.

    Neither higher nor lower is better: it should be what the two quantiles leave between them.
    """

    name = "coverage"

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """Numbers inside, and all numbers."""
        return np.array([counts_of(row) for row in rows], dtype=np.float64).reshape(-1, 2)


def counts_of(row: Prediction) -> tuple[int, int]:
    """How many numbers of a reference lie inside, of how many."""
    if not row.quantiles:
        raise InputError("the metric coverage needs forecasts of several quantiles; set model.quantiles")
    lowest, highest = min(row.quantiles, key=float), max(row.quantiles, key=float)
    low, high, values = (
        np.array(text.split(), dtype=np.float64)
        for text in (row.quantiles[lowest], row.quantiles[highest], row.reference)
    )
    if not len(low) == len(high) == len(values):
        raise InputError(f"row {row.id} has {len(values)} numbers, but its forecast has {len(low)}")
    return int(((low <= values) & (values <= high)).sum()), len(values)
