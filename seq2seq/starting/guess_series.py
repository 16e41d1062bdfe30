"""A first configuration for series: columns of numbers, of time, and of the names of several series."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.data.corpora.series import Series
from seq2seq.data.corpora.series_files import Values
from seq2seq.data.corpora.time_steps import counted, usual_step
from seq2seq.errors import InputError
from seq2seq.starting import recipes
from seq2seq.starting.columns import Column, FileColumns
from seq2seq.starting.guess_kind import Guess

REPAIRS: tuple[dict[str, Any], ...] = ({}, {"sort": True}, {"gaps": "previous"}, {"sort": True, "gaps": "previous"})
"""Settings that are tried one after the other, until the file can be read."""

NOTES = {"sort": "rows are not in the order of time, so they are sorted",
         "gaps": "rows are missing in time: the value before stands for them (gaps)",
         "fill": "values are missing: the one before stands for them (fill)"}  # fmt: skip

MANY = 20_000
"""Values from which on a forecast at each step would take too long to learn, and repeat what others say."""

FEWEST = 60
"""Rows of the longest series."""


def panel(table: FileColumns, texts: Sequence[Column]) -> bool:
    """Whether dated rows have no other texts than names that come again and again, as series one below the other."""
    dates = next((one for one in table.columns if one.dated), None)
    if dates is None or not all(one.few for one in texts):
        return False
    steps = [*zip(dates.texts, *(one.texts for one in texts), strict=True)]
    return len(set(steps)) == len(steps)


def of_series(file: Path, table: FileColumns, numbers: Sequence[Column]) -> Guess:
    """Numbers over time."""
    dates = next((one for one in table.columns if one.dated), None)
    groups = groups_of(table, dates, numbers)
    numbers = [one for one in numbers if one not in groups]
    named = [one.name for one in numbers]
    ahead = [one.name for one in numbers if one.texts[-1].strip()] if dates is not None else []
    notes = []
    if 0 < len(ahead) < len(named):  # the last rows hold what is known in advance
        named = [name for name in named if name not in ahead]
        notes.append(f"the last rows lack {', '.join(map(str, named))}: the other columns are known in advance")
    elif len(named) > 1:
        notes.append("all numbers are forecast; those that only help go into past_covariates or future_covariates")
    settings: dict[str, Any] = {"columns": named[0] if len(named) == 1 else named}
    if len(ahead) > 0 and len(named) < len(numbers):
        settings["future_covariates"] = ahead[0] if len(ahead) == 1 else ahead
    settings |= {name: value for name, value in table.settings.items() if name != "header"}
    if table.corpus == "Tsv" and "delimiter" not in settings:
        settings["delimiter"] = "\t"
    if groups:
        settings["group"] = groups[0].name if len(groups) == 1 else [one.name for one in groups]
    series, extra = readable(file, settings, dates)
    settings |= extra
    counts = [len(one.texts) for one in series]
    count = sorted(counts)[len(counts) // 2]
    if max(counts) < FEWEST:
        raise InputError(f"{file}: {max(counts)} rows of numbers, too few for a forecast; it takes {FEWEST} at least")
    season = season_of(dates, groups)
    horizon = max(1, min(season or min(12, count // 30), count * 3 // 20))  # validation has 15 % of the values
    settings |= {"history": min(max(2 * season, 3 * horizon), count // 4), "horizon": horizon}
    notes += [NOTES[name] for name in extra if name in NOTES]
    if sum(counts) > MANY and horizon > 1:
        settings["stride"] = horizon
        notes.append(f"of {sum(counts):,} values, a forecast begins every {horizon} steps (stride)")
    if dates is not None and "time" not in settings:
        notes.append(f"the column {dates} is not taken for the time: {why_not(dates)}")
    if "time" not in settings:
        notes.append("rows are taken to be in the order of time, without gaps, and of one series")
    if groups:
        notes.append(f"{len(series):,} series, told apart by {', '.join(map(str, groups))}")
    notes += [f"season {season}, from the column {dates}"] if season else ["set model.season where values repeat"]
    return Guess(f"forecasts of {', '.join(map(str, named))}", {"class_path": "Series", "init_args": settings},
                 recipes.forecasting(season), notes)  # fmt: skip


def groups_of(table: FileColumns, dates: Column | None, numbers: Sequence[Column]) -> list[Column]:
    """The columns that tell series apart: names beside dates, or the numbers without which dates repeat."""
    if dates is None:
        return []
    spoken = [one for one in table.columns if not one.numeric and not one.dated and not one.lists and any(one.texts)]
    names = [one for one in spoken if len(one.counts) == 1 or one.few]
    whole = [one for one in numbers if one.few and all(text.strip().isdecimal() for text in one.texts)]
    for more in itertools.chain([()], itertools.combinations(whole, 1), itertools.combinations(whole, 2)):
        chosen = [*names, *more]
        keys = zip(dates.texts, *(one.texts for one in chosen), strict=True)
        if len(set(keys)) == len(dates.texts) and len(chosen) < len(numbers) + len(names):
            return chosen
    return names


def readable(file: Path, settings: dict[str, Any], dates: Column | None) -> tuple[list[Values], dict[str, Any]]:
    """The series, and the settings of time and of repair with which they can be read."""
    times: list[dict[str, Any]] = [] if dates is None else [{"time": dates.name} | more for more in REPAIRS]
    first: InputError | None = None
    for fill in ({}, {"fill": "previous"}):
        for extra in (*times, {}):
            chosen = extra | fill
            try:
                return Series(**settings, **chosen).series(str(file)), chosen
            except InputError as problem:
                first = first or problem
    raise first or InputError(f"{file}: no series can be read from it")


def why_not(dates: Column) -> str:
    """What is wrong with times."""
    try:
        counted(dates.texts, lambda row: f"row {row + 1}")
    except InputError as problem:
        return str(problem)
    return "rows or times are missing, or there twice"


def season_of(dates: Column | None, groups: Sequence[Column]) -> int:
    """Steps of a season, by the dates of the first series; 0 where they do not tell."""
    if dates is None:
        return 0
    keys = [*zip(*(one.texts for one in groups), strict=True)] if groups else [()] * len(dates.texts)
    texts = [text for text, key in zip(dates.texts, keys, strict=True) if key == keys[0]]
    try:
        times, unit = counted(texts, str)
    except InputError:
        return 0
    return recipes.season_of(usual_step([np.unique(times)]), unit)
