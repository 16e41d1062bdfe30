"""Where a training stands, in Lightning's words: a function of the optimiser step alone.

Lightning's own counters tell apart in which hook a checkpoint was written, and go on differently from each. Written
anew from the step, they go on from any of them in the same way: with the next step of the plan.
"""

from typing import Any

from pytorch_lightning import Trainer


def loops_at(step: int, length: int | None, loops: dict[str, Any]) -> dict[str, Any]:
    """The state of Lightning's loops after `step` optimiser steps; loops: the one to rewrite.

    length: steps of an epoch; None if it never ends.
    """
    epoch, place = (0, step) if length is None else divmod(step, length)
    begun = epoch + (place > 0)
    epochs = {"ready": begun, "started": begun, "processed": epoch, "completed": epoch}
    fit = {
        **loops["fit_loop"],
        "epoch_progress": {"total": dict(epochs), "current": dict(epochs)},
        "epoch_loop.batch_progress": batches(step, place),
        "epoch_loop.val_loop.batch_progress": batches(0, 0),
        "epoch_loop.state_dict": {"_batches_that_stepped": step},
        "epoch_loop.manual_optimization.optim_step_progress": {
            "total": {"ready": step, "completed": step},
            "current": {"ready": step, "completed": step},
        },
    }
    return {**loops, "fit_loop": fit}


def batches(total: int, current: int) -> dict[str, Any]:
    """Lightning's count of batches, none of them under way."""
    names = ("ready", "started", "processed", "completed")
    return {"total": dict.fromkeys(names, total), "current": dict.fromkeys(names, current), "is_last_batch": False}


def validation_due(trainer: Trainer, step: int, length: int | None) -> bool:
    """Whether Lightning validates after this optimiser step."""
    every = trainer.val_check_batch
    if not isinstance(every, int) or step == 0:
        return False
    whole = trainer.check_val_every_n_epoch is None or length is None
    place = step if whole else (step - 1) % (length or 1) + 1
    return place % every == 0


def validate(trainer: Trainer) -> None:
    """Validate before the next step, as Lightning would have done after the last one."""
    loop = trainer.fit_loop.epoch_loop.val_loop
    loop.restarting = False
    trainer.validating = True
    loop.run()
    trainer.training = True
