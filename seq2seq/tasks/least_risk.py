"""Minimum Bayes risk: the prediction that agrees best with all others, by a metric of ours."""

from collections import Counter
from collections.abc import Callable, Sequence

from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.metrics.base import Metric, Prediction


def ranked(hypotheses: Sequence[Hypothesis], text: Callable[[Hypothesis], str], metric: Metric) -> list[Hypothesis]:
    """The hypotheses by their mean score against all as references, best first, each text once.

    Their `score` is that mean, in the unit of the metric, with the sign that makes higher better. Drawn ones are as
    frequent as they are likely; of a beam all weigh the same.
    """
    texts = [text(one) for one in hypotheses]
    counts = Counter(texts)
    firsts = dict(zip(reversed(texts), reversed(hypotheses), strict=True))
    rows = [Prediction(0, "", reference, own, 0.0, []) for own in counts for reference in counts]
    scores = iter(metric.settled([row.references for row in rows]).each(rows))
    found = []
    for own in counts:
        total = sum(times * metric.rank(next(scores)) for times in counts.values())
        found.append(firsts[own]._replace(score=total / len(texts)))
    return sorted(found, key=lambda one: -one.score)
