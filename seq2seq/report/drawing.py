"""What pictures are made of: shapes as SVG text, scales with round ticks, axes and legends.

Lengths are units of the picture, which the page scales to its column. Colours, fonts and line widths are those of
style.css, so a picture follows the page's dark mode and its print.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from seq2seq.report.wording import shortened

LETTER = 5.7
"""Width of a letter, on average."""

ROW = 14.0
"""Height of a line of text."""

COLOURS = 5
"""Series that style.css has colours for."""


class Scale(NamedTuple):
    """Values between `low` and `high` at `start` to `stop`; `log` gives each tenfold the same length."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value is."""
        low, high, value = map(math.log10, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return round(self.start + (value - low) / (high - low) * (self.stop - self.start), 1)

    def ticks(self, whole: bool = False) -> dict[float, str]:
        """Some round values with their names; whole: whole numbers only."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            factors = (1, 2, 5) if last - first <= 3 else (1,)
            powers = range(first, last + 1, max(1, -(-(last - first) // 6)))
            values = [factor * 10.0**power for power in powers for factor in factors]
            return {value: f"{value:g}" for value in values if self.low <= value <= self.high}
        least = (self.high - self.low) / 7
        power = 10.0 ** math.floor(math.log10(least))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least)
        step = max(math.ceil(step) if step < 10 else step, 1.0) if whole else step
        count = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        decimals = next((digits for digits in range(6) if math.isclose(round(step, digits), step)), None)
        form = ".3g" if decimals is None or self.high >= 1e9 else f",.{decimals}f"
        return {step * times: f"{step * times:{form}}".replace("-", "−") for times in count}


def around(
    values: Sequence[float],
    start: float,
    stop: float,
    margin: float = 0.05,
    log: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Scale:
    """A scale for some values, with room on both sides, but not beyond the bounds that values may have."""
    low, high = min(values), max(values)
    if log:
        room = max((high / low) ** margin, 1.05)
        return Scale(low / room, high * room, start, stop, log)
    room = (high - low) * margin or abs(high) * margin or 1.0
    least, most = bounds if bounds and bounds[0] <= low and high <= bounds[1] else (-math.inf, math.inf)
    return Scale(max(least, low - room), min(most, high + room), start, stop)


class Drawing:
    """A picture that grows shape by shape."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.shapes: list[str] = []

    def add(self, tag: str, text: str = "", **attributes: object) -> None:
        """A shape; the names of its attributes are SVG's, with an underscore for a hyphen and after `class`."""
        given = (f' {name.strip("_").replace("_", "-")}="{escape(str(value))}"' for name, value in attributes.items())
        self.shapes.append(f"<{tag}{''.join(given)}>{escape(text)}</{tag}>")

    def path(self, shape: str, kind: str, **attributes: object) -> None:
        """A line along SVG's commands; kind: a class of style.css."""
        self.add("path", "", d=shape, class_=kind, **attributes)

    def text(self, x: float, y: float, text: str, anchor: str = "middle", turn: int = 0) -> None:
        """A text, turned by degrees."""
        turned = f"translate({x:.1f} {y:.1f})" + f" rotate({turn})" * bool(turn)
        self.add("text", text, transform=turned, text_anchor=anchor)

    def legend(self, names: Sequence[str], sample: Callable[[float, float, int], None]) -> float:
        """Names in rows at the top, each behind its sample, drawn by (x, y, index); returns where they end."""
        x, y = 8.0, ROW - 4
        for index, name in enumerate(names):
            short = shortened(name, 50)
            width = 36 + LETTER * len(short)
            if x > 8 and x + width > self.width:
                x, y = 8.0, y + ROW
            sample(x, y - 3.5, index)
            self.text(x + 24, y, short, "start")
            x += width
        return y + 4

    def axes(self, x: Scale, y: Scale, ticks: Mapping[float, str], axis: str, unit: str, turn: int = 0) -> None:
        """Both axes; ticks of x with their names, turned by degrees; axis, unit: what x and y are."""
        for value, name in y.ticks().items():
            self.path(f"M{x.start} {y(value)}H{x.stop}", "grid")
            self.text(x.start - 5, y(value) + 3.5, name, "end")
        self.path(f"M{x.start} {y.stop}V{y.start}H{x.stop}", "grid")
        for value, name in ticks.items():
            self.text(x(value), y.start + ROW, name, "end" if turn else "middle", turn)
        self.text((x.start + x.stop) / 2, self.height - 4, axis)
        self.text(11, (y.start + y.stop) / 2, unit, turn=-90)

    def svg(self, title: str, description: str, kind: str = "plot", fixed: bool = False) -> Markup:
        """The picture, with its words for a reader who cannot see it; kind: its class; fixed: never enlarged."""
        width, height = round(self.width), round(self.height)
        size = f'viewBox="0 0 {width} {height}"' + f' width="{width}" height="{height}"' * fixed
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" {size} role="img">'
        words = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        return Markup("\n".join([head, words, *self.shapes, "</svg>"]))


def colour(index: int) -> str:
    """The class of a series."""
    return f"series-{index % COLOURS + 1}"


def left_of(y: Scale) -> float:
    """Where the x axis begins, right of the names of the ticks of y."""
    return 24 + LETTER * max(map(len, y.ticks().values()), default=0)
