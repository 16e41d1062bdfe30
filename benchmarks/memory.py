"""Up to which length a fixed vector remembers: copying, reversal and the adding problem, for each cell.

    python benchmarks/memory.py --json FILE [--cells RNN,GRU,LSTM] [--tasks Copying,Adding] [--pictures docs]

Each point trains one small network on sources of one length until 99 % of the target's tokens come out right or its
budget is spent. Lengths rise until one is not reached, then the gap is halved. A point that the file already holds is
not trained again, so the same command goes on where it was stopped; with `--pictures` it draws what there is.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from seq2seq.analysis.gradient_flow import memory_over_time
from seq2seq.atomic_files import write_text
from seq2seq.data.corpora.builtin.synthetic import Adding, Copying, Reversal, Synthetic
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.units import Words
from seq2seq.models.cells import GRU, LSTM, RNN, Cell, LayerNormLSTM, MinGRU, MinLSTM
from seq2seq.models.encoder import EncoderOptions
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation

CELLS: dict[str, tuple[Cell, int]] = {
    "RNN": (RNN(), 1),
    "RNN relu": (RNN("relu"), 1),
    "GRU": (GRU(), 1),
    "LSTM": (LSTM(), 1),
    "LayerNormLSTM": (LayerNormLSTM(), 1),
    "MinGRU": (MinGRU(), 1),
    "MinGRU x 3": (MinGRU(), 3),
    "MinLSTM": (MinLSTM(), 1),
    "MinLSTM x 3": (MinLSTM(), 3),
}
"""Cell and layers; with one layer a minLSTM's gates see one token only (Feng et al. 2024, sec. 4.1)."""

ROWS, RATE = 64, 0.003
"""Rows of an optimiser step, and the learning rate at the beginning."""

LOOKS, ENOUGH = 24, 99.0
"""Evaluations within a budget, and the percent of tokens at which a length is reached."""

HALVINGS = 2
"""Points between the last length that was reached and the first that was not."""

TICKS = (3, 5, 10, 20, 40, 80, 160)
"""Lengths that the pictures name."""

GRADIENTS = 50
"""Length of the copying task on which gradients are looked at."""


class Task(NamedTuple):
    """What is learnt, and for how long."""

    corpus: type[Copying] | type[Adding]
    seconds: float
    """Budget of a point: seconds of one core."""
    lengths: tuple[int, ...]
    least: int = 3
    """No shorter source has this task."""

    def make(self, length: int) -> Synthetic:
        """The corpus with sources of one length."""
        return self.corpus(length, train=100_000, validation=256)


TASKS = {
    "Copying": Task(Copying, 120, (5, 10, 15, 20, 30, 40, 60, 80, 120)),
    "Adding": Task(Adding, 60, (10, 20, 40, 80, 160, 320, 640), least=4),
    "Reversal": Task(Reversal, 60, (5, 10, 15, 20, 30, 40, 60, 80, 120)),
}


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    torch.set_num_threads(1)
    measured: dict[str, Any] = {"points": {}, "gradients": {}}
    if options.json.is_file():
        measured = json.loads(options.json.read_text(encoding="utf-8"))
    measured["machine"] = {"processor": processor(), "torch": torch.__version__, "threads": 1}
    for name in options.tasks:
        for cell in options.cells:
            climb(name, cell, measured, options)
    for cell in options.cells if options.gradients else ():
        if cell not in measured["gradients"]:
            measured["gradients"][cell] = gradients(cell, options.gradients)
            save(measured, options.json)
    print(table(measured))
    if options.pictures:
        pictures(measured, options.pictures)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("memory.json"), help="measured points; read and added to")
    parser.add_argument("--cells", type=names(CELLS), default=list(CELLS), help=", ".join(CELLS))
    parser.add_argument("--tasks", type=names(TASKS), default=list(TASKS), help=f"some of {', '.join(TASKS)}, or none")
    parser.add_argument(
        "--gradients", type=float, default=60.0, help="seconds of training before gradients; 0 for none"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="budgets are multiplied by this")
    parser.add_argument("--pictures", type=Path, help="folder in which to draw memory_*.png")
    return parser.parse_args(arguments)


def names(known: dict[str, Any]) -> Any:
    """A reader of names separated by commas."""

    def read(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip() != "none"]
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return chosen

    return read


