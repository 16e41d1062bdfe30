"""Watchdog: each process shows signs of life. When one fails or hangs, all end, and the first failure is named."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq.cluster.environment import process_rank
from seq2seq.errors import InputError

LOST = ("Connection", "Timed out", "timed out", "timeout", "peer", "NCCL", "Gloo", "gloo")
"""Words of the errors that follow from another process's failure."""

PATIENCE = 4.0
"""Seconds that the process that failed first has to report its traceback."""

RESUME = "\nall processes end; continue with --resume auto"
"""What follows the first failure of a training."""

INNERMOST = 15
"""Calls of a stack that are shown."""


def machine() -> str:
    """The same text for processes that see each other's process numbers; two hosts may have one name."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()}/{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    return socket.gethostname()


def die_with_parent() -> None:
    """On Linux: be killed when the first process or the agent of torchrun that started this one ends, whatever ends it.

    In a collective that waits for a lost machine nothing else would end it: it would keep its device and its run.
    """
    if sys.platform != "linux" or not (started_by_first() or "TORCHELASTIC_RUN_ID" in os.environ):
        return
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


class Watchdog:
    """Signs of life of this process in a file of the run directory, and a look at those of the other processes.

    A file system that all share is there anyway; a collective would wait for the very process that is missing.
    """

    def __init__(self, folder: Path, timeout: float, advice: str = RESUME) -> None:
        """timeout: seconds within which all processes end after one has failed; advice: what to do then."""
        self.advice = advice
        self.folder, self.timeout, self.rank, self.machine = folder, timeout, process_rank(), machine()
        self.children: Sequence[subprocess.Popen[bytes]] = ()
        """The local processes that this one has started, in the order of their ranks."""
        self.active = False
        self._first = folder / "failed"
        self._mark, self._reported = time.monotonic(), True
        self._seen: dict[Path, tuple[str, float]] = {}
        self._done = threading.Event()

    def start(self, children: Sequence[Any]) -> None:
        """Begin once all processes are there."""
        self.children, self.active = children, True
        self.folder.mkdir(parents=True, exist_ok=True)
        self._show()
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    def stop(self) -> None:
        """This process ends as it should; the others miss nothing."""
        self._done.set()
        if self.active:
            self.active = False
            with contextlib.suppress(OSError):
                self._own.unlink(missing_ok=True)

    @property
    def _own(self) -> Path:
        return self.folder / f"{self.rank}.alive"

    def step(self) -> None:
        """A training step has been made."""
        self._mark, self._reported = time.monotonic(), False

    def pause(self) -> None:
        """What comes now may take long: a validation, a test."""
        self._reported = True

    def _show(self) -> None:
        with contextlib.suppress(OSError):
            self._own.write_text(f"{self.machine} {os.getpid()} {time.time()}")

    def _look(self) -> None:
        while not self._done.wait(min(2.0, self.timeout / 20)):
            self._show()
            late = time.monotonic() - self._mark
            if not self._reported and late > 0.5 * self.timeout:
                self._reported = True
                message = f"rank {self.rank} has made no step for {late:.0f} s and is here:\n{stack()}"
                print(message, end="", file=sys.stderr, flush=True)  # in one piece: other ranks may print too
            ended = self._ended()
            if ended and not self._first.exists():
                self._done.wait(PATIENCE)  # the failed process, perhaps this one, may report its traceback
            if ended or self._first.exists():
                self._leave(ended)

    def _ended(self) -> str:
        """Which process has ended or shows no life; empty while all do."""
        for rank, child in enumerate(self.children, 1):
            code = child.poll()
            if code not in (None, 0, 75, 130):
                return f"rank {rank} ended with {meaning(code)}"
        for file in self.folder.glob("*.alive"):
            now, shown = time.monotonic(), ""
            with contextlib.suppress(OSError):
                shown = file.read_text()
            if not shown or shown != self._seen.get(file, ("", 0.0))[0]:
                self._seen[file] = (shown, now)
                continue
            where, number, _ = shown.split()
            host, silent = where.partition("/")[0], now - self._seen[file][1]
            name = f"rank {file.stem} (process {number} on {host})"
            if where == self.machine and not alive(int(number)) and file.exists():
                return f"{name} has been killed"
            if silent > 0.6 * self.timeout and file != self._own:
                return f"{name} has shown no life for {silent:.0f} s"
        return ""

    def _leave(self, why: str) -> None:
        """End from this thread: the main one may be waiting in a collective."""
        if self._done.is_set():
            return
        self._note(why, "")
        print(f"{self.first()}{self.advice}", file=sys.stderr, flush=True)
        self.end_peers()
        os._exit(1)

    def failed(self, problem: BaseException) -> bool:
        """Report a failure of this process and end the other local ones. False if another process failed first."""
        self._done.set()
        following = not isinstance(problem, (ValueError, OSError)) and any(word in str(problem) for word in LOST)
        ended, deadline = "", time.monotonic() + PATIENCE
        while following and not ended and not self._first.exists() and time.monotonic() < deadline:
            ended = self._ended()
            time.sleep(0.1)
        mistake = isinstance(problem, InputError)
        stack = "" if mistake else "".join(traceback.format_exception(problem))
        what = f"rank {self.rank} failed first: {problem if mistake else repr(problem)}"
        own = self._note(*((ended, "") if ended else (what, stack))) and not ended
        print(what if own else self.first(), file=sys.stderr, flush=True)
        self.end_peers()
        return own

    def _note(self, what: str, stack: str) -> bool:
        """Write down the first failure; False if there is one already."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = self.folder / f"failed.{self.rank}"
            temporary.write_text(json.dumps({"what": what, "traceback": stack}))
            os.link(temporary, self._first)  # there with all its content, or not at all
            return True
        return False

    def first(self) -> str:
        """The first failure and its traceback."""
        try:
            noted = json.loads(self._first.read_text())
        except (OSError, ValueError):
            return "a process of this training has failed"
        return f"{noted['what']}\n{noted['traceback']}".rstrip()

    def end_peers(self) -> None:
        """Kill the processes that this one has started, or the one that has started it: they may be frozen."""
        numbers = [child.pid for child in self.children if child.poll() is None]
        if started_by_first():
            numbers, deadline = [os.getppid()], time.monotonic() + 2 * PATIENCE
            while time.monotonic() < deadline:  # it reads what was noted, and then ends this process too
                time.sleep(0.1)
        for number in numbers:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)


def stack() -> str:
    """Where the main thread is: its innermost calls, the newest last."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return "".join(traceback.format_stack(frame, limit=INNERMOST))


def started_by_first() -> bool:
    """Whether the first process of this launch is the parent of this one."""
    return "SEQ2SEQ_LAUNCH" in os.environ and int(os.environ.get("LOCAL_RANK", "0")) > 0


def alive(number: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def meaning(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"{name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
