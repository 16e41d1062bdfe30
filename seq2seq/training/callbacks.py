"""What happens around training: progress and examples, curves, the best and the last checkpoint."""

import csv
import io
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning import Callback, LightningModule, Trainer
from tqdm import tqdm
from typing_extensions import NotRequired, TypedDict

from seq2seq.atomic_files import write_text
from seq2seq.data.batching.split import Split
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.errors import Interrupted, Stopped
from seq2seq.metrics.base import Metric, Prediction
from seq2seq.plain_types import refuse_misfit
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task
from seq2seq.training.device_budget import device_tokens
from seq2seq.training.learner import Learner
from seq2seq.training.loggers import Loggers
from seq2seq.training.schedules import lower

log = logging.getLogger(__name__)

SHOWN = 3
"""Live examples at each validation."""

Point = tuple[int, float, float]
"""Optimiser step, seconds of training, value."""

Diagnose = Callable[[Task, Split, int], tuple[dict[str, Any], dict[str, float]] | None]
"""A task, the validation split and the most tokens, to a diagnosis for results.json and its numbers for the curves."""

Example = Callable[[Prediction, Tokenizers], str]
"""A validated row to lines for the terminal."""


def learner_of(module: LightningModule) -> Learner:
    """The module, known to be a Learner."""
    if not isinstance(module, Learner):
        raise TypeError(f"these callbacks go with a Learner, not with {type(module).__name__}")
    return module


class StoredCurves(TypedDict):
    """What a checkpoint keeps of the curves; older ones lack the last three."""

    points: dict[str, list[Point]]
    seconds: float
    resumed: NotRequired[list[int]]
    changes: NotRequired[list[dict[str, Any]]]
    loggers: NotRequired[dict[str, str]]


class BestScore(TypedDict):
    """The best validation so far."""

    step: int
    metric: str
    value: float
    loss: NotRequired[float]


class EarlierPart(TypedDict):
    """What is known of the finished part of a run that is continued."""

    until: int
    """Its last optimiser step."""
    best: BestScore
    seconds: float | None
    test: dict[str, float | None]
    """Its scores."""


class StoredValidations(TypedDict):
    """What a checkpoint keeps of the validations; older ones lack the last two."""

    best: BestScore | None
    waited: int
    validated: int
    kept: list[int]
    lowest: NotRequired[float | None]
    moved: NotRequired[bool]


class StoredMemory(TypedDict):
    """What a checkpoint keeps of the diagnoses of memory."""

    points: list[dict[str, Any]]


