"""What a configuration says about the machine and the optimisation. Light on purpose: `--help` imports it."""

import math
from typing import Any, Literal, final

from seq2seq.errors import InputError, check_range
from seq2seq.parts import Part


@final
class TrainerOptions(Part):
    """Where and for how long to train: the options of Lightning's Trainer that fit this project."""

    def __init__(
        self,
        accelerator: str = "auto",
        devices: int | list[int] | str = 1,
        num_nodes: int = 1,
        strategy: str = "auto",
        precision: Literal["32-true", "bf16-mixed"] = "32-true",
        max_epochs: int = 10,
        max_steps: int = -1,
        max_time: str | None = None,
        val_check_interval: int | float = 1.0,
        gradient_clip_val: float | None = 1.0,
        log_every_n_steps: int = 10,
        deterministic: bool = False,
        detect_anomaly: bool = False,
        profiler: str | None = None,
    ) -> None:
        """Options of the trainer.

        Args:
            accelerator: cpu, cuda, mps or auto.
            devices: how many devices on each node, which ones, or auto.
            num_nodes: machines.
            strategy: how devices work together: auto, ddp, ...
            precision: arithmetic of training and validation; the test is always scored in 32 bits.
            max_epochs: passes over the training split.
            max_steps: optimiser steps after which to stop; -1 for no limit.
            max_time: time after which to stop, DD:HH:MM:SS.
            val_check_interval: validate after this many optimiser steps, or after this share of an epoch if below 1.0.
            gradient_clip_val: the largest norm of the gradient (Pascanu et al. 2013); null for no limit.
            log_every_n_steps: optimiser steps between two points of the training curves.
            deterministic: refuse operations that can differ between two runs on one machine.
            detect_anomaly: name the operation in which a NaN first appears; slow.
            profiler: simple or advanced prints where the time goes.
        """
        check_range("trainer.max_epochs", max_epochs, 1)
        check_range("trainer.log_every_n_steps", log_every_n_steps, 1)
        self.accelerator, self.devices, self.num_nodes, self.strategy = accelerator, devices, num_nodes, strategy
        self.precision, self.max_epochs, self.max_steps, self.max_time = precision, max_epochs, max_steps, max_time
        self.val_check_interval, self.gradient_clip_val = val_check_interval, gradient_clip_val
        self.log_every_n_steps, self.deterministic = log_every_n_steps, deterministic
        self.detect_anomaly, self.profiler = detect_anomaly, profiler

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of Lightning's Trainer; a whole number of steps between validations spans epochs."""
        every = None if isinstance(self.val_check_interval, int) else 1
        own = {name: value for name, value in vars(self).items() if name != "gradient_clip_val"}
        return {**own, "check_val_every_n_epoch": every}


@final
class OptimizerOptions(Part):
    """AdamW (Loshchilov and Hutter 2019; without weight decay it is Adam) and the schedule of its learning rate."""

    def __init__(
        self,
        learning_rate: float = 1e-3,
        schedule: Literal["constant", "cosine", "inverse_sqrt"] = "constant",
        warmup_steps: int = 0,
        weight_decay: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
    ) -> None:
        """Settings of the optimiser.

        Args:
            learning_rate: the highest learning rate.
            schedule: what follows the warm-up: constant, cosine (to zero at the last step), inverse_sqrt.
            warmup_steps: optimiser steps in which the rate rises linearly from zero.
            weight_decay: decoupled decay of all parameters per step, times the rate.
            beta1: decay of the mean of the gradient.
            beta2: decay of the mean of its square.
        """
        if learning_rate <= 0:
            raise InputError(f"optimizer.learning_rate is {learning_rate}; it must be above 0")
        for name, value in (("warmup_steps", warmup_steps), ("weight_decay", weight_decay)):
            check_range(f"optimizer.{name}", value, 0)
        for name, value in (("beta1", beta1), ("beta2", beta2)):
            check_range(f"optimizer.{name}", value, 0, 1)
        self.learning_rate, self.schedule, self.warmup_steps = learning_rate, schedule, warmup_steps
        self.weight_decay, self.beta1, self.beta2 = weight_decay, beta1, beta2

    def factor(self, step: int, total: int) -> float:
        """Share of the learning rate at an optimiser step (from 0) of `total`."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.schedule == "cosine":
            span = max(1, total - self.warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - self.warmup_steps) / span)))
        if self.schedule == "inverse_sqrt":
            return math.sqrt(max(1, self.warmup_steps) / max(1, step + 1))
        return 1.0
