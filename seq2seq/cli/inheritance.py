"""What a training takes over from the run that it starts from, beneath the settings that are given."""

import contextlib
import inspect
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.cli import command
from seq2seq.configurable import Part, Settings, stored_name
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.runs.config_file import find, read_yaml
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task

TOKENS = ("tokenizer", "target_tokenizer", "shared_vocabulary")
"""Settings of data that belong to the network."""

OWN = ("tokenizers", "metrics")
"""What a task is given but does not hand on: the scores are chosen for the data."""


@contextlib.contextmanager
def inherited(arguments: Sequence[str], restarted: str | None) -> Iterator[list[str]]:
    """Arguments to put before others: a configuration file, there only inside, with the settings of the parent.

    Nothing without --start_from. A resumed run has them in its own config.yaml, and needs its parent no more.

    restarted: the job, where a scheduler has started it again.
    """
    parent = last_given(arguments, "start_from")
    if parent is None:
        yield []
        return
    run = resumed_run(arguments, restarted)
    settings = of_config(read_yaml(run.config)) if run is not None else of_parent(str(parent), arguments)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "parent.yaml"
        file.write_text(json.dumps(settings), encoding="utf-8")
        yield ["--config", str(file)]


def last_given(arguments: Sequence[str], name: str) -> Any:
    """The value of an option as the arguments, or the configuration files among them, give it; None for none."""
    value = None
    for option, text in command.options(arguments, ("--config", f"--{name}")):
        value = text if option != "--config" else read_yaml(find(text)).get(name, value)
    return None if value == "null" else value


def resumed_run(arguments: Sequence[str], restarted: str | None) -> RunDirectory | None:
    """The run that these arguments resume; None where they start one."""
    files = command.options(arguments, ("--config",))
    path = last_given(arguments, "run") or (f"runs/{Path(files[-1][1]).stem}" if files else None)
    if path is None:
        return None
    run = RunDirectory(Path(str(path)))
    resume, overwrite = (
        str(last_given(arguments, name)).lower() in ("true", "auto", "yes", "1") for name in ("resume", "overwrite")
    )
    there = run.last.is_file() and run.config.is_file()
    return run if there and (resume or run.is_restarted(overwrite, restarted)) else None


def of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run's config.yaml that came from its parent or overruled it."""
    model, data = ({**(config.get(name) or {})} for name in ("model", "data"))
    model.pop("metrics", None)
    return {"task": config.get("task", "Translation"), "model": model,
            "data": {name: data[name] for name in TOKENS if name in data}}  # fmt: skip


def of_parent(run: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Task, network and tokenizers of a run, as a configuration file has them."""
    asked = command.task_class(arguments)  # imports a task of the user's own
    path = checkpoint.find(run)
    task = checkpoint.load(path)
    named = any(option == "--task" or "task" in read_yaml(find(text))
                for option, text in command.options(arguments, ("--config", "--task")))  # fmt: skip
    if named and asked is not type(task):
        raise InputError(
            f"task is {asked.__name__}, but the parent {path} is a {type(task).__name__}; a training starts from a run "
            "of its own task"
        )
    return {"task": stored_name(type(task)), "model": network_of(task), "data": tokens_of(task)}


def network_of(task: Task) -> dict[str, Any]:
    """The arguments of a task, as a configuration writes them."""
    names = [name for name in inspect.signature(type(task)).parameters if name not in OWN]
    return {name: as_written(getattr(task, name)) for name in names}


def tokens_of(task: Task) -> dict[str, Any]:
    """The settings of data that say what the tokens are."""
    source, target = (tokenizer.specification() for tokenizer in task.tokenizers)
    shared = task.tokenizers.source is task.tokenizers.target
    return dict(zip(TOKENS, (source, None if target == source else target, shared), strict=True))


def as_written(value: Any) -> Any:
    """An argument as a configuration writes it: of settings whose class is not chosen, the fields alone."""
    if isinstance(value, Part):
        inner = {name: as_written(getattr(value, name)) for name in inspect.signature(type(value)).parameters}
        return inner if isinstance(value, Settings) else {"class_path": stored_name(type(value)), "init_args": inner}
    if isinstance(value, (list, tuple)):
        return [as_written(item) for item in value]
    return {name: as_written(item) for name, item in value.items()} if isinstance(value, dict) else value
