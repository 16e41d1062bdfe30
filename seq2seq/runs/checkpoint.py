"""Checkpoints: tensors and JSON in one file, written so that the previous one survives any failure."""

import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import NotRequired, TypedDict

from seq2seq import plugins
from seq2seq.atomic_files import replacing
from seq2seq.configurable import build
from seq2seq.data.datamodule import DataModule
from seq2seq.data.trained_rows import TrainedRows, restored
from seq2seq.errors import InputError, UnknownClass
from seq2seq.plain_types import refuse_misfit
from seq2seq.runs import model_folder, safe_load
from seq2seq.tasks import fusion
from seq2seq.tasks.base import Task, pack_task, unpack_task

FORMAT = 1
"""Version of what `packed` holds."""

TRAINED = "trained"
"""Where a checkpoint keeps the checksums of its training rows."""

DIGEST = "sha256"
"""Where a checkpoint keeps the checksum of all the rest."""


def packed(
    task: Task, data: DataModule, run: dict[str, Any] | None = None, trained: TrainedRows | None = None
) -> dict[str, Any]:
    """What a checkpoint holds besides parameters and optimiser: task, tokenizers, and where its data came from.

    run: what is needed to resume, as plain values; see `RunState`. trained: which rows the task was trained on.
    """
    described = {"format": FORMAT, "data": json.dumps(data.specification()), **pack_task(task)}
    run, rows = {**(run or {}), **of_others(described)}, {}
    if trained is not None:
        run = {**run, "trained": trained.described}
        rows = {TRAINED: torch.from_numpy(trained.sums.view(np.int32).copy())}
    return {**described, "run": json.dumps(run), **rows}


def of_others(described: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The distributions of the classes in a description that are not this package's, by module; nothing for none."""
    text = " ".join(str(described[name]) for name in ("data", "task", "tokenizers"))
    modules = {path.rpartition(".")[0] for path in re.findall(r'"class_path": "([\w.]+\.\w+)"', text)}
    known = {module: plugins.distribution_of(module) for module in sorted(modules)}
    found = {module: name for module, name in known.items() if name is not None}
    return {"distributions": found} if found else {}


def with_distribution(problem: UnknownClass, content: dict[str, Any]) -> InputError:
    """The same problem with the distribution that the class came from, as the checkpoint says."""
    known: dict[str, str] = stored(content, "distributions") or {}
    name, _, version = known.get(problem.wanted.rpartition(".")[0], "").partition(" ")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,80}", name):
        return problem
    came = f"the checkpoint says that it came with the distribution {name} {version:.40}".rstrip()
    try:
        remedy = f"{came}, of which {metadata.version(name)} is installed: install the version that has it"
    except metadata.PackageNotFoundError:
        remedy = f"{came}, which is not installed: install it if you trust it"
    return UnknownClass(problem.problem, problem.wanted, remedy)


def trained_rows(content: dict[str, Any]) -> TrainedRows | None:
    """Which rows a checkpoint was trained on; None where an older version wrote it, which kept no record."""
    described, sums = stored(content, "trained"), content["seq2seq"].get(TRAINED)
    if described is None and sums is None:
        return None
    if not isinstance(sums, Tensor) or sums.dtype is not torch.int32 or sums.dim() != 1:
        raise InputError("the checkpoint's record of its training rows is damaged; bring it back from a copy")
    return restored(described, np.unique(sums.numpy().view(np.uint32)))


class RunState(TypedDict, total=False):
    """What a checkpoint keeps about its run besides tensors; older ones lack some of it."""

    content: str | None
    """The checksum of the training rows as they were read."""
    validation: str | None
    """That of the validation rows."""
    test: str | None
    """That of the test rows."""
    teacher: str | None
    """That of the checkpoint that was learnt from."""
    parent: dict[str, Any] | None
    """The run that this one was started from, as results.json has it."""
    warmup: int | None
    """Optimiser steps of the warm-up."""
    version: str | None
    place: "StoredPlace | None"
    device_tokens: int | None
    """Of a micro-batch."""
    watch: tuple[float | None, int, float] | tuple[float | None, int, float, float | None] | None
    """The plateau state of the schedule."""
    skipped: "StoredSkips | None"
    distributions: dict[str, str]
    """Where classes of others came from: name and version of the distribution, by module."""


