"""What a device was asked to do: launches, waits of the host, calls of cuDNN, each with the line of the project."""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import seq2seq

PACKAGE = str(Path(seq2seq.__file__).parent)


@dataclass
class Counts:
    """Counted since the last `clear`."""

    launches: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Kernels and copies by (operation, line), without cuDNN's own; a call of cuDNN is one."""
    waits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Full synchronisations of the stream by (reason, line)."""
    pageable: Counter[str] = field(default_factory=Counter)
    """Copies that were to be non-blocking, from memory that is not pinned, by line: the host copies them itself."""
    cudnn: list[tuple[str, ...]] = field(default_factory=list)
    """Calls of cuDNN's RNNs: direction, kind and dtype."""
    tf32: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """Calls in 32 bits of cudnn and of matmul, and whether they may round to TF32."""
    views: int = 0
    """Views and allocations, which launch nothing."""
    calls: int = 0
    """Of the function that was counted (`during`)."""

    def launch(self, name: str, number: int = 1) -> None:
        """Note launches."""
        self.launches[name, line()] += number

    def wait(self, reason: str) -> None:
        """Note a wait."""
        self.waits[reason, line()] += 1

    def summary(self, per: float = 1, lines: int = 12) -> str:
        """For people: totals, then the lines that wait, and those that launch most."""
        total, waited = sum(self.launches.values()) / per, sum(self.waits.values()) / per
        text = [f"{total:.1f} launches, {waited:.2f} waits, {len(self.cudnn) / per:.1f} calls of cuDNN"]
        text += [f"  {n / per:6.2f} x {reason:30} {at}" for (reason, at), n in self.waits.most_common(lines)]
        by_line: Counter[str] = Counter()
        for (_, at), n in self.launches.items():
            by_line[at] += n
        return "\n".join(
            [*text, "  launches: " + "; ".join(f"{n / per:.1f} {at}" for at, n in by_line.most_common(lines))]
        )


class Current:
    """Where counts go."""

    counts = Counts()


def now() -> Counts:
    """The counts that are under way."""
    return Current.counts


@contextlib.contextmanager
def counting() -> Iterator[Counts]:
    """Inside, everything is counted anew."""
    before, Current.counts = Current.counts, Counts()
    try:
        yield Current.counts
    finally:
        Current.counts = before


@contextlib.contextmanager
def during(owner: type, name: str) -> Iterator[Counts]:
    """Inside, what happens in calls of a method is counted, and nothing else."""
    method, total = getattr(owner, name), Counts()

    @wraps(method)
    def counted(*arguments: Any, **named: Any) -> Any:
        before, Current.counts = Current.counts, total
        total.calls += 1
        try:
            return method(*arguments, **named)
        finally:
            Current.counts = before

    setattr(owner, name, counted)
    try:
        yield total
    finally:
        setattr(owner, name, method)


def waits(function: Callable[[], Any]) -> int:
    """How often the host waits for the device in a call."""
    with counting() as counts:
        function()
    return sum(counts.waits.values())


def launches(function: Callable[[], Any]) -> int:
    """How much a call launches on the device."""
    with counting() as counts:
        function()
    return sum(counts.launches.values())


def line() -> str:
    """The innermost line of the project that is running, as file:line function."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE):
            return f"{name[len(PACKAGE) + 1 :]}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "(backward)"
