"""The settings of machine, optimisation and teacher. Light on purpose: `--help` imports it."""

import contextlib
import math
import re
from collections.abc import Sequence
from typing import Any, Literal, final

from seq2seq.cluster.environment import named_devices
from seq2seq.configurable import Part
from seq2seq.errors import InputError, check_range
from seq2seq.training.optimizers import AdamW, Algorithm
from seq2seq.training.schedules import Constant, PlateauState, Schedule, TrainingLength

RISK_RATE = 0.25
"""Share of the highest learning rate with which the steps of optimizer.minimum_risk begin."""

LEAST = {
    "num_nodes": 1,
    "max_epochs": 1,
    "max_steps": -1,
    "timeout": 5,
    "gradient_clip_val": 0,
    "log_every_n_steps": 1,
    "skip_limit": 0,
}
"""The lowest value that each of these settings of the trainer may have."""


def seconds_of(time: str | int | None) -> float | None:
    """The seconds of a limit such as 20:00:00 or 01:12:00:00 (YAML may have made a number of it); None for none."""
    if time is None:
        return None
    parts = re.fullmatch(r"(?:(\d+)[:-])?(\d+):([0-5]?\d):([0-5]?\d)", str(time))
    seconds = time
    if parts is not None:
        days, hours, minutes, rest = (int(part or 0) for part in parts.groups())
        seconds = ((24 * days + hours) * 60 + minutes) * 60 + rest
    if not isinstance(seconds, int) or seconds <= 0:
        raise InputError(f"trainer.max_time is {time!r}; write HH:MM:SS or DD:HH:MM:SS")
    return float(seconds)


def check_devices(devices: int | list[int] | str) -> None:
    """Refuse what is no number of devices, no list of theirs and not auto."""
    if devices == "auto":
        return
    with contextlib.suppress(ValueError):  # of what is no whole number, and of an empty list
        named = named_devices(devices)
        if min(named) >= 0 if named is not None else int(str(devices)) >= 1 or int(str(devices)) == -1:
            return
    raise InputError(f"trainer.devices is {devices!r}; write how many, which ones as [0, 1], or auto")


def check_interval(interval: int | float | None) -> None:
    """Refuse what is neither optimiser steps nor a share of an epoch."""
    if interval is not None and not (0 < interval <= 1 or (isinstance(interval, int) and interval > 0)):
        raise InputError(
            f"trainer.val_check_interval is {interval}; write optimiser steps as a whole number, or a share of an "
            "epoch above 0, up to 1.0"
        )


