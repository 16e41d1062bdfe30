"""A training that is stopped anywhere and resumed is the uninterrupted one, to the bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seq2seq import train
from seq2seq.cluster.environment import restarted_job
from seq2seq.data.corpora.builtin.cldr_tasks import Cldr
from seq2seq.errors import Finished, InputError, Interrupted, Stopped
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training.options import seconds_of
from seq2seq.training.signals import Deadline, Requests
from tests.training.kills import TRIALS, Trial, attempt, reference
from tests.training.stopping import STOPPING, arm, curves, differences, record, rows_by_step, strike

CONFIG = STOPPING

EPOCH, LAST = 20, 36
"""Optimiser steps of an epoch, and those until patience has run out."""


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    """An uninterrupted training."""
    path = config.parent / "whole"
    train.main(["--config", str(config), "--run", str(path)])
    last = checkpoint.read(path / "checkpoints" / "last.ckpt")
    assert (last["global_step"], last["epoch"]) == (LAST, 1), "it stops early, in its second epoch"
    return path


@pytest.fixture(scope="module")
def stopped(config: Path) -> Path:
    """A run that was stopped in its first epoch, after a validation."""
    path = config.parent / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        stopped_at("before", 7, signal.SIGTERM, ["--config", str(config), "--run", str(path)], patch)
    return path


def stopped_at(
    place: str, step: int, number: signal.Signals, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Train until a signal, and what was said then."""
    with monkeypatch.context() as patch, pytest.raises((Stopped, Interrupted)) as said:
        arm(strike(place, step, number, 0), patch.setattr)
        train.main(arguments)
    assert said.type is (Interrupted if number == signal.SIGINT else Stopped)
    return str(said.value)


@pytest.mark.parametrize(
    ("place", "step", "number", "saved"),
    [
        pytest.param("within", 8, signal.SIGTERM, 9, marks=pytest.mark.slow),
        ("validation", 12, signal.SIGUSR1, 12),
        pytest.param("before", 5, signal.SIGINT, 6, marks=pytest.mark.slow),  # a validation is due then
    ],
)
def test_a_stopped_run_goes_on_exactly(
    whole: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    step: int,
    number: signal.Signals,
    saved: int,
) -> None:
    arguments = ["--config", str(config), "--run", str(tmp_path / "run")]
    said = stopped_at(place, step, number, arguments, monkeypatch)
    assert said == f"stopped at step {saved}; continue with --resume true"
    train.main([*arguments, "--resume", "true"])
    assert differences(tmp_path / "run", whole) == []