class StoredPlace(TypedDict):
    """The position in a streamed corpus."""

    epoch: int
    window: int
    row: int
    step: int
    stream: dict[str, Any] | None
    """What `datasets` resumes from."""


class StoredSkips(TypedDict):
    """Steps that were skipped, and micro-batches that were split."""

    steps: int
    in_a_row: int
    split: int
    newest: NotRequired[int]
    parameters: str


def stored(content: dict[str, Any], name: str) -> Any:
    """A value that a checkpoint keeps about its run; None if it has none of that name."""
    try:
        run = json.loads(content["seq2seq"].get("run", "{}"))
        refuse_misfit(run, RunState, "run")
    except (ValueError, TypeError, AttributeError, RecursionError) as problem:
        raise InputError(f"the checkpoint lacks the state of its run, or is damaged: {problem}") from problem
    return run.get(name)


def write(content: dict[str, Any], path: Path) -> None:
    """Save so that at any moment `path` is either the old checkpoint or the whole new one.

    A temporary file, flushed to the disk and read back before it is renamed over the old one.
    """
    content = {**content, DIGEST: digest(content)}
    try:
        with replacing(path) as temporary:
            save(content, temporary)
        sync_folder(path.parent)
    except OSError as problem:
        reason = problem.strerror or first_line(problem)
        remedy = "continue with --resume true; the previous one is kept" if path.exists() else "start again"
        raise InputError(f"cannot save {path}: {reason}; make room or fix the directory, then {remedy}") from problem


def save(content: dict[str, Any], file: Path) -> None:
    """Write a new file, flushed to the disk, and read it back."""
    try:
        with open(file, "xb") as opened:
            torch.save(content, opened)
            opened.flush()
            os.fsync(opened.fileno())
        if digest(torch.load(file, map_location="cpu", weights_only=True)) != content[DIGEST]:
            raise OSError("what was written reads back differently, the disk may be failing")
    except pickle.UnpicklingError as problem:
        raise InputError(
            f"cannot save {file.parent}: what a callback of trainer.callbacks keeps in its state_dict is neither a "
            f"tensor nor plain: {first_line(problem)}"
        ) from problem
    except RuntimeError as problem:  # torch turns a full disk into one about positions
        full = shutil.disk_usage(file.parent).free < 1 << 20
        known = "No space left on device" if full else "File too large, ulimit -f is set" if files_limited() else ""
        raise OSError(known or first_line(problem)) from problem


def files_limited() -> bool:
    """Whether the shell has a limit on the size of files."""
    try:
        import resource
    except ImportError:  # another kind of operating system
        return False
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def digest(content: Mapping[str, Any]) -> str:
    """A checksum of all that a checkpoint holds, its own entry left out: names, numbers and the bytes of tensors."""
    total = hashlib.sha256()
    add_to(total, {name: value for name, value in content.items() if name != DIGEST})
    return total.hexdigest()


