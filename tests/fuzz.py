"""Files of a stranger: random changes of what our files hold, given to the commands, which must neither crash nor show a traceback.

`python -m tests.fuzz FOLDER COUNT [SEED] [KIND ...]` counts how the commands end; each call is a process of its own.
Changed are values inside the files, whose checksums are made anew, so that nothing is refused for its checksum alone.
"""

import copy
import json
import os
import random
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from seq2seq import evaluate, predict, train
from seq2seq.cli import command
from seq2seq.report.__main__ import main as report
from seq2seq.runs import checkpoint
from tests.training.stopping import STOPPING

COMMON = """
optimizer: {learning_rate: 0.02, ema_decay: 0.9, algorithm: %s}
trainer: {max_steps: 9, accelerator: cpu, log_every_n_steps: 1, val_check_interval: 4}
"""
REVERSAL = """
data:
  corpus: {class_path: Reversal, init_args: {length: 6, shortest: 3, symbols: 5, train: 60, validation: 8, test: 8}}
  tokenizer: %s
  batch_tokens: 100
model: {cell: GRU, embedding_size: 8, hidden_size: 8, metrics: %s}
task: %s
"""
TASKS = {
    "translation": STOPPING.replace("max_epochs: 2", "max_steps: 10"),
    "tagging": REVERSAL % ("Words\n  target_tokenizer: Labels", "[Accuracy]", "Tagging")
    + COMMON % "{class_path: SGD, init_args: {momentum: 0.5}}",
    "forecasting": (
        "task: Forecasting\ndata: {corpus: {class_path: Series, init_args: {history: 12, horizon: 4}}, tokenizer: Vectors, "
        "target_tokenizer: Vectors, batch_tokens: 100}\nmodel: {hidden_size: 8, quantiles: [0.1, 0.5, 0.9]}\n"
        + COMMON
        % "Adafactor"
    ),
    "generation": (
        "task: Generation\ndata: {corpus: {class_path: Lines, init_args: {running: true}}, tokenizer: NoSource, "
        "target_tokenizer: Characters, lanes: 2, segment: 12}\nmodel: {running: true, hidden_size: 8}\n"
        + COMMON
        % "Adagrad"
    ),
}
"""Trainings of some seconds, with different optimisers and fields in their files."""

STRANGE: list[Any] = [
    None, True, -1, 0, 3, 2.5, 10**30, -(10**30), float("inf"), float("nan"), "", "x", "../../x", "\x00", "\ud800", [], {},
    [[]], [None], {"x": None}, {"class_path": "os.system"}, [1, 2, 3], ["x"] * 3, {"": {"": []}},
]  # fmt: skip
OF_TENSORS: list[Callable[[torch.Tensor], Any]] = [
    lambda one: torch.zeros(3),
    lambda one: torch.zeros(0),
    lambda one: torch.tensor(-5.0),
    lambda one: one.to(torch.float64),
    lambda one: one.to(torch.int64),
    lambda one: one.to(torch.complex64),
    lambda one: one.float() * float("nan"),
    lambda one: one.reshape(-1)[:1].clone(),
    lambda one: one.reshape(1, *one.shape),
    lambda one: torch.zeros(max(1, one.numel())).as_strided(one.shape, [0] * one.dim(), max(0, one.numel() - 1)),
    lambda one: one.t().contiguous().t() if one.dim() == 2 else one.flip(0) if one.dim() else one,
    lambda one: one.float().to_sparse(),
    lambda one: one.float().clone().requires_grad_(),
    lambda one: one.float() * 1e30,
]
FEW = ("--data.max_rows", "60")
"""A changed configuration may be right, and mean the default corpus of many thousands."""

SLOWEST = 120
"""Seconds after which a command hangs."""


def mutated(value: Any, draw: random.Random) -> tuple[str, Any]:
    """A copy of nested values with one of them changed, taken away or added, and where."""
    whole = copy.deepcopy(value)
    place, holder, key = "", None, None
    inside = whole
    while isinstance(inside, (dict, list)) and inside and (holder is None or draw.random() < 0.85):
        holder, key = inside, draw.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        inside, place = holder[key], f"{place}.{key}"
    if holder is None:
        return "all", draw.choice(STRANGE)
    act = draw.random()
    if act < 0.1:
        del holder[key]
        return f"{place} deleted", whole
    if act < 0.15 and isinstance(holder, list):
        holder *= 2
        return f"{place} doubled", whole
    if isinstance(inside, torch.Tensor) and act < 0.85:
        holder[key] = draw.choice(OF_TENSORS)(inside)
    else:
        holder[key] = copy.deepcopy(draw.choice(STRANGE))
    return f"{place} = {holder[key]!r:.60}", whole


