"""Batches to predictions in row order, and their scores."""

from collections.abc import Iterable, Sequence

from seq2seq.data.batching.batch import Batch
from seq2seq.data.rows import Texts
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.base import Metric, Prediction, Score
from seq2seq.models.cells import CellState
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding

Predicted = tuple[int, str, float, list[float], list[float] | None, dict[str, str] | None]
"""Row number, text, score, token scores, those of the reference, quantiles: what devices send each other."""


class Predictor:
    """Predicts batch after batch; of running text the state is carried over from one to the next."""

    def __init__(self, task: Task, decoding: Decoding) -> None:
        self.task, self.decoding = task, decoding if task.searches else decoding.greedy()
        self.state: CellState = ()

    def __call__(self, batch: Batch) -> list[Predicted]:
        """Of each row of a batch the best hypothesis as text, and what the task says of its reference."""
        if not len(batch.rows):
            return []
        hypotheses, scores, self.state = self.task.predict_and_score(batch, self.state, self.decoding)
        found = best_texts(self.task, batch.rows.tolist(), hypotheses)
        if scores is None:
            return found
        return [(*row[:4], one, row[5]) for row, one in zip(found, scores, strict=True)]


def best_texts(task: Task, rows: Sequence[int], hypotheses: Sequence[list[Hypothesis]]) -> list[Predicted]:
    """The best hypothesis of each row as text."""
    lost = [row for row, found in zip(rows, hypotheses, strict=True) if not found]
    if lost:
        raise InputError(f"row {lost[0]} has no prediction: the network's output is not a number; train it anew")
    return [
        (row, task.text(best[0]), best[0].score, best[0].token_scores, None, task.quantile_texts(best[0]))
        for row, best in zip(rows, hypotheses, strict=True)
    ]


def in_order(predicted: Iterable[Predicted], texts: Texts) -> list[Prediction]:
    """Predictions of a split in row order; every row must be there exactly once."""
    by_row = sorted(predicted, key=lambda one: one[0])
    if [row for row, *_ in by_row] != list(range(len(texts.source))):
        raise RuntimeError(f"{len(by_row)} predictions for {len(texts.source)} rows: some are missing or double")
    return [Prediction(one[0], texts.source[one[0]], texts.target[one[0]], *one[1:]) for one in by_row]


def score(predictions: Sequence[Prediction], metrics: Sequence[Metric]) -> dict[str, Score]:
    """Every metric over raw references, without intervals: what a validation needs."""
    return {metric.name: metric.score(predictions) for metric in metrics}
