"""Every command and every piece of Python in the README and docs/ runs, on a small corpus where it trains."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from seq2seq import sweep
from seq2seq.cli import command
from seq2seq.data.datamodule import DataModule
from tests.support import ROOT, python, surroundings

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MORE = [ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
COVERED = ("scripts/", "pip install ", "cd ", "source ", "sbatch ", "srun ", "torchrun ")
"""Commands that are not run here: the scripts and pip are how these tests are started, some are the shell's own, and the last
three need a cluster. tests/cluster/test_machines.py does what they do, and what they pass on is parsed below."""

QUICK = ["--trainer.max_steps", "4", "--model.hidden_size", "16", "--model.embedding_size", "8"]
SMALL_CLDR = ["--data.corpus.train", "300", "--data.corpus.validation", "8", "--data.corpus.test", "8"]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(page: Path) -> list[str]:
    """The shell commands of a page, one for each line."""
    lines = [line.split("    #")[0].strip() for block in blocks(page, "bash") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(COVERED)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as a reader would have it: configs/, some text, and a demo run."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    (folder / "in.txt").write_text("Monday\n\nMay 5\n")
    (folder / "in.csv").write_text('text,note\n"Monday, May 5",first\nMay 6,second\n')
    for name in ("ref", "src", "a", "b"):
        (folder / f"{name}.txt").write_text("".join(f"{name if row % 3 else 'the'} cat {row}\n" for row in range(20)))
    (folder / "locales.txt").write_text("de\nfr\n")
    (folder / "dictionary.txt").write_text("Monday\tMontag\nMay\tMai\n")
    text = folder / "my_text"
    text.mkdir()
    pairs = [("the cat sat", "die Katze saß"), ("a dog runs", "ein Hund rennt"), ("birds sing", "Vögel singen")]
    for split, rows in (("train", range(60)), ("validation", range(60, 70)), ("test", range(70, 80))):
        for side, ending in enumerate(("en", "de")):
            (text / f"{split}.{ending}").write_text("".join(f"{row} {pairs[row % 3][side]}\n" for row in rows))
    (text / "train.txt").write_text("".join(f"May {row % 30 + 1} is a Monday.\n" for row in range(200)))
    shell(folder, "python -m seq2seq.train --config configs/translation_cldr.yaml --run runs/demo")
    return folder


def write_modules(page: Path, folder: Path) -> None:
    """The files that a page tells to write: Python begins with its name, YAML that is no training has it as a title."""
    for name, block in re.findall(r'```yaml title="(\S+)"\n(.*?)```', page.read_text(), re.DOTALL):
        (folder / name).write_text(block)
    for block in blocks(page, "python"):
        if name := re.match(r"# (\w+\.py)\n", block):
            (folder / name[1]).write_text(block)


def shell(folder: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a documented command, with this Python and a small training."""
    typed = re.match(r"(?:echo|printf) '(.*?)' \| (.*)", line)
    line = typed[2] if typed else line
    words = shlex.split(line.split(" < ")[0].split(" > ")[0])
    program = words[1:] if words[0] == "python" else ["-m", *words]
    trains = "seq2seq.train" in words or words[:2] == ["seq2seq", "train"]
    if trains and "--help" not in words and "--print_config" not in words:
        program += QUICK + (SMALL_CLDR if "_cldr" in line else [])
        program += [] if "--resume" in words else ["--overwrite", "true"]  # another page may have the same run
    if "seq2seq.sweep" in words:
        program += [*([] if "--" in words else ["--"]), *QUICK[:2], *SMALL_CLDR]
    if "seq2seq.bench" in words:
        program += ["--quick"]
    if "seq2seq.launch" in words and "--dry_run" not in words:
        program.insert(program.index("--"), "--dry_run")  # where there is a cluster, nothing is submitted
    if trains and "--resume" in words:  # as if the run had been stopped before its end
        (folder / words[words.index("--run") + 1] / "results.json").unlink(missing_ok=True)
    reads = re.search(r" < (\S+)", line)
    paths = os.pathsep.join(map(str, (folder, ROOT, ROOT / "runtime")))
    if reads and reads[1].endswith(".wav"):
        with open(folder / reads[1], "rb") as sound:
            return python(*program, cwd=folder, stdin=sound, env=surroundings(PYTHONPATH=paths))
    text = (
        (folder / reads[1]).read_text()
        if reads
        else typed[1].replace(r"\t", "\t").replace(r"\n", "\n")
        if typed
        else ""
    )
    return python(*program, cwd=folder, input=text, env=surroundings(PYTHONPATH=paths))


