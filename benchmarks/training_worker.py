"""A training that advances window by window: `training_worker.py real|loop|bare ARGUMENTS OF seq2seq.train ...`.

`real` is the command itself, `seq2seq.train.main`, with a hook after each optimiser step. `bare` is a plain torch loop
with the same layers, batches and optimiser and torch's own dropout and loss; `loop` is that loop around the package's
network and loss, so that real against loop is the framework alone. Each does one step, reports it, and then waits for a
number of steps on stdin, again and again, so that several workers take turns. Each answer is one line of JSON on
stdout: the window's seconds and target tokens by step, and its last loss. An empty line or the end of stdin lets the
training end.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from jsonargparse import Namespace
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.optim.optimizer import register_optimizer_step_post_hook

from seq2seq.cli import command
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Step
from seq2seq.data.tokenizers.base import PAD
from seq2seq.tasks.translation import Translation
from seq2seq.training.learner import step_seed


class Pace:
    """Times optimiser steps, and holds the training between windows."""

    def __init__(self, answers: int) -> None:
        """answers: the file descriptor to answer on."""
        self._answers = os.fdopen(answers, "w")
        self._left, self._over = 1, False
        self._seconds: list[float] = []
        self._tokens: list[int] = []
        self._cpu = cpu_seconds()
        self._started = self._last = time.perf_counter()

    def stepped(self, tokens: int, loss: Tensor) -> None:
        """Called right after each optimiser step; returns when the next one may begin."""
        if self._over:
            return
        now = time.perf_counter()
        self._seconds.append(now - self._last)
        self._tokens.append(tokens)
        self._left -= 1
        self._last = now
        if not self._left:
            self._answer(float(loss))
            self._left = int(sys.stdin.readline().strip() or 0)
            self._over = not self._left
            self._seconds, self._tokens, self._cpu = [], [], cpu_seconds()
            self._started = self._last = time.perf_counter()

    def _answer(self, loss: float) -> None:
        window = {"seconds": self._seconds, "tokens": self._tokens, "loss": loss, "others": self._others()}
        print(json.dumps(window), file=self._answers, flush=True)

    def _others(self) -> float:
        """Cores that other processes used during the window; a window with more than about 0.15 is disturbed."""
        (own, machine), (own_before, machine_before) = cpu_seconds(), self._cpu
        return ((machine - machine_before) - (own - own_before)) / (time.perf_counter() - self._started)


def cpu_seconds() -> tuple[float, float]:
    """CPU time of this process and of the whole machine (0 where there is no /proc/stat)."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(value) for value in file.readline().split()[1:9]]
    except OSError:
        return 0.0, 0.0
    return time.process_time(), (sum(ticks[:3]) + sum(ticks[5:])) / os.sysconf("SC_CLK_TCK")


def real(arguments: Sequence[str], pace: Pace) -> None:
    """The command, as it is."""
    from seq2seq import train
    from seq2seq.training.learner import Learner

    original = Learner.training_step
    newest: list[tuple[int, Learner]] = []

    def counted(self: Learner, batch: Step, batch_idx: int) -> None:
        newest[:] = [(batch.batches[0].step_tokens, self)]
        original(self, batch, batch_idx)

    def stepped(*_: Any) -> None:
        tokens, learner = newest[0]
        pace.stepped(tokens, learner.last_loss)

    register_optimizer_step_post_hook(stepped)
    Learner.training_step = counted  # type: ignore[method-assign]
    train.main(arguments)


