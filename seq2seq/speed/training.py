"""Training: `seq2seq.train` as it is, the same network in a bare loop, and the network in plain torch, in turns."""

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from seq2seq.cli import command
from seq2seq.data.batching.batch import Batch
from seq2seq.experiments.one_run import begin_or_resume
from seq2seq.speed import floor, made_up
from seq2seq.speed.figures import Figures, MatrixRate, Sizes, clock, fast_bfloat16, seconds
from seq2seq.speed.plain import PlainTranslator
from seq2seq.tasks.base import Task
from seq2seq.tasks.translation import Translation
from seq2seq.training.learner import step_seed
from seq2seq.training.signals import Requests

WARM_UP = 3
"""Steps of the whole training that no window counts."""

Losses = Callable[[Batch], Tensor]
Turn = Callable[[range], None]
"""Does these optimiser steps."""


class Enough(Exception):
    """All windows are measured."""


class Prepared(NamedTuple):
    """What a bare loop needs of a configuration."""

    parts: Namespace
    task: Task
    batch: Callable[[int], Batch]
    """That of an optimiser step."""


def prepared(arguments: Sequence[str]) -> Prepared:
    """The parts of a training, as the command makes them."""
    kind = command.task_class(arguments)
    parser = command.training_parser(kind)
    parts = command.instantiate(parser, command.parse(parser, arguments))
    texts = parts.data.texts("train")
    tokenizers = parts.data.train_tokenizers(texts)
    torch.manual_seed(parts.seed)
    task = kind(tokenizers, **vars(parts.model))
    split = parts.data.encode(texts, tokenizers, "train", task.row_format)
    plan = parts.data.plan(split, parts.seed)

    def batch(step: int) -> Batch:
        rows = plan.rows(step)
        lengths = split.target_lengths(rows)
        made = split.batch(rows, step_tokens=task.row_format.loss_denominator(lengths))
        found: Batch = made._replace(seed=step_seed(parts.seed, step))
        return found

    return Prepared(parts, task, batch)


