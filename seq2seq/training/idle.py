"""Settings that change nothing in this training."""

from seq2seq.data.datamodule import DataModule
from seq2seq.tasks.base import Task
from seq2seq.tasks.idle import Idle, of_decoding, of_model
from seq2seq.training.options import DistillationOptions


def of_training(task: Task, data: DataModule, distillation: DistillationOptions) -> list[Idle]:
    """All such settings of a training."""
    found = [*of_model(task), *of_decoding(task, task.decoding)]
    if not task.row_format.consecutive:
        usual = DataModule()
        found += [Idle(f"data.{name}", "only model.running reads streams") for name in ("lanes", "segment")
                  if getattr(data, name) != getattr(usual, name)]  # fmt: skip
    if distillation.teacher is None and vars(distillation) != vars(DistillationOptions()):
        found.append(Idle("distillation", "distillation.teacher is null"))
    return found
