"""The course of a training for the page: pictures over steps and over minutes, and the same in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.report import plots
from seq2seq.report.plots import Marks, picture
from seq2seq.report.wording import NAMES, SCORES, finite, is_number, label, number, part

OF_MEMORY = {"effective_rank", "gradient_arriving", "saturated_gates"}
"""Curves that have a chapter of their own."""


class Curve(NamedTuple):
    """One curve in numbers, for those who do not see the picture."""

    name: str
    points: int
    first: str
    last: str
    lowest: str
    highest: str


class TrainingCurves(NamedTuple):
    """The curves: pictures shown at once, pictures kept folded, and all of them as numbers."""

    best: str
    resumed: str
    skipped: str
    """Steps that were not numbers and micro-batches that did not fit, in words."""
    pictures: list[Markup]
    over_minutes: list[Markup]
    more_pictures: list[Markup]
    curves: list[Curve]


def training(results: Mapping[str, Any]) -> TrainingCurves:
    """The curves, those of one kind in one picture: losses, scores from 0 to 100, and each other curve by itself."""
    measured = {key: points_of(rows) for key, rows in part(results, "curves").items() if rows}
    drawn = {key: points for key, points in measured.items() if points and key not in OF_MEMORY}
    losses = {key: points for key, points in drawn.items() if key.endswith("loss")}
    scores = {key: points for key, points in drawn.items() if key.removeprefix("validation_") in SCORES}
    rest = {key: points for key, points in drawn.items() if key not in losses and key not in scores}
    first = [("loss", "Loss", "nats per token", losses), ("score", "Validation score", "score", scores)]
    others = [(f"curve-{place}", label(key), label(key), {key: rest[key]}) for place, key in enumerate(rest)]
    resumed = [step for step in results.get("resumed") or () if is_number(step)]
    best = part(results, "best")
    return TrainingCurves(
        best=best_checkpoint(best),
        resumed=", ".join(number(step, 0) for step in resumed),
        skipped=bad_steps(part(results, "skipped")),
        pictures=[one for panel in first if (one := drawing(*panel, best, resumed))],
        over_minutes=[one for panel in first if (one := drawing(*panel, best, resumed, minutes=True))],
        more_pictures=[one for panel in others if (one := drawing(*panel, best, resumed))],
        curves=[in_numbers(key, points) for key, points in measured.items()],
    )


def bad_steps(found: Mapping[str, Any]) -> str:
    """What went wrong and was mended on the way; nothing where nothing did."""
    kinds = {"steps": "skipped because a loss or gradient was no number", "split": "split because they did not fit"}
    told = [f"{number(found[key], 0)} {'steps' if key == 'steps' else 'micro-batches'} {words}"
            for key, words in kinds.items() if is_number(found.get(key)) and found[key]]  # fmt: skip
    return "; ".join(told)


def drawing(
    name: str,
    title: str,
    unit: str,
    series: Mapping[str, list[plots.Point]],
    best: Mapping[str, Any],
    resumed: Sequence[float],
    minutes: bool = False,
) -> Markup | None:
    """One picture; the kept checkpoint is marked where its own curve is drawn."""
    if not series:
        return None
    step, value = finite(best.get("step")), finite(best.get("value"))
    mark = (step, value) if step is not None and value is not None and best.get("metric") in series else None
    named = {curve_name(key): points for key, points in series.items()}
    name, title = (f"{name}-minutes", f"{title} over minutes") if minutes else (name, title)
    marks = Marks(mark, resumed)
    return picture(plots.curves, named, name=name, title=title, unit=unit, marks=marks, minutes=minutes)


def points_of(rows: Sequence[Sequence[Any]]) -> list[plots.Point]:
    """The measurements that are numbers, in their own order."""
    return [plots.Point(*map(float, row)) for row in rows if len(row) == 3 and all(map(is_number, row))]


def in_numbers(key: str, points: Sequence[plots.Point]) -> Curve:
    """A curve's ends and extremes."""
    values = [point.value for point in points] or [math.nan]
    shown = (number(value) for value in (values[0], values[-1], min(values), max(values)))
    return Curve(curve_name(key), len(points), *shown)


def curve_name(key: str) -> str:
    """`validation_bleu` reads `validation BLEU`."""
    head, _, metric = key.partition("_")
    return f"{head} {label(metric)}" if metric in NAMES else label(key)


def best_checkpoint(best: Mapping[str, Any]) -> str:
    """Where the kept checkpoint lies, in one sentence."""
    if not is_number(best.get("step")):
        return ""
    metric = f", {curve_name(str(best['metric']))} {number(best.get('value'))}" if best.get("metric") else ""
    return f"step {number(best['step'], 0)}{metric}"
