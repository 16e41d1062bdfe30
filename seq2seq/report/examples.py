"""Rows of the data for the page: examples with what is known of them, and the rows that can be searched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from seq2seq.report.layout import Fragment, marked
from seq2seq.report.network import CUT
from seq2seq.report.wording import is_number, label, number, parts, shortened

SEARCHED = 1_500_000
"""Characters of all rows that can be searched in the page, at most."""

SIDES = ("source", "reference", "prediction")


class ExampleRow(NamedTuple):
    """A source with its reference and prediction; `facts` are its scores in words."""

    source: str
    reference: str
    prediction: list[Fragment]
    right: bool
    facts: list[str]


def groups(found: Mapping[str, Any]) -> Iterator[tuple[str, list[ExampleRow]]]:
    """Each group of examples that has any."""
    for name in found:
        if rows := [example(row) for row in parts(found, name)]:
            yield name, rows


def example(row: Mapping[str, Any]) -> ExampleRow:
    """A row with what is known of it."""
    facts = [] if row.get("id") is None else [f"row {row['id']}"]
    metric = row.get("metric")
    if isinstance(metric, str) and metric in row:
        facts.append(f"{label(metric)} {number(row[metric], 1)}")
    if "score" in row:
        facts.append(f"{number(row['score'], 3)} nats per token")
    source, reference, prediction = (str(row.get(key) or "") for key in SIDES)
    right = bool(reference) and prediction == reference
    return ExampleRow(source, reference, marked(prediction, reference), right, facts)


def searchable(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """[row, source, reference, prediction, score] of the rows, until the page would become too large."""
    found: list[list[Any]] = []
    size = 0
    for row in rows:
        texts = [shortened(str(row.get(side) or ""), CUT) for side in SIDES]
        size += sum(map(len, texts)) + 30
        if size > SEARCHED:
            break
        metric = row.get("metric")
        value = row.get(metric) if isinstance(metric, str) else row.get("score")
        found.append([row.get("id"), *texts, round(value, 2) if is_number(value) else None])
    return found
