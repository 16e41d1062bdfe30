"""JSON lines and parquet: rows whose values have names."""

import json
import math
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seq2seq.data.corpora.text_files import Files, Shard
from seq2seq.data.lines import JOINER, as_list, filled_lines, lines, with_class
from seq2seq.data.number_text import text_of_list
from seq2seq.data.rows import Row
from seq2seq.errors import InputError

MOST_READ = 1 << 28
"""Bytes of a file that is read whole, to say what is wrong with it."""


class Jsonl(Files):
    """One JSON object a line."""

    endings: Sequence[str] = (".jsonl", ".json", ".ndjson")

    def __init__(
        self,
        source: str | list[str] = "source",
        target: str | list[str] = "target",
        files: dict[str, str | list[str]] | None = None,
        several_references: bool = False,
        list_separator: str = JOINER,
        label_names: list[str] | None = None,
        sentence: str | None = None,
    ) -> None:
        """source, target: names of values, with dots into inner objects (translation.en); several are joined by tabs.

        Of a list `tags.0` is the first item, and `words.*.text` the list of what stands at `text` in each.

        files: the files of each split in the folder data.path; patterns may match many.
        several_references: a target that is a list of texts holds references that are equally good: training learns
            the first, metrics look at all; else a list is one target, whose tokens it holds.
        list_separator: what joins the texts of a list: a tab where they are tokens, a space where they are sentences.
        label_names: the labels 0, 1 and so on by name, where the target has numbers for them.
        sentence: name of a class of the whole sentence, beside the labels of its tokens (docs/tagging.md).
        """
        self.source, self.target, self.files = source, target, files
        self.several_references, self.list_separator = several_references, list_separator
        self.label_names, self.sentence = label_names, sentence

    def read(self, shard: Shard) -> Iterator[Row]:
        [file] = shard
        first = next(lines(file), "")
        if first.lstrip().startswith("["):
            for content, number in items_of_array(file):
                yield self.row(content, file, number)
            return
        for number, line in enumerate(filled_lines(file), 1):
            try:
                content = json.loads(line)
            except (ValueError, RecursionError) as problem:
                remedy = rows_inside(file) if number == 1 and line.strip() == "{" else "is the line cut off?"
                raise InputError(f"{file}:{number}: not JSON ({problem}); {remedy}") from problem
            yield self.row(content, file, number)

    def named(self) -> list[str]:
        """The names of all that is read."""
        return [*as_list(self.source), *as_list(self.target), *([] if self.sentence is None else [self.sentence])]

    def row(self, content: Any, file: Path, number: int) -> Row:
        """Two values of an object."""
        location = f"{file}:{number}"
        between, targets = self.list_separator, as_list(self.target)
        source = joined(content, as_list(self.source), location, between)
        of_sentence = None if self.sentence is None else joined(content, [self.sentence], location)
        if self.label_names is not None:
            content = {name: named(pick(content, name, location), self.label_names, location) for name in targets}
        target, *more = references_of(content, targets, location, self.several_references, between)
        if of_sentence is not None:
            target = with_class(of_sentence, target, location)
        return Row(source, target, number, str(file), more_references=more)


ON_LINES = "write an object on each line, e.g. with jq -c '.[]', or one array of objects"


def rows_inside(file: Path) -> str:
    """How the rows of a file that is one object come to stand on lines of their own."""
    if file.stat().st_size > MOST_READ:
        return ON_LINES
    try:
        content = json.loads("\n".join(lines(file)))
    except (ValueError, RecursionError):
        return ON_LINES
    lists = [
        name
        for name, value in (content.items() if isinstance(content, dict) else ())
        if isinstance(value, list) and len(value) > 1 and all(isinstance(one, dict) for one in value)
    ]
    if len(lists) == 1 and lists[0].isidentifier():
        return f"write an object on each line, with jq -c '.{lists[0]}[]' {file.name}"
    return ON_LINES