def opened(content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint with its JSON as values."""
    own = {name: json.loads(text) if isinstance(text, str) else text for name, text in content["seq2seq"].items()}
    return {**content, "seq2seq": own}


def closed(content: Any) -> Any:
    """The same as it is stored; a tokenizer's state and what is no JSON stay as they are."""
    own = content.get("seq2seq") if isinstance(content, dict) else None
    if not isinstance(own, dict):
        return content
    kept = ("format", "tokenizer_states")
    return {
        **content,
        "seq2seq": {
            name: one if name in kept or isinstance(one, torch.Tensor) else json.dumps(one) for name, one in own.items()
        },
    }


def write_checkpoint(content: Any, path: Path) -> None:
    """With a checksum that is right, where one can be computed."""
    if isinstance(content, dict):
        content.pop(checkpoint.DIGEST, None)
        try:
            content[checkpoint.DIGEST] = checkpoint.digest(content)
        except Exception:
            content[checkpoint.DIGEST] = "0"
    torch.save(content, path)


def called(act: Callable[[], object], log: Path, given: Path | None = None) -> str:
    """How a command ends in a process of its own: "" if it does so as it should, else what it has shown."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            signal.alarm(SLOWEST)
            resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            out, source = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), os.open(given or os.devnull, os.O_RDONLY)
            for number, descriptor in enumerate((source, out, out)):
                os.dup2(descriptor, number)
            act()
            os._exit(0)
        except SystemExit as ended:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended.code if isinstance(ended.code, int) else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(99)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = log.read_text(errors="replace")
    if code < 0:
        return f"signal {-code}"
    if code not in (0, 2) or "Traceback" in text:
        return f"exit {code}: {text[-2500:]}"
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    whole = len(errors) == 1 and text.rstrip("\n").endswith(errors[0])
    return "" if code == 0 or whole else f"not one line: {text[-1500:]}"


def calls(main: Callable[[Sequence[str]], int | None], *arguments: str | Path) -> Callable[[], object]:
    """A command with its arguments."""
    return lambda: command.run(main, [str(one) for one in arguments])


def reporting(run: Path, page: Path) -> Callable[[], object]:
    """`python -m seq2seq.report`."""

    def act() -> None:
        sys.argv = ["report", str(run), "--report", str(page)]
        report()

    return act


def prepare(folder: Path, task: str) -> None:
    """A run of a task that is half-finished, and the same finished; calls itself in processes of their own."""
    base = folder / task
    base.mkdir(parents=True, exist_ok=True)
    config = base / "config.yaml"
    config.write_text(TASKS[task])
    more: list[str | Path] = []
    if task == "forecasting":
        (base / "series.csv").write_text("".join(f"{(row * 7) % 12}\n" for row in range(120)))
        more = ["--data.path", base / "series.csv"]
    if task == "generation":
        for split in ("train", "validation", "test"):
            (base / f"{split}.txt").write_text(f"the cat sat on the {split} mat and so on\n" * 40)
        more = ["--data.path", base]
    for name, stop in (("half", "before 7 SIGTERM 0"), ("whole", "")):
        if (base / name / "checkpoints").is_dir():
            continue
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"SEQ2SEQ_STOP": stop} if stop else {})}
        arguments = ["-m", "tests.training.stopping", "--config", config, "--run", base / name, *more]
        if os.spawnve(os.P_WAIT, sys.executable, [sys.executable, *map(str, arguments)], environment) not in (0, 75):
            raise RuntimeError(f"{task} cannot be prepared")


class Trials:
    """The kinds of trials of one task; each returns where a file was changed, and what went wrong."""

    def __init__(self, base: Path, draw: random.Random) -> None:
        self.draw, self.half, self.whole, self.work = draw, base / "half", base / "whole", base / "work"
        self.log, self.words = base / "log", base / "words"
        self.words.write_text("1 2 3\n\n4 2\n" if base.name != "forecasting" else "1 2 3 4 5 6 7 8 9 1 2 3\n")
        self.last = opened(checkpoint.read(self.half / "checkpoints/last.ckpt"))
        self.best = opened(checkpoint.read(self.whole / "checkpoints/best.ckpt"))
        self.config = yaml.safe_load((self.half / "config.yaml").read_text())
        self.results = json.loads((self.whole / "results.json").read_text())
        self.lines = (self.whole / "predictions/test.jsonl").read_text().splitlines()

    def fresh(self, source: Path) -> Path:
        """A copy of a run to change."""
        os.system(f"rm -rf '{self.work}' && cp -r '{source}' '{self.work}'")
        return self.work

    def predicted(self) -> tuple[str, str]:
        place, content = mutated(self.best, self.draw)
        run = self.fresh(self.whole)
        write_checkpoint(closed(content), run / "checkpoints/best.ckpt")
        return place, called(calls(predict.main, run), self.log, self.words)

    def resumed(self) -> tuple[str, str]:
        place, content = mutated(self.last, self.draw)
        run = self.fresh(self.half)
        write_checkpoint(closed(content), run / "checkpoints/last.ckpt")
        return place, called(
            calls(train.main, "--config", run / "config.yaml", "--run", run, "--resume", "true"), self.log
        )

    def results_read(self) -> tuple[str, str]:
        place, content = mutated(self.results, self.draw)
        run = self.fresh(self.whole)
        (run / "results.json").write_text(json.dumps(content))
        return place, self.read(run)

    def predictions_read(self) -> tuple[str, str]:
        number = self.draw.randrange(len(self.lines))
        place, content = mutated(json.loads(self.lines[number]), self.draw)
        run = self.fresh(self.whole)
        lines = [*self.lines[:number], json.dumps(content), *self.lines[number + 1 :]]
        (run / "predictions/test.jsonl").write_text("\n".join(lines) + "\n")
        return f"line {number + 1}{place}", self.read(run)

    def read(self, run: Path) -> str:
        """What reads results and predictions."""
        page = run / "page.html"
        acts = [reporting(run, page), calls(evaluate.main, run, self.whole, "--report", page)]
        acts.append(calls(evaluate.main, self.whole, run, "--markdown"))
        return called(self.draw.choice(acts), self.log)

    def configured(self) -> tuple[str, str]:
        place, content = mutated(self.config, self.draw)
        file = self.half.parent / "changed.yaml"
        file.write_text(yaml.safe_dump(content))
        run = self.half.parent / "made"
        os.system(f"rm -rf '{run}'")
        return place, called(
            calls(train.main, "--config", file, "--run", run, "--trainer.max_steps", "1", *FEW), self.log
        )


KINDS: dict[str, Callable[[Trials], tuple[str, str]]] = {
    "predicted": Trials.predicted,
    "resumed": Trials.resumed,
    "results": Trials.results_read,
    "predictions": Trials.predictions_read,
    "yaml": Trials.configured,
}


def failures(folder: Path, count: int, seed: int, kinds: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Kind, place and trouble of each of `count` trials of each kind, spread over the tasks."""
    made = {task: Trials(folder / task, random.Random(f"{seed} {task}")) for task in TASKS}
    for kind in kinds:
        for number in range(count):
            task = list(TASKS)[number % len(TASKS)]
            place, problem = KINDS[kind](made[task])
            yield kind, f"{task}: {place}", problem


def main(arguments: Sequence[str]) -> int:
    """Print the count of each kind, and what went wrong."""
    folder, count, seed, *kinds = (
        Path(arguments[0]).resolve(),
        int(arguments[1]),
        *map(int, arguments[2:3] or ["1"]),
        *arguments[3:],
    )
    for task in TASKS:
        prepare(folder, task)
    tried: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    torch.set_num_threads(1)
    for kind, place, problem in failures(folder, count, seed, kinds or list(KINDS)):
        tried[kind] += 1
        if problem:
            failed[kind] += 1
            print(f"--- {kind} {place}\n{problem}", flush=True)
    print("; ".join(f"{kind}: {number} trials, {failed[kind]} failures" for kind, number in tried.items()))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
