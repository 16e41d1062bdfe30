"""What the tests share: folders, tiny corpora, batches, small networks, predictions, runs and commands."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pytest
import torch

from seq2seq import train
from seq2seq.configurable import build
from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.batching.split import Split, fitting
from seq2seq.data.datamodule import DataModule
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.errors import Interrupted
from seq2seq.metrics.base import Prediction
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task
from seq2seq.training.learner import Learner

AnyTask = TypeVar("AnyTask", bound=Task)
AnyTokenizer = TypeVar("AnyTokenizer", bound=Tokenizer)
Rows = Sequence[tuple[str, str]]
"""Source and target of each row."""

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
PAIRS = [
    ("the cat sat", "die Katze saß"),
    ("a dog runs fast", "ein Hund rennt schnell"),
    ("two men in a red car", "zwei Männer in einem roten Auto"),
    ("a woman reads", "eine Frau liest"),
    ("children play", "Kinder spielen"),
    ("the man drinks water", "der Mann trinkt Wasser"),
    ("a bird", "ein Vogel"),
    ("three girls sing a song", "drei Mädchen singen ein Lied"),
] * 2
TEXTS = [text for pair in PAIRS for text in pair]
SENTENCES = [
    ("the\tcat\tsat", "DET\tNOUN\tVERB"),
    ("a\tdog\truns\tfast", "DET\tNOUN\tVERB\tADV"),
    ("Anna\tsings", "PROPN\tVERB"),
    ("two\tmen\tin\ta\tred\tcar", "NUM\tNOUN\tADP\tDET\tADJ\tNOUN"),
    ("stop", "VERB"),
    ("the\tred\tdog\tsat\tin\tthe\tcar", "DET\tADJ\tNOUN\tVERB\tADP\tDET\tNOUN"),
] * 2
SPANS = [
    ("Anna\tSmith\tlives\tin\tNew\tYork", "B-person\tI-person\tO\tO\tB-place\tI-place"),
    ("he\tmet\tBob", "O\tO\tB-person"),
    ("Paris\tis\tbig", "B-place\tO\tO"),
    ("no\tnames\there", "O\tO\tO"),
] * 3
REVERSAL = """
data:
  corpus: {class_path: Reversal, init_args: {length: 6, shortest: 3, symbols: 5, train: 200, validation: 20, test: 20}}
  tokenizer: Words
  batch_tokens: 400
model: {cell: GRU, embedding_size: 8, hidden_size: 16, attention: Dot, dropout: 0.1, metrics: [Chrf]}
optimizer: {learning_rate: 0.02}
trainer: {max_steps: 12, accelerator: cpu, log_every_n_steps: 1, val_check_interval: 5}
"""
"""A training of two seconds."""


# --- data ------------------------------------------------------------------------------------------------------------


def trained(tokenizer: AnyTokenizer, texts: Iterable[str] = TEXTS) -> AnyTokenizer:
    """The tokenizer, after it has learnt from the texts."""
    tokenizer.train(iter(texts))
    return tokenizer


def reborn(tokenizer: AnyTokenizer) -> AnyTokenizer:
    """The same tokenizer from what a checkpoint holds."""
    fresh = build(Tokenizer, json.loads(json.dumps(tokenizer.specification())))
    fresh.restore(tokenizer.state)
    return cast(AnyTokenizer, fresh)


def damage(state: bytes) -> Iterator[bytes]:
    """States that no tokenizer can load."""
    yield from (b"", b"no model at all", b"\xff\xfe", b"null", b"[1]", b"[]", b'["a", "a"]', b"[" * 100_000)
    yield state[: len(state) // 2]


def key(number: int) -> np.random.Generator:
    """Random numbers of their own."""
    return np.random.Generator(np.random.Philox(key=number))


def learnt(rows: Rows, source: Tokenizer, target: Tokenizer) -> Tokenizers:
    """Both tokenizers, each after its side of the rows."""
    return Tokenizers(
        *(trained(one, side) for one, side in zip((source, target), zip(*rows, strict=True), strict=True))
    )


def split_of(rows: Rows, tokenizers: Tokenizers, row_format: RowFormat | None = None, longest: int = 512) -> Split:
    """The rows as a split; a translation's without a row format."""
    texts = Texts(*map(list, zip(*rows, strict=True)))
    source, target = (Ragged.of(one.encode(side)) for one, side in zip(tokenizers, texts[:2], strict=True))
    return Split(texts, source, target, longest, fitting(row_format, tokenizers))


def batch_of(rows: Rows, tokenizers: Tokenizers, row_format: RowFormat | None = None) -> Batch:
    """The rows as one batch."""
    return split_of(rows, tokenizers, row_format).batch(np.arange(len(rows)))


def rows_of(texts: Iterable[str], references: Iterable[str], sources: Iterable[str] | None = None) -> list[Prediction]:
    """Predictions of these texts, as a metric gets them."""
    pairs = list(zip(texts, references, strict=True))
    triples = zip(sources or [""] * len(pairs), pairs, strict=True)
    return [Prediction(row, source, truth, text, 0.0, []) for row, (source, (text, truth)) in enumerate(triples)]


# --- networks --------------------------------------------------------------------------------------------------------


def small(kind: Callable[..., AnyTask], tokenizers: Tokenizers, **settings: Any) -> AnyTask:
    """A task's network of a few units, without dropout."""
    return kind(tokenizers, **{"embedding_size": 12, "hidden_size": 16, "dropout": 0.0, **settings})


def fitted(task: AnyTask, batch: Batch, steps: int = 80) -> AnyTask:
    """The task after `steps` optimiser steps on one batch."""
    optimizer = torch.optim.Adam(task.parameters(), 0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        (task.loss(batch) / len(batch.rows)).backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
    return task.eval()


def saved(task: Task, path: Path) -> Path:
    """A checkpoint of a task that was never trained."""
    states = {f"task.{name}": value for name, value in task.state_dict().items()}
    checkpoint.write({"seq2seq": checkpoint.packed(task, DataModule()), "state_dict": states}, path)
    return path


# --- runs and commands -----------------------------------------------------------------------------------------------


def surroundings(**more: str) -> dict[str, str]:
    """The environment of a command that is a launch of its own."""
    return {name: value for name, value in os.environ.items() if name != "SEQ2SEQ_LAUNCH"} | more


def python(*arguments: str | Path, **more: Any) -> "subprocess.CompletedProcess[Any]":
    """Run Python with these arguments; the output is text unless `text` says otherwise."""
    options: dict[str, Any] = {"capture_output": True, "text": True, "env": surroundings(), "timeout": 300}
    return subprocess.run([sys.executable, *map(str, arguments)], **options | more)


def module(name: str, *arguments: str, **more: Any) -> "subprocess.CompletedProcess[Any]":
    """Run a command of the package; its input and output are bytes."""
    return python("-m", f"seq2seq.{name}", *arguments, text=False, **more)


def train_until(stop: int, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Train and press Ctrl-C before an optimiser step."""
    step = Learner.training_step

    def stopping(self: Learner, batch: Any, index: int) -> Any:
        if self.global_step == stop:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="--resume true"):
        patch.setattr(Learner, "training_step", stopping)
        train.main(arguments)


def results_of(run: RunDirectory) -> dict[str, Any]:
    """What results.json holds."""
    content: dict[str, Any] = json.loads(run.results.read_text())
    return content


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """The parameters that a checkpoint holds."""
    content: dict[str, torch.Tensor] = checkpoint.read(path)["state_dict"]
    return content


def assert_same_weights(one: Path, other: Path) -> None:
    """Of two checkpoints, to the bit."""
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)
