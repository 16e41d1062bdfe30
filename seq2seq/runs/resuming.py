"""Resuming a run: what has changed since it was stopped. Nothing that matters changes silently."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import seq2seq
from seq2seq.configurable import Part, Settings, flatten, imported, plain
from seq2seq.data.datamodule import DataModule
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding

OF_THE_MACHINE = (
    "data.path",
    "data.device_tokens",
    "data.workers",
    "data.cache",
    "decoding.rows",
    "distillation.teacher",
)
"""Settings that may change in a resumed run; the rows and the teacher that are read must be the same."""

MORE = ("trainer.max_epochs", "trainer.max_steps", "patience")
"""Settings with which a finished run can be continued."""

OF_THE_START = ("start_from", "start_from_partly", "start_from_new_vocabulary", "freeze")
"""Settings of a run that starts from another one; a run of an older version has none of them."""

NONE = "(none)"


class Change(NamedTuple):
    """Something that differs from when the run was stopped."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} {shown(self.before)} -> {shown(self.now)}"


def shown(value: Any) -> str:
    """A value on the line of a message."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def changed(
    before: Mapping[str, Any], now: Mapping[str, Any], groups: Mapping[str, type] | None = None
) -> list[Change]:
    """The settings, by their dotted names, that differ between two configurations.

    A setting that a run is too old to have had counts as its default, which changes nothing.

    groups: what the groups of settings besides task, data and search belong to.
    """
    old, new = flatten(before), flatten(now)
    known = {"data": DataModule, "decoding": Decoding, **(groups or {})}
    defaults = {name: usual(name, new, known) for name in new if name not in old}
    old |= {name: default for name, default in defaults.items() if default != NONE}
    changes = (Change(name, old.get(name, NONE), new.get(name, NONE)) for name in old | new)
    different = [change for change in changes if change.before != change.now]
    return [one for one in different if one.now or one.before != NONE or one.name not in OF_THE_START]


def usual(name: str, settings: Mapping[str, Any], groups: Mapping[str, type]) -> Any:
    """The default of a setting; NONE where it has none, or where no class says it. settings: by dotted names."""
    default = default_of(name, settings, groups)
    return NONE if default is inspect.Parameter.empty else plain(default)


def default_of(name: str, settings: Mapping[str, Any], groups: Mapping[str, type]) -> Any:
    """The default as an object; `inspect.Parameter.empty` for none."""
    holder, _, last = name.rpartition(".")
    if holder == "model":
        kind: type | None = imported(Task, settings.get("task"))
    else:
        kind = groups.get(holder) or imported(Part, settings.get(holder))
    if kind is None and "." in holder:  # a group within a group, such as model.decoder
        outer = default_of(holder, settings, groups)
        kind = type(outer) if isinstance(outer, Settings) else None
    parameter = None if kind is None else inspect.signature(kind).parameters.get(last)
    return inspect.Parameter.empty if parameter is None else parameter.default


def asks_for_more(changes: Sequence[Change]) -> bool:
    """Whether a finished run was to be longer; whether it can be is known with its data."""
    return any(change.name in MORE for change in changes)


def refuse_ended(changes: Sequence[Change], schedule: str, needs_total: bool, run: Path) -> None:
    """Refuse a larger length of a finished run whose schedule spans the length; more patience does not change it."""
    if needs_total and any(change.name in MORE and change.name != "patience" for change in changes):
        raise InputError(
            f"optimizer.schedule {schedule} of {run} spans its training and has come to its end, so it cannot be "
            f"continued; start another training from its parameters: --start_from {run} --run OTHER"
        )


def matters(name: str, needs_total: bool) -> bool:
    """Whether a setting makes another experiment; needs_total: the schedule depends on the length of the training."""
    if name in OF_THE_MACHINE:
        return False
    if name in ("trainer.max_epochs", "trainer.max_steps"):
        return needs_total
    groups = ("task", "seed", "model", "decoding", "optimizer", "data", "distillation", *OF_THE_START)
    return name == "trainer.gradient_clip_val" or name.partition(".")[0] in groups


def refuse_impossible(changes: Sequence[Change]) -> None:
    """Refuse what cannot change even if allowed: another optimiser finds nothing of its own in a checkpoint."""
    for change in changes:
        if change.name in ("optimizer.algorithm", "task"):
            raise InputError(f"{change} cannot change in a resumed run; start another --run")


def refuse_or_allow(changes: Sequence[Change], origin: Path, allowed: bool) -> list[dict[str, Any]]:
    """Refuse changes, or report those that are allowed, as plain values for the run card."""
    if not changes:
        return []
    listed = ", ".join(map(str, changes))
    if not allowed:
        raise InputError(
            f"differs from {origin}: {listed}; this would be another experiment: resume with the run's own config.yaml "
            "and data, start another --run, or resume all the same with --allow_change true, which the results record"
        )
    print(f"resuming with changed settings: {listed}", file=sys.stderr)
    return [{"setting": name, "before": shown(before), "now": shown(now)} for name, before, now in changes]


def origins(content: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """What a checkpoint was trained on and by, where that differs now: checksums, and our version."""
    names = {
        "content": "the checksum of the training rows",
        "validation": "the checksum of the validation rows",
        "test": "the checksum of the test rows",
        "teacher": "the checksum of distillation.teacher",
    }
    changes = []
    for name, words in names.items():
        before = checkpoint.stored(content, name)
        if now[name] != before and (before or name == "teacher"):
            changes.append(Change(words, before and before[:12], now[name] and now[name][:12]))
    version = checkpoint.stored(content, "version")
    if version is not None and series(version) != series(seq2seq.__version__):
        changes.append(Change("the version of seq2seq", version, seq2seq.__version__))
    return changes


def series(version: str) -> list[str]:
    """What two versions must share for one to resume a run of the other: before 1.0 two numbers."""
    numbers = version.split(".")
    return numbers[:2] if numbers[0] == "0" else numbers[:1]
