"""The file that a study is kept in: one JSON object a line, appended by several processes, whole after any kill.

Optuna's own file backend leaves half a line where a disk is full, after which the study cannot be read, and a lock that
outlives a killed process.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from seq2seq.errors import InputError


class Journal:
    """Optuna's log as lines of a file: what its JournalStorage asks of a backend, without its base class."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = FileLock(file.with_name(f".{file.name}.lock"))
        self._offsets = [0]
        """Where each line begins that has been read, and the next one."""

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The objects from a number on; what follows the last line break was not written to its end."""
        if not self.file.is_file():
            return
        start = min(log_number_from, len(self._offsets) - 1)
        with self.file.open("rb") as opened:
            opened.seek(self._offsets[start])
            for number, line in enumerate(opened, start):
                if not line.endswith(b"\n"):
                    return
                if number + 1 == len(self._offsets):
                    self._offsets.append(self._offsets[number] + len(line))
                if number >= log_number_from:
                    yield self._object(line, number)

    def _object(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise InputError(
                f"{self.file}:{number + 1}: no JSON; bring it back, or choose another --folder"
            ) from problem
        if not isinstance(content, dict):
            raise InputError(f"{self.file}:{number + 1} holds no object; bring it back, or choose another --folder")
        return content

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add objects, all or none."""
        text = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with self._lock, self.file.open("ab+") as opened:
            whole = end_of_lines(opened)
            try:
                opened.truncate(whole)
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
            except OSError:
                os.truncate(self.file, whole)
                raise


def end_of_lines(opened: Any) -> int:
    """The bytes of a file up to its last line break."""
    end: int = opened.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        opened.seek(start)
        place = opened.read(end - start).rfind(b"\n")
        if place >= 0:
            return int(start + place + 1)
        end = start
    return 0
