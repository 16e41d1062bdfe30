"""Real machinery: jobs on a SLURM of two nodes, torchrun on two hosts that a cable connects; all of it on this machine.

Whatever ends a training, the one that goes on ends with the same parameters, curves and scores as one left alone.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from seq2seq.cluster.watchdog import alive
from tests.cluster.slurm import ROOT, Slurm, until, why_not
from tests.support import python, surroundings
from tests.training.stopping import differences as all_differences

pytestmark = pytest.mark.cluster

CONFIG = """
data:
  corpus: {class_path: Cldr, init_args: {train: 300, validation: 8, test: 8}}
  tokenizer: {class_path: SentencePiece, init_args: {vocabulary_size: 150, sampling: 0.5}}
  batch_tokens: 1000
model: {cell: GRU, embedding_size: 24, hidden_size: 48, attention: Dot, dropout: 0.1}
optimizer: {learning_rate: 0.01, warmup_steps: 3}
decoding: {beam_size: 2}
trainer: {max_epochs: 1000, max_steps: 240, accelerator: cpu, log_every_n_steps: 10, val_check_interval: 20}
"""
ON_THIS_MACHINE = "export MASTER_ADDR=127.0.0.1 GLOO_SOCKET_IFNAME=lo OMP_NUM_THREADS=1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are, with the configuration."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "tiny.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """A training of two processes that nothing interrupts."""
    return uninterrupted(folder, "whole")


def uninterrupted(folder: Path, name: str, *more: str) -> Path:
    """Train with two processes that this program starts."""
    run = folder / name
    command = ["-m", "seq2seq.train", "--config", folder / "tiny.yaml", "--run", run, *more]
    own = surroundings(OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    done = python(*command, "--trainer.devices", "2", "--trainer.strategy", "ddp", env=own)
    assert done.returncode == 0, done.stderr[-3000:]
    return run


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A cluster of two nodes."""
    if reason := why_not():
        pytest.skip(reason)
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    cluster.start()
    yield cluster
    cluster.stop()


def differences(whole: Path, run: Path) -> list[str]:
    """In what a training differs from the one that nothing interrupted, but for where its two processes ran."""
    told = ("results.json: config", "results.json: changed")
    return [one for one in all_differences(whole, run) if one not in told]


def submit(
    slurm: Slurm,
    folder: Path,
    name: str,
    *more: str,
    nodes: int = 2,
    minutes: int = 20,
    training: Sequence[str] = (),
) -> str:
    """A training, submitted by our launcher."""
    limit = ["--time", str(minutes), "--setup", ON_THIS_MACHINE]
    job = ["slurm", "--nodes", str(nodes), "--processes", "1", *limit, *more]
    options = ["--config", str(folder / "tiny.yaml"), "--run", str(folder / name), *training]
    return slurm(sys.executable, "-m", "seq2seq.launch", *job, "--", *options).splitlines()[-1]


def step(run: Path) -> int:
    """The last step that the curves of a run know."""
    try:
        with open(run / "metrics.csv", newline="") as file:
            return int([row["step"] for row in csv.DictReader(file)][-1])
    except (FileNotFoundError, IndexError):
        return 0


def in_the_middle(run: Path) -> None:
    """Wait until a training is well under way."""
    until(lambda: step(run) >= 40, 120, f"step 40 of {run.name}")


def log(folder: Path, name: str) -> str:
    return (folder / f"{name}.log").read_text()


def ended(slurm: Slurm, job: str, folder: Path, name: str, restarts: int) -> None:
    """Wait for the end of a job that has been started anew."""
    try:
        slurm.wait(job, "COMPLETED", 240)
    except AssertionError:
        print(log(folder, name)[-4000:], slurm("scontrol", "show", "job", job))
        raise
    assert slurm.show(job, "Restarts") == str(restarts)


def test_a_job_finishes(slurm: Slurm, folder: Path, whole: Path) -> None:
    said = submit(slurm, folder, "finished", "--follow")
    assert said.startswith("report: "), "the log is shown to its end"
    assert differences(whole, folder / "finished") == []
    text = log(folder, "finished")
    assert text.count("training rows") == 1, "only the first process speaks"
    assert "Traceback" not in text
    assert "2 processes on 2 hosts, started by SLURM, gloo\n  n1: rank 0 on cpu" in text


