"""Before several processes train: are there as many as the trainer's settings say, does each have its own device?

`placed` asks the environment before the trainer is made; `Preflight` asks all processes once they are connected.
"""

import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from pytorch_lightning import Callback, LightningModule, Trainer

from seq2seq.cluster.environment import World, named_devices, world
from seq2seq.errors import InputError

log = logging.getLogger(__name__)

SHOWN = 16
"""Hosts that are listed."""


def placed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's arguments, with the devices and nodes that torchrun or SLURM has started processes for."""
    if "fsdp" in str(arguments["strategy"]) or "deepspeed" in str(arguments["strategy"]):
        raise InputError(
            f"trainer.strategy {arguments['strategy']} divides the parameters, which clipping and checkpoints here do "
            "not know of; networks of this size fit on one device: use ddp"
        )
    started = world()
    refuse_missing(arguments["accelerator"], arguments["devices"])
    if started is None:
        refuse_alone(arguments["num_nodes"])
        return dict(arguments)
    refuse_uneven(started)
    devices, nodes = arguments["devices"], arguments["num_nodes"]
    devices = started.per_node if devices in (1, "1", "auto", -1, "-1") else devices
    nodes = started.nodes if nodes == 1 else nodes
    refuse_mismatch(started, counted(devices), nodes)
    return {**arguments, "devices": devices, "num_nodes": nodes}


def counted(devices: int | list[int] | str) -> int:
    """How many devices on each node a setting asks for: 2, [0, 1], "0,1" or "2"."""
    named = named_devices(devices)
    return len(named) if named is not None else int(str(devices))


def refuse_missing(accelerator: str, devices: int | list[int] | str) -> None:
    """More GPUs than this process sees."""
    if accelerator not in ("auto", "cuda", "gpu") or not torch.cuda.is_available() or devices in ("auto", -1, "-1"):
        return
    wanted, seen = counted(devices), torch.cuda.device_count()
    if wanted > seen:
        names = ", ".join(torch.cuda.get_device_name(number) for number in range(seen))
        slices = "; of MIG slices a process sees only one" if "MIG" in names else ""
        raise InputError(
            f"trainer.devices asks for {wanted} GPUs, and this process sees {seen} ({names}){slices}; set "
            f"trainer.devices {seen}"
        )


def refuse_alone(nodes: int) -> None:
    """Several machines, of which nothing says where they meet: this one would wait forever."""
    if nodes > 1 and "MASTER_ADDR" not in os.environ:
        raise InputError(
            f"trainer.num_nodes is {nodes}, but nothing has started processes on other machines; start the training "
            "with torchrun or srun (docs/cluster.md), or set MASTER_ADDR, MASTER_PORT and NODE_RANK on each machine"
        )


def refuse_uneven(started: World) -> None:
    """Processes that nobody can find, or spread unevenly."""
    if not started.srun and started.size > 1:
        raise InputError(
            f"SLURM has room for {started.size} processes, but this one was started without srun, so the others will "
            "never come; write: srun python -m seq2seq.train ..."
        )
    if started.size != started.nodes * started.per_node:
        raise InputError(
            f"{started.launcher} has started {started.size} processes on {started.nodes} nodes; "
            "there must be as many on each"
        )


def refuse_mismatch(started: World, devices: int, nodes: int) -> None:
    """More or fewer processes than devices: they would wait for each other forever, or each train alone."""
    if devices * nodes != started.size or nodes != started.nodes:
        name = {"SLURM": "ntasks"}.get(started.launcher, "WORLD_SIZE")
        raise InputError(
            f"trainer.devices {devices} x trainer.num_nodes {nodes} are {devices * nodes} processes, but "
            f"{started.launcher} has started {started.size} on {started.nodes} nodes ({name}); leave both settings "
            f"out, or set --trainer.devices {started.per_node} --trainer.num_nodes {started.nodes}"
        )


class ProcessPlacement(NamedTuple):
    """Host, device and cores of a process."""

    rank: int
    host: str
    device: str
    """cpu, or the name and the unique number of a GPU."""
    cores: frozenset[int]
    """Those that it may use."""
    threads: int


