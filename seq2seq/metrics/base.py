"""Metric: predictions and references to a score with its interval and signature."""

from collections.abc import Sequence
from typing import NamedTuple

from seq2seq.parts import Part

RESAMPLES = 1000
"""Bootstrap resamples behind an interval."""


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

    def compute(self, predictions: Sequence[str], references: Sequence[str], interval: bool = False) -> Score:
        """Score predictions against raw references, line by line; `interval` adds the bootstrap."""
        raise TypeError(f"{type(self).__name__} does not say how to compute its score")

    def rows(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """The score of each row by itself."""
        return [self.compute([one], [other]).value for one, other in zip(predictions, references, strict=True)]
