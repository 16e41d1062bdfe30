"""Output lines of `predict`: to standard output, or to a file that a later call may resume."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from seq2seq.errors import InputError


class OutputLines:
    """One line for each input line, in order; those that are there already are compared and not written again."""

    def __init__(self, file: BinaryIO, path: Path | None = None, done: int = 0) -> None:
        """file: where new lines go; path: of it, if it is a file with `done` lines that an earlier call has written."""
        self.file, self.path, self.done = file, path, done
        self.seen = 0
        """Input lines so far."""

    def needs(self, number: int, count: int) -> bool:
        """Whether any of `count` lines after the first `number` is to be predicted.

        Those around the last line that is there are, so that they can be compared: in the batches of the first call.
        """
        self.seen = number + count
        return self.seen >= self.done

    def write(self, number: int, lines: Sequence[str]) -> None:
        """Lines after the first `number`."""
        there = max(0, min(len(lines), self.done - number))
        if there:
            self._compare(number, lines[:there])
        self.file.write("".join(f"{line}\n" for line in lines[there:]).encode())
        self.file.flush()

    def end(self) -> None:
        """No further input comes."""
        if self.seen < self.done:
            raise InputError(
                f"{self.path} has {self.done:,} lines and standard input {self.seen:,}; is it another input?"
            )

    def _compare(self, number: int, lines: Sequence[str]) -> None:
        """InputError where a line that is there is not what is predicted now."""
        if self.path is None:
            return
        with self.path.open("rb") as written:
            for place, (old, new) in enumerate(zip(islice(written, number, None), lines, strict=False), number + 1):
                if old != f"{new}\n".encode():
                    raise InputError(
                        f"{self.path}:{place}: not what is predicted for line {place} of standard input now; --resume "
                        "needs the run, input and options of the call that was interrupted"
                    )


@contextlib.contextmanager
def opened(path: Path | None, resume: bool) -> Iterator[OutputLines]:
    """Where predictions go; path: of a file, None for standard output."""
    if path is None:
        yield OutputLines(sys.stdout.buffer)
        return
    try:
        with path.open("r+b" if resume and path.exists() else "xb") as file:
            done = keep_whole_lines(file) if resume else 0
            yield OutputLines(file, path, done)
    except FileExistsError:
        raise InputError(
            f"{path} is there already; add --resume to go on with it, or choose another --output"
        ) from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as problem:
        raise InputError(f"{path} cannot be written: {problem.strerror}") from problem


def keep_whole_lines(file: BinaryIO) -> int:
    """How many lines a file has; what follows the last of them is cut off, and writing goes on there."""
    count = end = 0
    for line in file:
        if not line.endswith(b"\n"):
            break
        count, end = count + 1, end + len(line)
    file.seek(end)
    file.truncate()
    return count