@pytest.mark.slow
def test_a_run_stopped_thrice_goes_on_exactly(
    whole: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the exact end of an epoch, in a validation that is repeated, and in the test."""
    arguments = ["--config", str(config), "--run", str(tmp_path / "run")]
    stopped_at("before", EPOCH - 1, signal.SIGTERM, arguments, monkeypatch)
    resumed = [*arguments, "--resume", "true"]
    for place, step in (("validation", LAST), ("test", LAST)):
        stopped_at(place, step, signal.SIGTERM, resumed, monkeypatch)
    train.main(resumed)
    assert differences(tmp_path / "run", whole) == []


def test_signals_before_the_training_end_it_at_once(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seq2seq.data.datamodule import DataModule

    monkeypatch.setattr(DataModule, "texts", lambda *a: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped, match=r"^stopped; "):
        train.main(["--config", str(config), "--run", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_ends_a_process_that_waits_for_others(number: signal.Signals, code: int) -> None:
    """Outside of Python, where no handler is called."""
    waiting = """if True:
        from datetime import timedelta
        from torch.distributed import TCPStore
        from seq2seq.training import signals
        signals.PATIENCE = 0.5
        requests = signals.Requests()
        requests.install()
        with requests.noted():
            print("waiting", flush=True)
            TCPStore("127.0.0.1", 0, 2, True, timeout=timedelta(seconds=60))
    """
    process = subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(20) == code


def test_a_second_ctrl_c_waits_for_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)  # a training in this process may have left it ignored
    requests = Requests()
    requests.install()
    try:
        with requests.noted(), pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # a scheduler repeats itself
            os.kill(os.getpid(), signal.SIGINT)
            assert requests.asked == 2
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        requests.restore()
    assert signal.getsignal(signal.SIGTERM) is before


def test_resume_auto_starts_goes_on_and_ends(
    whole: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), "--resume", "auto"]
    assert stopped_at("before", 8, signal.SIGTERM, arguments, monkeypatch).startswith("stopped at step 9;")
    train.main(arguments)
    assert differences(tmp_path / "run", whole) == []
    before = (tmp_path / "run" / "results.json").read_bytes()
    assert "\nresuming at step 9\n" in capsys.readouterr().err
    train.main(arguments)
    assert (
        capsys.readouterr().err
        == f"{tmp_path / 'run'} is finished already; there is nothing to resume, and nothing was trained\n"
    )
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def half_finished(path: Path, job: str | None = None) -> RunDirectory:
    """A directory with a checkpoint to go on from."""
    run = RunDirectory(path)
    run.claim(False, False)
    run.last.parent.mkdir(exist_ok=True)
    run.last.write_bytes(b"a checkpoint")
    if job is not None:
        run.begun_by(job)
    run.release()
    return run


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"},
        {"TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_RESTART_COUNT": "2"},
    ],
)
def test_a_job_started_again_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    job = restarted_job()
    assert job == next(f"{name}={value}" for name, value in environment.items())
    run = half_finished(tmp_path, job)
    for overwrite in (False, True):  # it has overwritten when it began
        assert run.claim(overwrite, False, job) is True
        run.release()
    for name in environment:
        if "COUNT" in name:
            monkeypatch.setenv(name, "0")
    assert restarted_job() is None
    with pytest.raises(InputError, match=f"{tmp_path} .*--resume true"):
        run.claim(False, False, restarted_job())
    assert run.claim(True, False, "SLURM_JOB_ID=8") is False, "another job's run is to be overwritten"


def test_other_processes_learn_what_the_first_has_decided(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.announce("one", resume=True)
    assert run.wait("one", "resume") is True
    with pytest.raises(InputError, match=rf"{tmp_path} .*\b0 s"):
        run.wait("one", "ready", 0.1)
    with pytest.raises(InputError, match=rf"{tmp_path} .*\b0 s"):
        run.wait("another", "resume", 0.1)
    run.announce("one", failed="no such data")
    with pytest.raises(InputError, match="no such data"):
        run.wait("one", "ready")
    run.announce("one", finished="all done")
    with pytest.raises(Finished, match="all done"):
        run.wait("one", "resume")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("20:00:00", 72000.0), ("01:12:00:30", 129630.0), ("1-12:00:30", 129630.0), (90, 90.0), (None, None)],
)
def test_limits_of_time(given: str | int | None, seconds: float | None) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["20h", "1:70:00", "00:00:00", "", "-1:00:00"])
def test_a_limit_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="HH:MM:SS"):
        seconds_of(given)


def test_the_earlier_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert not Deadline(None, now).near(1e9)
    assert Deadline(100, now).near(91)
    assert not Deadline(100, now).near(88), "a tenth is kept free"
    assert not Deadline(36000, now).near(35960), "but not more than half a minute"
    assert Deadline(36000, now).near(35980)
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 60))
    assert Deadline(36000, now).near(32)
    assert not Deadline(36000, now).near(25)


def test_agreement_is_rare_enough_to_cost_little_and_comes_within_a_second() -> None:
    from seq2seq.training.step_boundaries import StepBoundary

    watch: Any = SimpleNamespace(timeout=60.0)
    one: Any = None
    boundaries = StepBoundary(one, one, one, watch, None)
    assert boundaries.interval() == 1, "nothing is known yet"
    boundaries.step_seconds = 0.05
    boundaries.took.extend([0.5, 0.002, 0.002])  # the first one waited for a process that had just started
    assert boundaries.interval() == 14
    assert 0.002 <= 0.003 * 0.05 * 14
    boundaries.took.extend([0.1] * 9)
    assert boundaries.interval() == 20, "once a second"
    boundaries.step_seconds = 3.0
    assert boundaries.interval() == 1


def test_a_limit_of_time_stops_with_a_checkpoint(
    whole: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--config", str(config), "--run", str(tmp_path / "run")]
    with monkeypatch.context() as patch, pytest.raises(Stopped, match=r"step 10; .*--resume true"):
        arm(lambda learner, where: patch.setattr(Deadline, "near", lambda *a: learner.global_step == 10), patch.setattr)
        train.main([*arguments, "--trainer.max_time", "10:00:00"])
    train.main([*arguments, "--resume", "true"])
    assert differences(tmp_path / "run", whole) == []


@pytest.mark.slow
def test_saving_every_few_minutes_changes_nothing(
    whole: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, write = [], checkpoint.write

    def writing(content: dict[str, Any], path: Path) -> None:
        if path.name == "last.ckpt":
            steps.append(content["global_step"])
        write(content, path)

    monkeypatch.setattr(checkpoint, "write", writing)
    monkeypatch.setattr("seq2seq.training.step_boundaries.SAVING", float("inf"))
    often = ["--trainer.save_every", "1e-9"]
    train.main(["--config", str(config), "--run", str(tmp_path / "run"), *often])
    assert steps == list(range(1, steps[-1] + 1)), "once a step; where a validation is due, after it"
    assert set(differences(tmp_path / "run", whole)) <= {"results.json: config", "results.json: changed"}


def test_slow_checkpoints_are_written_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    from seq2seq.training.step_boundaries import StepBoundary

    now = time.monotonic()
    trainer: Any = SimpleNamespace(world_size=1, is_global_zero=True)
    checkpoints: Any = SimpleNamespace(saved=now, took=20.0, cost=20.0)
    watch: Any = SimpleNamespace(timeout=60.0)
    boundaries = StepBoundary(Requests(), Deadline(None, now), checkpoints, watch, 10)
    for later, save in ((700, 0), (1990, 0), (2001, 1)):
        monkeypatch.setattr(time, "monotonic", lambda at=now + later: at)
        assert boundaries.agree(trainer, None).save == save


def test_changes_are_refused_or_recorded(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(config), "--run", str(tmp_path / "run")]
    stopped_at("before", 4, signal.SIGTERM, arguments, monkeypatch)
    rate, harmless = ["--optimizer.learning_rate", "0.01"], ["--trainer.log_every_n_steps", "2"]
    resumed = [*arguments, "--resume", "true", *rate, *harmless, "--data.batch_tokens", "500"]
    with pytest.raises(
        InputError, match=r"optimizer.learning_rate .* -> 0.01, data.batch_tokens 600 -> 500; .*--allow_change true"
    ):
        train.main(resumed)
    rows = Cldr.rows
    monkeypatch.setattr(
        Cldr, "rows", lambda self, split, path: rows(self, "test" if split == "validation" else split, path)
    )
    monkeypatch.setattr("seq2seq.__version__", "0.9.0")
    with pytest.raises(InputError, match=r"validation rows \w{12} -> \w{12}, .*seq2seq 0\.\d+\.\d+ -> 0\.9\.0\b"):
        train.main([*arguments, "--resume", "true"])
    capsys.readouterr()
    stopped_at("before", 7, signal.SIGTERM, [*resumed, "--allow_change", "true"], monkeypatch)
    said = capsys.readouterr().err
    assert " trainer.log_every_n_steps 1 -> 2\n" in said
    assert " optimizer.learning_rate 2e-05 -> 0.01" in said
    train.main(resumed)  # which is the run's own configuration now
    recorded = json.loads((tmp_path / "run" / "results.json").read_text())["allowed_changes"]
    assert {"setting": "optimizer.learning_rate", "before": "2e-05", "now": "0.01"} in recorded
    assert {one["setting"] for one in recorded} == {
        "data.batch_tokens",
        "optimizer.learning_rate",
        "the checksum of the validation rows",
        "the version of seq2seq",
    }


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where uninterrupted trainings are kept."""
    return tmp_path_factory.mktemp("references")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (["--model.hidden_size", "24"], r"network .* \(.*\) .* \("),
        (["--model.cell", "LSTM"], "network .*--run"),
        (["--optimizer.algorithm", "SGD"], "optimizer.algorithm .*SGD .*--run"),
    ],
)
def test_what_cannot_change_is_refused_even_if_allowed(stopped: Path, setting: list[str], message: str) -> None:
    arguments = ["--config", str(stopped / "config.yaml"), "--run", str(stopped), "--resume", "true"]
    with pytest.raises(InputError, match=message):
        train.main([*arguments, "--allow_change", "true", *setting])


