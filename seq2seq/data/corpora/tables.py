"""Tables: TSV, where quotation marks are text, and CSV, where they protect fields."""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from seq2seq.data.corpora.text_files import Files, Shard
from seq2seq.data.lines import JOINER, as_list, check_delimiter, empty_line, filled_lines, lines
from seq2seq.data.rows import Row
from seq2seq.errors import InputError, check_range

ColumnNames = int | str | list[int | str]
"""One column or several, which are joined by tabs."""

LONGEST_FIELD = 1 << 27
"""Characters of the longest field of a CSV file."""


class Tabular(Files):
    """A file of records, each with as many fields as the first. A subclass writes `records`."""

    writes = ("records",)
    source: ColumnNames
    target: ColumnNames
    header: bool
    """Whether the first record names the columns; it does where source or target hold a name."""

    def records(self, file: Path) -> Iterator[tuple[list[str], int]]:
        """The fields of each record and the line where it begins."""
        raise TypeError(f"{type(self).__name__} does not say how to read a file")

    def read(self, shard: Shard) -> Iterator[Row]:
        [file] = shard
        records = self.records(file)
        first = next(records, None)
        if first is None:
            return
        fields, line = first
        width, sides = len(fields), (as_list(self.source), as_list(self.target))
        header = self.header or any(isinstance(column, str) for column in chain(*sides))
        names = fields if header else []
        source, target = ([index_of(column, names, width, f"{file}:{line}") for column in side] for side in sides)
        for fields, line in records if header else chain([first], records):
            if len(fields) != width:
                named = "header" if header else "first line"
                raise InputError(
                    f"{file}:{line}: {len(fields)} columns, but the {named} has {width}; fix the line, or set "
                    "data.corpus.delimiter or data.corpus.columns"
                )
            texts = [JOINER.join([fields[index] for index in side]) for side in (source, target)]
            yield Row(texts[0], texts[1], line, str(file))


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
    ) -> None:
        """source, target: columns counted from 1, or names, which the first line then holds (so does `header` say).

        Several columns are joined by tabs. columns: the most columns of a line, so that the last one may hold
        delimiters. files: the files of each split in the folder data.path; patterns may match many.
        """
        check_delimiter(delimiter)
        if columns is not None:
            check_range("data.corpus.columns", columns, 1)
        self.source, self.target, self.delimiter, self.columns = source, target, delimiter, columns
        self.header, self.files, self.encoding = header, files, encoding

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
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """source, target: names of columns in the header, or numbers from 1; several are joined by tabs.

        files: the files of each split in the folder data.path; patterns may match many.
        """
        check_delimiter(delimiter)
        self.source, self.target, self.delimiter, self.header = source, target, delimiter, header
        self.files, self.encoding = files, encoding

    def records(self, file: Path) -> Iterator[tuple[list[str], int]]:
        csv.field_size_limit(LONGEST_FIELD)
        reader = csv.reader(lines(file, self.encoding, ends=True), delimiter=self.delimiter, strict=True)
        start, empty = 1, 0
        try:
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
            raise InputError(f"{file}:{start}: not CSV: {problem}; {remedy}") from problem


def index_of(column: int | str, names: Sequence[str], width: int, location: str) -> int:
    """The index of a column that is given by its number from 1 or its name."""
    if isinstance(column, int):
        if not 1 <= column <= width:
            raise InputError(
                f"{location}: {width} columns, so there is no column {column}; set data.corpus.source and "
                "data.corpus.target to columns from 1"
            )
        return column - 1
    if names.count(column) != 1:
        wrong = f"{names.count(column)} columns" if column in names else "no column"
        raise InputError(f"{location}: there is {wrong} {column!r} in the header {', '.join(names)}")
    return names.index(column)
