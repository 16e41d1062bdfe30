"""Checkpoints that nothing needs any more, with their sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.data.lines import as_list
from seq2seq.experiments.listing import ListedRun, sweeps_of
from seq2seq.report.tables import Table
from seq2seq.runs.run_directory import RunDirectory

PARENTS = ("distillation.teacher", "start_from")
"""Settings that name another run."""


class Deletable(NamedTuple):
    """A file that may go."""

    path: Path
    size: int
    """Bytes."""
    reason: str


def deletable(runs: Sequence[ListedRun]) -> list[Deletable]:
    """The checkpoints of these runs that nothing needs; of runs in use or broken none."""
    named = (name for run in runs for parent in PARENTS for name in as_list(run.config.get(parent) or []))
    needed = {Path(name).resolve() for name in named if isinstance(name, str)}
    fate = {run.run.path: state for run, state in sweeps_of(runs)}
    found = []
    for run in runs:
        free = run.state in ("finished", "stopped") and not run.problem
        if free and not needed & {one.resolve() for one in (run.run.path, run.run.best, run.run.last)}:
            found += of_run(run, fate.get(run.run.path))
    return found


def of_run(run: ListedRun, fate: str | None) -> list[Deletable]:
    """What may go of one run. fate: what became of it as a trial of a sweep; None if it is none."""
    directory, finished = run.run, run.state == "finished"
    reasons: dict[Path, str] = dict.fromkeys(leftovers(directory), "left by a process that was killed")
    if finished:
        reasons |= dict.fromkeys(directory.at_steps(), "its mean has been taken")
        reasons[directory.last] = "the run is finished; only a longer training would need it"
    if fate in ("pruned", "fail"):
        reasons |= dict.fromkeys((directory.best, directory.last), "the trial was pruned or failed")
    elif fate == "lost" and finished:
        reasons[directory.best] = "another trial has won the sweep"
    return [
        Deletable(path, path.stat().st_size, reason)
        for path, reason in reasons.items()
        if path.is_file() and not path.is_symlink()
    ]


def leftovers(run: RunDirectory) -> list[Path]:
    """Files that were being written when a process was killed."""
    return sorted(file for folder in (run.path, run.last.parent, run.predictions) for file in folder.glob(".*.tmp"))


def as_table(found: Sequence[Deletable], folder: Path, deleted: bool) -> Table:
    """What may go, or has gone, with its size."""
    rows = [[str(one.path.relative_to(folder)), size_in_words(one.size), one.reason] for one in found]
    total = size_in_words(sum(one.size for one in found))
    remedy = "deleted" if deleted else "nothing is deleted; do it with --delete true"
    return Table(["file", "size", "why nothing needs it"], rows, [f"{len(found)} files, {total}; {remedy}"])


def size_in_words(size: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
