"""How long reports and comparisons take: python benchmarks/report.py RUN [RUN ...], on runs with predictions."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seq2seq.analysis.comparison import comparison
from seq2seq.analysis.systems import gather
from seq2seq.metrics.base import Metric
from seq2seq.metrics.bleu import Bleu, Chrf, Ter
from seq2seq.metrics.significance import compare, scored
from seq2seq.report import compare as pages
from seq2seq.report import page


def timed(name: str, work: Callable[[], Any]) -> Any:
    """Do it once, and say how long it took."""
    started = time.perf_counter()
    result = work()
    print(f"{name}: {time.perf_counter() - started:.2f} s")
    return result


def main(runs: list[Path]) -> None:
    """Time each part."""
    with tempfile.TemporaryDirectory() as folder:
        written = timed("page of the first run", lambda: page.write_run(runs[0], Path(folder) / "run.html"))
        print(f"its size: {written.stat().st_size:,} bytes")
        systems = timed("reading", lambda: gather([(None, run) for run in runs], None, "test"))
        rows = systems[0].outputs[0].rows
        metrics: list[Metric] = [Bleu(), Chrf(), Ter()]
        for metric in metrics:
            counts = timed(
                f"{metric.name}: counts of {len(rows):,} rows", lambda metric=metric: metric.statistics(rows)
            )
            half = [scored(metric, [counts]), scored(metric, [counts[::-1]])]
            timed(f"{metric.name}: both paired tests", lambda metric=metric, half=half: compare(metric, *half))
        if len(systems) > 1:
            found = timed(f"comparison of {len(systems)} systems", lambda: comparison(systems, metrics, "test"))
            timed("page of the comparison", lambda: pages.write(found, Path(folder) / "compare.html"))


if __name__ == "__main__":
    if not all(Path(name).is_dir() for name in sys.argv[1:]) or not sys.argv[1:]:
        sys.exit(__doc__)
    main([Path(name) for name in sys.argv[1:]])
