"""One training: what it may leave out, and whom it tells of its validations."""

import time
from pathlib import Path

import pytest

from seq2seq.experiments.one_run import begin_or_resume
from seq2seq.training.signals import Requests
from tests.support import REVERSAL, results_of

CONFIG = REVERSAL


def test_the_test_split_can_be_left_alone(config: Path, tmp_path: Path) -> None:
    """The validation split is scored in its place, with intervals and the task's own search."""
    told: list[tuple[int, float]] = []
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), "--score", "validation"]
    outcome = begin_or_resume(arguments, time.monotonic(), Requests(), lambda *seen: told.append(seen))
    assert outcome is not None
    results = results_of(outcome.run)
    assert list(results["splits"]) == [outcome.split] == ["validation"]
    assert results["data"]["rows"] == {"validation": 20, "train": 200}
    assert not any(name.startswith("test") for name in results["data"]["fingerprints"])
    score = results["splits"]["validation"]["metrics"]["chrf"]
    assert score["low"] < score["value"] < score["high"]
    assert {file.name.partition(".")[0] for file in outcome.run.predictions.iterdir()} == {"validation"}
    assert outcome.run.report.is_file()
    curve = results["curves"]["validation_chrf"]
    assert told == [(step, pytest.approx(value)) for step, _, value in curve if step % 5 == 0]
