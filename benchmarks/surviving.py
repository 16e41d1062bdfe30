"""What it costs to survive: checkpoints, agreement between processes, the check for non-finite values, resuming.

    python benchmarks/surviving.py [--config FILE] [--steps 150] [OPTIONS OF THE TRAINING]

Each line is a training of its own with one thread for each process; docs/surviving.md has the numbers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 10
"""Steps that do not count."""
SAVES = 5
SAVE_EVERY = 600.0
"""Seconds between two checkpoints, as `trainer.save_every` has it."""


def within(owner: Any, name: str, taken: list[float], before: Callable[[], None]) -> None:
    """Take the time of every call of a method, after `before` has been called."""
    original: Callable[..., Any] = getattr(owner, name)

    def timed(*arguments: Any, **named: Any) -> Any:
        before()
        started = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            taken.append(time.perf_counter() - started)

    setattr(owner, name, timed)


def tell(found: dict[str, Any]) -> None:
    """Leave the numbers for the program that has started this one, and end."""
    Path(os.environ["SURVIVING_RESULT"]).write_text(json.dumps(found))
    os._exit(0)


def first_step(arguments: Sequence[str]) -> None:
    """When the first step begins."""
    from seq2seq import train
    from seq2seq.cli import command
    from seq2seq.training.learner import Learner

    def stepping(self: Learner, batch: object, index: int) -> None:
        tell({"seconds": time.time() - float(os.environ["SURVIVING_STARTED"]), "step": self.global_step})

    Learner.training_step = stepping  # type: ignore[method-assign, assignment]
    command.run(train.main, arguments)


def overheads(arguments: Sequence[str]) -> None:
    """How long steps take, and of them agreement and the check for non-finite values; and a few checkpoints."""
    import torch

    from seq2seq import train
    from seq2seq.cli import command
    from seq2seq.training.callbacks import Checkpoints
    from seq2seq.training.learner import Learner
    from seq2seq.training.step_boundaries import StepBoundary

    def together() -> None:
        """Who comes first waits here for the others, as it would in the next exchange of gradients."""
        if torch.distributed.is_initialized():
            torch.distributed.barrier()

    agreement: list[float] = []
    within(StepBoundary, "agree", agreement, together)
    begun: list[float] = []
    training_step = Learner.training_step

    def stepping(self: Learner, batch: Any, index: int) -> None:
        begun.append(time.perf_counter())
        if len(begun) == WARM_UP:
            agreement.clear()
        training_step(self, batch, index)
        if self.global_step == self.trainer.max_steps:
            finish(self)

    def finish(learner: Learner) -> None:
        trainer = learner.trainer
        checks, saves = [], []
        for _ in range(1000):
            started = time.perf_counter()
            bool((learner.gradient_norm + learner.last_loss).isfinite())
            checks.append(time.perf_counter() - started)
        seconds, steps = time.perf_counter() - begun[WARM_UP - 1], len(begun) - WARM_UP + 1
        callback = next(one for one in trainer.callbacks if isinstance(one, Checkpoints))  # type: ignore[attr-defined]
        for _ in range(SAVES):
            started = time.perf_counter()
            callback.save(learner)
            saves.append(time.perf_counter() - started)
        if trainer.is_global_zero:
            size = callback.run.last.stat().st_size
            found = {"step": seconds / steps, "agreement": sum(agreement) / steps, "agreed": len(agreement)}
            found |= {"check": statistics.median(checks), "save": statistics.median(saves), "bytes": size}
            tell(found | {"steps": steps})
        os._exit(0)

    Learner.training_step = stepping  # type: ignore[method-assign]
    torch.set_num_threads(1)
    command.run(train.main, arguments)


def launch(kind: str, options: Sequence[str]) -> dict[str, Any]:
    """A training in a process of its own, and what it has measured."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        environment = {name: value for name, value in os.environ.items() if name != "SEQ2SEQ_LAUNCH"}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "SURVIVING_RESULT": str(result)}
        command = [sys.executable, __file__, f"--{kind}", *options]
        environment["SURVIVING_STARTED"] = str(time.time())
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
        if not result.exists():
            sys.exit(f"{' '.join(command)} has failed:\n{done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(result.read_text())
        return found


def costs(config: str, steps: int, more: Sequence[str]) -> None:
    """Print what checkpoints, agreement and the check for non-finite values take."""
    for processes in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            options = ["--config", config, "--run", f"{folder}/run", "--trainer.max_steps", str(steps + WARM_UP)]
            options += ["--trainer.val_check_interval", "1000000", "--trainer.accelerator", "cpu"]
            found = launch("overheads", [*options, "--trainer.devices", str(processes), *more])
        step = found["step"]
        print(
            f"{processes} process{'es' * (processes > 1)}: {1000 * step:.1f} ms a step over {found['steps']} steps; "
            f"agreement {100 * found['agreement'] / step:.3f} % ({found['agreed']} times), "
            f"non-finite check {100 * found['check'] / step:.3f} %, a checkpoint of {found['bytes'] / 1e6:.1f} MB "
            f"{1000 * found['save']:.0f} ms, {100 * found['save'] / SAVE_EVERY:.3f} % if saved every 10 minutes",
            flush=True,
        )


def resuming(config: str, rounds: int, stops: Sequence[int], more: Sequence[str]) -> None:
    """Print when the first step comes in a fresh and in a resumed training."""
    small = ["--model.hidden_size", "16", "--model.embedding_size", "8", "--trainer.val_check_interval", "1000000"]
    with tempfile.TemporaryDirectory() as folder:
        runs = {0: f"{folder}/fresh", **{step: f"{folder}/at-{step}" for step in stops}}
        asked = {step: ["--config", config, "--run", run, *small, *more] for step, run in runs.items()}
        for step in stops:
            train = [sys.executable, "-m", "seq2seq.train", *asked[step], "--trainer.max_steps", str(step)]
            subprocess.run(train, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
            Path(runs[step], "results.json").unlink()  # as if it had been stopped then
        seconds: dict[int, list[float]] = {step: [] for step in runs}
        for _ in range(rounds):
            for step, options in asked.items():
                how = ["--resume", "true", "--allow_change", "true"] if step else ["--overwrite", "true"]
                found = launch("first_step", [*options, "--trainer.max_steps", "1000000", *how])
                assert found["step"] == step
                seconds[step].append(found["seconds"])
    for step, taken in seconds.items():
        name = f"resumed at step {step}" if step else "fresh"
        print(f"first step, {name}: {statistics.median(taken):.2f} s after the command", flush=True)


def main() -> None:
    """Measure all, or be one of the trainings."""
    kinds = {"--overheads": overheads, "--first_step": first_step}
    if sys.argv[1:2] and sys.argv[1] in kinds:
        kinds[sys.argv[1]](sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(ROOT / "configs" / "translation_cldr.yaml"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stops", type=int, nargs="*", default=[10, 200, 400], help="optimiser steps to resume after")
    options, more = parser.parse_known_args()
    costs(options.config, options.steps, more)
    resuming(options.config, options.rounds, options.stops, more)


if __name__ == "__main__":
    main()
