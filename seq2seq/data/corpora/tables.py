"""Tables: TSV, where quotation marks are text, and CSV, where they protect fields."""

import csv
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from seq2seq.data.corpora.text_files import Files, Shard
from seq2seq.data.lines import JOINER, as_list, check_delimiter, empty_line, filled_lines, lines, with_class
from seq2seq.data.rows import Row
from seq2seq.errors import InputError, check_range

log = logging.getLogger(__name__)

DELIMITERS = "\t;,|"
"""What most tables are separated by."""

ColumnNames = int | str | list[int | str]
"""One column or several, which are joined by tabs."""

LONGEST_FIELD = 1 << 27
"""Characters of the longest field of a CSV file."""


class Tabular(Files):
    """A file of records, each with as many fields as the first. A subclass writes `records`."""

    writes = ("records",)
    source: ColumnNames
    target: ColumnNames
    sentence: int | str | None
    """The column of the class of the whole sentence, where the target has labels of its tokens."""
    delimiter: str
    header: bool
    """Whether the first record names the columns; it does where source or target hold a name."""

    def records(self, file: Path) -> Iterator[tuple[list[str], int]]:
        """The fields of each record and the line where it begins."""
        raise TypeError(f"{type(self).__name__} does not say how to read a file")

    def look_at(self, first: Sequence[str], location: str) -> None:
        """Refuse a file, or warn of it, whose first record shows that it is of another kind."""

    def read(self, shard: Shard) -> Iterator[Row]:
        [file] = shard
        records = self.records(file)
        first = next(records, None)
        if first is None:
            return
        fields, line = first
        self.look_at(fields, f"{file}:{line}")
        width, sides = len(fields), [as_list(side) for side in (self.source, self.target, self.sentence)]
        header = self.header or any(isinstance(column, str) for column in chain(*sides))
        names = fields if header else []
        hint = other_delimiter(fields, self.delimiter)
        *both, of_sentence = (
            [index_of(column, names, width, f"{file}:{line}", hint) for column in side if column is not None]
            for side in sides
        )
        for fields, line in records if header else chain([first], records):
            if len(fields) != width:
                named = "header" if header else "first line"
                raise InputError(
                    f"{file}:{line}: {len(fields)} columns, but the {named} has {width}; fix the line, or set "
                    "data.corpus.delimiter or data.corpus.columns"
                )
            source, target = (JOINER.join([fields[index] for index in side]) for side in both)
            for index in of_sentence:
                target = with_class(fields[index], target, f"{file}:{line}")
            yield Row(source, target, line, str(file))


class Tsv(Tabular):
    """A table, one row a line, columns separated by a delimiter; quotation marks are text."""

    endings = (".tsv", ".txt", ".csv")

    def __init__(
        self,
        source: ColumnNames = 1,
        target: ColumnNames = 2,
        delimiter: str = "\t",
        columns: int | None = None,
        header: bool = False,
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
        sentence: int | str | None = None,
    ) -> None:
        """source, target: columns counted from 1, or names, which the first line then holds (so does `header` say).

        Several columns are joined by tabs. columns: the most columns of a line, so that the last one may hold
        delimiters. files: the files of each split in the folder data.path; patterns may match many.
        sentence: the column of a class of the whole sentence, beside the labels of its tokens (docs/tagging.md).
        """
        check_delimiter(delimiter)
        if columns is not None:
            check_range("data.corpus.columns", columns, 1)
        self.source, self.target, self.delimiter, self.columns = source, target, delimiter, columns
        self.header, self.files, self.encoding, self.sentence = header, files, encoding, sentence

    def look_at(self, first: Sequence[str], location: str) -> None:
        if len(first) > 1 and all(len(field) > 1 and field[0] == field[-1] == '"' for field in first):
            log.warning("%s: every field stands in quotation marks, which Tsv keeps as text; if they only protect the "
                        "fields, choose Csv with delimiter %r", location, self.delimiter)  # fmt: skip

    def records(self, file: Path) -> Iterator[tuple[list[str], int]]:
        split = -1 if self.columns is None else self.columns - 1
        for number, line in enumerate(filled_lines(file, self.encoding), 1):
            yield line.split(self.delimiter, split), number