def add_to(total: "hashlib._Hash", value: Any) -> None:
    """Add a value of plain types and tensors to a checksum, so that no two different ones add the same bytes."""
    if isinstance(value, Tensor):
        total.update(f"tensor {value.dtype} {tuple(value.shape)};".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        if flat.stride(0) != 1:  # a single number, whose stride may be anything
            flat = flat.clone(memory_format=torch.contiguous_format)
        total.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        total.update(f"mapping {len(value)};".encode())
        for name, entry in value.items():
            add_to(total, name)
            add_to(total, entry)
    elif isinstance(value, (list, tuple)):
        total.update(f"sequence {len(value)};".encode())
        for entry in value:
            add_to(total, entry)
    elif isinstance(value, (bytes, bytearray)):
        total.update(f"bytes {len(value)};".encode())
        total.update(value)
    else:
        text = f"{type(value).__name__} {value!r}".encode()
        total.update(f"{len(text)};".encode() + text)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, tensors on the CPU. Nothing in it can run code."""
    try:
        content = model_folder.read(path) if path.name == model_folder.MODEL else safe_load.load(path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no checkpoint {path}") from None
    except Exception as problem:  # torch raises a dozen kinds for a file that is no checkpoint
        raise InputError(
            f"{path} is no checkpoint of seq2seq, or is damaged: {first_line(problem)}; {remedy_of(path)}"
        ) from problem
    own = content.get("seq2seq") if isinstance(content, dict) else None
    if not isinstance(own, dict) or "state_dict" not in content:
        raise InputError(f"{path} is no checkpoint of seq2seq: it holds no task")
    if own.get("format") != FORMAT:
        raise InputError(f"{path} has format {own.get('format')}, this version reads format {FORMAT}")
    if content.get(DIGEST) != digest(content):
        raise InputError(f"{path} is damaged: its content differs from its checksum; {remedy_of(path)}")
    return dict(content)


def remedy_of(path: Path) -> str:
    """What to do about a damaged checkpoint."""
    if path.name == model_folder.MODEL:
        return "copy the whole folder again, or export the run again with python -m seq2seq.export RUN --to folder"
    other = path.with_name("best.ckpt" if path.name == "last.ckpt" else "last.ckpt")
    beside = f"; {other} may be whole" if other.is_file() else ""
    return f"bring it back from a copy, or train again with --overwrite true{beside}"


def first_line(problem: Exception) -> str:
    """What went wrong, on one line."""
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__


def find(run: str | Path) -> Path:
    """The checkpoint that a run directory or a file name means: the best one, else the last one.

    Of a folder that was exported it is the file with its parameters.
    """
    path = Path(run)
    if path.is_file():
        return path
    if (path / model_folder.SETTINGS).is_file():
        return path / model_folder.MODEL
    for name in ("best.ckpt", "last.ckpt"):
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    where = "has no checkpoints/best.ckpt" if path.is_dir() else "does not exist"
    raise InputError(f"{path} {where}; give a run directory or a checkpoint that seq2seq.train has written")


def home(path: Path) -> Path:
    """The run directory, or the exported folder, that a checkpoint stands in."""
    return path.parent if path.name == model_folder.MODEL else path.parent.parent


def restore(content: dict[str, Any], path: Path, finite: bool = True) -> Task:
    """The trained task of a checkpoint's content, ready to predict; finite: whether its parameters must be."""
    try:
        prefix = "task."
        parameters = {key.removeprefix(prefix): value for key, value in content["state_dict"].items()}
        with safe_load.Bounded(parameters.values()):
            task = unpack_task(content["seq2seq"])
        state = task.state_dict()
        if strange := set(parameters) ^ set(state):
            raise ValueError(f"parameters that are missing or unknown: {', '.join(sorted(map(str, strange)))[:200]}")
        task.load_state_dict({name: safe_load.laid_out(parameters[name], state[name], name, finite) for name in state})
    except UnknownClass as problem:
        raise with_distribution(problem, content) from problem
    except InputError:
        raise
    except Exception as problem:
        raise InputError(f"{path} does not fit this version of seq2seq: {first_line(problem)}") from problem
    return task.eval()


def task_of(run: str) -> Task:
    """The trained task of a run directory or a checkpoint, read once as long as the file does not change."""
    path = find(run)
    return read_task(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def read_task(path: Path, changed: int) -> Task:
    """The trained task of a checkpoint; changed: when it was written."""
    return restore(read(path), path)


fusion.runs["read"] = task_of


def data_of(content: dict[str, Any], path: Path) -> DataModule:
    """What a checkpoint's data came from. It cannot import anything, nor say where this machine keeps prepared data."""
    specification = data_specification(content, path)
    try:
        data = build(DataModule, specification)
        data.specification()
    except UnknownClass as problem:
        raise with_distribution(problem, content) from problem
    except InputError:
        raise
    except Exception as problem:
        raise InputError(f"{path} does not say where its data came from: {first_line(problem)}") from problem
    data.cache = None
    return data


def data_specification(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Where the data of a checkpoint came from, as plain values."""
    try:
        specification: dict[str, Any] = json.loads(content["seq2seq"]["data"])
        known = isinstance(specification["init_args"]["max_length"], int)
    except (KeyError, TypeError, ValueError, RecursionError):
        known = False
    if not known:
        raise InputError(f"{path} does not say where its data came from, or is damaged")
    return specification


def longest_source(content: dict[str, Any], path: Path) -> int:
    """Tokens of a source to which a checkpoint's task cuts longer ones."""
    longest: int = data_specification(content, path)["init_args"]["max_length"]
    return longest


def load(run: str | Path) -> Task:
    """The trained task of a run directory or checkpoint, from that file alone."""
    path = find(run)
    return restore(read(path), path)
