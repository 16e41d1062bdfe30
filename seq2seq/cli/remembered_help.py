"""The help of a command as it was shown before: torch and the parser need not be made ready for it again.

Kept beside prepared data, and shown only while every file of this package and the versions of Python, torch and
jsonargparse are the same, and no plug-in is installed.
"""

import contextlib
import hashlib
import io
import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from seq2seq import plugins

PACKAGE = Path(__file__).parents[1]

ASKS = ("-h", "--help")

Key = list[list[object]]


def answer_module() -> None:
    """`answer` for `python -m seq2seq.NAME`, called while Python looks for that module."""
    typed = sys.orig_argv
    module = typed[typed.index("-m") + 1] if "-m" in typed[:-1] else ""
    if module.startswith("seq2seq."):
        answer(module.removeprefix("seq2seq."), sys.argv[1:])


def answer(command: str, arguments: Sequence[str]) -> None:
    """Print the help that these arguments ask for, and end; return where it is not known."""
    if (file := file_of(command, arguments)) is None or has_plugins():
        return
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        text, known = content["text"], content["key"] == json.loads(json.dumps(key()))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # never kept, or damaged
        return
    if known and isinstance(text, str):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        try:
            print(text, flush=True)
        except BrokenPipeError:  # the reader went away
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def keep(program: str, arguments: Sequence[str], text: str) -> None:
    """Remember the help that was shown; program: `python -m seq2seq.NAME`."""
    from seq2seq.atomic_files import write_text

    file = file_of(program.rpartition("seq2seq.")[2], arguments)
    if file is None or has_plugins():
        return
    with contextlib.suppress(OSError):  # a home that cannot be written is no reason to fail
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"key": key(), "text": text}))


def has_plugins() -> bool:
    """Whether a plug-in is installed: its classes are in the help, and nothing is known of its files."""
    return any(plugins.points(one) for one in plugins.installed())


def file_of(command: str, arguments: Sequence[str]) -> Path | None:
    """Where the help is; None for arguments that are more than --help with what it is about."""
    if not arguments or arguments[0] not in ASKS or len(arguments) > 2 or not command.isidentifier():
        return None
    folder = Path(os.environ.get("SEQ2SEQ_CACHE") or Path.home() / ".cache" / "seq2seq")
    about = hashlib.sha256(json.dumps([str(PACKAGE), *arguments[1:]]).encode()).hexdigest()[:16]
    return folder / "help" / f"{command}-{about}.json"


def key() -> Key:
    """What the help depends on."""
    files = [(one, one.stat()) for one in sorted(PACKAGE.rglob("*.py"))]
    versions: Key = [[name, metadata.version(name)] for name in ("torch", "jsonargparse")]
    entries: Key = [[str(one.relative_to(PACKAGE)), found.st_mtime_ns, found.st_size] for one, found in files]
    return [[sys.version], *versions, *entries]
