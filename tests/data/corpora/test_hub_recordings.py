"""Columns of sound of data sets that are saved to disk: the same frames as of the files, without torchcodec."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq.data.corpora.hub_recordings import HubRecordings
from seq2seq.data.corpora.recordings import Recordings
from seq2seq.data.rows import in_memory
from seq2seq.data.sound import wav
from seq2seq.errors import InputError

datasets = pytest.importorskip("datasets")
pytest.importorskip("soundfile")

SOUNDS = [wav(0.3 * np.sin(np.arange(1600 * (place + 1)) / 3), 8000) for place in range(2)]


def with_sound(columns: dict[str, Any], folder: Path, **features: Any) -> Path:
    """A data set saved to disk whose first column is Audio, which `datasets` cannot encode without torchcodec."""
    kinds = {"audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}, **features}
    plain = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    datasets.DatasetDict({"train": plain.cast_column("audio", datasets.Audio())}).save_to_disk(str(folder))
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A data set of two recordings with a class each."""
    columns = {"audio": [{"bytes": one, "path": "x.wav"} for one in SOUNDS], "label": [1, 0], "who": ["s1", "s2"]}
    labels = datasets.ClassLabel(names=["yes", "no"])
    return with_sound(columns, tmp_path / "set", label=labels, who=datasets.Value("string"))


def test_rows_are_frames_and_names_of_classes(saved: Path, tmp_path: Path) -> None:
    corpus = HubRecordings(str(saved), target="label", speaker="who", rate=8000, bands=8)
    found = list(corpus.rows("train", None))
    for place, row in enumerate(found):
        (tmp_path / "one.wav").write_bytes(SOUNDS[place])
        assert row.source == Recordings(rate=8000, bands=8).line(tmp_path / "one.wav")
    assert [(row.target, row.speaker, row.line) for row in found] == [("no", "s1", 1), ("yes", "s2", 2)]
    [(row, samples)] = corpus.recorded("train", in_memory(found)._replace(locations=[1, 2], files=[found[0].file]), [1])
    assert (row, len(samples)) == (1, 3200)
    streamed = list(corpus.stream("train", None, None))
    assert [one["target"] for one in streamed] == ["no", "yes"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "label", "target": "who"}, r"'label' .*ClassLabel.*data\.corpus\.source"),
        ({"target": "said"}, r"no column 'said'"),
    ],
)
def test_what_is_wrong_is_named(settings: dict[str, str], message: str, saved: Path) -> None:
    with pytest.raises(InputError, match=message):
        list(HubRecordings(str(saved), rate=8000, **settings).rows("train", None))


def test_a_damaged_sound_is_named_by_its_row(tmp_path: Path) -> None:
    columns = {"audio": [{"bytes": b"no sound", "path": None}], "text": ["a"]}
    path = with_sound(columns, tmp_path / "set", text=datasets.Value("string"))
    with pytest.raises(InputError, match=r"train:1: .*no sound"):
        list(HubRecordings(str(path)).rows("train", None))
