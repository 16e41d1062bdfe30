"""Trainings by the command itself: stopped and resumed, too large for the memory, on two devices, with one killed."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seq2seq.device_check.findings import DeviceCheck, unchecked, within
from seq2seq.runs import checkpoint

CONFIG = """
data:
  corpus: {class_path: Reversal, init_args: {length: 12, shortest: 6, symbols: 8, train: 400, validation: 40, test: 60}}
  tokenizer: Words
  batch_tokens: 400
model: {cell: LSTM, embedding_size: 16, hidden_size: 32, attention: General, dropout: 0.1, metrics: [Chrf]}
trainer: {max_epochs: 1000, val_check_interval: 50}
"""
"""A corpus that needs no file, and a network of a few seconds."""

LIMITED = """
import sys, torch
from seq2seq import train
share = float(sys.argv[1])
if share:
    torch.cuda.set_per_process_memory_fraction(share)
try:
    train.main(sys.argv[2:])
finally:
    total = torch.cuda.get_device_properties(0).total_memory
    print("peak", torch.cuda.max_memory_reserved() / total, file=sys.stderr)
"""
"""A training that may take only a share of the memory."""

TIMEOUT = 20
"""Seconds within which all processes end when one is killed (trainer.timeout)."""

SLOWEST = 120
"""Seconds that one training may take."""


class Trainings:
    """A folder for runs, and the arguments that all of them share."""

    def __init__(self, folder: Path, accelerator: str) -> None:
        self.folder, self.config = folder, folder / "config.yaml"
        self.config.write_text(CONFIG)
        self.accelerator = accelerator

    def command(self, run: str, *options: str) -> list[str]:
        """Arguments of Python for a training."""
        return ["-m", "seq2seq.train", *self.arguments(run, *options)]

    def arguments(self, run: str, *options: str) -> list[str]:
        """Those of the training."""
        cache = ("--data.cache", str(self.folder / "cache"), "--trainer.accelerator", self.accelerator)
        return ["--config", str(self.config), "--run", str(self.folder / run), *cache, *options]

    def train(self, run: str, *options: str) -> dict[str, Any]:
        """Train to the end; the content of last.ckpt."""
        python(self.command(run, *options))
        return self.last(run)

    def last(self, run: str) -> dict[str, Any]:
        """What a run's newest checkpoint holds."""
        return checkpoint.read(self.folder / run / "checkpoints/last.ckpt")


