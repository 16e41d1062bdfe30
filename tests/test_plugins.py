"""Plug-ins: found by their entry points, named where they are missing, harmless where they are broken."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq import plugins, train
from seq2seq.configurable import build, imported
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.errors import InputError
from seq2seq.models.cells import Cell
from seq2seq.runs import checkpoint
from seq2seq.tasks.translation import Translation
from tests.support import small

MODULE = """
from seq2seq.models.cells import GRU
class Pluggable(GRU):
    "A cell from elsewhere."
"""
NAME = "pluggable_cell"


def install(folder: Path, name: str, module: str, code: str) -> None:
    """What pip leaves of a distribution with one module."""
    (folder / f"{module}.py").write_text(code)
    about = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(f"[seq2seq.plugins]\n{module} = {module}\n")
    (about / "RECORD").write_text(f"{module}.py,,\n{about.name}/METADATA,,\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where distributions are installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    plugins.load.cache_clear()
    plugins.distribution_of.cache_clear()
    yield tmp_path
    plugins.load.cache_clear()
    plugins.distribution_of.cache_clear()


def written(cell: Cell, tokenizers: Tokenizers) -> dict[str, Any]:
    """What the checkpoint of a task with this cell holds."""
    task = small(Translation, tokenizers, cell=cell)
    parameters = {f"task.{name}": value for name, value in task.state_dict().items()}
    return {"state_dict": parameters, "seq2seq": checkpoint.packed(task, DataModule())}


def test_a_plugin_is_found_and_missed_by_name(
    site: Path, tokenizers: Tokenizers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "pluggable-cell", NAME, MODULE)
    with pytest.raises(SystemExit):
        train.main(["--help", "model.cell"])
    assert "Pluggable  " in capsys.readouterr().out
    cell = build(Cell, {"class_path": f"{NAME}.Pluggable", "init_args": {}})
    content = written(cell, tokenizers)
    assert type(checkpoint.restore(content, site).cell) is type(cell)  # type: ignore[arg-type]

    monkeypatch.setattr(type(cell), "__module__", "elsewhere")  # as where the plug-in is not installed
    with pytest.raises(InputError, match=r"pluggable_cell\.Pluggable.*pluggable-cell 1\.2, of which 1\.2 is installed"):
        checkpoint.restore(content, site)
    (site / "pluggable_cell-1.2.dist-info" / "METADATA").unlink()
    (site / "pluggable_cell-1.2.dist-info").rename(site / "gone")
    with pytest.raises(InputError, match=r"pluggable-cell 1\.2, which is not installed") as raised:
        checkpoint.restore(content, site)
    assert "\n" not in str(raised.value)


def test_own_classes_have_no_distribution(tokenizers: Tokenizers) -> None:
    content = written(build(Cell, {"class_path": "LSTM", "init_args": {}}), tokenizers)
    assert checkpoint.stored(content, "distributions") is None


def test_a_name_in_a_checkpoint_is_checked(site: Path, tokenizers: Tokenizers) -> None:
    content = written(build(Cell, {"class_path": "LSTM", "init_args": {}}), tokenizers)
    own = content["seq2seq"]
    own["task"] = own["task"].replace('"LSTM"', '"evil.Cell"')
    own["run"] = '{"distributions": {"evil": "--index-url=http://evil x\\n"}}'
    with pytest.raises(InputError, match=r"evil\.Cell.*--import MODULE") as raised:
        checkpoint.restore(content, site)
    assert "index-url" not in str(raised.value)


@pytest.mark.parametrize(
    "code", ["import nothing_of_that_name", "raise ValueError('two\\nlines')", "import sys\nsys.exit(3)", "def ("]
)
def test_a_broken_plugin_is_one_line(site: Path, code: str, caplog: pytest.LogCaptureFixture) -> None:
    module = f"broken_{abs(hash(code))}"
    install(site, "broken-plugin", module, code)
    with caplog.at_level(logging.WARNING), pytest.raises(SystemExit):
        train.main(["--help"])
    [line] = [record.getMessage() for record in caplog.records]
    assert "broken-plugin" in line
    assert "\n" not in line


def test_what_lies_in_the_working_folder_is_not_installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "lying-around", "lying_around", "raise SystemExit('imported')")
    monkeypatch.chdir(site)
    plugins.load()
    assert imported(Cell, "lying_around.Cell") is None
    assert "lying-around" not in {one.metadata["Name"] for one in plugins.installed()}
    assert plugins.distribution_of("lying_around") is None
