"""Checkpoints of every released version still predict the same text, and their runs still go on.

They are made right before a release by `python -m tests.runs.old_checkpoint`.
"""

import json
import shutil
from pathlib import Path

import pytest

import seq2seq
from seq2seq import train
from seq2seq.inference.predict_texts import translate
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from tests.runs.old_checkpoint import ASKED, FOLDER, STOPPED, WHOLE, arguments

VERSIONS = sorted(folder.name for folder in FOLDER.iterdir()) if FOLDER.is_dir() else []


def test_this_version_has_a_checkpoint() -> None:
    assert seq2seq.__version__ in VERSIONS, "make one with python -m tests.runs.old_checkpoint"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_checkpoint_predicts_the_same(version: str) -> None:
    expected = json.loads((FOLDER / version / "expected.json").read_text())
    assert translate(checkpoint.load(FOLDER / version), ASKED) == expected["predictions"]
    assert any(expected["predictions"])


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_run_goes_on(version: str, tmp_path: Path) -> None:
    run, corpus = RunDirectory(tmp_path / "run"), FOLDER / version / "corpus"
    shutil.copytree(FOLDER / version, run.path)
    assert checkpoint.read(run.last)["global_step"] == STOPPED
    train.main(["--config", str(run.config), *arguments(run.path, corpus, WHOLE), "--resume", "true"])
    results = json.loads(run.results.read_text())
    assert results["resumed"] == [STOPPED]
    losses = [loss for *_, loss in results["curves"]["train_loss"]]
    expected = json.loads((FOLDER / version / "expected.json").read_text())["losses"]
    assert losses == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_kept_is_small_and_of_no_machine(version: str) -> None:
    files = [file for file in (FOLDER / version).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 200_000
    for file in files:
        assert b"/tmp/" not in file.read_bytes(), file.name
        assert b"/root/" not in file.read_bytes(), file.name
