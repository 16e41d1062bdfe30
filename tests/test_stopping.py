"""A training that is stopped anywhere and resumed is the uninterrupted one, to the bit."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from seq2seq import train
from seq2seq.errors import Interrupted, Stopped
from seq2seq.stopping import CATCHES, Requests
from tests.stopping import arm, differences, strike

SCRIPT = Path(__file__).with_name("stopping.py")
CONFIG = """
patience: 2
data:
  corpus: {class_path: Cldr, init_args: {train: 150, validation: 16, test: 16}}
  tokenizer: {class_path: SentencePiece, init_args: {vocabulary_size: 120, sampling: 0.5}}
  batch_tokens: 600
  device_tokens: 250
model:
  cell: GRU
  embedding_size: 12
  hidden_size: 16
  attention: Dot
  dropout: 0.2
  scheduled_sampling: {class_path: ScheduledSampling, init_args: {decay_steps: 10}}
optimizer: {learning_rate: 0.02, schedule: Cosine, warmup_steps: 3, ema_decay: 0.9, average: 2}
decoding: {beam_size: 2, rows: 2}
trainer: {max_epochs: 2, accelerator: cpu, log_every_n_steps: 1, val_check_interval: 6}
"""
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    """An uninterrupted training."""
    path = config.parent / "whole"
    train.main(["--config", str(config), "--run", str(path)])
    return path


@pytest.fixture(autouse=True)
def own_launch() -> Iterator[None]:
    """Each test is a launch of its own, and leaves the signals as they were."""
    before = {number: signal.getsignal(number) for number in CATCHES}
    yield
    os.environ.pop("SEQ2SEQ_LAUNCH", None)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def epoch(whole: Path) -> int:
    """Optimiser steps of an epoch."""
    from seq2seq import checkpoint

    return int(checkpoint.read(whole / "checkpoints" / "last.ckpt")["global_step"]) // 2


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
        ("within", 8, signal.SIGTERM, 9),
        ("validation", 12, signal.SIGUSR1, 12),
        ("before", 5, signal.SIGINT, 6),  # a validation is due then
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


def test_a_run_stopped_thrice_goes_on_exactly(
    whole: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    """At the exact end of an epoch, in a validation that is repeated, and in the test."""
    arguments = ["--config", str(config), "--run", str(tmp_path / "run")]
    stopped_at("before", epoch - 1, signal.SIGTERM, arguments, monkeypatch)
    resumed = [*arguments, "--resume", "true"]
    last = 2 * epoch
    for place, step in (("validation", last - last % 6), ("test", last)):
        stopped_at(place, step, signal.SIGTERM, resumed, monkeypatch)
    train.main(resumed)
    assert differences(tmp_path / "run", whole) == []


def test_signals_before_the_training_end_it_at_once(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seq2seq.data.datamodule import DataModule

    monkeypatch.setattr(DataModule, "texts", lambda *a: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped, match="the same command starts again"):
        train.main(["--config", str(config), "--run", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_second_ctrl_c_waits_for_nothing() -> None:
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
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
