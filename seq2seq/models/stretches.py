"""Rows of several lengths through a layer that only knows rows of one length, exactly and in time linear in the length.

Between two neighbouring lengths the same rows go on: the layer runs over each such stretch with the rows still alive.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

State = tuple[Tensor, ...]
Run = Callable[[int, Tensor, State], tuple[Tensor, State]]
"""A direction over steps (t, N, I) from state tensors (1, N, H) on: outputs (t, N, H), and the state after them."""

LEAST = 1500
"""Tokens of a stretch times steps of the longest row from which a processor reads stretches faster than packed rows:
each costs a call, each packed step a gradient as long as all of them (`python -m seq2seq.bench`)."""


class Stretch(NamedTuple):
    """Steps during which the same rows go on."""

    steps: int
    rows: int


def stretches(lengths: list[int]) -> list[Stretch]:
    """Of lengths, longest first."""
    plan, alive, before = [], len(lengths), 0
    for end, rows in groupby(reversed(lengths)):
        plan.append(Stretch(end - before, alive))
        alive, before = alive - len(list(rows)), end
    return plan


def worthwhile(plan: list[Stretch]) -> bool:
    """Whether a processor gains by them."""
    tokens, longest = sum(one.steps * one.rows for one in plan), sum(one.steps for one in plan)
    return tokens * longest >= LEAST * len(plan)


def in_stretches(layer: nn.RNNBase, inputs: Tensor, state: State | None, plan: list[Stretch]) -> tuple[Tensor, State]:
    """All steps of a layer of torch over rows (B, T, I), longest first, from tensors (D, B, H) or zeros.

    Returns outputs (B, T, D H), zero where padded, and the state after each row's own last step.
    """
    directions, states = 2 if layer.bidirectional else 1, 2 if layer.mode == "LSTM" else 1
    if state is None:
        state = (inputs.new_zeros(directions, len(inputs), layer.hidden_size),) * states
    function: Any = getattr(torch, layer.mode.lower())
    flat = cast(list[Tensor], layer._flat_weights)

    def run(direction: int, piece: Tensor, before: State) -> tuple[Tensor, State]:
        weights, first = flat[4 * direction : 4 * direction + 4], before if states > 1 else before[0]
        outputs, *last = function(piece, first, weights, True, 1, 0.0, layer.training, False, False)
        return outputs, tuple(last)

    longest = sum(one.steps for one in plan)  # T, or less in a part of a batch
    steps, ways = inputs.transpose(0, 1)[:longest], (forwards, backwards)[:directions]
    each = [way(run, steps, tuple(one[of : of + 1] for one in state), plan) for of, way in enumerate(ways)]
    outputs = torch.cat([one for one, _ in each], -1).transpose(0, 1)
    last = tuple(torch.cat(of) for of in zip(*(after for _, after in each), strict=True))
    return pad(outputs, (0, 0, 0, inputs.shape[1] - longest)), last


def reordered(state: State, order: Tensor) -> State:
    """Tensors (D, B, H) with their rows in the order (B,)."""
    return tuple(tensor.index_select(1, order) for tensor in state)


def forwards(run: Run, inputs: Tensor, first: State, plan: list[Stretch]) -> tuple[Tensor, State]:
    """Steps (T, B, I), longest row first, from state tensors (1, B, H): outputs (T, B, H), zero where padded, and the
    state after each row's last step."""
    outputs, left, state = [], [], first
    nexts = [*(after.rows for after in plan[1:]), 0]
    # Cut at once: gradients of slices taken one by one would each be as long as all steps.
    for piece, (_, rows), go_on in zip(torch.split(inputs, [one.steps for one in plan]), plan, nexts, strict=True):
        out, state = run(0, piece[:, :rows], state)
        outputs.append(pad(out, (0, 0, 0, inputs.shape[1] - rows)))
        state, done = zip(*(torch.split(one, [go_on, rows - go_on], 1) for one in state), strict=True)
        left.append(done)
    return torch.cat(outputs), tuple(torch.cat(of[::-1], 1) for of in zip(*left, strict=True))


def backwards(run: Run, inputs: Tensor, first: State, plan: list[Stretch]) -> tuple[Tensor, State]:
    """The same from each row's last step to its first, after which the state is."""
    outputs: list[Tensor] = []
    state = tuple(one[:, :0] for one in first)
    parts = [torch.split(one, [now.rows for now in reversed_growth(plan)], 1) for one in first]
    pieces = torch.split(inputs, [one.steps for one in plan])
    for piece, (_, rows), *joining in zip(pieces[::-1], plan[::-1], *parts, strict=True):
        state = tuple(torch.cat(pair, 1) for pair in zip(state, joining, strict=True))
        out, state = run(1, piece[:, :rows].flip(0), state)
        outputs.append(pad(out.flip(0), (0, 0, 0, inputs.shape[1] - rows)))
    return torch.cat(outputs[::-1]), state


def reversed_growth(plan: list[Stretch]) -> list[Stretch]:
    """Of each stretch, last first, how many rows it has more than the one after it."""
    before = [0, *(one.rows for one in plan[:0:-1])]
    return [one._replace(rows=one.rows - fewer) for one, fewer in zip(plan[::-1], before, strict=True)]
