"""Files to rows, format by format. Whatever is wrong names file, line and remedy; nothing is skipped silently."""

import csv
import gzip
import json
import math
import re
import reprlib
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from seq2seq.data.number_text import text_of_list
from seq2seq.errors import InputError

Pair = tuple[str, str, int]
"""Source, target, and the line where they begin."""

JOINER = "\t"
"""What stands between the tokens of a sentence or the columns of a source: no format lets it be part of one."""

DIVIDER = "￨"
"""What stands between several columns of one token."""

BLANKS = " \t"
"""What may stand on a line that ends a sentence. Wider blanks, such as U+00A0, are text."""

LONGEST_LINE = 1 << 27
"""Bytes of the longest line of any file: a packed file of two megabytes may hold one of gigabytes."""

LONGEST_FIELD = 1 << 27
"""Characters of the longest field of a CSV file."""

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""The columns of CoNLL-U."""


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


def parallel(source: Path, target: Path, encoding: str) -> Iterator[Pair]:
    """Line n of one file with line n of the other."""
    number, pairs = 0, zip_longest(lines(source, encoding), lines(target, encoding))
    for number, (one, other) in enumerate(pairs, 1):
        if one is None or other is None:
            longer = number + sum(1 for _ in pairs)
            counts = (number - 1, longer) if one is None else (longer, number - 1)
            raise InputError(
                f"{source} has {counts[0]} lines but {target} has {counts[1]}; "
                "line n of one must belong to line n of the other"
            )
        yield one, other, number


def delimited(file: Path, delimiter: str, columns: int | None, encoding: str) -> Iterator[tuple[list[str], int]]:
    """The fields of each line; `columns` is the most that a line is split into. Empty lines may stand at the end."""
    split = -1 if columns is None else columns - 1
    for line, number in filled_lines(file, encoding):
        yield line.split(delimiter, split), number


def quoted(file: Path, delimiter: str, encoding: str) -> Iterator[tuple[list[str], int]]:
    """The fields of each record of a CSV file, in which quotation marks protect delimiters and line ends."""
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(lines(file, encoding, ends=True), delimiter=delimiter, strict=True)
    start = 1
    try:
        empty = 0
        for fields in reader:
            if not fields:
                empty = empty or start
            elif empty:
                raise empty_line(file, empty)
            else:
                yield fields, start
            start = reader.line_num + 1
    except csv.Error as problem:
        remedy = "a quotation mark inside a field is written twice; without quotation marks choose Tsv"
        raise InputError(f"{file}:{start}: no CSV: {problem}; {remedy}") from problem


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


def table(
    records: Iterator[tuple[list[str], int]], file: Path, wanted: Sequence[Sequence[int | str]], header: bool
) -> Iterator[Pair]:
    """Source and target out of records; `wanted` holds the columns of each, counted from 1 or named by the header."""
    names: list[str] | None = None
    places: list[list[int]] | None = None
    width = 0
    for fields, line in records:
        if places is None:
            names, width = (fields if header else None), len(fields)
            places = [[column_place(column, names, width, f"{file}:{line}") for column in side] for side in wanted]
            if header:
                continue
        if len(fields) != width:
            first = "the header" if header else "the first line"
            raise InputError(
                f"{file}:{line}: {len(fields)} columns, but {first} has {width}; mend the line, or set "
                "data.corpus.delimiter or data.corpus.columns"
            )
        source, target = (JOINER.join([fields[place] for place in side]) for side in places)
        yield source, target, line


def column_place(column: int | str, names: Sequence[str] | None, width: int, where: str) -> int:
    """The index of a column."""
    if isinstance(column, int):
        if not 1 <= column <= width:
            raise InputError(
                f"{where}: {width} columns, so there is no column {column}; set data.corpus.source and "
                "data.corpus.target to columns from 1"
            )
        return column - 1
    there = list(names or ()).count(column)
    if there != 1:
        wrong = f"{there} columns" if there else "no column"
        raise InputError(f"{where}: there is {wrong} {column!r} in the header {', '.join(names or ())}")
    return list(names or ()).index(column)


def json_lines(file: Path, wanted: Sequence[Sequence[str]]) -> Iterator[Pair]:
    """Two values of the object on each line; a dotted name reaches into an inner object."""
    for line, number in filled_lines(file):
        where = f"{file}:{number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise InputError(f"{where}: no JSON ({problem}); is the line cut off?") from problem
        source, target = (JOINER.join([text_of(pick(content, name, where), where, name) for name in side])
                          for side in wanted)  # fmt: skip
        yield source, target, number


def pick(content: Any, name: str, where: str) -> Any:
    """A value of a JSON object by its dotted name."""
    value = content
    for part in [name] if isinstance(content, dict) and name in content else name.split("."):
        if not isinstance(value, dict) or part not in value:
            there = ", ".join(map(str, value)) if isinstance(value, dict) else reprlib.repr(value)
            raise InputError(f"{where}: there is no {name!r}, only {there or 'nothing'}; see data.corpus")
        value = value[part]
    return value


def text_of(value: Any, where: str, name: str) -> str:
    """A value as text: a text itself, a number, a list of texts, which become tokens, or of numbers or vectors."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if isinstance(value, list):
        try:
            numbers = text_of_list(value)
        except InputError as problem:
            raise InputError(f"{where}: {name}: {problem}") from problem
        value = value if numbers is None else numbers
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        if any(JOINER in one for one in value):
            raise InputError(f"{where}: {name} holds a token with a tab inside, which divides tokens; replace it")
        value = JOINER.join(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {reprlib.repr(value)}, not text; mend the row or choose another column")
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise InputError(f"{where}: {name} holds half of a surrogate pair, which is no text; mend it") from problem
    return value


def parquet(file: Path, wanted: Sequence[Sequence[str]]) -> Iterator[Pair]:
    """Two columns of a parquet file; rows are counted from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file) as opened:
            there = opened.schema_arrow.names
            tops = sorted({name if name in there else name.partition(".")[0] for side in wanted for name in side})
            missing = [name for name in tops if name not in there]
            if missing:
                raise InputError(f"{file} has no column {missing[0]!r}, only {', '.join(there)}")
            for batch in opened.iter_batches(10_000, columns=tops):
                for content in batch.to_pylist():
                    number += 1
                    where = f"{file}:{number}"
                    source, target = (
                        JOINER.join([text_of(pick(content, name, where), where, name) for name in side])
                        for side in wanted
                    )
                    yield source, target, number
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as problem:  # values are decoded while they are read
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        raise InputError(
            f"{file}:{number + 1}: no parquet file, or a damaged one ({reason}); copy it anew"
        ) from problem


def conllu(file: Path, source: Sequence[str], target: Sequence[str]) -> Iterator[Pair]:
    """Columns of each sentence, tokens joined by tabs; multiword tokens and empty nodes are no words."""
    places = [[COLUMNS.index(name) for name in side] for side in (source, target)]
    words: list[list[str]] = []
    start = 0
    for number, line in enumerate(lines(file), 1):
        if not line.strip(BLANKS):
            if words:
                yield *joined(words), start
            words = []
        elif not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != len(COLUMNS):
                raise InputError(f"{file}:{number}: {len(fields)} columns where CoNLL-U has {len(COLUMNS)}")
            if re.fullmatch(r"\d+[-.]\d+", fields[0]):
                continue
            if fields[0] != str(len(words) + 1):
                raise InputError(
                    f"{file}:{number}: the word is numbered {fields[0]!r} where {len(words) + 1} follows; "
                    "an empty line must end each sentence"
                )
            start = number if not words else start
            words.append(tokens(fields, places, f"{file}:{number}"))
    if words:
        yield *joined(words), start


def conll(
    file: Path, source: Sequence[int], target: Sequence[int], delimiter: str | None, encoding: str
) -> Iterator[Pair]:
    """Columns of each sentence, tokens joined by tabs; a line of blanks ends a sentence."""
    words: list[list[str]] = []
    start = width = 0
    places, last = [[column - 1 for column in side] for side in (source, target)], max(*source, *target)
    for number, line in enumerate(lines(file, encoding), 1):
        if not line.strip(BLANKS) or line.startswith("-DOCSTART-"):
            if words:
                yield *joined(words), start
            words = []
            continue
        fields = line.split(delimiter) if delimiter else re.split(f"[{BLANKS}]+", line.strip(BLANKS))
        width = width or len(fields)
        if len(fields) != width or width < last:
            wanted = f"column {last} is wanted" if len(fields) == width else f"{width} before"
            raise InputError(
                f"{file}:{number}: {len(fields)} columns, but {wanted}; mend the line, or "
                "set data.corpus.delimiter if tokens and tags are divided otherwise"
            )
        start = number if not words else start
        words.append(tokens(fields, places, f"{file}:{number}"))
    if words:
        yield *joined(words), start


def tokens(fields: Sequence[str], places: Sequence[Sequence[int]], where: str) -> list[str]:
    """The cells of a word, unless one could not be told from its neighbours once they are joined."""
    for cell in (fields[place] for side in places for place in side):
        if not cell or JOINER in cell:
            raise InputError(f"{where}: {cell!r} is no token: it must hold something, but no tab; mend the line")
    return [DIVIDER.join(fields[place] for place in side) for side in places]


def joined(words: Sequence[Sequence[str]]) -> tuple[str, str]:
    """The two columns of a sentence, each as one text."""
    source, target = zip(*words, strict=True)
    return JOINER.join(source), JOINER.join(target)


def listed(value: Any) -> list[Any]:
    """One or several as several."""
    return value if isinstance(value, list) else [value]
