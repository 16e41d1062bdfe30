"""evaluate and predict by several processes: the bytes of one, in order, and a killed process ends all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seq2seq import train
from seq2seq.cluster import processes
from seq2seq.errors import InputError
from tests.support import REVERSAL, module, surroundings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator that predicts something, with predictions of several batches."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "reversal.yaml").write_text(REVERSAL + "decoding: {rows: 20, beam_size: 2}\n")
    train.main(["--config", str(folder / "reversal.yaml"), "--run", str(folder / "run")])
    return folder / "run"


def lines(number: int) -> bytes:
    """Sources, with empty ones and one that repeats."""
    return "".join(
        ["", "a b c", "d e"][row % 3] + " a" * (row % 3 and row % 4) + "\n" for row in range(number)
    ).encode()


def test_predictions_are_those_of_one_process(run: Path) -> None:
    options = [str(run), "--device", "cpu", "--n_best", "2", "--scores"]
    alone, together = (module("predict", *options, "--devices", str(n), input=lines(101)) for n in (1, 3))
    assert alone.returncode == together.returncode == 0, together.stderr
    assert alone.stdout == together.stdout
    assert alone.stdout.count(b"\n") == 101


@pytest.mark.slow
def test_an_evaluation_is_that_of_one_process(run: Path, tmp_path: Path) -> None:
    for number in ("1", "2"):
        more = ["--device", "cpu", "--output", str(tmp_path / number)]
        assert module("evaluate", str(run), *more, "--devices", number).returncode == 0
    alone, together = (tmp_path / number / "predictions/test.jsonl" for number in ("1", "2"))
    assert alone.read_bytes() == together.read_bytes()


@pytest.mark.slow
def test_under_torchrun(run: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    more = {"env": surroundings(OMP_NUM_THREADS="1"), "capture_output": True, "timeout": 300}
    predict = subprocess.run([*launcher, "seq2seq.predict", str(run), "--device", "cpu"], input=lines(50), **more)
    assert predict.returncode == 0, predict.stderr
    assert predict.stdout == module("predict", str(run), "--device", "cpu", input=lines(50)).stdout
    evaluate = subprocess.run([*launcher, "seq2seq.evaluate", str(run), "--device", "cpu", "--json"], **more)
    assert evaluate.returncode == 0, evaluate.stderr
    assert evaluate.stdout.count(b'"splits"') == 1


@pytest.mark.slow
def test_a_mistake_in_a_line_is_one_line_after_the_answers_before_it(run: Path) -> None:
    done = module("predict", str(run), "--device", "cpu", "--devices", "2", input=b"a b\n\xff\na\n")
    assert done.returncode == 2
    assert done.stdout.count(b"\n") == 1
    assert done.stderr.startswith(b"error: standard input:2")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_a_killed_process_ends_all_with_one_line(run: Path) -> None:
    command = [sys.executable, "-m", "seq2seq.predict", str(run), "--device", "cpu", "--devices", "2"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=surroundings(), **pipes) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stderr is not None
        first.stdin.write(b"a b c\n")
        first.stdin.flush()
        assert first.stdout.readline().endswith(b"\n")
        (other,) = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        killed = time.monotonic()
        os.kill(int(other), signal.SIGKILL)
        assert first.wait(60) == 1
        assert time.monotonic() - killed < 30
        said = first.stderr.read().decode()
    assert "rank 1" in said
    assert "SIGKILL" in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_the_others_end_with_the_first(run: Path) -> None:
    command = [sys.executable, "-m", "seq2seq.predict", str(run), "--device", "cpu", "--devices", "2"]
    with subprocess.Popen(command, env=surroundings(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        first.stdin.write(b"a b c\n")
        first.stdin.flush()
        first.stdout.readline()
        (other,) = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        first.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{other}/cmdline").exists() and Path(f"/proc/{other}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_running_text_is_done_by_one_process(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("the cat sat on the mat and saw a dog\n" * 60)
    options = ["--config", "configs/generation_text.yaml", "--data.path", str(tmp_path), "--trainer.accelerator", "cpu"]
    small = ["--model.hidden_size", "8", "--model.embedding_size", "6", "--trainer.max_steps", "2", "--data.lanes", "2"]
    train.main([*options, *small, "--decoding.max_length", "5", "--run", str(tmp_path / "run")])
    options = [str(tmp_path / "run"), "--device", "cpu"]
    alone, together = (module("predict", *options, "--devices", n, input=b"the\n\nthe\n") for n in ("1", "2"))
    assert alone.stdout == together.stdout
    assert together.stdout.count(b"\n") == 3
    assert together.stderr.count(b"\n") == alone.stderr.count(b"\n") + 1


def test_prompts_are_shared() -> None:
    from seq2seq.tasks.generation import batches_of

    prompts = ["a", "", "a", "", "a", ""]
    batches = batches_of(prompts, 2)
    assert sorted(row for _, rows in batches for row in rows) == list(range(6))
    assert all(len(rows) <= 2 and {prompts[row] for row in rows} == {prompt} for prompt, rows in batches)


def test_processes_that_nobody_shares_work_among_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEQ2SEQ_LAUNCH", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert processes.place(3) == processes.Place(0, 3, 0, 3)
    started = {"SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "mine"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="--devices 2"):
        processes.place(1)
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert processes.place(1).size == 1