def placement(rank: int, device: torch.device) -> ProcessPlacement:
    """Those of this process."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    name = "cpu"
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name = f"{properties.name} {getattr(properties, 'uuid', device.index)}"
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    return ProcessPlacement(rank, host, name, frozenset(cores), torch.get_num_threads())


def by_host(placements: Sequence[ProcessPlacement]) -> dict[str, list[ProcessPlacement]]:
    """The processes of each host, hosts in the order of their first rank."""
    hosts: dict[str, list[ProcessPlacement]] = {}
    for process in sorted(placements, key=lambda process: process.rank):
        hosts.setdefault(process.host, []).append(process)
    return hosts


def refuse_shared(placements: Sequence[ProcessPlacement]) -> None:
    """Several processes on one GPU are slower than one, and some libraries hang."""
    taken: dict[tuple[str, str], int] = {}
    for process in placements:
        key = process.host, process.device
        if process.device != "cpu" and (other := taken.setdefault(key, process.rank)) != process.rank:
            raise InputError(
                f"ranks {other} and {process.rank} share one GPU of {process.host} ({process.device}); start "
                "one process for each GPU, and let every process see all GPUs of its node"
                + ("; MIG slices cannot train together" if "MIG" in process.device else "")
            )


def refuse_apart(steps: Sequence[int]) -> None:
    """Processes that stand at different optimiser steps: some have resumed and others begun, each right by itself."""
    if len({*steps}) > 1:
        ranks = ", ".join(f"rank {rank} at step {step}" for rank, step in enumerate(steps))
        raise InputError(
            f"the processes resume at different steps ({ranks}); start all of them again with --resume auto, and see "
            "that the run directory is the same on every host"
        )


def warnings(placements: Sequence[ProcessPlacement]) -> list[str]:
    """What makes a training slow but not wrong."""
    texts = []
    for host, here in by_host(placements).items():
        cores = len(frozenset().union(*(process.cores for process in here)))
        threads = sum(process.threads for process in here)
        if threads > cores:
            texts.append(
                f"{host}: {len(here)} processes of {here[0].threads} threads share {cores} cores; "
                f"set OMP_NUM_THREADS={max(1, cores // len(here))}"
            )
    return texts


def summary(placements: Sequence[ProcessPlacement], backend: str, launcher: str) -> list[str]:
    """The processes for the terminal: a line for all, a line for each host."""
    hosts = by_host(placements)
    lines = [f"{len(placements)} processes on {len(hosts)} host{'s' * (len(hosts) > 1)}, {launcher}, {backend}"]
    for host, here in list(hosts.items())[:SHOWN]:
        ranks = f"rank {here[0].rank}" if len(here) == 1 else f"ranks {here[0].rank}-{here[-1].rank}"
        kinds = sorted({process.device.rpartition(" ")[0] or process.device for process in here})
        cores = len(frozenset().union(*(process.cores for process in here))) / len(here)
        lines.append(
            f"  {host}: {ranks} on {', '.join(kinds)}; for each {cores:g} core{'s' * (cores != 1)}, "
            f"{here[0].threads} thread{'s' * (here[0].threads != 1)}"
        )
    return lines + [f"  and {len(hosts) - SHOWN} more hosts"] * (len(hosts) > SHOWN)


class Preflight(Callback):
    """Once all processes are connected: says who they are, and refuses what cannot go well."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        started = world()
        if trainer.world_size == 1:
            return
        placements: list[Any] = [None] * trainer.world_size
        dist.all_gather_object(placements, placement(trainer.global_rank, trainer.strategy.root_device))
        refuse_shared(placements)
        if trainer.is_global_zero:
            launcher = "started by this program" if started is None else f"started by {started.launcher}"
            print("\n".join(summary(placements, dist.get_backend(), launcher)), file=sys.stderr)
            for text in warnings(placements):
                log.warning("%s", text)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:  # the step is known only here, after the checkpoint was read
            steps: list[Any] = [None] * trainer.world_size
            dist.all_gather_object(steps, trainer.global_step)
            refuse_apart(steps)
