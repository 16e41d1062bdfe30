"""The console command, and the configurations that come with the package."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import seq2seq
from seq2seq import configs, train
from seq2seq.cli import commands
from seq2seq.errors import InputError
from seq2seq.runs import config_file
from tests.support import ROOT, python, surroundings


def test_every_command_is_found_by_what_its_file_says() -> None:
    known = commands.found()
    assert {"train", "evaluate", "predict", "lint", "report", "launch", "check_device", "configs"} <= set(known)
    assert all(known.values())
    begun = re.compile(r"if __name__ == .__main__.:")
    runnable = {path.stem for path in (ROOT / "seq2seq").glob("*.py") if begun.search(path.read_text())}
    runnable |= {path.parent.name for path in (ROOT / "seq2seq").glob("*/__main__.py")}
    assert runnable - {"__main__"} == set(known), 'a command begins with """python -m seq2seq.NAME ...: what it does'


def test_help_and_version_import_no_torch() -> None:
    for option, wanted in (("--help", "check_device"), ("--version", f"seq2seq {seq2seq.__version__}\n")):
        done = python("-X", "importtime", "-m", "seq2seq", option)
        assert wanted in done.stdout
        assert not re.search(r"\| +(torch|numpy|jsonargparse|yaml)$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize(("given", "wanted"), [("trian", "did you mean train?"), ("configs nonsense", "nonsense")])
def test_a_wrong_command_is_one_line(given: str, wanted: str) -> None:
    done = python("-m", "seq2seq", *given.split())
    assert done.returncode == 2
    assert wanted in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_every_configuration_comes_with_the_package() -> None:
    files = {path.relative_to(ROOT / "configs").with_suffix("").as_posix() for path in ROOT.glob("configs/**/*.yaml")}
    assert set(config_file.shipped()) == files
    assert config_file.find("papers/cho2014").read_text() == (ROOT / "configs/papers/cho2014.yaml").read_text()


def test_a_file_of_ones_own_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "translation_cldr").mkdir()
    assert config_file.find("translation_cldr") == config_file.SHIPPED / "translation_cldr.yaml", "a folder is no file"
    (tmp_path / "tagging_cldr").write_text("task: Tagging\n")
    assert config_file.find("tagging_cldr") == Path("tagging_cldr")


def test_a_configuration_is_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    configs.main([])
    assert re.search(r"^tagging_cldr +Which field", capsys.readouterr().out, re.MULTILINE)
    configs.main(["papers/cho2014"])
    assert Path("cho2014.yaml").read_text() == (ROOT / "configs/papers/cho2014.yaml").read_text()
    Path("cho2014.yaml").write_text("mine")
    with pytest.raises(InputError, match="--overwrite true"):
        configs.main(["papers/cho2014"])
    assert Path("cho2014.yaml").read_text() == "mine"
    with pytest.raises(InputError, match="--output"):
        configs.main(["--output", "x.yaml"])


def test_a_configuration_by_name_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        train.main(["--config", "tagging_cldr", "--print_config"])
    assert "task: Tagging" in capsys.readouterr().out
    with pytest.raises(InputError, match="did you mean --config tagging_cldr"):
        train.main(["--config", "configs/tagging_cldr.yaml"])


def test_nobody_is_sent_to_another_distribution() -> None:
    """`seq2seq` on the package index is somebody else's; a missing package is named itself, which helps everywhere."""
    project = (ROOT / "pyproject.toml").read_text()
    assert 'name = "recurrent-seq2seq"' in project
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("scripts/*"), *ROOT.glob("seq2seq/**/*.py")]
    for file in [*files, ROOT / "pyproject.toml"]:
        text = file.read_text() if file.is_file() else ""
        assert not re.search(r"(?<![\w-])seq2seq\[", text), f"{file}: the extras are those of recurrent-seq2seq"
        assert not re.search(r"pip install [^\n`]*(?<![\w/-])seq2seq\b", text), file
    for file in ROOT.glob("seq2seq/**/*.py"):
        for name in re.findall(r"pip install '?([a-z][\w-]*)", file.read_text()):
            assert f'"{name}' in project, f"{file}: {name} is in no extra"


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    """Built, and installed into an environment of its own that sees the other packages of this one."""
    made, folder, tree = tmp_path / "environment", tmp_path / "elsewhere", tmp_path / "tree"
    folder.mkdir()
    tracked = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard", "pyproject.toml", "README.md", "LICENSE", "configs", "seq2seq", "runtime"],
                                      cwd=ROOT, text=True)  # fmt: skip
    for name in tracked.strip("\0").split("\0"):  # copied, for setuptools writes into what it builds
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name, follow_symlinks=False)
    outside = {name: value for name, value in surroundings().items() if name != "PYTHONPATH"}

    def call(*arguments: str | Path, **more: Any) -> str:
        done = subprocess.run(
            [*map(str, arguments)], cwd=folder, env=outside, capture_output=True, text=True, timeout=600, **more
        )
        assert done.returncode == 0, f"{arguments}\n{done.stderr[-2000:]}"
        return done.stdout

    pip = [sys.executable, "-m", "pip", "-q"]
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, tree)
    call(sys.executable, "-m", "venv", "--without-pip", made)
    [wheel], [site] = tmp_path.glob("recurrent_seq2seq-*.whl"), made.glob("lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("-packages")]
    (site / "others.pth").write_text("".join(f"{path}\n" for path in others))  # their own .pth files are not read
    call(*pip, "--python", made / "bin/python", "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    for package in ("seq2seq", "seq2seq_runtime"):
        where = call(made / "bin/python", "-c", f"import {package}; print({package}.__file__)")
        assert Path(where.strip()).is_relative_to(site)

    command = made / "bin/seq2seq"
    assert call(command, "--version") == f"seq2seq {seq2seq.__version__}\n"
    assert "papers/cho2014" in call(command, "configs")
    quick = ["--trainer.max_steps", "4", "--model.hidden_size", "16", "--data.corpus.train", "300"]
    few = ["--data.corpus.validation", "8", "--data.corpus.test", "8"]
    assert "BLEU" in call(command, "train", "--config", "translation_cldr", "--run", "runs/demo", *quick, *few)
    assert len(call(command, "predict", "runs/demo", input="Monday\n\n").splitlines()) == 2
    (folder / "runs/demo/report.html").unlink()
    call(command, "report", "runs/demo")
    assert "Monday" in (folder / "runs/demo/report.html").read_text()
