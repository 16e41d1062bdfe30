"""The times of a series: how they are written, the step between them, and how many steps lie between two."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone

import numpy as np

from seq2seq.errors import InputError

WHOLE = re.compile(r"[-+]?\d{1,15}")
COMPACT = {8: re.compile(r"(?:1[5-9]|2[01])\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"),
           6: re.compile(r"(?:1[5-9]|2[01])\d\d(?:0[1-9]|1[0-2])")}  # fmt: skip
"""Dates without separators by their digits: 20240131, 202401."""

CLOCK = r"([T ]\S+( ?[AaPp][Mm])?)?"
DATED = re.compile(
    rf"\d{{4}}([-/.])\d{{1,2}}(\1\d{{1,2}})?{CLOCK}|\d{{1,2}}([-/.])\d{{1,2}}\5\d{{4}}{CLOCK}|\d{{4}}-?Q[1-4]"
)
"""What looks like a date: 2024-01-31, 2024-01-31 12:00, 2024/1/31, 2024-01, 31.01.2024, 1/31/2024 1:30 PM, 2024Q1."""

HALF_DAY = re.compile(r"(0?[1-9]|1[0-2])((?::\d\d){1,2})? ?([AaPp])[Mm]")
"""A time of 12 hours: 1:30 PM."""

QUARTER = re.compile(r"(\d{4})-?Q([1-4])")
FIRST = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
NAMES = {
    "month": {1: "a month", 3: "a quarter", 12: "a year"},
    "weekday": {1: "a weekday", 5: "a week"},
    "microsecond": {SECOND: "a second", 60 * SECOND: "a minute", 3600 * SECOND: "an hour", 86400 * SECOND: "a day",
                    7 * 86400 * SECOND: "a week"},
    "number": {},
}  # fmt: skip
"""Of steps by the unit that they are counted in."""

REMEDY = "write whole numbers, or times as 2024-01-31, 2024-01-31 12:00 or 2024-01"


def dated(texts: Sequence[str]) -> bool:
    """Whether all texts look like dates; plain numbers do not, unless they have the digits of one."""
    return bool(texts) and all(DATED.fullmatch(text.strip()) or COMPACT[8].fullmatch(text.strip()) for text in texts)


def counted(texts: Sequence[str], where: Callable[[int], str]) -> tuple[np.ndarray, str]:
    """The times (rows,) as whole numbers, and the unit that they are counted in: a key of NAMES.

    Times of one day in the month, or of its end, are counted in months; days that are never at a weekend in weekdays;
    others in microseconds. where: the location of a row.
    """
    stripped = [text.strip() for text in texts]
    digits = len(stripped[0]) if stripped else 0
    compact = COMPACT.get(digits)
    if compact is not None and all(compact.fullmatch(text) for text in stripped):
        stripped = ["-".join(filter(None, (text[:4], text[4:6], text[6:]))) for text in stripped]
    if all(WHOLE.fullmatch(text) for text in stripped):
        return np.array([int(text) for text in stripped], dtype=np.int64), "number"
    day_first = order_of_days(stripped, where)
    moments = [moment(text, day_first, where(row)) for row, text in enumerate(stripped)]
    clocks = {one.time() for one in moments}
    days = {one.day for one in moments}
    ends = min(days) > 27 and all((one + timedelta(days=1)).day == 1 for one in moments)
    if len(clocks) == 1 and (len(days) == 1 or ends):
        return np.array([12 * one.year + one.month for one in moments]), "month"
    if len(clocks) == 1 and all(one.weekday() < 5 for one in moments):
        return np.array([(one.toordinal() - 1) // 7 * 5 + one.weekday() for one in moments]), "weekday"
    return np.array([(one - FIRST) // MICROSECOND for one in moments], dtype=np.int64), "microsecond"


def order_of_days(texts: Sequence[str], where: Callable[[int], str]) -> bool:
    """Whether 1/2/2024 is the first of February: what all dates of the file agree with."""
    pairs = [(int(one), int(other)) for one, other in re.findall(r"(?m)^(\d{1,2})[-/](\d{1,2})[-/]", "\n".join(texts))]
    if not pairs:
        return True
    day_first, month_first = (max(pair[side] for pair in pairs) <= 12 for side in (1, 0))
    if day_first and month_first and any(HALF_DAY.search(text) for text in texts):
        return False  # times of 12 hours are written where the month comes first
    if day_first and month_first:
        raise InputError(f"{where(0)}: {texts[0]!r} may begin with its day or its month; {REMEDY}")
    return day_first


def moment(text: str, day_first: bool, location: str) -> datetime:
    """One time; one without a time zone is taken for UTC."""
    date, mark, clock = re.sub(r"[T ]", " ", text, count=1).partition(" ")
    quarter = QUARTER.fullmatch(date)
    parts = re.split(r"[-/.]", date)
    if quarter:
        parts = [quarter[1], str(3 * int(quarter[2]) - 2)]
    elif len(parts) == 3 and len(parts[2]) == 4:
        parts = parts[::-1] if day_first or "." in date else [parts[2], parts[0], parts[1]]
    parts = [*parts, "1"] if len(parts) == 2 else parts
    clock = re.sub(r"Z$", "+00:00", clock.strip())
    if half := HALF_DAY.fullmatch(clock):
        clock = f"{int(half[1]) % 12 + 12 * (half[3] in 'Pp'):02}{half[2] or ':00'}"
    clock = f"{clock}:00" if re.fullmatch(r"\d\d", clock) else clock
    try:
        if len(parts) != 3:
            raise ValueError(f"{len(parts)} parts")
        whole = f"{int(parts[0]):04}-{int(parts[1]):02}-{int(parts[2]):02}" + f" {clock}" * bool(mark)
        found = datetime.fromisoformat(whole)
    except ValueError as problem:
        raise InputError(f"{location}: {text!r:.60} is no time; {REMEDY}") from problem
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def usual_step(times: Sequence[np.ndarray]) -> int:
    """The most frequent difference between neighbours, of rising times of each group; 1 where there are none."""
    differences = np.concatenate([np.diff(one) for one in times] or [np.zeros(0, dtype=np.int64)])
    if not len(differences):
        return 1
    values, counts = np.unique(differences, return_counts=True)
    return int(values[counts.argmax()])


def step_name(step: int, unit: str) -> str:
    """A step in words."""
    if step in NAMES[unit]:
        return NAMES[unit][step]
    for size, name in sorted(NAMES[unit].items(), reverse=True):
        if step % size == 0:
            return f"{step // size} {name.split()[-1]}s"
    return f"{step}" if unit == "number" else f"{step} {unit}s"
