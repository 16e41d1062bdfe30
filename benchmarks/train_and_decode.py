"""How fast training and decoding are, against a bare torch loop and against bfloat16, in one alternating run.

    python benchmarks/train_and_decode.py --path FOLDER [--attention none] [--steps 30] [--rounds 3] [--json FILE]

Several trainings (training_worker.py) stand side by side, each in its own process, and take turns: one window of
`--steps` optimiser steps each, round after round, on the same batches. Then the trained model decodes the test split.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seq2seq.cli import command
from seq2seq.data.batching.split import Split
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.errors import InputError
from seq2seq.inference.predict_texts import batches
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding

HERE = Path(__file__).resolve().parent

TRAININGS = {
    "all": ("real 32-true", "bare 32-true", "real bf16-mixed", "bare bf16-mixed"),
    "framework": ("real 32-true", "loop 32-true", "bare 32-true"),
    "precision": ("real 32-true", "real bf16-mixed"),
    "real": ("real 32-true",),
    "decoding": (),
}
"""What `--only` trains."""

RATIOS = (
    ("loop / real, 32-true", "loop 32-true", "real 32-true"),
    ("bare / real, 32-true", "bare 32-true", "real 32-true"),
    ("bare / real, bf16-mixed", "bare bf16-mixed", "real bf16-mixed"),
    ("bf16-mixed / 32-true, real", "real bf16-mixed", "real 32-true"),
)
"""Name, faster, slower: rates divided."""


class Window(NamedTuple):
    """Some optimiser steps of one training."""

    seconds: list[float]
    tokens: list[int]
    """Target tokens, the end included."""
    loss: float
    """Of the last step, in nats per token."""
    others: float
    """Cores that other processes used."""

    @property
    def rate(self) -> float:
        """Target tokens a second."""
        return sum(self.tokens) / sum(self.seconds)


class Worker:
    """A training in its own process, which waits between windows."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, threads: int) -> None:
        """Start it, and wait until it has done its first step; name: such as "real 32-true"."""
        kind, precision = name.split()
        self.log = folder / f"{name.replace(' ', '_')}.log"
        command_line = [sys.executable, str(HERE / "training_worker.py"), kind, *arguments]
        command_line += ["--trainer.precision", precision, "--run", str(folder / f"{kind}_{precision}")]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
            )
        self._answer()

    def window(self, steps: int) -> Window:
        """Let it do so many optimiser steps."""
        assert self._process.stdin is not None
        print(steps, file=self._process.stdin, flush=True)
        return self._answer()

    def finish(self) -> None:
        """Let it end as trainings do, with a checkpoint."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.wait():
            self._fail()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> Window:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return Window(**json.loads(line)) if line else self._fail()

    def _fail(self) -> Window:
        self.kill()
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise InputError("a training ended early: " + "; ".join(lines[-3:]).removeprefix("error: "))


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    if not options.path.is_dir():
        raise InputError(
            f"no data folder {options.path}, so nothing was measured; give --path (see {HERE.name}/README.md)"
        )
    measured: dict[str, Any] = {"machine": machine(options.threads), "options": plain(options)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        windows = train(options, folder)
        measured["training"] = {name: [window._asdict() for window in each] for name, each in windows.items()}
        show_training(windows, options)
        run = options.run or (folder / "real_32-true" if windows else None)
        if run is not None and options.only in ("all", "decoding"):
            measured["decoding"] = decode_test(run, options)
            show_decoding(measured["decoding"])
    measured["machine"] |= {f"{name} afterwards": value for name, value in products().items()}
    print(f"\nmachine: {', '.join(f'{name} {value}' for name, value in measured['machine'].items())}")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--path", type=Path, default=Path("data/multi30k-en-de"), help="folder of the Multi30k files")
    parser.add_argument("--config", type=Path, default=HERE / "multi30k_peers.yaml", help="model and data")
    parser.add_argument("--attention", choices=("General", "none"), default="General", help="attention of the decoder")
    parser.add_argument("--only", choices=tuple(TRAININGS), default="all", help="measure a part")
    parser.add_argument("--steps", type=int, default=30, help="optimiser steps of a window that count")
    parser.add_argument("--warmup", type=int, default=2, help="steps at the start of each window that do not count")
    parser.add_argument("--rounds", type=int, default=3, help="windows of each training")
    parser.add_argument("--run", type=Path, help="decode with this finished run, not with the one just trained")
    parser.add_argument("--keep", type=Path, help="a new folder that keeps the trainings' run directories")
    parser.add_argument("--repeats", type=int, default=3, help="decodings with each beam size")
    parser.add_argument("--sentences", type=int, default=1000, help="sentences of the test split to decode")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process")
    parser.add_argument("--json", type=Path, help="file for everything measured")
    options = parser.parse_args(list(arguments))
    if min(options.steps, options.rounds, options.repeats, options.sentences, options.threads) < 1:
        parser.error("--steps, --rounds, --repeats, --sentences and --threads must be at least 1")
    if options.only == "decoding" and options.run is None:
        parser.error("--only decoding needs --run")
    return options


def plain(options: argparse.Namespace) -> dict[str, Any]:
    """The options as JSON."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}


def machine(threads: int) -> dict[str, Any]:
    """What numbers of speed depend on."""
    return {"threads": threads, "torch": torch.__version__, "cores": os.cpu_count(), **products()}


def products() -> dict[str, Any]:
    """GFLOP/s of a 1024 x 1024 x 1024 matrix product: the best of ten."""
    rates = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = torch.randn(1024, 1024).to(kind), torch.randn(1024, 1024).to(kind)
        seconds = []
        for _ in range(10):
            started = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - started)
        rates[f"{name} GFLOP/s"] = round(2 * 1024**3 / min(seconds) / 1e9)
    return rates


