"""Rows of frames for the page: a picture of them with posteriors or segments over time, and a player of the sound."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.report import sparklines
from seq2seq.report.drawing import Drawing, Scale, colour
from seq2seq.report.network import Texts
from seq2seq.report.plots import DASHES
from seq2seq.report.wording import finite, is_number, label, number, parts, shortened

WIDTH, HEIGHT = 760, 120
"""Of a picture, and of the frames in it."""

LEFT, LEFT_OF_BARS = 12, 60
"""Where the x axis begins, without and with names of bars."""

ACROSS = 1000
"""Frames that are drawn at most: more are averaged."""

DARKEST = 175
"""Of the frames, of 255, so that lines can be seen above them."""

BASE64 = re.compile(r"[A-Za-z0-9+/]{8,4000000}={0,2}")
"""What a clip may be made of."""

ROW, MARGIN = 16, 30
"""Heights of a bar of segments, and of what stands above the frames."""


class AlignedWord(NamedTuple):
    """A word of the reference above that of the prediction; a dash where a side has none."""

    reference: str
    prediction: str
    differs: bool


class HeardRow(NamedTuple):
    """A row to look at and to listen to."""

    facts: list[str]
    picture: Markup
    clip: str
    """The address of its sound inside the page; empty for none."""
    words: list[AlignedWord]


def rows(stored: Sequence[Mapping[str, Any]], texts: Texts) -> list[HeardRow]:
    """The rows whose frames are known."""
    known = ((one, texts.get(one.get("id"), {})) for one in stored)
    kinds = labels(stored)
    return [
        heard(one, text, frames, kinds)
        for one, text in known
        if (frames := sparklines.sequence(str(text.get("source"))))
    ]


def labels(stored: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of the segments of all rows, the most frequent first: their places are their colours."""
    sides = [
        several for one in stored if isinstance(found := one.get("segments"), Mapping) for several in found.values()
    ]
    counts = Counter(text for several in sides for _, _, text in timed(several))
    return sorted(counts, key=lambda text: (-counts[text], text))


def heard(
    one: Mapping[str, Any], text: Mapping[str, Any], frames: Sequence[Sequence[float]], kinds: Sequence[str]
) -> HeardRow:
    """A row with what is known of it; kinds: the labels of segments."""
    facts = [f"row {number(one.get('id'), 0)}"]
    if text.get("speaker"):
        facts.append(f"speaker {shortened(str(text['speaker']), 40)}")
    metric = text.get("metric")
    if isinstance(metric, str) and is_number(text.get(metric)):
        facts.append(f"{label(metric)} {number(text[metric], 1)}")
    clip = one.get("clip")
    playable = isinstance(clip, str) and BASE64.fullmatch(clip)
    words = [
        AlignedWord(reference or "–", prediction or "–", reference != prediction)
        for reference, prediction in (pair for pair in one.get("aligned") or () if len(pair) == 2)
    ]
    return HeardRow(facts, picture(one, frames, kinds), f"data:audio/wav;base64,{clip}" if playable else "", words)


def picture(one: Mapping[str, Any], frames: Sequence[Sequence[float]], kinds: Sequence[str]) -> Markup:
    """Frames from left to right, the first number at the bottom, with what the network makes of them."""
    hop, segments = finite(one.get("hop")), one.get("segments") or {}
    unit, seconds = ("seconds", hop) if hop else ("frames", 1.0)
    bars = [side for side in ("reference", "prediction") if isinstance(segments, Mapping) and segments.get(side)]
    top = MARGIN if one.get("words") else 6
    bottom = top + HEIGHT
    left, begin = LEFT_OF_BARS if bars else LEFT, max(0.0, finite(one.get("begin")) or 0.0)
    x = Scale(0, len(frames) * seconds + 2 * begin, left, WIDTH - 12)
    drawing = Drawing(WIDTH, bottom + ROW * len(bars) + 34)
    width = round(x(begin + len(frames) * seconds) - x(begin), 1)
    drawing.add("image", "", x=x(begin), y=top, width=width, height=HEIGHT, preserveAspectRatio="none",
                href=f"data:image/png;base64,{base64.b64encode(png(shades(frames))).decode()}")  # fmt: skip
    posteriors(drawing, one, x, bottom, begin, seconds)
    for place, side in enumerate(bars):
        bar(drawing, segments[side], x, bottom + ROW * place + 2, kinds)
        drawing.text(left - 5, bottom + ROW * place + 12, side, "end")
    end = bottom + ROW * len(bars) + 3
    for value, name in x.ticks(whole=not hop).items():
        drawing.path(f"M{x(value)} {end}v4", "grid")
        drawing.text(x(value), end + 15, name)
    drawing.text((x.start + x.stop) / 2, drawing.height - 3, unit)
    said = ", ".join(f"{text} from {start:g} to {stop:g}" for start, stop, text in timed(one.get("words")))
    return drawing.svg("Frames over time", said or f"{len(frames)} frames", "plot")


