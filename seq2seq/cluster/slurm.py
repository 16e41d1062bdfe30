"""SLURM: a job script for a training, handed in and followed."""

import contextlib
import itertools
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jsonargparse import Namespace

from seq2seq.errors import InputError, check_range

OURS = ("--resume", "--overwrite", "--trainer.devices", "--trainer.num_nodes")
"""Options of a training that the script sets, or that would undo a resumption."""

TIME = r"\d+(:[0-5]?\d){0,2}|\d+-\d{1,2}(:[0-5]?\d){0,2}"
"""How sbatch writes a limit."""

SCRIPT = """\
#!/bin/bash
# Written by python -m seq2seq.launch; it may be submitted again with sbatch.
{directives}

# What the shell that submitted the job knew of other processes would mislead these.
unset MASTER_ADDR MASTER_PORT RANK LOCAL_RANK NODE_RANK WORLD_SIZE OMP_NUM_THREADS SEQ2SEQ_LAUNCH
{setup}script={path} run={run}
set -- {arguments}
{tasks}
# The processes meet at the first host; no two jobs that run at once have one port.
if [ -z "$MASTER_ADDR" ] && command -v scontrol > /dev/null; then
    MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) && export MASTER_ADDR
fi
export MASTER_PORT=${{MASTER_PORT:-$((10000 + (SLURM_JOB_ID + ${{SLURM_RESTART_COUNT:-0}}) % 20000))}}
export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-${{SLURM_CPUS_PER_TASK:-1}}}}  # unless --setup sets it
export STOPPED=$run/.stopped
rm -f "$STOPPED"

# Code 75 says: saved, ready to be resumed. It leaves a mark and becomes 0, because any other code of one process ends
# all of them at once, which would be too early for those that are still saving.
srun --kill-on-bad-exit=1 --cpus-per-task="${{SLURM_CPUS_PER_TASK:-1}}" bash -c '
    trap : USR1 TERM
    "$@"
    code=$?
    if [ $code = 75 ] && mkdir -p "${{STOPPED%/*}}" && touch "$STOPPED"; then exit 0; fi
    exit $code
' process {program} -m seq2seq.train "$@" {last}
code=$?

if [ $code = 75 ] || [ -e "$STOPPED" ]; then
    rm -f "$STOPPED"
    if command -v scontrol > /dev/null; then
        scontrol requeue "$SLURM_JOB_ID" && exit 0
        echo "job $SLURM_JOB_ID has saved a checkpoint but could not be queued again" >&2
    else
        echo "job $SLURM_JOB_ID has saved a checkpoint but finds no scontrol to queue itself again (a container?);" \\
            "outside, type: scontrol requeue $SLURM_JOB_ID, or submit it once more: sbatch $script" >&2
    fi
    exit 75
fi
exit $code
"""


class ArrayJob(NamedTuple):
    """One job of an array: what is added to the name of the run, and to the options of the training."""

    suffix: str
    options: list[str]


def divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of the job and those of the training."""
    if {"-h", "--help"} & set(arguments[:2]):
        return ["--help"], []
    if "--" not in arguments:
        raise InputError("the training's own options come after --: python -m seq2seq.launch slurm ... -- --config ...")
    index = list(arguments).index("--")
    return list(arguments[:index]), list(arguments[index + 1 :])


def has(arguments: Sequence[str], name: str) -> bool:
    """Whether an option is given, as `--name value` or `--name=value`."""
    return any(argument.partition("=")[0] == name for argument in arguments)


def check(config: Namespace, training: Sequence[str], given: Mapping[str, str]) -> None:
    """Refuse at once what the job would stumble over hours later. given: the training's --config and --run."""
    for name in ("--config", "--run"):
        if not Path(given.get(name, "")).name or given[name].startswith("--"):
            raise InputError(f"the training's options lack {name} and a name, which the job needs; give it after --")
    for name in OURS:
        if has(training, name):
            raise InputError(f"leave {name} out: the job sets devices and nodes itself and resumes by itself")
    if (config.gpus is None) == (config.processes is None):
        raise InputError("give either --gpus or --processes: how many on each node")
    for name in ("nodes", "gpus", "processes", "cpus", "memory"):
        if config[name] is not None:
            check_range(f"--{name}", config[name], 1)
    check_range("--signal_before", config.signal_before, 0, 65536)
    if config.time is not None and not re.fullmatch(TIME, config.time):
        raise InputError(f"--time {config.time!r} is no limit of SLURM: give HH:MM:SS, DAYS-HH:MM:SS or minutes")
    for option in config.sbatch:
        if not option.startswith("-"):
            raise InputError(f"--sbatch={option} is no option of sbatch; give it with its dashes: --sbatch=--{option}")
    for text in [*filter(None, (config.partition, config.account, config.time)), *config.sbatch, given["--run"]]:
        if not text.isprintable():
            raise InputError(f"{text!r} has no place in a job script; use printable characters only")


