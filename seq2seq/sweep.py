"""python -m seq2seq.sweep: many trainings over a space of settings, compared on the validation split."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from jsonargparse import ArgumentParser, Namespace

from seq2seq.api.training import Run
from seq2seq.cli import command
from seq2seq.cluster.environment import world
from seq2seq.cluster.slurm import has
from seq2seq.errors import InputError, check_range
from seq2seq.experiments import sweeping
from seq2seq.experiments.space import SEED, Space, read_space, refuse_misfit_space
from seq2seq.experiments.study import Pruner, Sampler, StudyFolder, SweepPlan
from seq2seq.report.sweep import table


def parser() -> ArgumentParser:
    """The options of the sweep; those of every training follow after --."""
    made = command.parser_for("sweep", "Train over a space of settings and compare on the validation split.")
    made.usage = "%(prog)s --config FILE --space FILE [options] [-- OPTIONS OF seq2seq.train]"
    made.add_argument("--config", type=str, required=True, help="YAML file of the training that the space varies")
    made.add_argument("--space", type=Path, required=True, help="YAML file that maps settings to what they may be")
    made.add_argument("--trials", type=int | None, help="trainings in all; a grid has as many as it has points")
    made.add_argument("--folder", type=str | None, help="where to (default: sweeps/<name of the space file>)")
    made.add_argument(
        "--sampler",
        type=Sampler,
        default="tpe",
        help="grid: all combinations; random; tpe: near what was good (Bergstra et al. 2011)",
    )
    made.add_argument(
        "--pruner",
        type=Pruner,
        default="none",
        help="end trials early: median, whose validation score is below the median of others at that step; halving, "
        "that are not among the best quarter (Jamieson and Talwalkar 2016)",
    )
    made.add_argument("--seed", type=int, default=1, help="seed of what is tried; that of a training goes after --")
    return made


def main(arguments: Sequence[str]) -> None:
    """Sweep as the arguments say."""
    mine, training = divided(arguments)
    config = command.parse(parser(), mine)
    base = [f"--config={config.config}", *training]
    space = read_space(config.space)
    check(config, space, training)
    refuse_misfit_space(space, config.space, base)
    trained = command.training_parser(command.task_class(base))
    settings = command.plain_settings(trained, refuse_several(command.parse(trained, base)))
    plan = SweepPlan(space, settings, config.sampler, config.pruner, config.seed)
    folder = StudyFolder(sweeping.folder_of(config.folder, config.space), plan)
    wanted = folder.wanted(config.trials)
    folder.open()
    sweeping.work(folder, base, wanted)
    sweeping.test_winner(folder, wanted, score)
    content = sweeping.publish(folder)
    print(table(content).terminal())
    print(f"\nreport: {folder.path / 'sweep.html'}")


def score(run: Path, output: Path) -> None:
    """Score a run on the test split, and write that to a folder; what is there is replaced."""
    Run(run).evaluate("test", output=str(output), overwrite=True)


def divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of the sweep and those of every training."""
    index = list(arguments).index("--") if "--" in arguments else len(arguments)
    return list(arguments[:index]), list(arguments[index + 1 :])


def check(config: Namespace, space: Space, training: Sequence[str]) -> None:
    """Refuse what cannot be a sweep."""
    if config.trials is None and config.sampler != "grid":
        raise InputError(f"--trials is missing: how many trainings; only --sampler grid, of {get_args(Sampler)}, knows")
    check_range("--trials", 1 if config.trials is None else config.trials, 1)
    check_range("--seed", config.seed, 0, 1 << 63)
    for name in (*command.ONCE, "score"):
        if has(training, f"--{name}"):
            raise InputError(f"leave --{name} out after --: the sweep sets it for each trial")
    if SEED in space.settings and config.pruner != "none":
        raise InputError("--pruner would leave out the bad seeds of a configuration; set --pruner none, or drop seed")


def refuse_several(config: Namespace) -> Namespace:
    """Raise InputError where a trial would be several processes, which start as this one was started."""
    devices = config.trainer.devices
    several = devices not in (1, "1") and not (isinstance(devices, list) and len(devices) == 1)
    if several or config.trainer.num_nodes != 1:
        raise InputError(
            "trainer.devices and trainer.num_nodes must be 1 in a sweep; start the same command once for each device, "
            "with CUDA_VISIBLE_DEVICES or as an array of jobs: they share the folder"
        )
    started = world()
    if started is not None and started.size > 1:
        raise InputError(
            f"{started.launcher} has started {started.size} processes as one; a sweep takes an array of jobs of one "
            "process each, which share the folder: sbatch --ntasks=1 --array=0-7"
        )
    return config


if __name__ == "__main__":
    if sys.argv[1:2] == []:
        sys.argv.append("--help")
    command.run(main)
