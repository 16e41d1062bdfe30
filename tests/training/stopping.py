"""Ends a training at a chosen place, and compares what it leaves with an uninterrupted one.

As a script: `SEQ2SEQ_STOP="PLACE STEP SIGNAL RANK" python tests/training/stopping.py ARGUMENTS` trains and sends itself the
signal, or raises an error for RAISE, sleeps for SLEEP, for a while for PAUSE, finds its time used up for TIME; PLACE is
before (a step), within (one, between its micro-batches), save, validation or test.
"""

import csv
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from seq2seq import train
from seq2seq.cli import command
from seq2seq.runs import checkpoint
from seq2seq.training import step_boundaries
from seq2seq.training.learner import Learner
from seq2seq.training.step_boundaries import StepBoundary

SCRIPT = Path(__file__)
STOPPING = """
patience: 5
data:
  corpus: {class_path: Cldr, init_args: {train: 150, validation: 16, test: 16}}
  tokenizer: {class_path: SentencePiece, init_args: {vocabulary_size: 120, sampling: 0.5}}
  batch_tokens: 600
  device_tokens: 250
model:
  cell: GRU
  embedding_size: 12
  hidden_size: 16
  attention: Dot
  dropout: 0.2
  scheduled_sampling: {class_path: ScheduledSampling, init_args: {decay_steps: 10}}
optimizer: {learning_rate: 0.00002, schedule: Cosine, warmup_steps: 3, ema_decay: 0.9, average: 2}
decoding: {beam_size: 2, rows: 2}
trainer: {max_epochs: 2, accelerator: cpu, log_every_n_steps: 1, val_check_interval: 6}
"""
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]


TIMES = {"seconds", "tokens_per_second"}
OF_A_LAUNCH = {"seconds", "timing", "resumed", "environment", "name"}
"""What results.json says about one launch, not about the experiment."""


def strike(place: str, step: int, number: int | str, rank: int) -> Callable[[Any, str], None]:
    """Called at every place: sends the signal at the right one, once."""
    left = [1]

    def here(learner: Learner, where: str) -> None:
        trainer = learner.trainer
        if left and (where, trainer.global_step, trainer.global_rank) == (place, step, rank):
            left.clear()
            if number == "RAISE":
                raise ArithmeticError("out of order")
            if number == "SLEEP":
                time.sleep(600)
            if number == "PAUSE":
                return time.sleep(30)
            if number == "TIME":
                for callback in trainer.callbacks:
                    if isinstance(callback, StepBoundary):
                        callback.deadline.end = 0.0
                return
            os.kill(os.getpid(), int(number))

    return here


def arm(here: Callable[[Any, str], None], patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Call `here` at every place of a training."""
    training_step, loss, collect = Learner.training_step, Learner.loss, Learner.collect
    on_save = Learner.on_save_checkpoint

    def stepping(self: Learner, batch: Any, index: int) -> Any:
        here(self, "before")
        return training_step(self, batch, index)

    def losing(self: Learner, batch: Any) -> Any:
        value = loss(self, batch)
        here(self, "within")
        return value

    def collecting(self: Learner, batch: Any, decoding: Any, measured: bool = False) -> None:
        here(self, "test" if self.trainer.state.fn == "test" else "validation")
        collect(self, batch, decoding, measured)

    def saving(self: Learner, content: Any) -> None:
        here(self, "save")
        on_save(self, content)

    patch(Learner, "on_save_checkpoint", saving)
    patch(Learner, "training_step", stepping)
    patch(Learner, "loss", losing)
    patch(Learner, "collect", collecting)


def record(file: Path, patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Write down which rows each optimiser step has been made of."""
    training_step = Learner.training_step

    def stepping(self: Learner, batch: Any, index: int) -> Any:
        rows = [row for piece in batch.batches for row in piece.rows[piece.target_lengths > 0].tolist()]
        with open(file, "a") as out:
            print(json.dumps([self.trainer.global_step, rows]), file=out)
        return training_step(self, batch, index)

    patch(Learner, "training_step", stepping)


def rows_by_step(file: Path) -> dict[int, list[int]]:
    """Of each optimiser step, over all processes."""
    found: dict[int, list[int]] = {}
    for line in file.read_text().splitlines():
        step, rows = json.loads(line)
        found[step] = sorted([*found.get(step, []), *rows])
    return found


def differences(one: Path, other: Path) -> list[str]:
    """In what two run directories differ, times left out; nothing if their trainings were the same to the bit."""
    found = []
    for name in ("last.ckpt", "best.ckpt"):
        first, second = (checkpoint.read(run / "checkpoints" / name) for run in (one, other))
        for part in ("state_dict", "optimizer_states", "moving_average", "global_step"):
            if checkpoint.digest({part: first.get(part)}) != checkpoint.digest({part: second.get(part)}):
                found.append(f"{name}: {part}")
    if curves(one) != curves(other):
        found.append("metrics.csv")
    results = [json.loads((run / "results.json").read_text()) for run in (one, other)]
    for name in sorted(results[0].keys() | results[1].keys()):
        if name == "curves":
            values = [{n: [[p[0], p[2]] for p in ps] for n, ps in r[name].items() if n not in TIMES} for r in results]
        else:
            values = [result.get(name) for result in results]
        if name not in OF_A_LAUNCH and values[0] != values[1]:
            found.append(f"results.json: {name}")
    if (one / "predictions/test.jsonl").read_bytes() != (other / "predictions/test.jsonl").read_bytes():
        found.append("predictions")
    return found


def curves(run: Path) -> list[dict[str, str]]:
    """metrics.csv without what depends on the time."""
    with open(run / "metrics.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]


if __name__ == "__main__":
    if "SEQ2SEQ_STOP" in os.environ:
        place, step, number, rank = os.environ["SEQ2SEQ_STOP"].split()
        arm(strike(place, int(step), getattr(signal, number, number), int(rank)))
    step_boundaries.SAVING = float("inf")  # as often as asked for, so that kills meet a checkpoint at any step
    if "SEQ2SEQ_ROWS" in os.environ:
        record(Path(os.environ["SEQ2SEQ_ROWS"]))
    torch.set_num_threads(1)
    command.run(train.main, sys.argv[1:])
