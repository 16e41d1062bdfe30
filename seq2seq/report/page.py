"""results.json -> report.html, one file that asks for nothing else.

The page is built in two steps: this module turns the plain results into a few small named values (what to say),
`page.html` lays them out (how it looks). A part whose data is missing leaves no trace; a number that is not one reads
"n/a". Everything from the results is escaped by the template; only our own SVG pictures pass as they are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from seq2seq.report import plots
from seq2seq.report.behind import Behind, behind
from seq2seq.report.plots import picture
from seq2seq.report.wording import (
    NAMES,
    NOT_AVAILABLE,
    PERCENT,
    SCORES,
    count,
    duration,
    finite,
    heading,
    is_number,
    label,
    number,
    outline,
    phrase,
    places_of,
)  # fmt: skip


class Score(NamedTuple):
    """One line of the score table, ready to read."""

    name: str
    value: str
    interval: str
    unit: str
    signature: str


class Lengths(NamedTuple):
    """One metric by source length."""

    metric: str
    buckets: list[plots.Bucket]
    picture: Markup | None


class Example(NamedTuple):
    """A source with its reference and prediction; `facts` are its scores in words."""

    source: str
    reference: str
    prediction: str
    right: bool
    facts: list[str]


class Split(NamedTuple):
    """Everything measured on one split."""

    name: str
    rows: str
    scores: list[Score]
    decoding: str
    behind: list[Behind]
    lengths: list[Lengths]
    examples: list[tuple[str, list[Example]]]


class Curve(NamedTuple):
    """One curve in numbers, for those who do not see the picture."""

    name: str
    points: int
    first: str
    last: str
    lowest: str
    highest: str


class Training(NamedTuple):
    """The curves: pictures shown at once, pictures kept folded, and all of them as numbers."""

    best: str
    pictures: list[Markup]
    more_pictures: list[Markup]
    curves: list[Curve]


def write(results: Mapping[str, Any], path: Path) -> None:
    """Write the page to `path`; a reader sees the old page or the whole new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # A lone surrogate, which JSON may hold, has no UTF-8; it becomes a question mark.
        unfinished.write_bytes(render(results).encode("utf-8", errors="replace"))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def render(results: Mapping[str, Any]) -> str:
    """The whole page as text; the same results give the same text."""
    splits = [_split(name, part, place) for place, (name, part) in enumerate(_main_first(_part(results, "splits")))]
    training = _training(results)
    surroundings = dict(_part(results, "environment"))
    command = surroundings.pop("command", None)
    return _template().render(
        task=str(results.get("task") or "Results"),
        name=str(results.get("name") or ""),
        headline=_headline(results),
        highlights=list(_highlights(results)),
        pictures_missing=_pictures_missing(splits, training),
        splits=splits,
        training=training,
        parameters=_parameters(results),
        data=list(_facts(_part(results, "data"))),
        configuration=outline(_part(results, "config")),
        environment=list(_facts(surroundings)) + list(_times(results)),
        command=str(command or ""),
    )


