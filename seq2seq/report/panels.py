"""Tables with their pictures: what lies behind a score, what it depends on, what the network does with its memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.report import plots
from seq2seq.report.plots import picture
from seq2seq.report.wording import finite, is_number, label, number, part, parts, percent, said

BIN = ("low", "high", "count", "confidence", "accuracy")
"""What is known of each group of labels of like confidence."""

MOST = 40
"""Rows of a table that are shown."""

ALL_FED = (
    "Loss of the reference where the reference is fed, as in training; of the reference where the model's own words "
    "are fed, which also counts words that merely stand elsewhere; and of its own words. Lower is likelier."
)


class Panel(NamedTuple):
    """A table with its picture, if it has one."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int = 0
    """Rows that are not shown."""
    picture: Markup | None = None
    caption: str = ""


class Section(NamedTuple):
    """A chapter of a page: some words, then panels; one without panels is not shown."""

    id: str
    title: str
    words: Sequence[str] = ()
    panels: Sequence[Panel] = ()


# Behind the scores


def behind(metric: str, details: Mapping[str, Any], name: str) -> Iterator[Panel]:
    """The parts of one metric's details; metric: in words; name: of the pictures, unique on the page."""
    labels, bins, groups = (details.get(key) for key in ("labels", "bins", "groups"))
    if isinstance(labels, Mapping) and labels:
        yield by_label(metric, labels, details.get("confusion"), name)
    whole = [one for one in bins or () if one.get("count") and all(is_number(one.get(key)) for key in BIN)]
    if whole:
        yield deserved(metric, whole, part(details, "temperature"), name)
    if isinstance(groups, Mapping) and groups:
        rows = [[str(group), number(value, 1)] for group, value in groups.items()]
        yield Panel(f"{metric} by group", ["Group", metric], rows)


def by_label(metric: str, labels: Mapping[str, Any], confusion: Any, name: str) -> Panel:
    """Precision, recall, F1 and support of each label, and which is taken for which."""
    keys = {"precision": 1, "recall": 1, "f1": 1, "support": 0}
    rows = [[str(label), *(number((one or {}).get(key), places) for key, places in keys.items())]
            for label, one in labels.items()]  # fmt: skip
    drawn, pairs = None, confusion if isinstance(confusion, Mapping) else {}
    if len(pairs.get("labels") or ()) > 1 and len(pairs.get("counts") or ()) == len(pairs["labels"]):
        drawn = picture(plots.confusion, pairs["labels"], pairs["counts"], name=name, title="Confusions")
    header = ["Label", "Precision", "Recall", "F1", "In the references"]
    caption = "Rows are the references, columns what was predicted; each row adds up to 100 %."
    return Panel(f"{metric} by label", header, rows[:MOST], max(0, len(rows) - MOST), drawn, caption)


def deserved(metric: str, bins: Sequence[Mapping[str, Any]], fitted: Mapping[str, Any], name: str) -> Panel:
    """How many labels of each confidence are right, and the temperature that would make the confidence right."""
    rows = []
    for one in bins:
        shares = [percent(one["confidence"]), percent(one["accuracy"])]
        rows.append([f"{number(one['low'], 2)} to {number(one['high'], 2)}", number(one["count"], 0), *shares])
    drawn = picture(plots.reliability, bins, name=f"{name}-bins", title="Confidence and what came of it")
    header = ["Confidence", "Labels", "Mean confidence", "Right"]
    caption = "On the dotted line confidence is deserved: of labels with 80 %, four in five are right."
    if is_number(fitted.get("temperature")):
        temperature = fitted["temperature"]
        sure = "too sure" if temperature > 1 else "not sure enough"
        before, after = (number(fitted.get(key), 1) for key in ("before", "after"))
        caption += (
            f" The fitted temperature is {number(temperature, 2)} (above 1: too sure; here {sure}); fitted on one half "
            f"of the rows it changes the calibration error of the other half from {before} to {after}."
        )
    return Panel(f"{metric}: is the confidence deserved?", header, rows, 0, drawn, caption)


# What the score depends on