def train(options: argparse.Namespace, folder: Path) -> dict[str, list[Window]]:
    """The windows of each training, warm-up cut off; in each round they take turns."""
    each = options.warmup + options.steps
    attention = "null" if options.attention == "none" else options.attention
    settings = {
        "config": options.config,
        "data.path": options.path,
        "model.attention": attention,
        "trainer.max_steps": 1 + options.rounds * each,
        "trainer.max_epochs": 100_000,
        "trainer.val_check_interval": 1_000_000,  # validation is no part of a step
        "decoding.beam_size": 1,  # of the test at the end, when all windows are over
        "overwrite": "true",
    }
    arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    workers: dict[str, Worker] = {}
    windows: dict[str, list[Window]] = {name: [] for name in TRAININGS[options.only]}
    try:
        for name in windows:  # one after the other, so that none disturbs the next one's start
            workers[name] = Worker(name, arguments, folder, options.threads)
        for number in range(options.rounds):
            for name, worker in workers.items():
                window = worker.window(each)
                kept = Window(window.seconds[options.warmup :], window.tokens[options.warmup :], *window[2:])
                windows[name].append(kept)
                message = (
                    f"round {number + 1}: {name:<16} {kept.rate:7,.0f} tokens/s, others used {kept.others:.2f} cores"
                )
                print(message, file=sys.stderr)
        for worker in workers.values():
            worker.finish()
    finally:
        for worker in workers.values():
            worker.kill()
    return windows


def show_training(windows: dict[str, list[Window]], options: argparse.Namespace) -> None:
    """Rates and ratios of each round, their medians, and what the framework takes."""
    if not windows:
        return
    tokens = [count for window in next(iter(windows.values())) for count in window.tokens]
    print(f"\ntraining, attention {options.attention}: {statistics.mean(tokens):,.0f} target tokens a step on average,")
    print(f"windows of {options.steps} steps after {options.warmup} of warm-up; target tokens/s\n")
    print(f"{'':<28}" + "".join(f"{f'round {n + 1}':>9}" for n in range(options.rounds)) + "   median")
    for name, each in windows.items():
        print(row(name, [window.rate for window in each], ",.0f") + f"   last loss {each[-1].loss:.6f}")
    for name, faster, slower in RATIOS:
        if faster in windows and slower in windows:
            show_ratio(name, windows[faster], windows[slower])


def show_ratio(name: str, faster: list[Window], slower: list[Window]) -> None:
    """A ratio by round, and once more over pairs of the same step, which a short disturbance hardly moves."""
    print(row(name, [a.rate / b.rate for a, b in zip(faster, slower, strict=True)], ".3f"), end="   ")
    pairs = [
        b_seconds / a_seconds
        for a, b in zip(faster, slower, strict=True)
        for a_seconds, b_seconds in zip(a.seconds, b.seconds, strict=True)
    ]
    paired = statistics.median(pairs)
    print(f"median of {len(pairs)} pairs of steps {paired:.3f}", end="")
    print(f": framework time per step {100 * (1 - 1 / paired):.1f} %" if name.startswith("loop") else "")


def row(name: str, values: list[float], form: str) -> str:
    """A line of the table, with the median at its end."""
    return f"{name:<28}" + "".join(f"{format(value, form):>9}" for value in [*values, statistics.median(values)])


def decode_test(run: Path, options: argparse.Namespace) -> list[dict[str, float]]:
    """Greedy and beam search over the test split, in turns."""
    task = checkpoint.load(run)
    split, warmup = (test_split(task, options, count) for count in (options.sentences, 64))
    searches = [dataclasses.replace(task.decoding, beam_size=size) for size in (1, 5)]
    for search in searches:
        decoded(task, warmup, search)
    return [decoded(task, split, search) for _ in range(options.repeats) for search in searches]


def test_split(task: Task, options: argparse.Namespace, count: int) -> Split:
    """The first test sentences as ids of the model."""
    parser = command.training_parser()
    config = ["--config", str(options.config), "--data.path", str(options.path)]
    data: DataModule = parser.instantiate(command.parse(parser, config)).data
    texts = data.texts("test")
    return data.encode(Texts(texts.source[:count], texts.target[:count]), task.tokenizers, "test")


def decoded(task: Task, split: Split, search: Decoding) -> dict[str, float]:
    """One pass over the split."""
    started = time.perf_counter()
    with torch.inference_mode():
        found = [task.predict(batch, search) for batch in batches(split, search, torch.device("cpu"))]
    seconds = time.perf_counter() - started
    best = [each[0] for batch in found for each in batch]
    tokens = sum(len(hypothesis.tokens) + 1 for hypothesis in best)  # with the end
    return {"beam": search.beam_size, "seconds": seconds, "sentences": len(best), "tokens": tokens}


def show_decoding(passes: list[dict[str, float]]) -> None:
    """Medians of the repeats."""
    print("\ndecoding             sentences/s  range         output tokens/s  tokens a sentence")
    for beam in sorted({each["beam"] for each in passes}):
        same = [each for each in passes if each["beam"] == beam]
        rates = sorted(each["sentences"] / each["seconds"] for each in same)
        tokens = statistics.median(each["tokens"] / each["seconds"] for each in same)
        name = "greedy" if beam == 1 else f"beam {beam:.0f}"
        span = f"{rates[0]:.0f}..{rates[-1]:.0f}"
        long = same[0]["tokens"] / same[0]["sentences"]
        print(f"{name:<20} {statistics.median(rates):>11.1f}  {span:<12} {tokens:>16,.0f} {long:>18.1f}")


if __name__ == "__main__":
    command.run(main)
