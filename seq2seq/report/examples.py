"""Rows of the data for the page: examples with what is known of them, and the rows that can be searched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.report import forecasts, sparklines
from seq2seq.report.layout import Fragment, marked
from seq2seq.report.network import CUT, Texts
from seq2seq.report.wording import is_number, label, number, parts, shortened

SEARCHED = 1_500_000
"""Characters of all rows that can be searched in the page, at most."""

SIDES = ("source", "reference", "prediction")

CLASS_MARK = "\N{DOUBLE VERTICAL LINE}"
"""Between the class of a sentence and the labels of its tokens, where a row has both."""

LABELLED = 120
"""Words with their labels under them in an example, at most."""


class LabelledWord(NamedTuple):
    """A word above its labels."""

    word: str
    reference: str
    prediction: str


class ExampleRow(NamedTuple):
    """A source with its reference and prediction; `facts` are its scores in words."""

    source: str
    reference: str
    prediction: list[Fragment]
    right: bool
    facts: list[str]
    words: list[LabelledWord]
    """The source with its labels, where each word has one."""
    picture: Markup | None
    """Of numbers: the source, or the whole forecast."""


def groups(examples: Mapping[str, Any], texts: Texts, task: str) -> Iterator[tuple[str, list[ExampleRow]]]:
    """Each group of examples that has any; texts: whole rows by their numbers."""
    for name in examples:
        if rows := [example(row, texts, task) for row in parts(examples, name)]:
            yield name, rows


def example(row: Mapping[str, Any], texts: Texts, task: str) -> ExampleRow:
    """A row with what is known of it."""
    facts = [] if row.get("id") is None else [f"row {row['id']}"]
    metric = row.get("metric")
    if isinstance(metric, str) and metric in row:
        facts.append(f"{label(metric)} {number(row[metric], 1 if task != 'Forecasting' else None)}")
    if "score" in row and row["score"] != 0:
        facts.append(f"{number(row['score'], 3)} nats per token")
    source, reference, prediction = (str(row.get(key) or "") for key in SIDES)
    right = bool(reference) and prediction == reference
    whole = texts.get(row.get("id"), {})
    if task == "Tagging" and CLASS_MARK in reference:
        wanted, found = (text.partition(CLASS_MARK)[0].strip() for text in (reference, prediction))
        facts.append(f"class {found}" + (f", not {wanted}" if found != wanted else ""))
    picture = picture_of(whole)
    sides = [sparklines.in_brief(str(whole.get(key) or "")) for key in SIDES]
    if picture is not None and any(side != whole.get(key) for side, key in zip(sides, SIDES, strict=True)):
        brief = zip((source, reference, prediction), sides, SIDES, strict=True)
        source, reference, prediction = (side if side != whole.get(key) else own for own, side, key in brief)
        return ExampleRow(source, reference, [Fragment(prediction, False)], right, facts, [], picture)
    words = labelled(source, reference, prediction) if task == "Tagging" else []
    return ExampleRow(source, reference, marked(prediction, reference), right, facts, words, picture)


def labelled(source: str, reference: str, prediction: str) -> list[LabelledWord]:
    """Words with their labels, where tabs or else spaces part as many on all sides."""
    reference, prediction = (text.rpartition(CLASS_MARK)[2].removeprefix(" ") for text in (reference, prediction))
    for separator in ("\t", " "):
        sides = [text.split(separator) for text in (source, reference, prediction)]
        if len({len(side) for side in sides}) == 1 and 1 < len(sides[0]) <= LABELLED:
            return [LabelledWord(*words) for words in zip(*sides, strict=True)]
    return []


def picture_of(row: Mapping[str, Any]) -> Markup | None:
    """A forecast with its history and the truth, or else a source of numbers."""
    source, *ends = (sparklines.sequence(str(row.get(key) or "")) for key in SIDES)
    if source is None:
        return None
    quantiles = row.get("quantiles") or {}
    if not isinstance(quantiles, Mapping) or not (quantiles or all(ends)):
        return sparklines.spark(source, "Source")
    reference, prediction = (first(as_steps(str(row.get(key) or ""))) for key in SIDES[1:])
    if not reference or not prediction:
        return sparklines.spark(source, "Source")
    history, levels = first(source)[-forecasts.DRAWN :], [*quantiles]
    bands = {name: first(as_steps(str(quantiles[name]))) for name in dict.fromkeys(levels[:1] + levels[-1:])}
    known = {"history": history, "reference": reference, "prediction": prediction, "quantiles": bands}
    return forecasts.window(known, "Forecast", "")


def as_steps(text: str) -> list[list[float]]:
    """The numbers of each step; nothing for what holds others."""
    try:
        return [[float(word) for word in step.split()] for step in text.split("\t")]
    except ValueError:
        return []


def first(steps: Sequence[Sequence[float]]) -> list[float]:
    """The first number of each step."""
    return [step[0] for step in steps if step]


def searchable(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """[row, source, reference, prediction, score] of the rows, until the page would become too large."""
    result: list[list[Any]] = []
    size = 0
    for row in rows:
        texts = [shortened(sparklines.in_brief(str(row.get(side) or "")), CUT) for side in SIDES]
        size += sum(map(len, texts)) + 30
        if size > SEARCHED:
            break
        metric = row.get("metric")
        value = row.get(metric) if isinstance(metric, str) else row.get("score")
        result.append([row.get("id"), *texts, round(value, 2) if is_number(value) else None])
    return result


def metric_of_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """In words, the score that rows can be sorted by."""
    metric = next((row.get("metric") for row in rows), None)
    return label(metric) if isinstance(metric, str) else "score"
