"""BLEU (Papineni et al. 2002) and chrF (Popovic 2015), both computed by sacreBLEU (Post 2018)."""

from collections.abc import Sequence
from typing import Any

from seq2seq.metrics.base import RESAMPLES, Metric, Score


class SacreBleuMetric(Metric):
    """What the two have in common: sacreBLEU's own score, interval and signature."""

    def _scorer(self, sentence: bool) -> Any:
        raise TypeError(f"{type(self).__name__} does not say which scorer it uses")

    def compute(self, predictions: Sequence[str], references: Sequence[str], interval: bool = False) -> Score:
        """Percent, as `sacrebleu REFERENCES -i PREDICTIONS --confidence` prints it."""
        scorer = exact(self._scorer(sentence=False))
        # The command line strips the end of each line, so the same strings are scored here.
        texts, truths = [text.rstrip() for text in predictions], [text.rstrip() for text in references]
        resamples = RESAMPLES if interval and len(texts) > 1 else 1
        score = scorer.corpus_score(texts, [truths], n_bootstrap=resamples)
        signature = str(scorer.get_signature())
        if resamples == 1:
            return Score(float(score.score), None, None, signature)
        mean, half = float(score._mean), float(score._ci)
        return Score(float(score.score), mean - half, mean + half, signature)

    def rows(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """The sentence score of each row, percent."""
        scorer = self._scorer(sentence=True)
        return [
            float(scorer.sentence_score(one, [other]).score) for one, other in zip(predictions, references, strict=True)
        ]


class Bleu(SacreBleuMetric):
    """BLEU, percent."""

    name = "bleu"

    def __init__(self, tokenize: str = "13a", lowercase: bool = False) -> None:
        """tokenize: sacreBLEU's tokenizer (13a, intl, char, ja-mecab, zh, flores200, ...)."""
        self.tokenize, self.lowercase = tokenize, lowercase

    def _scorer(self, sentence: bool) -> Any:
        from sacrebleu.metrics.bleu import BLEU  # takes a moment to import

        return BLEU(lowercase=self.lowercase, tokenize=self.tokenize, effective_order=sentence)


class Chrf(SacreBleuMetric):
    """chrF2, percent."""

    name = "chrf"

    def _scorer(self, sentence: bool) -> Any:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()


def exact(scorer: Any) -> Any:
    """A scorer whose scores are Python floats: a bootstrap that mixes them with numpy's single precision fails."""
    compute = scorer._compute_score_from_stats

    def computed(statistics: Any) -> Any:
        score = compute(statistics)
        score.score = float(score.score)
        return score

    scorer._compute_score_from_stats = computed
    return scorer
