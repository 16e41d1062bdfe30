"""What curves are sent to: by one word, with the same id after a resumption, and never the end of a training."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from seq2seq import train
from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training import loggers
from seq2seq.training.loggers import Loggers
from tests.support import REVERSAL, surroundings, train_until

CONFIG = REVERSAL

OWN = """
from pytorch_lightning import Callback

class Counting(Callback):
    def __init__(self, every=1):
        self.every, self.steps = every, 0
    def on_train_batch_end(self, trainer, *arguments):
        self.steps += 1
    def state_dict(self):
        return {"steps": self.steps}
    def load_state_dict(self, state):
        self.steps = state["steps"]

class Strange(Callback):
    def state_dict(self):
        return {"path": __import__("pathlib").Path("x")}

class Nothing:
    pass
"""


class Recording:
    """A service that keeps what it is told."""

    told: list[Any] = []  # noqa: RUF012  # of all of them

    def __init__(self, run: RunDirectory, settings: Mapping[str, Any], known: str, step: int) -> None:
        self.id = known or "made-here"
        self.told.append(("start", known, step, settings["seed"]))

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self.told.append(("numbers", *values, step))

    def texts(self, rows: Sequence[Prediction], step: int) -> None:
        self.told.append(("texts", len(rows), step))

    def close(self) -> None:
        self.told.append(("close",))


class Failing(Recording):
    """A service whose network is gone."""

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self.told.append("failed")
        raise OSError("no\nroute to host")


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_callbacks_of_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_ids_and_callbacks_go_on_after_a_resumption_and_a_failure_is_one_line(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own_module: None,
) -> None:
    monkeypatch.setattr(Recording, "told", [])
    monkeypatch.setattr(Failing, "told", [])
    monkeypatch.setitem(loggers.KINDS, "wandb", Recording)
    monkeypatch.setitem(loggers.KINDS, "mlflow", Failing)
    entry = {"class_path": "own_callbacks_of_test.Counting", "init_args": {"every": 2}}
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), "--trainer.loggers", "[wandb, mlflow]"]
    arguments += ["--trainer.callbacks", json.dumps([entry])]
    train_until(8, arguments, monkeypatch)
    lines = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert len(lines) == 1
    assert "mlflow" in lines[0]
    assert "no route to host" in lines[0]
    assert Failing.told.count("failed") == 1
    assert Recording.told[-1] == ("close",)
    train.main([*arguments, "--resume", "true"])
    starts = [one for one in Recording.told if one[0] == "start"]
    assert starts == [("start", "", 0, 1), ("start", "made-here", 5, 1)], "the newest checkpoint is that of step 5"
    assert [one[2] for one in Recording.told if one[0] == "texts"] == [5, 10, 12]
    steps = [one[-1] for one in Recording.told if one[0] == "numbers" and one[1] == "train_loss"]
    assert steps == [*range(1, 9), *range(6, 13)]
    assert not (tmp_path / "run" / "tensorboard").exists()
    content = checkpoint.read(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert content["callbacks"]["Counting"] == {"steps": 12}


def test_tensorboard_has_settings_and_texts(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    boards = Loggers(["tensorboard", "tensorboard"], run, {"seed": 3, "model": {"cell": "GRU", "words": None}})
    boards.start(0)
    boards.numbers({"loss": 1.0}, 1)
    boards.texts([Prediction(0, "ein Text", "a text", "a <b>text</b>", 0.0, [])], 1)
    boards.close()
    (file,) = run.tensorboard.iterdir()
    content = file.read_bytes()
    for wanted in (b"_hparams_/session_start_info", b"model.cell", b"settings", b"a <b>text</b>", b"loss"):
        assert wanted in content


def test_a_service_without_its_package_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    boards = Loggers(["wandb"], RunDirectory(tmp_path), {})
    boards.start(0)
    boards.numbers({"loss": 1.0}, 1)
    (record,) = caplog.records
    assert "wandb" in record.getMessage()
    assert boards.ids == {}


@pytest.mark.parametrize("ids", [{"wandb": "../../etc"}, {"other": "a"}, {"mlflow": ""}])
def test_ids_of_a_strange_checkpoint_are_refused(ids: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="damaged"):
        Loggers([], RunDirectory(tmp_path), {}).restore(ids)


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        ("[own_callbacks_of_test.Nothing]", "no subclass"),
        ("[own_callbacks_of_test.Absent]", "Absent"),
        ("[absent_module.Absent]", "absent_module"),
        ("[Absent]", "'Absent'"),
        ("[{class_path: own_callbacks_of_test.Counting, init_args: {evry: 1}}]", "evry"),
        ("[{class: own_callbacks_of_test.Counting}]", "class_path"),
        ("[own_callbacks_of_test.Strange]", "state_dict"),
    ],
)
def test_callbacks_that_cannot_be_used_are_refused(
    callbacks: str, words: str, config: Path, tmp_path: Path, own_module: None
) -> None:
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), "--trainer.max_steps", "1"]
    with pytest.raises(InputError, match=r"trainer\.callbacks") as caught:
        train.main([*arguments, "--trainer.callbacks", callbacks])
    assert words in str(caught.value)


@pytest.mark.slow
def test_wandb_and_mlflow_offline(config: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    pytest.importorskip("mlflow")
    arguments = ["-m", "seq2seq.train", "--config", str(config), "--run", "run", "--trainer.loggers", "[wandb, mlflow]"]
    modes = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}

    def trained(*more: str) -> str:
        command = [sys.executable, *arguments, *more]
        done = subprocess.run(command, cwd=tmp_path, env=surroundings(**modes), capture_output=True, text=True)
        assert done.returncode in (0, 75), done.stderr
        assert "left out" not in done.stderr
        return done.stderr

    trained("--trainer.max_steps", "6")
    run = RunDirectory(tmp_path / "run")
    run.results.unlink()
    first = ids_of(run)
    trained("--resume", "true", "--trainer.max_steps", "12")
    assert ids_of(run) == first
    folders = [folder.name for folder in (run.path / "wandb").glob("offline-run-*")]
    assert len(folders) == 2
    assert all(name.endswith(first["wandb"]) for name in folders)
    (loss,) = (run.path / "mlflow").glob(f"*/{first['mlflow']}/metrics/train_loss")
    assert [int(line.split()[-1]) for line in loss.read_text().splitlines()] == list(range(1, 13))
    texts = list((run.path / "mlflow").glob(f"*/{first['mlflow']}/artifacts/predictions/*.tsv"))
    assert len(texts) > 1


def ids_of(run: RunDirectory) -> dict[str, str]:
    """By which services know a run."""
    callbacks = checkpoint.read(run.last)["callbacks"]
    (ids,) = (state["loggers"] for state in callbacks.values() if state.get("loggers"))
    return dict(ids)
