"""The loss that the optimiser follows: of one pass, or of what teaches more than the corpus alone."""

from typing import cast

from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.errors import InputError
from seq2seq.tasks.base import Task
from seq2seq.tasks.translation import Translation
from seq2seq.training import adversarial, minimum_risk, r_drop
from seq2seq.training.distillation import Teacher
from seq2seq.training.options import OptimizerOptions


def check(task: Task, options: OptimizerOptions, teacher: Teacher | None) -> None:
    """Refuse what a task cannot follow, and two at once."""
    chosen = [f"optimizer.{name}" for name in ("r_drop", "adversarial") if getattr(options, name)]
    chosen += ["distillation.weight"] if teacher is not None and teacher.options.weight else []
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(chosen)} both change the loss; set one of them to 0")
    if options.r_drop:
        r_drop.check(task, options.r_drop)
    if options.adversarial:
        adversarial.check(task, options.adversarial)
    if options.minimum_risk:
        minimum_risk.check(task, options.minimum_risk)


def training_loss(task: Task, batch: Batch, options: OptimizerOptions, teacher: Teacher | None) -> Tensor:
    """The loss of a micro-batch, summed over its real target tokens, in nats."""
    if batch.risk:
        return minimum_risk.loss(cast(Translation, task), batch)
    if teacher is not None and teacher.options.weight:
        return teacher.loss(task, batch)
    if options.r_drop:
        return r_drop.loss(task, batch, options.r_drop)
    if options.adversarial:
        return adversarial.loss(task, batch, options.adversarial)
    return task.loss(batch)