def items_of_array(file: Path) -> Iterator[tuple[Any, int]]:
    """The items of a file that is one JSON array, which is read whole, and the line where each begins."""
    text = "\n".join(lines(file))
    decoder, line, counted = json.JSONDecoder(), 1, 0
    at, wanted = after_space(text, text.index("[") + 1), "an item or ]"
    while text[at : at + 1] != "]" or wanted == "an item":
        line, counted = line + text.count("\n", counted, at), at
        try:
            item, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as problem:
            raise InputError(f"{file}:{line}: not JSON ({problem}); is the file cut off?") from problem
        yield item, line
        at, wanted = after_space(text, at), ", or ]"
        if text[at : at + 1] == ",":
            at, wanted = after_space(text, at + 1), "an item"
        elif text[at : at + 1] != "]":
            line += text.count("\n", counted, at)
            wrong = f"{text[at : at + 20]!r} where the array needs {wanted}"
            raise InputError(f"{file}:{line}: not JSON ({wrong}); is the file cut off?")
    if rest := text[at + 1 :].strip():
        line += text.count("\n", counted, at)
        wrong = f"{rest[:20]!r} after the end of the array"
        raise InputError(f"{file}:{line}: not JSON ({wrong}); a file holds one array, or an object on each line")


def after_space(text: str, at: int) -> int:
    """The place of the first character from `at` on that is not whitespace."""
    while text[at : at + 1].isspace():
        at += 1
    return at


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
                columns = columns_of(self.named(), names, str(file))
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


def references_of(
    content: Any, names: Sequence[str], location: str, several: bool, separator: str = JOINER
) -> list[str]:
    """The targets of a row: one or, with several, each text of a list."""
    value = pick(content, names[0], location) if several and len(names) == 1 else None
    if not isinstance(value, list):
        return [joined(content, names, location, separator)]
    if not value or not all(isinstance(item, str) for item in value):
        raise InputError(f"{location}: {names[0]} is {reprlib.repr(value)}; data.corpus.several_references needs texts")
    return [text_of(item, location, names[0]) for item in value]


def joined(content: Any, names: Sequence[str], location: str, separator: str = JOINER) -> str:
    """One side of a row; separator: between the texts of a list."""
    return JOINER.join([text_of(pick(content, name, location), location, name, separator) for name in names])


def pick(content: Any, name: str, location: str) -> Any:
    """A value of a JSON object by its dotted name; a part may be the number of an item, or * for all items."""
    parts = [name] if isinstance(content, dict) and name in content else name.split(".")
    return found(content, parts, name, location)


def found(value: Any, parts: Sequence[str], name: str, location: str) -> Any:
    """What stands at the end of a path."""
    for place, part in enumerate(parts):
        if isinstance(value, list) and part == "*":
            return [found(item, parts[place + 1 :], name, location) for item in value]
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            existing = ", ".join(map(str, value)) if isinstance(value, dict) else reprlib.repr(value)
            raise InputError(f"{location}: there is no {name!r}, only {existing or 'nothing'}; see data.corpus")
    return value


def named(value: Any, names: Sequence[str], location: str) -> Any:
    """The names of a label's number, or of each of a list of them."""
    if isinstance(value, list):
        return [named(item, names, location) for item in value]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(names):
        raise InputError(
            f"{location}: the label is {reprlib.repr(value)}; data.corpus.label_names has {len(names)} names, of 0 to "
            f"{len(names) - 1}"
        )
    return names[value]


def text_of(value: Any, location: str, name: str, separator: str = JOINER) -> str:
    """A value as text: a text itself, a number, a list of texts, or of numbers or vectors.

    separator: what joins texts, a tab where they become tokens.
    """
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
        if separator == JOINER and any(JOINER in item for item in value):
            raise InputError(f"{location}: {name} holds a token with a tab inside, which separates tokens; replace it")
        value = separator.join(value)
    if not isinstance(value, str):
        raise InputError(f"{location}: {name} is {reprlib.repr(value)}, not text; fix the row or choose another column")
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise InputError(f"{location}: {name} holds half of a surrogate pair, which is not text; fix it") from problem
    return value