def climb(name: str, cell: str, measured: dict[str, Any], options: argparse.Namespace) -> None:
    """Train at rising lengths until one is not reached, then between the two."""

    def reached(length: int) -> bool:
        key = f"{name}, {cell}, {length}"
        if key not in measured["points"]:
            point = train(TASKS[name].make(length), cell, TASKS[name].seconds * options.scale)
            measured["points"][key] = {"task": name, "cell": cell, "length": length, **point}
            save(measured, options.json)
            told = f"{point['accuracy']:.1f} % after {point['steps']:,} steps, {point['seconds']:.0f} s"
            print(f"{time.strftime('%H:%M:%S')} {key}: {told}", flush=True)
        return bool(measured["points"][key]["accuracy"] >= ENOUGH)

    rising = TASKS[name].lengths
    high = next((length for length in rising if not reached(length)), None)
    low = max((length for length in rising if high is None or length < high), default=TASKS[name].least - 1)
    for _ in range(HALVINGS):
        if high is None or high - low < 2:
            break
        middle = (low + high) // 2
        low, high = (middle, high) if reached(middle) else (low, middle)


def network(cell: str, tokenizers: Tokenizers) -> Translation:
    """A small network that reads in one direction and hands on its last state, nothing else."""
    kind, layers = CELLS[cell]
    torch.manual_seed(1)
    options = EncoderOptions(bidirectional=False)
    return Translation(tokenizers, kind, 32, 128, layers, dropout=0.0, encoder=options)


class Lesson:
    """A network at its task: ids, the plan of steps, a learning rate that falls to zero with the budget."""

    def __init__(self, corpus: Synthetic, cell: str, seconds: float) -> None:
        length = corpus.length + 1
        target = length if isinstance(corpus, Copying) else 2
        data = DataModule(corpus, tokenizer=Words(), batch_tokens=ROWS * (length + target), max_length=10_000)
        texts = data.texts("train")
        tokenizers = data.train_tokenizers(texts)
        self.train, validation = (data.encode(rows, tokenizers, "train") for rows in (texts, data.texts("validation")))
        self.plan, self.validation = data.plan(self.train, seed=1), validation.batch(np.arange(len(validation)))
        self.task = network(cell, tokenizers)
        self.optimizer = torch.optim.AdamW(self.task.parameters(), lr=RATE, weight_decay=0.0, fused=True)
        self.budget, self.spent, self.steps, self.loss = seconds, 0.0, 0, float("nan")

    def step(self) -> None:
        """One optimiser step, on the clock of this process: what others do on the machine does not count."""
        started = time.process_time()
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * max(0.0, 1 - self.spent / self.budget)
        batch = self.train.batch(self.plan.rows(self.steps))
        self.optimizer.zero_grad()
        loss = self.task.loss(batch) / (batch.target_lengths - 1).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.task.parameters(), 1.0)
        self.optimizer.step()
        self.loss = loss.item()
        self.steps += 1
        self.spent += time.process_time() - started

    def score(self) -> dict[str, float]:
        """Percent of tokens, and of rows, that greedy search gets right; off the clock."""
        self.task.eval()
        found = self.task.predict(self.validation, Decoding(beam_size=1, max_length_ratio=1.0))
        self.task.train()
        right = []
        for row, length in enumerate(self.validation.target_lengths.tolist()):
            wanted, got = self.validation.target[row, 1 : length - 1].tolist(), list(found[row][0].tokens)
            right.append([place < len(got) and got[place] == token for place, token in enumerate(wanted)])
        tokens = [one for row_ in right for one in row_]
        return {"accuracy": 100 * float(np.mean(tokens)), "rows": 100 * float(np.mean([all(one) for one in right]))}


def train(corpus: Synthetic, cell: str, seconds: float) -> dict[str, Any]:
    """Train until a look finds enough tokens right, or the budget is spent; the last look and the way there."""
    lesson = Lesson(corpus, cell, seconds)
    looks: list[dict[str, float]] = []
    while True:
        lesson.step()
        if lesson.spent >= seconds * (len(looks) + 1) / LOOKS:
            looks.append({"steps": lesson.steps, "seconds": lesson.spent, "loss": lesson.loss, **lesson.score()})
            if looks[-1]["accuracy"] >= ENOUGH or lesson.spent >= seconds:
                return {**looks[-1], "budget": seconds, "looks": looks}


