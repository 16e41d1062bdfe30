"""How probable the references are: perplexity by token, bits by character."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.ratios import Ratio

IMPOSSIBLE = -1e30
"""Stands for a log-probability of minus infinity, whose product with zero draws in a resample would be NaN."""

LARGEST = 700.0
"""Nats a token at which a perplexity is clipped, so that it and its interval stay finite, in JSON too."""


def perplexity_of(loss: float) -> float:
    """Of a mean negative log-probability in nats."""
    return float(np.exp(np.minimum(loss, LARGEST)))


def surprise(row: Prediction, name: str) -> float:
    """Minus the log-probability of a row's reference, in nats."""
    if row.reference_scores is None:
        raise InputError(
            f"row {row.id} has no reference_scores, which {name} needs; choose a task that scores its references, "
            f"or drop {name} from model.metrics"
        )
    return -sum(max(score, IMPOSSIBLE) for score in row.reference_scores)


class Perplexity(Ratio):
    """The exponential of the mean negative log-probability of a reference's token, its end included.

    It depends on what a token is: only models with the same tokenizer compare.
    """

    name = "perplexity"
    higher_is_better: ClassVar[bool] = False
    unit: ClassVar[str] = ""
    scale: ClassVar[float] = 1.0

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): nats and tokens."""
        counts = [(surprise(row, self.name), len(row.reference_scores or [])) for row in rows]
        return np.array(counts, dtype=float).reshape(len(rows), 2)

    def value(self, totals: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(np.minimum(super().value(totals), LARGEST)))

    def settings(self) -> str:
        return f"{self.name}|tokens:model|end:yes"


class BitsPerCharacter(Ratio):
    """Minus the binary logarithm of the references' probability over their characters, of which the end is one.

    Models with different tokenizers compare.
    """

    name = "bits_per_character"
    higher_is_better: ClassVar[bool] = False
    unit: ClassVar[str] = "bits"
    scale: ClassVar[float] = 1.0

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): bits, and characters with one for the end."""
        counts = [(surprise(row, self.name) / np.log(2), len(row.reference) + 1) for row in rows]
        return np.array(counts, dtype=float).reshape(len(rows), 2)

    def settings(self) -> str:
        return f"{self.name}|end:yes"
