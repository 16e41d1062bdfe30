"""Algorithms against their papers' equations, schedules against their formulas, averages against a plain loop."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seq2seq.errors import InputError
from seq2seq.training.optimizers import SGD, Adadelta, Adafactor, Adagrad, Adam, AdamW, Algorithm
from seq2seq.training.options import OptimizerOptions
from seq2seq.training.schedules import (
    Constant,
    Cosine,
    Halving,
    InverseSqrt,
    Plateau,
    PlateauState,
    Schedule,
    TrainingLength,
    WarmupStableDecay,
)

RATE, STEPS = 0.1, 12
Move = Callable[[Tensor, Tensor, int, dict[str, Tensor]], Tensor]
"""Parameter, gradient, step from 1 and what is kept: to the next parameter."""


def slope(weights: Tensor) -> Tensor:
    """The gradient of sum(w^4 / 4 - w)."""
    return weights**3 - 1


def adam(decay: float, decoupled: bool) -> Move:
    """Kingma and Ba 2015, algorithm 1; decoupled: Loshchilov and Hutter 2019, algorithm 2."""

    def move(weights: Tensor, gradient: Tensor, step: int, kept: dict[str, Tensor]) -> Tensor:
        gradient = gradient if decoupled else gradient + decay * weights
        kept["mean"] = 0.8 * kept["mean"] + 0.2 * gradient
        kept["square"] = 0.95 * kept["square"] + 0.05 * gradient**2
        mean, square = kept["mean"] / (1 - 0.8**step), kept["square"] / (1 - 0.95**step)
        shrunk = weights * (1 - RATE * decay) if decoupled else weights
        return shrunk - RATE * mean / (square.sqrt() + 1e-6)

    return move


def sgd(nesterov: bool) -> Move:
    """Sutskever et al. 2013, eq. 1 to 4, in the form in which the rate multiplies the sum."""

    def move(weights: Tensor, gradient: Tensor, step: int, kept: dict[str, Tensor]) -> Tensor:
        gradient = gradient + 0.1 * weights
        kept["mean"] = 0.9 * kept["mean"] + gradient
        return weights - RATE * (gradient + 0.9 * kept["mean"] if nesterov else kept["mean"])

    return move


def adafactor(weights: Tensor, gradient: Tensor, step: int, kept: dict[str, Tensor]) -> Tensor:
    """Shazeer and Stern 2018, algorithm 4, with the rate of sec. 8."""
    forget = 1 - step**-0.7
    kept["rows"] = forget * kept["rows"][:, :1] + (1 - forget) * (gradient**2).mean(1, keepdim=True)
    kept["columns"] = forget * kept["columns"][:1] + (1 - forget) * (gradient**2).mean(0, keepdim=True)
    update = gradient / (kept["rows"] @ kept["columns"] / kept["rows"].mean()).sqrt()
    update = update / max(1.0, float(update.square().mean().sqrt()) / 1.5)
    return weights - min(RATE, 1 / math.sqrt(step)) * max(1e-3, float(weights.square().mean().sqrt())) * update


def adagrad(weights: Tensor, gradient: Tensor, step: int, kept: dict[str, Tensor]) -> Tensor:
    """Duchi et al. 2011, diagonal form."""
    kept["square"] = (kept["square"] if step > 1 else kept["square"] + 0.1) + gradient**2
    return weights - RATE * gradient / (kept["square"].sqrt() + 1e-10)


def adadelta(weights: Tensor, gradient: Tensor, step: int, kept: dict[str, Tensor]) -> Tensor:
    """Zeiler 2012, algorithm 1."""
    kept["square"] = 0.9 * kept["square"] + 0.1 * gradient**2
    change = ((kept["changes"] + 1e-5) / (kept["square"] + 1e-5)).sqrt() * gradient
    kept["changes"] = 0.9 * kept["changes"] + 0.1 * change**2
    return weights - RATE * change


@pytest.mark.parametrize(
    ("algorithm", "move"),
    [
        (AdamW(0.3, 0.8, 0.95, 1e-6), adam(0.3, decoupled=True)),
        (Adam(0.3, 0.8, 0.95, 1e-6), adam(0.3, decoupled=False)),
        (SGD(0.9, weight_decay=0.1), sgd(nesterov=False)),
        (SGD(0.9, True, 0.1), sgd(nesterov=True)),
        (Adafactor(-0.7, 1.5), adafactor),
        (Adagrad(0.1), adagrad),
        (Adadelta(0.9, 1e-5), adadelta),
    ],
    ids=lambda value: repr(value) if isinstance(value, Algorithm) else "formula",
)
def test_an_algorithm_is_that_of_its_paper(algorithm: Algorithm, move: Move) -> None:
    parameter = nn.Parameter(torch.randn(3, 4, dtype=torch.float64))
    weights, kept = parameter.detach().clone(), {}
    for name in ("mean", "square", "rows", "columns", "changes"):
        kept[name] = torch.zeros_like(weights)
    optimizer = algorithm.optimizer([parameter], RATE)
    for step in range(1, STEPS + 1):
        weights = move(weights, slope(weights), step, kept)
        parameter.grad = slope(parameter.detach())
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), weights, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "algorithm", [AdamW(), Adam(), SGD(), SGD(0.9), SGD(0.9, True), Adafactor(), Adagrad(), Adadelta()], ids=repr
)
def test_an_algorithm_knows_what_it_keeps(algorithm: Algorithm) -> None:
    """The memory that `data.device_tokens: auto` sets aside."""
    parameter = nn.Parameter(torch.randn(60, 40))
    optimizer = algorithm.optimizer([parameter], RATE)
    parameter.grad = torch.randn(60, 40)
    optimizer.step()
    kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    assert round(sum(one.numel() for one in kept) / parameter.numel(), 1) == algorithm.copies


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match=r"nesterov .*optimizer\.algorithm\.momentum"):
        SGD(nesterov=True)
    with pytest.raises(InputError, match=r"algorithm\.momentum is 1\.5"):
        SGD(1.5)
    with pytest.raises(InputError, match=r"schedule\.last is 0"):
        WarmupStableDecay(0)
    with pytest.raises(InputError, match=r"Halving .*data\.window"):
        Halving().check(TrainingLength(0, 100, None))
    with pytest.raises(InputError, match=r"Cosine .*trainer\.max_steps"):
        Cosine().check(TrainingLength(0, -1, None))


LENGTH = TrainingLength(warmup=10, total=110, epoch=20)


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (Constant(), lambda step: 1.0),
        (Cosine(), lambda step: (1 + math.cos(math.pi * (step - 10) / 100)) / 2),
        (InverseSqrt(), lambda step: math.sqrt(10 / (step + 1))),
        (WarmupStableDecay(0.2, "linear"), lambda step: min(1.0, (110 - step) / 22)),
        (WarmupStableDecay(0.2), lambda step: 1 - math.sqrt(max(0, step - 88) / 22)),
        (WarmupStableDecay(1.0, "linear"), lambda step: (110 - step) / 100),
        (Halving(2, 0.5), lambda step: 2.0 ** -len(range(40, step + 1, 10))),
        (Halving(0.25, 3), lambda step: 2.0 ** -len(range(5, step + 1, 60))),
        (Plateau(), lambda step: 1.0),
    ],
    ids=lambda value: repr(value) if isinstance(value, Schedule) else "formula",
)
def test_a_schedule_is_its_formula(schedule: Schedule, formula: Callable[[int], float]) -> None:
    options = OptimizerOptions(2.0, schedule=schedule, warmup_steps=10)
    schedule.check(LENGTH)
    for step in range(110):
        share = (step + 1) / 10 if step < 10 else formula(step)
        assert options.schedule.rate(options.learning_rate, step, LENGTH, PlateauState(share=0.5)) == pytest.approx(
            2.0 * share * 0.5
        )
    assert type(schedule).needs_total == (schedule.factor(80, LENGTH) != schedule.factor(80, LENGTH._replace(total=81)))


@given(st.lists(st.integers(0, 8), max_size=40), st.integers(1, 4), st.floats(0.1, 0.9))
def test_a_plateau_is_that_of_torch(values: list[int], patience: int, decay: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", decay, patience - 1, threshold=0, min_lr=0.05, eps=0
    )
    schedule, plateau = Plateau(decay, patience, 0.05), PlateauState()
    for value in values:
        theirs.step(value)
        plateau = schedule.observe(plateau, float(value), math.nan)
        assert plateau.share == optimizer.param_groups[0]["lr"]


def test_a_falling_loss_is_no_plateau_though_the_score_stays() -> None:
    schedule, plateau = Plateau(0.5, 1, 0.01), PlateauState()
    for step in range(5):
        plateau = schedule.observe(plateau, 0.0, 5.0 - step)
    assert plateau.share == 1
    for _ in range(2):
        plateau = schedule.observe(plateau, 0.0, 1.0)
    assert plateau.share == 0.25
