"""ROUGE (Lin 2004) as the library rouge_score computes it, and the same for scripts that it cannot read."""

from collections.abc import Sequence
from importlib import metadata
from itertools import chain
from typing import Any, Literal

import numpy as np

from seq2seq.metrics.base import Metric, Prediction, decide
from seq2seq.metrics.ratios import Ratio
from seq2seq.metrics.scripts import runs, scripts_of

FOREIGN = 0.05
"""Share of letters that are not Latin up to which texts are left to the library alone."""


class Rouge(Ratio):
    """The mean over rows of ROUGE's F1, percent; of several references the best one counts.

    The library lowercases and keeps only the letters a to z and digits, so that an accent splits a word and a text in
    another script has no words. With tokens any, words of other scripts are kept too, and of those without spaces
    between words each letter is a word; what is written in Latin letters stays as the library has it.
    """

    def __init__(
        self,
        kind: Literal["1", "2", "L"] = "L",
        stem: bool = True,
        tokens: Literal["latin", "any"] | None = None,
    ) -> None:
        """What is compared.

        Args:
            kind: words (1), pairs of words (2) or the longest common subsequence (L).
            stem: whether words of more than three letters lose their endings first (Porter 1980).
            tokens: latin for the library's own words, any for those of all scripts; null chooses by the references.
        """
        self.kind, self.stem, self.tokens, self.name = kind, stem, tokens, f"rouge{kind}"

    def settled(self, references: Sequence[Sequence[str]]) -> Metric:
        if self.tokens is not None:
            return self
        found = scripts_of(list(chain.from_iterable(references)))
        return decide(self, tokens="any" if found.other > FOREIGN else "latin")

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): F1 in 0..1, and 1; twice 0 where both sides are empty."""
        from rouge_score.rouge_scorer import RougeScorer  # takes two seconds to import

        tokenizer = RougeWords(self.stem, self.tokens == "any")
        scorer, counts = RougeScorer([self.name], tokenizer=tokenizer), np.zeros((len(rows), 2))
        for count, row in zip(counts, rows, strict=True):
            if any(text.strip() for text in (row.prediction, *row.references)):
                count += max(scorer.score(one, row.prediction)[self.name].fmeasure for one in row.references), 1
        return counts

    def settings(self) -> str:
        stem, version = "yes" if self.stem else "no", metadata.version("rouge_score")
        tokens = "any-script" if self.tokens == "any" else "a-z0-9"
        return f"{self.name}|stem:{stem}|tokens:{tokens}|rouge_score:{version}"


class RougeWords:
    """The library's tokenizer, and around it words of other scripts."""

    def __init__(self, stem: bool, every: bool) -> None:
        """every: whether other scripts than Latin have words."""
        from rouge_score.tokenizers import DefaultTokenizer

        self.own, self.every = DefaultTokenizer(stem), every

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        if not self.every:
            return list(self.own.tokenize(text))
        words: list[Any] = [[part.lower()] if kind else self.own.tokenize(part) for kind, part in runs(text)]
        return list(chain.from_iterable(words))