def python(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run Python; RuntimeError with its last line if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=SLOWEST, env=surroundings()
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise RuntimeError(f"{' '.join(arguments[:2])} ended with {done.returncode}: {last}")
    return done


def surroundings() -> dict[str, str]:
    """The environment of a command that is a launch of its own."""
    return {name: value for name, value in os.environ.items() if name != "SEQ2SEQ_LAUNCH"}


def kind_of(device: torch.device) -> str:
    """trainer.accelerator for a device."""
    return {"cuda": "cuda", "mps": "mps"}.get(device.type, "cpu")


def resume(device: torch.device) -> Iterator[DeviceCheck]:
    """A training that was stopped and resumed, against one that was not; then the run on the other kind of device."""
    with tempfile.TemporaryDirectory(prefix="seq2seq-check-") as folder:
        trainings, steps = Trainings(Path(folder), kind_of(device)), ("--trainer.max_steps", "300")
        whole = trainings.train("whole", *steps)
        for number in (signal.SIGTERM, signal.SIGKILL):
            yield resumed(trainings, steps, number, whole)
        if device.type == "cpu":
            yield unchecked("a run of a GPU evaluated on the CPU", "there is no GPU")
            return
        scores = []
        for place in ("cpu", device.type):
            done = python(["-m", "seq2seq.evaluate", str(Path(folder) / "whole"), "--device", place, "--json"])
            scores.append(json.loads(done.stdout)["splits"]["test"]["metrics"]["chrf"]["value"])
        yield within("the score of a GPU's run on the CPU", abs(scores[0] - scores[1]), 0.5)


def resumed(trainings: Trainings, steps: Sequence[str], number: signal.Signals, whole: dict[str, Any]) -> DeviceCheck:
    """Stop a training by a signal after its first checkpoint, and resume it."""
    run, what = number.name, f"stopped by {number.name} and resumed: last.ckpt"
    command = [sys.executable, *trainings.command(run, *steps)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=surroundings(), **silent) as process:  # type: ignore[call-overload]
        until(lambda: (trainings.folder / run / "checkpoints/last.ckpt").is_file() or process.poll() is not None)
        process.send_signal(number)
        process.wait(SLOWEST)
    if (trainings.folder / run / "results.json").is_file():
        return unchecked(what, "the training ended before the signal")
    at = trainings.last(run)["global_step"]
    found = trainings.train(run, *steps, "--resume", "true")
    parts = ("state_dict", "optimizer_states", "global_step")
    other = [part for part in parts if digest(found, part) != digest(whole, part)]
    predictions = [(trainings.folder / name / "predictions/test.jsonl").read_bytes() for name in (run, "whole")]
    other += ["predictions"] * (predictions[0] != predictions[1])
    said = f"stopped at step {at}; " + (f"other {', '.join(other)}" if other else "the same")
    return DeviceCheck(what, "the same to the bit", said, not other)


def digest(content: dict[str, Any], part: str) -> str:
    """The checksum of a part of a checkpoint."""
    return checkpoint.digest({part: content[part]})


def until(there: Any, seconds: float = SLOWEST) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not there() and time.monotonic() < deadline:
        time.sleep(0.01)


def several(device: torch.device) -> Iterator[DeviceCheck]:
    """Two devices against one; one of two killed. NCCL where there are two GPUs, else gloo on the CPU."""
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    kind, name = ("cuda", "2 GPUs over NCCL") if gpus > 1 else ("cpu", "2 processes over gloo")
    if gpus < 2:
        yield unchecked("2 GPUs over NCCL", f"there {'is one GPU' if gpus else 'is no GPU'}")
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    with tempfile.TemporaryDirectory(prefix="seq2seq-check-") as folder:
        trainings = Trainings(Path(folder), kind)
        once = ("--optimizer.algorithm", "SGD", "--optimizer.learning_rate", "1", "--trainer.gradient_clip_val", "null")
        runs = [trainings.train(run, *once, "--trainer.max_steps", "1", *more) for run, more in (("1", ()), ("2", two))]
        yield within(f"{name}: gradient of 1 and 2", difference(runs[0], runs[1]), 1e-6 if kind == "cpu" else 1e-4)
        for number in ("1", "2"):
            place = ["--device", kind, "--devices", number, "--output", f"{folder}/scored-{number}"]
            python(["-m", "seq2seq.evaluate", f"{folder}/1", *place])
        files = [Path(f"{folder}/scored-{number}/predictions/test.jsonl").read_bytes() for number in ("1", "2")]
        same = files[0] == files[1]
        yield DeviceCheck(f"{name}: predictions of 1 and 2", "the same bytes", "the same" if same else "others", same)
        yield killed(trainings, name, two)


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The relative difference between the parameters of two checkpoints."""
    first, second = (torch.cat([value.flatten() for value in tensors(run)]) for run in (one, other))
    return float((first - second).norm() / first.norm())


def tensors(run: dict[str, Any]) -> list[Tensor]:
    """The parameters of a checkpoint."""
    return list(run["state_dict"].values())


def killed(trainings: Trainings, name: str, two: Sequence[str]) -> DeviceCheck:
    """Kill the second of two processes."""
    endless = ("--trainer.timeout", str(TIMEOUT), "--trainer.max_steps", "1000000", *two)
    command = [sys.executable, *trainings.command("killed", *endless)]
    alive = trainings.folder / "killed/.processes/1.alive"
    with subprocess.Popen(
        command, env=surroundings(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as first:
        until(lambda: (trainings.folder / "killed/checkpoints/last.ckpt").is_file() or first.poll() is not None)
        try:
            os.kill(int(alive.read_text().split()[1]), signal.SIGKILL)
            began = time.monotonic()
            said = first.communicate(timeout=3 * TIMEOUT)[1]
            took = time.monotonic() - began
        finally:
            first.kill()
    named = re.search(r"rank 1\b.*", said)
    found = f"{took:.0f} s; {named[0] if named else 'nobody was named'}"
    ok = took <= TIMEOUT and named is not None and first.returncode != 0
    return DeviceCheck(f"{name}: rank 1 killed", f"all end within {TIMEOUT} s, it is named", found, ok)


def halved(device: torch.device) -> DeviceCheck:
    """A step that is forced out of memory against the same step with all of it."""
    large = ("--data.batch_tokens", "60000", "--data.corpus.init_args.train", "8000", "--model.hidden_size", "256")
    once = ("--optimizer.algorithm", "SGD", "--trainer.max_steps", "3", "--trainer.val_check_interval", "3")
    with tempfile.TemporaryDirectory(prefix="seq2seq-check-") as folder:
        trainings, share, runs = Trainings(Path(folder), kind_of(device)), 0.0, []
        for run in ("all", "limited"):
            done = python(["-c", LIMITED, str(share), *trainings.arguments(run, *large, *once)])
            share = 0.7 * float(done.stderr.rpartition("peak")[2])
            runs.append(trainings.last(run))
        results = json.loads((Path(folder) / "limited/results.json").read_text())
    split, apart = results["skipped"]["split"], difference(*runs)
    found = f"{split} micro-batches halved, parameters {apart:.1e} apart"
    return DeviceCheck("out of memory", "halved, parameters at most 1e-4 apart", found, split > 0 and apart <= 1e-4)
