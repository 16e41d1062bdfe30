"""What of last.ckpt reaches Lightning when a training is resumed: nothing that was not checked before.

A checkpoint is not trusted, and its checksum proves nothing: a tensor of another shape than the optimiser's kernels
expect would make them write beyond it. So everything is compared with what this very training would save.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytorch_lightning
import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.nn import Parameter

from seq2seq.errors import InputError
from seq2seq.plain_types import NUMBERS, refuse_misfit
from seq2seq.runs.safe_load import laid_out
from seq2seq.training.lightning_private import loops_at

if TYPE_CHECKING:
    from seq2seq.training.learner import Learner

STEPS = 1 << 53
"""More optimiser steps than any training has; as a float of 64 bits they are exact."""


def resumable(content: Mapping[str, Any], learner: "Learner", trainer: Trainer) -> dict[str, Any]:
    """The content of a checkpoint as Lightning may have it, or InputError; tensors are those of this training."""
    learner.refuse_other_network(content)
    try:
        return checked(content, learner, trainer)
    except ValueError as problem:
        remedy = "bring last.ckpt back from a copy, or train again with --overwrite true"
        raise InputError(f"last.ckpt is none of this training, or is damaged: {problem}; {remedy}") from problem


def checked(content: Mapping[str, Any], learner: "Learner", trainer: Trainer) -> dict[str, Any]:
    """The same; ValueError says what is strange."""
    step: Any = content.get("global_step")
    refuse_misfit(step, int, "global_step")
    if not 0 <= step < STEPS:
        raise ValueError(f"global_step is {step}")
    refuse_misfit(content.get("callbacks"), dict[str, dict[str, Any]], "callbacks")
    length = None if learner.plan is None else len(learner.plan)
    kept = {
        "epoch": 0 if length is None else step // length,
        "global_step": step,
        "pytorch-lightning_version": pytorch_lightning.__version__,
        "state_dict": named_tensors(content["state_dict"], learner.state_dict(), "state_dict"),
        "loops": loops_at(step, length, {"fit_loop": trainer.fit_loop.state_dict()}),
        "callbacks": content["callbacks"],
        "optimizer_states": [optimizer_state(content["optimizer_states"], learner, step)],
        "lr_schedulers": [],
        "seq2seq": content["seq2seq"],
        "carried": carried(content.get("carried"), learner),
    }
    if learner.moving is not None:
        parameters = dict(learner.task.named_parameters())
        average = content["moving_average"]
        kept["moving_average"] = named_tensors(average, parameters, "moving_average") if average or step else {}
    return kept


def named_tensors(given: Any, expected: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Tensors of exactly the names and forms of others."""
    if not isinstance(given, Mapping) or set(given) != set(expected):
        raise ValueError(f"{name} has other names than the network")
    return {key: laid_out(given[key], expected[key], f"{name}.{key}") for key in expected}


def carried(given: Any, learner: "Learner") -> list[Tensor]:
    """The states of running text; none at the beginning of an epoch and of other texts."""
    if learner.carried is None or not given:
        return []
    expected = learner.task.first_state(learner.carried.streams)
    if not isinstance(given, (list, tuple)) or len(given) != len(expected):
        raise ValueError("carried holds other states than the network")
    pairs = enumerate(zip(given, expected, strict=True))
    return [laid_out(one, other, f"carried[{number}]") for number, (one, other) in pairs]


def optimizer_state(given: Any, learner: "Learner", step: int) -> dict[str, Any]:
    """The state of the one optimiser; expected is what it keeps after a step on zeros.

    The options of torch's own optimisers are those of the configuration: but for the rate they never change.
    """
    fresh = learner.configure_optimizers()
    own = fresh.state_dict()["param_groups"]
    if not isinstance(given, list) or len(given) != 1 or not isinstance(given[0], Mapping):
        raise ValueError("optimizer_states must hold that of one optimiser")
    parameters = [parameter for group in fresh.param_groups for parameter in group["params"]]
    state, groups = given[0].get("state"), given[0].get("param_groups")
    if not isinstance(state, Mapping) or not all(isinstance(key, int) and 0 <= key < len(parameters) for key in state):
        raise ValueError(f"optimizer_states.state must be about some of {len(parameters)} parameters")
    known: dict[Any, dict[str, Any]] = {}
    result = {}
    for number, kept in state.items():
        kind = (parameters[number].shape, parameters[number].stride(), parameters[number].dtype)
        if kind not in known:
            known[kind] = kept_after_a_step(parameters[number], learner)
        result[number] = parameter_state(kept, known[kind], f"optimizer_states.state.{number}", step)
    torchs = type(fresh).__module__.startswith("torch.optim")
    return {"state": result, "param_groups": with_rates(groups, own) if torchs else options(groups, own)}


def with_rates(given: Any, own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups of the configuration with the learning rates of the newest step, which none may follow."""
    refuse_misfit(given, list[dict[str, Any]], "optimizer_states.param_groups")
    rates = [group.get("lr") for group in given]
    refuse_misfit(rates, list[float], "optimizer_states.param_groups.lr")
    if len(rates) != len(own):
        raise ValueError(f"optimizer_states.param_groups must be {len(own)}")
    return [{**group, "lr": rate} for group, rate in zip(own, rates, strict=True)]


def kept_after_a_step(parameter: Tensor, learner: "Learner") -> dict[str, Any]:
    """What the optimiser keeps about a parameter after a step; tensors without their numbers."""
    example = Parameter(torch.zeros_like(parameter, device="cpu"))
    example.grad = torch.zeros_like(example)
    optimizer = learner.options.algorithm.optimizer([example], learner.options.learning_rate)
    optimizer.step()
    kept = optimizer.state[example].items()
    return {name: value.to("meta") if isinstance(value, Tensor) else value for name, value in kept}


def parameter_state(given: Any, expected: Mapping[str, Any], name: str, step: int) -> dict[str, Any]:
    """What an optimiser keeps about one parameter, compared with what it keeps about another of the same form."""
    if not isinstance(given, Mapping) or set(given) != set(expected):
        raise ValueError(f"{name} must hold {', '.join(expected)}")
    result = {}
    for key, other in expected.items():
        value, place = given[key], f"{name}.{key}"
        if isinstance(other, Tensor):
            value = laid_out(value, other, place)
        else:
            refuse_misfit(value, type(other), place)
        if key == "step" and not 0 <= float(value) <= step:
            raise ValueError(f"{place} is {float(value):g} after {step} steps of training")
        result[key] = value
    return result


def options(given: Any, own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups of an optimiser of the user's own, which may keep numbers there."""
    if not isinstance(given, list) or len(given) != len(own):
        raise ValueError(f"optimizer_states.param_groups must be {len(own)}")
    for number, (group, other) in enumerate(zip(given, own, strict=True)):
        name = f"optimizer_states.param_groups[{number}]"
        if not isinstance(group, Mapping) or set(group) != set(other) or group["params"] != other["params"]:
            raise ValueError(f"{name} has other settings or parameters")
        for key, value in other.items():
            if type(value) in NUMBERS:
                refuse_misfit(group[key], float if type(value) is int else type(value), f"{name}.{key}")
    return given
