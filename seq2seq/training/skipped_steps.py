"""Numerics: optimiser steps whose numbers are none are skipped and kept for a look; batches too large are split.

What a skipped step has left is replayed by `python -m seq2seq.train --config RUN/config.yaml --replay RUN/dumps/STEP`.
"""

import contextlib
import gc
import json
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.runs import safe_load as archives
from seq2seq.runs.run_directory import write_text
from seq2seq.tasks.base import Task
from seq2seq.tasks.generation import Generation

if TYPE_CHECKING:
    from seq2seq.training.distillation import Teacher

log = logging.getLogger(__name__)

KEPT = 20
"""Skipped steps of a run that are written down; later ones are only counted."""

SHOWN = 20
"""Rows that a replay names."""


class StepRecord(NamedTuple):
    """All that it takes to compute an optimiser step again, and what came of it."""

    step: int
    """From 1."""
    seed: int
    rank: int
    processes: int
    task: Task
    data: DataModule
    texts: Texts | None
    """The rows of the batches, unless they are running text."""
    batches: Sequence[Batch]
    carried: Sequence[Tensor]
    """The state before the step, in running text."""
    loss: float
    gradient_norm: float


class Numerics:
    """What a training counts: skipped steps, the same on every process, and micro-batches that this one has split."""

    def __init__(self, folder: Path | None = None, limit: int = 20, precision: str = "32-true") -> None:
        """folder: where skipped steps are written down; limit: how many in a row are too many."""
        self.folder, self.limit, self.precision = folder, limit, precision
        self.skipped = self.in_a_row = self.split = 0
        self.parameters = ""
        """The file with the parameters of the steps that are skipped one after the other: they have the same."""

    def plain(self) -> dict[str, Any]:
        """What a checkpoint says of it."""
        return {"steps": self.skipped, "in_a_row": self.in_a_row, "split": self.split, "parameters": self.parameters}

    def counts(self) -> dict[str, int]:
        """What results say of it."""
        return {"steps": self.skipped, "split": self.split}

    def restore(self, plain: dict[str, Any] | None) -> None:
        """Go on counting; older checkpoints say nothing."""
        if plain is not None:
            self.skipped, self.in_a_row, self.split = plain["steps"], plain["in_a_row"], plain["split"]
            self.parameters = plain["parameters"]

    def good(self) -> None:
        """A step has been taken."""
        self.in_a_row = 0

    def skip(self, record: StepRecord) -> None:
        """Count a step that is skipped, on all processes alike, and write it down."""
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        if self.folder is None or self.skipped > KEPT:
            return
        try:
            self.dump(record)
        except (OSError, InputError) as problem:  # a full disk shall not end the training
            log.warning("step %d was skipped and could not be written down: %s", record.step, problem)

    def dump(self, record: StepRecord) -> None:
        """Write down what a step was made of; its parameters only once for steps in a row."""
        if self.folder is None:
            return
        rank, step = record.rank, record.step
        name = f"step-{step}" if rank == 0 else f"step-{step}.rank-{rank}"
        if self.in_a_row == 1:
            self.parameters = f"step-{step}.ckpt"
            if rank == 0:
                state = {f"task.{key}": value for key, value in record.task.state_dict().items()}
                packed = checkpoint.packed(record.task, record.data)
                checkpoint.write({"state_dict": state, "seq2seq": packed}, self.folder / self.parameters)
        tensors = {
            "batches": [one._asdict() for one in record.batches],
            "carried": [one.cpu() for one in record.carried],
        }
        checkpoint.write(tensors, self.folder / f"{name}.pt")
        told = {
            "format": 1,
            "step": step,
            "seed": record.seed,
            "rank": rank,
            "processes": record.processes,
            "precision": self.precision,
            "loss": str(record.loss),  # JSON has no NaN
            "gradient_norm": str(record.gradient_norm),
            "parameters": self.parameters,
            "batches": [described(record.texts, piece) for piece in record.batches],
        }
        write_text(self.folder / f"{name}.json", json.dumps(told, ensure_ascii=False, indent=1) + "\n")
        if rank == 0:
            log.warning(
                "step %d is skipped: loss %s, gradient norm %s; to see why: --replay %s",
                step, told["loss"], told["gradient_norm"], self.folder / f"{name}.json",
            )  # fmt: skip

    def refuse_many(self, step: int) -> None:
        """Raise InputError when too many steps in a row were skipped."""
        if self.in_a_row > self.limit:
            where = "" if self.folder is None else f"; see what with --replay {self.folder}/{self.parameters[:-5]}.json"
            raise InputError(
                f"the loss or its gradient is not a number at step {step}, as in the {self.limit} steps before (more "
                "than trainer.skip_limit); lower optimizer.learning_rate or trainer.gradient_clip_val, or mend the "
                f"row that does it{where}"
            )

    def halved(self, piece: Batch, device: torch.device) -> list[Batch]:
        """A micro-batch that did not fit the device in two, counted; one row cannot be divided."""
        rows, tokens = len(piece.rows), piece.source.numel() + piece.target.numel()
        if rows == 1:
            raise InputError(
                f"row {int(piece.rows[0])} alone, of {tokens} tokens, exceeds the memory of this device; lower "
                "data.max_length or model.hidden_size"
            )
        self.split += 1
        log.warning(
            "out of memory: a micro-batch of %d rows and %d tokens is split in two (%d so far); --data.device_tokens "
            "%d would avoid it", rows, tokens, self.split, tokens // 2,
        )  # fmt: skip
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return [part(piece, slice(0, rows // 2)), part(piece, slice(rows // 2, rows))]


def out_of_memory(problem: RuntimeError) -> bool:
    """Whether a device, or the processor, had too little memory."""
    return isinstance(problem, torch.OutOfMemoryError) or "can't allocate memory" in str(problem)


def part(batch: Batch, rows: slice) -> Batch:
    """Some rows of a batch, with the padding of all."""
    cut: dict[str, Any] = {name: value[rows] for name, value in batch._asdict().items() if isinstance(value, Tensor)}
    return batch._replace(**cut)


def described(texts: Texts | None, piece: Batch) -> dict[str, Any]:
    """A micro-batch as people read it."""
    rows = piece.rows.tolist()
    return {
        "rows": rows,
        "places": [] if texts is None else [texts.place(row) for row in rows],
        "sources": [] if texts is None else [texts.source[row] for row in rows],
        "targets": [] if texts is None else [texts.target[row] for row in rows],
        "source_lengths": piece.source_lengths.tolist(),
        "target_lengths": piece.target_lengths.tolist(),
        "source_ids": piece.source.tolist() if piece.source.dtype == torch.int64 else [],
        "target_ids": piece.target.tolist() if piece.target.dtype == torch.int64 else [],
    }


def replay(file: Path, teacher: "Teacher | None", device: torch.device) -> None:
    """Compute a skipped step again and print where its first number that is none appears."""
    told = read(file)
    task = checkpoint.load(file.with_name(Path(told["parameters"]).name)).train().to(device)
    if teacher is not None:
        teacher.to(device)
    content = archives.load(file.with_suffix(".pt"))
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
        lanes = batch.places.to(batch.target.device)
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
