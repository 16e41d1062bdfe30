"""python -m tests.cuda.measure: launches and waits of training and decoding steps, as a table; -v names the lines."""

import contextlib
import ctypes
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.cuda.build import library

ctypes.CDLL(str(library()), ctypes.RTLD_GLOBAL)  # before torch looks for devices

from tests.cuda import host  # noqa: E402
from tests.cuda.counts import Counts  # noqa: E402
from tests.cuda.device import pretending  # noqa: E402
from tests.cuda.workloads import LENGTH, WORKLOADS, decoding, diagnosis, training  # noqa: E402

TRANSLATION = "translation"


def row(title: str, counts: Counts, per: int) -> None:
    """One line, and with -v what stands behind it."""
    launched, waited = sum(counts.launches.values()) / per, sum(counts.waits.values()) / per
    print(f"| {title} | {launched:,.1f} | {waited:.2f} | {len(counts.cudnn) / per:.1f} |", flush=True)
    if "-v" in sys.argv:
        print(counts.summary(per))


def quietly(function: Callable[[], Counts]) -> Counts | str:
    """The counts without what is printed meanwhile, or the error."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return function()
        except Exception as problem:
            return f"{type(problem).__name__}: {str(problem).splitlines()[0]}"


def main() -> None:
    """Measure everything."""
    host.install()
    print("| what | launches | waits | cuDNN |\n|---|--:|--:|--:|")
    with pretending(), tempfile.TemporaryDirectory() as folder:
        for name, workload in WORKLOADS.items():
            cases: list[tuple[str, Callable[[], Counts], int]] = [
                ("training step", lambda w=workload: training(w, Path(folder) / "run"), 0)  # type: ignore[misc]
            ]
            if workload.name.startswith((TRANSLATION, "generation")):
                cases.append(("greedy step", lambda w=workload: decoding(w, beam_size=1), LENGTH + 1))  # type: ignore[misc]
                drawn = {"temperature": 1.0} if workload.name.startswith("generation") else {"beam_size": 5}
                cases.append((f"{'sampling' if 'temperature' in drawn else 'beam 5'} step", lambda w=workload, d=drawn: decoding(w, **d), LENGTH + 1))  # type: ignore[misc]  # fmt: skip
            else:
                cases.append(("batch", lambda w=workload: decoding(w, min_length=0, max_length=None), 1))  # type: ignore[misc]  # fmt: skip
            if workload.name.startswith(TRANSLATION):
                cases.append(("memory diagnosis of 32 rows", lambda w=workload: diagnosis(w), 1))  # type: ignore[misc]
            for title, function, per in cases:
                counts = quietly(function)
                if isinstance(counts, str):
                    print(f"| {name}: {title} | {counts} | | |", flush=True)
                else:
                    row(f"{name}: {title}", counts, per or counts.calls)


if __name__ == "__main__":
    main()
