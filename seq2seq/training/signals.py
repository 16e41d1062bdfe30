"""Stopping before the end: what signals and time limits ask for. Light on purpose: signals come before Lightning."""

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from seq2seq.errors import Interrupted, Stopped

NOTHING, STOP, INTERRUPT = 0, 1, 2
"""What is asked for; of several processes the highest counts."""

CATCHES = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP") if hasattr(signal, name)]
"""Termination, the warning of a scheduler, Ctrl-C, a terminal that was closed."""

HANGUP = getattr(signal, "SIGHUP", None)

PATIENCE = 10.0
"""Seconds after which a signal ends a process that has not begun to train and does not listen."""

GRACE = 30.0
"""Seconds that are kept free before a limit of time, besides those that saving takes."""


class Requests:
    """What the operating system has asked of this process.

    While a training is under way a signal only leaves a note, which is read between two optimiser steps: a handler can
    strike in the middle of a step or of a collective. Before, there is nothing to save and the process ends at once.
    """

    def __init__(self) -> None:
        self.asked = NOTHING
        self.begun = False
        """Whether the processes have met and there is something to save."""
        self._noted = False
        self._before: dict[int, Any] = {}
        self._done = threading.Event()

    def install(self) -> None:
        """Receive the signals of this process from now on."""
        if threading.current_thread() is not threading.main_thread():
            return
        ignored = signal.getsignal(HANGUP) == signal.SIG_IGN if HANGUP else False  # by nohup
        caught = [number for number in CATCHES if not (ignored and number == HANGUP)]
        self._before = {number: signal.signal(number, self._receive) for number in caught}
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        self._pipe = os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        keep_from_forks()
        threading.Thread(target=self._insist, name="signals", daemon=True).start()

    def restore(self) -> None:
        """Leave the signals as they were found; after a stop they are ignored until the process has ended."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before and not self._done.is_set():
            self._done.set()
            signal.set_wakeup_fd(-1)
            self._pipe[1].close()  # which ends the thread

    def _insist(self) -> None:
        """End a process that waits outside of Python, for others that never come, where no handler is called."""
        interrupts = 0
        while number := self._pipe[0].read(1):
            interrupts += number[0] == signal.SIGINT
            if number[0] not in CATCHES or (self.begun and interrupts < 2):
                continue
            if not self._done.wait(PATIENCE) and (not self.begun or interrupts > 1):
                print("stopped; the same command starts again from what has been saved", file=sys.stderr, flush=True)
                os._exit(130 if interrupts else 75)
        self._pipe[0].close()

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


@functools.cache
def keep_from_forks() -> None:
    """The signals of a process that is forked, such as a worker, do not reach its parent."""
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


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
        self.end, self.grace = min(limits, default=(float("inf"), 0.0), key=lambda limit: limit[0] - limit[1])

    def near(self, needed: float) -> bool:
        """Whether a training should stop now to end in time; needed: seconds for a step and for saving."""
        return time.monotonic() + needed + self.grace >= self.end
