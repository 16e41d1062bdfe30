"""The kill table: trainings are stopped at many places, resumed, and compared with uninterrupted ones, bit for bit.

`python -m tests.training.kills FOLDER [BEGIN END]` prints it as Markdown; tests/training/test_stopping.py runs the same trials.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.training.stopping import differences

SCRIPT = Path(__file__).with_name("stopping.py")
OFTEN = ["--trainer.save_every", "0.002"]
"""A checkpoint every 0.12 seconds, so that kills meet one at any step."""

EXITS = {"SIGTERM": 75, "SIGUSR1": 75, "TIME": 75, "SIGINT": 130}


class Trial(NamedTuple):
    """Where a training is stopped, each time it goes on; the last launch is left alone."""

    stops: Sequence[str]
    """Place, optimiser step, signal and rank."""
    processes: Sequence[int] = (1,)
    """Of each launch; the last number holds for all that follow."""

    def __str__(self) -> str:
        return f"{'; '.join(self.stops)} on {' then '.join(map(str, self.processes))}"


TRIALS = [
    *(
        Trial([f"{place} {step} {number} {processes - 1}"], (processes,))
        for processes in (1, 2)
        for place, step, number in (
            ("before", 8, "SIGTERM"),
            ("within", 9, "SIGUSR1"),
            ("within", 10, "SIGKILL"),
            ("before", 11, "SIGTERM"),  # a validation is due right after
            ("validation", 12, "TIME"),
            ("validation", 18, "SIGKILL"),
            ("before", 19, "SIGTERM"),  # the end of the first epoch
            ("before", 20, "SIGKILL"),  # the beginning of the second
            ("test", 36, "SIGTERM"),
            ("test", 36, "SIGKILL"),
        )
    ),
    *(
        Trial([f"within 7 SIGUSR1 {p - 1}", "validation 12 SIGTERM 0", f"within 25 SIGKILL {p - 1}", "before 35 TIME 0"], (p,))
        for p in (1, 2)
    ),
]  # fmt: skip
"""An epoch has 20 steps, a validation comes every 6, and after 36 steps patience has run out."""


def launch(arguments: Sequence[str], stop: str, processes: int) -> "subprocess.CompletedProcess[str]":
    """Train, until a stop if there is one."""
    several = ["--trainer.devices", str(processes), "--trainer.strategy", "ddp"] if processes > 1 else []
    environment = {k: v for k, v in os.environ.items() if k not in ("SEQ2SEQ_LAUNCH", "SEQ2SEQ_STOP")}
    environment |= {"OMP_NUM_THREADS": "1"} | ({"SEQ2SEQ_STOP": stop} if stop else {})
    command = [sys.executable, str(SCRIPT), *arguments, *several]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def reference(config: Path, folder: Path, processes: int) -> Path:
    """An uninterrupted training."""
    run = folder / f"whole-{processes}"
    if not (run / "results.json").exists():
        done = launch(["--config", str(config), "--run", str(run), *OFTEN], "", processes)
        assert done.returncode == 0, done.stderr[-3000:]
    return run


def attempt(trial: Trial, config: Path, run: Path) -> list[int]:
    """Train with all stops of a trial, and the exit codes."""
    codes, arguments = [], ["--config", str(config), "--run", str(run), "--resume", "auto", *OFTEN]
    for number, stop in enumerate([*trial.stops, ""]):
        done = launch(arguments, stop, trial.processes[min(number, len(trial.processes) - 1)])
        codes.append(done.returncode)
        if stop:
            expected = EXITS.get(stop.split()[2])
            assert done.returncode == expected or (expected is None and done.returncode), done.stderr[-3000:]
    assert codes[-1] == 0, done.stderr[-3000:]
    return codes


def table(config: Path, folder: Path, begin: int = 0, end: int = len(TRIALS)) -> None:
    """Print a row for every trial, or some of them."""
    print(
        "| stopped (place, step, how, rank) | processes | exit codes | equal to the uninterrupted run |\n|---|---|---|---|"
    )
    for number, trial in enumerate(TRIALS):
        if not begin <= number < end:
            continue
        run = folder / f"trial-{number}"
        shutil.rmtree(run, ignore_errors=True)
        try:
            codes = attempt(trial, config, run)
            found = differences(run, reference(config, folder, trial.processes[0]))
            equal = "yes" if not found else f"no: {', '.join(found)}"
        except AssertionError as problem:
            codes, equal = [], f"failed: {str(problem).splitlines()[-1:]}"
        row = ["; ".join(trial.stops), str(trial.processes[0]), ", ".join(map(str, codes)), equal]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    from tests.training.test_stopping import CONFIG

    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    (place / "tiny.yaml").write_text(CONFIG)
    table(place / "tiny.yaml", place, *map(int, sys.argv[2:]))
