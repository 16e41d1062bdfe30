"""Tables with their pictures: what lies behind a score, and what it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.report import plots
from seq2seq.report.plots import Bucket
from seq2seq.report.wording import SCORES, finite, is_number, label, metric_of, number, part, parts, percent, text_of

BIN = ("low", "high", "count", "confidence", "accuracy")
"""What is known of each bin of confidence."""

MOST = 40
"""Rows of a table that are shown."""

FEW = 10
"""Rows or words of a group below which its score is chance: it is marked, and drawn only where all are so small."""


class Panel(NamedTuple):
    """A table with its picture, if it has one."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    picture: Markup | None = None
    caption: str = ""
    left_out: int = 0
    """Rows that are not shown."""


class Section(NamedTuple):
    """A chapter of a page: some words, then panels; one without panels is not shown."""

    words: Sequence[str]
    panels: Sequence[Panel]


def behind(metric: str, details: Mapping[str, Any]) -> Iterator[Panel]:
    """The parts of the details of a metric, which is given in words."""
    labels, bins, groups = (details.get(key) for key in ("labels", "bins", "groups"))
    if isinstance(labels, Mapping) and labels:
        yield by_label(metric, labels, details.get("confusion"))
    whole = [one for one in bins or () if one.get("count") and all(is_number(one.get(key)) for key in BIN)]
    if whole:
        yield calibration(metric, whole, part(details, "temperature"))
    if isinstance(groups, Mapping) and groups:
        rows = [[str(group), number(value, 1)] for group, value in groups.items()]
        yield Panel(f"{metric} by group", ["Group", metric], rows)


def by_label(metric: str, labels: Mapping[str, Any], confusion: Any) -> Panel:
    """Precision, recall, F1 and support of each label, and the confusion matrix."""
    keys = {"precision": 1, "recall": 1, "f1": 1, "support": 0}
    rows = [[str(label), *(number((one or {}).get(key), decimals) for key, decimals in keys.items())]
            for label, one in labels.items()]  # fmt: skip
    drawn, caption, pairs = None, "", confusion if isinstance(confusion, Mapping) else {}
    if len(pairs.get("labels") or ()) > 1 and len(pairs.get("counts") or ()) == len(pairs["labels"]):
        drawn = plots.confusion(pairs["labels"], pairs["counts"], "Confusion matrix")
        caption = "Rows are the references, columns the predictions; each row adds up to 100 %."
    header = ["Label", "Precision", "Recall", "F1", "Support"]
    return Panel(f"{metric} by label", header, rows[:MOST], drawn, caption, max(0, len(rows) - MOST))


def calibration(metric: str, bins: Sequence[Mapping[str, Any]], fitted: Mapping[str, Any]) -> Panel:
    """How many labels of each confidence are right, and the temperature that would calibrate the confidence."""
    rows = []
    for one in bins:
        shares = [percent(one["confidence"]), percent(one["accuracy"])]
        rows.append([f"{number(one['low'], 2)} to {number(one['high'], 2)}", number(one["count"], 0), *shares])
    caption = "The dotted line is perfect calibration: of labels with 80 % confidence, four in five are right."
    if is_number(fitted.get("temperature")):
        temperature = fitted["temperature"]
        kind = "overconfident" if temperature > 1 else "underconfident"
        before, after = (number(fitted.get(key), 1) for key in ("before", "after"))
        caption += (
            f" The fitted temperature is {number(temperature, 2)}: the model is {kind}. Fitted on one half of the "
            f"rows, it changes the calibration error of the other half from {before} to {after}."
        )
    header = ["Confidence", "Labels", "Mean confidence", "Accuracy"]
    return Panel(f"{metric} by confidence", header, rows, plots.reliability(bins, "Reliability diagram"), caption)


def dependence(systems: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Panel]:
    """Scores by length, frequency, position and so on, from the breakdowns of each system's results."""
    kinds = dict.fromkeys(one["by"] for several in systems.values() for one in several if one.get("by"))
    return [
        breakdown({name: one for name, several in systems.items() for one in several if one.get("by") == kind})
        for kind in kinds
    ]


def breakdown(systems: Mapping[str, Mapping[str, Any]]) -> Panel:
    """One property of rows or words, for each system."""
    first = next(iter(systems.values()))
    unit, title, axis = label(text_of(first, "metric")), text_of(first, "title"), text_of(first, "axis")
    counted = text_of(first, "counted") or "rows"
    buckets = {system: [bucket(group) for group in parts(one, "groups")] for system, one in systems.items()}
    known = {system: [one for one in several if one.value == one.value] for system, several in buckets.items()}
    large = {system: [one for one in several if one.rows >= FEW] for system, several in known.items()}
    drawn = {system: several for system, several in (large if any(large.values()) else known).items() if several}
    head = f"{unit} by {title[:1].lower()}{title[1:]}"
    bounds = (0.0, 100.0) if metric_of(text_of(first, "metric")) in SCORES else None
    several = len({one.label for groups in drawn.values() for one in groups}) > 1
    picture = plots.by_group(drawn, head, unit, axis, counted, bounds) if several else None
    small = any(one.rows < FEW for groups in known.values() for one in groups)
    note = " ".join(filter(None, [text_of(first, "note"), SMALL.format(counted) if small else ""]))
    header = [title, counted.capitalize()]
    if len(systems) == 1:
        rows = [[one.label, size(one), number(one.value, 1), interval(one.low, one.high)]
                for groups in buckets.values() for one in groups]  # fmt: skip
        return Panel(head, [*header, unit, "95 % interval"], rows, picture, note)
    named = [{one.label: one for one in groups} for groups in buckets.values()]
    rows = [[one.label, size(one), *(in_brackets(groups.get(one.label)) for groups in named)]
            for one in next(iter(buckets.values()))]  # fmt: skip
    return Panel(head, [*header, *buckets], rows, picture, note)


SMALL = "* Fewer than 10 {}: a score of chance, which is not drawn."


def size(one: Bucket) -> str:
    """How many rows a group has, with a mark where they are few."""
    return number(one.rows, 0) + " *" * (one.rows < FEW)


def in_brackets(one: Bucket | None) -> str:
    """A score with its interval."""
    if one is None or one.low is None or one.high is None:
        return number(one and one.value, 1)
    return f"{number(one.value, 1)} [{number(one.low, 1)}, {number(one.high, 1)}]"


def bucket(group: Mapping[str, Any]) -> Bucket:
    """A group; a missing value is NaN, so that the table reads n/a and the picture skips it."""
    value, rows = finite(group.get("value")), int(finite(group.get("rows")) or 0)
    low, high = finite(group.get("low")), finite(group.get("high"))
    return Bucket(text_of(group, "label"), rows, float("nan") if value is None else value, low, high)


def interval(low: float | None, high: float | None, decimals: int | None = 1) -> str:
    """Both ends, or n/a."""
    return number(None) if low is None or high is None else f"{number(low, decimals)} to {number(high, decimals)}"
