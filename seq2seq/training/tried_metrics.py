"""Metrics before the first step: what they left open is decided, and each is tried on rows that are right."""

import inspect
import json
import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from seq2seq.configurable import build
from seq2seq.data.batching.split import Split
from seq2seq.errors import InputError
from seq2seq.inference.predictor import Predictor, with_texts
from seq2seq.metrics.base import Metric, Prediction, distinct, settled
from seq2seq.tasks.base import Task

log = logging.getLogger(__name__)


def settle(task: Task, validation: Split) -> None:
    """Decide the settings of the task's metrics that were left open, by the references of the validation split."""
    task.metrics = settled(task.metrics, validation.texts.references())


def as_stored(metrics: Sequence[Metric], stored: dict[str, Any]) -> list[Metric]:
    """The metrics of a resumed run as its checkpoint has them: what was decided once stays decided."""
    known = [build(Metric, one) for one in json.loads(stored["task"])["init_args"].get("metrics") or ()]
    return distinct([asked_for(metric, known[place : place + 1]) for place, metric in enumerate(metrics)])


def asked_for(metric: Metric, known: Sequence[Metric]) -> Metric:
    """The stored metric if it has all settings that the user has given for this one."""
    for other in known:
        given = [name for name in inspect.signature(type(metric)).parameters if name not in metric.decided]
        if type(other) is type(metric) and all(getattr(other, name) == getattr(metric, name) for name in given):
            return other
    return metric


def try_all(task: Task, validation: Split) -> None:
    """Score a prediction of the untrained network, and the references against themselves, with every metric.

    Raises InputError where one cannot score them, and warns where one sees nothing in references.
    """
    if not type(task).__module__.startswith("seq2seq."):
        try_task(task, validation)
    example = own_prediction(task, validation)
    right = right_predictions(task, validation, example)
    for metric in task.metrics:
        try:
            refuse_other_shape(metric, metric.statistics(right), len(right))
            metric.scored(metric.statistics([example]), interval=False)
            value = metric.scored(metric.statistics(right), interval=False).value
            metric.each_of(metric.statistics(right[:1]))
        except InputError:
            raise
        except Exception as problem:
            raise InputError(
                f"model.metrics: {metric.name} cannot score validation rows ({type(problem).__name__}: {problem}); "
                "fix it or drop it (--debug true shows where)"
            ) from problem
        if math.isnan(value) or (metric.higher_is_better and value <= 0):
            log.warning(
                "%s of the validation references against themselves is %s: it sees nothing in them; choose another "
                "of model.metrics or its settings", metric.name, "n/a" if math.isnan(value) else f"{value:g}",
            )  # fmt: skip


def try_task(task: Task, validation: Split) -> None:
    """Raise InputError where a task of others breaks its contract on the first row."""
    name, batch = type(task).__qualname__, validation.batch(np.array([0]))
    loss = task.loss(batch)
    if not isinstance(loss, Tensor) or loss.shape != ():
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(f"{name}.loss(batch) must be a tensor of one number, and is {shape}: docs/extending.md")
    task.eval()
    predicted = task.predict(batch, task.decoding.greedy())
    task.train()
    if len(predicted) != 1:
        raise InputError(f"{name}.predict gives {len(predicted)} lists for a batch of 1 row: docs/extending.md")


def refuse_other_shape(metric: Metric, counts: Any, rows: int) -> None:
    """Raise InputError where statistics are no numbers of each row."""
    if np.ndim(counts) != 2 or len(counts) != rows:
        shape = np.shape(counts)
        raise InputError(
            f"model.metrics: statistics(rows) of {metric.name} must be numbers (N, K), here ({rows}, K), and have the "
            f"shape {shape}: docs/extending.md"
        )


def own_prediction(task: Task, validation: Split) -> Prediction:
    """What the task predicts for the first row, with all that its metrics may look at."""
    task.eval()
    [predicted] = Predictor(task, task.decoding.greedy())(validation.batch_with_texts(np.array([0])))
    task.train()
    return with_texts(predicted, validation.texts)


def right_predictions(task: Task, validation: Split, example: Prediction) -> list[Prediction]:
    """The references as predictions of which the task is sure, with what its predictions have."""
    texts, target = validation.texts, task.tokenizers.target
    counts = target.units(validation.target) if target.width is None else np.zeros(len(validation), dtype=int)
    rows = []
    for row, (source, references, count) in enumerate(zip(texts.source, texts.references(), counts, strict=True)):
        scores = None if example.reference_scores is None else [0.0] * (int(count) + 1)
        quantiles = None if example.quantiles is None else dict.fromkeys(example.quantiles, references[0])
        certain, more = [0.0] * int(count), references[1:] or None
        rows.append(Prediction(row, source, references[0], references[0], 0.0, certain, scores, quantiles, more))
    return rows