class Csv(Tabular):
    """A table with a delimiter, in which quotation marks protect fields that hold delimiters or line ends."""

    endings = (".csv", ".tsv")

    def __init__(
        self,
        source: ColumnNames = "source",
        target: ColumnNames = "target",
        delimiter: str = ",",
        header: bool = True,
        padded: bool = False,
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
        sentence: int | str | None = None,
    ) -> None:
        """source, target: names of columns in the header, or numbers from 1; several are joined by tabs.

        padded: spaces beside delimiters are not text, as in `red dog, "rot Hund"`.
        files: the files of each split in the folder data.path; patterns may match many.
        sentence: the column of a class of the whole sentence, beside the labels of its tokens (docs/tagging.md).
        """
        check_delimiter(delimiter)
        self.source, self.target, self.delimiter, self.header = source, target, delimiter, header
        self.padded, self.files, self.encoding, self.sentence = padded, files, encoding, sentence

    def records(self, file: Path) -> Iterator[tuple[list[str], int]]:
        csv.field_size_limit(LONGEST_FIELD)
        options = {"delimiter": self.delimiter, "strict": True, "skipinitialspace": self.padded}
        reader = csv.reader(lines(file, self.encoding, ends=True), **options)  # type: ignore[arg-type]
        start, empty = 1, 0
        try:
            for fields in reader:
                if not fields:
                    empty = empty or start
                elif empty:
                    raise empty_line(file, empty)
                elif self.padded:
                    yield [field.strip(" ") for field in fields], start
                else:
                    refuse_padded(fields, f"{file}:{start}")
                    yield fields, start
                start = reader.line_num + 1
        except csv.Error as problem:
            remedy = "a quotation mark inside a field is written twice; without quotation marks choose Tsv"
            raise InputError(f"{file}:{start}: not CSV: {problem}; {remedy}") from problem


def refuse_padded(fields: Sequence[str], location: str) -> None:
    """InputError where a space before a quotation mark makes both of them text."""
    for field in fields:
        bare = field.strip(" ")
        if bare != field and len(bare) > 1 and bare[0] == bare[-1] == '"':
            raise InputError(
                f"{location}: spaces beside the quotation marks of {field!r}, which make them text; set "
                "data.corpus.padded true, or remove the spaces"
            )


def other_delimiter(fields: Sequence[str], delimiter: str) -> str:
    """What a record of one field is probably separated by instead, as a remedy; empty where nothing is likely."""
    likely = max(DELIMITERS, key=fields[0].count) if len(fields) == 1 else delimiter
    if likely == delimiter or likely not in fields[0]:
        return ""
    return f"; the line has {fields[0].count(likely)} {likely!r}: set data.corpus.delimiter to {json.dumps(likely)}"


def index_of(column: int | str, names: Sequence[str], width: int, location: str, hint: str = "") -> int:
    """The index of a column that is given by its number from 1 or its name; hint: a remedy for a missing one."""
    if isinstance(column, int):
        if not 1 <= column <= width:
            remedy = hint or "; set data.corpus.source and data.corpus.target to columns from 1"
            raise InputError(f"{location}: {width} columns, so there is no column {column}{remedy}")
        if str(column) in names and names[column - 1] != str(column):
            raise InputError(
                f"{location}: {column} is the name of column {1 + names.index(str(column))} and the number of another, "
                f"{names[column - 1]!r}; rename a column of the header, or give another one by its name"
            )
        return column - 1
    if names.count(column) != 1:
        wrong = f"{names.count(column)} columns" if column in names else "no column"
        raise InputError(f"{location}: there is {wrong} {column!r} in the header {shown(names)}{hint}")
    return names.index(column)


def shown(names: Sequence[str]) -> str:
    """Names of columns for a message, with what cannot be seen in them."""
    return ", ".join(name if name == name.strip() and '"' not in name else repr(name) for name in names)
