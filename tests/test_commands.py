"""The commands' manners: legal names for a wrong one, exit code 2, no traceback, quick help."""

import errno
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from seq2seq import train
from seq2seq.cli import command
from seq2seq.data.datamodule import DataModule
from seq2seq.errors import InputError
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.transcription import Transcription
from seq2seq.tasks.translation import Translation
from tests.support import ROOT, python

TASKS = [Translation, Tagging, Classification, Generation, Forecasting, Transcription]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def config_with(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return ["--config", str(path), "--run", str(tmp_path / "run")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {cel: GRU}", r"model\.cel.*did you mean model\.cell"),
        ("model: {hidden_size: many}", r"model\.hidden_size: many is not a whole number"),
        ("model: {cell: LSTN}", r"LSTN.*(RNN|GRU|LSTM)"),
        ("model: {cell: LSTN}", r"legal: (?!.*\b(Fused|MinCell)\b)"),
        ("model: {cell: {class_path: LSTM, init_args: {bias: 1}}}", "bias.*forget_bias"),
        ("patience: yesterday", "patience: yesterday is not a whole number or null"),
        ("model: {metrics: Blue}", r"model\.metrics: Blue is not a list; write \[Blue\]"),
        ("task: Classification\nmodel: {attention: Dot}", r"model\.attention is a setting of .*Translation"),
        ("modle: {cell: GRU}", "modle.*did you mean model"),
        ("trainer: {max_epoch: 3}", r"trainer\.max_epoch.*did you mean trainer\.max_epochs"),
        ("data: {corpus: {class_path: Cldr, init_args: {source: en}}}", "source.*source_locale"),
        ("trainer: {precision: 17}", r"precision.*bf16-mixed"),
        ("task: Tanslation", "Tanslation.*Translation"),
        ("model: [1, 2", r"config\.yaml.*YAML"),
        ("hello", r"config\.yaml"),
        ("optimizer: {learning_rate: -1}", r"learning_rate .*-1\.0\b.* 0\b"),
        (
            "model: {hidden_size: 7}\ndata: {corpus: {class_path: Cldr, init_args: {train: 60, validation: 2, test: 2}}}",
            "odd",
        ),
        (
            "data: {batch_tokens: 9, corpus: {class_path: Cldr, init_args: {train: 60, validation: 2, test: 2}}}",
            "batch_tokens",
        ),
        ("data: {corpus: {class_path: Parallel, init_args: {source: en, target: de}}}", r"--data\.path"),
        (
            "data: {path: nowhere, corpus: {class_path: Parallel, init_args: {source: en, target: de}}}",
            "nowhere",
        ),
        ("trainer: {accelerator: gpux}", r"trainer\.accelerator: .*\bcuda\b.*\bgpux$"),
        ("trainer: {profiler: fancy}", r"trainer\.profiler: fancy .*\bsimple\b"),
        ("trainer: {devices: 0}", r"trainer\.devices .*\b0\b.*\bauto\b"),
        ("trainer: {devices: [0, -1]}", r"trainer\.devices .*-1\b"),
        ("trainer: {devices: two}", r"trainer\.devices .*\btwo\b"),
        ("trainer: {num_nodes: 0}", r"trainer\.num_nodes .*\b0\b.*\b1\b"),
        ("trainer: {max_steps: -5}", r"trainer\.max_steps .*-5\b"),
        ("trainer: {gradient_clip_val: -1}", r"trainer\.gradient_clip_val .*-1\b"),
        ("trainer: {val_check_interval: 1.5}", r"trainer\.val_check_interval .*1\.5\b"),
        ("trainer: {val_check_interval: 0}", r"trainer\.val_check_interval .*\b0\b"),
        ("trainer: {save_every: ten}", r"trainer\.save_every: ten .*a number or null$"),
        ("trainer: {max_epochs: 0}", r"trainer\.max_epochs .*\b0\b.*\b1\b"),
        ("trainer: {log_every_n_steps: 0}", r"trainer\.log_every_n_steps .*\b0\b"),
        (
            "optimizer: {algorithm: {class_path: AdamW, init_args: {beta1: 1.5}}}",
            r"algorithm\.beta1 .*1\.5\b.*\b0\b.*\b1\b",
        ),
        ("data: {workers: -1}", r"data\.workers .*-1\b"),
        ("decoding: {length_penalty: 500}", r"decoding\.length_penalty .*\b500\b"),
        (
            "model: {dropout: 2, hidden_size: 8}\ndata: {corpus: {class_path: Cldr, init_args: {train: 60, validation: 2, test: 2}}}",
            r"model\.dropout .*\b2\b",
        ),
        ("model: 3", "model"),
        ("seed: -1", r"seed .*-1\b"),
        ("data: {corpus: {class_path: Cldr, init_args: {source_locale: pa_Arab, train: 60}}}", "pa_Arab"),
    ],
)
def test_a_mistake_is_named_with_what_is_legal(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        train.main(config_with(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("strategy: ddpx", r"trainer\.strategy ddpx .*\bddp\b"),
        ("strategy: fsdp", r"trainer\.strategy fsdp .*\bddp\b"),
        ("devices: -1, accelerator: cpu", r"trainer\.devices -1\b"),
        ("devices: [0, 1], accelerator: cpu", r"trainer\.devices \[0, 1\]"),
    ],
)
def test_a_trainer_is_refused_before_the_data_are_read(
    setting: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DataModule, "texts", lambda data, split: pytest.fail("the data were read"))
    with pytest.raises(InputError, match=message):
        train.main(config_with(tmp_path, f"trainer: {{{setting}}}"))


@pytest.mark.parametrize("mark", ["#", "# ", "~"])
def test_marks_that_mean_something_in_yaml_are_texts_where_they_are_quoted(mark: str, tmp_path: Path) -> None:
    arguments = config_with(tmp_path, f'data: {{corpus: {{class_path: Conll, init_args: {{comments: "{mark}"}}}}}}')
    parser = command.training_parser(command.task_class(arguments))
    settings = command.plain_settings(parser, command.parse(parser, arguments))
    assert settings["data"]["corpus"]["init_args"]["comments"] == mark


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.yaml"):
        train.main(["--config", str(tmp_path / "absent.yaml")])
    with pytest.raises(InputError, match="--config"):
        train.main([])


@pytest.mark.parametrize(
    ("problem", "named"),
    [
        (MemoryError(), "ulimit -v"),
        (OSError(errno.ENOMEM, "Cannot allocate memory", "run"), "ulimit -v"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "ulimit -v"),
        (OSError(errno.ENOSPC, "No space left on device", "run/metrics.csv"), "run/metrics.csv"),
        (FileExistsError(errno.EEXIST, "File exists", "run/checkpoints"), "run/checkpoints"),
    ],
)
def test_a_machine_at_its_end_is_one_line(problem: Exception, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    def failing(arguments: Sequence[str]) -> None:
        raise problem

    with pytest.raises(SystemExit) as stopped:
        command.run(failing, [])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    with pytest.raises(type(problem)):
        command.run(failing, ["--debug", "true"])


@pytest.mark.parametrize("debug", [False, True])
def test_exit_code_and_traceback(tmp_path: Path, debug: bool) -> None:
    arguments = [*config_with(tmp_path, "model: {cel: GRU}"), *(["--debug", "true"] if debug else [])]
    done = python("-m", "seq2seq.train", *arguments)
    assert done.returncode == (1 if debug else 2)
    assert ("Traceback" in done.stderr) is debug
    assert "did you mean model.cell" in done.stderr
    if not debug:
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["train", "evaluate", "predict"])
def test_help_is_quick_and_needs_no_lightning(name: str) -> None:
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['seq2seq.{name}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('seq2seq.{name}', run_name='__main__')\n"
        "finally:\n"
        "    assert not {'pytorch_lightning', 'datasets', 'sacrebleu', 'matplotlib'} & set(sys.modules)\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m seq2seq" in done.stdout


@pytest.mark.slow
def test_help_takes_at_most_twice_as_long_as_importing_torch() -> None:
    def seconds(*arguments: str) -> float:
        started = time.monotonic()
        python(*arguments, check=True)
        return time.monotonic() - started

    rounds = [(seconds("-m", "seq2seq.train", "--help"), seconds("-c", "import torch")) for _ in range(5)]
    ratios = sorted(ours / torch for ours, torch in rounds)
    assert ratios[2] < 2, f"ratios {ratios}"


def test_a_directory_in_use(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path)
    first.claim(overwrite=False, resume=False)
    code = (
        "import sys; from pathlib import Path; from seq2seq.runs.run_directory import RunDirectory\n"
        "RunDirectory(Path(sys.argv[1])).claim(overwrite=True, resume=False)"
    )
    done = python("-c", code, tmp_path)
    assert str(tmp_path) in done.stderr
    assert done.returncode == 1
    first.release()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["thesis.tex", "config.yaml", "predictions"])
def test_other_peoples_directories_are_left_alone(tmp_path: Path, name: str, overwrite: bool) -> None:
    (tmp_path / name).write_text("years of work")
    run = RunDirectory(tmp_path)
    for _ in range(2):  # a refusal leaves no mark that would let the next attempt pass
        with pytest.raises(InputError, match=f"{tmp_path} .*'{name}'.*--run"):
            run.claim(overwrite, resume=False)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "years of work"


def test_a_start_that_failed_early_can_be_repeated(tmp_path: Path) -> None:
    for _ in range(2):
        run = RunDirectory(tmp_path / "run")
        run.claim(overwrite=False, resume=False)
        assert not (run.path / ".ready").exists(), "no other process may take an old mark for this launch's"
        run.announce("one launch", ready=True)  # and then it failed, before its first checkpoint
        run.release()


def test_clearing_removes_what_a_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.claim(overwrite=False, resume=False)
    run.release()
    run.best.parent.mkdir()
    run.best.write_bytes(b"old")
    run.results.write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    run.claim(overwrite=True, resume=False)
    assert run.best.exists(), "claiming removes nothing: the new run may be refused yet"
    run.clear()
    assert not run.best.exists()
    assert not run.results.exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match=r"--overwrite.*--resume"):
        run.claim(overwrite=True, resume=True)
    run.release()
    with pytest.raises(InputError, match=r"checkpoints/last\.ckpt.*--resume"):
        RunDirectory(tmp_path).claim(overwrite=False, resume=True)


def test_a_refused_run_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        train.main(["--config", str(ROOT / "configs" / "translation_text.yaml"), "--data.path", "nowhere",
                    "--run", str(tmp_path / "run")])  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["evaluate", "predict"])
def test_the_run_comes_first(name: str) -> None:
    done = python("-m", f"seq2seq.{name}", "--device", "cpu", "x")
    assert done.returncode == 2
    assert f"the run comes first: python -m seq2seq.{name} RUN --device cpu" in done.stderr


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_parse_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert len(text.splitlines()) <= 40
    arguments = ["--config", str(path)]
    parser = command.training_parser(command.task_class(arguments))
    resolved = command.plain_settings(parser, command.parse(parser, arguments))
    for group, values in yaml.safe_load(text).items():  # every line of a shipped file must change something
        assert resolved[group] is not None
        assert values


@pytest.mark.parametrize("kind", TASKS, ids=lambda kind: kind.__name__)
def test_help_text_is_there_for_every_setting(kind: type[Task]) -> None:
    parser = command.training_parser(kind)
    silent = [a.dest for a in parser._actions if not a.help and not a.dest.endswith(".help")]
    assert [name for name in silent if "." in name] == []
