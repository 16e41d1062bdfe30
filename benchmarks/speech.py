"""How fast a transcription trains, against a bare torch loop with the same layers, in turns.

    python benchmarks/speech.py [--steps 20] [--rounds 5] [--hidden 256] [--json FILE]

`real` is `seq2seq.train.main` on the tones that need no file, with the sizes of spoken digits (an LSTM of 2 x 256, 3
frames a step); `bare` a loop in plain torch with the same batches, layers and first parameters, packing where it reads
in both directions, torch's own dropout and CTC, AdamW and clipping. Both are processes of one thread that take turns:
windows of `--steps` steps, round after round. The ratio is that of their rates, 1 for equal ones: the median over pairs
of the same step, of all rounds, by the processor's seconds and by the clock's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.optim.optimizer import register_optimizer_step_post_hook

from seq2seq import train
from seq2seq.cli import command
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Step
from seq2seq.models.initial_values import draw
from seq2seq.tasks.transcription import Transcription, classes_of
from seq2seq.training.learner import Learner

CONFIG = """
task: Transcription
data:
  corpus: {class_path: Tones, init_args: {train: 800, validation: 10, test: 10}}
  tokenizer: Vectors
  target_tokenizer: Words
  batch_tokens: 6000
model: {cell: LSTM, embedding_size: 128, layers: 2, stacking: 3, dropout: 0.2}
optimizer: {learning_rate: 0.002}
trainer: {max_epochs: 100000, val_check_interval: 1000000, accelerator: cpu}
decoding: {beam_size: 1}
"""
WARM = 2
"""Steps at the start of each window that do not count."""


class Network(nn.Module):
    """Stacked frames, an LSTM, classes."""

    def __init__(self, task: Transcription) -> None:
        super().__init__()
        self.stacking, self.share = task.stacking, task.dropout
        width, classes = task.tokenizers.source.width, task.output.out_features
        assert width is not None
        self.map = nn.Linear(width * task.stacking, task.embedding_size)
        both = task.encoder.bidirectional
        self.recurrent = nn.LSTM(
            task.embedding_size, task.hidden_size // (1 + both), task.layers, batch_first=True, dropout=task.dropout,
            bidirectional=both,
        )  # fmt: skip
        self.output = nn.Linear(task.hidden_size, classes)
        draw(task)
        with torch.no_grad():  # the same beginning
            self.map.load_state_dict(task.reader.embedding.projection.map.state_dict())
            self.output.load_state_dict(task.output.state_dict())
            for number, cell in enumerate(task.reader.recurrent.stack):
                for name, value in cell.torch.state_dict().items():
                    self.recurrent.get_parameter(name.replace("_l0", f"_l{number}")).copy_(value)

    def forward(self, batch: Batch) -> Tensor:
        source = functional.pad(batch.source, (0, 0, 0, -batch.source.shape[1] % self.stacking))
        stacked = source.view(len(source), -1, self.stacking * source.shape[2])
        steps = (batch.source_lengths + self.stacking - 1) // self.stacking
        inputs = functional.dropout(self.map(stacked).tanh(), self.share)
        if self.recurrent.bidirectional:
            packed = pack_padded_sequence(inputs, steps, batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=inputs.shape[1])
        else:  # padding comes last, where nothing reads it any more
            states, _ = self.recurrent(inputs)
        log_probs = self.output(functional.dropout(states, self.share)).log_softmax(-1).transpose(0, 1)
        return functional.ctc_loss(log_probs, classes_of(batch.target), steps, batch.target_lengths, reduction="sum")


class Pace:
    """Times optimiser steps, by the clock and by this process's processor, and holds the training between windows."""

    def __init__(self, answers: int) -> None:
        """answers: the file descriptor to answer on."""
        self._answers, self._left = os.fdopen(answers, "w"), 1
        self._begin()

    def _begin(self) -> None:
        self._steps: list[tuple[float, float, int]] = []
        self._before = time.perf_counter(), time.process_time()

    def stepped(self, tokens: int, loss: Tensor) -> None:
        """Called right after each optimiser step; returns when the next one may begin."""
        now = time.perf_counter(), time.process_time()
        self._steps.append((now[0] - self._before[0], now[1] - self._before[1], tokens))
        self._before, self._left = now, self._left - 1
        if not self._left:
            names = ("seconds", "busy", "tokens")
            window = dict(zip(names, zip(*self._steps, strict=True), strict=True)) | {"loss": float(loss)}
            print(json.dumps(window), file=self._answers, flush=True)
            self._left = int(sys.stdin.readline().strip() or 0)
            self._begin()


