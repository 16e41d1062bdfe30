"""The columns of a file, as far as its first rows show them."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.data.corpora.json_rows import ON_LINES, items_of_array, rows_inside
from seq2seq.data.corpora.series_files import MISSING
from seq2seq.data.lines import lines
from seq2seq.errors import InputError

ROWS = 3000
"""That are looked at."""

SOURCE_NAMES = (
    *("source", "src", "input", "text", "sentence", "tokens", "words", "document", "article", "body", "question"),
    *("prompt", "utterance", "lemma", "word", "en", "english"),
)
TARGET_NAMES = (
    *("target", "tgt", "output", "label", "labels", "class", "category", "sentiment", "intent", "tags", "ner_tags"),
    *("pos_tags", "upos", "ner", "summary", "highlights", "title", "subject", "subject_line", "answer", "response"),
    *("translation", "pronunciation", "form", "inflection", "answers"),
)
TIME_NAMES = ("date", "time", "datetime", "timestamp", "day", "month", "year", "ds", "hour")
ROW_NAMES = ("id", "index", "idx", "guid")
NAMES = {*SOURCE_NAMES, *TARGET_NAMES, *TIME_NAMES, "id", "index", "name", "lang", "language", "value"}

DATE = re.compile(r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}(,? \d{1,2}:.*)?")
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
UNSPACED = re.compile(r"[぀-ヿ㐀-鿿฀-๿຀-໿က-႟ក-៿]")
"""Scripts that write no space between words: Japanese, Chinese, Thai, Lao, Burmese, Khmer."""
LICENCE = re.compile(r"CC[- ]?BY|tatoeba", re.IGNORECASE)
"""In the column that names where a sentence comes from."""
BLOCKS = re.compile("[가-힣]")
"""Syllables of Korean, which hold two or three letters each."""
COMMA = re.compile(r"\s*[-+]?\d+(,\d+)?\s*")
"""A number with a decimal comma, or a whole one."""
THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}(,\d{3})*(\.\d+)?\s*")
"""A number with commas between thousands, or none."""


class Column:
    """The values of one column in the rows that were looked at."""

    def __init__(self, name: int | str, values: Sequence[Any]) -> None:
        """name: as the configuration names it."""
        self.name, self.values = name, values

    def __repr__(self) -> str:
        return str(self.name)

    @cached_property
    def texts(self) -> list[str]:
        return [value if isinstance(value, str) else json.dumps(value) for value in self.values]

    @cached_property
    def lists(self) -> bool:
        """Whether each value is a list of texts or of whole numbers."""
        return bool(self.values) and all(
            isinstance(value, list) and all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in value)
            for value in self.values
        )

    @cached_property
    def spans(self) -> bool:
        """Whether the lists hold spans of characters."""
        items = [one for value in self.values if isinstance(value, list) for one in value]
        shaped = (
            (isinstance(one, list) and len(one) == 3 and isinstance(one[0], int) and isinstance(one[2], str))
            or (isinstance(one, dict) and "end" in str(list(one)))
            for one in items
        )
        return bool(items) and all(isinstance(value, list) for value in self.values) and all(shaped)

    @cached_property
    def numeric(self) -> bool:
        return self.all_match(NUMBER)

    def all_match(self, form: re.Pattern[str]) -> bool:
        """Whether all values that are there have a form."""
        filled = [text for text in self.texts if text.strip().lower() not in MISSING]
        return bool(filled) and all(form.fullmatch(text) for text in filled)

    @property
    def nested(self) -> bool:
        """Whether values are no texts, numbers or lists of them: objects, or lists of objects or of real numbers."""
        return not self.lists and any(isinstance(value, (list, dict)) for value in self.values)

    @cached_property
    def dated(self) -> bool:
        return all(DATE.fullmatch(text.strip()) for text in self.texts) and bool(self.texts)

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(self.texts)

    @cached_property
    def words(self) -> float:
        """Of a value, in the mean."""
        return sum(len(text.split()) for text in self.texts) / max(1, len(self.texts))

    @cached_property
    def letters(self) -> float:
        """Of a value, in the mean, spaces among them."""
        return sum(map(len, self.texts)) / max(1, len(self.texts))

    @cached_property
    def unspaced(self) -> bool:
        """Whether most values have letters of a script without spaces between words."""
        return self.mostly(UNSPACED)

    @cached_property
    def blocks(self) -> bool:
        """Whether most values have letters in blocks."""
        return self.mostly(BLOCKS)

    def mostly(self, form: re.Pattern[str]) -> bool:
        """Whether most values hold a form."""
        return sum(bool(form.search(text)) for text in self.texts) > 0.5 * len(self.texts)

    @property
    def lower(self) -> str:
        """The name in lower case, of a nested one its last part, of an item of a list the list's."""
        parts = str(self.name).lower().split(".")
        numbered = next((at for at, part in enumerate(parts) if part.isdecimal()), len(parts))
        return parts[numbered - 1] if numbered else parts[-1]

    @property
    def few(self) -> bool:
        """Whether its values are classes: a few that come again and again."""
        distinct, rows = len(self.counts), len(self.texts)
        return 2 <= distinct <= min(500, max(2, rows // 5)) and max(map(len, self.counts)) <= 40

    @property
    def useless(self) -> bool:
        """Whether nothing is said by it: numbers of rows, dates, one value, empty ones."""
        filled = sum(bool(text.strip()) for text in self.texts)
        distinct = len(self.counts)
        numbered = self.lower in ROW_NAMES or (
            self.numeric and distinct == len(self.texts) > 1 and all(text.strip().isdecimal() for text in self.texts)
        )
        alike = distinct == 1 < len(self.texts) or (bool(self.texts) and all(map(LICENCE.search, self.texts)))
        return numbered or alike or self.dated or self.nested or 2 * filled < len(self.texts)

    @property
    def unordered(self) -> bool:
        """Whether it is of use all the same: dates or numbers in no order, which do not number the rows."""
        if self.lower in (*ROW_NAMES, *TIME_NAMES) or not (self.dated or all(map(NUMBER.fullmatch, self.texts))):
            return False
        values = self.texts if self.dated else [float(text) for text in self.texts]
        return values not in (sorted(values), sorted(values, reverse=True))


class FileColumns(NamedTuple):
    """What a file of records turned out to be."""

    corpus: str
    """The class that reads it."""
    settings: dict[str, Any]
    columns: list[Column]


def encoding_of(file: Path) -> str:
    """utf-8, or latin-1 where the first rows are no UTF-8."""
    try:
        for _ in islice(lines(file), 200_000):
            pass
    except InputError as problem:
        if "UTF-8 (byte" not in str(problem):
            raise
        return "latin-1"
    return "utf-8"


def of_json(file: Path) -> FileColumns:
    """The values of JSON objects by their dotted names."""
    first = next(lines(file), "")
    rows: list[Any] = []
    if first.lstrip().startswith("["):
        rows = [item for item, _ in islice(items_of_array(file), ROWS)]
    else:
        for number, line in enumerate(islice(filter(str.strip, lines(file)), ROWS), 1):
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as problem:
                raise InputError(f"{file}:{number}: not JSON ({problem}); {rows_inside(file)}") from problem
        if len(rows) == 1 and (remedy := rows_inside(file)) != ON_LINES:
            raise InputError(f"{file}: one object, which holds its rows; {remedy}")
    return FileColumns("Jsonl", {}, of_objects(rows, str(file)))


def of_parquet(file: Path) -> FileColumns:
    """The columns of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            batch = next(opened.iter_batches(ROWS), None)
            rows = [] if batch is None else batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise InputError(f"{file}: not a parquet file, or a damaged one; copy it anew") from problem
    return FileColumns("Parquet", {}, of_objects(rows, str(file)))


def of_objects(rows: Sequence[Any], name: str) -> list[Column]:
    """Columns of objects; those that not every object has are left out."""
    flat = [dict(flattened(row)) for row in rows if isinstance(row, dict)]
    if not flat or len(flat) < len(rows):
        raise InputError(f'{name} does not hold objects with named values; write {{"source": ..., "target": ...}}')
    shared = [key for key in flat[0] if all(key in row for row in flat)]
    return [Column(key, ["" if row[key] is None else row[key] for row in flat]) for key in shared]


def flattened(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted names."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{before}{key}.")
            continue
        several = value if isinstance(value, list) and all(isinstance(one, dict) for one in value) else []
        for number, one in enumerate(several[:2]):  # of messages and answers the first
            yield from flattened(one, f"{before}{key}.{number}.")
        if not several or any("end" in name for name in several[0]):
            yield f"{before}{key}", value


def of_table(file: Path, kind: str, encoding: str) -> FileColumns:
    """The columns of a CSV or TSV file, whatever separates them."""
    head = list(islice(lines(file, encoding, ends=True), ROWS))
    if kind == "label first":
        pairs = [line.rstrip("\r\n").split(" ", 1) for line in head]
        settings: dict[str, Any] = {"delimiter": " ", "columns": 2} | (
            {} if encoding == "utf-8" else {"encoding": encoding}
        )
        return FileColumns("Tsv", settings, [Column(index + 1, [pair[index] for pair in pairs]) for index in (0, 1)])
    delimiter, quoted = delimiter_of(head, "\t" if kind == "tsv" else ",")
    rows = list(records(head, delimiter, quoted))
    width = len(rows[0]) if rows else 0
    rows = [row for row in rows if len(row) == width]  # the corpus names the first that differs
    header = bool(rows) and is_header(rows)
    names: list[int | str] = [*rows[0]] if header else list(range(1, width + 1))
    body = rows[header:]
    counts = Counter(names)
    names = [name if counts[name] == 1 else number for number, name in enumerate(names, 1)]
    default = "," if quoted else "\t"
    settings = {} if delimiter == default else {"delimiter": delimiter}
    if header and len(counts) < len(names):  # columns of one name have numbers instead
        settings["header"] = True
    elif quoted and not header:
        settings["header"] = False
    if encoding != "utf-8":
        settings["encoding"] = encoding
    columns = [Column(name, [row[index] for row in body]) for index, name in enumerate(names)]
    return FileColumns("Csv" if quoted else "Tsv", settings, columns)


def delimiter_of(head: Sequence[str], usual: str) -> tuple[str, bool]:
    """What separates columns, and whether quotation marks protect them."""
    best = (0, 0, usual, usual == ",")
    for candidate in dict.fromkeys((usual, "\t", ",", ";", "|")):
        plain = [line.rstrip("\r\n").split(candidate) for line in head[:200]]
        protected = list(records(head[:200], candidate, True))
        marks = any(field[:1] == field[-1:] == '"' and len(field) > 1 for row in plain for field in row)
        rows = protected if candidate != "\t" or marks else plain
        widths = Counter(map(len, rows))
        width, count = widths.most_common(1)[0] if widths else (0, 0)
        score = (count * (width > 1) * (1 if len(widths) == 1 else 0.5), width)
        if score > best[:2]:
            best = (*score, candidate, candidate != "\t" or marks)  # type: ignore[assignment]
    return best[2], best[3]


def records(head: Sequence[str], delimiter: str, quoted: bool) -> list[list[str]]:
    """Rows of fields; none where they are no CSV."""
    if not quoted:
        return [line.rstrip("\r\n").split(delimiter) for line in head if line.strip("\r\n")]
    reader, rows = csv.reader(head, delimiter=delimiter, strict=True), list[list[str]]()
    try:
        rows += filter(None, reader)
    except csv.Error:
        return rows if reader.line_num >= len(head) else []  # the last record is cut off
    return rows


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns."""
    first, rest = rows[0], rows[1:200]
    repeated = len(set(first)) < len(first) and not any(cell.strip().lower() in NAMES for cell in first)
    if repeated or any(NUMBER.fullmatch(cell) or not cell.strip() for cell in first):
        return False
    if any(cell.strip().lower() in NAMES for cell in first) and not any(first == row for row in rest):
        return True
    if any(DATE.fullmatch(cell.strip()) or COMMA.fullmatch(cell) for cell in first):
        return False
    forms = (NUMBER, COMMA, DATE)
    return all(is_strange(cell, [row[index] for row in rest]) for index, cell in enumerate(first)) or any(
        rest and all(form.fullmatch(row[index].strip()) for row in rest)
        for index in range(len(first))
        for form in forms
    )


def is_strange(cell: str, rest: Sequence[str]) -> bool:
    """Whether a first cell is none of a column's values: no class of a few, fewer words than any, other letters."""
    counts = Counter(rest)
    unknown_class = cell not in counts and len(counts) <= 20 and min(counts.values(), default=0) > 2
    too_short = len(rest) > 9 and cell[-1:] not in ".!?" and len(cell.split()) < min(len(text.split()) for text in rest)
    other_letters = len(rest) > 9 and set(cell).isdisjoint("".join(rest))
    return unknown_class or too_short or other_letters