def bare(arguments: Sequence[str], pace: Pace, own_loss: bool = False) -> None:
    """The same training without Lightning, callbacks and hooks, and but for `own_loss` without our modules."""
    parser = command.training_parser()
    parts = parser.instantiate(command.parse(parser, arguments))
    texts = parts.data.texts("train")
    tokenizers = parts.data.train_tokenizers(texts)
    torch.manual_seed(parts.seed)
    split = parts.data.encode(texts, tokenizers, "train")
    task = Translation(tokenizers, **vars(parts.model))
    refuse_unknown(task)
    plan = parts.data.plan(split, parts.seed)
    optimizer = torch.optim.AdamW(task.parameters(), lr=parts.optimizer.learning_rate, weight_decay=0.0, fused=True)
    for step in range(parts.trainer.max_steps):
        rows = plan.rows(step)
        tokens = int(split.target_lengths(rows).sum()) - len(rows)
        batch = split.batch(rows, step_tokens=tokens)._replace(seed=step_seed(parts.seed, step))
        loss = bare_step(task, batch, optimizer, parts, own_loss)
        pace.stepped(tokens, loss)


def bare_step(
    task: Translation, batch: Batch, optimizer: torch.optim.Optimizer, parts: Namespace, own_loss: bool
) -> Tensor:
    """One optimiser step; returns its loss in nats per token."""
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=parts.trainer.precision == "bf16-mixed"):
        loss = (task.loss(batch) if own_loss else bare_loss(task, batch)) / batch.step_tokens
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(task.parameters(), parts.trainer.gradient_clip_val)
    optimizer.step()
    return loss.detach()


def refuse_unknown(task: Translation) -> None:
    """`bare_loss` knows one network, that of multi30k_peers.yaml."""
    attention = type(task.attention).__name__
    known = task.layers == 1 and task.encoder.bidirectional and type(task.bridge).__name__ == "Copy"
    plain = not (task.encoder.reverse or task.decoder.context_every_step or task.decoder.tied_output)
    if not (known and plain and type(task.cell).__name__ == "LSTM" and attention in ("NoneType", "General")):
        raise SystemExit("the bare loop knows the network of benchmarks/multi30k_peers.yaml only")


def bare_loss(task: Translation, batch: Batch) -> Tensor:
    """The network's arithmetic written down with torch's layers alone; the sum over target tokens, in nats."""
    encoder, decoder, share = task.network.encoder, task.network.decoder, task.dropout
    embedded = dropout(encoder.embedding(batch.source), share)
    if bool((batch.source_lengths == batch.source.shape[1]).all()):
        memory, final = encoder.recurrent.stack[0].torch(embedded)
    else:
        packed = pack_padded_sequence(embedded, batch.source_lengths, batch_first=True, enforce_sorted=False)
        memory, final = encoder.recurrent.stack[0].torch(packed)
        memory = pad_packed_sequence(memory, batch_first=True, total_length=batch.source.shape[1])[0]
    first = tuple(torch.cat((state[0], state[1]), dim=-1).unsqueeze(0) for state in final)
    hidden, _ = decoder.recurrent.stack[0].torch(dropout(decoder.embedding(batch.target[:, :-1]), share), first)
    features = dropout(attend(decoder, hidden, memory, batch.source == PAD), share)
    labels = batch.target[:, 1:]
    real_ones = labels != PAD
    logits = decoder.output.layer(features[real_ones])
    return cross_entropy(logits.float(), labels[real_ones], reduction="sum")


def attend(decoder: Any, hidden: Tensor, memory: Tensor, padding: Tensor) -> Tensor:
    """Luong's general attention: hidden (B, T, H), memory (B, S, H), padding (B, S) to features (B, T, H)."""
    if decoder.attention is None:
        return hidden
    scores = (hidden @ nn.functional.linear(memory, decoder.attention.map.weight).transpose(1, 2)).float()
    weights = scores.masked_fill(padding.unsqueeze(1), torch.finfo(scores.dtype).min).softmax(-1).to(memory.dtype)
    return torch.tanh(decoder.readout.map(torch.cat((weights @ memory, hidden), dim=-1)))


def main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever the training prints must not mix with the answers
    kind, *arguments = sys.argv[1:]
    pace = Pace(answers)
    kinds = {"real": lambda a: real(a, pace), "loop": lambda a: bare(a, pace, True), "bare": lambda a: bare(a, pace)}
    command.run(kinds[kind], arguments)


if __name__ == "__main__":
    main()
