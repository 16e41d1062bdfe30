"""Cache: folders that are made once and named by what they are made of, so that nothing stale is ever read."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from seq2seq.atomic_files import remove, replacing
from seq2seq.configurable import Part
from seq2seq.errors import InputError

log = logging.getLogger(__name__)

CONTENTS = "contents.json"
"""The file that lists the others of its folder with their sizes and checksums."""

BLOCK, BLOCKS = 1 << 16, 1024
"""Bytes of a block, and the most blocks that are read to see whether a kept file is complete."""

GROUND = ("builtins", "abc", "seq2seq.configurable")
"""Modules of bases that make nothing of what is kept."""

ABOUT_THE_DISK = {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}


class Cache:
    """Folders under one root; each is complete or absent, whatever was killed while it was made."""

    def __init__(self, root: str | Path | None = None) -> None:
        """root: where to keep them; None for $SEQ2SEQ_CACHE, else ~/.cache/seq2seq."""
        self.root = Path(root or os.environ.get("SEQ2SEQ_CACHE") or default_root()).expanduser()

    def folder(self, kind: str, key: Any, make: Callable[[Path], None]) -> Path:
        """The folder of `key`, filled by `make` if it is not there yet; other processes wait meanwhile."""
        name = f"{kind}-{digest(key)}"
        path = self.root / name
        if complete(path):
            return path
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f".{name}.lock"):
                if not complete(path):  # another process may have made it while this one waited
                    self._make(path, make)
        except OSError as problem:
            if problem.errno not in ABOUT_THE_DISK:
                raise
            raise InputError(
                f"cannot keep prepared data in {self.root}: {problem.strerror or problem}; "
                "make room or name another folder with --data.cache FOLDER or SEQ2SEQ_CACHE"
            ) from problem
        return path

    def _make(self, path: Path, make: Callable[[Path], None]) -> None:
        for left in self.root.glob(f".{path.name}.*.tmp"):
            remove(left)  # by a process that was killed
        with replacing(path) as temporary:
            temporary.mkdir()
            make(temporary)
            marks = {file.name: mark(file) for file in temporary.iterdir()}
            (temporary / CONTENTS).write_text(json.dumps(marks), encoding="utf-8")
            for file in temporary.iterdir():
                sync(file)
            if path.exists():
                log.warning("%s was damaged and has been made again", path)
                remove(path)


def complete(path: Path) -> bool:
    """True if a folder holds all that was written there."""
    try:
        marks = json.loads((path / CONTENTS).read_text(encoding="utf-8"))
        return all(mark(path / name) == value for name, value in marks.items())
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False


def sync(file: Path) -> None:
    """Make a file outlast a power failure."""
    with open(file, "rb") as opened, contextlib.suppress(OSError):  # some network drives cannot
        os.fsync(opened.fileno())


def digest(key: Any) -> str:
    """A name for plain values."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def checksum(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    hashed = hashlib.sha256()
    try:
        with open(file, "rb") as opened:
            while block := opened.read(1 << 20):
                hashed.update(block)
    except OSError as problem:
        raise InputError(f"{file} cannot be read: {problem.strerror or problem}") from problem
    return hashed.hexdigest()


def checksum_of(data: bytes) -> str:
    """SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def code_of(part: Part) -> list[str]:
    """Checksums of the modules that define a part or a part of it: after an edit or an upgrade nothing old is read."""
    kinds = [kind for kind in type(part).__mro__ if kind.__module__ not in GROUND]
    inner = [value for values in vars(part).values() for value in (values if isinstance(values, list) else [values])]
    files = [getattr(sys.modules.get(kind.__module__), "__file__", None) for kind in kinds]
    own = [checksum(Path(file)) for file in files if file is not None]
    return own + [code for value in inner if isinstance(value, Part) for code in code_of(value)]


def mark(file: Path) -> str:
    """A checksum of a file's bytes, of a large one's evenly spread blocks, by which damage is noticed in time."""
    size, hashed = file.stat().st_size, hashlib.sha256()
    step = max(BLOCK, size // BLOCKS)
    with open(file, "rb") as opened:
        for start in range(0, size, step):
            opened.seek(start)
            hashed.update(opened.read(BLOCK))
    return f"{size} {hashed.hexdigest()}"


def default_root() -> str:
    """Where the system keeps what can be made again."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "seq2seq")
