"""All runs below a folder: what is known of each, by dotted names, as a table; and what differs between two."""

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from seq2seq.configurable import flatten
from seq2seq.errors import InputError
from seq2seq.report.reading import read_results
from seq2seq.report.tables import Table
from seq2seq.report.wording import duration, is_number, number, part, parts, phrase, shortened
from seq2seq.runs.config_file import read_yaml
from seq2seq.runs.run_directory import OWNED, RunDirectory

USUAL = ("run", "task", "state", "split", "metric", "score", "low", "high", "step", "parameters", "seconds")
"""Columns that are shown unless others are asked for."""

FILTER = r"\s*([\w.-]+)\s*(!=|<=|>=|=|<|>|~)\s*(.*?)\s*"

TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "~": lambda one, other: str(other) in str(one),
}


class ListedRun(NamedTuple):
    """A run as its files describe it."""

    run: RunDirectory
    state: str
    """running, finished, stopped (it can be resumed), begun (nothing is saved yet), evaluated or broken."""
    config: Mapping[str, Any]
    """Settings by their dotted names."""
    results: Mapping[str, Any]
    problem: str = ""
    """Why its files cannot be read."""

    def value(self, name: str) -> Any:
        """What is known under a dotted name: of the run, of its configuration, or of results.json; None for nothing."""
        facts = self.facts()
        if name in facts:
            return facts[name]
        if name in self.config:
            return self.config[name]
        found: Any = self.results
        for key in name.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def facts(self) -> dict[str, Any]:
        """What the table has names of its own for."""
        splits = part(self.results, "splits")
        main = "test" if "test" in splits else next(iter(splits), "")
        scores = {f"{split}.{metric}": part(part(part(splits, split), "metrics"), metric).get("value")
                  for split in splits for metric in part(part(splits, split), "metrics")}  # fmt: skip
        scores |= {name.partition(".")[2]: value for name, value in scores.items() if name.startswith(f"{main}.")}
        metric = next(iter(part(part(splits, main), "metrics")), None)
        first = part(part(part(splits, main), "metrics"), metric) if metric else {}
        return scores | {
            "run": str(self.run.path),
            "task": self.results.get("task") or self.config.get("task"),
            "state": self.state,
            "split": main or None,
            "metric": metric,
            "score": first.get("value"),
            "low": first.get("low"),
            "high": first.get("high"),
            "step": part(self.results, "best").get("step"),
            "parameters": part(part(self.results, "model"), "parameters").get("total"),
            "seconds": self.results.get("seconds"),
        }


