"""Sequences of numbers as small pictures and in few digits: readings of sensors, lines of pixels, frames of sound."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from markupsafe import Markup

from seq2seq.report.drawing import Drawing, colour

FEWEST = 4
"""Steps of a sequence that is drawn, at least."""

ACROSS, UP = 80, 16
"""Steps, and numbers of a step, that are drawn at most: more are averaged."""

LINES = 3
"""Numbers of a step that are drawn as lines; more are shades."""

SHADES = 6
"""Of a cell."""

FIRST = 6
"""Numbers of a sequence that are written out."""

BAR = "|"
"""What separates the numbers of a series from those of its covariates."""

NUMERIC = re.compile(r"[-+0-9.eEinfa \t]+")


def sequence(text: str) -> list[list[float]] | None:
    """The steps of a text whose steps tabs separate; None for what is no long sequence of numbers.

    Covariates, which stand behind a bar, and steps that have only these are left out.
    """
    if BAR in text:
        text = "\t".join(own for step in text.split("\t") if (own := step.partition(BAR)[0].strip()))
    steps = text.split("\t")
    if len(steps) < FEWEST or not NUMERIC.fullmatch(text):
        return None
    try:
        rows = [[float(word) for word in step.split()] for step in steps]
    except ValueError:
        return None
    if len({len(row) for row in rows}) != 1 or not all(math.isfinite(value) for row in rows for value in row):
        return None
    return rows if rows[0] else None


def in_brief(text: str) -> str:
    """A sequence of numbers by its length and its first numbers; any other text as it is."""
    rows = sequence(text)
    if rows is None:
        return text
    values = [value for row in rows for value in row]
    first = " ".join(f"{value:.3g}".replace("-", "−") for value in values[:FIRST])
    width = f" of {len(rows[0])} numbers" if len(rows[0]) > 1 else ""
    covariates = ", with covariates" * (BAR in text)
    return f"{first}{' …' if len(values) > FIRST else ''} ({len(rows)} steps{width}{covariates})"


def spark(rows: Sequence[Sequence[float]], name: str) -> Markup:
    """Steps from left to right: a line for each number of a step, or shades of all of them, the first at the bottom."""
    rows = thinned(rows, ACROSS)
    columns = [list(column) for column in zip(*rows, strict=True)]
    if len(columns) <= LINES:
        return lines(columns, name)
    return shades(thinned(columns, UP), name)


def thinned(rows: Sequence[Sequence[float]], most: int) -> list[list[float]]:
    """At most so many rows, each the mean of neighbours."""
    size = -(-len(rows) // most)
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [[sum(values) / len(group) for values in zip(*group, strict=True)] for group in groups]


def lines(columns: Sequence[Sequence[float]], name: str) -> Markup:
    """One line for each column (steps), on one scale."""
    low, high = min(map(min, columns)), max(map(max, columns))
    drawing, span = Drawing(240, 42), high - low or 1.0
    for index, column in enumerate(columns):
        step = 236 / max(1, len(column) - 1)
        corners = "L".join(
            f"{2 + step * at:.1f} {39 - 36 * (value - low) / span:.1f}" for at, value in enumerate(column)
        )
        drawing.path(f"M{corners}", f"line {colour(index)}")
    return drawing.svg(name, f"from {low:.4g} to {high:.4g}", "spark")


def shades(columns: Sequence[Sequence[float]], name: str) -> Markup:
    """Columns (steps) as lines of squares, the darker the higher."""
    low, high = min(map(min, columns)), max(map(max, columns))
    span, tall = high - low or 1.0, 42 / len(columns)
    wide = min(240 / len(columns[0]), max(tall, 2.5))  # a small picture keeps its proportions
    drawing = Drawing(wide * len(columns[0]), 42)
    cells: dict[int, list[str]] = {}
    for up, column in enumerate(columns):
        for across, value in enumerate(column):
            if shade := round(SHADES * (value - low) / span):
                cells.setdefault(shade, []).append(
                    f"M{across * wide:.1f} {42 - (up + 1) * tall:.1f}h{wide:.1f}v{tall:.1f}h-{wide:.1f}z"
                )
    for shade in sorted(cells):
        drawing.path("".join(cells[shade]), "cell", opacity=f"{shade / SHADES:.2f}")
    return drawing.svg(name, f"{len(columns)} numbers a step, from {low:.4g} to {high:.4g}", "spark")
