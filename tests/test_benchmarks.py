"""The benchmarks that have no test of their own start and measure, in miniature."""

import json
from pathlib import Path

import pytest

from tests.support import REVERSAL, ROOT, python


@pytest.mark.slow
def test_serving(tmp_path: Path) -> None:
    """Every answer is right, none is lost, the rest is turned away, and SIGTERM ends it."""
    pytest.importorskip("uvicorn")
    config = tmp_path / "tiny.yaml"
    config.write_text(REVERSAL)
    run = tmp_path / "run"
    done = python("-m", "seq2seq.train", "--config", config, "--run", run)
    assert done.returncode == 0, done.stderr
    size = ["--seconds", "1", "--clients", "6", "--soak", "2", "--limits.queue", "8"]
    done = python(ROOT / "benchmarks" / "serving.py", run, *size, "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["wrong"], found["lost"], found["exit"]) == (0, 0, 0)
    assert set(found["flood"]) == {"200", "503"}
    assert found["memory"][2] < found["memory"][0] + 100


@pytest.mark.slow
def test_latency_of_one_sentence(tmp_path: Path) -> None:
    size = ["--pieces", "300", "--hidden", "16", "--tokens", "5", "--sentences", "3", "--rounds", "2"]
    done = python(ROOT / "benchmarks" / "latency.py", *size, "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["equal"] == {"numpy": 3, "seq2seq": 3}
    assert found["ratio"]["numpy"] == 1
    assert found["ratio"]["seq2seq"] > 0


@pytest.mark.slow
def test_mixed_lengths_cost_what_their_tokens_cost(tmp_path: Path) -> None:
    """No cost that grows faster than the length: the guard of `models/stretches.py`."""
    done = python(ROOT / "benchmarks" / "mixed.py", "--rounds", "3", "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert {one["cell"] for one in found} == {"LSTM", "GRU"}
    longest = [one for one in found if one["shape"][1] == 1000]
    assert all(one["over_dense"] < 1.3 for one in longest), longest
    assert all(one["packed"] > 3 * one["mixed"] for one in longest), longest
