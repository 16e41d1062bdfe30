"""results.json, with the predictions beside it, -> report.html: one file that asks for nothing else.

The page is built in two steps: this module turns plain results into a few small named values (what to say), `page.html`
lays them out (how it looks). A part whose data is missing leaves no trace; a number that is not one reads "n/a".
Everything from the results is escaped by the template; only our own SVG pictures pass as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.atomic_files import write_text
from seq2seq.report import layout
from seq2seq.report.layout import Fragment, marked
from seq2seq.report.panels import Panel, Section, behind, dependence, exposure, memory, probes
from seq2seq.report.training import TrainingCurves, best_checkpoint, training
from seq2seq.report.wording import (
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
    part,
    parts,
    percent,
    phrase,
    places_of,
)  # fmt: skip

SEARCHED = 1_500_000
"""Letters of all rows that can be searched in the page, at most."""

CUT = 400
"""Letters of a text that are searched and shown among all rows."""

TOKENS = 60
"""Tokens of each side of an alignment that are drawn."""

LEGIBLE = 24
"""Tokens of a source that can be taken in at a glance."""


class ScoreLine(NamedTuple):
    """One line of the score table, ready to read."""

    name: str
    value: str
    interval: str
    unit: str
    signature: str
    verdict: str


class Scores(NamedTuple):
    """Everything measured on one split."""

    split: str
    rows: str
    scores: list[ScoreLine]
    decoding: str


class ExampleRow(NamedTuple):
    """A source with its reference and prediction; `facts` are its scores in words."""

    source: str
    reference: str
    prediction: list[Fragment]
    right: bool
    facts: list[str]


class Alignment(NamedTuple):
    """Where the decoder looked: for each target token the weights of the source tokens, in percent."""

    title: str
    source: list[str]
    target: list[str]
    weights: list[list[int]]


class MapPoint(NamedTuple):
    """A fixed vector on the map; x and y from 0 to 100."""

    x: float
    y: float
    text: str
    length: int


class VectorMap(NamedTuple):
    """The map of the fixed vectors and who is near whom."""

    caption: str
    dots: list[MapPoint]
    neighbours: list[tuple[str, list[tuple[str, str]]]]


def write_run(folder: Path, path: Path | None = None) -> Path:
    """Write the page of a run from its files alone; where to, if not to its report.html."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    path, name = path or folder / "report.html", folder / "predictions" / main_split(results)
    rows, alignments = (read_lines(Path(f"{name}.{end}")) for end in ("jsonl", "alignments.jsonl"))
    write_text(path, render(results, rows, alignments))
    return path


def read_lines(file: Path) -> list[Mapping[str, Any]]:
    """The objects of a file of JSON lines; none where there is no such file."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_bytes().split(b"\n") if line.strip()]


def main_split(results: Mapping[str, Any]) -> str:
    """The split that the page is about: test where there is one."""
    names = list(part(results, "splits"))
    return "test" if "test" in names or not names else str(names[0])


def render(
    results: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]] = (),
    alignments: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The whole page as text; the same results give the same text."""
    main = part(part(results, "splits"), main_split(results))
    texts = {row.get("id"): row for row in rows}
    surroundings = dict(part(results, "environment"))
    command = surroundings.pop("command", None)
    examples = list(example_groups(part(main, "examples")))
    course, sections = training(results), list(sections_of(results, main))
    return layout.page(
        "page.html",
        task=str(results.get("task") or "Results"),
        name=str(results.get("name") or ""),
        headline=headline(results),
        highlights=list(highlights(results)),
        scores=[scores_of(name, part(part(results, "splits"), name)) for name in part(results, "splits")],
        sections={section.id: section for section in sections},
        alignments=in_reading_order([alignment(one, texts) for one in alignments]),
        attention=attention(part(main, "attention")),
        candidates=list(candidates(main, texts)),
        vectors=vectors(part(main, "vectors"), texts),
        examples=examples,
        rows=searchable(rows),
        training=course,
        parameters=parameters(results),
        data=list(facts(part(results, "data"))),
        configuration=outline(part(results, "config")),
        changed=changed(results),
        environment=[*facts(surroundings), *times(results), *energy(part(results, "energy"))],
        command=str(command or ""),
        pictures_missing=pictures_missing(sections, course),
    )


