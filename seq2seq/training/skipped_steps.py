"""Numerics: optimiser steps whose numbers are none are skipped and kept for a look; batches too large are split.

What a skipped step has left is replayed by `python -m seq2seq.train --config RUN/config.yaml --replay RUN/dumps/STEP`.
"""

import gc
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from seq2seq.atomic_files import write_text
from seq2seq.data.batching.batch import Batch
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task

if TYPE_CHECKING:
    pass
from seq2seq.data.batching.batch import part

log = logging.getLogger(__name__)

KEPT = 20
"""Skipped steps of a run that are written down; later ones are only counted."""


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
