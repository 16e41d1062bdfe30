"""The report's pictures as SVG text to put inside a page: curves, scores by group, confusions, reliability.

matplotlib is imported when a picture is drawn, so that a page without pictures needs no more than jinja2.
Colours are the page's own CSS variables; a picture follows its dark and light mode and its print.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib knows no CSS variables: it draws with these stand-ins, which are replaced in its output.
INK, MUTED, LINE = "#010101", "#010102", "#010103"
SERIES = ("#010111", "#010112", "#010113", "#010114", "#010115")
CSS_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted, #5b626b)",
    LINE: "var(--line, #d9dce1)",
    SERIES[0]: "var(--series-1, #0b5cad)",
    SERIES[1]: "var(--series-2, #b4540a)",
    SERIES[2]: "var(--series-3, #2f7a3d)",
    SERIES[3]: "var(--series-4, #8a3ea8)",
    SERIES[4]: "var(--series-5, #b02a4c)",
}
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)))  # a second sign beside colour, for print and colour-blind readers
SIGNS = "osD^v"  # the same for dots
MOST_POINTS = 400  # a longer curve is drawn as means of neighbours: the eye cannot tell, and the page stays small

STYLE: dict[Any, Any] = {  # matplotlib types the keys as 300 literals
    "svg.fonttype": "none",  # letters stay letters: searchable, readable aloud, in the page's font
    "svg.hashsalt": "seq2seq",  # the same results give the same bytes
    "text.parse_math": False,  # a "$" in a name is a dollar sign
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class Point(NamedTuple):
    """One measurement during training: optimiser step, seconds since the start, value."""

    step: float
    seconds: float
    value: float


INSIDE: Any = {"frameon": False, "fontsize": 9.5}
ABOVE: Any = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), **INSIDE}
"""Where legends stand: above the picture, where no curve runs, unless there are many."""


class Bucket(NamedTuple):
    """The score of a group of rows; `low` and `high` bound its 95 % interval."""

    label: str
    rows: int
    value: float
    low: float | None = None
    high: float | None = None


class Marks(NamedTuple):
    """Places on a time axis that mean something."""

    best: tuple[float, float] | None = None
    """Step and value of the kept checkpoint."""
    resumed: Sequence[float] = ()
    """Steps at which training was resumed."""


def curves(
    series: Mapping[str, Sequence[Point]],
    *,
    name: str,
    title: str,
    unit: str,
    marks: Marks = Marks(),
    minutes: bool = False,
) -> str:
    """Lines over training steps, or over minutes of training, as inline SVG.

    `name` begins every id inside the picture, so it must be unique on the page. Values must be finite.
    """
    clock = {point.step: point.seconds / 60 for points in series.values() for point in points}
    place = clock.get if minutes else lambda step: step

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (label, points) in enumerate(series.items()):
            _line(
                axes, label, [(point.seconds / 60 if minutes else point.step, point.value) for point in points], index
            )
        if marks.best is not None and (best := place(marks.best[0])) is not None:
            _mark(axes, best, marks.best[1])
        for step in marks.resumed:
            if (where := place(step)) is not None:
                axes.axvline(where, color=MUTED, linestyle="--", linewidth=1, zorder=1, label="resumed")
        axes.set_xlabel("minutes of training" if minutes else _time_axis(series))
        axes.set_ylabel(unit)
        axes.grid(axis="y")
        axes.xaxis.set_major_formatter(_thousands)
        if axes.get_ylim()[1] >= 1000:
            axes.yaxis.set_major_formatter(_thousands)
        axes.margins(x=0.02)
        if len(series) > 1 or unit not in series:
            _legend(axes)

    return _svg(draw, size=(5.0, 3.0), name=name, title=title, description=_told(series, marks.best))


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    name: str,
    title: str,
    unit: str,
    axis: str,
    log: bool = False,
) -> str:
    """Lines of (x, y), as inline SVG; `log` gives each tenfold of y the same height."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (label, points) in enumerate(series.items()):
            _line(axes, label, points, index)
        axes.set_xlabel(axis)
        axes.set_ylabel(unit)
        axes.locator_params(axis="x", integer=True)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(_plain)
            axes.yaxis.set_minor_formatter(_nothing)
        axes.grid(axis="y")
        axes.margins(x=0.02)
        if len(series) > 1:
            _legend(axes)

    ends = {label: (points[0], points[-1]) for label, points in series.items() if points}
    told = "; ".join(f"{label}: {a[1]:.3g} at {a[0]:g}, {b[1]:.3g} at {b[0]:g}" for label, (a, b) in ends.items())
    return _svg(draw, size=(5.0, 3.0), name=name, title=title, description=told)


