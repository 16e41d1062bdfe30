"""How long to train: what the configuration leaves open follows from the training rows."""

import logging
from typing import Any, NamedTuple

from seq2seq.training.options import OptimizerOptions, TrainerOptions

log = logging.getLogger(__name__)

LEAST_STEPS = 6000
"""Of a training whose length follows from the data: German inflection learns 10,000 words to 83.9 % of the test in the
4,000 steps that the baseline of Gorman et al. 2020 takes for 3,600 words, and to 88.4 % in these (docs/results.md)."""

MOST_PASSES, LEAST_PASSES = 15, 5
"""Over small and over large data: Luong et al. 2015 pass 12 times over 4.5 million pairs, Bahdanau et al. 2015 5 times
over 12 million."""

SMALL = 1_000_000
"""Tokens up to which data are passed over most often; 27 times as many are passed over least often."""

VALIDATIONS = 25
PATIENCE = 10

LONGEST_WARMUP = 4000
"""Steps, as Vaswani et al. 2017 take them."""


class Length(NamedTuple):
    """How long a training takes, in optimiser steps."""

    steps: int
    """Of the whole training."""
    warmup: int
    validate_every: int | float
    """Steps from one validation to the next, or, if it is a float, the share of an epoch."""
    patience: int | None
    """Validations without anything better after which the training stops."""
    fitted: bool
    """Whether the steps follow from the data."""

    @property
    def limits(self) -> dict[str, Any]:
        """What Lightning's trainer is told."""
        whole = isinstance(self.validate_every, int)
        own = {"val_check_interval": self.validate_every, "check_val_every_n_epoch": None if whole else 1}
        return {**own, "max_steps": self.steps, "max_epochs": None} if self.fitted else own


def length_of(
    tokens: int, epoch: int | None, trainer: TrainerOptions, optimizer: OptimizerOptions, patience: int | None
) -> Length:
    """How long to train on an epoch of so many tokens and steps (None: streamed), where the settings leave it open.

    steps: unless trainer.max_epochs or trainer.max_steps says it, 15 passes over up to a million tokens (source and
    target together) and fewer over more, in proportion to the cube root of their number, but never fewer than 5
    passes, nor than 6,000 steps.

    warm-up: unless optimizer.warmup_steps says it, a twentieth of steps that were found so, 4,000 at most; of others
    none.

    validation: unless trainer.val_check_interval says it, after each 25th of steps that were found so; of others after
    each epoch or, if there are more than 25, after each 25th of the steps.

    patience: unless it is set, 10 validations of steps that were found so; of others, and with
    optimizer.minimum_risk, whose steps come last, training goes on to the end.

    The schedule spans the steps. All of it depends on the training rows and the settings alone, so a resumed run and
    any number of devices find the same.
    """
    fitted = trainer.max_epochs is None and trainer.max_steps <= 0 and epoch is not None
    if fitted:
        steps = fitting_steps(tokens, epoch or 1)
    else:
        given = [trainer.max_steps, (trainer.max_epochs or 0) * (epoch or 0)]
        steps = min((limit for limit in given if limit > 0), default=0)
    warmup = optimizer.warmup_steps
    if warmup is None:
        warmup = min(steps // 20, LONGEST_WARMUP) if fitted else 0
    every = trainer.val_check_interval
    if every is None:
        share = -(-steps // VALIDATIONS)
        every = share if fitted or share > (epoch or share) else 1.0
    if patience is None and fitted and not optimizer.minimum_risk:
        patience = PATIENCE
    return Length(steps, warmup, every, patience, fitted)


def fitting_steps(tokens: int, epoch: int) -> int:
    """Optimiser steps that train a network to the end, of which an epoch over so many tokens has `epoch`."""
    passes: float = MOST_PASSES * min(1.0, (SMALL / max(1, tokens)) ** (1 / 3))
    steps = max(LEAST_STEPS, round(max(LEAST_PASSES, passes) * epoch))
    return -(-steps // VALIDATIONS) * VALIDATIONS  # the last validation is that of the last step


def warn_if_short(length: Length, tokens: int, epoch: int | None) -> None:
    """Say in one line that a length that was set can hardly be enough, and what to do."""
    remedy = "leave out trainer.max_epochs and trainer.max_steps, and the length follows from the data"
    fitting = None if epoch is None else fitting_steps(tokens, epoch)
    if 3 * length.warmup >= length.steps:
        open_too = "" if length.fitted else f", or {remedy}"
        text = "optimizer.warmup_steps is %d of the %d steps of the training: lower it%s"
        log.warning(text, length.warmup, length.steps, open_too)
    elif fitting is not None and 20 * length.steps < fitting:
        log.warning("%d optimiser steps are few, data like these take %d: %s", length.steps, fitting, remedy)
