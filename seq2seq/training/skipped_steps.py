"""Skip optimiser steps with a non-finite loss or gradient, and save them for replay; split batches that do not fit.

A saved step is replayed by `python -m seq2seq.train --config RUN/config.yaml --replay RUN/dumps/STEP`.
"""

import gc
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seq2seq.atomic_files import write_text
from seq2seq.data.batching.batch import Batch
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task

log = logging.getLogger(__name__)

SAVED = 20
"""Skipped steps of a run that are saved; later ones are only counted."""


class StepRecord(NamedTuple):
    """All that it takes to compute an optimiser step again, and its result."""

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
    """Of running text the states before the step."""
    loss: float
    gradient_norm: float


class SkippedSteps:
    """Counts skipped steps, the same on every process, and micro-batches that this process has split."""

    def __init__(self, folder: Path | None = None, limit: int = 20, precision: str = "32-true") -> None:
        """folder: where skipped steps are saved; limit: the most in a row."""
        self.folder, self.limit, self.precision = folder, limit, precision
        self.skipped = self.in_a_row = self.newest = self.split = 0
        self.parameters = ""
        """The file with the parameters of the steps that are skipped one after the other: they have the same."""

    def stored(self) -> dict[str, Any]:
        """What a checkpoint stores."""
        counts = {"steps": self.skipped, "in_a_row": self.in_a_row, "newest": self.newest, "split": self.split}
        return counts | {"parameters": self.parameters}

    def counts(self) -> dict[str, int]:
        """What results.json shows."""
        return {"steps": self.skipped, "split": self.split}

    def restore(self, stored: dict[str, Any] | None) -> None:
        """Resume counting; a checkpoint made before 0.1.0 has no counts."""
        if stored is not None:
            self.skipped, self.in_a_row, self.split = stored["steps"], stored["in_a_row"], stored["split"]
            self.newest, self.parameters = stored.get("newest", 0), stored["parameters"]

    def skip(self, record: StepRecord) -> None:
        """Count a skipped step, on all processes alike, and save it; raise InputError after too many in a row."""
        self.in_a_row = self.in_a_row + 1 if record.step == self.newest + 1 else 1
        self.skipped, self.newest = self.skipped + 1, record.step
        if self.folder is not None and self.skipped <= SAVED:
            try:
                self.save(record, self.folder)
            except (OSError, InputError) as problem:  # a full disk shall not end the training
                log.warning("step %d was skipped and could not be saved: %s", record.step, problem)
        if self.in_a_row > self.limit:
            replay = (
                "" if self.folder is None else f"; for its cause: --replay {self.folder}/{self.parameters[:-5]}.json"
            )
            raise InputError(
                f"the loss or its gradient is not finite at step {record.step}, as in the {self.limit} steps before "
                "(trainer.skip_limit); lower optimizer.learning_rate or trainer.gradient_clip_val, or fix the row "
                f"that causes it{replay}"
            )

    def save(self, record: StepRecord, folder: Path) -> None:
        """Write what a step was made of; its parameters only once for steps in a row."""
        rank, step = record.rank, record.step
        name = f"step-{step}" if rank == 0 else f"step-{step}.rank-{rank}"
        if self.in_a_row == 1:
            self.parameters = f"step-{step}.ckpt"
            if rank == 0:
                state = {f"task.{key}": value for key, value in record.task.state_dict().items()}
                packed = checkpoint.packed(record.task, record.data)
                checkpoint.write({"state_dict": state, "seq2seq": packed}, folder / self.parameters)
        tensors = {
            "batches": [batch._asdict() for batch in record.batches],
            "carried": [tensor.cpu() for tensor in record.carried],
        }
        checkpoint.write(tensors, folder / f"{name}.pt")
        description = {
            "format": 1,
            "step": step,
            "seed": record.seed,
            "rank": rank,
            "processes": record.processes,
            "precision": self.precision,
            "loss": str(record.loss),  # JSON has no NaN
            "gradient_norm": str(record.gradient_norm),
            "parameters": self.parameters,
            "batches": [described(record.texts, batch) for batch in record.batches],
        }
        write_text(folder / f"{name}.json", json.dumps(description, ensure_ascii=False, indent=1) + "\n")
        if rank == 0:
            log.warning(
                "step %d is skipped: loss %s, gradient norm %s; for its cause: --replay %s",
                step, description["loss"], description["gradient_norm"], folder / f"{name}.json",
            )  # fmt: skip

    def halved(self, piece: Batch, device: torch.device) -> list[Batch]:
        """The halves of a micro-batch that did not fit the device; a single row has none."""
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
        return [piece.part(slice(0, rows // 2)), piece.part(slice(rows // 2, rows))]


def described(texts: Texts | None, piece: Batch) -> dict[str, Any]:
    """A micro-batch as people read it."""
    rows = piece.rows.tolist()
    return {
        "rows": rows,
        "places": [] if texts is None else [texts.location(row) for row in rows],
        "sources": [] if texts is None else [texts.source[row] for row in rows],
        "targets": [] if texts is None else [texts.target[row] for row in rows],
        "source_lengths": piece.source_lengths.tolist(),
        "target_lengths": piece.target_lengths.tolist(),
        "source_ids": piece.source.tolist() if piece.source.dtype == torch.int64 else [],
        "target_ids": piece.target.tolist() if piece.target.dtype == torch.int64 else [],
    }
