"""Segments of recordings: a label for each frame, back to segments, and what is refused by file and line."""

from pathlib import Path

import numpy as np
import pytest

from seq2seq.data.corpora.builtin.tones import Tones, ToneSegments
from seq2seq.data.corpora.segments import Segments
from seq2seq.data.number_text import parsed
from seq2seq.data.rows import Row, in_memory
from seq2seq.data.segments import Segment, labels_of, segments_of
from seq2seq.data.sound import SoundFrames
from seq2seq.errors import InputError

soundfile = pytest.importorskip("soundfile")

SOUND = SoundFrames(8000, 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two recordings of half a second."""
    for name in ("one", "two"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.sin(np.arange(4000)), 8000)
    return tmp_path


def rows(folder: Path, table: str) -> list[Row]:
    (folder / "train.tsv").write_text(table)
    return list(Segments(rate=8000, bands=8).rows("train", str(folder)))


def test_a_frame_has_the_label_of_its_middle(folder: Path) -> None:
    header = "path\tstart\tend\tlabel\tspeaker\n"
    lines = "two.wav\t0.3\t0.5\tdog bark\ts1\none.wav\t\t\t\ts2\ntwo.wav\t0.1\t0.2\tspeech\ts1\n"
    two, one = rows(folder, header + lines)
    labels = two.target.split("\t")
    assert len(labels) == len(parsed(two.source, 8)) == 48
    middles = [0.0125 + 0.01 * frame for frame in range(48)]
    wanted = ["speech" if 0.1 <= at < 0.2 else "dog bark" if at >= 0.3 else "none" for at in middles]
    assert labels == wanted
    assert (two.line, two.speaker, one.line, set(one.target.split("\t"))) == (2, "s1", 3, {"none"})
    texts = in_memory([two, one])._replace(locations=[2, 3], files=[str(folder / "train.tsv")])
    [(row, samples)] = Segments(rate=8000).recorded("train", texts, [1])
    assert (row, len(samples)) == (1, 4000)


@pytest.mark.parametrize("seed", range(20))
def test_segments_come_back_within_half_a_frame(seed: int) -> None:
    draw = np.random.default_rng(seed)
    edges = np.sort(draw.uniform(0, 2, 8))
    given = [Segment(start, end, "ab"[place % 2]) for place, (start, end) in enumerate(edges.reshape(4, 2).tolist())]
    given = [one for one in given if one.end - one.start > 0.02]
    labels = labels_of(given, 210, SOUND, "none")
    found = [one for one in segments_of(labels, SOUND) if one.label != "none"]
    assert segments_of(labels, SOUND)[-1].end == pytest.approx(SOUND.seconds(210))
    assert labels_of(segments_of(labels, SOUND), 210, SOUND, "?") == labels
    if len(found) == len(given):  # else two of one label have met
        for one, other in zip(found, given, strict=True):
            assert one.label == other.label
            assert one[:2] == pytest.approx(other[:2], abs=0.0051) or other.start < 0.0125


def test_frames_that_are_no_sound_are_counted() -> None:
    assert segments_of(["a", "a", "b"], None) == [(0, 2, "a"), (2, 3, "b")]
    assert segments_of([], None) == []


def test_dialled_digits_sound_where_their_labels_say() -> None:
    plain, labelled = (list(kind(train=3).rows("train", None)) for kind in (Tones, ToneSegments))
    for one, other in zip(plain, labelled, strict=True):
        assert one.source == other.source
        named = [segment.label for segment in segments_of(other.target.split("\t"), None) if segment.label != "none"]
        assert named == one.target.split()
        energy = parsed(other.source, 24).max(1)
        loud = np.array([label != "none" for label in other.target.split("\t")])
        assert energy[loud].mean() > energy[~loud].mean() + 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("one.wav\t0.1\t0.3\ta\none.wav\t0.2\t0.4\tb\n", r"train\.tsv:3: .*0\.200.*line 2"),
        ("one.wav\t0.1\t0.7\ta\n", r"train\.tsv:2: .*0\.100 to 0\.700.*0\.500 seconds"),
        ("one.wav\t0.2\t0.2\ta\n", r"train\.tsv:2: .*0\.200 to 0\.200"),
        ("one.wav\t0.1\t\ta\n", r"train\.tsv:2: .*a start, an end and a label"),
        ("one.wav\t0.1\t0.2\t\n", r"train\.tsv:2: .*a start, an end and a label"),
        ("one.wav\t\t\t\none.wav\t0.1\t0.2\ta\n", r"train\.tsv:2: .*a start, an end and a label"),
        ("gone.wav\t0.1\t0.2\ta\n", r"train\.tsv:2: .*gone\.wav is missing"),
    ],
)
def test_what_is_wrong_is_named(lines: str, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message):
        rows(folder, "path\tstart\tend\tlabel\n" + lines)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"data\.corpus\.other"):
        Segments(other="\t")
