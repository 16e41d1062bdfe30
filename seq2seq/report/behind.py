"""What lies behind a score: scores by label, confusions, reliability, groups; tables and pictures for the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.report import plots
from seq2seq.report.plots import picture
from seq2seq.report.wording import is_number, number

BIN = ("low", "high", "count", "confidence", "accuracy")
"""What is known of each group of labels of like confidence."""

MOST = 40
"""Rows of a table that are shown."""


class Behind(NamedTuple):
    """A table with its picture, if it has one."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int = 0
    """Rows that are not shown."""
    picture: Markup | None = None
    caption: str = ""


def behind(metric: str, details: Mapping[str, Any], name: str) -> Iterator[Behind]:
    """The parts of one metric's details; metric: in words; name: of the pictures, unique on the page."""
    labels, bins, groups = (details.get(key) for key in ("labels", "bins", "groups"))
    if isinstance(labels, Mapping) and labels:
        yield by_label(metric, labels, details.get("confusion"), name)
    whole = [one for one in bins or () if one.get("count") and all(is_number(one.get(key)) for key in BIN)]
    if whole:
        yield deserved(metric, whole, name)
    if isinstance(groups, Mapping) and groups:
        rows = [[str(group), number(value, 1)] for group, value in groups.items()]
        yield Behind(f"{metric} by group", ["Group", metric], rows)


def by_label(metric: str, labels: Mapping[str, Any], confusion: Any, name: str) -> Behind:
    """Precision, recall, F1 and support of each label, and which is taken for which."""
    keys = {"precision": 1, "recall": 1, "f1": 1, "support": 0}
    rows = [[str(label), *(number((one or {}).get(key), places) for key, places in keys.items())]
            for label, one in labels.items()]  # fmt: skip
    drawn, pairs = None, confusion if isinstance(confusion, Mapping) else {}
    if len(pairs.get("labels") or ()) > 1 and len(pairs.get("counts") or ()) == len(pairs["labels"]):
        drawn = picture(plots.confusion, pairs["labels"], pairs["counts"], name=name, title="Confusions")
    header = ["Label", "Precision", "Recall", "F1", "In the references"]
    caption = "Rows are the references, columns what was predicted; each row adds up to 100 %."
    return Behind(f"{metric} by label", header, rows[:MOST], max(0, len(rows) - MOST), drawn, caption)


def deserved(metric: str, bins: Sequence[Mapping[str, Any]], name: str) -> Behind:
    """How many labels of each confidence are right."""
    rows = []
    for one in bins:
        shares = [percent(one["confidence"]), percent(one["accuracy"])]
        rows.append([f"{number(one['low'], 2)} to {number(one['high'], 2)}", number(one["count"], 0), *shares])
    drawn = picture(plots.reliability, bins, name=f"{name}-bins", title="Confidence and what came of it")
    header = ["Confidence", "Labels", "Mean confidence", "Right"]
    caption = "On the dotted line confidence is deserved: of labels with 80 %, four in five are right."
    return Behind(f"{metric}: is the confidence deserved?", header, rows, 0, drawn, caption)


def percent(share: object) -> str:
    """A share of one as percent."""
    return f"{number(100 * share, 1)} %" if is_number(share) else number(share)
