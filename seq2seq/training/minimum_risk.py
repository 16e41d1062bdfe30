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
    """The usual loss and, for 7 tenths, minus the expected score of each row by the first metric.

    The expectation is over the predictions of the run's own search without dropout, by their probabilities with it,
    which are made to add up to 1 (Shen et al. 2016, sec. 3, with alpha 1). A row counts as its number of target tokens.
    """
    found = predictions(task, batch)
    sizes = [len(several) for several in found]
    rows = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    log_probs = task.prediction_log_probs(batch, rows, [one.tokens for several in found for one in several])
    gains = scores(task, batch, found).to(log_probs)
    pairs = zip(torch.split(log_probs, sizes), torch.split(gains, sizes), strict=True)
    expected = [one.softmax(0) @ gain for one, gain in pairs]
    tokens = to_device(batch.target_lengths - 1, log_probs.device)
    return (1 - WEIGHT) * task.loss(batch) - WEIGHT * (tokens * torch.stack(expected)).sum()


def predictions(task: Translation, batch: Batch) -> list[list[Hypothesis]]:
    """Those of each row, by the network without dropout."""
    task.eval()
    try:
        return task.predict(batch, task.decoding)
    finally:  # a batch that does not fit the device is tried again in halves
        task.train()


def scores(task: Translation, batch: Batch, found: list[list[Hypothesis]]) -> Tensor:
    """(N,) of each prediction by the first metric, where 1 or 0 is the best there is."""
    metric = next(iter(task.metrics or ()))
    targets = [task.tokenizers.target.decode(ids) for ids in batch.target.tolist()]
    rows = [Prediction(0, "", target, task.text(one), 0.0, [])
            for target, several in zip(targets, found, strict=True) for one in several]  # fmt: skip
    each = metric.settled([row.references for row in rows]).each(rows)
    return torch.tensor([metric.rank(score) / 100 for score in each]).nan_to_num(neginf=0.0)
