"""BLEU (Papineni et al. 2002), chrF (Popovic 2015) and TER (Snover et al. 2006) as sacreBLEU (Post 2018) computes them.

sacreBLEU counts the n-grams and edits of each sentence; what the sums mean is written here once more, for whole arrays
of sums, so that a thousand resamples take no longer than one. Tests hold every number against sacreBLEU's own.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from seq2seq.metrics.base import RESAMPLES, SEED, Metric, Prediction
from seq2seq.metrics.ratios import divided

ORDERS = 4
"""The longest n-grams of BLEU."""


class SacreBleuMetric(Metric):
    """What the three have in common: sacreBLEU's counts, interval and signature."""

    columns: ClassVar[int]
    """Numbers that sacreBLEU counts of a sentence."""

    def scorer(self) -> Any:
        """The metric of sacreBLEU."""
        raise TypeError(f"{type(self).__name__} does not say which scorer it uses")

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, K) as sacreBLEU counts; the ends of lines are stripped, as its command line does."""
        pairs = [(row.prediction.rstrip(), row.reference.rstrip()) for row in rows]
        scorer, references = self.scorer(), list(dict.fromkeys(reference for _, reference in pairs))
        known = dict(zip(references, scorer._cache_references([references]), strict=True))
        # Systems often say the same, so every pair is counted once.
        counts = {
            (text, reference): scorer._compute_segment_statistics(scorer._preprocess_segment(text), known[reference])
            for text, reference in dict.fromkeys(pairs)
        }
        return np.array([counts[pair] for pair in pairs], dtype=np.float64).reshape(len(rows), self.columns)

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """sacreBLEU's: half the distance between the 26th lowest and the 26th highest value, around the mean."""
        ordered, cut = np.sort(values), len(values) // 40
        half = 0.5 * float(ordered[-cut - 1] - ordered[cut])
        mean = float(ordered.mean())
        return mean - half, mean + half

    def extreme(self, distances: np.ndarray, observed: float) -> np.ndarray:
        """sacreBLEU's: only larger ones; but two systems that score the same do not differ."""
        return distances > observed if observed > 0 else distances >= observed

    def settings(self) -> str:
        return self.signature({})

    def signature_of_bootstrap(self) -> str:
        return self.signature({"bs": RESAMPLES, "seed": SEED})

    def signature(self, more: dict[str, int]) -> str:
        """sacreBLEU's signature, and what else changes the number."""
        scorer = self.scorer()
        scorer.num_refs = 1
        signature = scorer.get_signature()
        for name, value in more.items():
            signature.update(name, value)
        return str(signature)


class Bleu(SacreBleuMetric):
    """BLEU, percent; of a row by itself with the n-gram orders that it has."""

    name = "bleu"
    columns = 2 + 2 * ORDERS

    def __init__(self, tokenize: str = "13a", lowercase: bool = False) -> None:
        """tokenize: sacreBLEU's tokenizer (13a, intl, char, ja-mecab, zh, flores200, ...)."""
        self.tokenize, self.lowercase = tokenize, lowercase

    def scorer(self) -> Any:
        from sacrebleu.metrics.bleu import BLEU  # takes a moment to import

        return BLEU(lowercase=self.lowercase, tokenize=self.tokenize, force=True)

    def value(self, totals: np.ndarray) -> np.ndarray:
        return bleu(totals)

    def each_of(self, counts: np.ndarray) -> list[float]:
        scores: list[float] = bleu(counts, effective_order=True).tolist()
        return scores


def bleu(totals: np.ndarray, effective_order: bool = False) -> np.ndarray:
    """(..., 10) lengths of prediction and reference, right n-grams, n-grams, to BLEU in percent (...).

    Papineni et al. 2002, eq. 2 and 3; orders without a match are smoothed as in Chen and Cherry 2014, method 3.
    effective_order: orders of which the prediction has no n-gram do not count; else they make the score zero.
    """
    length, wanted = totals[..., 0], totals[..., 1]
    right, ngrams = totals[..., 2 : 2 + ORDERS], totals[..., 2 + ORDERS :]
    missed = (right == 0) & (ngrams > 0)
    precision = divided(np.where(missed, 0.5 ** missed.cumsum(-1), right), ngrams)
    logs = np.log(precision, out=np.full(precision.shape, -1e10), where=precision > 0)
    counted = ngrams > 0 if effective_order else np.ones(ngrams.shape, dtype=bool)
    mean = divided((logs * counted).sum(-1), counted.sum(-1))
    penalty = np.exp(np.minimum(0, 1 - divided(wanted, length)))
    return np.asarray(100 * penalty * np.exp(mean) * right.any(-1))


class Chrf(SacreBleuMetric):
    """chrF2, percent."""

    name = "chrf"
    columns = 3 * 6

    def scorer(self) -> Any:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Popovic 2015, eq. 1, over the orders that both texts have."""
        counts = totals.reshape(*totals.shape[:-1], 6, 3)
        predicted, wanted, right = counts[..., 0], counts[..., 1], counts[..., 2]
        counted = (predicted > 0) & (wanted > 0)
        orders = counted.sum(-1)
        precision, recall = (divided((divided(right, n) * counted).sum(-1), orders) for n in (predicted, wanted))
        return 100 * divided(5 * precision * recall, 4 * precision + recall)


class Ter(SacreBleuMetric):
    """Translation edit rate, percent: insertions, deletions, replacements and shifts over the reference's words."""

    name = "ter"
    higher_is_better: ClassVar[bool] = False
    columns = 2

    def scorer(self) -> Any:
        from sacrebleu.metrics.ter import TER

        return TER()

    def value(self, totals: np.ndarray) -> np.ndarray:
        edits, words = totals[..., 0], totals[..., 1]
        return np.asarray(100 * np.where(words > 0, divided(edits, words), edits > 0))
