"""Between optimiser steps: processes agree whether to save or to stop; a stopped training is resumed here."""

import math
import statistics
import time
from collections import deque
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from pytorch_lightning import Callback, LightningModule, Trainer

from seq2seq.cluster.watchdog import Watchdog
from seq2seq.training.callbacks import Checkpoints, learner_of
from seq2seq.training.lightning_private import set_timeout, started_processes, validate, validation_due
from seq2seq.training.signals import INTERRUPT, NOTHING, Deadline, Requests, stopped

SHARE = 0.003
"""Of the training time that agreement may cost."""

SAVING = 0.01
"""Of the training time that checkpoints between validations may cost; slow ones come less often than asked for."""

ROUNDS = 4
"""Batches of an evaluation between two agreements: processes that differ in speed wait less often for each other."""

PATIENT = timedelta(hours=2)
"""How long a process may wait for the others in an evaluation, where some have longer sentences than others."""


class Agreement(NamedTuple):
    """What the processes have agreed on: the largest that any of them has asked for."""

    asked: int
    save: int
    steps: int
    """Optimiser steps until the next agreement."""


class StepBoundary(Callback):
    """Saves every few minutes; stops after a signal or before a limit of time, with a checkpoint to resume from."""

    def __init__(
        self, requests: Requests, deadline: Deadline, checkpoints: Checkpoints, watch: Watchdog, every: float | None
    ) -> None:
        """every: minutes between two checkpoints; None for those after validations alone."""
        self.watch, self.timeout = watch, timedelta(seconds=0.7 * watch.timeout)
        self.requests, self.deadline, self.checkpoints = requests, deadline, checkpoints
        self.every = math.inf if every is None else 60 * every
        self.groups: Any = (None, None)
        """Process groups of training and of evaluation, which differ in their timeouts."""
        self.next = 0
        self.step_seconds = self.longest = 0.0
        self.took: deque[float] = deque(maxlen=9)
        """Seconds of the newest agreements, waiting for a slower process among them."""
        self._mark, self._marked_step = time.monotonic(), 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:  # of their own, so that a GPU is never waited for
            own, patient = (dist.new_group(backend="gloo", timeout=most) for most in (self.timeout, PATIENT))
            self.groups = (own, patient)
            learner_of(pl_module).evaluation_group = self.groups[1]
            self.watch.start(started_processes(trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step, self.requests.begun = trainer.global_step, True
        if trainer.world_size > 1:  # until now some read their data while others waited
            set_timeout(self.timeout)
        if step and self.checkpoints.validated < step and validation_due(trainer, step, steps_of(pl_module)):
            validate(trainer)  # the training was stopped right before it, or in it
        self._mark, self._marked_step, self.next = time.monotonic(), step, step + 1
        self.checkpoints.saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        self.watch.step()
        if step < self.next:
            return
        now = time.monotonic()
        self.step_seconds = (now - self._mark) / max(1, step - self._marked_step)
        self.longest = max(self.longest, now - self._mark)
        agreed = self.agree(trainer, self.groups[0])
        self.next, self._marked_step = step + agreed.steps, step
        if agreed.asked:
            self.stop(trainer, pl_module, agreed.asked)
        if agreed.save and not validation_due(trainer, step, steps_of(pl_module)):  # else saved soon anyway
            self.watch.pause()
            self.checkpoints.save(learner_of(pl_module))
        self._mark = time.monotonic()

    def agree(self, trainer: Trainer, group: Any) -> Agreement:
        """What any process asks for. The clock of the first one says when to save."""
        asked = self.requests.asked
        if asked == NOTHING and self.deadline.near(2 * self.checkpoints.cost + self.longest):
            asked = 1
        late = time.monotonic() - self.checkpoints.saved >= max(self.every, self.checkpoints.took / SAVING)
        wanted = Agreement(asked, int(late and trainer.is_global_zero), self.interval())
        if trainer.world_size == 1:
            return wanted._replace(steps=1)
        values, began = torch.tensor(wanted), time.perf_counter()
        dist.all_reduce(values, dist.ReduceOp.MAX, group)
        self.took.append(time.perf_counter() - began)
        return Agreement(*values.tolist())

    def interval(self) -> int:
        """Steps between two agreements that keep their cost small; at most those of a second."""
        if not self.step_seconds or not self.took:
            return 1
        enough = math.ceil(statistics.median(self.took) / (SHARE * self.step_seconds))
        return max(1, min(enough, int(1 / self.step_seconds)))

    def stop(self, trainer: Trainer, pl_module: LightningModule, asked: int) -> None:
        """Save and leave; the parameters are those after the newest step."""
        self.requests.asked = max(self.requests.asked, asked)  # also where another process was asked
        self.watch.pause()
        self.checkpoints.save(learner_of(pl_module))
        loud = trainer.is_global_zero or asked == INTERRUPT  # one message is enough where all stop together
        raise stopped(asked, f"stopped at step {trainer.global_step}; continue with --resume true" if loud else "")

    def evaluating(self, trainer: Trainer, pl_module: LightningModule, batch_idx: int) -> None:
        """In the middle of an evaluation: it is left, and repeated when the training is resumed."""
        if (batch_idx + 1) % ROUNDS:
            return
        agreed = self.agree(trainer, self.groups[1])
        if agreed.asked and trainer.state.fn == "fit":
            learner_of(pl_module).leave_validation()
            self.stop(trainer, pl_module, agreed.asked)
        elif agreed.asked:
            raise stopped(agreed.asked, "stopped after the training; continue with --resume true")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.evaluating(trainer, pl_module, batch_idx)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.watch.pause()

    on_test_start = on_predict_start = on_train_end = on_validation_start

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark, self._marked_step = time.monotonic(), trainer.global_step

    on_test_batch_end = on_validation_batch_end
    on_predict_batch_end = on_validation_batch_end


def steps_of(pl_module: LightningModule) -> int | None:
    """Optimiser steps of an epoch; None where the corpus is streamed."""
    plan = learner_of(pl_module).plan
    return None if plan is None else len(plan)
