"""The run card: what sets a run apart and what it cost, plain values for results.json."""

import inspect
import itertools
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import seq2seq
from seq2seq.configurable import Part, Settings, descendants, flatten, named, plain
from seq2seq.data.rows import Texts

SHOWN = 16
"""Hexadecimal digits of a SHA-256 that tell files apart."""


def changed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """The dotted names of settings that are not the default, as the command line has them.

    Of a class that is not the default one, its own name and those of its arguments that are not its own defaults.
    """
    now, usual, names = flatten(settings), flatten(defaults), []
    for name, value in now.items():
        if completed(value) != completed(usual.get(name)):
            inside = f"{name}."
            usual = {other: default for other, default in usual.items() if not other.startswith(inside)}
            usual |= own_defaults(value, name)
            outer = itertools.accumulate(name.split("."), "{}.{}".format)
            names.append(next((whole for whole in outer if whole in usual and whole not in now), name))
    return list(dict.fromkeys(names))


def completed(value: Any) -> Any:
    """A setting with the defaults of each class inside it."""
    if isinstance(value, list):
        return [completed(item) for item in value]
    flat = flatten(value, "setting")
    for name, item in [*flat.items()]:
        flat = own_defaults(item, name) | flat
    return {name: item for name, item in flat.items() if item is not None}


def own_defaults(kind: Any, name: str) -> dict[str, Any]:
    """The defaults of a part's arguments by dotted names below `name`; empty for what is no imported class."""
    for candidate in descendants(Part):
        if named(candidate, kind):
            arguments = inspect.signature(candidate).parameters.values()
            flat = flatten({item.name: as_given(item.default) for item in arguments if item.default is not item.empty})
            return {f"{name}.{inner}": value for inner, value in flat.items()}
    return {}


def as_given(value: Any) -> Any:
    """A default as a configuration writes it: of settings whose class is not chosen, the fields alone."""
    return value.specification()["init_args"] if isinstance(value, Settings) else plain(value)


def fingerprints(splits: Mapping[str, Texts], path: str | None) -> dict[str, dict[str, Any]]:
    """Of each file that rows were read from, named as in data.path, the SHA-256 and size in bytes.

    Of rows that come from no file, one for the split, with the number of rows.
    """
    prints: dict[str, dict[str, Any]] = {}
    for split, texts in splits.items():
        for origin in texts.origins:
            name = inside(Path(origin.file), path)
            prints[name] = {"sha256": origin.checksum[:SHOWN], "bytes": origin.size}
        if not texts.origins:
            prints[f"{split} rows"] = {"sha256": texts.content[:SHOWN], "rows": len(texts.source)}
    return prints


def inside(file: Path, path: str | None) -> str:
    """A file's name, with its folders below data.path: nothing about the home of whoever trains."""
    folder = None if path is None else Path(path)
    if folder is not None and file != folder and file.is_relative_to(folder):
        return file.relative_to(folder).as_posix()
    return file.name


def environment(device: str) -> dict[str, Any]:
    """Software, hardware and the command."""
    names = ("torch", "pytorch-lightning", "datasets", "sentencepiece", "sacrebleu", "jsonargparse", "babel", "numpy")
    packages = {"seq2seq": seq2seq.__version__} | {name: metadata.version(name) for name in names}
    command = shlex.join(["python", "-m", "seq2seq." + Path(sys.argv[0]).stem, *sys.argv[1:]])
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "device": device,
        "packages": packages,
        "git": git_state(),
        "command": command,
    }


def processor() -> str:
    """The name of the processor and its cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def device_name(device: torch.device) -> str:
    """For the report: the accelerator's name, or the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' * (threads != 1)}"


def git_state() -> str | None:
    """Commit of the working directory and whether it is clean; None outside a repository."""
    try:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + (" with changes" if changes.stdout.strip() else "")
