"""What is counted: training steps, decoding steps, batches and diagnoses of tasks like those of the documentation."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from seq2seq import train
from seq2seq.analysis.gradient_flow import memory_over_time
from seq2seq.errors import Interrupted
from seq2seq.tasks.translation import Translation
from seq2seq.training.learner import Learner
from tests.cuda.counts import Counts, counting, during
from tests.cuda.device import CUDA
from tests.cuda.networks import arguments, batch_of, task_of

BF16 = ("--trainer.precision", "bf16-mixed")
LENGTH = 40
"""Tokens of each prediction whose decoding is counted."""


class Workload(NamedTuple):
    """A task and what differs from its shipped configuration."""

    name: str
    options: tuple[str, ...] = ()


MULTI30K = Workload(
    "translation_cldr",
    (
        *("--model.cell", "LSTM", "--model.attention", "Dot", "--model.decoder.tied_output", "true", *BF16),
        *("--model.dropout", "0.3", "--model.label_smoothing", "0.1"),
    ),
)
LUONG = Workload(
    "translation_cldr",
    (
        *("--model.cell", "LSTM", "--model.layers", "4", "--model.encoder.bidirectional", "false"),
        *("--model.encoder.reverse", "true", "--model.attention", "LocalP", "--model.attention.score", "general"),
        *("--model.decoder.input_feeding", "true", "--model.dropout", "0.2"),
    ),
)
RNMT = Workload(
    "translation_cldr",
    (
        *(
            "--model.cell",
            "LayerNormLSTM",
            "--model.layers",
            "6",
            "--model.bridge",
            "Zeros",
            "--model.residual_from",
            "3",
        ),
        *("--model.attention", "MultiHeadAdditive", "--model.decoder.layers", "8", "--model.decoder.readout", "none"),
        *("--model.decoder.attend_from", "bottom", "--model.dropout", "0.3", "--model.label_smoothing", "0.1"),
    ),
)
WORKLOADS = {
    "like multi30k, bf16": MULTI30K,
    "translation_cldr": Workload("translation_cldr"),
    "input feeding, four layers, LocalP": LUONG,
    "LayerNormLSTM, 6 + 8 layers": RNMT,
    "MinGRU": Workload("translation_cldr", ("--model.cell", "MinGRU")),
    "coverage": Workload("translation_cldr", ("--model.attention", "Additive", "--model.attention.coverage", "true", "--model.coverage_loss", "1")),
    "classification_cldr": Workload("classification_cldr"),
    "tagging_cldr": Workload("tagging_cldr"),
    "tagging_cldr, Crf": Workload("tagging_cldr", ("--model.tagger", "Crf")),
    "tagging_cldr, AutoregressiveTagger": Workload("tagging_cldr", ("--model.tagger", "AutoregressiveTagger")),
    "generation_cldr": Workload("generation_cldr"),
    "forecasting_sunspots": Workload("forecasting_sunspots"),
    "Adafactor": Workload("classification_cldr", ("--optimizer.algorithm", "Adafactor")),
}  # fmt: skip


def training(workload: Workload, folder: Path, steps: int = 3) -> Counts:
    """The counts of some optimiser steps, after one that is not counted."""
    method, number = Learner.training_step, 0

    def stopping(self: Learner, batch: Any, index: int) -> Any:
        nonlocal number
        number += 1
        if number == 2:
            counts.__init__()  # type: ignore[misc]
            counts.calls = 1
        if number == steps + 2:
            counts.calls -= 1
            raise KeyboardInterrupt
        return method(self, batch, index)

    endless = ("--trainer.max_steps", "1000", "--trainer.max_epochs", "1000", "--trainer.val_check_interval", "1000")
    given = arguments(workload.name, *workload.options, *endless, "--trainer.accelerator", "cuda")
    stopped = contextlib.suppress(Interrupted)
    with mock.patch.object(Learner, "training_step", stopping), during(Learner, "training_step") as counts, stopped:
        train.main([*given, "--run", str(folder), "--overwrite", "true"])
    return counts


def decoding(workload: Workload, **settings: Any) -> Counts:
    """The counts of a batch whose predictions all have LENGTH tokens, after one that is not counted."""
    task, split = task_of(workload.name, *without_trainer(workload.options))
    task.to(CUDA).eval()
    batch = batch_of(split).to(CUDA)
    chosen = replace(task.decoding, temperature=None, min_length=LENGTH, max_length=LENGTH)
    if settings.get("temperature") is None and not task.searches:
        chosen = replace(chosen, beam_size=1)
    chosen = replace(chosen, **settings)
    precision = contextlib.nullcontext() if "bf16-mixed" not in workload.options else autocast()
    with precision:
        task.predict(batch, chosen)
        with counting() as counts:
            task.predict(batch, chosen)
    return counts


def autocast() -> Any:
    """As trainer.precision bf16-mixed."""
    import torch

    return torch.autocast("cuda", torch.bfloat16)


def without_trainer(options: Sequence[str]) -> list[str]:
    """The options that a task knows."""
    pairs = zip(options[::2], options[1::2], strict=True)
    return [part for pair in pairs if not pair[0].startswith("--trainer") for part in pair]


def diagnosis(workload: Workload, rows: int = 32) -> Counts:
    """The counts of a look at the encoder's memory."""
    task, split = task_of(workload.name, *without_trainer(workload.options))
    if not isinstance(task, Translation):
        raise TypeError(f"{workload.name} has no encoder whose memory is looked at")
    task.to(CUDA)
    batch = batch_of(split, rows).to(CUDA)
    with counting() as counts:
        memory_over_time(task, batch)
    return counts