def real(arguments: Sequence[str], pace: Pace) -> None:
    """The command, as it is."""
    newest: list[tuple[int, Learner]] = []
    original = Learner.training_step

    def counted(self: Learner, batch: Step, batch_idx: int) -> None:
        newest[:] = [(batch.batches[0].step_tokens, self)]
        original(self, batch, batch_idx)

    def stepped(*_: Any) -> None:
        tokens, learner = newest[0]
        pace.stepped(tokens, learner.last_loss)

    register_optimizer_step_post_hook(stepped)
    Learner.training_step = counted  # type: ignore[method-assign]
    train.main(arguments)


def bare(arguments: Sequence[str], pace: Pace) -> None:
    """The same training without the package's network, Lightning, callbacks and hooks."""
    parser = command.training_parser(Transcription)
    parts = parser.instantiate(command.parse(parser, arguments))
    texts = parts.data.texts("train")
    tokenizers = parts.data.train_tokenizers(texts)
    torch.manual_seed(parts.seed)
    task = Transcription(tokenizers, **vars(parts.model))
    split = parts.data.encode(texts, tokenizers, "train", task.row_format)
    network, plan = Network(task), parts.data.plan(split, parts.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=parts.optimizer.learning_rate, weight_decay=0.0, fused=True)
    for step in range(parts.trainer.max_steps):
        rows = plan.rows(step)
        batch = split.batch(rows)
        tokens = int(batch.target_lengths.sum())
        optimizer.zero_grad()
        loss = network(batch) / tokens
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), parts.trainer.gradient_clip_val)
        optimizer.step()
        pace.stepped(tokens, loss.detach())


def work(kind: str, arguments: Sequence[str]) -> None:
    """A process that waits between windows; its answers go to what was standard output."""
    answers = os.dup(1)
    os.dup2(2, 1)
    pace = Pace(answers)
    command.run(lambda given: (real if kind == "real" else bare)(given, pace), arguments)


def start(kind: str, arguments: Sequence[str], log: Path) -> "subprocess.Popen[str]":
    """A training that has done its first step."""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__, "--work", kind, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, env=environment, text=True,
        )  # fmt: skip
    window(process, None, log)
    return process


def window(process: "subprocess.Popen[str]", steps: int | None, log: Path) -> dict[str, Any]:
    """What a training answers after so many steps; None for its first one."""
    assert process.stdin is not None
    assert process.stdout is not None
    if steps is not None:
        print(steps, file=process.stdin, flush=True)
    if not (line := process.stdout.readline()):
        raise SystemExit(f"a training ended early: {' '.join(log.read_text(errors='replace').split()[-40:])}")
    found: dict[str, Any] = json.loads(line)
    return found


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds of each step in the last window, the median ratio, and those of the rounds."""
    config, each = folder / "speech.yaml", WARM + options.steps
    config.write_text(CONFIG)
    settings = {
        "config": config, "model.hidden_size": options.hidden, "model.encoder.bidirectional": options.both,
        "trainer.max_steps": 1 + options.rounds * each,
    }  # fmt: skip
    arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value).lower())]
    processes: dict[str, subprocess.Popen[str]] = {}
    pairs: dict[str, list[list[float]]] = {"seconds": [], "busy": []}
    try:
        for kind in ("bare", "real"):
            processes[kind] = start(kind, [*arguments, "--run", str(folder / kind)], folder / f"{kind}.log")
        for _ in range(options.rounds):
            found = {kind: window(one, each, folder / f"{kind}.log") for kind, one in processes.items()}
            assert found["bare"]["tokens"] == found["real"]["tokens"], "the same batches"
            for clock, own in pairs.items():
                bare_seconds, real_seconds = (found[kind][clock][WARM:] for kind in ("bare", "real"))
                own.append([one / other for one, other in zip(bare_seconds, real_seconds, strict=True)])
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    ratios = {clock: statistics.median(one for own in each for one in own) for clock, each in pairs.items()}
    rounds = {clock: [statistics.median(own) for own in each] for clock, each in pairs.items()}
    taken = statistics.median(found["real"]["busy"][WARM:])
    return {"ratio": ratios, "rounds": rounds, "losses": [found[kind]["loss"] for kind in processes], "busy": taken}


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        return work(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of a window that count")
    parser.add_argument("--rounds", type=int, default=5, help="windows of each training")
    parser.add_argument("--hidden", type=int, default=256, help="units of a layer")
    parser.add_argument("--both", action="store_true", help="read in both directions")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    for clock, name in (("busy", "processor"), ("seconds", "clock")):
        rounds = ", ".join(f"{one:.3f}" for one in found["rounds"][clock])
        print(f"rate of real over bare, {name}: {found['ratio'][clock]:.3f} (rounds {rounds})")
    losses = " and ".join(f"{one:.4f}" for one in found["losses"])
    print(f"{1000 * found['busy']:.0f} ms a step; last losses of bare and real {losses}")
    if options.json:
        options.json.write_text(json.dumps(found))
    return None


if __name__ == "__main__":
    main()
