"""Calibration: whether labels with 80 % confidence are right 80 % of the time."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from seq2seq.errors import InputError, check_range
from seq2seq.metrics.base import Metric, Prediction
from seq2seq.metrics.labels import check_separator, classes_of, described, labels_of
from seq2seq.metrics.ratios import divided

ENOUGH = 50
"""Labels in each half of the rows without which no temperature is fitted."""


class CalibrationError(Metric):
    """Expected calibration error in percent (Guo et al. 2017, eq. 3), for one label a row or a token.

    The mean distance between how sure and how often right the predicted labels are, over bins of confidence that are
    equally wide. A label is right as in `Accuracy`.
    """

    name = "calibration_error"
    higher_is_better: ClassVar[bool] = False

    def __init__(self, bins: int = 15, separator: str | None = None) -> None:
        """How it is measured.

        Args:
            bins: of confidence, 15 in Guo et al. 2017.
            separator: between labels; null for tabs where a reference has any, else whitespace.
        """
        check_range("bins", bins, 1)
        check_separator(separator)
        self.bins, self.separator = bins, separator

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 3 * bins): of each bin the labels, the sum of their confidence and how many are right."""
        counts = np.zeros((len(rows), self.bins, 3))
        for count, row in zip(counts, rows, strict=True):
            count += binned(*self.answers(row), self.bins).reshape(self.bins, 3)
        return counts.reshape(len(rows), 3 * self.bins)

    def answers(self, row: Prediction) -> tuple[np.ndarray, np.ndarray]:
        """(labels,) the confidence of each predicted label, and 1 where it is right."""
        predicted, reference = labels_of(row, self.separator)
        right = np.zeros(len(predicted))
        right[: len(reference)] = list(map(str.__eq__, predicted, reference))
        of_labels = row._replace(token_scores=row.token_scores[len(classes_of(row).predicted) :])
        return self.confidences(of_labels, len(predicted)), right

    def confidences(self, row: Prediction, labels: int) -> np.ndarray:
        """(labels,) the probabilities of a row's predicted labels."""
        if len(row.token_scores) not in (labels, labels + 1):  # an end may follow
            raise InputError(
                f"row {row.id}: {labels} labels but {len(row.token_scores)} token_scores; calibration_error is for "
                "tasks that score each label: drop it from model.metrics, or set its separator"
            )
        return np.asarray(np.exp(np.array(row.token_scores[:labels], dtype=float)))

    def value(self, totals: np.ndarray) -> np.ndarray:
        counts = totals.reshape(*totals.shape[:-1], self.bins, 3)
        gaps = np.abs(counts[..., 1] - counts[..., 2]).sum(-1)
        return 100.0 * divided(gaps, counts[..., 0].sum(-1))

    def settings(self) -> str:
        return f"{self.name}|bins:{self.bins}|{described(self.separator)}"

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """The reliability table: of each bin its ends, labels, mean confidence and share of right ones, all in 0..1."""
        counts = self.statistics(rows).sum(axis=0).reshape(self.bins, 3)
        confidence, accuracy = (divided(counts[:, index], counts[:, 0], 0.0) for index in (1, 2))
        table = [
            {
                "low": index / self.bins,
                "high": (index + 1) / self.bins,
                "count": int(counts[index, 0]),
                "confidence": float(confidence[index]),
                "accuracy": float(accuracy[index]),
            }
            for index in range(self.bins)
        ]
        return {"bins": table} | ({"temperature": temperature} if (temperature := self.fitted(rows)) else {})

    def fitted(self, rows: Sequence[Prediction]) -> dict[str, float] | None:
        """The temperature fitted to the even rows, and the calibration error of the odd rows before and after it."""
        sure, right = zip(*map(self.answers, rows), strict=True) if rows else ((), ())
        halves = [np.concatenate([np.zeros(0), *side[index::2]]) for index in (0, 1) for side in (sure, right)]
        if min(map(len, halves)) < ENOUGH:
            return None
        temperature = fit_temperature(halves[0], halves[1])
        after = softened(halves[2], temperature)
        errors = [float(self.value(binned(one, halves[3], self.bins).sum(axis=0))) for one in (halves[2], after)]
        return {"temperature": temperature, "before": errors[0], "after": errors[1]}


def binned(sure: np.ndarray, right: np.ndarray, bins: int) -> np.ndarray:
    """(1, 3 * bins): of each bin of confidence the labels, the sum of their confidence and how many are right."""
    # Bin m holds confidences above (m - 1) / M and up to m / M.
    chosen = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    columns = [np.bincount(chosen, weights, bins) for weights in (None, sure, right)]
    return np.stack(columns, axis=1).reshape(1, 3 * bins).astype(float)


def softened(sure: np.ndarray, temperature: float) -> np.ndarray:
    """Confidences (n,) whose log-odds are divided by a temperature."""
    sure = np.clip(sure, 1e-12, 1 - 1e-12)
    return np.asarray(1 / (1 + ((1 - sure) / sure) ** (1 / temperature)))


def fit_temperature(sure: np.ndarray, right: np.ndarray) -> float:
    """The temperature under which (n,) confidences make the labels that are right (1) or wrong (0) likeliest.

    Guo et al. 2017, section 4.2, with the log-odds of the predicted label in place of all logits, which predictions do
    not hold: for two labels the same, for more an approximation. Within 0.05 and 20, by golden section.
    """

    def loss(log_temperature: float) -> float:
        soft = np.clip(softened(sure, float(np.exp(log_temperature))), 1e-12, 1 - 1e-12)
        return -float((right * np.log(soft) + (1 - right) * np.log(1 - soft)).sum())

    ratio, (low, high) = (5**0.5 - 1) / 2, (float(np.log(0.05)), float(np.log(20.0)))
    for _ in range(60):
        one, other = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, other) if loss(one) <= loss(other) else (one, high)
    return float(np.exp((low + high) / 2))
