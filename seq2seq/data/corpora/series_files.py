"""Time series in a file: groups, the order of time, and what stands where values are missing."""

import csv
import logging
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from seq2seq.data.corpora.tables import LONGEST_FIELD, ColumnNames, index_of, other_delimiter
from seq2seq.data.corpora.time_steps import counted, dated, step_name, usual_step
from seq2seq.data.lines import as_list, empty_line, lines
from seq2seq.data.number_text import BAR, parsed
from seq2seq.errors import InputError

log = logging.getLogger(__name__)

Repair = Literal["refuse", "previous", "linear", "zero"]
MISSING = {"", "nan", "na", "n/a", "null", "none"}
"""What stands for no value, in small letters."""

COMMA = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?")
"""A number with a decimal comma."""

FILL = "set data.corpus.fill to previous, linear or zero"


class SeriesFormat(NamedTuple):
    """How a file is read."""

    columns: ColumnNames
    past: ColumnNames | None
    future: ColumnNames | None
    time: int | str | None
    group: ColumnNames | None
    sort: bool
    gaps: Repair
    fill: Repair
    delimiter: str
    header: bool
    encoding: str
    decimal: str


class Values(NamedTuple):
    """A series."""

    texts: Sequence[str]
    """The numbers of each step, those of covariates behind a bar."""
    lines: Sequence[int]
    """Of each step; that of the next one for a step that the file lacks."""
    name: str
    """Of the file."""
    group: str = ""
    without_next: Sequence[str] = ()
    """The numbers of each step as they are where the next known value is not: the previous ones. Empty for `texts`."""
    needs: Sequence[int] = ()
    """Of each step the index of the step that its numbers need; its own for those of the file."""
    ahead: Sequence[str] = ()
    """Behind a bar the future covariates of the steps after these, which lack the series."""
    times: Sequence[str] = ()
    """Of each step ahead as the file has it; empty where it is not in the file, or no time is set."""
    keys: Sequence[str] = ()
    """What the columns of the group hold."""
    future: int = 0
    """Covariates of each step that are known in advance: its last numbers."""

    def series(self, first: int, after: int, known: int) -> list[str]:
        """`between`, without covariates."""
        return [text.partition(f" {BAR}")[0] for text in self.between(first, after, known)]

    def covariates(self, first: int, after: int) -> list[str]:
        """What is known in advance of the steps from `first` to before `after`."""
        if not self.future:
            return []
        steps = [
            *self.texts[first:after],
            *self.ahead[max(0, first - len(self.texts)) : max(0, after - len(self.texts))],
        ]
        return [f"{BAR} {' '.join(text.split()[-self.future :])}" for text in steps]

    def between(self, first: int, after: int, known: int) -> list[str]:
        """The steps from `first` to before `after`, of which those filled from `known` on are filled without it."""
        if not self.needs:
            return [*self.texts[first:after]]
        return [self.texts[at] if self.needs[at] < known else self.without_next[at] for at in range(first, after)]


class GroupRows:
    """The rows of one group as they stand in the file."""

    def __init__(self, file: Path, keys: Sequence[str]) -> None:
        self.file, self.keys, self.group = file, keys, ", ".join(keys)
        self.cells: list[list[str]] = []
        """Of each row the numbers; an empty one is missing."""
        self.times: list[str] = []
        self.others: list[list[str]] = []
        """Of each row all fields, where no time is set."""
        self.lines: list[int] = []

    def where(self, row: int) -> str:
        return f"{self.file}:{self.lines[row]}"

    def ahead(self, form: SeriesFormat, series: int) -> int:
        """How many of the last rows lack the series, the first numbers of a row; InputError for such a row before."""
        if form.future is None:
            return 0
        without = [not any(cells[:series]) for cells in self.cells]
        count = next((count for count, missing in enumerate(reversed(without)) if not missing), len(without))
        if form.fill == "refuse" and True in without[: len(without) - count]:
            raise InputError(
                f"{self.where(without.index(True))}: the series is missing, and later rows have it; {FILL}"
            )
        return count

    def reordered(self, order: Sequence[int]) -> None:
        """GroupRows in another order."""
        self.cells = [self.cells[row] for row in order]
        self.times = [self.times[row] for row in order]
        self.lines = [self.lines[row] for row in order]