def test_the_best_checkpoint_cannot_be_resumed(stopped: Path) -> None:
    last = stopped / "checkpoints" / "last.ckpt"
    kept = last.read_bytes()
    shutil.copy(last.with_name("best.ckpt"), last)
    with pytest.raises(InputError, match=r"best\.ckpt.*last\.ckpt"):
        train.main(["--config", str(stopped / "config.yaml"), "--run", str(stopped), "--resume", "true"])
    last.write_bytes(kept)


@pytest.mark.slow
@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_killed_anywhere_a_run_goes_on_exactly(trial: Trial, config: Path, references: Path, tmp_path: Path) -> None:
    attempt(trial, config, tmp_path / "run")
    assert differences(tmp_path / "run", reference(config, references, trial.processes[0])) == []


@pytest.mark.slow
@pytest.mark.parametrize("processes", [(2, 1), (1, 2)], ids=str)
def test_a_run_goes_on_with_other_processes(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: tuple[int, int]
) -> None:
    """The same rows make every step, and the losses differ by rounding alone."""
    with monkeypatch.context() as patch:
        record(tmp_path / "whole.rows", patch.setattr)
        train.main(["--config", str(config), "--run", str(tmp_path / "whole")])
    os.environ.pop("SEQ2SEQ_LAUNCH", None)
    monkeypatch.setenv("SEQ2SEQ_ROWS", str(tmp_path / "run.rows"))
    attempt(Trial(["before 8 SIGTERM 0"], processes), config, tmp_path / "run")
    assert rows_by_step(tmp_path / "run.rows") == rows_by_step(tmp_path / "whole.rows")
    losses = [[float(row["train_loss"]) for row in curves(tmp_path / name)] for name in ("run", "whole")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
