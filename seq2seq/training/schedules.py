"""Schedules of the learning rate: a pure function of the optimiser step and of the validations before it."""

import math
from typing import ClassVar, Literal, NamedTuple, final

from seq2seq.configurable import Part
from seq2seq.errors import InputError, check_range


class TrainingLength(NamedTuple):
    """How long a training takes, in optimiser steps."""

    warmup: int
    """In which the rate rises from zero."""
    total: int
    """Of the whole training, the warm-up included."""
    epoch: int | None
    """Of an epoch; None for a streamed corpus, which has none."""


class PlateauState(NamedTuple):
    """The validations so far; the same on all devices."""

    best: float | None = None
    waited: int = 0
    """Validations since the best one, or since the rate was lowered last."""
    share: float = 1.0
    """Of the highest learning rate, as lowered so far."""
    loss: float | None = None
    """The lowest validation loss."""


NOTICEABLE = 1e-3
"""Share of the lowest validation loss by which another one must be lower to count as progress."""


def lower(loss: float, lowest: float | None) -> bool:
    """Whether a validation loss is noticeably lower than the lowest one so far; a non-finite one never is."""
    return math.isfinite(loss) and (lowest is None or loss < lowest - NOTICEABLE * abs(lowest))


class Schedule(Part):
    """What follows the warm-up."""

    needs_total: ClassVar[bool] = False
    """Whether it depends on the number of steps of the whole training."""

    def check(self, length: TrainingLength) -> None:
        """Raise InputError if the training has no length that the schedule needs."""
        if self.needs_total and length.total <= 0:
            name = type(self).__name__
            raise InputError(f"optimizer.schedule {name} needs the number of optimiser steps; set trainer.max_steps")

    def rate(self, highest: float, step: int, length: TrainingLength, plateau: PlateauState) -> float:
        """The learning rate at an optimiser step (from 0): a linear warm-up, then the schedule."""
        factor = self.factor(step, length) if step >= length.warmup else (step + 1) / length.warmup
        return highest * factor * plateau.share

    def factor(self, step: int, length: TrainingLength) -> float:
        """Share of the highest learning rate at an optimiser step (from 0) after the warm-up."""
        return 1.0

    def observe(self, plateau: PlateauState, value: float, loss: float) -> PlateauState:
        """The state after one more validation; `value`: its score, higher is better; `loss`: the validation loss."""
        return plateau


@final
class Constant(Schedule):
    """The learning rate stays."""


@final
class Cosine(Schedule):
    """Half a cosine, to zero after the last step (Loshchilov and Hutter 2017, eq. 5)."""

    needs_total = True

    def factor(self, step: int, length: TrainingLength) -> float:
        span = max(1, length.total - length.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - length.warmup) / span)))


@final
class InverseSqrt(Schedule):
    """1 / sqrt(step), continuing the warm-up (Vaswani et al. 2017, eq. 3)."""

    def factor(self, step: int, length: TrainingLength) -> float:
        return math.sqrt(max(1, length.warmup) / max(1, step + 1))


@final
class Plateau(Schedule):
    """Lowers the rate when validations get no better."""

    def __init__(self, decay: float = 0.5, plateau_patience: int = 1, least: float = 0.01) -> None:
        """When and how far.

        Args:
            decay: the rate is multiplied by it ...
            plateau_patience: ... after this number of validations without a better score of the first metric or a
                lower validation loss.
            least: the smallest share of the learning rate.
        """
        check_range("optimizer.schedule.decay", decay, 0, 1)
        check_range("optimizer.schedule.plateau_patience", plateau_patience, 1)
        check_range("optimizer.schedule.least", least, 0, 1)
        self.decay, self.plateau_patience, self.least = decay, plateau_patience, least

    def observe(self, plateau: PlateauState, value: float, loss: float) -> PlateauState:
        risen, fallen = plateau.best is None or value > plateau.best, lower(loss, plateau.loss)
        best, lowest = value if risen else plateau.best, loss if fallen else plateau.loss
        if risen or fallen:
            return PlateauState(best, 0, plateau.share, lowest)
        if plateau.waited + 1 < self.plateau_patience:
            return plateau._replace(waited=plateau.waited + 1)
        return PlateauState(best, 0, max(self.least, plateau.share * self.decay), lowest)


@final
class WarmupStableDecay(Schedule):
    """Constant, then down to zero in the last steps (Hu et al. 2024, sec. 4; shapes of Hägele et al. 2024, sec. 3)."""

    needs_total = True

    def __init__(self, last: float = 0.2, shape: Literal["linear", "sqrt"] = "sqrt") -> None:
        """The descent.

        Args:
            last: share of all steps that it takes.
            shape: of progress p from 0 to 1: linear for 1 - p, sqrt for 1 - sqrt(p).
        """
        if not 0 < last <= 1:
            raise InputError(f"optimizer.schedule.last is {last}; it must be above 0 and at most 1")
        self.last, self.shape = last, shape

    def factor(self, step: int, length: TrainingLength) -> float:
        first = max(length.warmup, length.total - round(self.last * length.total))
        if step < first:
            return 1.0
        progress = min(1.0, (step - first) / max(1, length.total - first))
        return 1 - (progress if self.shape == "linear" else math.sqrt(progress))


@final
class Halving(Schedule):
    """Halves the rate again and again (Sutskever et al. 2014, sec. 3.4; Luong et al. 2015, sec. 4.1)."""

    def __init__(self, start: float = 5.0, every: float = 0.5) -> None:
        """When.

        Args:
            start: epochs before the rate is halved first.
            every: epochs from one halving to the next.
        """
        check_range("optimizer.schedule.start", start, 0)
        if every <= 0:
            raise InputError(f"optimizer.schedule.every is {every}; it must be above 0")
        self.start, self.every = start, every

    def check(self, length: TrainingLength) -> None:
        if length.epoch is None:
            raise InputError(
                "optimizer.schedule Halving counts epochs, and a streamed corpus (data.window) has none; "
                "choose WarmupStableDecay or another"
            )

    def factor(self, step: int, length: TrainingLength) -> float:
        epoch = length.epoch or 1
        first, span = round(self.start * epoch), max(1, round(self.every * epoch))
        return 1.0 if step < first else 0.5 ** ((step - first) // span + 1)
