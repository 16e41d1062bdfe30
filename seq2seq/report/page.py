"""results.json, with the predictions beside it, -> report.html: one file that asks for nothing else.

The page is built in two steps: modules of this folder turn plain results into a few small named values (what to say),
`page.html` lays them out (how it looks). A part whose data is missing leaves no trace; a number that is not finite
reads "n/a". Everything from the results is escaped by the template; only our own SVG pictures pass as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from seq2seq.atomic_files import write_text
from seq2seq.report import edits, examples, forecasts, heard, layout, network
from seq2seq.report.digest import digest
from seq2seq.report.panels import Panel, Section, behind, dependence
from seq2seq.report.reading import StoredAlignment, StoredHeard, StoredRow, read_results, read_rows
from seq2seq.report.training import best_checkpoint, training
from seq2seq.report.wording import (
    NOT_AVAILABLE,
    PERCENT,
    SCORES,
    count,
    decimals_of,
    delay_sentence,
    duration,
    finite,
    heading,
    is_number,
    label,
    limit_sentence,
    number,
    part,
    parts,
    phrase,
    said,
)  # fmt: skip


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
    limit: str
    delay: str


def write_run(folder: Path, path: Path | None = None) -> Path:
    """Write the page of a run from its files alone; path: where to, if not to its report.html."""
    results = read_results(folder / "results.json")
    path, name = path or folder / "report.html", folder / "predictions" / main_split(results)
    rows = read_rows(Path(f"{name}.jsonl"), StoredRow)
    alignments = read_rows(Path(f"{name}.alignments.jsonl"), StoredAlignment)
    heard_rows = read_rows(Path(f"{name}.heard.jsonl"), StoredHeard)
    write_text(path, render(results, rows, alignments, heard_rows))
    return path


def main_split(results: Mapping[str, Any]) -> str:
    """The split that the page is about: test where there is one."""
    names = list(part(results, "splits"))
    return "test" if "test" in names or not names else str(names[0])


def render(
    results: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]] = (),
    alignments: Sequence[Mapping[str, Any]] = (),
    listened: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The whole page as text; the same results give the same text."""
    splits, config = part(results, "splits"), part(results, "config")
    main = part(splits, main_split(results))
    texts = {row.get("id"): row for row in rows}
    environment = dict(part(results, "environment"))
    command = environment.pop("command", None)
    return layout.page(
        "page.html",
        task=str(results.get("task") or "Results"),
        name=str(results.get("name") or ""),
        headline=headline(results),
        highlights=list(highlights(results)),
        digest=digest(results, main),
        scores=[scores_of(name, part(splits, name)) for name in splits],
        sections=sections(results, main),
        alignments=network.alignments(alignments, texts),
        attention=network.attention(part(main, "attention")),
        heard=heard.rows(listened, texts),
        forecasts=forecasts.pictures(part(main, "forecasts")),
        candidates=list(network.candidates(main, texts)),
        vectors=network.vectors(part(main, "vectors"), texts),
        examples=list(examples.groups(part(main, "examples"), texts, str(results.get("task")))),
        rows=examples.searchable(rows),
        sorted_by=examples.metric_of_rows(rows),
        training=training(results),
        parameters=parameters(results),
        data=list(facts(in_order(part(results, "data")))),
        fingerprints=list(facts(part(part(results, "data"), "fingerprints"))),
        configuration=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True) if config else "",
        changed=changed(results),
        environment=[*facts(environment), *times(results)],
        command=str(command or ""),
    )


def sections(results: Mapping[str, Any], main: Mapping[str, Any]) -> dict[str, Section]:
    """The chapters that are made of tables and pictures, by their ids."""
    details, probes = part(main, "details"), parts(part(main, "vectors"), "probes")
    beside = forecasts.section(part(main, "forecasts"), part(main, "metrics"))
    panels: dict[str, Sequence[Panel]] = {
        "behind": [
            panel
            for key in details
            for panel in (
                *behind(label(key), part(details, key)),
                *edits.panels(label(key), part(part(details, key), "edits")),
            )
        ],
        "depends": dependence({"": parts(main, "breakdowns")}),
        "memory": list(network.memory(parts(results, "memory"))),
        "probes": list(network.probes(probes)),
    }
    exposure = network.exposure(part(main, "exposure"), part(main, "repetition"))
    return {name: Section((), several) for name, several in panels.items()} | {
        "exposure": exposure,
        "forecasts": beside,
    }


# Scores


def score(key: str, metric: Mapping[str, Any]) -> ScoreLine:
    """A metric in words; value and interval share their decimals."""
    value, low, high = metric.get("value"), metric.get("low"), metric.get("high")
    unit = str(metric.get("unit") or "")
    hundred = key in SCORES or unit in PERCENT or "points" in unit
    decimals = 1 if hundred or not is_number(value) else decimals_of(value)
    known = is_number(low) and is_number(high)
    return ScoreLine(
        name=heading(key),
        value=number(value, decimals),
        interval=f"{number(low, decimals)} to {number(high, decimals)}" if known else NOT_AVAILABLE,
        unit=unit,
        signature=str(metric.get("signature") or ""),
        verdict=verdict(metric, decimals),
    )


