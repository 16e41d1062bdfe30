"""What the server counts, as text that Prometheus reads (exposition format 0.0.4)."""

import resource
import sys
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
TEXTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass
class Histogram:
    """How many values lie below each of some bounds."""

    bounds: Sequence[float]
    counts: "Counter[int]" = field(default_factory=Counter)
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """As Prometheus reads it."""
        below = 0
        for place, bound in enumerate((*map(str, self.bounds), "+Inf")):
            below += self.counts[place]
            yield f'{name}_bucket{{{labels},le="{bound}"}} {below}'
        yield f"{name}_sum{{{labels}}} {self.total:.6f}"
        yield f"{name}_count{{{labels}}} {below}"


class ServingMetrics:
    """All counts of a server; they may come from several threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.latency: dict[str, Histogram] = {}
        self.batches: dict[str, Histogram] = {}
        self.busy: dict[str, float] = {}
        self.gauges: dict[str, Callable[[], float]] = {"process_resident_memory_bytes": memory}

    def requested(self, path: str, status: int, seconds: float) -> None:
        """A request was answered."""
        with self.lock:
            self.requests[path, status] += 1
            self.latency.setdefault(path, Histogram(SECONDS)).add(seconds)

    def computed(self, model: str, texts: int, seconds: float) -> None:
        """A model has computed a batch."""
        with self.lock:
            self.batches.setdefault(model, Histogram(TEXTS)).add(texts)
            self.busy[model] = self.busy.get(model, 0.0) + seconds

    def text(self) -> str:
        """All of them."""
        with self.lock:
            lines = list(self.lines())
        return "\n".join([*lines, ""])

    def lines(self) -> Iterator[str]:
        """Name, kind and values of each."""
        yield "# TYPE seq2seq_requests_total counter"
        for (path, status), count in self.requests.items():
            yield f'seq2seq_requests_total{{path="{path}",status="{status}"}} {count}'
        yield "# TYPE seq2seq_request_seconds histogram"
        for path, histogram in self.latency.items():
            yield from histogram.lines("seq2seq_request_seconds", f'path="{path}"')
        yield "# TYPE seq2seq_batch_texts histogram"
        for model, histogram in self.batches.items():
            yield from histogram.lines("seq2seq_batch_texts", f'model="{quoted(model)}"')
        yield "# TYPE seq2seq_busy_seconds_total counter"
        for model, seconds in self.busy.items():
            yield f'seq2seq_busy_seconds_total{{model="{quoted(model)}"}} {seconds:.6f}'
        for name, value in self.gauges.items():
            yield f"# TYPE {name.partition('{')[0]} gauge"
            yield f"{name} {value():g}"


def quoted(text: str) -> str:
    """The value of a label."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def memory() -> float:
    """Bytes that this process holds; at most so many where the system does not tell."""
    try:
        return float(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
