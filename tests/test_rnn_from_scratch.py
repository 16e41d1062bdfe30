"""docs/rnn_from_scratch.md: its Python runs in order in one session and prints what the page shows; so do its commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support import ROOT

PAGE = (ROOT / "docs" / "rnn_from_scratch.md").read_text(encoding="utf-8")


def fences(*languages: str) -> list[tuple[str, str]]:
    """Language and content of the page's blocks in some languages, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [(language, content) for language, content in found if language in languages]


def test_the_page_runs_and_prints_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = fences("py", "python", "text")
    names: dict[str, object] = {"__name__": "page"}
    for place, (language, content) in enumerate(blocks):
        if language != "text":
            exec(compile(content, f"block {place} of the page", "exec"), names)
            follows = blocks[place + 1] if place + 1 < len(blocks) else ("", "")
            assert capsys.readouterr().out == (follows[1] if follows[0] == "text" else "")
    assert [language for language, _ in blocks].count("text") == 2
    training, unseen = names["training"], names["unseen"]
    assert isinstance(training, torch.Tensor)
    assert isinstance(unseen, torch.Tensor)
    assert len({tuple(row) for row in training.tolist() + unseen.tolist()}) == len(training) + len(unseen) == 10_000


def test_no_block_is_of_a_kind_that_nothing_runs() -> None:
    """Formulas have no language; the YAML is also parsed by tests/test_docs.py."""
    kinds = [language for language, _ in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)]
    assert set(kinds) == {"", "py", "text", "yaml", "sh"}


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    """In a folder where nothing is but the configuration that the page says to write there."""
    ((_, configuration),) = fences("yaml")
    (tmp_path / "reversal.yaml").write_text(configuration, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    for _, commands in fences("sh", "bash"):
        for line in commands.splitlines():
            quick = " --trainer.max_steps 4 --data.corpus.test 20" if "seq2seq.train" in line else ""
            done = subprocess.run(  # by a shell, as a reader would: one line is a pipe
                line + quick, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{line}\n{done.stderr[-1500:]}"
