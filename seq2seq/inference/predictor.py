"""Batches to predictions in row order, and their scores."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from seq2seq.data.batching.batch import Batch
from seq2seq.data.rows import Texts
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.base import Metric, Prediction, Score
from seq2seq.models.cells import CellState
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding


class Predicted(NamedTuple):
    """The best hypothesis of a row: what devices send each other."""

    row: int
    text: str
    score: float
    token_scores: list[float]
    reference_scores: list[float] | None
    quantiles: dict[str, str] | None
    at_limit: bool | None


class Predictor:
    """Predicts batch after batch; of running text the state is carried over from one to the next."""

    def __init__(self, task: Task, decoding: Decoding) -> None:
        self.task, self.decoding = task, decoding if task.searches else decoding.greedy()
        self.state: CellState = ()

    def __call__(self, batch: Batch) -> list[Predicted]:
        """The best hypothesis of each row of a batch as text, and the task's scores of its reference."""
        if not len(batch.rows):
            return []
        hypotheses, scores, self.state = self.task.predict_and_score(batch, self.state, self.decoding)
        predicted = best_texts(self.task, batch.rows.tolist(), hypotheses)
        if scores is None:
            return predicted
        return [item._replace(reference_scores=score) for item, score in zip(predicted, scores, strict=True)]


def best_texts(task: Task, rows: Sequence[int], hypotheses: Sequence[list[Hypothesis]]) -> list[Predicted]:
    """The best hypothesis of each row as text."""
    lost = [row for row, several in zip(rows, hypotheses, strict=True) if not several]
    if lost:
        raise InputError(f"row {lost[0]} has no prediction: the network's output is non-finite; train it anew")
    return [
        Predicted(row, task.text(one), one.score, one.token_scores, None, task.quantile_texts(one), one.at_limit)
        for row, (one, *_) in zip(rows, hypotheses, strict=True)
    ]


def in_order(predicted: Iterable[Predicted], texts: Texts) -> list[Prediction]:
    """Predictions of a split in row order; every row must be there exactly once."""
    by_row = sorted(predicted, key=lambda item: item.row)
    if [item.row for item in by_row] != list(range(len(texts.source))):
        raise RuntimeError(f"{len(by_row)} predictions for {len(texts.source)} rows: some are missing or double")
    return [Prediction(item.row, texts.source[item.row], texts.target[item.row], *item[1:]) for item in by_row]


def score(predictions: Sequence[Prediction], metrics: Sequence[Metric]) -> dict[str, Score]:
    """Every metric over raw references, without intervals: what a validation needs."""
    return {metric.name: metric.score(predictions) for metric in metrics}
