"""R-Drop: two passes over a batch with other dropout masks shall predict the same (Liang et al. 2021)."""

from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.errors import InputError
from seq2seq.tasks.base import Task
from seq2seq.tasks.translation import Translation
from seq2seq.training.distillation import divergence

OTHER = 0x5DEECE66D
"""What tells the seed of the second pass from that of the first."""


def check(task: Task, weight: float) -> None:
    """Refuse a weight of the distance, above 0, for a task that has none."""
    if task.row_format.consecutive:
        raise InputError(
            "optimizer.r_drop reads rows twice, and those of model.running continue each other; set it to 0"
        )
    if reason := task.without_distance:
        raise InputError(f"optimizer.r_drop is {weight}, but {reason}; change that, or set it to 0")


def loss(task: Task, batch: Batch, weight: float) -> Tensor:
    """The mean of both passes' losses and weight / 4 of KL(first || second) + KL(second || first).

    This is half of Liang et al. 2021, eq. 4, so that the learning rate keeps its meaning.
    """
    other = batch._replace(seed=batch.seed ^ OTHER)
    if isinstance(task, Translation) and (both := task.loss_of_two(batch, other, weight / 4)) is not None:
        return both
    one, first = task.loss_and_distributions(batch)
    another, second = task.loss_and_distributions(other)
    return (one + another) / 2 + weight / 4 * (divergence(first, second) + divergence(second, first))
