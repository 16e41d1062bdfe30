"""Memory over time: how far back a loss reaches into the encoder, and what stands in its way.

Three things about a network and a batch (`memory_over_time`): the norm of dLoss/dh_t at each step of the encoder
(Pascanu et al. 2013, sec. 2), the share of saturated gates (Karpathy et al. 2015, sec. 4.2), and the effective rank
of the fixed vectors (Roy and Vetterli 2007). Training does not notice: no parameter's gradient is touched and no
random number drawn.
"""

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Split, fitting
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.models.cells import RNN, Cell, CellState
from seq2seq.models.encoder import Encoder
from seq2seq.models.encoder_decoder import EncoderDecoder
from seq2seq.tasks.base import Task

LOW, HIGH = 0.1, 0.9
"""A gate is shut below the one and open above the other (Karpathy et al. 2015, sec. 4.2)."""

ROWS = 64
"""Rows of the validation split that are looked at during training, at most."""

DIRECTIONS = ("forward", "backward")


class MemoryDiagnostics(NamedTuple):
    """What `memory_over_time` finds."""

    gradient_norm: dict[str, list[float]]
    """For each direction of the top layer, by tokens read after it (0: the last one read), the mean over the rows of
    the norm of dLoss/dh_t, where Loss is the row's own, summed over its target tokens, in nats."""
    cell_gradient_norm: dict[str, list[float]]
    """The same of dLoss/dc_t, on all its roads, where a cell has a second state; empty elsewhere."""
    rows: list[int]
    """How many rows had so many tokens, and so entered those means."""
    saturation: dict[str, tuple[float, float]]
    """For each gate of all layers the shares below 0.1 and above 0.9; of a tanh RNN, which has none, the shares of
    units below -0.9 and above 0.9, under the name hidden."""
    effective_rank: float
    """Of the fixed vectors, from 1 to the smaller of `size` and the number of rows less one."""
    size: int
    """Units of the fixed vector."""

    def summary(self) -> dict[str, float]:
        """Three numbers for curves: the rank, the share of gates that are shut or open, and how much of the gradient
        at the last token arrives where half of the rows have begun, in the direction where it is less."""
        half = sum(count >= self.rows[0] / 2 for count in self.rows) - 1
        arriving = [norms[half] / max(norms[0], 1e-30) for norms in self.gradient_norm.values()]
        saturated = [shut + opened for shut, opened in self.saturation.values()]
        numbers = {"effective_rank": self.effective_rank, "gradient_arriving": min(arriving)}
        return numbers | ({"saturated_gates": sum(saturated) / len(saturated)} if saturated else {})

    def plain(self) -> dict[str, Any]:
        """As JSON with four significant digits; what is no number becomes null."""
        told: dict[str, Any] = rounded(self._asdict())
        return told


def rounded(value: Any) -> Any:
    """Numbers with four significant digits, in lists and dicts too."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


def network_of(task: Task) -> EncoderDecoder:
    """The network of a task that has an encoder and a decoder."""
    if task.encoder_decoder is None:
        raise TypeError(f"a {type(task).__name__} has no encoder and decoder")
    return task.encoder_decoder


def memory_over_time(task: Task, batch: Batch) -> MemoryDiagnostics:
    """Looks at the encoder while it reads a batch, without dropout; works inside inference mode and autocast too.

    task: one with an `encoder_decoder`.
    """
    encoder, was_training = network_of(task).encoder, task.training
    vectors: list[Tensor] = []
    hook = encoder.register_forward_hook(lambda module, inputs, encoding: vectors.append(encoding.vector))
    task.eval()
    try:
        with plain_arithmetic(next(task.parameters()).device.type), watched(encoder) as watches:
            loss = task.loss(copied(batch))
            top = watches[-1]
            wanted = [tensor for run in top.runs for step in run for tensor in step]
            slopes = iter(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))
            norms = [[[next(slopes).norm(dim=-1) for _ in step] for step in run] for run in top.runs]
    finally:
        hook.remove()
        task.train(was_training)
    lengths = batch.source_lengths
    by_distance = [
        {name: by_tokens_after(run, lengths, tensor) for name, run in zip(DIRECTIONS, norms, strict=False)}
        for tensor in range(len(norms[0][0]))
    ]
    rows = [int((lengths > after).sum()) for after in range(int(lengths.max()))]
    rank, size = effective_rank(vectors[0].detach()), vectors[0].shape[-1]
    return MemoryDiagnostics(by_distance[0], [*by_distance, {}][1], rows, shares(watches), rank, size)


@contextlib.contextmanager
def plain_arithmetic(device: str) -> Iterator[None]:
    """Inside, gradients can be asked for and every number has the parameters' kind."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        yield


def copied(batch: Batch) -> Batch:
    """The same batch with ids that were not made in inference mode."""
    return batch._replace(source=batch.source.clone(), target=batch.target.clone(), step_tokens=1)


