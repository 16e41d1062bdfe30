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
