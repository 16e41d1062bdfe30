"""Callbacks of the user's own: Lightning's, by import path; only a configuration names them, never a checkpoint."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from seq2seq.errors import InputError

Entry = str | dict[str, Any]
"""An import path, or {class_path: ..., init_args: {...}}."""


def chosen(entries: Sequence[Entry]) -> list[tuple[Any, Mapping[str, Any]]]:
    """The class of each entry with its arguments; InputError for what is no callback."""
    return [(class_of(path), arguments) for path, arguments in map(parts, entries)]


def parts(entry: Entry) -> tuple[str, Mapping[str, Any]]:
    """Import path and arguments."""
    given = {"class_path": entry} if isinstance(entry, str) else entry
    path, arguments = given.get("class_path"), given.get("init_args") or {}
    if not isinstance(path, str) or set(given) - {"class_path", "init_args"} or not isinstance(arguments, Mapping):
        raise InputError(f"trainer.callbacks: {entry!r:.80} must be an import path, or class_path with init_args")
    return path, arguments


def class_of(path: str) -> Any:
    """What an import path means."""
    from pytorch_lightning import Callback

    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as problem:
        raise InputError(
            f"trainer.callbacks: {path!r}: {' '.join(str(problem).split())}; is its folder in PYTHONPATH?"
        ) from problem
    if not isinstance(found, type) or not issubclass(found, Callback):
        raise InputError(f"trainer.callbacks: {path} is no subclass of pytorch_lightning.Callback")
    return found


def made(entries: Sequence[Entry]) -> list[Any]:
    """The callbacks."""
    callbacks = []
    for kind, arguments in chosen(entries):
        try:
            callbacks.append(kind(**arguments))
        except Exception as problem:
            text = " ".join(str(problem).split())
            raise InputError(f"trainer.callbacks: {kind.__name__} with {dict(arguments)}: {text}") from problem
    return callbacks