def read_series(file: Path, form: SeriesFormat, warn: bool) -> list[Values]:
    """The series of a file, one for each group; warn: of dates that are in no order, where no time is set."""
    groups, names, widths = rows_of(file, form)
    several = [*groups.values()]
    if form.time is None:
        if warn:
            warn_of_dates(several, form, names)
        return [repaired(rows, np.arange(len(rows.cells)), form, widths) for rows in several]
    locations = [(rows, row) for rows in several for row in range(len(rows.times))]
    texts = [text for rows in several for text in rows.times]
    times, unit = counted(texts, lambda row: locations[row][0].where(locations[row][1]))
    cuts = np.cumsum([len(rows.times) for rows in several])[:-1]
    rising = [in_order(rows, own, form) for rows, own in zip(several, np.split(times, cuts), strict=True)]
    step = usual_step(rising)
    return [
        repaired(rows, places(rows, own, step, step_name(step, unit), form), form, widths)
        for rows, own in zip(several, rising, strict=True)
    ]


def rows_of(file: Path, form: SeriesFormat) -> tuple[dict[str, GroupRows], list[str], list[int]]:
    """The rows of each group, in the order of the file, the names of its columns, and how many columns are what."""
    stream = records(file, form)
    first = next(stream, None)
    if first is None:
        raise InputError(f"{file} is empty; give a file with a step a line")
    fields, line = first
    sides = [as_list(side) for side in (form.columns, form.past, form.future, form.time, form.group)]
    header = form.header or any(isinstance(column, str) for side in sides for column in side)
    names, hint = fields if header else [], other_delimiter(fields, form.delimiter)
    *used, time, group = (
        [index_of(column, names, len(fields), f"{file}:{line}", hint) for column in side if column is not None]
        for side in sides
    )
    refuse_repeated(used, names)
    widths, columns = [len(side) for side in used], [index for side in used for index in side]
    groups: dict[str, GroupRows] = {}
    width = len(fields)
    for fields, line in stream if header else chain([first], stream):
        if len(fields) != width:
            named = "header" if header else "first line"
            raise InputError(
                f"{file}:{line}: {len(fields)} columns, but the {named} has {width}; fix the line, or set "
                "data.corpus.delimiter or data.corpus.columns"
            )
        keys = [fields[index].strip() for index in group]
        rows = groups.setdefault(", ".join(keys), GroupRows(file, keys))
        rows.lines.append(line)
        known = form.future is None or any(not missing(fields[index]) for index in used[0])
        needed = len(columns) if known else widths[2]  # of the last columns
        rows.cells.append(
            ["" if place < len(columns) - needed and missing(fields[index]) else
             number(fields[index], names[index] if names else "", rows.where(-1), form)
             for place, index in enumerate(columns)]
        )  # fmt: skip
        rows.times += [fields[index] for index in time]
        if form.time is None:
            rows.others.append(fields)
    return groups, names, widths


