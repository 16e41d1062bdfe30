"""Rows over time: the picture's pixels and lines, the player, and that nothing of them breaks out of the page."""

import base64
import re
import struct
import zlib

from seq2seq.report.heard import png, rows, shades
from seq2seq.report.page import render
from tests.report.pages import ATTACKS, HEARD, HEARD_ROWS, everything

TEXTS = {row["id"]: row for row in HEARD_ROWS}


def test_a_picture_has_the_pixels_of_the_frames() -> None:
    lines = shades([[0.0, 10.0], [5.0, 10.0], [10.0, 0.0]])
    assert [len(line) for line in lines] == [3, 3]
    assert lines[0][0] == lines[0][1] < lines[0][2], "the last number is on top, high ones are dark"
    data = png(lines)
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert (width, height, depth, kind) == (3, 2, 8, 0)
    size = struct.unpack(">I", data[33:37])[0]
    assert zlib.decompress(data[41 : 41 + size]) == b"\0" + lines[0] + b"\0" + lines[1]
    assert shades([[1.0]] * 4) == [bytes([255] * 4)]


def test_posteriors_words_and_segments_are_drawn() -> None:
    transcribed, labelled, hostile = rows(HEARD, TEXTS)
    assert transcribed.facts == ["row 0", "speaker s1", "word error rate 50.0"]
    lines = re.findall(r'class="line series-(\d)"', str(transcribed.picture))
    assert lines.count("1") == 2, "the line of a class, and the mark of its word, in one colour"
    assert ">one</text>" in transcribed.picture
    assert ">seconds</text>" in transcribed.picture
    assert [word.differs for word in transcribed.words] == [False, True]
    assert transcribed.words[1].prediction == "–"
    assert base64.b64decode(transcribed.clip.partition(",")[2]) == b"RIFF sound"
    assert str(labelled.picture).count("<rect") == 3
    assert ">frames</text>" in labelled.picture
    assert (labelled.clip, hostile.clip) == ("", "")


def test_a_page_shows_them_and_nothing_breaks_out() -> None:
    page = render(everything(), HEARD_ROWS, [], HEARD)
    assert "Row by row over time" in page
    assert page.count("<audio") == 1
    assert "media-src data:" in page
    for attack in ATTACKS:
        if "<" in attack:
            assert attack not in page
    assert "Row by row over time" not in render(everything(), HEARD_ROWS)
