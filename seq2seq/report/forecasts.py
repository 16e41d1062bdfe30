"""Forecasts as pictures: windows with their history, truth, median, band and baseline; errors by step; baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from seq2seq.report import plots
from seq2seq.report.drawing import Drawing, around, colour, left_of
from seq2seq.report.panels import Panel, Section
from seq2seq.report.plots import DASHES, RIGHT, WIDTH
from seq2seq.report.wording import finite, heading, is_number, label, number, part, parts, text_of

HEIGHT = 216

DRAWN = 120
"""Steps of a history that are drawn, at most."""


def section(found: Mapping[str, Any], metrics: Mapping[str, Any]) -> Section:
    """The model beside its baselines, and errors by step."""
    if not found:
        return Section((), ())
    baselines = part(found, "baselines")
    shown = [name for name in metrics if any(name in part(baselines, one) for one in baselines)]
    rows = [["model", *(number(part(metrics, name).get("value")) for name in shown)]]
    rows += [[one, *(number(part(baselines, one).get(name)) for name in shown)] for one in baselines]
    panels = [Panel("Model and baselines", ["Forecast", *map(heading, shown)], rows)]
    horizons = part(found, "horizons")
    if len(horizons) > 1:
        title = f"{heading(text_of(found, 'metric'))} of shorter horizons"
        names = ["model", *baselines]
        table = [[one, *(number(part(horizons, steps).get(one)) for steps in horizons)] for one in names]
        panels.append(Panel(title, ["First steps", *horizons], table))
    steps = {name: [*map(finite, values)] for name, values in part(found, "steps").items()}
    known = {
        name: [(at, value) for at, value in enumerate(values, 1) if value is not None] for name, values in steps.items()
    }
    if any(map(len, known.values())):
        picture = plots.lines(known, "Mean absolute error by step of the horizon", "mean absolute error", "step")
        horizon = max(map(len, steps.values()))
        table = [[f"{at + 1}", *(number(values[at]) for values in steps.values())] for at in range(horizon)]
        panels.append(Panel("Mean absolute error by step of the horizon", ["Step", *steps], table, picture))
    sentence = verdict(found, metrics)
    return Section((f"{sentence}.",) if sentence else (), panels)


def verdict(found: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Whether the model beats the best baseline; empty where that is not known."""
    metric, best = text_of(found, "metric"), text_of(found, "best")
    one = part(metrics, metric)
    own, other = one.get("value"), part(part(found, "baselines"), best).get(metric)
    if not is_number(own) or not is_number(other):
        return ""
    better = own > other if one.get("higher_is_better") is True else own < other
    word = "beats" if better else "does not beat"
    return f"the model {word} the best baseline, {best}: {label(metric)} {number(own, 3)} against {number(other, 3)}"


def pictures(found: Mapping[str, Any]) -> list[tuple[Markup, str]]:
    """Windows with a line below each."""
    drawn = []
    for one in parts(found, "windows"):
        which, score, width = text_of(one, "which"), one.get("score"), one.get("width")
        title = f"{heading(which)} window, row {number(one.get('row'))}"
        words = f"{title}: {label(text_of(found, 'metric'))} {number(score)}"
        words += f"; the first of {number(width)} numbers" if is_number(width) and width > 1 else ""
        drawn.append((window(one, title, text_of(found, "best")), words))
    return drawn


def window(one: Mapping[str, Any], title: str, baseline: str) -> Markup:
    """One window: steps before the forecast are negative."""
    history, truth, median, naive = (values(one, key) for key in ("history", "reference", "prediction", "baseline"))
    bands = [values(part(one, "quantiles"), key) for key in part(one, "quantiles")]
    levels = " to ".join(part(one, "quantiles"))
    series = {"history and truth": (history + truth, 1 - len(history)), "forecast": (median, 1)}
    series |= {baseline: (naive, 1)} if naive else {}
    drawing, names = Drawing(WIDTH, HEIGHT), [*series, *([f"quantiles {levels}"] if bands else [])]

    def sample(x: float, y: float, index: int) -> None:
        if index == len(series):
            drawing.add("rect", x=x, y=y - 4, width=18, height=8, class_=f"band {SHADES[1]}")
        else:
            drawing.path(f"M{x} {y}h18", f"line {SHADES[index]}", stroke_dasharray=STROKES[index])

    top = drawing.legend(names, sample)
    y = around([*history, *truth, *median, *naive, *(value for band in bands for value in band)], 180, top + 4)
    x = around([1 - len(history), len(truth)], left_of(y), RIGHT, margin=0.02)
    drawing.axes(x, y, x.ticks(True), "step, from the first that is forecast", "value")
    if len(bands) == 2:
        edge = [f"{x(at)} {y(value)}" for at, value in enumerate(bands[1], 1)]
        edge += [f"{x(at)} {y(value)}" for at, value in reversed([*enumerate(bands[0], 1)])]
        drawing.path(f"M{'L'.join(edge)}Z", f"band {SHADES[1]}")
    drawing.path(f"M{x(0.5)} {y.stop}V{y.start}", "mark", stroke_dasharray="1 3")
    for index, (points, start) in reversed([*enumerate(series.values())]):
        corners = "L".join(f"{x(at)} {y(value)}" for at, value in enumerate(points, start))
        drawing.path(f"M{corners}", f"line {SHADES[index]}", stroke_dasharray=STROKES[index])
    off = sum(abs(one - other) for one, other in zip(truth, median, strict=False)) / max(1, len(truth))
    return drawing.svg(title, f"mean absolute error {number(off)} over {len(truth)} steps")


SHADES = ("ink", colour(0), colour(1))
STROKES = (DASHES[0], DASHES[0], DASHES[1])


def values(holder: Mapping[str, Any], key: str) -> list[float]:
    """Numbers under a key."""
    found = holder.get(key)
    return [one for one in found if is_number(one)] if isinstance(found, list) else []