def posteriors(drawing: Drawing, one: Mapping[str, Any], x: Scale, bottom: float, begin: float, seconds: float) -> None:
    """Lines of probability over the frames, and the words above them."""
    step = (finite(one.get("step")) or 1) * seconds
    for index, several in enumerate(parts(one, "posteriors")):
        shape, drawn = "", -2
        shares = [min(max(finite(share) or 0.0, 0.0), 100.0) for share in several.get("shares") or ()]
        for place, share in enumerate(shares):
            if any(shares[max(0, place - 1) : place + 2]):
                begins = "L" if drawn == place - 1 else "M"
                shape += f"{begins}{x(min(begin + (place + 0.5) * step, x.high))} {bottom - HEIGHT * share / 100:.1f}"
                drawn = place
        if shape:
            drawing.path(shape, f"line {colour(index)}", stroke_dasharray=DASHES[index // 5 % len(DASHES)])
    names = [str(several.get("name")) for several in parts(one, "posteriors")]
    for place, (start, stop, text) in enumerate(timed(one.get("words"))):
        kind = colour(names.index(text)) if text in names else "ink"
        middle = x(min((start + stop) / 2, x.high))
        drawing.path(f"M{middle} {bottom - HEIGHT}v-4", f"line {kind}")
        drawing.text(middle, bottom - HEIGHT - 7 - 11 * (place % 2), shortened(text, 18))


def bar(drawing: Drawing, segments: Sequence[Any], x: Scale, y: float, kinds: Sequence[str]) -> None:
    """Segments with their labels, those of one label in one colour."""
    for start, stop, text in timed(segments):
        left, right = x(min(start, x.high)), x(min(stop, x.high))
        drawing.add("rect", "", x=left, y=y, width=round(max(right - left - 0.5, 0.5), 1), height=ROW - 3,
                    class_=f"dot {colour(kinds.index(text))}", opacity="0.35")  # fmt: skip
        if right - left > 6 * len(text):
            drawing.text((left + right) / 2, y + 10, text)


def timed(found: Any) -> list[tuple[float, float, str]]:
    """What has a beginning, an end and a text."""
    result = []
    for one in found if isinstance(found, list) else ():
        if isinstance(one, list) and len(one) == 3 and is_number(one[0]) and is_number(one[1]):
            result.append((float(one[0]), float(one[1]), str(one[2])))
    return result


def shades(frames: Sequence[Sequence[float]]) -> list[bytes]:
    """Lines of pixels, the last number of a frame on top, white for what is low and dark for what is high."""
    columns = list(zip(*sparklines.thinned(frames, ACROSS), strict=True))
    every = sorted(value for column in columns for value in column)
    low, high = every[len(every) // 20], every[-1 - len(every) // 200]
    span = high - low or 1.0
    return [
        bytes(255 - round(DARKEST * min(1.0, max(0.0, (value - low) / span))) for value in column)
        for column in reversed(columns)
    ]


def png(lines: Sequence[bytes]) -> bytes:
    """A picture in shades of grey from its lines, each pixel a byte."""
    size = struct.pack(">IIBBBBB", len(lines[0]), len(lines), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    chunks = ((b"IHDR", size), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
