"""What is measured: ratios and numbers with their spread, on a clock that other programs hardly move, in turns."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import seq2seq
from seq2seq.atomic_files import write_text
from seq2seq.models.products import product, slow_bfloat16

PRODUCT = 1024
"""Rows and columns of the product that is the measure of the machine."""


class Sizes(NamedTuple):
    """How much is measured: the usual network is that of Multi30k."""

    rounds: int = 3
    steps: int = 4
    """Optimiser steps of a window."""
    words: int = 8000
    embedding: int = 256
    hidden: int = 512
    rows: int = 6000
    """Training sentences."""
    batch_tokens: int = 4096
    sentences: int = 512
    """To decode."""
    small: bool = False
    """Whether only to see that all runs."""

    @classmethod
    def quick(cls) -> "Sizes":
        """As little as shows that everything runs."""
        return cls(1, 1, 60, 8, 16, 120, 300, 6, True)


class Figure(NamedTuple):
    """A number with the least and the most of the rounds."""

    value: float
    low: float
    high: float
    unit: str = "x"
    """x of a ratio: the more, the better."""


def clock() -> float:
    """Seconds of this process's computing with one thread, else of the wall clock."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds(work: Callable[[], object]) -> float:
    """That a call takes."""
    started = clock()
    work()
    return clock() - started


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in each round; one round before does not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, work in ways.items():
            taken = seconds(work)
            if number:
                found[name].append(taken)
    return found


class MatrixRate:
    """Floating-point operations a second of a product of square matrices, by the faster of torch's two libraries: what
    the floor is counted with."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.size = PRODUCT
        self.factors = [torch.randn(self.size, self.size).to(dtype) for _ in range(2)]
        self()

    def __call__(self) -> float:
        """Right now."""
        times = 3
        with torch.no_grad():
            taken = seconds(lambda: [product(*self.factors) for _ in range(times)])
        return times * 2 * self.size**3 / taken


class Figures:
    """All that was measured, in order, printed as it comes."""

    def __init__(self) -> None:
        self.all: dict[str, Figure] = {}
        self.part = ""
        self.seconds: dict[str, float] = {}
        self._begun = time.monotonic()

    def begin(self, part: str) -> None:
        """What follows belongs to a part."""
        self.finish()
        self.part, self._begun = part, time.monotonic()
        print(f"{part}:", flush=True)

    def finish(self) -> None:
        """The part is over."""
        if self.part:
            self.seconds[self.part] = round(time.monotonic() - self._begun, 1)
        self.part = ""

    def add(self, name: str, values: Sequence[float], unit: str = "x") -> None:
        """A figure of several rounds: the median, and the spread."""
        figure = Figure(statistics.median(values), min(values), max(values), unit)
        self.all[f"{self.part}: {name}"] = figure
        spread = "" if len(values) < 2 else f"   ({shown(figure.low)} to {shown(figure.high)})"
        print(f"  {name:58} {shown(figure.value):>9} {unit:12}{spread}", flush=True)

    def ratio(self, name: str, above: Sequence[float], below: Sequence[float]) -> None:
        """The first over the second, in each round."""
        self.add(name, [one / other for one, other in zip(above, below, strict=True)])

    def say(self, text: str) -> None:
        """A line that is no number."""
        print(f"  {text}", flush=True)

    def content(self) -> dict[str, Any]:
        """As JSON."""
        figures = {name: figure._asdict() for name, figure in self.all.items()}
        return {"format": 1, "machine": machine(), "seconds": self.seconds, "figures": figures}

    def write(self, path: Path) -> None:
        """To a file."""
        write_text(path, json.dumps(self.content(), indent=1) + "\n")
        print(f"written to {path}", file=sys.stderr)


def shown(value: float) -> str:
    """A number with three digits that mean something."""
    return (
        f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 0.001 or not value else f"{value:.1e}"
    )


def machine() -> dict[str, Any]:
    """What numbers of speed depend on."""
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if dtype is torch.float32 or fast_bfloat16():
            rate = MatrixRate(dtype)
            rates[f"{name} GFLOP/s"] = round(max(rate() for _ in range(3)) / 1e9)
    return {
        "processor": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), **rates,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(), "torch": torch.__version__, "seq2seq": seq2seq.__version__,
    }  # fmt: skip


def processor() -> str:
    """The name of the processor."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def fast_bfloat16() -> bool:
    """Whether this processor has instructions for products in bfloat16."""
    return not slow_bfloat16(torch.device("cpu"))
