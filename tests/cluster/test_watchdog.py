"""Two processes: whatever ends or stops one of them ends both, soon, and says which one it was."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seq2seq.cluster.watchdog import Watchdog, meaning
from seq2seq.errors import InputError
from tests.support import python, surroundings
from tests.training.stopping import SCRIPT, STOPPING, TWO

LIMIT = 20


def launch(folder: Path, where: str, *more: str) -> "subprocess.CompletedProcess[str]":
    """Train on two processes until something happens."""
    config = folder / "tiny.yaml"
    config.write_text(STOPPING)
    own = surroundings(SEQ2SEQ_STOP=where, OMP_NUM_THREADS="1")
    return python(SCRIPT, "--config", config, "--run", folder / "run", *TWO, *more, env=own)


@pytest.mark.parametrize(
    ("where", "said", "codes"),
    [
        pytest.param("before 5 RAISE 1", r"(?s)rank 1 failed first: ArithmeticError\('out of order'\).*in here\n", {1},
                     marks=pytest.mark.slow),
        pytest.param("validation 6 RAISE 0", r"rank 0 failed first: .*out of order", {1}, marks=pytest.mark.slow),
        pytest.param("before 5 SIGKILL 1", r"rank 1 .*(SIGKILL|killed)", {1}, marks=pytest.mark.slow),
        pytest.param("before 5 SIGKILL 0", "", {-9}, marks=pytest.mark.slow),
        pytest.param("before 5 SIGSTOP 1", r"rank 1 \(process \d+ on .*\) has shown no life", {1}, marks=pytest.mark.slow),
        pytest.param("before 5 SIGSTOP 0", r"rank 0 \(process \d+ on .*\) has shown no life", {-9}, marks=pytest.mark.slow),
        pytest.param("validation 6 SIGSTOP 1", r"rank 1 .* has shown no life", {1}, marks=pytest.mark.slow),
        pytest.param("before 5 SLEEP 1", r"(?s)rank 1 has made no step for .*in here\n", {1}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_failure_ends_all(tmp_path: Path, where: str, said: str, codes: set[int]) -> None:
    done = launch(tmp_path, where, "--trainer.timeout", str(LIMIT))
    ended = time.time()
    assert done.returncode in codes, done.stderr[-3000:]
    assert re.search(said, done.stderr), done.stderr[-3000:]
    struck = (tmp_path / "run" / "config.yaml").stat().st_mtime  # before the first step
    assert ended - struck < 3 * LIMIT
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "run")], capture_output=True, text=True).stdout
    assert left == "", "nothing goes on"


@pytest.mark.slow
def test_a_save_may_take_longer_than_a_step(tmp_path: Path) -> None:
    """The others wait for the first process, for longer than the 0.7 * LIMIT seconds that a collective may last."""
    done = launch(tmp_path, "save 6 PAUSE 0", "--trainer.timeout", str(LIMIT))
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_first_failure_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = Watchdog(tmp_path, 60), Watchdog(tmp_path, 60)
    first.rank, second.rank = 3, 5
    assert first.failed(ArithmeticError("mine")) is True
    assert second.failed(RuntimeError("Connection closed by peer")) is False
    assert "rank 3 failed first: ArithmeticError('mine')\nArithmeticError: mine" in capsys.readouterr().err


def test_a_mistake_has_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Watchdog(tmp_path, 60).failed(InputError("no room")) is True
    assert capsys.readouterr().err == "rank 0 failed first: no room\n"


def test_a_number_means_a_process_of_one_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers may share a host's name; what is no process here may well be one there."""
    watch, name = Watchdog(tmp_path, 60), socket.gethostname()
    number = subprocess.Popen([sys.executable, "-c", ""])
    number.wait()
    file = tmp_path / "1.alive"
    file.write_text(f"{name}/elsewhere/1 {number.pid} 0")
    assert [watch._ended(), watch._ended()] == ["", ""]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 40)
    assert watch._ended() == f"rank 1 (process {number.pid} on {name}) has shown no life for 40 s"
    file.write_text(f"{watch.machine} {number.pid} 0")
    assert [watch._ended(), watch._ended()] == ["", f"rank 1 (process {number.pid} on {name}) has been killed"]


def test_exit_codes_in_words() -> None:
    assert [meaning(code) for code in (3, -9, -15)] == ["exit code 3", "SIGKILL (out of memory?)", "SIGTERM"]
