"""Small networks of every task on a few rows that need no file, and their losses and gradients in each precision."""

import contextlib
import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Split, fitting
from seq2seq.data.corpora.builtin.cldr_tasks import Cldr, Fields, Languages, Phrases
from seq2seq.data.corpora.builtin.tones import Tones
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.transcription import Transcription
from seq2seq.tasks.translation import Translation

ROWS = 4
"""Rows of a batch."""

LEARNT = 40
"""Rows from which vocabularies are learned."""

PRECISIONS = ("32 bits", "TF32", "bf16")


class SmallTask(NamedTuple):
    """A task, its vocabularies and a batch."""

    kind: type[Task]
    tokenizers: Tokenizers
    batch: Batch


@cache
def examples() -> dict[str, SmallTask]:
    """Every task with rows of its own."""
    sizes: dict[str, Any] = {"train": LEARNT, "validation": 1, "test": 1}
    tags = Labels(separator="\t")
    waves = [[f"{math.sin(0.5 * (row + step)):.3f}" for step in range(16)] for row in range(LEARNT)]
    series = [("\t".join(wave[:12]), "\t".join(wave[12:])) for wave in waves]
    return {
        "Translation": example(Translation, drawn(Cldr(**sizes)), Words(), Words()),
        "Tagging": example(Tagging, drawn(Fields(**sizes)), Spelled(), tags),
        "Classification": example(Classification, drawn(Languages(**sizes)), Characters(), Labels()),
        "Generation": example(Generation, drawn(Phrases(**sizes)), Labels(), Characters()),
        "Transcription": example(Transcription, drawn(Tones(**sizes)), Vectors(), Words()),
        "Forecasting": example(Forecasting, series, Vectors(), Vectors()),
    }


def drawn(corpus: Any) -> list[tuple[str, str]]:
    """Some training rows of a corpus."""
    return [(row.source, row.target) for row in islice(corpus.rows("train", None), LEARNT)]


def example(kind: type[Task], rows: Sequence[tuple[str, str]], source: Tokenizer, target: Tokenizer) -> SmallTask:
    """A task with the first of these rows."""
    texts = Texts([row[0] for row in rows], [row[1] for row in rows])
    tokenizers = Tokenizers(source, target)
    for tokenizer, side in zip(tokenizers, texts[:2], strict=True):
        tokenizer.train(iter(side))
    ids = [Ragged.of(tokenizer.encode(side)) for tokenizer, side in zip(tokenizers, texts[:2], strict=True)]
    split = Split(texts, ids[0], ids[1], 512, fitting(kind.row_format, tokenizers))
    return SmallTask(kind, tokenizers, split.batch(np.arange(ROWS), None, 10)._replace(seed=3, step=5))


def network(name: str, **settings: Any) -> Task:
    """A small network of a task on the CPU, its parameters always the same."""
    kind, tokenizers, _ = examples()[name]
    torch.manual_seed(1)
    return kind(tokenizers, **{"embedding_size": 8, "hidden_size": 16, "dropout": 0.1, **settings})


@contextlib.contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Inside, products and recurrent layers of a GPU in 32 bits are strict, or may round to TF32."""
    name = "tf32" if precision == "TF32" else "ieee"
    owners: list[Any] = [torch.backends.cuda.matmul, getattr(torch.backends.cudnn, "rnn", None)]
    if not all(hasattr(owner, "fp32_precision") for owner in owners):  # torch before 2.9
        owners, name = [torch.backends.cuda.matmul, torch.backends.cudnn], precision == "TF32"  # type: ignore[assignment]
    setting = "fp32_precision" if isinstance(name, str) else "allow_tf32"
    before = [getattr(owner, setting) for owner in owners]
    for owner in owners:
        setattr(owner, setting, name)
    try:
        yield
    finally:
        for owner, value in zip(owners, before, strict=True):
            setattr(owner, setting, value)


class Computed(NamedTuple):
    """What a training step computes, on the CPU."""

    loss: float
    gradient: Tensor


def computed(task: Task, batch: Batch, device: torch.device, precision: str = "32 bits") -> Computed:
    """Loss and gradient of a copy of a task on a device."""
    task = copy.deepcopy(task).to(device).train()
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with arithmetic(precision):
        with mixed:
            loss = task.loss(batch.to(device))
        torch.autograd.backward(loss)
    gradients = [one.grad.flatten().cpu() for one in task.parameters() if one.grad is not None]
    return Computed(float(loss.detach()), torch.cat(gradients))


def predicted(task: Task, batch: Batch, device: torch.device, beam_size: int) -> list[Hypothesis]:
    """The best hypothesis of each row, in strict 32 bits."""
    task = copy.deepcopy(task).to(device).eval()
    decoding = replace(task.decoding, beam_size=beam_size if task.searches else 1, max_length=12)
    with arithmetic("32 bits"):
        return [best[0] for best in task.predict(batch.to(device), decoding)]
