"""Files to rows, format by format. Whatever is wrong names file, line and remedy; nothing is skipped silently."""

import gzip
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from seq2seq.errors import InputError

Pair = tuple[str, str, int]
"""Source, target, and the line where they begin."""

JOINER = "\t"
"""What stands between the tokens of a sentence or the columns of a source: no format lets it be part of one."""

DIVIDER = "￨"
"""What stands between several columns of one token."""

LONGEST_LINE = 1 << 27
"""Bytes of the longest line of any file: a packed file of two megabytes may hold one of gigabytes."""


def raw_lines(file: Path) -> Iterator[bytes]:
    """The lines of a file, gzipped or not, split at line feeds only."""
    number = 0
    try:
        opened = gzip.open(file) if file.suffix == ".gz" else open(file, "rb")  # noqa: SIM115
        with opened:
            for number, line in enumerate(iter(partial(opened.readline, LONGEST_LINE + 1), b""), 1):
                if len(line) > LONGEST_LINE:
                    raise InputError(
                        f"{file}:{number}: a line of more than {LONGEST_LINE:,} bytes; is this a text file?"
                    )
                yield line
    except (OSError, EOFError, zlib.error) as problem:
        where = f"{file}:{number + 1}" if number else str(file)
        raise InputError(
            f"{where} cannot be read: {getattr(problem, 'strerror', None) or problem}; is the file whole?"
        ) from problem


def lines(file: Path, encoding: str = "utf-8", ends: bool = False) -> Iterator[str]:
    """The lines of a text file, without their ends unless `ends` is true."""
    check_encoding(encoding)
    name, first = str(file), True
    for number, line in enumerate(raw_lines(file), 1):
        text = decode_line(line + b"\n" if ends else line, name, number, encoding)
        yield text.removeprefix("\ufeff") if first else text
        first = False


def check_encoding(encoding: str) -> None:
    """Refuse encodings that Python lacks, and those in which a line does not end with the byte of a line feed."""
    try:
        divides = "\n".encode(encoding).endswith(b"\n") and b"a\n".decode(encoding) == "a\n"
    except (LookupError, ValueError) as problem:
        raise InputError(f"data.corpus.encoding: {problem}; common ones are utf-8, latin-1, cp1252") from problem
    if not divides:
        raise InputError(
            f"data.corpus.encoding: {encoding} cannot be read line by line; convert the files, e.g. with "
            f"iconv -f {encoding} -t utf-8"
        )


def decode_line(line: bytes, name: str, number: int, encoding: str = "utf-8") -> str:
    """A line as text, without its line feed and carriage return; `name` and `number` say where it stands."""
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode(encoding)
    except UnicodeDecodeError as problem:
        wrong = f"byte {problem.object[problem.start]:#04x} at position {problem.start + 1}"
        remedy = "convert it, e.g. with iconv -f latin1 -t utf-8, or set data.corpus.encoding, which many corpora have"
        raise InputError(f"{name}:{number}: invalid {encoding.upper()} ({wrong}); {remedy}") from problem


def filled_lines(file: Path, encoding: str = "utf-8") -> Iterator[tuple[str, int]]:
    """Lines and their numbers; an empty one is an error unless nothing follows it."""
    empty = 0
    for number, line in enumerate(lines(file, encoding), 1):
        if not line:
            empty = empty or number
            continue
        if empty:
            raise empty_line(file, empty)
        yield line, number


def empty_line(file: Path, number: int) -> InputError:
    """Nothing where a row should be."""
    return InputError(f"{file}:{number}: an empty line among the rows; remove it")


def listed(value: Any) -> list[Any]:
    """One or several as several."""
    return value if isinstance(value, list) else [value]


def check_delimiter(delimiter: str) -> None:
    """A delimiter is one character."""
    if len(delimiter) != 1:
        raise InputError(f'data.corpus.delimiter is {delimiter!r}; it must be one character, for a tab "\\t"')
