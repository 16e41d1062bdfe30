"""JSON lines and parquet: rows whose values have names."""

import json
import math
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seq2seq.data.corpora.text_files import Files, Shard
from seq2seq.data.lines import JOINER, as_list, filled_lines
from seq2seq.data.number_text import text_of_list
from seq2seq.data.rows import Row
from seq2seq.errors import InputError


class Jsonl(Files):
    """One JSON object a line."""

    endings: Sequence[str] = (".jsonl", ".json", ".ndjson")

    def __init__(
        self,
        source: str | list[str] = "source",
        target: str | list[str] = "target",
        files: dict[str, str | list[str]] | None = None,
        several_references: bool = False,
    ) -> None:
        """source, target: names of values, with dots into inner objects (translation.en); several are joined by tabs.

        files: the files of each split in the folder data.path; patterns may match many.
        several_references: a target that is a list of texts holds references that are equally good: training learns
            the first, metrics look at all; else a list is one target, whose tokens it holds.
        """
        self.source, self.target, self.files = source, target, files
        self.several_references = several_references

    def read(self, shard: Shard) -> Iterator[Row]:
        [file] = shard
        for number, line in enumerate(filled_lines(file), 1):
            try:
                content = json.loads(line)
            except (ValueError, RecursionError) as problem:
                raise InputError(f"{file}:{number}: not JSON ({problem}); is the line cut off?") from problem
            yield self.row(content, file, number)

    def row(self, content: Any, file: Path, number: int) -> Row:
        """Two values of an object."""
        location = f"{file}:{number}"
        source = joined(content, as_list(self.source), location)
        target, *more = references_of(content, as_list(self.target), location, self.several_references)
        return Row(source, target, number, str(file), more_references=more)


class Parquet(Jsonl):
    """Parquet files, with columns where JSON lines have names; lists of texts become tokens joined by tabs."""

    endings = (".parquet",)

    def read(self, shard: Shard) -> Iterator[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        [file], number = shard, 0
        try:
            with pq.ParquetFile(file) as opened:
                names = opened.schema_arrow.names
                columns = columns_of([*as_list(self.source), *as_list(self.target)], names, str(file))
                for batch in opened.iter_batches(10_000, columns=columns):
                    for content in batch.to_pylist():
                        number += 1
                        yield self.row(content, file, number)
        except InputError:
            raise
        except (pa.ArrowException, OSError, ValueError, OverflowError) as problem:  # values are decoded last
            reason = (str(problem) or type(problem).__name__).splitlines()[0]
            raise InputError(
                f"{file}:{number + 1}: not a parquet file, or a damaged one ({reason}); copy it anew"
            ) from problem


def columns_of(names: Sequence[str], existing: Sequence[str], owner: str) -> list[str]:
    """The columns that hold values with these names, with dots into inner ones; InputError for a missing one."""
    columns = sorted({name if name in existing else name.partition(".")[0] for name in names})
    missing = [column for column in columns if column not in existing]
    if missing:
        raise InputError(f"{owner} has no column {missing[0]!r}, only {', '.join(existing)}")
    return columns


def references_of(content: Any, names: Sequence[str], location: str, several: bool) -> list[str]:
    """The targets of a row: one or, with several, each text of a list."""
    value = pick(content, names[0], location) if several and len(names) == 1 else None
    if not isinstance(value, list):
        return [joined(content, names, location)]
    if not value or not all(isinstance(item, str) for item in value):
        raise InputError(f"{location}: {names[0]} is {reprlib.repr(value)}; data.corpus.several_references needs texts")
    return [text_of(item, location, names[0]) for item in value]


def joined(content: Any, names: Sequence[str], location: str) -> str:
    """One side of a row."""
    return JOINER.join([text_of(pick(content, name, location), location, name) for name in names])


def pick(content: Any, name: str, location: str) -> Any:
    """A value of a JSON object by its dotted name."""
    value = content
    for part in [name] if isinstance(content, dict) and name in content else name.split("."):
        if not isinstance(value, dict) or part not in value:
            existing = ", ".join(map(str, value)) if isinstance(value, dict) else reprlib.repr(value)
            raise InputError(f"{location}: there is no {name!r}, only {existing or 'nothing'}; see data.corpus")
        value = value[part]
    return value


def text_of(value: Any, location: str, name: str) -> str:
    """A value as text: a text itself, a number, a list of texts, which become tokens, or of numbers or vectors."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if isinstance(value, list):
        try:
            numbers = text_of_list(value)
        except InputError as problem:
            raise InputError(f"{location}: {name}: {problem}") from problem
        value = value if numbers is None else numbers
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        if any(JOINER in item for item in value):
            raise InputError(f"{location}: {name} holds a token with a tab inside, which separates tokens; replace it")
        value = JOINER.join(value)
    if not isinstance(value, str):
        raise InputError(f"{location}: {name} is {reprlib.repr(value)}, not text; fix the row or choose another column")
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise InputError(f"{location}: {name} holds half of a surrogate pair, which is not text; fix it") from problem
    return value