@final
class TrainerOptions(Part):
    """Where and for how long to train: the options of Lightning's Trainer that fit this project."""

    def __init__(
        self,
        accelerator: Literal["auto", "cpu", "cuda", "gpu", "mps"] = "auto",
        devices: int | list[int] | str = 1,
        num_nodes: int = 1,
        strategy: str = "auto",
        precision: Literal["32-true", "bf16-mixed"] = "32-true",
        max_epochs: int | None = None,
        max_steps: int = -1,
        max_time: str | int | None = None,
        save_every: float | None = 10.0,
        timeout: float = 60.0,
        val_check_interval: int | float | None = None,
        gradient_clip_val: float | None = 1.0,
        log_every_n_steps: int = 10,
        skip_limit: int = 20,
        tf32: bool = True,
        deterministic: bool = False,
        detect_anomaly: bool = False,
        profiler: Literal["simple", "advanced"] | None = None,
        loggers: Sequence[Literal["tensorboard", "wandb", "mlflow"]] = ("tensorboard",),
        callbacks: Sequence[str | dict[str, Any]] = (),
    ) -> None:
        """Options of the trainer.

        Args:
            accelerator: cpu, cuda, mps, gpu for either of the two, or auto.
            devices: how many devices on each node, which ones, or auto.
            num_nodes: machines.
            strategy: how devices work together: auto, ddp, ...
            precision: arithmetic of training and validation; the test is always scored in 32 bits. bf16-mixed needs a
                GPU that computes in bfloat16 (compute capability 8.0, not T4 or V100); a processor that is not fast in
                it trains in 32 bits, and says so.
            max_epochs: passes over the training split; null for as many as its size asks for, unless max_steps says it:
                15 over a million tokens, fewer over more, 5 at least, but never fewer than 6,000 optimiser steps.
            max_steps: optimiser steps after which to stop; -1 for no limit.
            max_time: time this process may take, HH:MM:SS or DD:HH:MM:SS; shortly before, the training saves, stops
                with exit code 75, and can be resumed.
            save_every: minutes between two checkpoints besides those after validations; null for none. They take at
                most 1 % of the time.
            timeout: seconds after which all of several processes have ended when one has failed or hangs; in an
                evaluation and while one saves they wait longer for each other.
            val_check_interval: validate after this many optimiser steps, or after this share of an epoch if it is 1.0
                or less; null for 25 times in a training whose length follows from the data, else after each epoch, but
                25 times at most.
            gradient_clip_val: the largest norm of the gradient (Pascanu et al. 2013); null for no limit.
            log_every_n_steps: optimiser steps between two points of the training curves.
            skip_limit: a step with a non-finite loss or gradient is skipped; the training stops after more than
                skip_limit of them in a row.
            tf32: on GPUs that can, round the factors of 32-bit products to 10 bits in training and validation, which is
                several times as fast; test, evaluate and predict never do.
            deterministic: refuse operations that can differ between two runs on one machine.
            detect_anomaly: name the operation in which a NaN first appears; slow.
            profiler: simple or advanced prints where the time goes.
            loggers: where curves, settings and sample predictions go besides metrics.csv: tensorboard, wandb, mlflow;
                one that fails is left out, and training goes on.
            callbacks: Lightning callbacks of your own, by import path, or as class_path with init_args.
        """
        check_devices(devices)
        self.accelerator, self.devices, self.num_nodes, self.strategy = accelerator, devices, num_nodes, strategy
        if save_every is not None and save_every <= 0:
            raise InputError(f"trainer.save_every is {save_every}; it must be above 0, or null")
        self.precision, self.max_epochs, self.max_steps = precision, max_epochs, max_steps
        self.max_time, self.save_every, self.timeout = max_time, save_every, timeout
        self.limit = seconds_of(max_time)
        self.val_check_interval, self.gradient_clip_val = val_check_interval, gradient_clip_val
        self.log_every_n_steps, self.deterministic = log_every_n_steps, deterministic
        self.skip_limit, self.tf32 = skip_limit, tf32
        self.detect_anomaly, self.profiler = detect_anomaly, profiler
        self.loggers, self.callbacks = list(loggers), list(callbacks)
        check_interval(val_check_interval)
        for name, low in LEAST.items():
            check_range(f"trainer.{name}", low if getattr(self, name) is None else getattr(self, name), low)

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of Lightning's Trainer, besides the time between validations."""
        ours = (
            "gradient_clip_val",
            "max_time",
            "save_every",
            "timeout",
            "limit",
            "skip_limit",
            "val_check_interval",
            "tf32",
            "loggers",
            "callbacks",
        )
        return {name: value for name, value in vars(self).items() if name not in ours}