class LayerRecorder:
    """Runs a layer step by step, and keeps what it does."""

    def __init__(self, layer: Cell) -> None:
        self.layer, self.lengths = layer, torch.zeros(0)
        self.runs: list[list[CellState]] = []
        """For each direction the state tensors (B, H) after each step, in the order in which tokens are read."""
        self.counts: dict[str, Tensor] = defaultdict(lambda: torch.zeros(3, dtype=torch.double))
        """For each gate how often it was shut, how often open, and of how many."""

    def run(self, inputs: Tensor, state: CellState, direction: int, mask: Tensor | None) -> CellState:
        """As Cell.run."""
        states: list[CellState] = []
        for time, now in enumerate(inputs.unbind(1)):
            before, state = state, self.layer.step(now, state, direction, mask)
            states.append(state)
            self.count(now, before, state, direction, (self.lengths > time).to(now.device))
        self.runs.append(states)
        return tuple(torch.stack(tensors, 1) for tensors in zip(*states, strict=True))

    @torch.no_grad()
    def count(self, inputs: Tensor, before: CellState, after: CellState, direction: int, real: Tensor) -> None:
        """Look at the gates of a step, of the rows (B,) that have a token there."""
        gates, low, high = self.layer.gates(inputs, before, direction), LOW, HIGH
        if isinstance(self.layer, RNN) and self.layer.nonlinearity == "tanh":
            gates, low = {"hidden": after[0]}, -HIGH
        for name, gate in gates.items():
            values = gate[real]
            found = [(values < low).sum(), (values > high).sum(), torch.tensor(values.numel())]
            self.counts[name] += torch.stack([one.cpu() for one in found])


@contextlib.contextmanager
def watched(encoder: Encoder) -> Iterator[list[LayerRecorder]]:
    """Inside, every layer of the encoder runs under a watch, in its plainest form."""
    layers = cast(list[Cell], list(encoder.recurrent.stack))
    watches = [LayerRecorder(layer) for layer in layers]
    hook = encoder.register_forward_pre_hook(lambda module, inputs: lend(watches, inputs[1]))
    for layer, watch in zip(layers, watches, strict=True):
        layer.run, layer.forward = watch.run, partial(Cell.forward, layer)  # type: ignore[method-assign]
    try:
        yield watches
    finally:
        hook.remove()
        for layer in layers:
            del layer.run, layer.forward


def lend(watches: list[LayerRecorder], lengths: Tensor) -> None:
    """Tell the watches how many tokens each row has."""
    for watch in watches:
        watch.lengths = lengths


def by_tokens_after(run: list[list[Tensor]], lengths: Tensor, tensor: int) -> list[float]:
    """Norms (B,) of each step's state tensors to their mean over rows, by the number of tokens read after the step."""
    norms = torch.stack([step[tensor] for step in run]).cpu().double()  # (S, B)
    found = []
    for after in range(int(lengths.max())):
        long_enough = lengths > after
        steps = (lengths - 1 - after)[long_enough]
        found.append(float(norms[steps, long_enough.nonzero().squeeze(1)].mean()))
    return found


def shares(watches: list[LayerRecorder]) -> dict[str, tuple[float, float]]:
    """The share of shut and of open gates over all layers."""
    total: dict[str, Tensor] = {}
    for watch in watches:
        for name, counts in watch.counts.items():
            total[name] = total.get(name, torch.zeros(3, dtype=torch.double)) + counts
    return {name: (float(shut / count), float(opened / count)) for name, (shut, opened, count) in total.items()}


def effective_rank(vectors: Tensor) -> float:
    """exp of the entropy of the singular values' shares (Roy and Vetterli 2007, sec. 2) of centred vectors (B, H)."""
    if not bool(vectors.isfinite().all()):
        return math.nan
    values = torch.linalg.svdvals((vectors - vectors.mean(0)).double())
    if not values.sum() > 0:
        return 1.0
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp())


def memory_of(task: Task, sources: Sequence[str], targets: Sequence[str]) -> MemoryDiagnostics:
    """`memory_over_time` for some texts."""
    source, target = (
        Ragged.of(one.encode(texts)) for one, texts in zip(task.tokenizers, (sources, targets), strict=True)
    )
    longest, row_format = (
        int(max(source.lengths.max(), target.lengths.max())) + 2,
        fitting(task.row_format, task.tokenizers),
    )
    split = Split(Texts(sources, targets), source, target, longest, row_format)
    return memory_over_time(task, split.batch(np.arange(len(sources))).to(next(task.parameters()).device))


def memory_of_split(task: Task, split: Split, limit: int) -> tuple[dict[str, Any], dict[str, float]] | None:
    """`memory_over_time` for some rows of a split, `limit` tokens at most: all of it, and its summary.

    None for a task without an encoder that hands over what it remembers.
    """
    if task.encoder_decoder is None:
        return None
    rows = some_rows(split.lengths(np.arange(len(split))), limit)
    found = memory_over_time(task, split.batch(rows).to(next(task.parameters()).device))
    return found.plain(), found.summary()


def some_rows(lengths: np.ndarray, limit: int) -> np.ndarray:
    """ROWS of the rows with source and target lengths (N, 2), evenly spread; fewer if these exceed `limit` tokens.

    Padding counts. A training step of so many tokens has fitted the device.
    """
    count = min(len(lengths), ROWS)
    while True:
        rows = np.linspace(0, len(lengths) - 1, count).astype(np.int64)
        if count == 1 or count * lengths[rows].max(axis=0).sum() <= limit:
            return rows
        count //= 2
