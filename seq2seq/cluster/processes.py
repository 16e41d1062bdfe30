"""Several processes of a command that predicts: started, watched, each with its share, their results gathered.

What they send each other are predictions, plain Python objects in main memory, so they speak gloo on GPUs too.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore  # torch.distributed exports it without a type

from seq2seq.cluster.environment import OWN, launch_id, process_rank, world
from seq2seq.cluster.watchdog import Watchdog, started_by_first
from seq2seq.errors import InputError

T = TypeVar("T")

FOLDER = "SEQ2SEQ_PROCESSES"
"""The environment variable with the directory in which processes show signs of life."""

TIMEOUT = 60.0
"""Seconds within which all have ended after one has failed or hangs."""

LONG = timedelta(days=30)
"""The longest share of the work: whether the others live, the watchdog sees."""


class Processes:
    """This process among those of one command."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.ended = size == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that reads and writes."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """The batches of this process among all."""
        return slice(self.rank, None, self.size)

    def agreed(self, value: T) -> T:
        """The first process's value, on all."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values)
        return values[0]  # type: ignore[no-any-return]

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The items that the first process reads, on all; the others' own are not looked at."""
        if not self.first:
            while (sent := self.agreed(None)) is not None:
                yield sent[0]
            return
        for item in items:
            self.agreed((item,))
            yield item
        self.end()

    def end(self) -> None:
        """No further item comes."""
        if self.first and not self.ended:
            self.ended = True
            with contextlib.suppress(RuntimeError):  # of processes that have ended themselves
                self.agreed(None)

    def gathered(self, compute: Callable[[], T]) -> list[T]:
        """What each process computes, on the first, where a mistake of any of them is raised; nothing on the others."""
        if self.size == 1:
            return [compute()]
        mine: tuple[T | None, str | None]
        try:
            mine = compute(), None
        except InputError as problem:
            mine = None, str(problem)
        shares: list[Any] | None = [None] * self.size if self.first else None
        dist.gather_object(mine, shares)
        for _, mistake in shares or ():
            if mistake is not None:
                raise InputError(mistake)
        return [share for share, _ in shares or ()]


class Place(NamedTuple):
    """Which of how many processes this one is."""

    rank: int
    size: int
    local: int
    """Its number on this machine."""
    per_node: int


def place(devices: int) -> Place:
    """That of this process; devices: processes that are wanted on this machine, 1 for those that are there."""
    if started_by_first():
        return Place(process_rank(), devices, process_rank(), devices)
    started = world()
    if started is None or (started.launcher == "SLURM" and not started.srun) or started.size == 1:
        return Place(0, devices, 0, devices)
    if started.launcher == "SLURM":
        raise InputError(
            f"srun has started {started.size} processes, each of which would do all of it; start one with --devices "
            f"{started.per_node}, or torchrun on each machine"
        )
    if devices not in (1, started.per_node):
        raise InputError(
            f"--devices {devices}, but torchrun has started {started.per_node} processes on this machine; leave it out"
        )
    return Place(process_rank(), started.size, int(os.environ["LOCAL_RANK"]), started.per_node)


@contextlib.contextmanager
def joined(at: Place, command: Sequence[str]) -> Iterator[Processes]:
    """Inside, the processes are connected, and the failure of one ends all. command: arguments of Python for another.

    Unless something else has started them, the first process starts the others.
    """
    if at.size == 1:
        yield Processes()
        return
    own = world() is None or started_by_first()
    folder = folder_of(own)
    watch, children, store = Watchdog(folder, TIMEOUT, ""), [], None
    if own and at.rank == 0:
        store = TCPStore("127.0.0.1", 0, at.size, True, wait_for_workers=False)
        children = [start(command, rank, at.size, store.port, folder) for rank in range(1, at.size)]
    elif own:
        store = TCPStore("127.0.0.1", int(os.environ["MASTER_PORT"]), at.size, False)
    processes = Processes(at.rank, at.size)
    watch.start(children)
    try:
        dist.init_process_group("gloo", store=store, rank=at.rank, world_size=at.size, timeout=LONG)
        yield processes
    except (InputError, BrokenPipeError):  # between two items: the first process alone reads and writes
        processes.end()
        raise
    except Exception as problem:
        if not watch.failed(problem):
            sys.exit(1)  # it follows from another's failure, which has been reported
        raise
    finally:
        watch.stop()
        finish(children, at.rank == 0, folder)


def folder_of(own: bool) -> Path:
    """Where the processes of this launch, on this machine, show signs of life."""
    if not own:
        return Path(tempfile.gettempdir()) / f"seq2seq-{launch_id()}"
    return Path(os.environ[FOLDER]) if started_by_first() else Path(tempfile.mkdtemp(prefix="seq2seq-"))


def start(command: Sequence[str], rank: int, size: int, port: int, folder: Path) -> "subprocess.Popen[bytes]":
    """Another process of this command, which writes nothing and shares the processor's cores."""
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // size))}
    ours = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment = threads | os.environ | {name: str(value) for name, value in ours.items()}
    environment |= {OWN: uuid.uuid4().hex, FOLDER: str(folder)}
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "start_new_session": True}
    return subprocess.Popen([sys.executable, *command], env=environment, **quiet)


def finish(children: Sequence["subprocess.Popen[bytes]"], first: bool, folder: Path) -> None:
    """Leave the group; what this process has started ends with it."""
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)
        child.kill()
        child.wait()
    if dist.is_initialized():
        dist.destroy_process_group()
    if first:
        shutil.rmtree(folder, ignore_errors=True)
