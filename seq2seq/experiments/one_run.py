"""One training from its arguments to its report: fit, score the best checkpoint, write results and page."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jsonargparse import Namespace

from seq2seq.analysis.examine import examine, example_lines
from seq2seq.analysis.gradient_flow import memory_of_split
from seq2seq.analysis.heard import Recorded
from seq2seq.analysis.results_files import publish
from seq2seq.analysis.words import training_counts
from seq2seq.cli import command, inheritance
from seq2seq.cluster.environment import restarted_job
from seq2seq.errors import Finished, InputError, check_range
from seq2seq.runs import run_card
from seq2seq.runs.config_file import to_yaml
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task
from seq2seq.training.arithmetic import arithmetic
from seq2seq.training.fit import Hooks, Validated, fit_and_test, ignored
from seq2seq.training.preparation import Job, announce, claim, prepare, read_teacher, watched
from seq2seq.training.signals import Requests
from seq2seq.training.trainer import own_device

if TYPE_CHECKING:
    from seq2seq.training.learner import Learner


class Outcome(NamedTuple):
    """What a training has left."""

    run: RunDirectory
    results: dict[str, Any]
    """As in results.json."""
    split: str
    """That was scored."""


def begin_or_resume(
    arguments: Sequence[str], started: float, requests: Requests, validated: Validated = ignored
) -> Outcome | None:
    """Read the arguments, take the run directory, and train; None but on the first process of a training that ends.

    validated: is told the optimiser step of each validation and its rank, the higher the better.
    """
    arguments = command.with_metrics(arguments, "--model.metrics")
    command.import_own_modules(arguments)
    with inheritance.inherited(arguments, restarted_job()) as beneath:
        kind = command.task_class([*beneath, *arguments])
        parser = command.training_parser(kind)
        config = command.parse(parser, [*beneath, *arguments])
    run = run_of(config, arguments)
    refuse_endless(config)
    check_range("seed", config.seed, 0, 1 << 63)
    objects, settings = command.instantiate(parser, config), command.plain_settings(parser, config)
    job = Job(run, objects, settings, arguments, started, requests, resume=False, allowed=[])
    if config.replay is not None:
        from seq2seq.training.replay import replay

        device = own_device(objects.trainer)
        with arithmetic(device, objects.trainer.tf32, deterministic=False):
            replay(config.replay, objects.optimizer, read_teacher(job), device)
            return None
    try:
        own_device(objects.trainer)  # refused before the data are read
        return train(job._replace(resume=claim(run, config, settings)), kind, validated)
    except Finished as done:
        announce(run, finished=str(done))
        print(done, file=sys.stderr)
        return None
    except Exception as problem:
        announce(run, failed=" ".join(str(problem).split()))
        raise
    finally:
        run.release()


def run_of(config: Namespace, arguments: Sequence[str]) -> RunDirectory:
    """The run directory that is named, or that the configuration file gives its name."""
    files = command.options(arguments, ("--config",))
    if not files:
        raise InputError("give a configuration: python -m seq2seq.train --config configs/translation_cldr.yaml")
    if config.run == "":
        raise InputError("--run is empty; name a directory, or leave it out for runs/NAME OF THE CONFIGURATION")
    return RunDirectory(Path(config.run or f"runs/{Path(files[-1][1]).stem}"))


def refuse_endless(config: Namespace) -> None:
    """A streamed corpus has no epochs, so somebody must say when to stop and when to validate."""
    counted = {
        "trainer.max_steps": config.trainer.max_steps > 0,
        "trainer.val_check_interval": isinstance(config.trainer.val_check_interval, int),
    }
    missing = " and ".join(name for name, given in counted.items() if not given)
    if config.data.window is not None and missing:
        raise InputError(f"a streamed corpus (data.window) has no epochs; set {missing} to a number of optimiser steps")


def train(job: Job, kind: type[Task], validated: Validated) -> Outcome | None:
    """Prepare, fit, test, report."""
    learner = prepare(job, kind)
    command.quiet_libraries()  # Lightning sets its own level when imported
    with watched(job.run, job.parts.trainer.timeout) as watch:
        records = fit_and_test(job, learner, watch, Hooks(memory_of_split, example_lines, validated))
        if records is None:
            return None
        job.requests.at_once()  # no process waits for this one any more
        results = report(job, learner, records)
        job.run.forget_steps()
    return Outcome(job.run, results, job.parts.score)


def report(job: Job, learner: "Learner", records: dict[str, Any]) -> dict[str, Any]:
    """Look at the predictions of the scored split; write predictions, results and report."""
    started, task, predictions, split = time.monotonic(), learner.task, learner.predictions, job.parts.score
    scored = learner.splits[split]
    as_read = "train" in learner.splits and not job.parts.distillation.sequences
    train_texts = learner.splits["train"].texts if as_read else None
    with arithmetic(learner.device, rounded=False, deterministic=job.parts.trainer.deterministic):
        examined = examine(
            task,
            scored,
            predictions,
            task.decoding,
            learner.device,
            lambda labels: training_counts(
                learner.data, predictions, task.row_format.aligned, labels,
                train=train_texts, content=learner.content,
            ),
            Recorded(learner.data.corpus.sound, lambda rows: learner.data.recorded(split, scored.texts, rows)),
        )  # fmt: skip
    records["timing"]["evaluate"] = round(records["timing"]["evaluate"] + time.monotonic() - started, 2)
    parser = command.training_parser(type(task))
    results = {
        "format": 1,
        "task": type(task).__name__,
        "name": job.run.path.name,
        "splits": {split: examined.results},
        "config": job.settings,
        "changed": run_card.changed(job.settings, command.plain_settings(parser, parser.get_defaults())),
        **records,
    }
    publish(results, examined, job.run, split)
    if job.run.mend(to_yaml(job.settings)):
        print(
            f"{job.run.path} was removed or emptied during the training; config.yaml and results are there again, "
            "older checkpoints and curves are not: keep other programs away from it",
            file=sys.stderr,
        )
    return results
