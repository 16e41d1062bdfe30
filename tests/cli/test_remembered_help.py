"""Help that is known is shown without torch, and only while it is still true."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from seq2seq.cli import command, remembered_help
from seq2seq.cli.help import HelpShown
from tests.support import ROOT, python


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path))
    monkeypatch.setattr(remembered_help, "has_plugins", lambda: False)
    return tmp_path / "help"


def shown(arguments: list[str]) -> None:
    """As a command shows its help."""
    with pytest.raises(HelpShown):
        command.parse(command.parser_for("bench", "Measures."), arguments)


def test_help_is_known_the_second_time(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remembered_help.answer("bench", ["--help"])
    shown(["--help"])
    first = capsys.readouterr().out
    assert "Measures." in first
    with pytest.raises(SystemExit):
        remembered_help.answer("bench", ["-h"])
    assert capsys.readouterr().out == first
    for others in (["--help", "debug"], ["--config", "x", "--help"], ["--help", "a", "b"], []):
        remembered_help.answer("bench", others)
    remembered_help.answer("train", ["--help"])
    assert capsys.readouterr().out == ""


def test_help_is_forgotten_when_a_file_changes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown(["--help"])
    key = remembered_help.key()
    monkeypatch.setattr(remembered_help, "key", lambda: [*key, ["new.py", 1, 2]])
    remembered_help.answer("bench", ["--help"])
    monkeypatch.setattr(remembered_help, "key", lambda: key)
    monkeypatch.setattr(remembered_help, "has_plugins", lambda: True)
    remembered_help.answer("bench", ["--help"])


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 99_999, json.dumps({"key": 3}), '{"key": 1, "text": 2}'])
def test_damaged_memory_is_no_help(text: str, cache: Path) -> None:
    shown(["--help"])
    [file] = cache.iterdir()
    file.write_text(text)
    remembered_help.answer("bench", ["--help"])


def test_a_home_that_cannot_be_written_is_no_error(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    shown(["--help"])


@pytest.mark.slow
def test_help_does_not_import_torch(cache: Path) -> None:
    texts = [python("-m", "seq2seq.train", "--help", check=True).stdout for _ in range(2)]
    assert texts[0] == texts[1] == python("-m", "seq2seq", "train", "--help", check=True).stdout
    again = [sys.executable, "-X", "importtime", "-m", "seq2seq.train", "--help"]
    done = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == texts[0]
    assert " torch" not in done.stderr
    assert " jsonargparse" not in done.stderr
