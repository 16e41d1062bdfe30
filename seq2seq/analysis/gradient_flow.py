"""Memory over time: how far back a loss reaches into the encoder, and what stands in its way.

Three things about a network and a batch (`memory_over_time`): the norm of dLoss/dh_t at each step of the encoder
(Pascanu et al. 2013, sec. 2), the share of saturated gates (Karpathy et al. 2015, sec. 4.2), and the effective rank
of the fixed vectors (Roy and Vetterli 2007). Training is not affected: no parameter's gradient changes and no random
number is drawn.
"""

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from seq2seq.analysis.vector_space import evenly_spread
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Split, fitting
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.models.cells import RNN, Cell, CellState, inside
from seq2seq.models.encoder import Encoder
from seq2seq.models.encoder_decoder import EncoderDecoder
from seq2seq.tasks.base import Task

LOW, HIGH = 0.1, 0.9
"""A gate is saturated below the one and above the other (Karpathy et al. 2015, sec. 4.2)."""

ROWS = 64
"""Rows of the validation split that are measured during training, at most."""

DIRECTIONS = ("forward", "backward")


class MemoryDiagnostics(NamedTuple):
    """What `memory_over_time` measures."""

    gradient_norm: dict[str, list[float]]
    """For each direction of the top layer, by tokens read after it (0: the last one read), the mean over the rows of
    the norm of dLoss/dh_t, where Loss is the row's own, summed over its target tokens, in nats."""
    cell_gradient_norm: dict[str, list[float]]
    """The same of the total derivative dLoss/dc_t, where a cell has a second state; else empty."""
    rows: list[int]
    """How many rows each of those means is of."""
    saturation: dict[str, tuple[float, float]]
    """For each gate of all layers the shares below 0.1 and above 0.9; of a tanh RNN, which has none, the shares of
    units below -0.9 and above 0.9, under the name hidden."""
    effective_rank: float
    """Of the fixed vectors, from 1 to the smaller of `size` and the number of rows less one."""
    size: int
    """Units of the fixed vector."""

    def summary(self) -> dict[str, float]:
        """Three numbers for curves: the rank, the share of saturated gates, and how much of the gradient
        at the last token reaches the median first token, in the direction where it is less."""
        half = sum(count >= self.rows[0] / 2 for count in self.rows) - 1
        arriving = [norms[half] / max(norms[0], 1e-30) for norms in self.gradient_norm.values()]
        saturated = [low + high for low, high in self.saturation.values()]
        numbers = {"effective_rank": self.effective_rank, "gradient_arriving": min(arriving)}
        return numbers | ({"saturated_gates": sum(saturated) / len(saturated)} if saturated else {})

    def to_json(self) -> dict[str, Any]:
        """As JSON with four significant digits; a non-finite number becomes null."""
        values: dict[str, Any] = rounded(self._asdict())
        return values


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
    """Measure the encoder on a batch, without dropout; works inside inference mode and autocast too.

    task: one with an `encoder_decoder`.
    """
    encoder, was_training = network_of(task).encoder, task.training
    frozen = [one for one in encoder.parameters() if not one.requires_grad]
    vectors: list[Tensor] = []
    hook = encoder.register_forward_hook(lambda module, inputs, encoding: vectors.append(encoding.vector))
    task.eval()
    for parameter in frozen:  # a gradient passes through what is not trained, too
        parameter.requires_grad_(True)
    try:
        with plain_arithmetic(next(task.parameters()).device.type), recorded(encoder) as recorders:
            loss = task.loss(copied(batch))
            top = recorders[-1]
            wanted = [tensor for run in top.runs for step in run for tensor in step]
            slopes = iter(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))
            norms = [[[next(slopes).norm(dim=-1) for _ in step] for step in run] for run in top.runs]
    finally:
        hook.remove()
        task.train(was_training)
        for parameter in frozen:
            parameter.requires_grad_(False)
    lengths = batch.source_lengths
    by_distance = [
        {name: by_tokens_after(run, lengths, tensor) for name, run in zip(DIRECTIONS, norms, strict=False)}
        for tensor in range(len(norms[0][0]))
    ]
    rows = [int((lengths > after).sum()) for after in range(int(lengths.max()))]
    rank, size = effective_rank(vectors[0].detach()), vectors[0].shape[-1]
    return MemoryDiagnostics(by_distance[0], [*by_distance, {}][1], rows, saturation(recorders), rank, size)


