"""Job scripts: what they say, that they pass on every argument as it is, and what they do with exit codes."""

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest

from seq2seq import launch
from seq2seq.cluster import slurm
from seq2seq.errors import InputError
from tests.support import ROOT, python

JOB = ["slurm", "--nodes", "2", "--gpus", "4", "--time", "20:00:00"]
TRAINING = ["--", "--config", "configs/x.yaml", "--run"]


def text_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The script of a dry run."""
    assert launch.main([*JOB, "--dry_run", *arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of programs in place of SLURM's and of Python, first on the PATH, which write down their calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; "$@"',  # the options away, the rest as one process
        "scontrol": 'echo "scontrol $*" >> "$CALLS"; [ "$1" != show ] || echo host1',
        "sbatch": 'echo "sbatch $*" >> "$CALLS"; echo "77;cluster"',
        "python": 'printf "<%s>" "$@" >> "$CALLS"; echo " at $MASTER_ADDR:$MASTER_PORT" >> "$CALLS"; exit "${CODE:-0}"',
    }
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.chdir(tmp_path)
    return folder


def run(text: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A script, as a job that SLURM has started."""
    surroundings = {"SLURM_JOB_ID": "123", "SLURM_JOB_NODELIST": "host[1-2]", **environment}
    return subprocess.run(
        ["bash", "-c", text], env={**os.environ, **surroundings}, capture_output=True, text=True, timeout=60
    )


def calls() -> list[str]:
    return Path(os.environ["CALLS"]).read_text().splitlines()