def verdict(metric: Mapping[str, Any], decimals: int) -> str:
    """What the interval means for a comparison: what an unpaired test detects."""
    low, high = metric.get("low"), metric.get("high")
    words = ["lower is better"] if metric.get("higher_is_better") is False else []
    if is_number(low) and is_number(high) and high > low:
        least = number((high - low) / 2 * 2**0.5, decimals)
        words.append(f"minimum detectable difference of an unpaired test: about {least}")
    return "; ".join(words)


def headline(results: Mapping[str, Any]) -> str:
    """The first score of the main split as a sentence."""
    name = main_split(results)
    main = part(part(results, "splits"), name)
    for key in part(main, "metrics"):
        line = score(key, part(part(main, "metrics"), key))
        unit = " %" if line.unit in PERCENT and line.value != NOT_AVAILABLE else ""
        interval = "" if line.interval == NOT_AVAILABLE else f" (95 % interval {line.interval})"
        return f"{line.name} {line.value}{unit}{interval} on {count(main.get('rows'), f'{name} row') or name}"
    return ""


def scores_of(name: str, main: Mapping[str, Any]) -> Scores:
    """The score table of a split."""
    metrics = part(main, "metrics")
    settings = {} if main.get("searches") is False else said(part(main, "decoding"))
    lines = [score(key, part(metrics, key)) for key in metrics]
    limit, delay = limit_sentence(part(main, "length_limit")), delay_sentence(part(main, "delay"))
    return Scores(name, count(main.get("rows"), "row"), lines, phrase(settings), limit, delay)


# The run card


def highlights(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The handful of facts that a reader wants beside the score."""
    if is_number(results.get("seconds")):
        yield "Training time" if results.get("curves") else "Time", duration(results["seconds"])
    if best := best_checkpoint(part(results, "best")):
        yield "Best checkpoint", best
    if origin := origin_of(part(results, "parent")):
        yield "Started from", origin
    if frozen := part(results, "frozen"):
        names = ", ".join(map(str, frozen.get("parts") or ()))
        yield "Not trained", f"{names}: {count(frozen.get('parameters'), 'parameter')}"
    total = part(part(results, "model"), "parameters").get("total")
    if total is not None:
        yield "Parameters", number(total, 0)
    rows = part(part(results, "data"), "rows").get("train")
    if rows is not None:
        yield "Training rows", number(rows, 0)
    if device := part(results, "environment").get("device"):
        yield "Device", str(device)


def origin_of(parent: Mapping[str, Any]) -> str:
    """The run that a training began with, and what of it was not taken over."""
    if not parent.get("checkpoint"):
        return ""
    new, carried = parent.get("new"), part(parent, "carried")
    made = f"; made anew: {', '.join(map(str, new))}" if isinstance(new, list) and new else ""
    rows = "; rows carried over: " + ", ".join(f"{name} {of}" for name, of in carried.items()) if carried else ""
    return f"{parent['checkpoint']} (SHA-256 {str(parent.get('sha256'))[:16]}){rows}{made}"


def parameters(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Parts of the model with their parameters and share of the total."""
    sizes = part(part(results, "model"), "parameters")
    total = finite(sizes.get("total"))
    return [
        (heading(key), number(size, 0), f"{number(100 * size / total, 1)} %" if total and is_number(size) else "")
        for key, size in sizes.items()
    ]


def facts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys and values as words, empty ones left out."""
    for key, value in values.items():
        if value is not None and value != {} and value != []:
            yield heading(key), phrase(value)


def in_order(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the data, splits in their usual order."""
    rows = part(data, "rows")
    names = dict.fromkeys([*(name for name in ("train", "validation", "test") if name in rows), *rows])
    known = {name: value for name, value in data.items() if name != "fingerprints"}
    return {**known, "rows": {name: rows[name] for name in names}} if rows else known


def times(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How long each stage took, in one line."""
    if timing := part(results, "timing"):
        yield "Time", ", ".join(f"{label(key)} {duration(value)}" for key, value in timing.items())


def changed(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings that differ from the defaults, with their values."""
    found, settings = results.get("changed"), []
    names = found if isinstance(found, list) else []
    for name in names:
        value: Any = results.get("config")
        for key in str(name).split("."):
            inside = part(value, "init_args") if isinstance(value, Mapping) and "class_path" in value else value
            value = inside.get(key) if isinstance(inside, Mapping) else None
        if isinstance(value, Mapping) and any(str(other).startswith(f"{name}.") for other in names):
            value = {"class_path": value.get("class_path")}  # its own settings follow
        settings.append((str(name), phrase(value)))
    return settings