def refuse_repeated(used: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    """Raise InputError for a column of which a forecast would see what it is to forecast, or that is read twice."""
    settings = ("columns", "past_covariates", "future_covariates")
    taken: dict[int, str] = {}
    for setting, side in zip(settings, used, strict=True):
        for index in side:
            if taken.setdefault(index, setting) != setting:
                raise InputError(f"data.corpus.{setting} and data.corpus.{taken[index]} both have the column "
                                 f"{names[index] if names else index + 1}; it can only be one of them")  # fmt: skip


def records(file: Path, form: SeriesFormat) -> Iterator[tuple[list[str], int]]:
    """The fields of each record and its line; in a file of one column an empty line is a missing value."""
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(lines(file, form.encoding, ends=True), delimiter=form.delimiter, strict=True)
    empty: list[int] = []
    start, width = 1, 0
    try:
        for fields in reader:
            if not fields:
                empty.append(start)
            else:
                width = width or len(fields)
                if empty and width > 1:
                    raise empty_line(file, empty[0])
                yield from (([""], number) for number in empty)
                yield fields, start
                empty = []
            start = reader.line_num + 1
    except csv.Error as problem:
        raise InputError(f"{file}:{start}: not CSV: {problem}; write a number in each field") from problem


def missing(field: str) -> bool:
    """Whether a field holds no value."""
    return field.strip().lower() in MISSING


def number(field: str, name: str, location: str, form: SeriesFormat) -> str:
    """A number as it stands in the file; nothing for a missing one."""
    text = " ".join(field.split())
    if missing(text):
        if form.fill == "refuse":
            raise InputError(f"{location}: a value{f' of {name}' if name else ''} is missing; {FILL}")
        return ""
    if form.decimal == "," and COMMA.fullmatch(text):
        text = text.replace(",", ".")
    elif form.decimal == "," and "." in text:
        raise InputError(f"{location}: {text!r} has a point, and data.corpus.decimal is a comma; fix the number")
    try:
        parsed(text, 1)
    except InputError as problem:
        remedy = '; for decimal commas set data.corpus.decimal to ","' if COMMA.fullmatch(text) else ""
        raise InputError(f"{location}: {problem}{remedy}") from problem
    return text


def in_order(rows: GroupRows, times: np.ndarray, form: SeriesFormat) -> np.ndarray:
    """The times of a group, which rise; sorted with their rows where that is wished."""
    if form.sort:
        order = np.argsort(times, kind="stable")
        rows.reordered(order.tolist())
        times = times[order]
    differences = np.diff(times)
    same = np.flatnonzero(differences == 0)
    if len(same):
        row = int(same[0])
        remedy = "keep one of them" + (
            "" if form.group else ", or name the column that tells the series apart with data.corpus.group"
        )
        raise InputError(
            f"{rows.where(row + 1)}: the time {rows.times[row]} stands in line {rows.lines[row]} too{of(rows)}; "
            f"{remedy}"
        )
    back = np.flatnonzero(differences < 0)
    if len(back):
        row, newest = int(back[0]), len(back) == len(differences)
        what = "the newest row is first" if newest else f"{rows.times[row + 1]} follows {rows.times[row]}"
        remedy = "set data.corpus.sort to true"
        if not form.group and len(set(times.tolist())) < len(times):
            remedy = "times repeat: name the column that tells the series apart with data.corpus.group"
        raise InputError(f"{rows.where(row + 1)}: {what}{of(rows)}; {remedy}")
    return times


def places(rows: GroupRows, times: np.ndarray, step: int, name: str, form: SeriesFormat) -> np.ndarray:
    """How many steps after the first row of a group each one is."""
    differences = np.diff(times)
    uneven = np.flatnonzero(differences % step)
    if len(uneven):
        row = int(uneven[0])
        raise InputError(
            f"{rows.where(row + 1)}: {rows.times[row + 1]} is no whole number of steps after {rows.times[row]}"
            f"{of(rows)}, where a step is {name}; fix the time, or write the series at even steps"
        )
    gaps = np.flatnonzero(differences > step)
    missing = int((differences // step - 1).sum())
    if len(gaps) and (form.gaps == "refuse" or missing > max(100, 4 * len(times))):
        row = int(gaps[0])
        count = int(differences[row] // step) - 1
        more = f" ({missing:,} in {len(gaps)} gaps)" if len(gaps) > 1 else ""
        remedy = "set data.corpus.gaps to previous, linear or zero"
        if form.gaps != "refuse":
            remedy = "too many to fill: fix the time, or write the series at even steps"
        raise InputError(
            f"{rows.where(row + 1)}: {count:,} step{'s are' if count > 1 else ' is'} missing between {rows.times[row]} "
            f"and {rows.times[row + 1]}{of(rows)}, where a step is {name}{more}; {remedy}"
        )
    return np.concatenate([[0], np.cumsum(differences // step)])


def of(rows: GroupRows) -> str:
    """Which group a message is about."""
    return f" (group {rows.group})" if rows.group else ""


def repaired(rows: GroupRows, at: np.ndarray, form: SeriesFormat, widths: Sequence[int]) -> Values:
    """A group with its rows at these steps and with what stands for missing rows and values.

    widths: columns of the series, of past and of future covariates.
    """
    ahead = rows.ahead(form, widths[0])
    end = int(at[len(at) - ahead - 1]) + 1 if ahead < len(at) else 0
    cells, before, needs, row_at = filled(rows, at, form, end, widths[0] + widths[1])
    texts, without = ([with_bar(one, widths) for one in several] for several in (cells, before))
    if not needs:
        without = []
    in_file = {int(step): row for row, step in enumerate(at.tolist())}
    times = [rows.times[in_file[step]] if step in in_file and rows.times else "" for step in range(end, len(texts))]
    return Values(texts[:end], [rows.lines[row] for row in row_at[:end]], str(rows.file), rows.group, without[:end],
                  needs[:end], texts[end:], times, rows.keys, widths[2])  # fmt: skip


def with_bar(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The numbers of a step, those of covariates behind a bar."""
    if not widths[1] + widths[2]:
        return " ".join(cells)
    return f"{' '.join(cells[: widths[0]])} {BAR} {' '.join(cells[widths[0] :])}"


def filled(
    rows: GroupRows, at: np.ndarray, form: SeriesFormat, end: int, past: int
) -> tuple[list[list[str]], list[list[str]], list[int], list[int]]:
    """The numbers of each step, the same without the next known ones, what they need, and the row of each step.

    end: the first step that has only what is known in advance: the columns from `past` on. Nothing is needed where
    nothing is filled in.
    """
    count, width = int(at[-1]) + 1, len(rows.cells[0])
    row_at = np.searchsorted(at, np.arange(count)).tolist()  # that of the next row for a step that the file lacks
    inserted = np.ones(count, dtype=bool)
    inserted[at] = False
    if not inserted.any() and all(all(one[past * (step >= end) :]) for step, one in enumerate(rows.cells)):
        return rows.cells, [], [], row_at
    cells = [[""] * width if inserted[step] else [*rows.cells[row]] for step, row in enumerate(row_at)]
    before = [[*one] for one in cells]
    needs = list(range(count))
    for column in range(width):
        known = [step for step in range(count) if cells[step][column]]
        following = np.searchsorted(known, np.arange(count)).tolist()
        for step in range(count if column >= past else end):
            if cells[step][column]:
                continue
            rule, place = form.gaps if inserted[step] else form.fill, following[step]
            if rule == "zero":
                cells[step][column] = before[step][column] = "0"
                continue
            if place == 0:
                raise InputError(
                    f"{rows.where(row_at[step])}: no value stands before the missing one{of(rows)}; drop the first "
                    "lines, or set data.corpus.fill to zero"
                )
            last = known[place - 1]
            cells[step][column] = before[step][column] = before[last][column]
            if rule == "linear" and place < len(known):
                ends = [float(before[one][column]) for one in (last, known[place])]
                share = (step - last) / (known[place] - last)
                cells[step][column] = f"{ends[0] + share * (ends[1] - ends[0]):.9g}"
                needs[step] = max(needs[step], known[place])
    return cells, before, needs, row_at


def warn_of_dates(several: Sequence[GroupRows], form: SeriesFormat, names: Sequence[str]) -> None:
    """Say that another column holds dates that repeat or do not rise."""
    sides = (form.columns, form.past, form.future, form.group)
    taken = {name for side in sides if side is not None for name in as_list(side)}
    for index in range(len(several[0].others[0])):
        name = names[index] if names else index + 1
        if name in taken or index + 1 in taken:
            continue
        for rows in several:
            texts = [fields[index] for fields in rows.others]
            if not dated(texts[:50]):
                break
            try:
                steps = np.diff(counted(texts, rows.where)[0])
            except InputError:
                break
            if (steps <= 0).any():
                row = int(np.flatnonzero(steps <= 0)[0]) + 1
                group = "" if form.group else ", and data.corpus.group if the file holds several series"
                log.warning("%s: the dates of column %s do not rise (%s after %s), and rows are taken in the order of "
                            "the file; set data.corpus.time to %s%s",
                            rows.where(row), name, texts[row], texts[row - 1], name, group)  # fmt: skip
                return