def sections_of(results: Mapping[str, Any], main: Mapping[str, Any]) -> Iterator[Section]:
    """The chapters that are made of tables and pictures."""
    details = part(main, "details")
    found = [panel for index, key in enumerate(details)
             for panel in behind(label(key), part(details, key), f"behind-{index}")]  # fmt: skip
    yield Section("behind", "Behind the scores", panels=found)
    breakdowns = parts(main, "breakdowns")
    yield Section("depends", "What the score depends on", panels=dependence({"": breakdowns}, "depends"))
    words = [
        "Training feeds the reference; a prediction feeds itself. The gap between the two losses is exposure bias."
    ]
    seen = part(main, "exposure")
    if is_number(seen.get("gap")):
        words.append(
            f"After its own words the reference costs {number(seen['gap'])} nats per token more than after the "
            f"reference, over {number(seen.get('tokens'), 0)} tokens."
        )
    yield Section("exposure", "Exposure", words, list(exposure(seen, part(main, "repetition"), "exposure")))
    yield Section("memory", "Memory over time", panels=list(memory(parts(results, "memory"), "memory")))
    yield Section("probes", "Probes", panels=list(probes(parts(part(main, "vectors"), "probes"))))


# Scores


def score(key: str, metric: Mapping[str, Any]) -> ScoreLine:
    """A metric in words; value and interval share their decimals."""
    value, low, high = metric.get("value"), metric.get("low"), metric.get("high")
    unit = str(metric.get("unit") or "")
    hundred = key in SCORES or unit in PERCENT or "points" in unit
    places = 1 if hundred or not is_number(value) else places_of(value)
    known = is_number(low) and is_number(high)
    return ScoreLine(
        name=heading(key),
        value=number(value, places),
        interval=f"{number(low, places)} to {number(high, places)}" if known else NOT_AVAILABLE,
        unit=unit,
        signature=str(metric.get("signature") or ""),
        verdict=verdict(metric, places),
    )


def verdict(metric: Mapping[str, Any], places: int) -> str:
    """What the interval means for somebody who wants to compare."""
    low, high = metric.get("low"), metric.get("high")
    better = "lower is better" if metric.get("higher_is_better") is False else ""
    if not (is_number(low) and is_number(high)) or high <= low:
        return better
    least = (high - low) / 2 * 2**0.5
    told = f"a second system must differ by about {number(least, places)} to be told apart without a paired test"
    return "; ".join(filter(None, [better, told]))


def headline(results: Mapping[str, Any]) -> str:
    """The first score of the main split as a sentence."""
    name = main_split(results)
    main = part(part(results, "splits"), name)
    for key, metric in part(main, "metrics").items():
        found = score(key, metric if isinstance(metric, Mapping) else {})
        unit = " %" if found.unit in PERCENT and found.value != NOT_AVAILABLE else ""
        interval = "" if found.interval == NOT_AVAILABLE else f" (95 % interval {found.interval})"
        return f"{found.name} {found.value}{unit}{interval} on {count(main.get('rows'), f'{name} row') or name}"
    return ""


def scores_of(name: str, main: Mapping[str, Any]) -> Scores:
    """The score table of a split."""
    metrics = part(main, "metrics")
    settings = {key: value for key, value in part(main, "decoding").items() if value not in (None, "")}
    found = [score(key, part(metrics, key)) for key in metrics]
    return Scores(name, count(main.get("rows"), "row"), found, phrase(settings))


# Attention and the fixed vector