def gradients(cell: str, seconds: float) -> dict[str, Any]:
    """What the network remembers over time, before training and after."""
    lesson = Lesson(Copying(GRADIENTS, train=100_000, validation=64), cell, seconds)
    before = memory_over_time(lesson.task, lesson.validation).plain()
    while lesson.spent < seconds:
        lesson.step()
    after = memory_over_time(lesson.task, lesson.validation).plain()
    return {"before": before, "after": after, "steps": lesson.steps, "seconds": lesson.spent, **lesson.score()}


def save(measured: dict[str, Any], path: Path) -> None:
    """After each point, so that stopping loses one at most."""
    write_text(path, json.dumps(measured, indent=1) + "\n")


def reach(measured: dict[str, Any], name: str, cell: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The longest point that was reached with all shorter ones, and the shortest that was not."""
    points = [one for one in measured["points"].values() if (one["task"], one["cell"]) == (name, cell)]
    points.sort(key=lambda point: int(point["length"]))
    missed = next((place for place, point in enumerate(points) if point["accuracy"] < ENOUGH), len(points))
    return (points[missed - 1] if missed else None), (points[missed] if missed < len(points) else None)


def table(measured: dict[str, Any]) -> str:
    """For each task and cell the length reached, and the first that was not, as Markdown."""
    lines = ["| task | cell | length reached | steps, seconds | first length not reached | steps, tokens right there |"]
    lines.append("|---|---|---|---|---|---|")
    for name in TASKS:
        for cell in CELLS:
            best, missed = reach(measured, name, cell)
            if best or missed:
                reached = f"{best['length']} | {best['steps']:,}, {best['seconds']:.0f}" if best else "none | "
                after = "none tried | "
                if missed:
                    after = f"{missed['length']} | {missed['steps']:,}, {missed['accuracy']:.1f} %"
                lines.append(f"| {name.lower()} | {cell} | {reached} | {after} |")
    return "\n".join(lines)


def pictures(measured: dict[str, Any], folder: Path) -> None:
    """memory_accuracy.svg: tokens right by length; memory_gradients.svg: how far back the loss reaches."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "memory", "svg.fonttype": "path", "font.size": 9})
    colours = dict(zip(CELLS, matplotlib.colormaps["tab10"].colors, strict=False))
    accuracy(measured, folder / "memory_accuracy.svg", colours)
    reaching(measured, folder / "memory_gradients.svg", colours)


def accuracy(measured: dict[str, Any], path: Path, colours: dict[str, Any]) -> None:
    """One panel for each task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    shown = [name for name in TASKS if any(point["task"] == name for point in measured["points"].values())]
    for name, axes in zip(shown, figure.subplots(1, len(shown), squeeze=False)[0], strict=True):
        for cell in CELLS:
            points = [one for one in measured["points"].values() if (one["task"], one["cell"]) == (name, cell)]
            points.sort(key=lambda point: int(point["length"]))
            if points:
                lengths, right = [one["length"] for one in points], [one["accuracy"] for one in points]
                axes.plot(lengths, right, marker="o", markersize=3, color=colours[cell], label=cell)
        axes.axhline(ENOUGH, color="grey", linewidth=0.5)
        axes.set(
            title=f"{name}, {TASKS[name].seconds:.0f} s", xlabel="length of the source", xscale="log", ylim=(0, 103)
        )
        axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
        axes.minorticks_off()
        axes.set_xlim(2.5, 200)
    figure.axes[0].set_ylabel("tokens right, percent")
    figure.legend(*by_name(figure.axes), loc="outside right upper", fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def reaching(measured: dict[str, Any], path: Path, colours: dict[str, Any]) -> None:
    """Before training and after it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    for when, axes in zip(("before", "after"), figure.subplots(1, 2, sharey=True), strict=True):
        for cell, found in measured["gradients"].items():
            norms = found[when]["gradient_norm"]["forward"]
            axes.plot([norm / norms[0] for norm in norms], color=colours[cell], label=cell)
        axes.set(title=f"{when} training", xlabel="tokens read after this one", yscale="log", ylim=(1e-8, 30))
    figure.axes[0].set_ylabel("norm of dLoss/dh, last token = 1")
    figure.legend(*by_name(figure.axes), loc="outside right upper", fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def by_name(panels: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """The lines of all panels, and their cells, each cell once."""
    found: dict[str, Any] = {}
    for axes in panels:
        for line, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, line)
    return [found[cell] for cell in CELLS if cell in found], [cell for cell in CELLS if cell in found]


def processor() -> str:
    """What this machine calls its processor."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main(sys.argv[1:])
