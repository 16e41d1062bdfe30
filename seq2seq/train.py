"""python -m seq2seq.train: fit, score the best checkpoint on the test split, report."""

import time
from collections.abc import Sequence

from seq2seq.cli import command
from seq2seq.cluster import watchdog
from seq2seq.errors import Interrupted, Stopped
from seq2seq.experiments.one_run import begin_or_resume
from seq2seq.report.terminal import summary
from seq2seq.training.signals import Requests


def main(arguments: Sequence[str]) -> None:
    """Train as the arguments say."""
    started, requests = time.monotonic(), Requests()
    requests.install()
    watchdog.die_with_parent()
    try:
        outcome = begin_or_resume(arguments, started, requests)
    except (Stopped, Interrupted):
        requests.ignore()
        raise
    finally:
        requests.restore()
    if outcome is not None:
        print(summary(outcome.results, outcome.split))
        print(f"\nreport: {outcome.run.report}")


if __name__ == "__main__":
    command.run(main)
