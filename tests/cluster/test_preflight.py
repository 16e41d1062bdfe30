"""Before several processes train: their number fits, each has a device, and what is said about them."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore

from seq2seq.cluster.environment import world
from seq2seq.cluster.preflight import (
    ProcessPlacement,
    placed,
    placement,
    refuse_apart,
    refuse_shared,
    summary,
    warnings,
)
from seq2seq.errors import InputError
from tests.support import surroundings

ARGUMENTS: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
SLURM = {"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train"}
NAMES = [*TORCHRUN, *SLURM, "RANK", "SLURM_PROCID"]


@pytest.fixture(autouse=True)
def nothing_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def environment(monkeypatch: pytest.MonkeyPatch, names: dict[str, str]) -> None:
    for name, value in names.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("name", "sliced"), [("NVIDIA H100", False), ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", True)])
def test_more_gpus_than_there_are(name: str, sliced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: name)
    asked = ARGUMENTS | {"accelerator": "auto"}
    with pytest.raises(InputError, match=r"trainer\.devices.* 2 .* 1 ") as problem:
        placed(asked | {"devices": 2})
    assert ("MIG slices" in str(problem.value)) == sliced
    assert placed(asked | {"devices": "auto"})["devices"] == "auto"
    assert placed(asked)["devices"] == 1


def test_alone_nothing_changes() -> None:
    assert world() is None
    assert placed(ARGUMENTS | {"devices": 3}) == ARGUMENTS | {"devices": 3}


@pytest.mark.parametrize("started", [TORCHRUN, SLURM])
@pytest.mark.parametrize("devices", [1, 4, "auto", "4", [0, 1, 2, 3], "0,1,2,3"])
def test_the_processes_that_were_started_are_used(
    monkeypatch: pytest.MonkeyPatch, started: dict[str, str], devices: Any
) -> None:
    """Without it, eight processes would each train alone and write to one run directory."""
    environment(monkeypatch, started)
    found = placed(ARGUMENTS | {"devices": devices})
    assert found["num_nodes"] == 2
    assert found["devices"] == (4 if devices in (1, "auto") else devices)


def test_machines_that_nobody_has_started_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"accelerator": "auto", "devices": 1, "num_nodes": 2, "strategy": "auto"}
    with pytest.raises(InputError, match=r"trainer.num_nodes .*2.*MASTER_ADDR"):
        placed(arguments)
    monkeypatch.setenv("MASTER_ADDR", "first")
    assert placed(arguments) == arguments


def test_a_shell_on_a_node_is_as_a_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, SLURM | {"SLURM_JOB_NAME": "bash"})
    assert world() is None


@pytest.mark.parametrize(
    ("started", "given", "message"),
    [
        (TORCHRUN, {"devices": 2}, r"devices 2 .*num_nodes 2 .*4 .*torchrun .*8 .*WORLD_SIZE"),
        (SLURM, {"devices": 2, "num_nodes": 4}, r"SLURM .*8 .*2 .*ntasks"),
        (SLURM, {"devices": [0, 1]}, r"--trainer.devices 4 --trainer.num_nodes 2"),
        (SLURM | {"SLURM_NTASKS": "7"}, {}, r"\b7 .*\b2 nodes"),
        (
            SLURM | {"SLURM_NTASKS": "1", "SLURM_NNODES": "1"},
            {"devices": 2},
            r"\b2 processes.*SLURM .*\b1\b",
        ),
        (TORCHRUN, {"strategy": "fsdp"}, "trainer.strategy fsdp.*ddp"),
    ],
)
def test_a_mismatch_is_refused(
    monkeypatch: pytest.MonkeyPatch, started: dict[str, str], given: dict[str, Any], message: str
) -> None:
    environment(monkeypatch, started)
    with pytest.raises(InputError, match=message):
        placed(ARGUMENTS | given)


def test_a_forgotten_srun_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, SLURM)
    monkeypatch.delenv("SLURM_STEP_ID")
    with pytest.raises(InputError, match=r"srun python -m seq2seq\.train"):
        placed(ARGUMENTS)


def names(port: int, counts: tuple[int, int]) -> list[str]:
    """The name of the launch in two processes of torchrun, which have been told of so many restarts."""
    code = "from seq2seq.cluster.environment import launch_id; print(launch_id(), launch_id())"
    shared = TORCHRUN | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    own = surroundings(**shared)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=own | {"TORCHELASTIC_USE_AGENT_STORE": "True", "RANK": str(rank), "TORCHELASTIC_RESTART_COUNT": str(count)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, count in enumerate(counts)
    ]  # fmt: skip
    return [name for one in started for name in one.communicate(timeout=60)[0].split()]


def test_a_launch_has_one_name_of_its_own() -> None:
    """The store and its port outlive a restart, which the agents count differently; a process that took an answer from
    before would start anew while the other goes on."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    before, after = names(store.port, (0, 0)), names(store.port, (0, 1))
    assert len(before) == len(after) == 4
    assert len(set(before)) == len(set(after)) == 1
    assert set(before) != set(after)


def placements(device: str = "H100 GPU-{}") -> list[ProcessPlacement]:
    """Two hosts of two processes, two cores for each."""
    return [
        ProcessPlacement(rank, f"host{rank // 2}", device.format(rank % 2), frozenset(range(4)), 2)
        for rank in (3, 0, 1, 2)
    ]


def test_what_is_said() -> None:
    assert summary(placements(), "nccl", "started by SLURM") == [
        "4 processes on 2 hosts, started by SLURM, nccl",
        "  host0: ranks 0-1 on H100; for each 2 cores, 2 threads",
        "  host1: ranks 2-3 on H100; for each 2 cores, 2 threads",
    ]
    many = [ProcessPlacement(rank, f"host{rank}", "cpu", frozenset([0]), 1) for rank in range(20)]
    assert summary(many, "gloo", "")[1:3] == [
        f"  host{n}: rank {n} on cpu; for each 1 core, 1 thread" for n in range(2)
    ]
    assert summary(many, "gloo", "")[-1] == "  and 4 more hosts"


def test_two_processes_on_one_gpu_are_refused() -> None:
    refuse_shared(placements())
    refuse_shared(placements("cpu"))
    with pytest.raises(InputError, match=r"\b0 and 1 .*host0 .*H100 GPU-0"):
        refuse_shared(placements("H100 GPU-0"))


def test_processes_that_go_on_from_different_steps_are_refused() -> None:
    refuse_apart([60, 60])
    with pytest.raises(InputError, match=r"rank 0 at step 60, rank 1 at step 0\b.*--resume auto"):
        refuse_apart([60, 0])


def test_too_many_threads_are_warned_of() -> None:
    assert warnings(placements()) == []
    busy = [one._replace(threads=8) if one.host == "host1" else one for one in placements()]
    assert warnings(busy) == ["host1: 2 processes of 8 threads share 4 cores; set OMP_NUM_THREADS=2"]


def test_the_seat_of_this_process() -> None:
    mine = placement(0, torch.device("cpu"))
    assert mine.device == "cpu"
    assert mine.threads == torch.get_num_threads()
    assert mine.cores
