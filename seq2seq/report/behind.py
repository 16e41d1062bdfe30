"""What lies behind a score: scores by label, confusions, reliability, groups; tables and pictures for the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from seq2seq.report import plots

MOST = 40
"""Rows of a table that are shown."""


class Behind(NamedTuple):
    """A table with its picture, if it has one."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int
    """Rows that are not shown."""
    picture: str | None
    caption: str


def behind(metric: str, details: Mapping[str, Any], name: str) -> Iterator[Behind]:
    """The parts of one metric's details; metric: in words; name: of the pictures, unique on the page."""
    labels, confusion = details.get("labels"), details.get("confusion")
    if isinstance(labels, Mapping) and labels:
        rows = [[str(label), *scores(numbers)] for label, numbers in labels.items()]
        drawn = isinstance(confusion, Mapping) and 1 < len(confusion.get("labels") or ()) <= 31
        picture = confusion_picture(confusion, name) if drawn and isinstance(confusion, Mapping) else None
        header = ["Label", "Precision", "Recall", "F1", "In the references"]
        caption = "Rows are the references, columns what was predicted; each row adds up to 100 %."
        yield Behind(f"{metric} by label", header, rows[:MOST], max(0, len(rows) - MOST), picture, caption)
    bins = [one for one in details.get("bins") or () if one.get("count")]
    if bins:
        header = ["Confidence", "Labels", "Mean confidence", "Right"]
        rows = [
            [
                f"{one['low']:.2f} to {one['high']:.2f}",
                f"{one['count']:,}",
                percent(one["confidence"]),
                percent(one["accuracy"]),
            ]
            for one in bins
        ]
        picture = drawing(plots.reliability, bins, name=f"{name}-bins", title="Confidence and what came of it")
        yield Behind(
            f"{metric}: is the confidence deserved?",
            header,
            rows,
            0,
            picture,
            "On the dotted line confidence is deserved: of labels with 80 %, four in five are right.",
        )
    groups = details.get("groups")
    if isinstance(groups, Mapping) and groups:
        rows = [[str(group), f"{value:.1f}"] for group, value in groups.items() if finite(value)]
        yield Behind(f"{metric} by group", ["Group", metric], rows, 0, None, "")


def confusion_picture(confusion: Mapping[str, Any], name: str) -> str | None:
    """The confusions as a heat map."""
    labels = [str(label) for label in confusion["labels"]]
    return drawing(plots.confusion, labels, confusion["counts"], name=f"{name}-confusion", title="Confusions")


def drawing(draw: Any, *arguments: Any, **options: Any) -> str | None:
    """A picture, or nothing where matplotlib is not installed."""
    try:
        return str(draw(*arguments, **options))
    except ImportError:
        return None


def scores(numbers: Mapping[str, Any]) -> list[str]:
    """Precision, recall, F1 and support in words."""
    found = [f"{numbers[key]:.1f}" if finite(numbers.get(key)) else "n/a" for key in ("precision", "recall", "f1")]
    support = numbers.get("support")
    return [*found, f"{int(support):,}" if finite(support) and support is not None else "n/a"]


def percent(share: float) -> str:
    """A share of one as percent."""
    return f"{100 * share:.1f} %"


def finite(value: object) -> bool:
    """Whether it is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
