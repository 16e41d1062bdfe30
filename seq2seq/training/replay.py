"""Replay: a skipped step computed again, to find where its first non-finite value appears."""

import contextlib
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint, safe_load
from seq2seq.tasks.base import Task
from seq2seq.training.arithmetic import gradient_scale
from seq2seq.training.carried_state import loss_and_state
from seq2seq.training.distillation import Teacher
from seq2seq.training.options import OptimizerOptions
from seq2seq.training.training_loss import training_loss

SHOWN = 20
"""Parameters that a replay names."""


def replay(file: Path, options: OptimizerOptions, teacher: Teacher | None, device: torch.device) -> None:
    """Compute a skipped step again and print where its first non-finite value appears."""
    saved = read(file)
    parameters = file.with_name(Path(saved["parameters"]).name)
    task = checkpoint.restore(checkpoint.read(parameters), parameters, finite=False).train().to(device)
    if teacher is not None:
        teacher.to(device)
    content = safe_load.load(file.with_suffix(".pt"))
    batches = [Batch(**batch).to(device) for batch in content["batches"]]
    carried = tuple(tensor.to(device) for tensor in content["carried"])
    mixed = saved["precision"] == "bf16-mixed"
    scale = gradient_scale(device, saved["precision"], batches[0].step_tokens)

    def loss(batch: Batch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            if carried:
                return loss_and_state(task, batch, carried)[0] / batch.step_tokens
            return training_loss(task, batch, options, teacher) / batch.step_tokens

    losses = [loss(batch) for batch in batches]
    total, before = float(torch.stack([loss.detach() for loss in losses]).sum()), float(saved["loss"])
    same = total == before or (math.isnan(total) and math.isnan(before))
    print(f"step {saved['step']}: loss {total}, in the training it was {before}: {'the same' if same else 'another'}")
    for line in [*bad_parameters(task), *first_bad(task, lambda: [scale * loss(batch) for batch in batches])]:
        print(line)
    for batch in batches:
        for line in bad_rows(saved, batch, loss):
            print(line)


def read(file: Path) -> dict[str, Any]:
    """What was saved of a skipped step."""
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        known = {name: saved[name] for name in ("step", "loss", "precision", "parameters", "batches")}
        float(known["loss"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise InputError(f"--replay {file} holds no skipped step: {problem}; give a RUN/dumps/step-N.json") from problem
    return known


def bad(value: Any) -> str:
    """nan or inf if a tensor, or one inside tuples, holds such; -inf is the logarithm of a probability of 0."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return "nan" if bool(value.isnan().any()) else "inf" if bool(value.isposinf().any()) else ""
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(bad, value)), "")
    return ""


def bad_parameters(task: Task) -> Iterator[str]:
    """Parameters that are non-finite before anything is computed."""
    for name, parameter in task.named_parameters():
        if value := bad(parameter.detach()) or bad(-parameter.detach()):
            yield f"parameter {name} holds {value}: an earlier step has spoiled it"


def first_bad(task: Task, compute: Any) -> list[str]:
    """Where the first non-finite value of the forward and of the backward pass appears."""
    seen: list[str] = []
    handles = [
        module.register_forward_hook(
            lambda _, __, output, name=name: seen.append(f"{name or 'the task'} gives {value}")
            if not seen and (value := bad(output)) else None
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
            forward = (
                seen[0] if seen else "the loss itself" if bad([*losses]) or bad([-loss for loss in losses]) else ""
            )
            backward = backward_problem(task, losses)
    return [
        f"first in the forward pass: {forward or 'nothing'}",
        f"first in the backward pass: {backward or 'nothing'}",
    ]


def backward_problem(task: nn.Module, losses: Sequence[Tensor]) -> str:
    """The first operation with a non-finite gradient, or the parameters that receive one."""
    task.zero_grad()
    try:
        for loss in losses:
            torch.autograd.backward(loss)
    except RuntimeError as problem:
        return checkpoint.first_line(problem)
    gradients = {name: parameter.grad for name, parameter in task.named_parameters() if parameter.grad is not None}
    names = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    return f"the gradient of {', '.join(names[:SHOWN])}" if names else ""


def bad_rows(saved: dict[str, Any], batch: Batch, loss: Any) -> Iterator[str]:
    """The rows whose loss, computed alone, is not finite."""
    texts = {
        row: f"{source!r} -> {target!r}"
        for piece in saved["batches"]
        for row, source, target in zip(piece["rows"], piece["sources"], piece["targets"], strict=False)
    }
    for index, row in enumerate(batch.rows[:1000].tolist()):
        with torch.no_grad():
            alone = float(loss(batch.part(slice(index, index + 1))))
        if not math.isfinite(alone):
            yield f"row {row} alone has the loss {alone}: {texts.get(row, '')}".rstrip(": ")
