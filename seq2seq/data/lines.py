"""The lines of text files, gzipped or not, and how the texts of a row are written on one line.

A line ends at a line feed only. Whatever is wrong names file, line and remedy; nothing is skipped silently.
"""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from seq2seq.errors import InputError

JOINER = "\t"
"""What stands between the tokens of a sentence or the columns of a source: no format lets it be part of one."""

DIVIDER = "￨"
"""What stands between several columns of one token."""

CLASS_MARK = "\N{DOUBLE VERTICAL LINE}"
"""What stands between the class of a sentence and the labels of its tokens, where a row has both."""

LONGEST_LINE = 1 << 27
"""Bytes of the longest line of any file: a packed file of two megabytes may hold one of gigabytes."""

STANDARD_INPUT = "standard input"
"""What messages call it; nothing says how it is encoded."""

BLOCK = 1 << 16
"""Bytes of the lines that are read and decoded together, or somewhat more."""


def raw_lines(file: Path) -> Iterator[bytes]:
    """The lines of a file, with their ends."""
    return chain.from_iterable(raw_blocks(file))


def raw_blocks(file: Path) -> Iterator[list[bytes]]:
    """The same, some lines at a time."""
    number, size = 0, 0
    block: list[bytes] = []
    try:
        opened = gzip.open(file) if file.suffix == ".gz" else open(file, "rb")  # noqa: SIM115
        with opened:
            for number, line in enumerate(iter(partial(opened.readline, LONGEST_LINE + 1), b""), 1):
                if len(line) > LONGEST_LINE:
                    raise InputError(
                        f"{file}:{number}: a line of more than {LONGEST_LINE:,} bytes; is this a text file?"
                    )
                block.append(line)
                size += len(line)
                if size >= BLOCK:
                    yield block
                    block, size = [], 0
    except (OSError, EOFError, zlib.error) as problem:
        location = f"{file}:{number + 1}" if number else str(file)
        raise InputError(
            f"{location} cannot be read: {getattr(problem, 'strerror', None) or problem}; is the file complete?"
        ) from problem
    yield block


def lines(file: Path, encoding: str = "utf-8", ends: bool = False) -> Iterator[str]:
    """The lines of a text file, without their ends unless `ends` is true."""
    return chain.from_iterable(blocks(file, encoding, ends))


def filled_lines(file: Path, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a text file without its last empty ones; another empty one is an error."""
    return chain.from_iterable(filled_blocks(file, encoding))


def blocks(file: Path, encoding: str, ends: bool = False) -> Iterator[list[str]]:
    """Lines, some at a time."""
    check_encoding(encoding)
    number = 0
    for block in raw_blocks(file):
        if not number and block:
            block[0] = without_mark(block[0], str(file))
            if b"\n" not in block[0] and block[0].strip(b"\r").count(b"\r") > 1:
                raise InputError(f"{file}: lines end with carriage returns alone; convert it, e.g. with tr '\\r' '\\n'")
        texts = [decode_line(line, str(file), row, encoding, ends) for row, line in enumerate(block, number + 1)]
        number += len(block)
        yield texts


def without_mark(first: bytes, name: str) -> bytes:
    """The first line of a file or stream without the byte order mark of UTF-8; InputError for one of UTF-16."""
    marked = first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    even, odd = first[:64:2], first[1:64:2]
    high, low = (
        len(one) > 3 and 2 * one.count(0) > len(one) and 0 not in other for one, other in ((even, odd), (odd, even))
    )
    if marked or high or low:
        kind = "utf-16" if marked else "utf-16be" if high else "utf-16le"
        raise InputError(f"{name}:1: this is UTF-16, not UTF-8; convert it, e.g. with iconv -f {kind} -t utf-8")
    return first.removeprefix(codecs.BOM_UTF8)


def filled_blocks(file: Path, encoding: str) -> Iterator[list[str]]:
    """Lines, some at a time, up to the first empty one, which nothing may follow."""
    number = empty = 0
    for block in blocks(file, encoding):
        count = block.index("") if "" in block else len(block)
        if count < len(block):
            empty = empty or number + count + 1
        if (empty and count and number + count >= empty) or any(block[count:]):
            raise empty_line(file, empty)
        number += len(block)
        yield block[:count]


def empty_line(file: Path, number: int) -> InputError:
    """Nothing where a row should be."""
    return InputError(f"{file}:{number}: an empty line among the rows; remove it")


def check_encoding(encoding: str) -> None:
    """Refuse encodings that Python lacks, and those in which a line does not end with the byte of a line feed."""
    try:
        separable = "\n".encode(encoding).endswith(b"\n") and b"a\n".decode(encoding) == "a\n"
    except (LookupError, ValueError) as problem:
        raise InputError(f"data.corpus.encoding: {problem}; common ones are utf-8, latin-1, cp1252") from problem
    if not separable:
        raise InputError(
            f"data.corpus.encoding: {encoding} cannot be read line by line; convert the files, e.g. with "
            f"iconv -f {encoding} -t utf-8"
        )


def decode_line(line: bytes, name: str, number: int, encoding: str = "utf-8", end: bool = False) -> str:
    """A line as text, without its line feed and carriage return unless `end`; `name` and `number`: its location."""
    try:
        return (line if end else line.removesuffix(b"\n").removesuffix(b"\r")).decode(encoding)
    except UnicodeDecodeError as problem:
        wrong = f"byte {problem.object[problem.start]:#04x} at position {problem.start + 1}"
        remedy = "convert it, e.g. with iconv -f latin1 -t utf-8"
        if name != STANDARD_INPUT:
            remedy += ", or set data.corpus.encoding, which many corpora have"
        raise InputError(f"{name}:{number}: invalid {encoding.upper()} ({wrong}); {remedy}") from problem


def with_class(name: str, labels: str, location: str) -> str:
    """The labels of a sentence behind its class."""
    name = " ".join(name.split())
    if not name or CLASS_MARK in name:
        raise InputError(f"{location}: the class of the sentence is {name!r}; write a name without {CLASS_MARK}")
    return f"{name} {CLASS_MARK} {labels}"


def as_list(value: Any) -> list[Any]:
    """One or several as several."""
    return value if isinstance(value, list) else [value]


def check_delimiter(delimiter: str) -> None:
    """A delimiter is one character."""
    if len(delimiter) != 1:
        raise InputError(f'data.corpus.delimiter is {delimiter!r}; it must be one character, for a tab "\\t"')
