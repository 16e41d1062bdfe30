"""Which of several processes this one is, and how many have been started, before any process group exists."""

import functools
import os
import time
import uuid
from typing import Any, NamedTuple

OWN = "SEQ2SEQ_LAUNCH"
"""The environment variable that names a launch started by nothing else."""

STORES: list[Any] = []
"""Kept open: the first process may be the one that serves it."""


class World(NamedTuple):
    """The processes that something outside of this program has started."""

    launcher: str
    """torchrun or SLURM."""
    size: int
    nodes: int
    per_node: int
    """Processes on each node; size = nodes * per_node unless they are spread unevenly."""
    srun: bool = True
    """Of SLURM: whether this process is one of srun's, not the batch script's own."""


def world() -> World | None:
    """What the environment says of the processes; None where this program starts them itself."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        size, per_node = (int(environment[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return World("torchrun", size, int(environment.get("GROUP_WORLD_SIZE", size // per_node)), per_node)
    # As Lightning decides it: in a shell on a node, processes are started as on a desk.
    if "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        size, nodes = int(environment["SLURM_NTASKS"]), int(environment.get("SLURM_NNODES", "1"))
        return World("SLURM", size, nodes, -(-size // nodes), "SLURM_STEP_ID" in environment)
    return None


def named_devices(devices: int | list[int] | str) -> list[int] | None:
    """The devices that a setting names one by one, as [0, 1] or "0,1"; None where it says how many."""
    if isinstance(devices, str) and "," in devices:
        return [int(number) for number in devices.split(",") if number.strip()]
    return devices if isinstance(devices, list) else None


def process_rank() -> int:
    """The number of this process, 0 before any other has been started."""
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        return int(os.environ["SLURM_PROCID"])
    return int(os.environ.get("LOCAL_RANK", "0")) + int(os.environ.get("NODE_RANK", "0"))


def launch_id() -> str:
    """What the processes of one launch have in common."""
    environment = os.environ
    if OWN in environment:  # set by the first process, inherited by those that Lightning starts
        return environment[OWN]
    if "TORCHELASTIC_RUN_ID" in environment:
        return agreed_name()
    if int(environment.get("SLURM_NTASKS", "1")) > 1:
        return "-".join(environment.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"))
    if "MASTER_ADDR" in environment:  # started by hand on several machines
        return f"{environment.get('MASTER_ADDR')}:{environment.get('MASTER_PORT')}"
    environment[OWN] = uuid.uuid4().hex
    return environment[OWN]


@functools.cache
def agreed_name() -> str:
    """A name that the processes of torchrun agree on, each time they are started.

    Nothing in the environment is such a name: address and port stay the same over restarts, and the agents of several
    machines count these differently. The store of torchrun may hold answers from before a restart, so every process
    asks with a number of its own and takes only an answer to that.
    """
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    STORES.append(store)
    return request_run_name(store, rank) if rank else serve_run_name(store, size)


def serve_run_name(store: Any, size: int) -> str:
    """The first process makes the name and answers until all others have acknowledged it."""
    name, answered = uuid.uuid4().hex, dict.fromkeys(range(1, size), "")
    while answered:
        for other in list(answered):
            question = look_up(store, f"{OWN}/{other}/question")
            if question != answered[other]:
                store.set(f"{OWN}/{other}/answer", f"{question} {name}")
                answered[other] = question
            if look_up(store, f"{OWN}/{other}/received") == name:
                del answered[other]
        time.sleep(0.02)
    return name


def request_run_name(store: Any, rank: int) -> str:
    """Another process asks for the name."""
    mine, question, name = uuid.uuid4().hex, "", ""
    store.set(f"{OWN}/{rank}/question", mine)
    while question != mine:
        time.sleep(0.02)
        question, _, name = look_up(store, f"{OWN}/{rank}/answer").partition(" ")
    store.set(f"{OWN}/{rank}/received", name)
    return name


def look_up(store: Any, key: str) -> str:
    """What a store holds under a key, nothing if it holds nothing."""
    return str(store.get(key), "utf-8") if store.check([key]) else ""


def started_together() -> bool:
    """Whether something else has started several processes, which all begin at the same time."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def restarted_job() -> str | None:
    """The job that its scheduler has started anew, after a failure or a pre-emption; None in any other case."""
    counts = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    again = any(int(os.environ.get(count) or 0) > 0 for count in counts)
    return (scheduled_job() or "unnamed") if again else None


def scheduled_job() -> str | None:
    """The job that this process belongs to."""
    for name in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"):
        if name in os.environ:
            return f"{name}={os.environ[name]}"
    return None
