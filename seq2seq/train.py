"""python -m seq2seq.train: fit, score the best checkpoint on the test split, report."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from seq2seq.cli import command
from seq2seq.cluster import watchdog
from seq2seq.errors import Finished, InputError, Interrupted, Stopped, check_range
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training.signals import Requests

if TYPE_CHECKING:
    pass
from seq2seq.training.fit import fit_and_test
from seq2seq.training.preparation import Job, claim, decoding_device, prepare, read_teacher, tell, watched


def main(arguments: Sequence[str]) -> None:
    """Train as the arguments say."""
    started, requests = time.monotonic(), Requests()
    requests.install()
    if watchdog.started_by_first():
        watchdog.die_with_parent()
    try:
        begin_or_resume(arguments, started, requests)
    except (Stopped, Interrupted):
        requests.ignore()
        raise
    finally:
        requests.restore()


def begin_or_resume(arguments: Sequence[str], started: float, requests: Requests) -> None:
    """Read the arguments, take the run directory, and train."""
    kind = command.task_class(arguments)
    parser = command.training_parser(kind)
    config = command.parse(parser, arguments)
    files = command.options(arguments, ("--config",))
    if not files:
        raise InputError("give a configuration: python -m seq2seq.train --config configs/translation_cldr.yaml")
    refuse_endless(config)
    if config.run == "":
        raise InputError("--run is empty; name a directory, or leave it out for runs/NAME OF THE CONFIGURATION")
    run = RunDirectory(Path(config.run or f"runs/{Path(files[-1][1]).stem}"))
    objects, settings = command.instantiate(parser, config), command.plain_settings(parser, config)
    check_range("seed", config.seed, 0, 1 << 63)
    if config.replay is not None:
        from seq2seq.training.replay import replay

        job = Job(run, objects, settings, arguments, started, requests, False, [])
        return replay(config.replay, read_teacher(job), decoding_device(job))
    try:
        job = Job(run, objects, settings, arguments, started, requests, claim(run, config), [])
        learner = prepare(job, kind)
        with watched(run, objects.trainer.timeout) as watch:
            fit_and_test(job, learner, watch)
    except Finished as done:
        tell(run, finished=str(done))
        print(done, file=sys.stderr)
    except Exception as problem:
        tell(run, failed=" ".join(str(problem).split()))
        raise
    finally:
        run.release()


def refuse_endless(config: Namespace) -> None:
    """A streamed corpus has no epochs, so somebody must say when to stop and when to validate."""
    counted = {
        "trainer.max_steps": config.trainer.max_steps > 0,
        "trainer.val_check_interval": isinstance(config.trainer.val_check_interval, int),
    }
    missing = " and ".join(name for name, given in counted.items() if not given)
    if config.data.window is not None and missing:
        raise InputError(f"a streamed corpus (data.window) has no epochs; set {missing} to a number of optimiser steps")


if __name__ == "__main__":
    command.run(main)