def by_group(series: Mapping[str, Sequence[Bucket]], *, name: str, title: str, unit: str, axis: str) -> str:
    """Scores of groups with their intervals above, how many rows below; one colour for each system; as inline SVG."""
    labels = list(dict.fromkeys(bucket.label for buckets in series.values() for bucket in buckets))
    first = next(iter(series.values()))

    def draw(figure: Figure) -> None:
        scores, rows = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        for index, (label, buckets) in enumerate(series.items()):
            _dots(scores, label, buckets, labels, index, len(series))
        scores.set_ylabel(unit)
        scores.grid(axis="y")
        scores.tick_params(axis="x", length=0)
        if len(series) > 1:
            _legend(scores)
        counts = {bucket.label: bucket.rows for bucket in first}
        _count_bars(rows, [counts.get(label, 0) for label in labels])
        wide = len(labels) > 9 or sum(map(len, labels)) > 48
        rows.set_xticks(
            range(len(labels)),
            [_short(label) for label in labels],
            rotation=30 if wide else 0,
            ha="right" if wide else "center",
        )
        rows.set_xlabel(axis)
        rows.set_xlim(-0.6, len(labels) - 0.4)

    told = "; ".join(
        f"{label}{', ' if label else ''}{one.label}: {one.value:.1f} over {one.rows:,}"
        for label, buckets in series.items()
        for one in buckets
    )
    return _svg(draw, size=(5.0, 3.4), name=name, title=title, description=told)


def _dots(axes: Axes, label: str, buckets: Sequence[Bucket], labels: Sequence[str], index: int, count: int) -> None:
    """The scores of one system, beside those of the others."""
    shift = 0.16 * (index - (count - 1) / 2)
    colour = SERIES[index % len(SERIES)]
    places = [labels.index(bucket.label) + shift for bucket in buckets]
    for place, bucket in zip(places, buckets, strict=True):
        if bucket.low is not None and bucket.high is not None:
            axes.vlines(place, bucket.low, bucket.high, colors=colour, linewidth=2, alpha=0.55)
    values = [bucket.value for bucket in buckets]
    axes.plot(places, values, SIGNS[index % len(SIGNS)], color=colour, markersize=6 if count == 1 else 5, label=label)


def _legend(axes: Axes) -> None:
    """Above the picture where few names stand, else inside; a name that occurs twice stands once."""
    handles, names = axes.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    axes.legend(once.values(), once.keys(), **(ABOVE | {"ncols": min(3, len(once))} if len(once) <= 6 else INSIDE))


