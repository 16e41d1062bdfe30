"""Calibration: whether labels that are given with 80 % confidence are right 80 % of the time."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from seq2seq.errors import InputError, check_range
from seq2seq.metrics.base import Counted, Prediction
from seq2seq.metrics.labels import check_separator, described, labels_of
from seq2seq.metrics.ratios import divided


class CalibrationError(Counted):
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
            separator: what stands between labels; null for tabs where a reference holds any, else blanks.
        """
        check_range("bins", bins, 1)
        check_separator(separator)
        self.bins, self.separator = bins, separator

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 3 * bins): of each bin the labels, the sum of their confidence and how many are right."""
        counts = np.zeros((len(rows), self.bins, 3))
        for count, row in zip(counts, rows, strict=True):
            predicted, reference = labels_of(row, self.separator)
            sure = self.confidences(row, len(predicted))
            right = np.zeros(len(predicted))
            right[: len(reference)] = list(map(str.__eq__, predicted, reference))
            # Bin m holds confidences above (m - 1) / M and up to m / M.
            bins = np.clip(np.ceil(sure * self.bins).astype(int) - 1, 0, self.bins - 1)
            np.add.at(count, bins, np.stack([np.ones(len(predicted)), sure, right], axis=1))
        return counts.reshape(len(rows), 3 * self.bins)

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
        confidence, accuracy = (divided(counts[:, place], counts[:, 0]) for place in (1, 2))
        table = [
            {
                "low": place / self.bins,
                "high": (place + 1) / self.bins,
                "count": int(counts[place, 0]),
                "confidence": float(confidence[place]),
                "accuracy": float(accuracy[place]),
            }
            for place in range(self.bins)
        ]
        return {"bins": table}
