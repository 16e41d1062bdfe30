"""Tasks of shipped configurations, made small, on the CPU and on the pretended device."""

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq.cli import command
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Split
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.tasks.base import Task
from tests.cuda.device import CUDA
from tests.support import ROOT

CPU = torch.device("cpu")
ROWS = 6

ROWS_OF = {"train": 120, "validation": 20, "test": 20}

FEW: dict[str, dict[str, int]] = {
    "classification_cldr": ROWS_OF,
    "forecasting_sunspots": {},
    "generation_cldr": ROWS_OF,
    "generation_melodies": ROWS_OF,
    "generation_text": {},
    "summarization_cldr": ROWS_OF,
    "tagging_cldr": ROWS_OF,
    "transcription_tones": ROWS_OF,
    "translation_cldr": ROWS_OF,
}
"""Settings of the corpus that make a shipped configuration small; it needs no file but that of generation_text."""

STEPS = ("--trainer.max_steps", "3", "--trainer.log_every_n_steps", "1", "--decoding.max_length", "6")
SMALL = ("--model.hidden_size", "8", "--model.embedding_size", "6")


def arguments(name: str, *options: str) -> list[str]:
    """Of the training command, for a shipped configuration with a small network and few rows."""
    few = FEW.get(name, ROWS_OF)
    rows = [part for key, value in few.items() for part in (f"--data.corpus.init_args.{key}", str(value))]
    if name not in FEW:  # a paper's network, on other data
        rows = ["--data.corpus", "Cldr", *rows, "--data.tokenizer", "Words"]
    return ["--config", str(ROOT / "configs" / f"{name}.yaml"), *rows, *SMALL, *options]


class Corpus(NamedTuple):
    """What is known before there is a network."""

    tokenizers: Tokenizers
    split: Split


@cache
def corpus(kind: type[Task], given: tuple[str, ...]) -> Corpus:
    """Vocabularies and training rows for settings of the data."""
    data = command.training_parser(kind).instantiate(command.parse(command.training_parser(kind), given)).data
    texts = data.texts("train")
    tokenizers = data.train_tokenizers(texts)
    return Corpus(tokenizers, data.encode(texts, tokenizers, "train", kind.row_format))


def task_of(name: str, *options: str) -> tuple[Task, Split]:
    """The task of a configuration with fresh parameters, on the CPU, and its training rows."""
    given = arguments(name, *options)
    kind = command.task_class(given)
    parser = command.training_parser(kind)
    parts = parser.instantiate(command.parse(parser, given))
    own = [pair for pair in zip(given[::2], given[1::2], strict=True) if pair[0].startswith(("--config", "--data"))]
    tokenizers, split = corpus(kind, tuple(part for pair in own for part in pair))
    torch.manual_seed(1)
    task = kind(tokenizers, **vars(parts.model))
    task.decoding = parts.decoding
    task.initialise()
    return task, Split(split.texts, split.source, split.target, split.longest, task.row_format)


def batch_of(split: Split, rows: int = ROWS) -> Batch:
    """The first rows, as in a step."""
    return split.batch(np.arange(rows), None, 10)._replace(seed=3, step=5)


class Step(NamedTuple):
    """What a training step computes."""

    loss: float
    gradients: dict[str, Tensor]


def step(task: Task, batch: Batch, precision: torch.dtype | None = None) -> Step:
    """Loss and gradients, on the CPU."""
    device = next(task.parameters()).device
    task.train().zero_grad()
    mixed = torch.autocast(device.type, precision) if precision else contextlib.nullcontext()
    with mixed:
        loss = task.loss(batch.to(device))
    torch.autograd.backward(loss)
    named = task.named_parameters()
    return Step(float(loss.detach()), {name: one.grad.cpu() for name, one in named if one.grad is not None})


def predicted(task: Task, batch: Batch, **decoding: Any) -> list[list[tuple[list[Any], float]]]:
    """Tokens and scores of all hypotheses."""
    device = next(task.parameters()).device
    rows = task.eval().predict(batch.to(device), replace(task.decoding, **{"max_length": 5, **decoding}))
    return [[(list(one.tokens), one.score) for one in row] for row in rows]


def both(task: Task) -> Sequence[Task]:
    """The task on the CPU and a copy on the device."""
    return task, copy.deepcopy(task).to(CUDA)


def assert_same_step(task: Task, batch: Batch) -> None:
    """Loss and gradients in 32 bits are the CPU's."""
    ours, theirs = (step(one, batch) for one in both(task))
    assert ours.loss == theirs.loss or abs(ours.loss - theirs.loss) < 1e-6 * abs(ours.loss)
    assert ours.gradients.keys() == theirs.gradients.keys()
    for name, gradient in ours.gradients.items():
        # Libraries add up products in other orders, which a normalisation of a few units makes larger.
        least = max(1e-6, 3e-5 * float(gradient.abs().max()))
        torch.testing.assert_close(theirs.gradients[name], gradient, rtol=1e-4, atol=least, msg=name)


def assert_close_step(task: Task, batch: Batch, precision: torch.dtype) -> None:
    """In half precision the loss is that of 32 bits within 2 %, and every gradient is finite."""
    mine, other = both(task)
    ours, theirs = step(mine, batch), step(other, batch, precision)
    assert abs(ours.loss - theirs.loss) < 0.02 * abs(ours.loss)
    assert all(bool(one.isfinite().all()) for one in theirs.gradients.values())


def assert_same_predictions(task: Task, batch: Batch, **decoding: Any) -> None:
    """The hypotheses are the CPU's."""
    ours, theirs = (predicted(one, batch, **decoding) for one in both(task))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert [tokens for tokens, _ in mine] == [tokens for tokens, _ in other]
        for (_, score), (_, same) in zip(mine, other, strict=True):
            assert abs(score - same) < 1e-4 * max(1.0, abs(score))