def forest(rows: Sequence[tuple[str, float, float, float]], *, name: str, title: str, unit: str) -> str:
    """Values with their intervals (name, value, low, high) under one another, beside the line of no difference."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, (_, value, low, high) in enumerate(rows):
            axes.hlines(place, low, high, colors=SERIES[0], linewidth=2, alpha=0.55)
            axes.plot([value], [place], "o", color=SERIES[0], markersize=6)
        axes.axvline(0, color=MUTED, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(rows)), [_short(row[0]) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(unit)
        axes.tick_params(length=0)

    told = "; ".join(f"{row[0]}: {row[1]:.2f}, from {row[2]:.2f} to {row[3]:.2f}" for row in rows)
    return _svg(draw, size=(5.0, 1.1 + 0.35 * len(rows)), name=name, title=title, description=told)


def picture(draw: Callable[..., str], *arguments: Any, **options: Any) -> Markup | None:
    """A picture by `draw` for the page, or nothing where matplotlib is not installed."""
    try:
        return Markup(draw(*arguments, **options))
    except ImportError:
        return None


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]], *, name: str, title: str) -> str:
    """How often each label (rows) was predicted as each other one (columns), as shares of the row; as inline SVG."""
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    size = len(labels)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, column in ((row, column) for row in range(size) for column in range(size)):
            share = shares[row][column]
            if share > 0:
                axes.add_patch(_square(column, row, SERIES[0] if row == column else SERIES[1], 0.12 + 0.75 * share))
            if share >= 0.005 and size <= 14:
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8)
        axes.set_xlim(-0.5, size - 0.5)
        axes.set_ylim(size - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.set_xticks(range(size), [_short(label) for label in labels], rotation=90, fontsize=8)
        axes.set_yticks(range(size), [_short(label) for label in labels], fontsize=8)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("reference")

    wrong = sorted(
        (
            (shares[row][column], labels[row], labels[column])
            for row in range(size)
            for column in range(size)
            if row != column
        ),
        reverse=True,
    )
    told = "; ".join(f"{one} predicted as {other}: {100 * share:.0f} %" for share, one, other in wrong[:5] if share)
    side = min(6.5, 2.6 + 0.17 * size)
    return _svg(draw, size=(side, side), name=name, title=title, description=told or "nothing is confused")


def _square(column: int, row: int, colour: str, opacity: float) -> Any:
    """A cell of a heat map."""
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, alpha=opacity, linewidth=0)


def _short(label: str) -> str:
    """A label that fits beside an axis."""
    return label if len(label) <= 14 else label[:13] + "…"


def reliability(bins: Sequence[Mapping[str, Any]], *, name: str, title: str) -> str:
    """How many labels of each confidence are right, and how many there are; as inline SVG (Guo et al. 2017, fig. 1)."""

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        above.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1)
        above.plot(
            [one["confidence"] for one in bins], [one["accuracy"] for one in bins], "o-", color=SERIES[0], markersize=5
        )
        above.set_ylabel("share that is right")
        above.grid(axis="y")
        middles, width = [(one["low"] + one["high"]) / 2 for one in bins], bins[0]["high"] - bins[0]["low"]
        below.bar(middles, [one["count"] for one in bins], width=0.8 * width, color=LINE)
        below.set_yticks([])
        below.set_ylabel("labels")
        below.set_xlim(0, 1.02)
        below.set_xlabel("confidence")

    told = "; ".join(
        f"confidence {one['confidence']:.2f}: {one['accuracy']:.2f} right of {one['count']:,}" for one in bins
    )
    return _svg(draw, size=(4.4, 3.6), name=name, title=title, description=told)


def _line(axes: Axes, label: str, points: Sequence[tuple[float, float]], index: int) -> None:
    """One curve; few points get dots, very many are averaged, and the legend says so."""
    size = -(-len(points) // MOST_POINTS)
    if size > 1:
        points = [_mean(points[start : start + size]) for start in range(0, len(points), size)]
        label = f"{label} (means of {size})"
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        label=label.lstrip("_"),  # matplotlib leaves names with a leading underscore out of the legend
        color=SERIES[index % len(SERIES)],
        linestyle=DASHES[index % len(DASHES)],
        linewidth=1.6,
        marker="o" if len(points) <= 30 else None,
        markersize=3.2,
    )


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    return x, y


def _mark(axes: Axes, step: float, value: float) -> None:
    """A ring and a dotted line where the kept checkpoint lies."""
    axes.axvline(step, color=MUTED, linestyle=(0, (1, 2.5)), linewidth=1, zorder=1)
    axes.plot([step], [value], "o", label="best checkpoint", markersize=10, markerfacecolor="none", markeredgecolor=INK)


def _count_bars(axes: Axes, rows: Sequence[int]) -> None:
    """Thin bars with their number on top, no scale: the number is the scale."""
    axes.bar(range(len(rows)), rows, width=0.55, color=LINE)
    for place, count in enumerate(rows):
        axes.annotate(
            f"{count:,}", (place, count), (0, 2), textcoords="offset points", ha="center", fontsize=8.5, color=MUTED
        )
    axes.set_ylim(0, max([*rows, 1]) * 1.6)
    axes.set_yticks([])
    axes.set_ylabel("rows")
    axes.spines["left"].set_visible(False)


def _thousands(value: float, _position: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _plain(value: float, _position: float) -> str:
    return f"{value:g}"


def _nothing(_value: float, _position: float) -> str:
    return ""


def _time_axis(series: Mapping[str, Sequence[Point]]) -> str:
    """The label under the steps; the minutes that all of them took."""
    ends = [points[-1] for points in series.values() if points]
    if not ends:
        return "step"
    last = max(ends, key=lambda point: point.step)
    return f"step ({last.step:,.0f} steps in {last.seconds / 60:,.1f} minutes)"


def _told(series: Mapping[str, Sequence[Point]], best: tuple[float, float] | None) -> str:
    """What the picture shows, for someone who hears it."""
    told = [
        f"{label}: from {points[0].value:.4g} at step {points[0].step:,.0f} "
        f"to {points[-1].value:.4g} at step {points[-1].step:,.0f}"
        for label, points in series.items()
        if points
    ]
    if best is not None:
        told.append(f"best checkpoint: {best[1]:.4g} at step {best[0]:,.0f}")
    return "; ".join(told)


def _svg(draw: Callable[[Figure], None], *, size: tuple[float, float], name: str, title: str, description: str) -> str:
    """Draw a figure of `size` inches and return it as an SVG element that needs nothing from outside."""
    import matplotlib
    from matplotlib.figure import Figure

    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    return _inline(text.getvalue(), name=name, title=title, description=description)


def _inline(svg: str, *, name: str, title: str, description: str) -> str:
    """Fit matplotlib's SVG file into a page: no prolog, own ids, page colours and font, a name for screen readers."""
    width, height = re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)[0]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" class="plot" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-title {name}-description" '
        f'style="stroke-linejoin: round">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-description">{escape(description)}</desc>'
    )
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"font: (\S+px) [^;\"]*", r"font-size: \1", body)  # as matplotlib before 3.11 writes it
    body = re.sub(r" font-family: [^;\"]*;?", "", body)
    for before, after in (('id="', f'id="{name}-'), ('href="#', f'href="#{name}-'), ("url(#", f"url(#{name}-")):
        body = body.replace(before, after)
    for stand_in, colour in CSS_COLOURS.items():
        body = body.replace(stand_in, colour)
    return head + body.rstrip()
