"""A run repeated from its results.json: are data, versions and machine the same, and is the result?"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from seq2seq.analysis.results_files import without_nan
from seq2seq.atomic_files import write_text
from seq2seq.cli import command
from seq2seq.configurable import flatten
from seq2seq.data.datamodule import DataModule
from seq2seq.errors import InputError
from seq2seq.experiments.one_run import begin_or_resume
from seq2seq.report.reading import read_results
from seq2seq.report.wording import is_number, label, number, part
from seq2seq.runs import run_card
from seq2seq.runs.config_file import to_yaml
from seq2seq.runs.resuming import changed, matters
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training.signals import Requests

Kind = Literal["bit", "interval", "different"]

WORDS: dict[Kind, tuple[str, str]] = {
    "bit": ("equal to the last bit", "#2f7a3d"),
    "interval": ("equal within the interval", "#a06a00"),
    "different": ("different", "#b02a4c"),
}
"""What a verdict says, and its colour."""

COMPARED = ("task", "splits", "best", "average", "skipped", "length", "model", "memory")
"""Parts of results.json that repeat to the last bit."""

OF_THE_CLOCK = ("tokens_per_second",)
"""Curves that never repeat."""

MOST_THREADS = 256


class Repetition(NamedTuple):
    """How a repetition compares with what was claimed."""

    kind: Kind
    scores: list[str]
    """Each score, then and now."""
    differing: list[str]
    """The first places in results.json that are not equal to the last bit."""


class Original(NamedTuple):
    """A results.json, and what it takes to repeat it."""

    file: Path
    results: dict[str, Any]
    settings: dict[str, Any]
    """Its configuration, without what belongs to one call."""


def read_original(path: Path) -> Original:
    """The results of a run, given as the file or as its directory."""
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"there is no {file}; give the results.json of a run")
    results = read_results(file)
    config = part(results, "config")
    settings = {name: value for name, value in config.items() if name not in command.ONCE}
    if not settings.get("data") or not results.get("splits"):
        raise InputError(f"{file} holds no configuration or no scores, so there is nothing to repeat")
    if results.get("allowed_changes"):
        raise InputError(
            f"{file}: settings changed in the middle of this run (allowed_changes), so no command repeats it"
        )
    refuse_unknown_modules(settings, file)
    refuse_callbacks(settings, file)
    return Original(file, results, settings)


def refuse_unknown_modules(value: Any, file: Path, name: str = "config") -> None:
    """Raise InputError where a configuration of anybody names a class of a module that is not imported."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in ("class_path", "task") and isinstance(inner, str) and "." in inner:
                module = inner.rpartition(".")[0]
                if module not in sys.modules:
                    raise InputError(f"{file}: {name}.{key} names {inner}; look at it, and give --import {module}")
            refuse_unknown_modules(inner, file, f"{name}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            refuse_unknown_modules(inner, file, f"{name}[{index}]")


def refuse_callbacks(settings: Mapping[str, Any], file: Path) -> None:
    """Raise InputError where trainer.callbacks of anybody names classes of a module that is not imported."""
    for entry in part(settings, "trainer").get("callbacks") or []:
        path = entry.get("class_path") if isinstance(entry, Mapping) else entry
        module = str(path).rpartition(".")[0]
        if module not in sys.modules:
            raise InputError(f"{file}: trainer.callbacks names {path}; look at it, and give --import {module}")


def arguments_of(original: Original, config: Path, data_path: str | None) -> list[str]:
    """The options of the training that repeats it, in one process; its configuration is written to `config`."""
    settings = {**original.settings, "data": {**part(original.settings, "data"), "cache": None}}
    config.write_text(to_yaml(settings), encoding="utf-8")
    data = [] if data_path is None else [f"--data.path={data_path}"]
    return [f"--config={config}", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.loggers=[]", *data]


def refuse_other_data(original: Original, data: DataModule, score: str) -> None:
    """Raise InputError where a file or a split is not the one that the run was trained and scored on."""
    known = part(part(original.results, "data"), "fingerprints")
    if not known:
        raise InputError(f"{original.file} has no data.fingerprints, so nothing tells which data it is about")
    streamed = data.window is not None
    names = [*([] if streamed else ["train"]), "validation", *(["test"] if score == "test" else [])]
    now = run_card.fingerprints({name: data.texts(name) for name in names}, data.path)
    if streamed:
        now["first training rows"] = {"sha256": data.texts("train").content[: run_card.SHOWN]}
    for name in known:
        then, here = part(known, name).get("sha256"), now.get(name, {}).get("sha256", "missing")
        if then != here:
            raise InputError(
                f"{name} is other data: sha256 {here}, and {then} in {original.file}; give the folder that has the "
                "files as --data.path"
            )


def surroundings_that_differ(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Versions and machine, where they are not those of the run."""
    left_out = ("command", "seed")
    before, here = ({name: value for name, value in flatten({"environment": dict(one)}).items()
                     if name.partition(".")[2] not in left_out} for one in (then, now))  # fmt: skip
    return [
        f"{name.partition('.')[2]} {before[name]} -> {here.get(name, 'none')}"
        for name in before
        if before[name] != here.get(name) and name in here
    ]


def repeat(original: Original, run: Path, data_path: str | None, check_only: bool) -> dict[str, Any] | None:
    """Check the data, say what differs of versions and machine, and train again; None if it shall only be checked.

    A training that was stopped is continued, and one that has ended is taken as it is.
    """
    environment, threads = part(original.results, "environment"), torch.get_num_threads()
    wanted = environment.get("threads")
    with tempfile.TemporaryDirectory() as place:
        arguments = arguments_of(original, Path(place) / "config.yaml", data_path)
        parser = command.training_parser(command.task_class(arguments))
        config = command.parse(parser, arguments)
        refuse_other_data(original, command.instantiate(parser, config).data, config.score)
        print("data: equal fingerprints", file=sys.stderr)
        if isinstance(wanted, int) and 0 < wanted <= MOST_THREADS:
            torch.set_num_threads(wanted)
        try:
            say_surroundings(environment)
            if check_only:
                return None
            train_again([*arguments, "--run", str(run), "--resume", "auto"])
        finally:
            torch.set_num_threads(threads)
    now = read_results(RunDirectory(run).results)
    refuse_other_run(original, now, run)
    return now


def refuse_other_run(original: Original, now: Mapping[str, Any], run: Path) -> None:
    """Raise InputError where the directory held another finished run."""
    changes = [change for change in changed(original.settings, part(now, "config")) if matters(change.name, True)]
    if changes:
        raise InputError(f"--run {run} holds another run, of {changes[0]}; choose another --run")


def say_surroundings(environment: Mapping[str, Any]) -> None:
    """Print what is other than it was, before hours of training."""
    here = run_card.environment(run_card.device_name(torch.device("cpu"))) | {"threads": torch.get_num_threads()}
    device = {} if str(environment.get("device")).startswith("cpu") else {"device": environment.get("device")}
    differing = surroundings_that_differ(environment, here | device)
    print(f"versions and machine: {'; '.join(differing) or 'equal'}", file=sys.stderr)


def train_again(arguments: Sequence[str]) -> None:
    """Train as the arguments say."""
    requests = Requests()
    requests.install()
    try:
        begin_or_resume(arguments, time.monotonic(), requests)
    finally:
        requests.restore()


def compared(then: Mapping[str, Any], now: Mapping[str, Any]) -> Repetition:
    """What a repetition says of the results."""
    differing = list(places(comparable(then), comparable(now)))
    scores, inside = [], True
    for split, name, metric in metrics_of(then):
        again = part(part(part(part(now, "splits"), split), "metrics"), name).get("value")
        value, low, high = (metric.get(key) for key in ("value", "low", "high"))
        scores.append(f"{split} {label(name)} {number(value)} ({number(low)} to {number(high)}), now {number(again)}")
        inside &= low <= again <= high if is_number(low) and is_number(high) and is_number(again) else value == again
    kind: Kind = "bit" if not differing else "interval" if inside else "different"
    return Repetition(kind, scores, differing)


def metrics_of(results: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Split, name and content of each score."""
    splits = part(results, "splits")
    for split in splits:
        metrics = part(part(splits, split), "metrics")
        for name in metrics:
            yield split, name, part(metrics, name)


def comparable(results: Mapping[str, Any]) -> dict[str, Any]:
    """What should repeat, as JSON has it: curves without the clock."""
    curves = {
        name: [[point[0], point[2]] for point in points or ()]
        for name, points in part(results, "curves").items()
        if name not in OF_THE_CLOCK
    }
    kept = {name: results.get(name) for name in COMPARED} | {"curves": curves}
    return json.loads(json.dumps(without_nan(kept)))  # type: ignore[no-any-return]


def places(one: Any, other: Any, name: str = "") -> Iterator[str]:
    """Where two plain values differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            yield from places(one.get(key), other.get(key), f"{name}.{key}" if name else str(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from places(*pair, f"{name}[{index}]")
    elif one != other or type(one) is not type(other):
        yield f"{name} was {one!s:.40} and is {other!s:.40}"


def write_badge(kind: Kind, folder: Path) -> None:
    """badge.svg, and badge.json in the form that shields.io reads from an address."""
    message, colour = WORDS[kind]
    content = {"schemaVersion": 1, "label": "reproduced", "message": message, "color": colour}
    write_text(folder / "badge.json", json.dumps(content) + "\n")
    left, right = 74, 14 + 6.3 * len(message)
    words = f"reproduced: {message}"
    write_text(
        folder / "badge.svg",
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right:.0f}" height="20" role="img" '
        f'aria-label="{escape(words)}"><title>{escape(words)}</title><clipPath id="r">'
        f'<rect width="{left + right:.0f}" height="20" rx="3"/></clipPath><g clip-path="url(#r)">'
        f'<rect width="{left}" height="20" fill="#444b53"/>'
        f'<rect x="{left}" width="{right:.0f}" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2}" y="14">reproduced</text>'
        f'<text x="{left + right / 2:.1f}" y="14">{escape(message)}</text></g></svg>\n',
    )
