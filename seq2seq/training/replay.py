"""Replay: a skipped step computed again, to find where its first non-finite value appears."""

import contextlib
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint, safe_load
from seq2seq.tasks.base import Task
from seq2seq.tasks.generation import Generation

if TYPE_CHECKING:
    from seq2seq.training.distillation import Teacher
from seq2seq.data.batching.batch import part

SHOWN = 20
"""Rows that a replay names."""


def replay(file: Path, teacher: "Teacher | None", device: torch.device) -> None:
    """Compute a skipped step again and print where its first number that is none appears."""
    told = read(file)
    task = checkpoint.load(file.with_name(Path(told["parameters"]).name)).train().to(device)
    if teacher is not None:
        teacher.to(device)
    content = safe_load.load(file.with_suffix(".pt"))
    batches = [Batch(**one).to(device) for one in content["batches"]]
    carried = [one.to(device) for one in content["carried"]]
    mixed = told["precision"] == "bf16-mixed"

    def loss(batch: Batch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            return loss_of(task, teacher, carried, batch) / batch.step_tokens

    losses = [loss(batch) for batch in batches]
    total, before = float(torch.stack([one.detach() for one in losses]).sum()), float(told["loss"])
    same = total == before or (math.isnan(total) and math.isnan(before))
    print(f"step {told['step']}: loss {total}, in the training it was {before}: {'the same' if same else 'another'}")
    for line in [*bad_parameters(task), *first_bad(task, lambda: [loss(batch) for batch in batches])]:
        print(line)
    for batch in batches:
        for line in bad_rows(told, batch, loss):
            print(line)


def read(file: Path) -> dict[str, Any]:
    """What a skipped step has left."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        known = {name: told[name] for name in ("step", "loss", "precision", "parameters", "batches")}
        float(known["loss"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise InputError(f"--replay {file} holds no skipped step: {problem}; give a RUN/dumps/step-N.json") from problem
    return known


def loss_of(task: Task, teacher: "Teacher | None", carried: Sequence[Tensor], batch: Batch) -> Tensor:
    """The summed loss as in the training."""
    if isinstance(task, Generation) and task.running:
        lanes = batch.row_keys.to(batch.target.device)
        return task.carried_loss(batch, task.resumed(tuple(one.index_select(1, lanes) for one in carried)))[0]
    return task.loss(batch) if teacher is None else teacher.loss(task, batch)


def bad(value: Any) -> str:
    """What is wrong with a tensor or one inside tuples: nan or inf; -inf is the logarithm of a probability of 0."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return "nan" if bool(value.isnan().any()) else "inf" if bool(value.isposinf().any()) else ""
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(bad, value)), "")
    return ""


def bad_parameters(task: Task) -> Iterator[str]:
    """Parameters that are no numbers before anything is computed."""
    for name, parameter in task.named_parameters():
        if found := bad(parameter.detach()) or bad(-parameter.detach()):
            yield f"parameter {name} holds {found}: an earlier step has spoiled it"


def first_bad(task: Task, compute: Any) -> list[str]:
    """Where the first bad number of the forward and of the backward pass appears."""
    seen: list[str] = []
    handles = [
        module.register_forward_hook(
            lambda _, __, output, name=name: seen.append(f"{name or 'the task'} gives {found}")
            if not seen and (found := bad(output)) else None
        )
        for name, module in task.named_modules()
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # that this is slow
        with torch.autograd.detect_anomaly(check_nan=True):
            losses = compute()
            forward = seen[0] if seen else "the loss itself" if bad([*losses]) or bad([-one for one in losses]) else ""
            backward = backward_problem(task, losses)
    return [
        f"first in the forward pass: {forward or 'nothing'}",
        f"first in the backward pass: {backward or 'nothing'}",
    ]


def backward_problem(task: nn.Module, losses: Sequence[Tensor]) -> str:
    """The first operation whose gradient is no number, or the parameters where one arrives."""
    task.zero_grad()
    try:
        for loss in losses:
            torch.autograd.backward(loss)
    except RuntimeError as problem:
        return checkpoint.first_line(problem)
    names = [name for name, one in task.named_parameters() if one.grad is not None and not one.grad.isfinite().all()]
    return f"the gradient of {', '.join(names[:SHOWN])}" if names else ""


def bad_rows(told: dict[str, Any], batch: Batch, loss: Any) -> Iterator[str]:
    """The rows whose loss or gradient, computed alone, is no number."""
    texts = {
        row: f"{source!r} -> {target!r}"
        for one in told["batches"]
        for row, source, target in zip(one["rows"], one["sources"], one["targets"], strict=False)
    }
    for place in range(min(len(batch.rows), 1000)):
        row = int(batch.rows[place])
        with torch.no_grad():
            alone = float(loss(part(batch, slice(place, place + 1))))
        if not math.isfinite(alone):
            yield f"row {row} alone has the loss {alone}: {texts.get(row, '')}".rstrip(": ")
