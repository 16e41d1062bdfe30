"""Which of several processes this one is, before any process group exists."""

import os
import uuid

OWN = "SEQ2SEQ_LAUNCH"
"""The environment variable that names a launch started by nothing else."""


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
        names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT")
        return "-".join(environment.get(name, "") for name in names)
    if int(environment.get("SLURM_NTASKS", "1")) > 1:
        return "-".join(environment.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"))
    if "MASTER_ADDR" in environment:  # started by hand on several machines
        return f"{environment.get('MASTER_ADDR')}:{environment.get('MASTER_PORT')}"
    environment[OWN] = uuid.uuid4().hex
    return environment[OWN]


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
