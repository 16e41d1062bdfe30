"""The report's pictures: curves, scores by group, differences, confusions, reliability, attention, a map of vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.report.drawing import Drawing, Scale, around, colour, left_of
from seq2seq.report.wording import shortened

DASHES = ("", "6 3", "2 2", "7 2 2 2", "8 2 2 2 2 2")
"""A second sign beside colour, for print and colour-blind readers."""

SIGNS = ("M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", "M-3-3h6v6h-6z", "M0-4l4 4l-4 4l-4-4z", "M0-4l4 7h-8z", "M0 4l4-7h-8z")
"""The same for dots."""

MOST_POINTS = 400
"""A longer curve is drawn as means of neighbours: the eye sees no difference, and the page stays small."""

SMOOTHED = 40
"""A curve of more points is drawn smoothed too."""

WIDTH, RIGHT = 360, 352
"""Of a picture, and where its x axis ends."""


class Point(NamedTuple):
    """One measurement during training: optimiser step, seconds since the start, value."""

    step: float
    seconds: float
    value: float


class Bucket(NamedTuple):
    """The score of a group of rows; `low` and `high` bound its 95 % interval."""

    label: str
    rows: int
    value: float
    low: float | None = None
    high: float | None = None


class Marks(NamedTuple):
    """Steps on a time axis that mean something."""

    best: tuple[float, float] | None = None
    """Step and value of the best checkpoint."""
    resumed: Sequence[float] = ()
    """Steps at which training was resumed."""


def curves(
    series: Mapping[str, Sequence[Point]],
    title: str,
    unit: str,
    marks: Marks = Marks(),
    minutes: bool = False,
    epoch: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> Markup:
    """Finite values over training steps, or over minutes of training.

    epoch: its steps, if known; bounds: between which values lie.
    """
    every = [point for points in series.values() for point in points]
    clock = {point.step: point.seconds / 60 if minutes else point.step for point in every}
    last = max(every, key=lambda point: point.step)
    epochs = f" = {last.step / epoch:,.1f} epochs" if epoch else ""
    axis = f"step ({last.step:,.0f} steps{epochs} in {last.seconds / 60:,.1f} minutes)"
    words = [
        f"{label}: from {points[0].value:.4g} at step {points[0].step:,.0f} "
        f"to {points[-1].value:.4g} at step {points[-1].step:,.0f}"
        for label, points in series.items()
        if points
    ]
    best = None if marks.best is None or marks.best[0] not in clock else (clock[marks.best[0]], marks.best[1])
    if marks.best is not None:
        words.append(f"best checkpoint: {marks.best[1]:.4g} at step {marks.best[0]:,.0f}")
    return chart(
        {label: [(clock[point.step], point.value) for point in points] for label, points in series.items()},
        title,
        unit,
        "minutes of training" if minutes else axis,
        "; ".join(words),
        marks=Marks(best, [clock[step] for step in marks.resumed if step in clock] if minutes else marks.resumed),
        whole=not minutes,
        bounds=bounds,
    )


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]], title: str, unit: str, axis: str, log: bool = False
) -> Markup:
    """Lines of (x, y) over whole numbers x."""
    ends = {label: (points[0], points[-1]) for label, points in series.items() if points}
    words = "; ".join(f"{label}: {a[1]:.3g} at {a[0]:g}, {b[1]:.3g} at {b[0]:g}" for label, (a, b) in ends.items())
    return chart(series, title, unit, axis, words, log=log)


def chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    unit: str,
    axis: str,
    description: str,
    log: bool = False,
    marks: Marks = Marks(),
    whole: bool = True,
    bounds: tuple[float, float] | None = None,
) -> Markup:
    """Lines of (x, y); marks: (x, y) of the best checkpoint, x of resumptions; whole: whether x are whole numbers.

    A line of many points is drawn smoothed, before what has been measured; bounds: between which y lie.
    """
    drawing = Drawing(WIDTH, 216)
    measured = [averaged(label, points) for label, points in series.items()]
    drawn = {
        label + " (smoothed)" * (len(points) > SMOOTHED): smooth(points) if len(points) > SMOOTHED else points
        for label, points in measured
    }

    def sample(x: float, y: float, index: int) -> None:
        drawing.path(f"M{x} {y}h18", f"line {colour(index)}", stroke_dasharray=DASHES[index % len(DASHES)])

    top = drawing.legend(list(drawn), sample) if len(series) > 1 or unit not in series else 6
    best = [marks.best] if marks.best else []
    every = [point for points in drawn.values() for point in points] + best
    labels = {"best checkpoint": [step for step, _ in best], "resumed": marks.resumed}
    labels = {label: values for label, values in labels.items() if values}
    y = around([point[1] for point in every], 180, top + 4 + 11 * len(labels), log=log, bounds=bounds)
    x = around([*(point[0] for point in every), *marks.resumed], left_of(y), RIGHT, margin=0.02)
    drawing.axes(x, y, x.ticks(whole), axis, unit)
    for row, (label, values) in enumerate(labels.items()):
        for value in values:
            drawing.path(f"M{x(value)} {y.stop}V{y.start}", "mark", stroke_dasharray="1 3" if row == 0 else "5 3")
        side = "end" if x(values[0]) > WIDTH / 2 else "start"
        drawing.text(x(values[0]), y.stop - 3 - 11 * row, label, side)
    for index, (_, points) in enumerate(measured):
        if len(points) > SMOOTHED:
            corners = "L".join(f"{x(one)} {y(min(max(other, y.low), y.high))}" for one, other in points)
            drawing.path(f"M{corners}", f"faint {colour(index)}")
    for index, points in enumerate(drawn.values()):
        corners = "L".join(f"{x(one)} {y(other)}" for one, other in points)
        drawing.path(f"M{corners}", f"line {colour(index)}", stroke_dasharray=DASHES[index % len(DASHES)])
        for one, other in points if len(points) <= 30 else ():
            drawing.add("circle", cx=x(one), cy=y(other), r=1.7, class_=f"dot {colour(index)}")
    for one, other in best:
        drawing.add("circle", cx=x(one), cy=y(other), r=5, class_="ring")
    return drawing.svg(title, description)


def smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of each point and those around it, a twentieth of the curve on either side."""
    reach = max(1, len(points) // 20)
    near = [points[max(0, at - reach) : at + reach + 1] for at in range(len(points))]
    return [(x, sum(y for _, y in several) / len(several)) for (x, _), several in zip(points, near, strict=True)]


def averaged(label: str, points: Sequence[tuple[float, float]]) -> tuple[str, Sequence[tuple[float, float]]]:
    """A curve as it is drawn; a very long one is averaged, and its name says so."""
    size = -(-len(points) // MOST_POINTS)
    if size <= 1:
        return label, points
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    means = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return f"{label} (means of {size})", means


def by_group(
    series: Mapping[str, Sequence[Bucket]],
    title: str,
    unit: str,
    axis: str,
    counted: str = "rows",
    bounds: tuple[float, float] | None = None,
) -> Markup:
    """Scores of groups with their intervals above, how many rows below; one colour for each system.

    bounds: between which scores lie.
    """
    labels = list(dict.fromkeys(bucket.label for buckets in series.values() for bucket in buckets))
    turn = -30 if len(labels) > 9 or sum(map(len, labels)) > 48 else 0
    drawing = Drawing(WIDTH, 268 if turn else 245)

    def sample(x: float, y: float, index: int) -> None:
        sign(drawing, x + 12, y, index)

    top = drawing.legend(list(series), sample) if len(series) > 1 else 2
    ends = [value for buckets in series.values() for bucket in buckets for value in bucket[2:] if value is not None]
    y = around(ends, 155, top + 4, bounds=bounds)
    x = Scale(-0.6, len(labels) - 0.4, left_of(y), RIGHT)
    names = {index: shortened(label, 14) for index, label in enumerate(labels)}
    drawing.axes(x, y, {}, axis, unit)
    for index, (_, buckets) in enumerate(series.items()):
        for bucket in buckets:
            middle = x(labels.index(bucket.label) + 0.16 * (index - (len(series) - 1) / 2))
            if bucket.low is not None and bucket.high is not None:
                drawing.path(f"M{middle} {y(bucket.low)}V{y(bucket.high)}", f"interval {colour(index)}")
            sign(drawing, middle, y(bucket.value), index)
    rows = {bucket.label: bucket.rows for bucket in next(iter(series.values()))}
    bars(drawing, x, [(index, 0.55, rows.get(label, 0)) for index, label in enumerate(labels)], counted, True)
    for index, name in names.items():
        drawing.text(x(index), 220, name, "end" if turn else "middle", turn)
    words = "; ".join(
        f"{label}{', ' if label else ''}{one.label}: {one.value:.1f} over {one.rows:,}"
        for label, buckets in series.items()
        for one in buckets
    )
    return drawing.svg(title, words)


def sign(drawing: Drawing, x: float, y: float, index: int) -> None:
    """A dot of a series."""
    drawing.path(SIGNS[index % len(SIGNS)], f"dot {colour(index)}", transform=f"translate({x} {y})")


def bars(drawing: Drawing, x: Scale, counts: Sequence[tuple[float, float, int]], unit: str, named: bool) -> None:
    """Bars (middle, width, count) under a picture; named: with their counts on top."""
    y = Scale(0, max(1, *(count for _, _, count in counts)), 206, 178)
    for middle, width, count in counts:
        left, top = x(middle - width / 2), y(count)
        drawing.add("rect", x=left, y=top, width=round(x(middle + width / 2) - left, 1), height=round(206 - top, 1),
                    class_="bar")  # fmt: skip
        if named:
            drawing.text(x(middle), top - 3, f"{count:,}")
    drawing.path(f"M{x.start} 206H{x.stop}", "grid")
    drawing.text(11, 190, unit, turn=-90)


def forest(rows: Sequence[tuple[str, float, float, float]], title: str, unit: str) -> Markup:
    """Values with their intervals (name, value, low, high) under one another, beside the line of no difference."""
    names = [shortened(row[0], 14) for row in rows]
    drawing, bottom = Drawing(WIDTH, 46 + 25 * len(rows)), 10 + 25 * len(rows)
    x = around([0.0, *(value for row in rows for value in row[1:])], 14 + 6.2 * max(map(len, names)), RIGHT)
    drawing.path(f"M{x.start} {bottom}H{x.stop}", "grid")
    drawing.path(f"M{x(0)} 4V{bottom}", "mark", stroke_dasharray="1 3")
    for index, (name, (_, value, low, high)) in enumerate(zip(names, rows, strict=True)):
        middle = 18 + 25 * index
        drawing.path(f"M{x(low)} {middle}H{x(high)}", "interval series-1")
        sign(drawing, x(value), middle, 0)
        drawing.text(x.start - 6, middle + 4, name, "end")
    for value, label in x.ticks().items():
        drawing.text(x(value), bottom + 14, label)
    drawing.text((x.start + x.stop) / 2, drawing.height - 5, unit)
    words = "; ".join(f"{row[0]}: {row[1]:.2f}, from {row[2]:.2f} to {row[3]:.2f}" for row in rows)
    return drawing.svg(title, words)


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]], title: str) -> Markup:
    """How often each label (rows) was predicted as each other one (columns), as shares of the row."""
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    names, cell = [shortened(label, 14) for label in labels], max(14, min(26, 300 // len(labels)))
    edge, size = 24 + 6.2 * max(map(len, names)), cell * len(labels)
    drawing, wrong = Drawing(edge + size + 6, edge + size + 4), []
    for row, (name, several) in enumerate(zip(names, shares, strict=True)):
        middle = edge + cell * (row + 0.5)
        drawing.text(edge - 5, middle + 3.5, name, "end")
        drawing.text(middle + 3.5, edge - 5, name, "start", -90)
        for column, share in enumerate(several):
            wrong += [(share, labels[row], labels[column])] * (row != column and share > 0)
            x, y, kind = edge + cell * column, edge + cell * row, f"dot {colour(int(row != column))}"
            if share > 0:
                drawing.add("rect", x=f"{x + 0.5:.1f}", y=f"{y + 0.5:.1f}", width=cell - 1, height=cell - 1,
                            class_=kind, opacity=f"{0.12 + 0.75 * share:.2f}")  # fmt: skip
            if share >= 0.005 and cell >= 20:
                drawing.text(x + cell / 2, y + cell / 2 + 3.5, f"{100 * share:.0f}")
    drawing.text(edge + size / 2, 11, "predicted")
    drawing.text(11, edge + size / 2, "reference", turn=-90)
    words = [
        f"{one} predicted as {other}: {100 * share:.0f} %" for share, one, other in sorted(wrong, reverse=True)[:5]
    ]
    return drawing.svg(title, "; ".join(words) or "nothing is confused")


def reliability(bins: Sequence[Mapping[str, Any]], title: str) -> Markup:
    """How many labels of each confidence are right, and how many there are (Guo et al. 2017, fig. 1)."""
    drawing = Drawing(WIDTH, 245)
    y = Scale(0, 1.03, 155, 6)
    x = Scale(0, 1.02, left_of(y), RIGHT)
    drawing.axes(x, y, {}, "confidence", "share that is right")
    drawing.path(f"M{x(0)} {y(0)}L{x(1)} {y(1)}", "mark", stroke_dasharray="1 3")
    points = [(x(one["confidence"]), y(one["accuracy"])) for one in bins]
    drawing.path("M" + "L".join(f"{one} {other}" for one, other in points), "line series-1")
    for one, other in points:
        sign(drawing, one, other, 0)
    edges = [((one["low"] + one["high"]) / 2, 0.8 * (one["high"] - one["low"]), one["count"]) for one in bins]
    bars(drawing, x, edges, "labels", False)
    for value, name in x.ticks().items():
        drawing.text(x(value), 220, name)
    words = "; ".join(
        f"confidence {one['confidence']:.2f}: {one['accuracy']:.2f} right of {one['count']:,}" for one in bins
    )
    return drawing.svg(title, words)


def attention_map(source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[int]]) -> Markup:
    """Source tokens from left to right, target tokens from top to bottom, the darker the more percent of a weight."""
    cell, left = 16, 130
    top = 16 + 6 * min(18, max(map(len, source), default=1))
    drawing = Drawing(left + cell * len(source) + 90, top + cell * len(target) + 4)
    for column, token in enumerate(source):
        drawing.text(left + cell * column + 12, top - 5, shortened(token, 18), "start", -50)
    for row, token in enumerate(target):
        drawing.text(left - 6, top + cell * row + 12, shortened(token, 20), "end")
    for row, several in enumerate(weights):
        for column, weight in enumerate(several):
            if weight > 1:
                drawing.add("rect", x=left + cell * column, y=top + cell * row, width=cell - 1, height=cell - 1,
                            opacity=weight / 100)  # fmt: skip
    return drawing.svg("Attention", "one column for each source token, one row for each target token", "heat", True)


def vector_map(dots: Sequence[tuple[float, float, str]]) -> Markup:
    """Texts at (x, y) of equal scale; a longer text has a larger dot and is shown under the pointer."""
    xs, ys = [x for x, _, _ in dots], [y for _, y, _ in dots]
    span, drawing = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0, Drawing(106, 106)
    for x, y, text in dots:
        across, up = (2 * value - min(both) - max(both) for value, both in ((x, xs), (y, ys)))
        radius = 0.7 + 0.05 * min(20, len(text.split()))
        shape = f'<circle cx="{53 + 50 * across / span:.2f}" cy="{53 - 50 * up / span:.2f}" r="{radius:.2f}">'
        drawing.shapes.append(f"{shape}<title>{escape(text)}</title></circle>")
    return drawing.svg("Map of the fixed vectors", "", "map")