def tasks_of(config: Namespace) -> list[ArrayJob]:
    """The jobs of the array, none if it is a single job."""
    choices = []
    if config.array is not None:
        name, values = listed("--array", config.array)
        if name != "seeds":
            raise InputError(f"--array {config.array}: give seeds=1,2,3; other settings go to --sweep")
        if not all(value.isdecimal() for value in values):
            raise InputError(f"--array {config.array}: seeds are whole numbers, one after the other: seeds=1,2,3")
        choices.append([ArrayJob(f"-seed{value}", ["--seed", value]) for value in values])
    for sweep in config.sweep:
        name, values = listed("--sweep", sweep)
        name = name.removeprefix("--")
        taken = {
            "run",
            "config",
            *(option.removeprefix("--") for option in OURS),
            *(["seed"] if config.array is not None else []),
        }
        if name in taken:
            raise InputError(f"--sweep {sweep}: {name} is set by the job itself or by --array; sweep another setting")
        last = name.rpartition(".")[2]
        choices.append([ArrayJob(f"-{last}{re.sub(r'[^0-9A-Za-z.+-]+', '_', v)}", [f"--{name}", v]) for v in values])
    if not choices:
        return []
    made = [
        ArrayJob("".join(job.suffix for job in each), [word for job in each for word in job.options])
        for each in itertools.product(*choices)
    ]
    if len({job.suffix for job in made}) < len(made):
        raise InputError("two jobs of the array would write to one run directory; give each value once")
    return made


def listed(option: str, text: str) -> tuple[str, list[str]]:
    """`name=a,b` as the name and the values."""
    name, _, values = text.partition("=")
    listed_values = [value.strip() for value in values.split(",")]
    if not name or not all(listed_values):
        raise InputError(f"{option} {text} must be NAME=VALUE,VALUE,...")
    return name, listed_values


def script(config: Namespace, training: Sequence[str], path: Path, run: Path, tasks: Sequence[ArrayJob]) -> str:
    """The job script."""
    each = config.gpus or config.processes
    last = ["--resume", "auto", "--trainer.num_nodes", str(config.nodes), "--trainer.devices", str(each)]
    if config.processes is not None and not has(training, "--trainer.accelerator"):
        last += ["--trainer.accelerator", "cpu"]
    return SCRIPT.format(
        path=shlex.quote(str(path)),
        directives="\n".join(f"#SBATCH {line}" for line in directives(config, run, tasks)),
        setup="".join(f"{line}\n" for line in config.setup),
        arguments=shlex.join(training),
        tasks=cases(run, tasks),
        run=shlex.quote(str(run)),
        program=program(config),
        last=shlex.join(last),
    )


def directives(config: Namespace, run: Path, tasks: Sequence[ArrayJob]) -> list[str]:
    """The options of sbatch."""
    log = str(run).replace("%", "%%") + ("-%a.log" if tasks else ".log")
    given = {
        "job-name": run.name,
        "nodes": config.nodes,
        "ntasks-per-node": config.gpus or config.processes,
        "gres": config.gpus and f"gpu:{config.gpus}",
        "cpus-per-task": config.cpus,
        "mem": config.memory and f"{config.memory}G",
        "time": config.time,
        "partition": config.partition,
        "account": config.account,
        "array": f"0-{len(tasks) - 1}" if tasks else None,
        "output": log,
        "open-mode": "append",
        # Without B: the signal goes to the processes of the training, not to this script.
        "signal": f"USR1@{config.signal_before}",
    }
    lines = [f"--{name}={shlex.quote(str(value))}" for name, value in given.items() if value is not None]
    return [*lines, "--requeue", *config.sbatch]


def cases(run: Path, tasks: Sequence[ArrayJob]) -> str:
    """What tells the jobs of an array apart."""
    if not tasks:
        return ""
    lines = ["case $SLURM_ARRAY_TASK_ID in"]
    for number, task in enumerate(tasks):
        own = shlex.quote(f"{run}{task.suffix}")
        lines.append(f'    {number}) run={own} && set -- "$@" {shlex.join(task.options)} --run "$run" ;;')
    return "\n".join([*lines, "esac", ""])


def program(config: Namespace) -> str:
    """The Python of the job: this one, unless a line of --setup or an image brings another."""
    if config.container is not None:
        return shlex.join(["apptainer", "exec", *(["--nv"] if config.gpus else []), config.container, "python"])
    return "python" if config.setup else shlex.quote(sys.executable)


def submit(path: Path) -> str:
    """Give the script to SLURM; the number of the job."""
    done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"sbatch refused {path}: {' '.join(done.stderr.split()) or f'code {done.returncode}'}")
    return done.stdout.split(";")[0].strip()


def state(job: str) -> str:
    """What SLURM says of a job, such as PENDING or RUNNING."""
    done = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True)
    match = re.search(r"JobState=(\w+)", done.stdout)
    return match[1] if match else "UNKNOWN"


def follow(job: str, log: Path, begin: int) -> int:
    """Show what the job writes until it has ended; 0 if it has finished."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            now = state(job)  # before the log is read, so that its last words are shown
            if log.exists():
                with log.open(encoding="utf-8", errors="replace") as file:
                    file.seek(begin)
                    print(file.read(), end="", flush=True)
                    begin = file.tell()
            if now not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED", "PREEMPTED"):
                print(f"job {job}: {now}", file=sys.stderr)
                return int(now != "COMPLETED")
            time.sleep(1)
    print(f"job {job} keeps running; to stop it: scancel {job}", file=sys.stderr)
    return 130