@contextlib.contextmanager
def plain_arithmetic(device: str) -> Iterator[None]:
    """Inside, gradients can be computed and every tensor has the parameters' dtype."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        yield


def copied(batch: Batch) -> Batch:
    """The same batch with copies of its ids, which may be inference tensors."""
    return batch._replace(source=batch.source.clone(), target=batch.target.clone(), step_tokens=1)


class LayerRecorder:
    """Runs a layer step by step, and records its states and gates."""

    def __init__(self, layer: Cell) -> None:
        self.layer, self.lengths = layer, torch.zeros(0)
        self.runs: list[list[CellState]] = []
        """For each direction the state tensors (B, H) after each step, in the order in which tokens are read."""
        self.counts: dict[str, list[Tensor]] = defaultdict(list)
        """For each gate and direction how many values were below LOW and how many above HIGH, (2,) on its device."""
        self.values = 0
        """How many there were of each gate."""
        self.shows_state = isinstance(layer, RNN) and layer.nonlinearity == "tanh"
        """Whether the state is counted instead of gates."""

    def run(self, inputs: Tensor, state: CellState, direction: int, mask: Tensor | None) -> CellState:
        """As Cell.run."""
        states: list[CellState] = []
        gates: dict[str, list[Tensor]] = defaultdict(list)
        for now in inputs.unbind(1):
            before, state = state, self.layer.step(now, state, direction, mask)
            states.append(state)
            for name, gate in self.gates(now, before, state, direction).items():
                gates[name].append(gate)
        self.runs.append(states)
        self.count(gates, inside(self.lengths, inputs))
        return tuple(torch.stack(tensors, 1) for tensors in zip(*states, strict=True))

    @torch.no_grad()
    def gates(self, inputs: Tensor, before: CellState, after: CellState, direction: int) -> dict[str, Tensor]:
        """What is counted of a step, (B, H)."""
        return {"hidden": after[0]} if self.shows_state else self.layer.gates(inputs, before, direction)

    def count(self, gates: Mapping[str, Sequence[Tensor]], real: Tensor) -> None:
        """Count the gates of all steps where a row has a token, real (B, T)."""
        self.values += int(self.lengths.clamp(max=real.shape[1]).sum()) * self.layer.hidden_size
        low = -HIGH if self.shows_state else LOW
        for name, of_steps in gates.items():
            values, inner = torch.stack(list(of_steps), 1), real.unsqueeze(2)  # (B, T, H)
            self.counts[name].append(torch.stack([((values < low) & inner).sum(), ((values > HIGH) & inner).sum()]))


@contextlib.contextmanager
def recorded(encoder: Encoder) -> Iterator[list[LayerRecorder]]:
    """Inside, a recorder runs each layer of the encoder, unfused."""
    layers = cast(list[Cell], list(encoder.recurrent.stack))
    recorders = [LayerRecorder(layer) for layer in layers]
    hook = encoder.register_forward_pre_hook(lambda module, inputs: set_lengths(recorders, inputs[1]))
    for layer, recorder in zip(layers, recorders, strict=True):
        layer.run, layer.forward = recorder.run, partial(Cell.forward, layer)  # type: ignore[method-assign]
    try:
        yield recorders
    finally:
        hook.remove()
        for layer in layers:
            del layer.run, layer.forward


def set_lengths(recorders: list[LayerRecorder], lengths: Tensor) -> None:
    """Give the recorders the number of tokens of each row."""
    for recorder in recorders:
        recorder.lengths = lengths


def by_tokens_after(run: list[list[Tensor]], lengths: Tensor, tensor: int) -> list[float]:
    """Norms (B,) of each step's state tensors to their mean over rows, by the number of tokens read after the step."""
    norms = torch.stack([step[tensor] for step in run]).cpu().double()  # (S, B)
    means = []
    for after in range(int(lengths.max())):
        long_enough = lengths > after
        steps = (lengths - 1 - after)[long_enough]
        means.append(float(norms[steps, long_enough.nonzero().squeeze(1)].mean()))
    return means


def saturation(recorders: list[LayerRecorder]) -> dict[str, tuple[float, float]]:
    """The shares below LOW and above HIGH of each gate, over all layers."""
    names = list(dict.fromkeys(name for recorder in recorders for name in recorder.counts))
    total = [torch.stack([one for recorder in recorders for one in recorder.counts[name]]).sum(0) for name in names]
    values = sum(recorder.values for recorder in recorders)
    counts = torch.stack(total).tolist() if total else []
    return {name: (low / values, high / values) for name, (low, high) in zip(names, counts, strict=True)}


def effective_rank(vectors: Tensor) -> float:
    """exp of the entropy of the singular values' shares (Roy and Vetterli 2007, sec. 2) of centred vectors (B, H)."""
    vectors = vectors.cpu()
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

    None for a task without an encoder.
    """
    if task.encoder_decoder is None:
        return None
    rows = some_rows(split.lengths(np.arange(len(split))), limit)
    diagnostics = memory_over_time(task, split.batch(rows).to(next(task.parameters()).device))
    return diagnostics.to_json(), diagnostics.summary()


def some_rows(lengths: np.ndarray, limit: int) -> np.ndarray:
    """ROWS of the rows with source and target lengths (N, 2), evenly spread; fewer if these exceed `limit` tokens.

    Padding counts. `limit` tokens of a training step have fitted the device.
    """
    count = min(len(lengths), ROWS)
    while True:
        rows = evenly_spread(len(lengths), count)
        if count == 1 or count * lengths[rows].max(axis=0).sum() <= limit:
            return rows
        count //= 2
