"""Batches to predictions in row order, and their scores."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

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


class MeasuredLoss(NamedTuple):
    """The loss of some rows with teacher forcing."""

    total: float
    """In nats, of a forecast in the units of its loss."""
    tokens: int
    """What it is a sum over."""


def mean_loss(losses: Sequence[MeasuredLoss]) -> float:
    """The loss of a token, whichever way the rows were cut into batches; NaN of no tokens."""
    tokens = sum(one.tokens for one in losses)
    return math.fsum(one.total for one in losses) / tokens if tokens else math.nan


class Predictor:
    """Predicts batch after batch; of running text the state is carried over from one to the next."""

    def __init__(self, task: Task, decoding: Decoding, measured: bool = False) -> None:
        """measured: whether the loss of the references is taken too."""
        self.task, self.decoding = task, decoding if task.searches else decoding.greedy()
        self.measured = measured
        self._losses: list[tuple[Tensor | float, int]] = []
        self.state: CellState = ()

    @property
    def losses(self) -> list[MeasuredLoss]:
        """Of each batch."""
        return [MeasuredLoss(float(total), tokens) for total, tokens in self._losses]

    def __call__(self, batch: Batch) -> list[Predicted]:
        """The best hypothesis of each row of a batch as text, and the task's scores of its reference."""
        if not len(batch.rows):
            return []
        if self.measured:
            hypotheses, scores, self.state, loss = self.task.predict_and_measure(batch, self.state, self.decoding)
            tokens = self.task.row_format.loss_denominator(batch.target_lengths.numpy())
            self._losses.append((loss, tokens))
        else:
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
    return [with_texts(item, texts) for item in by_row]


def with_texts(item: Predicted, texts: Texts) -> Prediction:
    """A prediction with its source and references."""
    row, more = item.row, texts.more_references
    references = (more[row] or None) if len(more) else None
    speaker = (texts.speakers[row] or None) if len(texts.speakers) else None
    return Prediction(row, texts.source[row], texts.target[row], *item[1:6], references, item.at_limit, speaker)


def score(predictions: Sequence[Prediction], metrics: Sequence[Metric]) -> dict[str, Score]:
    """Every metric over raw references, without intervals: what a validation needs."""
    return {metric.name: metric.score(predictions) for metric in metrics}
