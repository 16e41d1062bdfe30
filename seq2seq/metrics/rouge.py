"""ROUGE (Lin 2004) as the library rouge_score computes it."""

from collections.abc import Sequence
from importlib import metadata
from typing import Literal

import numpy as np

from seq2seq.metrics.base import Prediction
from seq2seq.metrics.ratios import Ratio


class Rouge(Ratio):
    """The mean over rows of ROUGE's F1, percent.

    The library lowercases and keeps only the letters a to z and digits: a text in another script has no words for it
    and scores 0, and an accent splits a word.
    """

    def __init__(self, kind: Literal["1", "2", "L"] = "L", stem: bool = True) -> None:
        """What is compared.

        Args:
            kind: words (1), pairs of words (2) or the longest common subsequence (L).
            stem: whether words of more than three letters lose their endings first (Porter 1980).
        """
        self.kind, self.stem, self.name = kind, stem, f"rouge{kind}"

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): F1 in 0..1, and 1."""
        from rouge_score.rouge_scorer import RougeScorer  # takes two seconds to import

        scorer = RougeScorer([self.name], use_stemmer=self.stem)
        values = [scorer.score(row.reference, row.prediction)[self.name].fmeasure for row in rows]
        return np.stack([np.array(values, dtype=float), np.ones(len(rows))], axis=1)

    def settings(self) -> str:
        stem, version = "yes" if self.stem else "no", metadata.version("rouge_score")
        return f"{self.name}|stem:{stem}|tokens:a-z0-9|rouge_score:{version}"