@cache
def _template() -> Template:
    """The layout, with escaping on and a misspelt name an error."""
    environment = Environment(
        loader=PackageLoader("seq2seq.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, heading=heading)
    return environment.get_template("page.html")


def _part(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`; empty when an older file lacks it."""
    found = holder.get(key)
    return found if isinstance(found, Mapping) else {}


def _main_first(splits: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The splits with `test` ahead of the others."""
    return sorted(((name, _part(splits, name)) for name in splits), key=lambda pair: pair[0] != "test")


# Scores


def _score(key: str, metric: Mapping[str, Any]) -> Score:
    """A metric in words; value and interval share their decimals."""
    value, low, high = metric.get("value"), metric.get("low"), metric.get("high")
    unit = str(metric.get("unit") or "")
    hundred = key in SCORES or unit in PERCENT or "points" in unit
    places = 1 if hundred or not is_number(value) else places_of(value)
    known = is_number(low) and is_number(high)
    return Score(
        name=heading(key),
        value=number(value, places),
        interval=f"{number(low, places)} to {number(high, places)}" if known else NOT_AVAILABLE,
        unit=unit,
        signature=str(metric.get("signature") or ""),
    )


def _headline(results: Mapping[str, Any]) -> str:
    """The first score of the main split as a sentence."""
    for name, part in _main_first(_part(results, "splits")):
        metrics = _part(part, "metrics")
        for key in metrics:
            score = _score(key, _part(metrics, key))
            percent = " %" if score.unit in PERCENT and score.value != NOT_AVAILABLE else ""
            interval = "" if score.interval == NOT_AVAILABLE else f" (95 % interval {score.interval})"
            return f"{score.name} {score.value}{percent}{interval} on {count(part.get('rows'), f'{name} row') or name}"
    return ""


def _split(name: str, part: Mapping[str, Any], place: int) -> Split:
    metrics, examples = _part(part, "metrics"), _part(part, "examples")
    groups = [(group, [_example(row) for row in examples[group] or ()]) for group in examples]
    return Split(
        name=name,
        rows=count(part.get("rows"), "row"),
        scores=[_score(key, _part(metrics, key)) for key in metrics],
        decoding=phrase({key: value for key, value in _part(part, "decoding").items() if value not in (None, "")}),
        behind=list(_behind(part, place)),
        lengths=list(_lengths(name, part.get("by_source_length") or (), place)),
        examples=[(group, rows) for group, rows in groups if rows],
    )


def _behind(part: Mapping[str, Any], place: int) -> Iterator[Behind]:
    """What lies behind each metric of a split."""
    details = _part(part, "details")
    for index, key in enumerate(details):
        yield from behind(label(key), _part(details, key), f"behind-{place}-{index}")


def _lengths(split: str, rows: Sequence[Mapping[str, Any]], place: int) -> Iterator[Lengths]:
    """One table and picture for each metric in the rows: any key beside the bounds, the counts and the intervals."""
    keys = dict.fromkeys(key for row in rows for key in row)
    metrics = [key for key in keys if key not in {"low", "high", "rows"} and not key.endswith(("_low", "_high"))]
    for index, metric in enumerate(metrics):
        buckets = [_bucket(row, metric) for row in rows]
        drawn = [bucket for bucket in buckets if math.isfinite(bucket.value)]
        name, unit = f"length-{place}-{index}", label(metric)
        title = f"{unit} by source length, {split}"
        curve = picture(plots.by_length, drawn, name=name, title=title, unit=unit) if drawn else None
        yield Lengths(metric=unit, buckets=buckets, picture=curve)


def _bucket(row: Mapping[str, Any], metric: str) -> plots.Bucket:
    """A length bucket; a value that is missing is not a number, so that the table says so and the picture skips it."""
    low, high = row.get("low"), row.get("high")
    if is_number(low) and is_number(high):
        words = number(low) if low == high else f"{number(low)}–{number(high)}"
    elif is_number(high):
        words = f"up to {number(high)}"
    else:
        words = f"{number(low)} and more" if is_number(low) else NOT_AVAILABLE
    value = finite(row.get(metric))
    return plots.Bucket(
        label=words,
        rows=int(finite(row.get("rows")) or 0),
        value=math.nan if value is None else value,
        low=finite(row.get(f"{metric}_low")),
        high=finite(row.get(f"{metric}_high")),
    )


def _example(row: Mapping[str, Any]) -> Example:
    facts = []
    if row.get("id") is not None:
        facts.append(f"row {row['id']}")
    if "chrf" in row:
        facts.append(f"chrF {number(row['chrf'], 1)}")
    if "score" in row:
        facts.append(f"{number(row['score'], 3)} nats per token")
    source, reference, prediction = (str(row.get(key) or "") for key in ("source", "reference", "prediction"))
    return Example(source, reference, prediction, right=bool(reference) and prediction == reference, facts=facts)


# Training


def _training(results: Mapping[str, Any]) -> Training:
    """The curves, those of one kind in one picture: losses, scores from 0 to 100, and each other curve by itself."""
    measured = {key: _points(rows) for key, rows in _part(results, "curves").items() if rows}
    best = _part(results, "best")
    drawn = {key: points for key, points in measured.items() if points}
    losses = {key: points for key, points in drawn.items() if key.endswith("loss")}
    scores = {key: points for key, points in drawn.items() if key.removeprefix("validation_") in SCORES}
    rest = {key: points for key, points in drawn.items() if key not in losses and key not in scores}
    first = [("loss", "Loss", "nats per token", losses), ("score", "Validation score", "score", scores)]
    others = [(f"curve-{place}", label(key), label(key), {key: rest[key]}) for place, key in enumerate(rest)]
    return Training(
        best=_best(best),
        pictures=[picture for panel in first if (picture := _panel(*panel, best))],
        more_pictures=[picture for panel in others if (picture := _panel(*panel, best))],
        curves=[_curve(key, points) for key, points in measured.items()],
    )


def _panel(
    name: str, title: str, unit: str, series: Mapping[str, list[plots.Point]], best: Mapping[str, Any]
) -> Markup | None:
    """One picture; the kept checkpoint is marked where its own curve is drawn."""
    if not series:
        return None
    step, value = finite(best.get("step")), finite(best.get("value"))
    mark = (step, value) if step is not None and value is not None and best.get("metric") in series else None
    named = {_curve_name(key): points for key, points in series.items()}
    return picture(plots.curves, named, name=name, title=title, unit=unit, best=mark)


def _points(rows: Sequence[Sequence[Any]]) -> list[plots.Point]:
    """The measurements that are numbers, in their own order."""
    return [plots.Point(*map(float, row)) for row in rows if len(row) == 3 and all(map(is_number, row))]


def _curve(key: str, points: Sequence[plots.Point]) -> Curve:
    values = [point.value for point in points] or [math.nan]
    shown = (number(value) for value in (values[0], values[-1], min(values), max(values)))
    return Curve(_curve_name(key), len(points), *shown)


def _curve_name(key: str) -> str:
    """`validation_bleu` reads `validation BLEU`."""
    head, _, metric = key.partition("_")
    return f"{head} {label(metric)}" if metric in NAMES else label(key)


def _best(best: Mapping[str, Any]) -> str:
    """Where the kept checkpoint lies, in one sentence."""
    if not is_number(best.get("step")):
        return ""
    metric = f", {_curve_name(str(best['metric']))} {number(best.get('value'))}" if best.get("metric") else ""
    return f"step {number(best['step'], 0)}{metric}"


def _pictures_missing(splits: Sequence[Split], training: Training) -> bool:
    """Whether the results hold something to draw and nothing was drawn."""
    lengths = [part for split in splits for part in split.lengths]
    wanted = any(curve.points for curve in training.curves) or any(
        math.isfinite(bucket.value) for part in lengths for bucket in part.buckets
    )
    return wanted and not (training.pictures or training.more_pictures or any(part.picture for part in lengths))


# Model, data, surroundings


def _highlights(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The handful of facts that a reader wants beside the score."""
    if results.get("seconds") is not None:
        yield "Training time", duration(results["seconds"])
    if best := _best(_part(results, "best")):
        yield "Best checkpoint", best
    total = _part(_part(results, "model"), "parameters").get("total")
    if total is not None:
        yield "Parameters", number(total, 0)
    rows = _part(_part(results, "data"), "rows").get("train")
    if rows is not None:
        yield "Training rows", number(rows, 0)
    if device := _part(results, "environment").get("device"):
        yield "Device", str(device)


def _parameters(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Parts of the model with their parameters and share of the total."""
    parts = _part(_part(results, "model"), "parameters")
    total = finite(parts.get("total"))
    return [
        (heading(key), number(size, 0), f"{number(100 * size / total, 1)} %" if total and is_number(size) else "")
        for key, size in parts.items()
    ]


def _facts(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys and values as words, empty ones left out."""
    for key, value in part.items():
        if value is not None and value != {} and value != []:
            yield heading(key), phrase(value)


def _times(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How long each stage took, in one line."""
    if timing := _part(results, "timing"):
        yield "Time", ", ".join(f"{label(key)} {duration(value)}" for key, value in timing.items())
