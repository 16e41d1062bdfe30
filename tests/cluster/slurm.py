"""A SLURM of two nodes on this machine, in a directory of its own, without munge and without touching any other."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support import ROOT

NEEDED = ("slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "sinfo", "scancel", "srun")

CONFIGURATION = """\
ClusterName=t
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=10
MinJobAge=300
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[3]} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=low Nodes=n[1-2] Default=YES MaxTime=60 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=high Nodes=n[1-2] MaxTime=60 State=UP PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str | None:
    """Why there can be none on this machine."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        return f"no {', '.join(missing)} here: apt-get install slurmctld slurmd slurm-client"
    return None if os.geteuid() == 0 else "only root may start the daemons of SLURM"


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Slurm:
    """The daemons, and what a user types."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", "log", "run", "spool.n1", "spool.n2"):
            (folder / name).mkdir()
        host = socket.gethostname().split(".")[0]
        file = folder / "slurm.conf"
        file.write_text(CONFIGURATION.format(host=host, folder=folder, ports=free_ports(4)))
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"SLURM_CONF": str(file), "PATH": path, "PYTHONPATH": str(ROOT)}
        ours = ("SEQ2SEQ_LAUNCH", "SLURM_", "SBATCH_")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)} | own

    def start(self) -> None:
        """Start the daemons and wait for the nodes."""
        config = self.environment["SLURM_CONF"]
        self("slurmctld", "-f", config, "-c")
        for node in ("n1", "n2"):
            self("slurmd", "-f", config, "-N", node, "-c")
        until(lambda: self("sinfo", "-h", "-p", "low", "-t", "idle", "-o", "%D").strip() == "2", 30, "two idle nodes")

    def stop(self) -> None:
        """End all jobs and the daemons."""
        self("scancel", "--user", "root")
        until(lambda: not self("squeue", "-h").strip(), 60, "an empty queue")
        files = sorted((self.folder / "run").glob("*.pid"), reverse=True)
        for file in files:
            os.kill(int(file.read_text()), signal.SIGTERM)
        until(lambda: not any(file.exists() for file in files), 30, "the end of the daemons")

    def __call__(self, *command: str) -> str:
        """What a program of SLURM says."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def show(self, job: str, name: str) -> str:
        """Something that SLURM knows of a job."""
        found = re.search(rf"\b{name}=(\S*)", self("scontrol", "show", "job", job))
        assert found
        return found[1]

    def wait(self, job: str, state: str, seconds: float) -> None:
        """Wait for a state of a job."""
        until(lambda: self.show(job, "JobState") == state, seconds, f"job {job} {state}")