@final
class OptimizerOptions(Part):
    """How the parameters change: the algorithm, the schedule of its learning rate, and averages over the steps."""

    def __init__(
        self,
        learning_rate: float = 1e-3,
        algorithm: Algorithm = AdamW(),
        schedule: Schedule = Constant(),
        warmup_steps: int | None = None,
        ema_decay: float | None = None,
        average: int | None = None,
        r_drop: float = 0.0,
        adversarial: float = 0.0,
        minimum_risk: float = 0.0,
    ) -> None:
        """Settings of the optimiser.

        Args:
            learning_rate: the highest learning rate; 0 changes nothing, which measures what a start is worth.
            algorithm: what gradients do (AdamW, Adam, SGD, Adafactor, Adagrad, Adadelta).
            schedule: what follows the warm-up (Constant, Cosine, InverseSqrt, Plateau, WarmupStableDecay, Halving).
            warmup_steps: optimiser steps in which the rate rises linearly from zero; null for a twentieth of a training
                whose length follows from the data, 4,000 at most, else 0.
            ema_decay: validate, test and keep as the best an exponential moving average of the parameters that decays
                by this each step, such as 0.999; costs one more copy of them on the device and in last.ckpt.
            average: n; at the end, take the mean of the parameters of the last n validations, with ema_decay of
                their averages, and keep it as the best if it scores no worse; costs as many files of the parameters
                during the training, no memory.
            r_drop: weight of the distance between what two passes with other dropout masks predict (R-Drop, Liang et
                al. 2021, alpha of eq. 4); a step then takes twice the time. 0 for one pass.
            adversarial: length by which the vectors of a source are moved the way that harms its prediction most, in a
                second pass (Miyato et al. 2017, epsilon of eq. 5), of Classification and Tagging; a word's vector has
                a length of about 1, and a step then takes more than twice the time. 0 for one pass.
            minimum_risk: share of the steps, the last ones, that teach a Translation to predict what scores well by the
                first metric (Shen et al. 2016); the schedule begins anew with them, from a quarter of the rate. Such a
                step predicts its rows, in about five times the time. 1 for a training that starts from a trained one,
                0 for none.
        """
        check_range("optimizer.learning_rate", learning_rate, 0)
        check_range("optimizer.warmup_steps", warmup_steps or 0, 0)
        if ema_decay is not None:
            check_range("optimizer.ema_decay", ema_decay, 0, 1)
        if average is not None:
            check_range("optimizer.average", average, 2)
        check_range("optimizer.r_drop", r_drop, 0)
        check_range("optimizer.adversarial", adversarial, 0)
        if not 0 <= minimum_risk <= 1:
            raise InputError(f"optimizer.minimum_risk is {minimum_risk}; it must be at least 0 and at most 1")
        self.learning_rate, self.algorithm = learning_rate, algorithm
        self.schedule, self.warmup_steps = schedule, warmup_steps
        self.ema_decay, self.average = ema_decay, average
        self.r_drop, self.adversarial, self.minimum_risk = r_drop, adversarial, minimum_risk

    def first_of_risk(self, steps: int) -> int:
        """The first optimiser step (from 0) that teaches predictions, in a training of n steps; n where none does."""
        return math.ceil((1 - self.minimum_risk) * steps)

    def teaches_predictions(self, step: int, steps: int) -> bool:
        """Whether an optimiser step (from 0) teaches predictions, in a training of n steps."""
        return self.minimum_risk > 0 and step >= self.first_of_risk(steps)

    def rate(self, step: int, length: TrainingLength, plateau: PlateauState) -> float:
        """The learning rate at an optimiser step (from 0).

        Where the last steps teach predictions, the schedule ends before them and begins anew, without warm-up, from
        RISK_RATE of the highest rate.
        """
        first, highest = self.first_of_risk(length.total), self.learning_rate
        if first <= 0 or self.minimum_risk == 0:  # the same loss throughout
            return self.schedule.rate(highest, step, length, plateau)
        if step < first:
            return self.schedule.rate(highest, step, length._replace(total=first), plateau)
        rest = TrainingLength(0, length.total - first, length.epoch)
        return self.schedule.rate(highest * RISK_RATE, step - first, rest, plateau)

    def check(self, length: TrainingLength) -> None:
        """Raise InputError if the training has no length that something needs."""
        self.schedule.check(length)
        if 0 < self.minimum_risk < 1 and length.total <= 0:
            raise InputError(
                f"optimizer.minimum_risk {self.minimum_risk} needs the number of optimiser steps; set trainer.max_steps"
            )


@final
class DistillationOptions(Part):
    """Learning from a stronger model besides the corpus."""

    def __init__(
        self,
        teacher: str | list[str] | None = None,
        weight: float = 0.5,
        temperature: float = 1.0,
        sequences: bool | Literal["beside"] = False,
    ) -> None:
        """The teacher and what is taken from it.

        Args:
            teacher: run directory or checkpoint to learn from, whose vocabularies the new model takes over; several
                teach together, by the mean of their probabilities; null for none.
            weight: share of the loss that is the distance from the teacher's probabilities of each token; the rest is
                the usual loss (Kim and Rush 2016, sec. 3.1).
            temperature: softens the probabilities of both for that distance (Hinton et al. 2015, sec. 2).
            sequences: train on what the teacher predicts for each training source instead of the corpus's target (Kim
                and Rush 2016, sec. 3.2), or beside it, which makes twice as many rows; decoded once, as the teacher's
                checkpoint says, and kept with the prepared data.
        """
        if not 0 <= weight <= 1:
            raise InputError(f"distillation.weight is {weight}; it must be at least 0 and at most 1")
        if not temperature > 0:
            raise InputError(f"distillation.temperature is {temperature}; it must be above 0")
        if teacher == []:
            raise InputError("distillation.teacher is an empty list; name a run, or set it to null")
        if sequences and teacher is None:
            raise InputError("distillation.sequences needs distillation.teacher, a run whose predictions to train on")
        self.teacher, self.weight, self.temperature, self.sequences = teacher, weight, temperature, sequences
