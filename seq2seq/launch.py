"""python -m seq2seq.launch slurm ... -- OPTIONS OF THE TRAINING: write a job script, submit it, follow it.

The job saves a checkpoint before its time is up or when it is pre-empted, queues itself again and resumes.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from seq2seq.cli import command
from seq2seq.cluster.slurm import check, divided, follow, script, submit, tasks_of
from seq2seq.errors import InputError


def parser() -> ArgumentParser:
    """The options of the job; those of the training follow after --."""
    made = command.parser_for("launch", "Submit a training as a job that survives time limits and pre-emption.")
    made.usage = "%(prog)s slurm [options] -- OPTIONS OF seq2seq.train"
    several: dict[str, Any] = {"type": str, "action": "append", "default": []}
    made.add_argument("kind", type=Literal["slurm"], help="what manages the cluster")
    made.add_argument("--nodes", type=int, default=1, help="machines")
    made.add_argument("--gpus", type=int | None, help="GPUs on each machine, one process for each")
    made.add_argument("--processes", type=int | None, help="processes on each machine, without GPUs")
    made.add_argument("--time", type=str | None, help="limit, such as 20:00:00; after it another job resumes")
    made.add_argument("--partition", type=str | None, help="part of the cluster")
    made.add_argument("--account", type=str | None, help="who pays")
    made.add_argument("--cpus", type=int | None, help="cores for each process")
    made.add_argument("--memory", type=int | None, help="GiB on each machine")
    made.add_argument("--signal_before", type=int, default=120, help="seconds before the limit in which to save")
    made.add_argument("--array", type=str | None, metavar="seeds=1,2,3", help="one job for each seed")
    made.add_argument("--sweep", **several, metavar="OPTION=A,B", help="one job for each value; again for a product")
    made.add_argument("--container", type=str | None, metavar="IMAGE", help="train inside this image, by apptainer")
    made.add_argument("--setup", **several, help="shell line before the training; may be given several times")
    made.add_argument("--sbatch", **several, metavar="OPTION", help="any other option of sbatch: --sbatch=--qos=high")
    made.add_argument("--dry_run", **command.SWITCH, help="show the script, write and submit nothing")
    made.add_argument("--follow", **command.SWITCH, help="show the log until the job has ended")
    return made


def main(arguments: Sequence[str]) -> int:
    """Submit as the arguments say."""
    mine, training = divided(arguments)
    config, given = command.parse(parser(), mine), dict(command.options(training, ("--config", "--run")))
    check(config, training, given)
    run = Path(given["--run"])
    path, tasks = run.with_name(f"{run.name}.sbatch"), tasks_of(config)
    if config.follow and tasks:
        raise InputError(f"--follow shows one log, and this is an array; look at {run}-*.log")
    text = script(config, training, path, run, tasks)
    if config.dry_run:
        print(text, end="")
        return 0
    if shutil.which("sbatch") is None:
        raise InputError("there is no sbatch here; call this on a login node, or see the script with --dry_run")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    log = path.with_suffix(".log")
    begin = log.stat().st_size if log.exists() else 0
    job = submit(path)
    print(job)
    where = f"{run}-*.log" if tasks else log
    print(f"job {job} submitted; script {path}, log {where}", file=sys.stderr)
    return follow(job, log, begin) if config.follow else 0


if __name__ == "__main__":
    command.run(main)
