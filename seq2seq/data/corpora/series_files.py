"""Time series in a file: groups, the order of time, and what stands where values are missing."""

import csv
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from seq2seq.data.corpora.tables import LONGEST_FIELD, ColumnNames, index_of, other_delimiter
from seq2seq.data.corpora.time_steps import counted, dated, step_name, usual_step
from seq2seq.data.lines import as_list, empty_line, lines
from seq2seq.data.number_text import parsed
from seq2seq.errors import InputError

log = logging.getLogger(__name__)

Repair = Literal["refuse", "previous", "linear", "zero"]
MISSING = {"", "nan", "na", "n/a", "null", "none"}
"""What stands for no value, in small letters."""

FILL = "set data.corpus.fill to previous, linear or zero"


class SeriesFormat(NamedTuple):
    """How a file is read."""

    columns: ColumnNames
    time: int | str | None
    group: ColumnNames | None
    sort: bool
    gaps: Repair
    fill: Repair
    delimiter: str
    header: bool
    encoding: str


class Values(NamedTuple):
    """A series."""

    texts: Sequence[str]
    """The numbers of each step."""
    lines: Sequence[int]
    """Of each step; that of the next one for a step that the file lacks."""
    name: str
    """Of the file."""
    group: str = ""
    without_next: Sequence[str] = ()
    """The numbers of each step as they are where the next known value is not: the previous ones. Empty for `texts`."""
    needs: Sequence[int] = ()
    """Of each step the index of the step that its numbers need; its own for those of the file."""

    def between(self, first: int, after: int, known: int) -> list[str]:
        """The steps from `first` to before `after`, of which those filled from `known` on are filled without it."""
        if not self.needs:
            return [*self.texts[first:after]]
        return [self.texts[at] if self.needs[at] < known else self.without_next[at] for at in range(first, after)]


class GroupRows:
    """The rows of one group as they stand in the file."""

    def __init__(self, file: Path, group: str) -> None:
        self.file, self.group = file, group
        self.cells: list[list[str]] = []
        """Of each row the numbers; an empty one is missing."""
        self.times: list[str] = []
        self.others: list[list[str]] = []
        """Of each row all fields, where no time is set."""
        self.lines: list[int] = []

    def where(self, row: int) -> str:
        return f"{self.file}:{self.lines[row]}"

    def reordered(self, order: Sequence[int]) -> None:
        """GroupRows in another order."""
        self.cells = [self.cells[row] for row in order]
        self.times = [self.times[row] for row in order]
        self.lines = [self.lines[row] for row in order]


def read_series(file: Path, form: SeriesFormat, warn: bool) -> list[Values]:
    """The series of a file, one for each group; warn: of dates that are in no order, where no time is set."""
    groups, names = rows_of(file, form)
    several = [*groups.values()]
    if form.time is None:
        if warn:
            warn_of_dates(several, form, names)
        return [repaired(rows, np.arange(len(rows.cells)), form) for rows in several]
    locations = [(rows, row) for rows in several for row in range(len(rows.times))]
    texts = [text for rows in several for text in rows.times]
    times, unit = counted(texts, lambda row: locations[row][0].where(locations[row][1]))
    cuts = np.cumsum([len(rows.times) for rows in several])[:-1]
    rising = [in_order(rows, own, form) for rows, own in zip(several, np.split(times, cuts), strict=True)]
    step = usual_step(rising)
    return [
        repaired(rows, places(rows, own, step, step_name(step, unit), form), form)
        for rows, own in zip(several, rising, strict=True)
    ]


def rows_of(file: Path, form: SeriesFormat) -> tuple[dict[str, GroupRows], list[str]]:
    """The rows of each group, in the order of the file, and the names of its columns."""
    stream = records(file, form)
    first = next(stream, None)
    if first is None:
        raise InputError(f"{file} is empty; give a file with a step a line")
    fields, line = first
    sides = [as_list(form.columns), as_list(form.time), [] if form.group is None else as_list(form.group)]
    header = form.header or any(isinstance(column, str) for side in sides for column in side)
    names, hint = fields if header else [], other_delimiter(fields, form.delimiter)
    columns, time, group = (
        [index_of(column, names, len(fields), f"{file}:{line}", hint) for column in side if column is not None]
        for side in sides
    )
    groups: dict[str, GroupRows] = {}
    width = len(fields)
    for fields, line in stream if header else chain([first], stream):
        if len(fields) != width:
            named = "header" if header else "first line"
            raise InputError(
                f"{file}:{line}: {len(fields)} columns, but the {named} has {width}; fix the line, or set "
                "data.corpus.delimiter or data.corpus.columns"
            )
        name = ", ".join(fields[index].strip() for index in group)
        rows = groups.setdefault(name, GroupRows(file, name))
        rows.lines.append(line)
        rows.cells.append([number(fields[index], names[index] if names else "", rows.where(-1), form.fill)
                           for index in columns])  # fmt: skip
        rows.times += [fields[index] for index in time]
        if form.time is None:
            rows.others.append(fields)
    return groups, names


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


def number(field: str, name: str, location: str, fill: Repair) -> str:
    """A number as it stands in the file; nothing for a missing one."""
    text = " ".join(field.split())
    if text.lower() in MISSING:
        if fill == "refuse":
            raise InputError(f"{location}: a value{f' of {name}' if name else ''} is missing; {FILL}")
        return ""
    try:
        parsed(text, 1)
    except InputError as problem:
        raise InputError(f"{location}: {problem}") from problem
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


def repaired(rows: GroupRows, at: np.ndarray, form: SeriesFormat) -> Values:
    """A group with its rows at these steps and with what stands for missing rows and values."""
    count, width = int(at[-1]) + 1, len(rows.cells[0])
    row_at = np.searchsorted(at, np.arange(count)).tolist()  # that of the next row for a step that the file lacks
    inserted = np.ones(count, dtype=bool)
    inserted[at] = False
    if not inserted.any() and all(all(cells) for cells in rows.cells):
        return Values([" ".join(cells) for cells in rows.cells], rows.lines, str(rows.file), rows.group)
    cells = [[""] * width if inserted[step] else [*rows.cells[row]] for step, row in enumerate(row_at)]
    before = [[*one] for one in cells]
    needs = list(range(count))
    for column in range(width):
        known = [step for step in range(count) if cells[step][column]]
        following = np.searchsorted(known, np.arange(count)).tolist()
        for step in range(count):
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
    texts, without = ([" ".join(one) for one in several] for several in (cells, before))
    return Values(texts, [rows.lines[row] for row in row_at], str(rows.file), rows.group, without, needs)


def warn_of_dates(several: Sequence[GroupRows], form: SeriesFormat, names: Sequence[str]) -> None:
    """Say that another column holds dates that repeat or do not rise."""
    taken = {name for side in (form.columns, form.group) if side is not None for name in as_list(side)}
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
