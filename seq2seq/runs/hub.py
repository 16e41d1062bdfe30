"""Folders of the Hub: fetched and sent by huggingface_hub, whose own settings say where it is and who asks."""

import re
from pathlib import Path
from typing import Any

from seq2seq.errors import InputError
from seq2seq.runs import model_folder

NAMED = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
"""OWNER/NAME, or OWNER/NAME@REVISION."""


def is_name(text: str) -> bool:
    """Whether a text that is no path here may name a repository: a folder OWNER that is here is somebody's runs."""
    return NAMED.fullmatch(text) is not None and not Path(text).exists() and not Path(text.split("/")[0]).exists()


def pull(name: str) -> Path:
    """The folder of a repository, from the cache of huggingface_hub where it is there."""
    package = huggingface_hub()
    match = NAMED.fullmatch(name)
    if match is None:
        raise InputError(f"{name!r} is no OWNER/NAME of the Hub")
    try:
        found = package.HfApi().snapshot_download(match[1], revision=match[2], allow_patterns=list(model_folder.FILES))
    except Exception as problem:  # a dozen kinds of several packages
        raise failed(f"{name} is neither here nor to be had from the Hub", problem) from problem
    if not (Path(found) / model_folder.SETTINGS).is_file():
        raise InputError(f"{name} has no {model_folder.SETTINGS}: it is no folder that seq2seq.export has written")
    return Path(found)


def push(folder: Path, name: str, private: bool) -> str:
    """Send a folder to a repository, which is made if need be; returns where it is."""
    hub = huggingface_hub().HfApi()
    try:
        hub.create_repo(name, private=private, exist_ok=True)
        sent = hub.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(model_folder.FILES), commit_message="Model of seq2seq"
        )
    except Exception as problem:  # a dozen kinds of several packages
        raise failed(f"{folder} was written, but not sent to {name}", problem) from problem
    return str(sent.commit_url)


def refuse_wrong(name: str) -> None:
    """Raise InputError for what is no name of a repository."""
    match = NAMED.fullmatch(name)
    if match is None or match[2] is not None:
        raise InputError(f"--push is {name!r}; it must be OWNER/NAME")


def failed(what: str, problem: Exception) -> InputError:
    """What the package says, in one line."""
    while problem.__cause__ is not None and isinstance(problem.__cause__, Exception):
        problem = problem.__cause__
    said = " ".join(str(problem).split())[:200] or type(problem).__name__
    return InputError(f"{what}: {said}; check the name, the network and, for what is private, hf auth login")


def huggingface_hub() -> Any:
    """The package; InputError where it is missing."""
    try:
        import huggingface_hub as package
    except ImportError:
        raise InputError("the Hub needs huggingface_hub; pip install 'recurrent-seq2seq[hub]'") from None
    return package