def alignment(one: Mapping[str, Any], texts: Mapping[Any, Mapping[str, Any]]) -> Alignment:
    """One row's weights, its sides cut to what can be drawn."""
    source, target = ([str(token) for token in one.get(side) or ()][:TOKENS] for side in ("source", "target"))
    weights = [[int(finite(weight) or 0) for weight in step][: len(source)] for step in one.get("weights") or ()]
    title = str(texts.get(one.get("id"), {}).get("source") or "".join(source))
    return Alignment(f"row {number(one.get('id'), 0)}: {title[:160]}", source, target, weights[: len(target)])


def in_reading_order(found: list[Alignment]) -> list[Alignment]:
    """The same rows; one that is long, but not too long to take in, stands first."""
    best = max(found, key=lambda one: (len(one.source) <= LEGIBLE, len(one.source)), default=None)
    return sorted(found, key=lambda one: one is not best)


def attention(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How attention behaves over all rows."""
    told = []
    if is_number(found.get("entropy")):
        told.append(("Entropy of a step's weights", f"{number(found['entropy'], 2)} nats"))
    if is_number(found.get("entropy_share")):
        told.append(("The same, of the most there could be", percent(found["entropy_share"])))
    if is_number(found.get("coverage")):
        told.append(("Coverage: attention that a source token gets, up to 1", percent(found["coverage"])))
    if is_number(found.get("never_attended")):
        told.append(
            ("Source tokens hardly looked at (less than 0.1 in all)", f"{number(found['never_attended'], 1)} %")
        )
    return told


def candidates(main: Mapping[str, Any], texts: Mapping[Any, Mapping[str, Any]]) -> Iterator[Panel]:
    """Rows in which something may be left out, or said twice."""
    under = parts(part(main, "attention"), "under")
    if under:
        rows = [
            [number(one.get("id"), 0), "  ".join(map(str, one.get("tokens") or ())), percent(one.get("share")),
             shown(texts.get(one.get("id")), "source")]
            for one in under
        ]  # fmt: skip
        header = ["Row", "Never looked at", "Of the source", "Source"]
        yield Panel("May be left out (under-translation)", header, rows)
    over = parts(part(main, "repetition"), "rows")
    if over:
        rows = [
            [number(one.get("id"), 0), str(one.get("repeated") or ""), shown(texts.get(one.get("id")), "prediction")]
            for one in over
        ]
        yield Panel("Said twice (over-translation)", ["Row", "Repeated", "Prediction"], rows)


def shown(row: Mapping[str, Any] | None, side: str) -> str:
    """A text of a row for a table."""
    text = str((row or {}).get(side) or "")
    return text if len(text) <= CUT else text[: CUT - 1] + "…"


def vectors(found: Mapping[str, Any], texts: Mapping[Any, Mapping[str, Any]]) -> VectorMap | None:
    """The map, scaled to a square."""
    placed = [one for one in parts(found, "points") if is_number(one.get("x")) and is_number(one.get("y"))]
    if not placed:
        return None
    spans = {axis: (min(one[axis] for one in placed), max(one[axis] for one in placed)) for axis in "xy"}
    most = max(high - low for low, high in spans.values()) or 1.0
    dots = []
    for one in placed:
        x, y = (50 + 100 * (one[axis] - sum(spans[axis]) / 2) / most for axis in "xy")
        text = shown(texts.get(one.get("id")), "source")
        dots.append(MapPoint(round(x, 2), round(100 - y, 2), text, len(text.split())))
    explained = [value for value in found.get("explained") or () if is_number(value)]
    caption = f"{number(found.get('rows'), 0)} fixed vectors of {number(found.get('size'), 0)} units"
    if len(explained) == 2:
        caption += f"; the two axes hold {percent(explained[0])} and {percent(explained[1])} of their variance"
    return VectorMap(caption, dots, list(neighbours(found, texts)))


def neighbours(
    found: Mapping[str, Any], texts: Mapping[Any, Mapping[str, Any]]
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Sources with those whose vectors point nearly the same way."""
    for one in parts(found, "neighbours"):
        near = [(number(other.get("cosine"), 2), shown(texts.get(other.get("id")), "source"))
                for other in parts(one, "near")]  # fmt: skip
        yield shown(texts.get(one.get("id")), "source"), near


# Examples


def example_groups(found: Mapping[str, Any]) -> Iterator[tuple[str, list[ExampleRow]]]:
    """Each group of examples that has any."""
    for name in found:
        if rows := [example(row) for row in parts(found, name)]:
            yield name, rows


def example(row: Mapping[str, Any]) -> ExampleRow:
    """A row with what is known of it."""
    told = [] if row.get("id") is None else [f"row {row['id']}"]
    metric = row.get("metric")
    if isinstance(metric, str) and metric in row:
        told.append(f"{label(metric)} {number(row[metric], 1)}")
    if "score" in row:
        told.append(f"{number(row['score'], 3)} nats per token")
    source, reference, prediction = (str(row.get(key) or "") for key in ("source", "reference", "prediction"))
    right = bool(reference) and prediction == reference
    return ExampleRow(source, reference, marked(prediction, reference), right, told)


def searchable(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """[row, source, reference, prediction, score] of the rows, until the page would become too large."""
    found: list[list[Any]] = []
    letters = 0
    for row in rows:
        texts = [shown(row, side) for side in ("source", "reference", "prediction")]
        letters += sum(map(len, texts)) + 30
        if letters > SEARCHED:
            break
        metric = row.get("metric")
        value = row.get(metric) if isinstance(metric, str) else row.get("score")
        found.append([row.get("id"), *texts, round(value, 2) if is_number(value) else None])
    return found


# The card


def highlights(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The handful of facts that a reader wants beside the score."""
    if is_number(results.get("seconds")):
        yield "Training time" if results.get("curves") else "Time", duration(results["seconds"])
    if best := best_checkpoint(part(results, "best")):
        yield "Best checkpoint", best
    total = part(part(results, "model"), "parameters").get("total")
    if total is not None:
        yield "Parameters", number(total, 0)
    rows = part(part(results, "data"), "rows").get("train")
    if rows is not None:
        yield "Training rows", number(rows, 0)
    if device := part(results, "environment").get("device"):
        yield "Device", str(device)


def parameters(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Parts of the model with their parameters and share of the total."""
    sizes = part(part(results, "model"), "parameters")
    total = finite(sizes.get("total"))
    return [
        (heading(key), number(size, 0), f"{number(100 * size / total, 1)} %" if total and is_number(size) else "")
        for key, size in sizes.items()
    ]


def facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys and values as words, empty ones left out."""
    for key, value in found.items():
        if value is not None and value != {} and value != []:
            yield heading(key), phrase(value)


def times(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How long each stage took, in one line."""
    if timing := part(results, "timing"):
        yield "Time", ", ".join(f"{label(key)} {duration(value)}" for key, value in timing.items())


def energy(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """An estimate, with what it assumes."""
    if is_number(found.get("kilowatt_hours")):
        yield "Energy, estimated", f"{number(found['kilowatt_hours'])} kWh ({found.get('assumption')})"


def changed(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings that are not the defaults, with their values."""
    names = results.get("changed")
    told = []
    for name in names if isinstance(names, list) else ():
        value: Any = results.get("config")
        for key in str(name).split("."):
            inside = part(value, "init_args") if isinstance(value, Mapping) and "class_path" in value else value
            value = inside.get(key) if isinstance(inside, Mapping) else None
        told.append((str(name), phrase(value)))
    return told


def pictures_missing(sections: Sequence[Section], course: TrainingCurves) -> bool:
    """Whether the results hold something to draw and nothing was drawn."""
    panels = [panel for section in sections for panel in section.panels]
    wanted = any(curve.points for curve in course.curves) or any(s.id == "depends" and s.panels for s in sections)
    return wanted and not (course.pictures or course.more_pictures or any(panel.picture for panel in panels))