def test_a_signal_saves_queues_again_and_goes_on(slurm: Slurm, folder: Path, whole: Path) -> None:
    job = submit(slurm, folder, "signalled")
    for restarts in (1, 2):
        until(lambda least=40 * restarts: step(folder / "signalled") >= least, 120, "progress")
        slurm("scancel", "--signal=USR1", job)
        until(lambda count=str(restarts): slurm.show(job, "Restarts") == count, 60, "queued again")
    ended(slurm, job, folder, "signalled", 2)
    assert differences(whole, folder / "signalled") == []
    assert not (folder / "signalled" / ".stopped").exists()


def test_a_limit_of_time_ends_no_training(slurm: Slurm, folder: Path) -> None:
    """SLURM warns before the limit; the job saves, queues itself again, and goes on with a limit of its own."""
    longer = ["--trainer.max_steps", "2000", "--trainer.val_check_interval", "500"]
    job = submit(slurm, folder, "limited", "--signal_before", "25", minutes=1, training=longer)
    slurm.wait(job, "COMPLETED", 500)
    assert int(slurm.show(job, "Restarts")) >= 1
    assert "continue with --resume true" in log(folder, "limited")
    assert "DUE TO TIME LIMIT" not in log(folder, "limited")
    assert differences(uninterrupted(folder, "unlimited", *longer), folder / "limited") == []


def test_a_cancelled_job_stays_away_and_another_goes_on(slurm: Slurm, folder: Path, whole: Path) -> None:
    job = submit(slurm, folder, "cancelled")
    in_the_middle(folder / "cancelled")
    slurm("scancel", job)
    slurm.wait(job, "CANCELLED", 60)
    assert not (folder / "cancelled" / "results.json").exists()
    until(lambda: not slurm("squeue", "-h").strip(), 30, "the end of its processes")
    time.sleep(2)
    assert slurm.show(job, "JobState") == "CANCELLED"
    ended(slurm, submit(slurm, folder, "cancelled"), folder, "cancelled", 0)
    assert differences(whole, folder / "cancelled") == []


def test_a_job_of_higher_priority_goes_first(slurm: Slurm, folder: Path, whole: Path) -> None:
    job = submit(slurm, folder, "displaced")
    in_the_middle(folder / "displaced")
    slurm("sbatch", "--wait", "-p", "high", "-N", "2", "--ntasks-per-node=2", "-o", "/dev/null", "--wrap", "sleep 1")
    ended(slurm, job, folder, "displaced", 1)
    assert differences(whole, folder / "displaced") == []


def test_a_node_is_drained_and_fails(slurm: Slurm, folder: Path, whole: Path) -> None:
    """A node that is drained ends its job; one that fails takes it along, and SLURM starts it again elsewhere."""
    job = submit(slurm, folder, "drained")
    in_the_middle(folder / "drained")
    slurm("scontrol", "update", "NodeName=n2", "State=DRAIN", "Reason=test")
    before = step(folder / "drained")
    until(lambda: step(folder / "drained") > before, 60, "progress on a node that is to be drained")
    slurm("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test")
    slurm.wait(job, "PENDING", 60)
    slurm("scontrol", "update", "NodeName=n2", "State=RESUME")
    ended(slurm, job, folder, "drained", 1)
    assert differences(whole, folder / "drained") == []


def test_an_array_of_seeds(slurm: Slurm, folder: Path) -> None:
    """Also with a name that a shell, sbatch and its patterns of file names would like to read otherwise."""
    name = "two 50%x seeds"
    submit(slurm, folder, name, "--array", "seeds=3,4", nodes=1, training=["--trainer.max_steps", "4"])
    until(lambda: not slurm("squeue", "-h").strip(), 240, "the end of both jobs")
    seeds = [
        json.loads((folder / f"{name}-seed{seed}" / "results.json").read_text())["config"]["seed"] for seed in (3, 4)
    ]
    assert seeds == [3, 4]
    assert sorted(path.name for path in folder.glob("two*.log")) == [f"{name}-0.log", f"{name}-1.log"]


def test_a_training_without_srun_does_not_wait_for_ever(slurm: Slurm, folder: Path) -> None:
    training = f"python -m seq2seq.train --config {folder}/tiny.yaml --run {folder}/forgotten"
    file = folder / "forgotten.log"
    asked = ["--parsable", "-N", "2", "--ntasks-per-node=1", "-o", str(file), "--wrap", training]
    job = slurm("sbatch", *asked).strip()
    slurm.wait(job, "FAILED", 60)
    assert "write: srun python -m seq2seq.train" in file.read_text()


