"""A run as a folder that others can load: parameters, settings, tokenizers and a card, here or on the Hub."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.atomic_files import remove, replacing
from seq2seq.errors import InputError
from seq2seq.report.model_card import Described, card
from seq2seq.report.reading import read_results
from seq2seq.runs import checkpoint, model_folder
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task


def refuse_foreign(output: Path, overwrite: bool, names: Sequence[str]) -> None:
    """Raise InputError for what is there already and must stay: all but a folder of nothing but files of these names,
    the first one included."""
    if not output.exists():
        return
    if not overwrite:
        raise InputError(f"{output} is there already; replace it with --overwrite, or choose another --output")
    if not (output / names[0]).is_file() or {file.name for file in output.iterdir()} - {*names}:
        raise InputError(f"{output} holds something else than an exported model; choose another --output")


def inside(folder: Path, name: str) -> Path:
    """A file in a new folder."""
    folder.mkdir()
    return folder / name


def make_way(output: Path) -> None:
    """Remove the folder that another is about to replace, in whose place none can be moved."""
    if output.exists():
        remove(output)


def write(
    content: Mapping[str, Any], task: Task, run: RunDirectory, output: Path, repository: str | None, licence: str | None
) -> str:
    """Write a checkpoint's content as a folder, and read it back before it takes its place; returns the fingerprint.

    repository: where it will be on the Hub.
    """
    published = model_folder.published(content)
    digest, own = checkpoint.digest(published), published["seq2seq"]
    text = card(
        Described(
            name=run.path.resolve().name,
            task=json.loads(own["task"]),
            data=json.loads(own["data"])["init_args"],
            decoding=json.loads(own["decoding"])["init_args"],
            parameters=task.parameter_counts(),
            results=read_results(run.results) if run.results.is_file() else {},
            fingerprint=digest,
            repository=repository,
            licence=licence,
        )
    )
    with replacing(output) as temporary:
        model_folder.write(published, digest, temporary, text)
        checkpoint.restore(checkpoint.read(temporary / model_folder.MODEL), output)
        make_way(output)
    return digest