def find_runs(folder: Path) -> list[ListedRun]:
    """All runs below a folder, in the order of their names; links are not followed."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give one that holds runs")
    found = []
    for place, folders, files in os.walk(folder):
        if "results.json" in files or ("config.yaml" in files and {".lock", "checkpoints"} & {*files, *folders}):
            found.append(read_run(Path(place)))
        folders[:] = sorted(one for one in folders if one not in OWNED and not one.startswith("."))
    return sorted(found, key=lambda one: str(one.run.path))


def read_run(path: Path) -> ListedRun:
    """A run from its files; a broken one says why."""
    run = RunDirectory(path)
    config: dict[str, Any] = {}
    results: dict[str, Any] = {}
    try:
        if run.config.is_file():
            config = flatten(read_yaml(run.config))
        if run.results.is_file():
            results = read_results(run.results)
            config = config or flatten(results.get("config") or {})
    except (InputError, OSError, UnicodeDecodeError, RecursionError) as problem:
        return ListedRun(run, "broken", config, {}, " ".join(str(problem).split()))
    return ListedRun(run, state_of(run), config, results)


def state_of(run: RunDirectory) -> str:
    """How far a run has come."""
    if in_use(run):
        return "running"
    if run.results.is_file():
        return "finished" if run.config.is_file() else "evaluated"
    return "stopped" if run.last.is_file() else "begun"


def in_use(run: RunDirectory) -> bool:
    """Whether a process writes to it now."""
    marker = run.path / ".lock"
    if not marker.is_file() or marker.is_symlink():
        return False
    lock = FileLock(marker)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # somebody else's folder, which may be read and no more
        return False
    lock.release()
    return False


def chosen(runs: Sequence[ListedRun], filters: Sequence[str]) -> list[ListedRun]:
    """The runs that pass all filters, such as `model.hidden_size>=128` or `task=Tagging`."""
    for text in filters:
        match = re.fullmatch(FILTER, text)
        if match is None:
            raise InputError(f"--filter {text} must be NAME, one of {' '.join(TESTS)}, and a value")
        refuse_unknown_name(runs, match[1], "--filter")
        runs = [run for run in runs if passes(run.value(match[1]), match[2], match[3])]
    return list(runs)


def passes(value: Any, test: str, wanted: str) -> bool:
    """Whether a value passes a test: as numbers where both are, else as texts; nothing is known to be only unequal."""
    if value is None:
        return (wanted in ("null", "")) is (test == "=") and test in ("=", "!=")
    if is_number(value) and (goal := as_number(wanted)) is not None and test != "~":
        return TESTS[test](value, goal)
    if test in ("<", "<=", ">", ">="):
        return not is_number(value) and TESTS[test](str(value), wanted)
    return TESTS[test](as_text(value), wanted)


def as_number(text: str) -> float | None:
    """A text as a number, if it is one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def as_text(value: Any) -> str:
    """A value as a configuration file has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def ordered(runs: Sequence[ListedRun], name: str, reverse: bool) -> list[ListedRun]:
    """The runs by a value; those that lack it come last."""
    refuse_unknown_name(runs, name, "--sort")
    known = [run for run in runs if run.value(name) is not None]
    numbers = all(is_number(run.value(name)) for run in known)
    known.sort(key=lambda run: run.value(name) if numbers else as_text(run.value(name)), reverse=reverse)
    return known + [run for run in runs if run.value(name) is None]


def refuse_unknown_name(runs: Sequence[ListedRun], name: str, option: str) -> None:
    """Raise InputError for a name that no run knows."""
    if runs and not any(name in run.facts() or run.value(name) is not None or name in run.config for run in runs):
        names = sorted({known for run in runs for known in [*run.facts(), *run.config]})
        from seq2seq.cli.messages import suggestion

        raise InputError(f"{option} {name}: no run has that; {suggestion(name, names)[:600]}")


def columns_of(runs: Sequence[ListedRun], asked: Sequence[str]) -> list[str]:
    """The names of the columns."""
    for name in asked:
        refuse_unknown_name(runs, name, "--columns")
    return ["run", *(name for name in asked if name != "run")] if asked else list(USUAL)


def as_table(runs: Sequence[ListedRun], columns: Sequence[str], folder: Path) -> Table:
    """The runs for the terminal; below it one line for each that is broken."""
    rows = [[shown(run, name, folder) for name in columns] for run in runs]
    notes = [f"broken: {run.problem}" for run in runs if run.problem]
    return Table(columns, rows, notes)


def shown(run: ListedRun, name: str, folder: Path) -> str:
    """A cell."""
    value = run.value(name)
    if name == "run":
        return str(run.run.path.relative_to(folder)) if run.run.path != folder else str(folder)
    if name == "seconds" and is_number(value):
        return duration(value)
    if isinstance(value, float):
        return number(value)
    return "" if value is None else shortened(one_line(phrase(value)), 50)


def one_line(text: str) -> str:
    """A text of anybody without what would move the cursor of a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def as_csv(runs: Sequence[ListedRun], columns: Sequence[str]) -> str:
    """The runs as a table for other programs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for run in runs:
        values = [run.value(name) for name in columns]
        writer.writerow("" if value is None else as_text(value) for value in values)
    return text.getvalue()


def as_rows(runs: Sequence[ListedRun], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The runs as plain objects."""
    return [
        {name: run.value(name) for name in columns} | ({"problem": run.problem} if run.problem else {}) for run in runs
    ]


def difference(one: ListedRun, other: ListedRun) -> Table:
    """What differs between two runs: settings, data, versions, machine, scores."""
    rows = []
    before, now = everything(one), everything(other)
    for name in before | now:
        if before.get(name) != now.get(name):
            rows.append([name, *(shortened(phrase(known[name]), 60) if name in known else "(none)"
                                 for known in (before, now))])  # fmt: skip
    notes = ["they differ in nothing that is compared"] * (not rows)
    names = [str(run.run.path) for run in (one, other)]
    return Table(["", *names], rows, [*notes, *(f"broken: {run.problem}" for run in (one, other) if run.problem)])


def everything(run: ListedRun) -> dict[str, Any]:
    """What two runs are compared by, under dotted names."""
    environment = {name: value for name, value in part(run.results, "environment").items() if name != "command"}
    facts = {name: value for name, value in run.facts().items() if name not in ("run", "low", "high", "score")}
    prints = {f"data.fingerprints.{name}": part(part(part(run.results, "data"), "fingerprints"), name).get("sha256")
              for name in part(part(run.results, "data"), "fingerprints")}  # fmt: skip
    return {**run.config, **prints, **flatten({"environment": environment}), **facts}


def sweeps_of(runs: Sequence[ListedRun]) -> Iterator[tuple[ListedRun, str]]:
    """The runs that are trials of a sweep, with what became of each: winner, lost, pruned, fail or undecided."""
    known: dict[Path, dict[str, str]] = {}
    for run in runs:
        folder = run.run.path.parent.parent
        if folder not in known:
            known[folder] = states_in(folder / "sweep.json")
        name = str(run.run.path.relative_to(folder))
        if name in known[folder]:
            yield run, known[folder][name]


def states_in(file: Path) -> dict[str, str]:
    """What became of the trials of a sweep, by their runs; nothing where the file is none of a sweep."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    winner, over = content.get("winner"), bool(content.get("tested"))
    kinds = {"complete": "lost" if over else "undecided"}
    fates = {}
    for one in parts(content, "trials"):
        state = str(one.get("state"))
        fates[str(one.get("run"))] = "winner" if one.get("number") == winner else kinds.get(state, state)
    return fates
