"""Plain comparisons -> one self-contained page: which system is better, by how much, where, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.atomic_files import write_text
from seq2seq.report import layout, plots
from seq2seq.report.layout import Fragment, marked
from seq2seq.report.panels import Panel, dependence, interval
from seq2seq.report.tables import p_value, scored, sentence, unit_decimals
from seq2seq.report.training import curve_name, points_of
from seq2seq.report.wording import count, duration, finite, is_number, label, number, part, parts, phrase


class Verdict(NamedTuple):
    """A sentence about two systems; `kind` is better, worse or same."""

    kind: str
    text: str


class SystemText(NamedTuple):
    """What a system predicts for a row."""

    system: str
    score: str
    pieces: list[Fragment]


class DifferingRow(NamedTuple):
    """A row for which systems predict different texts."""

    title: str
    source: str
    reference: str
    predictions: list[SystemText]


def write(comparison: Mapping[str, Any], path: Path) -> None:
    """Write the page of a comparison to `path`."""
    write_text(path, render(comparison))


def render(comparison: Mapping[str, Any]) -> str:
    """The whole page as text; the same comparison gives the same text."""
    names = [str(one.get("name")) for one in parts(comparison, "systems")]
    metrics = parts(comparison, "metrics")
    level, split = finite(comparison.get("level")) or 0.05, str(comparison.get("split") or "")
    panels = dependence({str(one.get("name")): parts(one, "breakdowns") for one in parts(comparison, "systems")})
    memory, validated = fixed_against_attention(comparison), validation_scores(comparison)
    return layout.page(
        "compare.html",
        names=names,
        headline=f"{count(comparison.get('rows'), split + ' row')}, {count(len(names), 'system')}",
        verdicts=[verdict(one, metric, level) for metric in metrics for one in parts(metric, "differences")],
        on_test=split == "test",
        validated=validated,
        scores=score_table(names, metrics),
        signatures=[(label(str(metric.get("name"))), str(metric.get("signature") or "")) for metric in metrics],
        differences=list(differences(metrics)),
        notes=[str(note) for note in comparison.get("notes") or ()],
        fixed=[panel for panel in panels if memory and "source length" in panel.title],
        memory=memory,
        depends=[panel for panel in panels if not (memory and "source length" in panel.title)],
        curves=training_curves(comparison),
        differing=[differing(row) for row in parts(comparison, "differing")],
        settings=list(settings(comparison)),
        systems=list(system_rows(comparison)),
    )


def verdict(difference: Mapping[str, Any], metric: Mapping[str, Any], level: float) -> Verdict:
    """A difference as a sentence, with its sign."""
    kind = {True: "better", False: "worse"}.get(difference.get("better"), "same")  # type: ignore[arg-type]
    return Verdict(kind, sentence(difference, metric, level))


def score_table(names: Sequence[str], metrics: Sequence[Mapping[str, Any]]) -> Panel:
    """The scores of all systems."""
    rows = [[name, *(scored(parts(metric, "scores")[index], str(metric.get("unit"))) for metric in metrics)]
            for index, name in enumerate(names)]  # fmt: skip
    return Panel("Scores", ["System", *(label(str(metric.get("name"))) for metric in metrics)], rows)


def validation_scores(comparison: Mapping[str, Any]) -> list[list[str]]:
    """The validation score of each run's best checkpoint, by which runs are chosen; nothing where none is known."""
    known = [(str(one.get("name")), part(one, "validation")) for one in parts(comparison, "systems")]
    rows = [[name, curve_name(str(best["metric"])), number(best.get("value"))] for name, best in known
            if best.get("metric") and is_number(best.get("value"))]  # fmt: skip
    return rows if len(rows) > 1 else []


def differences(metrics: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """One table for each metric: how every system differs from the first; and a picture where there are several."""
    for metric in metrics:
        compared, name = parts(metric, "differences"), label(str(metric.get("name")))
        decimals = unit_decimals(str(metric.get("unit"))) + 1
        rows = [
            [
                str(one.get("system")),
                number(one.get("difference"), decimals),
                interval(finite(one.get("low")), finite(one.get("high")), decimals),
                *(p_value(one.get(key)) for key in ("p_randomised", "p_holm", "p_bootstrap")),
                *(number(one.get(key), 0) for key in ("wins", "losses", "ties")),
            ]
            for one in compared
        ]
        if rows:
            header = ["System", "Difference", "95 % interval", "Raw p", "Corrected p", "Bootstrap p"]
            title = f"{name}: difference from {compared[0].get('baseline')}"
            picture = forest(compared, title, f"difference in {name}")
            yield Panel(title, [*header, "Rows better", "Worse", "Equal"], rows, picture)


def forest(differences: Sequence[Mapping[str, Any]], title: str, unit: str) -> Markup | None:
    """The differences with their intervals as a picture, for two or more."""
    known = [one for one in differences if all(is_number(one.get(key)) for key in ("difference", "low", "high"))]
    if len(known) < 2:
        return None
    rows = [(str(one["system"]), one["difference"], one["low"], one["high"]) for one in known]
    return plots.forest(rows, title, unit)


def fixed_against_attention(comparison: Mapping[str, Any]) -> str:
    """A sentence where some of the systems have attention and others have none; else nothing."""
    kinds = {str(one.get("name")): one.get("attention") for one in parts(comparison, "systems")}
    attends = [name for name, kind in kinds.items() if isinstance(kind, str)]
    fixed = [name for name, kind in kinds.items() if kind is False]
    if not (attends and fixed):
        return ""
    return (
        f"With attention: {phrase(attends)}. From one fixed vector, too small for long sources: {phrase(fixed)} "
        "(Cho et al. 2014, fig. 4; Bahdanau et al. 2015, fig. 2)."
    )


def training_curves(comparison: Mapping[str, Any]) -> Markup | None:
    """The validation score of every run where it is known, over steps."""
    known = parts(comparison, "curves")
    series = {str(one.get("system")): points_of(one.get("points") or ()) for one in known}
    drawn = {name: points for name, points in series.items() if points}
    unit = curve_name(str(known[0].get("metric"))) if known else ""
    return plots.curves(drawn, "Validation score over training", unit) if drawn else None


def differing(row: Mapping[str, Any]) -> DifferingRow:
    """A row with what every system predicts."""
    reference, metric = str(row.get("reference") or ""), label(str(row.get("metric")))
    predictions = [
        SystemText(
            str(one.get("system")), f"{metric} {number(one.get('score'), 1)}", marked(str(one.get("text")), reference)
        )
        for one in parts(row, "predictions")
    ]
    return DifferingRow(f"row {number(row.get('id'), 0)}", str(row.get("source") or ""), reference, predictions)


def settings(comparison: Mapping[str, Any]) -> Iterator[list[str]]:
    """The settings in which the systems differ, a row for each."""
    for one in parts(comparison, "settings"):
        yield [str(one.get("name")), *(phrase(value) for value in one.get("values") or ())]


def system_rows(comparison: Mapping[str, Any]) -> Iterator[list[str]]:
    """What is known of each system."""
    for one in parts(comparison, "systems"):
        seeds = [seed for seed in one.get("seeds") or () if seed is not None]
        yield [
            str(one.get("name")),
            str(one.get("task") or ""),
            number(one.get("parameters"), 0) if is_number(one.get("parameters")) else "",
            duration(one["seconds"]) if is_number(one.get("seconds")) else "",
            phrase(seeds),
            phrase(list(one.get("files") or ())),
        ]