class Loop:
    """A loop in plain torch around any network: no Lightning, no callbacks."""

    def __init__(self, network: nn.Module, losses: Losses, rate: float, mixed: bool) -> None:
        self.network, self.losses, self.mixed = network.train(), losses, mixed
        self.optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.0, fused=True)
        self.phases: dict[str, float] = {}

    def step(self, batch: Batch, tokens: int) -> None:
        """One optimiser step; each phase adds to its seconds."""
        with self.phase("forward and loss"):
            self.optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=self.mixed):
                loss = self.losses(batch) / tokens
        with self.phase("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with self.phase("clipping"):
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        with self.phase("optimiser"):
            self.optimizer.step()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens inside takes time of this phase."""
        started = clock()
        yield
        self.phases[name] = self.phases.get(name, 0.0) + clock() - started


class TurnTaking:
    """Called after each step of the real training: at the end of a window the others have their turn."""

    def __init__(
        self, others: Mapping[str, Callable[[range], None]], rate: MatrixRate, steps: int, rounds: int
    ) -> None:
        self.others, self.rate, self.steps, self.rounds = others, rate, steps, rounds
        self.seconds: dict[str, list[float]] = {name: [] for name in ("real", *others)}
        self.rates: list[float] = []
        self.ranges: list[range] = []
        self._step, self._inside, self._started = 0, False, 0.0

    def __call__(self, *_: Any) -> None:
        """An optimiser has made a step; only that of the training counts."""
        if self._inside:
            return
        self._step += 1
        done = self._step - WARM_UP
        if done > 0 and done % self.steps == 0:
            self.seconds["real"].append(clock() - self._started)
            self.others_turn(range(self._step - self.steps, self._step))
        if done >= 0 and done % self.steps == 0:
            self._started = clock()

    def others_turn(self, steps: range) -> None:
        """The same steps by everything else."""
        self._inside = True
        self.ranges.append(steps)
        self.rates.append(self.rate())
        for name, work in self.others.items():
            if len(self.ranges) == 1:
                work(range(steps.start, steps.start + 1))  # warm
            self.seconds[name].append(seconds(lambda work=work: work(steps)))  # type: ignore[misc]
        self._inside = False
        if len(self.ranges) == self.rounds:
            raise Enough


def settings(folder: Path, sizes: Sizes, attention: str | None, precision: str) -> list[str]:
    """The arguments of a training on made-up pairs, with the sizes that every peer can be given."""
    corpus = {"class_path": "Parallel", "init_args": {"source": "en", "target": "de"}}
    configuration = {
        "task": "Translation",
        "data": {"path": str(folder), "cache": str(folder / "cache"), "corpus": corpus, "tokenizer": "Words",
                 "batch_tokens": sizes.batch_tokens},
        "model": {"cell": "LSTM", "embedding_size": sizes.embedding, "hidden_size": sizes.hidden, "bridge": "Copy",
                  "attention": attention, "dropout": 0.2},
        "optimizer": {"learning_rate": 0.001, "schedule": "Constant"},
        "trainer": {"accelerator": "cpu", "precision": precision, "max_steps": 100_000,
                    "val_check_interval": 1_000_000, "gradient_clip_val": 1.0},
    }  # fmt: skip
    file = folder / "training.yaml"
    file.write_text(json.dumps(configuration), encoding="utf-8")
    return ["--config", str(file), "--run", str(folder / "run"), "--overwrite", "true"]


def real(arguments: Sequence[str], windows: TurnTaking) -> None:
    """The training command, which ends when all windows are measured; what it prints is of no interest."""
    handle = register_optimizer_step_post_hook(windows)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            begin_or_resume(arguments, time.monotonic(), Requests())
    except Enough:
        pass
    finally:
        handle.remove()


def training(sizes: Sizes, found: Figures) -> None:
    """Attention and none, in 32 bits and in bfloat16."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_up.write_pairs(folder, sizes.words, sizes.rows)
        for precision in ("32-true", "bf16-mixed"):
            if precision == "bf16-mixed" and not fast_bfloat16():
                found.say("this processor does not compute in bfloat16")
                continue
            for attention in ("General", None):
                measure(settings(folder, sizes, attention, precision), sizes, found)


def measure(arguments: Sequence[str], sizes: Sizes, found: Figures) -> None:
    """One training and what it is compared with."""
    made = prepared(arguments)
    attention, mixed = made.parts.model.attention is not None, made.parts.trainer.precision == "bf16-mixed"
    assert isinstance(made.task, Translation)
    words, rate = made.task.tokenizers.target.sizes[0], made.parts.optimizer.learning_rate
    plain = PlainTranslator(words, sizes.embedding, sizes.hidden, attention, 0.2)
    loops = {"loop": Loop(made.task, made.task.loss, rate, mixed), "plain": Loop(plain, plain.loss, rate, mixed)}
    loading = [0.0]

    def turn(loop: Loop, steps: range) -> None:
        for step in steps:
            started = clock()
            batch = made.batch(step)
            loading[0] += clock() - started
            loop.step(batch, batch.step_tokens)

    others = {name: (lambda steps, loop=loop: turn(loop, steps)) for name, loop in loops.items()}
    dtype = torch.bfloat16 if mixed else torch.float32
    windows = TurnTaking(others, MatrixRate(dtype), sizes.steps, sizes.rounds)
    real(arguments, windows)
    tell(made, windows, loops["loop"], loading[0] / 2, f"{'bf16' if mixed else 'fp32'}, "
         f"{'attention' if attention else 'no attention'}", found)  # fmt: skip


def tell(made: Prepared, windows: TurnTaking, loop: Loop, loading: float, name: str, found: Figures) -> None:
    """The figures of one training."""
    taken, steps = windows.seconds, [[made.batch(step) for step in each] for each in windows.ranges]
    assert isinstance(made.task, Translation)
    tokens = [sum(batch.step_tokens for batch in each) for each in steps]
    least = [sum(floor.training(made.task, batch) for batch in each) / rate
             for each, rate in zip(steps, windows.rates, strict=True)]  # fmt: skip
    rates = [count / time for count, time in zip(tokens, taken["real"], strict=True)]
    outside = [1 - loop / whole for loop, whole in zip(taken["loop"], taken["real"], strict=True)]
    found.add(f"{name}, target tokens a second", rates, "tokens/s")
    found.ratio(f"{name}, over the floor", least, taken["real"])
    found.ratio(f"{name}, over plain torch", taken["plain"], taken["real"])
    found.add(f"{name}, share of Lightning and callbacks", outside, "")
    total = sum(loop.phases.values()) + loading
    for phase, spent in {"batches": loading, **loop.phases}.items():
        found.add(f"{name}, share of {phase}", [spent / total], "")