def dependence(of: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> list[Panel]:
    """Scores by length, frequency, place and so on; of each system, under its name, the breakdowns of its results."""
    kinds = dict.fromkeys(one["by"] for breakdowns in of.values() for one in breakdowns if one.get("by"))
    panels = []
    for index, kind in enumerate(kinds):
        found = {system: one for system, several in of.items() for one in several if one.get("by") == kind}
        panels.append(one_dependence(found, f"{name}-{index}"))
    return panels


def one_dependence(found: Mapping[str, Mapping[str, Any]], name: str) -> Panel:
    """One property of rows or words, for each system."""
    first = next(iter(found.values()))
    unit, title, axis = label(said(first, "metric")), said(first, "title"), said(first, "axis")
    buckets = {system: [bucket(group) for group in parts(one, "groups")] for system, one in found.items()}
    known = {system: [one for one in several if one.value == one.value] for system, several in buckets.items()}
    drawn = {system: several for system, several in known.items() if several}
    head = f"{unit} by {title[:1].lower()}{title[1:]}"
    curve = picture(plots.by_group, drawn, name=name, title=head, unit=unit, axis=axis) if drawn else None
    counted = (said(first, "counted") or "rows").capitalize()
    if len(found) == 1:
        rows = [[one.label, number(one.rows, 0), number(one.value, 1), interval(one.low, one.high)]
                for groups in buckets.values() for one in groups]  # fmt: skip
        return Panel(head, [title, counted, unit, "95 % interval"], rows, 0, curve, said(first, "note"))
    by_label = [{one.label: one for one in groups} for groups in buckets.values()]
    rows = [[one.label, number(one.rows, 0), *(in_brackets(groups.get(one.label)) for groups in by_label)]
            for one in next(iter(buckets.values()))]  # fmt: skip
    return Panel(head, [title, counted, *buckets], rows, 0, curve, said(first, "note"))


def in_brackets(one: plots.Bucket | None) -> str:
    """A score with its interval."""
    if one is None or one.low is None or one.high is None:
        return number(one and one.value, 1)
    return f"{number(one.value, 1)} [{number(one.low, 1)}, {number(one.high, 1)}]"


def bucket(group: Mapping[str, Any]) -> plots.Bucket:
    """A group; a value that is missing is not a number, so that the table says so and the picture skips it."""
    value = finite(group.get("value"))
    rows = int(finite(group.get("rows")) or 0)
    low, high = finite(group.get("low")), finite(group.get("high"))
    return plots.Bucket(said(group, "label"), rows, float("nan") if value is None else value, low, high)


def interval(low: float | None, high: float | None, places: int | None = 1) -> str:
    """Both ends, or that they are not known."""
    return number(None) if low is None or high is None else f"{number(low, places)} to {number(high, places)}"


# What the network does


def exposure(found: Mapping[str, Any], repetition: Mapping[str, Any], name: str) -> Iterator[Panel]:
    """The loss by position with the reference fed and with the model's own output fed, and how often it repeats."""
    steps = [one for one in parts(found, "by_position") if is_number(one.get("position"))]
    kinds = {
        "reference": "reference fed",
        "reference_after_own": "own words fed",
        "own": "own words",
    }
    series = {words: points(steps, "position", key) for key, words in kinds.items()}
    drawn = {words: several for words, several in series.items() if several}
    if drawn:
        title = "Loss by position"
        curve = picture(
            plots.lines, drawn, name=name, title=title, unit="nats per token", axis="position in the target"
        )
        rows = [[number(one["position"], 0), number(one.get("rows"), 0), *(number(one.get(key), 3) for key in kinds)]
                for place, one in enumerate(steps) if place < 10 or place % 5 == 4]  # fmt: skip
        header = ["Position", "Rows", *(words[:1].upper() + words[1:] for words in kinds.values())]
        yield Panel(title, header, rows, 0, curve, ALL_FED)
    if repetition:
        rows = [[words, f"{number(repetition.get(key), 1)} %"]
                for key, words in (("prediction", "Predictions"), ("reference", "References"))]  # fmt: skip
        yield Panel("Rows that repeat themselves", ["In", "Share"], rows)


def points(rows: Iterable[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    """(x, y) of the rows where both are numbers."""
    pairs = ((finite(row.get(x)), finite(row.get(y))) for row in rows)
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def probes(found: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """What a linear map reads from the fixed vector."""
    rows = []
    for one in found:
        places = 1 if one.get("unit") == "percent" else 2
        limits = interval(finite(one.get("low")), finite(one.get("high")), places)
        cells = (number(one.get("value"), places), limits, number(one.get("baseline"), places))
        rows.append([said(one, "name"), *cells, said(one, "unit"), number(one.get("rows"), 0)])
    if rows:
        header = ["Probe", "Score", "95 % interval", "Knowing nothing", "Unit", "Rows"]
        caption = "Linear probes, fitted on one half of the rows and scored on the other (Conneau et al. 2018)."
        yield Panel("What the vector holds", header, rows, 0, None, caption)


def memory(found: Sequence[Mapping[str, Any]], name: str) -> Iterator[Panel]:
    """Gradients by distance, gates and rank at each validation (Pascanu et al. 2013; Karpathy et al. 2015)."""
    known = [one for one in found if is_number(one.get("step"))]
    if not known:
        return
    chosen = dict.fromkeys([0, len(known) // 2, len(known) - 1])
    for index, (direction, _) in enumerate(part(known[-1], "gradient_norm").items()):
        series = {
            f"step {number(known[place]['step'], 0)}": [
                (float(after), value)
                for after, value in enumerate(part(known[place], "gradient_norm").get(direction) or ())
                if is_number(value) and value > 0
            ]
            for place in chosen
        }
        drawn = {words: several for words, several in series.items() if len(several) > 1}
        if drawn:
            title = f"Gradient by distance from the end, {direction} direction"
            axis, unit = "tokens read afterwards", "norm of the gradient, nats"
            curve = picture(plots.lines, drawn, name=f"{name}-{index}", title=title, unit=unit, axis=axis, log=True)
            yield distances(title, drawn, curve)
    yield over_training(known, name)


def distances(title: str, series: Mapping[str, Sequence[tuple[float, float]]], curve: Markup | None) -> Panel:
    """Some of the numbers behind a picture of gradients."""
    last = {words: dict(several) for words, several in series.items()}
    places = sorted({place for several in last.values() for place in several if place in (0, 1, 2, 5, 10, 20, 40)})
    rows = [[number(place, 0), *(number(several.get(place)) for several in last.values())] for place in places]
    caption = "How strongly the loss depends on the encoder's state so many tokens before its end; flat is remembering."
    return Panel(title, ["Tokens", *last], rows, 0, curve, caption)


def over_training(known: Sequence[Mapping[str, Any]], name: str) -> Panel:
    """Saturated gates and the effective rank at each validation."""
    gates = list(part(known[-1], "saturation"))
    series: dict[str, list[tuple[float, float]]] = {}
    for gate in gates:
        for side, words in enumerate(("shut", "open")):
            shares = [(one["step"], (part(one, "saturation").get(gate) or (None, None))[side]) for one in known]
            series[f"{gate} {words}"] = [(float(step), 100 * share) for step, share in shares if is_number(share)]
    drawn = {words: several for words, several in series.items() if several}
    curve = None
    if drawn:
        title = "Saturated gates over training"
        curve = picture(plots.lines, drawn, name=f"{name}-gates", title=title, unit="percent of gates", axis="step")
    rows = []
    for one in known[:: max(1, len(known) // 8)]:
        known_of_gates = (part(one, "saturation").get(gate) or (None, None) for gate in gates)
        told = [f"{percent(shut)} / {percent(opened)}" for shut, opened in known_of_gates]
        rows.append([number(one["step"], 0), number(one.get("effective_rank"), 1), *told])
    size = number(known[-1].get("size"), 0)
    caption = f"Shut is below 0.1, open above 0.9. The effective rank is of the fixed vectors, which have {size} units."
    header = ["Step", "Effective rank", *(f"{gate}, shut / open" for gate in gates)]
    return Panel("Gates and rank over training", header, rows, 0, curve, caption)