class Curves(Callback):
    """Points of the training curves: kept in the checkpoint, written to metrics.csv and to services."""

    def __init__(self, run: RunDirectory, every: int, loggers: Loggers) -> None:
        """every: optimiser steps between two points; loggers: the services."""
        self.run, self.every, self.loggers = run, every, loggers
        self.points: dict[str, list[Point]] = {}
        self.seconds = 0.0
        self.resumed: list[int] = []
        """Optimiser steps after which the run was resumed."""
        self.changes: list[dict[str, Any]] = []
        """What was allowed to change then."""
        self._started = self._mark = time.monotonic()
        self._tokens = 0

    def state_dict(self) -> dict[str, Any]:
        """Curves, clock, resumptions and the names of the run elsewhere, plain."""
        own = {"points": self.points, "seconds": self.elapsed(), "loggers": dict(self.loggers.ids)}
        return {**own, "resumed": self.resumed, "changes": self.changes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        refuse_misfit(state_dict, StoredCurves, f"last.ckpt is damaged: {type(self).__name__}")
        self.points = {name: [tuple(point) for point in points] for name, points in state_dict["points"].items()}
        self.seconds, self.resumed = state_dict["seconds"], list(state_dict.get("resumed", ()))
        self.changes = [*state_dict.get("changes", ()), *self.changes]
        self.loggers.restore(state_dict.get("loggers", {}))

    def elapsed(self) -> float:
        """Seconds of training so far, over all resumptions."""
        return self.seconds + time.monotonic() - self._started

    def add(self, step: int, values: dict[str, float]) -> None:
        """One point for each curve."""
        now = self.elapsed()
        for name, value in values.items():
            self.points.setdefault(name, []).append((step, round(now, 3), value))
        self.loggers.numbers(values, step)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._mark = time.monotonic()
        if trainer.global_step:
            self.resumed.append(trainer.global_step)
        if trainer.is_global_zero:
            self.loggers.start(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tokens += batch.batches[0].step_tokens
        if trainer.global_step % self.every:
            return
        learner = learner_of(pl_module)
        loss, norm = summed(learner.last_loss), float(learner.gradient_norm)
        now = time.monotonic()
        rate = self._tokens / max(now - self._mark, 1e-9)
        self._mark, self._tokens = now, 0
        learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        values = {"train_loss": loss, "gradient_norm": norm, "learning_rate": learning_rate, "tokens_per_second": rate}
        if learner.skipped_steps.skipped:
            values["skipped_steps"] = float(learner.skipped_steps.skipped)
        self.add(trainer.global_step, {name: value for name, value in values.items() if math.isfinite(value)})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        measured = learner_of(pl_module).measured()
        known = {f"validation_{name}": value for name, value in measured.items() if math.isfinite(value)}
        self.add(trainer.global_step, known)
        self.loggers.texts(sample(learner_of(pl_module).predictions), trainer.global_step)
        self.flush(trainer)
        self._mark, self._tokens = time.monotonic(), 0

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds, self._started = self.elapsed(), time.monotonic()
        self.flush(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, (Stopped, Interrupted)):
            self.flush(trainer)

    def flush(self, trainer: Trainer) -> None:
        """Write metrics.csv: one line for each step that has a point."""
        if not trainer.is_global_zero:
            return
        rows: dict[int, dict[str, float]] = {}
        for name, points in self.points.items():
            for step, seconds, value in points:
                rows.setdefault(step, {"step": step, "seconds": seconds})[name] = value
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", "seconds", *self.points], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[step] for step in sorted(rows))
        write_text(self.run.metrics, text.getvalue())


class Budget(Callback):
    """Finds out how many tokens a device holds where the configuration leaves that open; once for each run."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        learner = learner_of(pl_module)
        data, plan = learner.data, learner.plan
        if data.device_tokens != "auto" or learner.device_tokens is not None or plan is None:
            return
        learner.train()
        precision = torch.bfloat16 if trainer.precision == "bf16-mixed" else None
        copies = learner.options.algorithm.copies + (learner.moving is not None)
        copies += trainer.world_size > 1  # the buckets in which gradients are exchanged
        train = learner.splits["train"]
        kept, sharers = plan.kept, trainer.num_devices
        learner.device_tokens = device_tokens(
            learner.task, train, kept, learner.step_tokens, copies, precision, sharers, learner.loss
        )
        if trainer.is_global_zero:
            print(f"a device holds {learner.device_tokens:,} tokens at once", file=sys.stderr)


class Checkpoints(Callback):
    """Saves `best` and `last` after each validation, and stops when validations have not improved for a while.

    The best one has the best score of the first metric and, of equal ones, the lowest validation loss: so a score that
    has never moved selects nothing.
    """

    def __init__(self, run: RunDirectory, patience: int | None, average: int | None = None) -> None:
        """patience: validations without a better score or loss after which training stops; None for never.

        average: of how many validations the parameters are kept for their mean.
        """
        self.run, self.patience, self.average = run, patience, average
        self.best: dict[str, Any] | None = None
        self.lowest: float | None = None
        """The lowest validation loss that counted as progress."""
        self.moved = False
        """Whether two validations had different scores."""
        self.waited = self.validated = 0
        self.kept: list[int] = []
        self.parts: list[EarlierPart] = []
        """Those of a finished training that is continued."""
        self.saved, self.took, self.cost = time.monotonic(), 0.0, 0.0
        """When `last` was written, and the seconds that it took: this time, and at most."""

    def state_dict(self) -> dict[str, Any]:
        own = {"best": self.best, "waited": self.waited, "validated": self.validated, "kept": self.kept}
        return own | {"lowest": self.lowest, "moved": self.moved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        refuse_misfit(state_dict, StoredValidations, f"last.ckpt is damaged: {type(self).__name__}")
        self.best, self.waited, self.validated, self.kept = (
            state_dict[name] for name in ("best", "waited", "validated", "kept")
        )
        # Runs that were begun before the loss was looked at have seen their score move, for all that is known.
        self.lowest, self.moved = state_dict.get("lowest"), state_dict.get("moved", self.best is not None)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        learner = learner_of(pl_module)
        better = self.observe(learner, trainer.global_step)
        with learner.averaged():
            if better:
                learner.save(self.run.best, parameters_only=True)
            self.keep(trainer, learner)
        if trainer.state.fn == "fit":  # a validation after the end finds `last` written, and what it names is needed
            self.save(learner)
            self.forget(trainer, self.kept)
        self.stop_early(trainer)

    def observe(self, learner: Learner, step: int) -> bool:
        """Whether the validation after a step is the best so far; counts those without progress."""
        metric, loss = learner.task.metrics[0], learner.validation_loss
        value = learner.scores[metric.name]
        before = None if self.best is None else metric.rank(self.best["value"])
        risen, fallen = before is None or metric.rank(value) > before, lower(loss, self.lowest)
        self.moved |= before is not None and metric.rank(value) != before
        self.waited = 0 if risen or fallen else self.waited + 1
        self.lowest = loss if fallen else self.lowest
        self.validated = step
        if not is_better(metric, value, loss, self.best):
            return False
        self.best = {"step": step, "metric": f"validation_{metric.name}", "value": value, "loss": loss}
        return True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.parts and self.parts[-1]["until"] == trainer.global_step:
            self.best, self.kept = dict(self.parts[-1]["best"]), []  # of all of it; what a mean was made of is gone
        self.stop_early(trainer)  # the training may have been stopped after its last validation

    def stop_early(self, trainer: Trainer) -> None:
        """End the training if the score has not risen for long enough."""
        if self.patience is not None and self.waited >= self.patience:
            trainer.should_stop = True

    def save(self, learner: Learner) -> None:
        """Write `last`, from which the training can be resumed."""
        began = time.monotonic()
        learner.save(self.run.last)
        self.saved = time.monotonic()
        self.took = self.saved - began
        self.cost = max(self.cost, self.took)

    def keep(self, trainer: Trainer, learner: Learner) -> None:
        """Save the parameters for their mean, and choose those of older steps that are needed no more."""
        if self.average is None:
            return
        learner.save(self.run.at_step(trainer.global_step), parameters_only=True)
        self.kept = [*(step for step in self.kept if step != trainer.global_step), trainer.global_step][-self.average :]

    def forget(self, trainer: Trainer, but: Sequence[int] = ()) -> None:
        """Remove parameters that were saved for their mean; only after `last` no longer names them."""
        if trainer.is_global_zero:
            self.run.forget_steps(but)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.validated < trainer.global_step:  # steps after the last validation; they are validated next
            self.save(learner_of(pl_module))


def is_better(metric: Metric, value: float, loss: float, best: Mapping[str, Any] | None) -> bool:
    """Whether a validation is better than the best one: by its score, and of equal scores by its loss."""
    if best is None:
        return True
    rank, highest = metric.rank(value), metric.rank(best["value"])
    lowest = best.get("loss", math.inf)
    return rank > highest or (rank == highest and (loss < lowest or not math.isfinite(lowest)))


class Observer(Callback):
    """Tells of each validation of a training, once everything about it has been saved; what it raises ends it."""

    def __init__(self, validated: Callable[[int, float], None]) -> None:
        """validated: takes the optimiser step and the rank of the score."""
        self.validated = validated

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            learner = learner_of(pl_module)
            metric = learner.task.metrics[0]
            self.validated(trainer.global_step, metric.rank(learner.scores[metric.name]))


class EncoderMemory(Callback):
    """Looks after each validation at what the encoder remembers; kept in the checkpoint and in results.json.

    The checkpoint of a validation is written before: a training that dies in a diagnosis is resumed with it.
    """

    def __init__(self, curves: Curves, diagnose: Diagnose, checkpoints: Checkpoints) -> None:
        self.curves, self.diagnose, self.checkpoints = curves, diagnose, checkpoints
        self.points: list[dict[str, Any]] = []
        """Of each validation: its optimiser step and the diagnosis."""

    def state_dict(self) -> dict[str, Any]:
        return {"points": self.points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        refuse_misfit(state_dict, StoredMemory, f"last.ckpt is damaged: {type(self).__name__}")
        self.points = list(state_dict["points"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = trainer.global_step
        if step and self.checkpoints.validated == step and all(point["step"] != step for point in self.points):
            self.on_validation_end(trainer, pl_module)  # the checkpoint is older than the diagnosis

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        learner = learner_of(pl_module)
        if trainer.is_global_zero:
            try:
                self.look(trainer.global_step, learner)
            except Exception as problem:
                log.warning("step %d: what the encoder remembers is not known: %r", trainer.global_step, problem)
            self.curves.flush(trainer)
        learner.wait_for_all()

    def look(self, step: int, learner: Learner) -> None:
        """One diagnosis."""
        limit = learner.device_tokens or learner.step_tokens
        with learner.averaged():
            diagnosis = self.diagnose(learner.task, learner.splits["validation"], limit)
        if diagnosis is not None:
            self.points.append({"step": step, **diagnosis[0]})
            self.curves.add(step, diagnosis[1])


class Progress(Callback):
    """A bar with loss, tokens/s and the last validation; lines instead where there is no terminal."""

    def __init__(self, curves: Curves, example: Example) -> None:
        """example: a validated row as it is shown."""
        self.curves, self.example, self.metric = curves, example, ""
        self._bar: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            total = learner_of(pl_module).training_length(trainer).total
            self.metric = learner_of(pl_module).task.metrics[0].name
            terminal = sys.stderr.isatty() or "ipykernel" in sys.modules  # a notebook shows a bar too
            if trainer.global_step:
                print(f"resuming at step {trainer.global_step:,}", file=sys.stderr)
            self._bar = tqdm(
                total=total,
                initial=trainer.global_step,
                disable=not terminal,
                dynamic_ncols=True,
                unit="step",
                leave=False,
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is None:
            return
        self._bar.update(1)
        if trainer.global_step % self.curves.every == 0:
            self._bar.set_postfix_str(self.now(), refresh=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is None:
            return
        learner = learner_of(pl_module)
        minutes = self.curves.elapsed() / 60
        self.say(f"step {trainer.global_step:,} of {self._bar.total:,} | {minutes:.1f} min | {self.now()}")
        for row in sample(learner.predictions):
            self.say(self.example(row, learner.task.tokenizers))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None:
            self._bar.close()

    def now(self) -> str:
        """The newest value of each curve that people watch."""
        shown = {"train_loss": "loss {:.3f}", "tokens_per_second": "{:,.0f} tokens/s"}
        shown |= {"validation_loss": "validation loss {:.4g}", "validation_perplexity": "perplexity {:.4g}"}
        shown[f"validation_{self.metric}"] = f"validation {self.metric} {{:.4g}}"
        points = self.curves.points
        return " | ".join(form.format(points[name][-1][2]) for name, form in shown.items() if name in points)

    def say(self, text: str) -> None:
        """Print above the bar."""
        tqdm.write(text, file=sys.stderr)


def sample(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The same spread of rows every time."""
    count = len(predictions)
    return [predictions[(number * 7919 + 17) % count] for number in range(min(SHOWN, count))]


def summed(value: torch.Tensor) -> float:
    """A value summed over the devices."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return float(value)