def test_what_is_asked_of_slurm(capsys: pytest.CaptureFixture[str]) -> None:
    more = "--partition long --account us --cpus 8 --memory 64 --signal_before 300 --sbatch=--qos=high".split()
    text = text_of(capsys, *more, *TRAINING, "runs/x")
    asked = {line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")}
    assert asked == set(
        "--nodes=2 --ntasks-per-node=4 --gres=gpu:4 --time=20:00:00 --partition=long --account=us --cpus-per-task=8 "
        "--mem=64G --signal=USR1@300 --requeue --open-mode=append --output=runs/x.log --job-name=x --qos=high".split()
    )


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("run_name", ["runs/x", 'runs/it\'s a "$HOME" run; rm -rf *'])
def test_every_argument_arrives_as_it_is(capsys: pytest.CaptureFixture[str], run_name: str) -> None:
    odd = ["a b", "$(touch broken)", "'", "`id`", "", "{class_path: GRU}", "ü%\\"]
    Path(run_name).parent.mkdir()
    text = text_of(capsys, "--setup", "true", *TRAINING, run_name, "--odd", *odd)
    done = run(text)
    assert done.returncode == 0, done.stderr
    words = ["-m", "seq2seq.train", "--config", "configs/x.yaml", "--run", run_name, "--odd", *odd]
    words += ["--resume", "auto", "--trainer.num_nodes", "2", "--trainer.devices", "4"]
    assert calls()[-1].startswith("".join(f"<{word}>" for word in words) + " at host1:10123")
    assert not Path("broken").exists()


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(("code", "after", "requeued"), [("0", 0, False), ("75", 0, True), ("3", 3, False)])
def test_only_code_75_queues_the_job_again(
    capsys: pytest.CaptureFixture[str], code: str, after: int, requeued: bool
) -> None:
    Path("runs").mkdir()
    done = run(text_of(capsys, "--setup", "true", *TRAINING, "runs/x"), CODE=code)
    assert done.returncode == after, done.stderr
    assert ("scontrol requeue 123" in calls()) is requeued
    assert list(Path("runs").glob("x/*")) == [], "no mark is left behind"


def test_without_scontrol_it_says_what_to_do(
    shell: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("runs").mkdir()
    (shell / "scontrol").unlink()
    for program in ("bash", "touch", "rm", "head"):  # and nothing else of this machine, which may have a real one
        (shell / program).symlink_to(shutil.which(program) or "")
    monkeypatch.setenv("PATH", str(shell))
    done = run(text_of(capsys, "--setup", "true", *TRAINING, "runs/x"), CODE="75")
    assert done.returncode == 75
    assert "scontrol requeue 123, or submit it once more: sbatch runs/x.sbatch" in done.stderr


@pytest.mark.usefixtures("shell")
def test_the_environment_of_the_shell_that_submits_does_not_mislead(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").mkdir()
    text = text_of(capsys, "--setup", "export GLOO_SOCKET_IFNAME=lo", *TRAINING, "runs/x")
    assert run(text, MASTER_ADDR="elsewhere", MASTER_PORT="1", SLURM_RESTART_COUNT="2").returncode == 0
    assert calls()[-1].endswith(" at host1:10125")


@pytest.mark.usefixtures("shell")
def test_seeds_and_sweeps_become_an_array(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").mkdir()
    chosen = ["--array", "seeds=1,7", "--sweep", "optimizer.learning_rate=0.001,0.002", "--sweep", "model.cell=GRU"]
    text = text_of(capsys, "--setup", "true", *chosen, *TRAINING, "runs/x")
    assert "#SBATCH --array=0-3\n" in text
    assert "#SBATCH --output=runs/x-%a.log\n" in text
    run(text, SLURM_ARRAY_TASK_ID="3")
    expected = ["--seed", "7", "--optimizer.learning_rate", "0.002", "--model.cell", "GRU", "--run"]
    assert "".join(f"<{one}>" for one in [*expected, "runs/x-seed7-learning_rate0.002-cellGRU"]) in calls()[-1]


def test_a_sweep_may_be_named_as_an_option_is(capsys: pytest.CaptureFixture[str]) -> None:
    swept = ["--sweep=--optimizer.learning_rate=0.1,0.2", "--sweep", "seed=1,2"]
    assert "--optimizer.learning_rate 0.2 --seed 1 --run" in text_of(capsys, *swept, *TRAINING, "runs/x")


def test_processes_without_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["slurm", "--processes", "3", "--dry_run", *TRAINING, "runs/x"]) == 0
    text = capsys.readouterr().out
    assert "gres" not in text
    assert "--ntasks-per-node=3" in text
    assert "--trainer.num_nodes 1 --trainer.devices 3 --trainer.accelerator cpu" in text


def test_a_container(capsys: pytest.CaptureFixture[str]) -> None:
    text = text_of(capsys, "--container", "my image.sif", *TRAINING, "runs/x")
    assert "process apptainer exec --nv 'my image.sif' python -m seq2seq.train" in text


@pytest.mark.usefixtures("shell")
def test_it_is_submitted(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main([*JOB, *TRAINING, "runs/x"]) == 0
    assert calls() == ["sbatch --parsable runs/x.sbatch"]
    assert Path("runs/x.sbatch").read_text().startswith("#!/bin/bash\n")
    said = capsys.readouterr()
    assert said.out == "77\n"
    assert said.err == "job 77 submitted; script runs/x.sbatch, log runs/x.log\n"


def test_a_refusal_of_slurm_is_passed_on(shell: Path) -> None:
    (shell / "sbatch").write_text("#!/bin/bash\necho 'sbatch: error: invalid partition' >&2; exit 1\n")
    with pytest.raises(InputError, match=r"runs/x\.sbatch: .*invalid partition"):
        launch.main([*JOB, *TRAINING, "runs/x"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*JOB, "--config", "x.yaml"], "-- --config"),
        ([*JOB, "--", "--config", "x.yaml"], "--run"),
        ([*JOB, "--", "--run", "x"], "--config"),
        ([*JOB, *TRAINING, "x", "--overwrite", "true"], "--overwrite"),
        ([*JOB, *TRAINING, "x", "--trainer.devices=8"], r"--trainer\.devices\b"),
        (["slurm", *TRAINING, "x"], "--gpus .*--processes"),
        ([*JOB, "--processes", "2", *TRAINING, "x"], "--gpus .*--processes"),
        ([*JOB[:3], "--gpus", "0", *TRAINING, "x"], r"--gpus .*\b0\b.*\b1\b"),
        ([*JOB, "--gpu", "4", *TRAINING, "x"], r"\bgpu: .*\bgpus\b"),
        ([*JOB, "--array", "1-3", *TRAINING, "x"], "--array 1-3 .*NAME=VALUE"),
        ([*JOB, "--array", "runs=1,2", *TRAINING, "x"], "--array runs=1,2.*seeds=1,2,3"),
        ([*JOB, "--array", "seeds=1,1", *TRAINING, "x"], "array.*run directory"),
        ([*JOB, "--array", "seeds=1-3", *TRAINING, "x"], "--array seeds=1-3.*seeds=1,2,3"),
        ([*JOB, "--sweep", "trainer.devices=1,2", *TRAINING, "x"], r"--sweep trainer\.devices=1,2"),
        ([*JOB, "--array", "seeds=1,2", "--sweep", "seed=5", *TRAINING, "x"], "--sweep seed=5.*--array"),
        ([*JOB, "--time", "2h", *TRAINING, "x"], "--time '2h'.*HH:MM:SS"),
        ([*JOB, "--sbatch=qos=high", *TRAINING, "x"], "--sbatch=--qos=high"),
        ([*JOB, *TRAINING, ""], "--run"),
        ([*JOB, *TRAINING, "/"], "--run"),
        ([*JOB, "--", "--config", "--run", "x"], "--config"),
        ([*JOB, "--sweep", "model.cell=", *TRAINING, "x"], "--sweep model.cell=.*NAME=VALUE"),
        ([*JOB, "--array", "seeds=1,2", "--follow", *TRAINING, "x"], r"--follow.*x-\*\.log"),
        ([*JOB, *TRAINING, "x\nrm -rf y"], "printable"),
        ([*JOB, "--partition", "p\nrm -rf y", *TRAINING, "x"], "printable"),
        (["pbs", *TRAINING, "x"], "kind"),
    ],
)
def test_a_mistake_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        launch.main(arguments)
    assert "\n" not in str(caught.value)


def test_without_slurm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = python("-m", "seq2seq.launch", *JOB, *TRAINING, "runs/x")
    assert done.returncode == 2
    assert done.stderr == (
        "error: there is no sbatch here; call this on a login node, or see the script with --dry_run\n"
    )
    assert not Path("runs").exists()


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['seq2seq.launch', '--help']\n"
        "try:\n"
        "    runpy.run_module('seq2seq.launch', run_name='__main__')\n"
        "finally:\n"
        "    assert not {'torch', 'numpy', 'pytorch_lightning'} & set(sys.modules)\n"
    )
    started = time.monotonic()
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m seq2seq.launch slurm [options] --" in done.stdout
    assert time.monotonic() - started < 5


def test_the_script_by_hand_says_the_same() -> None:
    """scripts/slurm/train.sbatch has the lines that matter of the generated one."""
    by_hand = (ROOT / "scripts" / "slurm" / "train.sbatch").read_text()
    assert subprocess.run(["bash", "-n"], input=by_hand, text=True).returncode == 0
    generated = slurm.SCRIPT.replace("{{", "{").replace("}}", "}")
    for part in ("trap : USR1 TERM", "export MASTER_PORT=", "--kill-on-bad-exit=1", 'scontrol requeue "$SLURM_JOB_ID"'):
        for line in (line.strip() for line in generated.splitlines() if part in line):
            assert line.split(" bash -c")[0] in by_hand, line
