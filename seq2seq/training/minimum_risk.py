"""Minimum risk training: what the search finds shall score well, by the metric itself (Shen et al. 2016)."""

import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.pinned_copy import to_device
from seq2seq.tasks.base import Task
from seq2seq.tasks.translation import Translation

WEIGHT = 0.7
"""Of the risk in the loss; the rest is the loss of the targets (Edunov et al. 2018, the weighted combination)."""


def check(task: Task, share: float) -> None:
    """Refuse a share of the steps, above 0, for a task whose predictions have no probability that can be learnt."""
    if not isinstance(task, Translation):
        why = f"it is for Translation, not {type(task).__name__}"
    elif task.without_distance:
        why = task.without_distance
    elif task.decoding.beam_size == 1:
        why = "decoding.beam_size is 1, and predictions are compared with each other"
    else:
        return
    raise InputError(f"optimizer.minimum_risk is {share}, but {why}; change that, or set it to 0")


def loss(task: Translation, batch: Batch) -> Tensor:
    """The usual loss and, for 7 tenths, the expected risk of each row, what its score by the first metric lacks.

    The expectation is over the predictions of the run's own search without dropout, by their probabilities with it,
    which are made to add up to 1 (Shen et al. 2016, sec. 3, with alpha 1). A row counts as its number of target tokens.
    """
    found = predictions(task, batch)
    sizes = [len(several) for several in found]
    rows = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    log_probs = task.prediction_log_probs(batch, rows, [one.tokens for several in found for one in several])
    of_each = risks(task, batch, found).to(log_probs)
    pairs = zip(torch.split(log_probs, sizes), torch.split(of_each, sizes), strict=True)
    expected = [one.softmax(0) @ risk for one, risk in pairs]
    tokens = to_device(batch.target_lengths - 1, log_probs.device)
    return (1 - WEIGHT) * task.loss(batch) + WEIGHT * (tokens * torch.stack(expected)).sum()


def predictions(task: Translation, batch: Batch) -> list[list[Hypothesis]]:
    """Those of each row, by the network without dropout."""
    task.eval()
    try:
        return task.predict(batch, task.decoding)
    finally:  # a batch that does not fit the device is tried again in halves
        task.train()


def risks(task: Translation, batch: Batch, found: list[list[Hypothesis]]) -> Tensor:
    """(N,) of each prediction, 0 where the first metric finds nothing wrong; 1 of a prediction without a score."""
    metric = next(iter(task.metrics or ()))
    targets = [task.tokenizers.target.decode(ids) for ids in batch.target.tolist()]
    rows = [Prediction(0, "", target, task.text(one), 0.0, [])
            for target, several in zip(targets, found, strict=True) for one in several]  # fmt: skip
    each = torch.tensor(metric.settled([row.references for row in rows]).each(rows)) / 100
    return (1 - each if metric.higher_is_better else each).nan_to_num(nan=1.0)
