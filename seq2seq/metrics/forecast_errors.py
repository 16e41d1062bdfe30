"""Errors of predicted numbers: texts whose steps are separated by tabs and the numbers of a step by spaces."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from seq2seq.errors import InputError, check_range
from seq2seq.metrics.base import Metric, Prediction, Score
from seq2seq.metrics.ratios import Ratio, divided


def numbers(text: str, row: int, side: str) -> np.ndarray:
    """(steps, width) of a text, (0, 0) of an empty one; `row` and `side` say where a mistake is.

    Of a step with covariates, which stand behind a bar, it is the numbers before them; steps without any are left out.
    """
    if "|" in text:
        text = "\t".join(own for step in text.split("\t") if (own := step.partition("|")[0].strip()))
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


class ScaledError(Metric):
    """An error scaled by that of the seasonal naive forecast within the row's own source; the mean over rows.

    In each row every step weighs the same. A series whose source repeats itself exactly has no scale: it is left out,
    and the signature counts these; where all are, there is no score. The signature also has the score of the seasonal
    naive forecast for the same rows. A subclass writes `size` and `scaled_by`.
    """

    higher_is_better: ClassVar[bool] = False
    unit: ClassVar[str] = ""
    writes: ClassVar[tuple[str, ...]] = ("size", "scaled_by")

    def __init__(self, season: int = 1) -> None:
        """season: steps of a season; 1 compares with the last value."""
        check_range("season", season, 1)
        self.season = season

    def size(self, errors: np.ndarray) -> np.ndarray:
        """The mean size (width,) of errors (steps, width) of several series."""
        raise TypeError(f"{type(self).__name__} does not say how large errors are")

    def scaled_by(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        """The score (width,) of errors of one mean size by naive errors of another; 0 where `below` is 0."""
        raise TypeError(f"{type(self).__name__} does not say how errors are scaled")

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 4), sums over the series of a row: scaled errors, naive ones, series, series left out."""
        return np.array([self.scaled(row) for row in rows], dtype=float).reshape(len(rows), 4)

    def scaled(self, row: Prediction) -> tuple[float, float, int, int]:
        """The four numbers of a row."""
        errors = difference(row)
        if not errors.size:
            return 0.0, 0.0, 0, 0
        history = self.history(row, errors.shape[1])
        scale = self.size(history[self.season :] - history[: -self.season])  # (width,)
        season = history[np.arange(len(errors)) % self.season - self.season]
        naive = season - numbers(row.reference, row.id, "reference")
        usable = scale > 0
        below = np.where(usable, scale, 0)
        own, other = (float(self.scaled_by(self.size(one), below).sum()) for one in (errors, naive))
        return own, other, int(usable.sum()), int((~usable).sum())

    def history(self, row: Prediction, width: int) -> np.ndarray:
        """(steps, width) the source, if it is long enough and has the series of the reference."""
        history = numbers(row.source, row.id, "source")
        if len(history) <= self.season:
            raise InputError(
                f"row {row.id}: the source has {len(history)} steps, but {self.name} with season {self.season} needs "
                f"{self.season + 1}; lower season, give longer sources or choose mae"
            )
        if history.shape[1] != width:
            raise InputError(
                f"row {row.id}: a step has {history.shape[1]} numbers in the source and {width} in the reference, so "
                f"{self.name} lacks the history of each; choose mae"
            )
        return history

    def value(self, totals: np.ndarray) -> np.ndarray:
        """(..., 4) to (...)."""
        return divided(totals[..., 0], totals[..., 2])

    def scored(self, counts: np.ndarray, interval: bool) -> Score:
        """As of any counts, with the score of the naive forecast in the signature."""
        score, totals = super().scored(counts, interval), counts.sum(axis=0)
        naive = f"{float(totals[1] / totals[2]):.4g}" if totals[2] else "n/a"
        signature = f"{self.settings()}|naive:{naive}"
        if totals[3]:
            signature += f"|left_out:{int(totals[3])}"
        return score._replace(signature=signature + score.signature.removeprefix(self.settings()))

    def settings(self) -> str:
        return f"{self.name}|season:{self.season}|scale:source"


class MeanAbsoluteScaledError(ScaledError):
    """The mean absolute error, scaled by that of the seasonal naive forecast within the row's own source.

    |error| / |naive error|, means over steps (Hyndman and Koehler 2006, section 3); the mean over rows. Not available
    for a source that repeats itself exactly.
    """

    name = "mase"

    def size(self, errors: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(errors).mean(axis=0))

    def scaled_by(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return divided(above, below, 0.0)


class RootMeanSquaredScaledError(ScaledError):
    """The root of the mean squared error, scaled by that of the seasonal naive forecast within the row's own source.

    sqrt(error^2 / naive error^2), means over steps, the mean over rows (Makridakis et al. 2022, section 2.3, with
    season 1). Not available for a source that repeats itself exactly.
    """

    name = "rmsse"

    def size(self, errors: np.ndarray) -> np.ndarray:
        return np.asarray(np.square(errors).mean(axis=0))

    def scaled_by(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(divided(above, below, 0.0)))


class WeightedQuantileLoss(Ratio):
    """The pinball loss of all forecast quantiles, over the sum of the absolute values that were forecast.

    The mean over quantiles q of 2 sum max(q e, (q - 1) e) / sum |y|, with e = y - forecast of q, sums over all numbers
    of all rows (Salinas et al. 2020, section 4.3: the q-risk). Not available where all values are 0.
    """

    name = "wql"
    higher_is_better: ClassVar[bool] = False
    unit: ClassVar[str] = ""
    scale: ClassVar[float] = 1.0

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): twice the sum of pinball losses, the mean over quantiles, and the sum of absolute values."""
        return np.array([weighted(row) for row in rows], dtype=float).reshape(len(rows), 2)


def weighted(row: Prediction) -> tuple[float, float]:
    """The two sums of a row."""
    if not row.quantiles:
        raise InputError("the metric wql needs forecasts of quantiles; set model.quantiles")
    levels = levels_of(row)
    losses = []
    for level, text in levels.items():
        errors = -difference(row._replace(prediction=text))
        losses.append(np.maximum(level * errors, (level - 1) * errors).sum())
    return 2 * float(np.mean(losses)), float(np.abs(numbers(row.reference, row.id, "reference")).sum())


def levels_of(row: Prediction) -> dict[float, str]:
    """The forecasts of a row by their quantiles."""
    try:
        return {float(name): text for name, text in (row.quantiles or {}).items()}
    except ValueError as problem:
        raise InputError(f"row {row.id}: the names of quantiles must be numbers: {problem}") from problem


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
    levels = levels_of(row)
    texts = {f"quantile {level:g}": levels[level] for level in (min(levels), max(levels))}
    low, high, values = (
        numbers(text, row.id, side).reshape(-1) for side, text in [*texts.items(), ("reference", row.reference)]
    )
    if not len(low) == len(high) == len(values):
        raise InputError(f"row {row.id} has {len(values)} numbers, but its forecast has {len(low)}")
    return int(((low <= values) & (values <= high)).sum()), len(values)