def served(folder: Path, line: str) -> None:
    """A documented server starts, and ends when it is asked to."""
    command = [sys.executable, *shlex.split(line)[1:], "--port", "0"]
    environment = surroundings(PYTHONPATH=f"{folder}{os.pathsep}{ROOT}")
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:"), line
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_documented_commands_run(page: Path, place: Path) -> None:
    write_modules(page, place)
    for line in commands(page):
        if page.stem == "results":
            assert line.startswith("python -m seq2seq.")  # real data and hours: tests/test_real_data.py has it
            continue
        if "seq2seq.export" in line and find_spec("onnxruntime") is None:
            continue
        if "seq2seq.serve" in line:
            if find_spec("uvicorn") is not None:
                served(place, line)
            continue
        done = shell(place, line)
        if "--fail_" in line and done.returncode == 1:
            assert done.stderr.splitlines()[-1].startswith("failed: ")  # a gate, and four steps of training
            continue
        assert done.returncode == 0, f"{line}\n{done.stderr[-1500:]}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_documented_python_runs(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    write_modules(page, place)
    for line in commands(page):
        if "seq2seq.export" in line and blocks(page, "python"):
            shell(place, line)  # what it shows reads the file
    for block in blocks(page, "python"):
        names: dict[str, object] = {}
        exec(compile(block, page.name, "exec"), names)
        assert names


def test_nothing_is_left_to_fill_in() -> None:
    for path in [*PAGES, *(ROOT / "configs").rglob("*.yaml")]:
        assert not re.search(r"[A-Z]+_(BLEU|MINUTES|ROW|TABLE)", path.read_text()), path.name


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, *MORE]:
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", prose):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", [*PAGES, *MORE], ids=lambda page: page.stem)
def test_files_and_modules_that_a_page_names_exist(page: Path) -> None:
    folders = (ROOT, ROOT / "seq2seq", ROOT / "tests", page.parent)
    text = page.read_text()
    for name in re.findall(r"`((?:\w+/)*\w+\.(?:py|sh))`", text):
        assert f"# {name}" in text or any((folder / name).exists() for folder in folders), name
    for name in re.findall(
        r"\b(?:seq2seq|models|tasks|metrics|data|training|analysis|decoding)(?:\.\w+)+\.[A-Z]\w+", text
    ):
        module, _, attribute = name.rpartition(".")
        module = module if module.startswith("seq2seq") else f"seq2seq.{module}"
        assert hasattr(importlib.import_module(module), attribute), name


def test_documented_configurations_exist() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for name in re.findall(r"configs/[\w/]+\.yaml", text):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=lambda page: page.stem)
def test_documented_settings_are_legal(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_modules(page, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = [block for block in blocks(page, "yaml") if not block.startswith("apiVersion")]
    for number, block in enumerate(settings):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        parser = command.training_parser(command.task_class(["--config", str(file)]))
        parts = command.instantiate(parser, command.parse(parser, ["--config", str(file)]))
        assert isinstance(parts.data, DataModule)


def test_the_job_of_kubernetes_is_a_training() -> None:
    (block,) = (one for one in blocks(ROOT / "docs" / "cluster.md", "yaml") if one.startswith("apiVersion"))
    job = yaml.safe_load(block)
    worker = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    (container,) = worker["template"]["spec"]["containers"]
    assert container["name"] == "pytorch", "the operator looks for this name"
    assert job["spec"]["nprocPerNode"] == str(container["resources"]["limits"]["nvidia.com/gpu"])
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in worker["template"]["spec"]["volumes"]
    }
    started = [*container["command"], *container["args"]]
    assert legal_training(started)
    from torch.distributed.run import get_args_parser

    assert get_args_parser().parse_args(started[1:]).training_script == "seq2seq.train"


def test_what_a_cluster_would_start_is_legal() -> None:
    lines = [
        shlex.split(line)
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.splitlines()
        if line.startswith(("srun", "torchrun", "sbatch"))
    ]
    assert {words[0] for words in lines} == {"srun", "torchrun", "sbatch"}
    sweeps = [words for words in lines if "scripts/slurm/sweep.sbatch" in words]
    assert all(legal_training(words) for words in lines if words not in sweeps)
    assert all(command.parse(sweep.parser(), words[2:]).trials for words in sweeps)


def legal_training(words: list[str]) -> bool:
    """Whether the training that a command starts has legal options."""
    (start,) = (place for place, word in enumerate(words) if word in ("seq2seq.train", "scripts/slurm/train.sbatch"))
    arguments = [str(ROOT / word) if word.startswith("configs/") else word for word in words[start + 1 :]]
    parser = command.training_parser(command.task_class(arguments))
    return bool(command.parse(parser, arguments).run)
