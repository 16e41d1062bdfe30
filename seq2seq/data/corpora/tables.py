"""Tables: TSV, where quotation marks are text, and CSV, where they protect fields."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from seq2seq.data.corpora.lines import JOINER, Pair, check_delimiter, empty_line, filled_lines, lines, listed
from seq2seq.data.corpora.text_files import Files, Shard
from seq2seq.errors import InputError, check_range

Columns = int | str | list[int | str]
"""One column or several, which are joined by tabs."""


class Tsv(Files):
    """A table, one row a line, columns divided by a delimiter; quotation marks are text."""

    endings = (".tsv", ".txt", ".csv")

    def __init__(
        self,
        source: Columns = 1,
        target: Columns = 2,
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

    def read(self, shard: Shard) -> Iterator[Pair]:
        records = delimited(shard[0], self.delimiter, self.columns, self.encoding)
        return table(records, shard[0], *named(self.source, self.target, self.header))


class Csv(Files):
    """A table with a delimiter, in which quotation marks protect fields that hold delimiters or line ends."""

    endings = (".csv", ".tsv")

    def __init__(
        self,
        source: Columns = "source",
        target: Columns = "target",
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

    def read(self, shard: Shard) -> Iterator[Pair]:
        records = quoted(shard[0], self.delimiter, self.encoding)
        return table(records, shard[0], *named(self.source, self.target, self.header))


def named(source: Columns, target: Columns, header: bool) -> tuple[tuple[list[int | str], list[int | str]], bool]:
    """The columns of both sides, and whether the first line names the columns."""
    sides = listed(source), listed(target)
    return sides, header or any(isinstance(column, str) for side in sides for column in side)


LONGEST_FIELD = 1 << 27
"""Characters of the longest field of a CSV file."""


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
