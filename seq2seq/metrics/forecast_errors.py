"""Errors of predicted numbers: texts whose steps are separated by tabs and the numbers of a step by spaces."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from seq2seq.errors import InputError, check_range
from seq2seq.metrics.base import Metric, Prediction, Score
from seq2seq.metrics.ratios import Ratio, divided


def numbers(text: str, row: int, side: str) -> np.ndarray:
    """(steps, width) of a text, (0, 0) of an empty one; `row` and `side` say where a mistake is."""
    if not text.strip():
        return np.zeros((0, 0))
    try:
        steps = np.array([list(map(float, step.split())) for step in text.split("\t")])
    except ValueError as problem:
        remedy = "separate steps by tabs and the numbers of a step, equally many in each, by spaces"
        raise InputError(f"row {row}: the {side} is not a sequence of numbers ({problem}); {remedy}") from problem
    if not np.isfinite(steps).all():
        raise InputError(f"row {row}: the {side} has a non-finite number; fix or drop the row")
    return steps


def difference(row: Prediction) -> np.ndarray:
    """(steps, width) prediction minus reference."""
    predicted, reference = (numbers(getattr(row, side), row.id, side) for side in ("prediction", "reference"))
    if predicted.shape != reference.shape:
        raise InputError(
            f"row {row.id}: the prediction has {' x '.join(map(str, predicted.shape))} numbers (steps x width), the "
            f"reference {' x '.join(map(str, reference.shape))}; both need the same"
        )
    errors: np.ndarray = predicted - reference
    return errors


class MeanAbsoluteError(Ratio):
    """The mean absolute error over all numbers of all rows, in their own unit."""

    name = "mae"
    higher_is_better: ClassVar[bool] = False
    unit: ClassVar[str] = ""
    scale: ClassVar[float] = 1.0

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): the sum of absolute errors, and of how many numbers."""
        errors = [difference(row) for row in rows]
        return np.array([(np.abs(one).sum(), one.size) for one in errors], dtype=float).reshape(len(rows), 2)


class RootMeanSquaredError(Ratio):
    """The root of the mean squared error over all numbers of all rows, in their own unit."""

    name = "rmse"
    higher_is_better: ClassVar[bool] = False
    unit: ClassVar[str] = ""
    scale: ClassVar[float] = 1.0

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): the sum of squared errors, and of how many numbers."""
        errors = [difference(row) for row in rows]
        return np.array([(np.square(one).sum(), one.size) for one in errors], dtype=float).reshape(len(rows), 2)

    def value(self, totals: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(super().value(totals)))


class MeanAbsoluteScaledError(Metric):
    """The mean absolute error, scaled by that of the seasonal naive forecast within the row's own source.

    Hyndman and Koehler 2006, section 3; the mean over rows, in each of which every step weighs the same. A series whose
    source repeats itself exactly has no scale: it is left out, and the signature counts these. The signature also has
    the score of the seasonal naive forecast for the same rows.
    """

    name = "mase"
    higher_is_better: ClassVar[bool] = False
    unit: ClassVar[str] = ""

    def __init__(self, season: int = 1) -> None:
        """season: steps of a season; 1 compares with the last value."""
        check_range("season", season, 1)
        self.season = season

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 4), sums over the series of a row: scaled errors, naive ones, series, series left out."""
        return np.array([self.scaled(row) for row in rows], dtype=float).reshape(len(rows), 4)

    def scaled(self, row: Prediction) -> tuple[float, float, int, int]:
        """The four numbers of a row."""
        errors = difference(row)
        if not errors.size:
            return 0.0, 0.0, 0, 0
        history = self.history(row, errors.shape[1])
        scale = np.abs(history[self.season :] - history[: -self.season]).mean(axis=0)  # (width,)
        season = history[np.arange(len(errors)) % self.season - self.season]
        naive = season - numbers(row.reference, row.id, "reference")
        usable = scale > 0
        own, other = (
            float(divided(np.abs(one).mean(axis=0), np.where(usable, scale, 0), 0.0).sum()) for one in (errors, naive)
        )
        return own, other, int(usable.sum()), int((~usable).sum())

    def history(self, row: Prediction, width: int) -> np.ndarray:
        """(steps, width) the source, if it is long enough and has the series of the reference."""
        history = numbers(row.source, row.id, "source")
        if len(history) <= self.season:
            raise InputError(
                f"row {row.id}: the source has {len(history)} steps, but mase with season {self.season} needs "
                f"{self.season + 1}; lower season, give longer sources or choose mae"
            )
        if history.shape[1] != width:
            raise InputError(
                f"row {row.id}: a step has {history.shape[1]} numbers in the source and {width} in the reference, so "
                "mase lacks the history of each; choose mae"
            )
        return history

    def value(self, totals: np.ndarray) -> np.ndarray:
        """(..., 4) to (...)."""
        return divided(totals[..., 0], totals[..., 2])

    def scored(self, counts: np.ndarray, interval: bool) -> Score:
        """As of any counts, with the score of the naive forecast in the signature."""
        score, totals = super().scored(counts, interval), counts.sum(axis=0)
        signature = f"{self.settings()}|naive:{float(divided(totals[1], totals[2])):.4g}"
        if totals[3]:
            signature += f"|left_out:{int(totals[3])}"
        return score._replace(signature=signature + score.signature.removeprefix(self.settings()))

    def settings(self) -> str:
        return f"{self.name}|season:{self.season}|scale:source"


class IntervalCoverage(Ratio):
    """Percent of the reference's numbers from the lowest forecast quantile to the highest; 80 for 0.1 and 0.9.

    Neither higher nor lower is better: it should be the difference of the two quantiles.
    """

    name = "coverage"

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """Numbers inside, and all numbers."""
        return np.array([counts_of(row) for row in rows], dtype=np.float64).reshape(-1, 2)


def counts_of(row: Prediction) -> tuple[int, int]:
    """How many numbers of a reference lie inside, and all."""
    if not row.quantiles:
        raise InputError("the metric coverage needs forecasts of several quantiles; set model.quantiles")
    try:
        lowest, highest = min(row.quantiles, key=float), max(row.quantiles, key=float)
    except ValueError as problem:
        raise InputError(f"row {row.id}: the names of quantiles must be numbers: {problem}") from problem
    texts = {f"quantile {lowest}": row.quantiles[lowest], f"quantile {highest}": row.quantiles[highest]}
    low, high, values = (
        numbers(text, row.id, side).reshape(-1) for side, text in [*texts.items(), ("reference", row.reference)]
    )
    if not len(low) == len(high) == len(values):
        raise InputError(f"row {row.id} has {len(values)} numbers, but its forecast has {len(low)}")
    return int(((low <= values) & (values <= high)).sum()), len(values)