class Hosts:
    """Two hosts of their own network, connected by one cable."""

    def __init__(self) -> None:
        self.names = [f"seq2seq{os.getpid()}{place}" for place in "ab"]
        self.agents: list[subprocess.Popen[bytes]] = []

    def make(self) -> None:
        one, other = self.names
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "v1", "netns", one, "type", "veth", "peer", "name", "v2", "netns", other)
        for number, name in enumerate(self.names, 1):
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", f"v{number}")
            ip("-n", name, "link", "set", f"v{number}", "up")

    def remove(self) -> None:
        """End what still runs there, and the hosts."""
        for agent in self.agents:
            agent.terminate()
            agent.wait(60)
        for name in self.names:
            ip("netns", "del", name)

    def cable(self, state: str) -> None:
        """Cut or join the cable."""
        ip("-n", self.names[0], "link", "set", "v1", state)

    def torchrun(self, folder: Path, name: str, limit: int, *more: str) -> "list[subprocess.Popen[bytes]]":
        """A training on both, one process on each; each agent ends after `limit` seconds at the latest."""
        agents = []
        for number, host in enumerate(self.names, 1):
            own = {"GLOO_SOCKET_IFNAME": f"v{number}", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            # is_host: these hosts share one name, so it does not tell who is to open the meeting point.
            meet = (
                f"--rdzv-backend c10d --rdzv-endpoint 10.77.0.1:29500 --rdzv-id {name} --rdzv-conf is_host={2 - number}"
            )
            command = f"timeout -k 5 {limit} ip netns exec {host} {sys.executable} -m torch.distributed.run --nnodes 2"
            command += f" --nproc-per-node 1 {meet} --local-addr 10.77.0.{number} {' '.join(more)} -m -- seq2seq.train"
            words = [*command.split(), "--config", str(folder / "tiny.yaml"), "--run", str(folder / name)]
            words += ["--resume", "auto"]
            environment = surroundings(**own)
            with (folder / f"{name}.{number}.log").open("wb") as output:
                agents.append(subprocess.Popen(words, env=environment, stdout=output, stderr=output))
        self.agents += agents
        return agents


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two hosts."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the package iproute2")
    made = Hosts()
    try:
        made.make()
    except subprocess.CalledProcessError as problem:
        pytest.skip(f"this kernel allows no network namespaces: {problem.stderr.decode().strip()}")
    yield made
    made.remove()


def codes(agents: "list[subprocess.Popen[bytes]]", seconds: float) -> list[int]:
    """The exit codes of both agents."""
    deadline = time.monotonic() + seconds
    return [agent.wait(deadline - time.monotonic()) for agent in agents]


def worker(agent: "subprocess.Popen[bytes]") -> int:
    """The process that an agent has started."""
    found = agent.pid
    for _ in range(2):  # timeout, then torchrun, which `ip` has become
        found = int(Path(f"/proc/{found}/task/{found}/children").read_text().split()[0])
    return found


def test_two_hosts_train_together(hosts: Hosts, folder: Path, whole: Path) -> None:
    assert codes(hosts.torchrun(folder, "hosts", 500), 510) == [0, 0], (folder / "hosts.1.log").read_text()[-3000:]
    assert differences(whole, folder / "hosts") == []


def test_a_killed_process_is_started_again_and_goes_on(hosts: Hosts, folder: Path, whole: Path) -> None:
    agents = hosts.torchrun(folder, "killed", 500, "--max-restarts", "2")
    in_the_middle(folder / "killed")
    os.kill(worker(agents[1]), signal.SIGKILL)
    assert codes(agents, 510) == [0, 0], (folder / "killed.1.log").read_text()[-3000:]
    assert differences(whole, folder / "killed") == []


def test_a_cable_that_is_cut_for_a_while_does_no_harm(hosts: Hosts, folder: Path, whole: Path) -> None:
    agents = hosts.torchrun(folder, "cut", 500)
    in_the_middle(folder / "cut")
    hosts.cable("down")
    time.sleep(5)
    hosts.cable("up")
    assert codes(agents, 510) == [0, 0], (folder / "cut.1.log").read_text()[-3000:]
    assert differences(whole, folder / "cut") == []


def test_a_cable_that_stays_cut_ends_all(hosts: Hosts, folder: Path) -> None:
    """Only time tells a cut from a slow peer: `timeout` around torchrun ends what nothing else can."""
    agents = hosts.torchrun(folder, "lost", 180)
    in_the_middle(folder / "lost")
    workers = [worker(agent) for agent in agents]
    hosts.cable("down")
    assert 0 not in codes(agents, 190)
    until(lambda: not any(map(alive, workers)), 10, "the end of the processes, which keep their devices and the run")
    assert (folder / "lost" / "checkpoints" / "last.ckpt").is_file()
