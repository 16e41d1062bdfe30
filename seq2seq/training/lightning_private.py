"""All that depends on private members of Lightning, each with its reason.

A release that has changed one of them is refused by name: it would train in another way, or hang.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytorch_lightning
from pytorch_lightning import Trainer
from pytorch_lightning.strategies.launchers import subprocess_script
from torch.distributed import distributed_c10d

from seq2seq.errors import InputError


def refuse_release(name: str, purpose: str) -> None:
    """Raise InputError: a member is missing, or is another one."""
    version = pytorch_lightning.__version__
    raise InputError(
        f"pytorch-lightning {version} has changed {name}, with which seq2seq {purpose}; install an older release: "
        f"pip install 'pytorch-lightning<{version}'"
    )


def member(owner: Any, name: str, purpose: str) -> Any:
    """A private member, if this release has it."""
    if not hasattr(owner, name):
        refuse_release(name, purpose)
    return getattr(owner, name)


def switch_off(owner: Any, name: str, purpose: str) -> None:
    """Replace a private function by one that does nothing."""
    member(owner, name, purpose)
    setattr(owner, name, lambda *_: None)


def leave_to_us(trainer: Trainer) -> None:
    """Keep Lightning from handling signals: it saves and broadcasts inside its handlers, in the middle of a step."""
    signals = member(trainer, "_signal_connector", "keeps signals to itself")
    switch_off(signals, "register_signal_handlers", "keeps signals to itself")
    # Whether one process was terminated, `StepBoundary` asks more cheaply than before each step.
    switch_off(trainer.fit_loop.epoch_loop, "_broadcast_sigterm_tensor", "spares a broadcast before each step")
    # It would kill all processes without a word; `Watchdog` does so after the first failure was reported.
    switch_off(subprocess_script, "_launch_process_observer", "names the process that failed first")


def set_timeout(timeout: timedelta) -> None:
    """How long a collective waits from now on: Lightning sets it once, before some read data while others wait."""
    set_it: Callable[[timedelta], None] = member(distributed_c10d, "_set_pg_timeout", "ends when a process hangs")
    set_it(timeout)


def started_processes(trainer: Trainer) -> Sequence[Any]:
    """The local processes that Lightning has started, in the order of their ranks: only their parent can reap them."""
    launcher = trainer.strategy.launcher
    processes: Sequence[Any] = () if launcher is None else member(launcher, "procs", "watches the other processes")
    return processes


def loops_at(step: int, length: int | None, loops: dict[str, Any]) -> dict[str, Any]:
    """The state of Lightning's loops after `step` optimiser steps; loops: the one to rewrite.

    Lightning's own counters tell apart in which hook a checkpoint was written, and resume differently from each.
    Written anew from the step, they resume from any of them in the same way: with the next step of the plan.

    length: steps of an epoch; None if it never ends.
    """
    epoch, inside = (0, step) if length is None else divmod(step, length)
    begun = epoch + (inside > 0)
    epochs = {"ready": begun, "started": begun, "processed": epoch, "completed": epoch}
    steps = {"ready": step, "completed": step}
    counters = {
        "epoch_progress": {"total": epochs, "current": epochs},
        "epoch_loop.batch_progress": batches(step, inside),
        "epoch_loop.val_loop.batch_progress": batches(0, 0),
        "epoch_loop.state_dict": {"_batches_that_stepped": step},
        "epoch_loop.manual_optimization.optim_step_progress": {"total": steps, "current": steps},
    }
    before = loops.get("fit_loop", {})
    for name, counter in counters.items():
        if names_in(counter) != names_in(before.get(name)):
            refuse_release(f"the loop state {name}", "resumes at any step")
    return {**loops, "fit_loop": {**before, **counters}}


def batches(total: int, current: int) -> dict[str, Any]:
    """Lightning's count of batches, none of them under way."""
    names = ("ready", "started", "processed", "completed")
    return {"total": dict.fromkeys(names, total), "current": dict.fromkeys(names, current), "is_last_batch": False}


def names_in(value: Any) -> Any:
    """The names of nested dictionaries without their values."""
    return {name: names_in(inner) for name, inner in value.items()} if isinstance(value, dict) else None


def validation_due(trainer: Trainer, step: int, length: int | None) -> bool:
    """Whether Lightning validates after this optimiser step; length: steps of an epoch, None if it never ends."""
    every = member(trainer, "val_check_batch", "validates when a run stopped before a validation is resumed")
    if not isinstance(every, int) or step == 0:
        return False
    whole = trainer.check_val_every_n_epoch is None or length is None
    inside = step if whole else (step - 1) % (length or 1) + 1
    return inside % every == 0


def validate(trainer: Trainer) -> None:
    """Validate before the next step, as Lightning would have done after the last one."""
    purpose = "validates when a run stopped before a validation is resumed"
    loop = member(trainer.fit_loop.epoch_loop, "val_loop", purpose)
    member(loop, "restarting", purpose)
    loop.restarting = False
    trainer.validating = True
    loop.run()
    trainer.training = True
