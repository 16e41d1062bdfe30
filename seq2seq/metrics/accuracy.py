"""Exact match: the share of rows whose prediction is the reference."""

from collections.abc import Sequence

import numpy as np

from seq2seq.metrics.base import RESAMPLES, Metric, Score


class ExactMatch(Metric):
    """Percent of rows equal to their reference once outer blanks are stripped."""

    name = "exact_match"

    def compute(self, predictions: Sequence[str], references: Sequence[str], interval: bool = False) -> Score:
        """The interval is the 2.5th and 97.5th percentile of the resampled means, seed 12345."""
        right = np.array(self.rows(predictions, references))
        value = float(right.mean()) if len(right) else 0.0
        if not interval or len(right) < 2:
            return Score(value, None, None, "exact_match|strip:yes")
        # Resampling rows that are right or wrong is drawing from a binomial distribution.
        hits = np.random.default_rng(12345).binomial(len(right), value / 100, RESAMPLES)
        low, high = np.percentile(hits / len(right) * 100, [2.5, 97.5])
        return Score(value, float(low), float(high), f"exact_match|strip:yes|bs:{RESAMPLES}|seed:12345")

    def rows(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """100 where a row is right, else 0."""
        pairs = zip(predictions, references, strict=True)
        return [100.0 * (prediction.strip() == reference.strip()) for prediction, reference in pairs]
