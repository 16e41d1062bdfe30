"""Recordings: what a table may say, what a file may be, and what is refused by file and line."""

import logging
from pathlib import Path

import numpy as np
import pytest

from seq2seq.data.cache import Cache
from seq2seq.data.corpora.corpus import SplitSelection, load
from seq2seq.data.corpora.recordings import Recordings
from seq2seq.data.number_text import parsed
from seq2seq.errors import InputError
from seq2seq.inference.sound_stream import frames_of

soundfile = pytest.importorskip("soundfile")

SOUND = 0.4 * np.sin(2 * np.pi * 300 * np.arange(4000) / 8000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a recording."""
    (tmp_path / "clips").mkdir()
    soundfile.write(tmp_path / "clips" / "one.wav", SOUND, 8000)
    return tmp_path


def rows(folder: Path, table: str, name: str = "train.tsv", **settings: int) -> list[np.ndarray]:
    """The frames of the rows of a table."""
    (folder / name).write_text(table)
    corpus = Recordings(**{"rate": 8000, "bands": 8, **settings})  # type: ignore[arg-type]
    corpus.stored("train", str(folder))
    return [parsed(row.source, None) for row in corpus.rows("train", str(folder))]


def test_rows_are_frames_and_texts(folder: Path) -> None:
    (folder / "train.csv").write_text('speaker,text,path\ns1,"one, two",clips/one.wav\n')
    corpus = Recordings(rate=8000, bands=8)
    [row] = corpus.rows("train", str(folder))
    assert (row.target, row.line, row.file) == ("one, two", 2, str(folder / "train.csv"))
    assert parsed(row.source, None).shape == (48, 8)
    assert row.speaker == "s1"
    more = Recordings(rate=8000, bands=8, coefficients=5, deltas=2)
    assert parsed(next(more.rows("train", str(folder))).source, None).shape == (48, 15)
    texts = load(corpus, SplitSelection("train"), str(folder), Cache(folder / "cache"))
    assert (list(texts.speakers), texts.place(0)) == (["s1"], (str(folder / "train.csv"), 2))
    [(place, samples)] = corpus.recorded("train", texts, [0])
    assert place == 0
    assert np.abs(samples - SOUND).max() < 1e-4
    assert corpus.line(folder / "clips" / "one.wav") == row.source
    assert corpus.stored("train", str(folder)) == [folder / "train.csv", folder / "clips" / "one.wav"]
    assert not corpus.has("validation", str(folder))


@pytest.mark.parametrize(
    ("ending", "kind"), [("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("ogg", "VORBIS")]
)
def test_any_kind_of_file_channels_and_rate(
    ending: str, kind: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = np.arange(8000) / 16_000
    stereo = np.stack((0.8 * np.sin(2 * np.pi * 300 * times), np.zeros(8000)), axis=1)
    soundfile.write(folder / f"two.{ending}", stereo, 16_000, subtype=kind)
    with caplog.at_level(logging.WARNING):
        one, two, again = rows(folder, f"path\ttext\nclips/one.wav\ta\ntwo.{ending}\ta\ntwo.{ending}\tb\n")
    assert np.array_equal(two, again)
    loud = one[2:-2].max(1, keepdims=True) - 6  # what carries the tone, away from the ends
    assert np.abs(np.maximum(one[2:-2], loud) - np.maximum(two[2:-2], loud)).max() < 0.15
    assert len([record for record in caplog.records if "16000" in record.message and "8000" in record.message]) == 1


def test_clipped_and_silent_recordings_are_told_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(folder / "loud.wav", np.clip(4 * SOUND, -1, 1), 8000)
    soundfile.write(folder / "full.wav", SOUND / np.abs(SOUND).max(), 8000)
    soundfile.write(folder / "none.wav", 0 * SOUND, 8000)
    with caplog.at_level(logging.WARNING):
        rows(folder, "path\ttext\nclips/one.wav\ta\nfull.wav\ta\nloud.wav\ta\nnone.wav\ta\nloud.wav\tb\n")
    clipped, silent = (record.getMessage() for record in caplog.records)
    assert "2 recordings are clipped" in clipped
    assert "line 4" in clipped
    assert "1 recordings are silent" in silent
    assert "none.wav" in silent


def test_parts_of_a_file(folder: Path) -> None:
    whole, part = rows(folder, "path\tstart\tend\ttext\nclips/one.wav\t\t\ta\nclips/one.wav\t0.1\t0.3\ta\n")
    assert np.array_equal(part, whole[10:28])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path\ttext\nmissing.wav\ta\n", r"train\.tsv:2: .*missing\.wav is missing"),
        ("path\ttext\n../clips/one.wav\ta\n", r"train\.tsv:2: .*no path inside"),
        ("path\ttext\nclips/../../x.wav\ta\n", r"train\.tsv:2: .*no path inside"),
        ("path\ttext\n/etc/passwd\ta\n", r"train\.tsv:2: .*no path inside"),
        ("path\ttext\nclips/one.wav\ta\nclips/one.wav\t \n", r"train\.tsv:3: the text is empty"),
        ("path\ttext\nclips/one.wav\ta\tb\n", r"train\.tsv:2: 3 columns.* 2"),
        ("file\ttext\nclips/one.wav\ta\n", r"train\.tsv:1: .*'path'"),
        ("path\ttext\tstart\tend\nclips/one.wav\ta\t0.2\t0.1\n", r"train\.tsv:2: .*0\.200 to 0\.100"),
        ("path\ttext\tstart\tend\nclips/one.wav\ta\t0\t9\n", r"train\.tsv:2: .*0\.500 seconds.* 9\.000"),
        ("path\ttext\tstart\tend\nclips/one.wav\ta\tnan\t9\n", r"train\.tsv:2: 'nan' is no time"),
        ("path\ttext\nbad.wav\ta\n", r"train\.tsv:2: .*bad\.wav is no sound"),
        ("path\ttext\ncut.wav\ta\n", r"train\.tsv:2: .*cut\.wav is no sound"),
        ("path\ttext\nnone.wav\ta\n", r"train\.tsv:2: .*none\.wav has 0\.000 seconds"),
        ("path\ttext\nnan.wav\ta\n", r"train\.tsv:2: .*nan\.wav holds .*not finite"),
    ],
)
def test_what_is_wrong_is_named(table: str, message: str, folder: Path) -> None:
    (folder / "bad.wav").write_text("no sound at all")
    (folder / "cut.wav").write_bytes((folder / "clips" / "one.wav").read_bytes()[:30])
    soundfile.write(folder / "none.wav", SOUND[:0], 8000)
    soundfile.write(folder / "nan.wav", np.where(np.arange(4000) == 7, np.nan, SOUND), 8000, subtype="FLOAT")
    with pytest.raises(InputError, match=message):
        rows(folder, table)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"data\.corpus\.bands"):
        Recordings(bands=0)
    with pytest.raises(InputError, match=r"data\.corpus\.rate"):
        Recordings(rate=10)
    with pytest.raises(InputError, match=r"data\.corpus\.coefficients"):
        Recordings(bands=20, coefficients=21)
    with pytest.raises(InputError, match=r"data\.corpus\.deltas"):
        Recordings(deltas=3)
    with pytest.raises(InputError, match=r"data\.corpus\.deltas is 1"):
        frames_of(Recordings(deltas=1))
