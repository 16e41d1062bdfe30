"""Stopping before the end: what signals and limits of time ask for. Light on purpose: signals come before Lightning."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from seq2seq.errors import Interrupted, Stopped

NOTHING, STOP, INTERRUPT = 0, 1, 2
"""What is asked for; of several processes the highest counts."""

CATCHES = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)]
"""Termination, the warning of a scheduler, Ctrl-C."""

GRACE = 30.0
"""Seconds that are kept free before a limit of time, besides those that saving takes."""


class Requests:
    """What the operating system has asked of this process.

    While a training is under way a signal only leaves a note, which is read between two optimiser steps: a handler can
    strike in the middle of a step or of a collective. Before, there is nothing to save and the process ends at once.
    """

    def __init__(self) -> None:
        self.asked = NOTHING
        self._noted = False
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Receive the signals of this process from now on."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in CATCHES}

    def restore(self) -> None:
        """Leave the signals as they were found; after a stop they are ignored until the process has ended."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """A scheduler may repeat its signal while the interpreter ends, and the exit code must not depend on it."""
        self._before = dict.fromkeys(self._before, signal.SIG_IGN)
        self.restore()

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Inside, a signal leaves a note instead of ending what is under way."""
        self._noted = True
        try:
            yield
        finally:
            self._noted = False

    def _receive(self, number: int, frame: Any) -> None:
        again = number == signal.SIGINT and self.asked == INTERRUPT
        self.asked = max(self.asked, INTERRUPT if number == signal.SIGINT else STOP)
        if again:
            raise KeyboardInterrupt  # the second Ctrl-C waits for nothing
        if not self._noted:
            raise stopped(self.asked, "stopped; the same command starts again from what has been saved")

    def at_once(self) -> None:
        """From now on nothing needs a moment that suits: a signal, even one that came before, ends the process."""
        self._noted = False
        if self.asked:
            raise stopped(self.asked, "stopped after the training; continue with --resume true")


def stopped(asked: int, message: str) -> BaseException:
    """What ends a training that is asked to stop."""
    return Interrupted(message) if asked == INTERRUPT else Stopped(message)


class Deadline:
    """The moment at which this process will be ended, and whether it is time to save before it."""

    def __init__(self, limit: float | None, started: float) -> None:
        """limit: seconds from `started`, a time of the monotonic clock; a job of SLURM has a limit of its own."""
        limits = [] if limit is None else [(started + limit, min(GRACE, limit / 10))]
        ends = os.environ.get("SLURM_JOB_END_TIME", "")
        if ends.isdigit():
            limits.append((time.monotonic() + int(ends) - time.time(), GRACE))
        self.end, self.grace = min(limits, default=(float("inf"), 0.0), key=lambda one: one[0] - one[1])

    def near(self, needed: float) -> bool:
        """Whether a training should stop now to end in time; needed: seconds for a step and for saving."""
        return time.monotonic() + needed + self.grace >= self.end
