"""A checkpoint as a folder that others can read: safetensors, JSON and tokenizers, without code or pickle.

Every file has a fixed name; nothing in the folder says where another one is.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor
from typing_extensions import NotRequired, TypedDict

from seq2seq.errors import InputError
from seq2seq.plain_types import refuse_misfit

MODEL, SETTINGS, CARD = "model.safetensors", "settings.json", "README.md"
TOKENIZERS = ("source.tokenizer", "target.tokenizer")
"""Of a vocabulary that both sides share there is the first alone."""

FILES = (SETTINGS, MODEL, CARD, *TOKENIZERS)
"""All that a folder holds, and so all that is fetched from the Hub or sent there."""

TRAINED = "trained"
"""The tensor that holds the checksums of the training rows; the other tensors are parameters."""

DESCRIBED = ("data", "task", "decoding", "length_bound", "tokenizers")
"""What a checkpoint keeps as JSON."""

KEPT = ("content", "validation", "test", "version", "trained", "distributions")
"""What is kept about the run: what tells whether rows were trained on, and where classes came from."""


class StoredSettings(TypedDict):
    """settings.json."""

    format: int
    sha256: str
    """Of the content, as a checkpoint has it."""
    data: dict[str, Any]
    task: dict[str, Any]
    decoding: dict[str, Any]
    length_bound: NotRequired[list[float] | None]
    tokenizers: list[dict[str, Any]]
    run: dict[str, Any]


def published(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder holds of a checkpoint's content, in the same form: neither optimiser nor this machine's folders."""
    own = content["seq2seq"]
    run = json.loads(own.get("run", "{}"))
    values = {name: without_folders(json.loads(own[name])) for name in DESCRIBED if name in own}
    values["data"]["init_args"]["cache"] = None
    described = {name: json.dumps(value) for name, value in values.items()}
    kept = {
        "format": own["format"],
        **described,
        "tokenizer_states": list(own["tokenizer_states"]),
        "run": json.dumps({name: run[name] for name in KEPT if run.get(name) is not None}),
    }
    return {"seq2seq": {**kept, **({TRAINED: own[TRAINED]} if TRAINED in own else {})},
            "state_dict": dict(sorted(content["state_dict"].items()))}  # fmt: skip


def without_folders(value: Any) -> Any:
    """A setting in which absolute paths, such as those of somebody's home, are the name of the file alone."""
    if isinstance(value, dict):
        return {name: without_folders(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_folders(inner) for inner in value]
    if isinstance(value, str) and os.path.isabs(os.path.expanduser(value)):
        return Path(value).name or value  # a lone separator is no path
    return value


def write(content: Mapping[str, Any], digest: str, folder: Path, card: str) -> None:
    """Write what `published` gave into a new folder; digest: of that content; card: the text for people."""
    save = safetensors("save")
    own = content["seq2seq"]
    tensors = {name: tensor.detach().clone(memory_format=torch.contiguous_format)  # shared ones are refused there
               for name, tensor in content["state_dict"].items()}  # fmt: skip
    settings = {name: json.loads(own[name]) for name in (*DESCRIBED, "run") if name in own}
    folder.mkdir()
    trained = {TRAINED: own[TRAINED]} if TRAINED in own else {}
    (folder / MODEL).write_bytes(save(tensors | trained, {"format": "pt"}))
    for name, state in zip(TOKENIZERS, own["tokenizer_states"], strict=False):
        (folder / name).write_bytes(state.numpy().tobytes())
    text = json.dumps({"format": own["format"], "sha256": digest, **settings}, indent=1)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8", errors="replace")


def read(model: Path) -> dict[str, Any]:
    """The content of a checkpoint, not checked yet, from the folder of a model.safetensors."""
    load_file = safetensors("load_file")
    folder = model.parent
    settings = read_settings(folder / SETTINGS)
    tensors: dict[str, Tensor] = load_file(model)
    trained = {TRAINED: tensors.pop(TRAINED)} if TRAINED in tensors else {}
    states = [bytes_of(folder / name) for name, _ in zip(TOKENIZERS, settings["tokenizers"], strict=False)]
    own = {
        "format": settings["format"],
        **{name: json.dumps(settings[name]) for name in DESCRIBED if name in settings},
        "tokenizer_states": states,
        "run": json.dumps(settings["run"]),
        **trained,
    }
    return {"seq2seq": own, "state_dict": dict(sorted(tensors.items())), "sha256": settings["sha256"]}


def read_settings(file: Path) -> dict[str, Any]:
    """settings.json; InputError where it is missing or is none."""
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        lacks(file)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{file} is no JSON, or is damaged: {str(problem)[:100]}; export the run again") from problem
    refuse_misfit(settings, StoredSettings, SETTINGS)
    return settings


def bytes_of(file: Path) -> Tensor:
    """A file as a tensor (length,) of bytes."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        lacks(file)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def lacks(file: Path) -> NoReturn:
    """Refuse a folder that is not whole."""
    raise InputError(f"{file.parent} lacks {file.name}; copy the whole folder, or export the run again (--to folder)")


def safetensors(function: str) -> Any:
    """A function of the package; InputError where it is missing."""
    try:
        import safetensors.torch as package
    except ImportError:
        raise InputError(
            "a folder needs safetensors, which is not installed; pip install 'recurrent-seq2seq[hub]'"
        ) from None
    return getattr(package, function)
