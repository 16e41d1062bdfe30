"""The benchmarks that have no test of their own start and measure, in miniature."""

import json
from pathlib import Path

import pytest

from tests.support import ROOT, python


@pytest.mark.slow
def test_latency_of_one_sentence(tmp_path: Path) -> None:
    size = ["--pieces", "300", "--hidden", "16", "--tokens", "5", "--sentences", "3", "--rounds", "2"]
    done = python(ROOT / "benchmarks" / "latency.py", *size, "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["equal"] == {"numpy": 3, "seq2seq": 3}
    assert found["ratio"]["numpy"] == 1
    assert found["ratio"]["seq2seq"] > 0
