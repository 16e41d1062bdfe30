"""What stands for recurrences in a network that is written to a file: loops over time of an unknown length.

Python's own loops are unrolled there, and packed sequences cannot be traced. So a layer of torch becomes one operator
that knows each row's length, as ONNX has it, and everything else a scan over its step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Tensors = tuple[Tensor, ...]


def exporting() -> bool:
    """Whether the network is being traced for a file; never in torch before 2.7, which cannot say."""
    return bool(getattr(torch.compiler, "is_exporting", bool)())


def over_time(
    step: Callable[[Tensors, Tensors], tuple[Tensors, Tensors]], first: Tensors, inputs: Sequence[Tensor]
) -> tuple[Tensors, Tensors]:
    """step(carried, what inputs (B, T, ...) have at a time) to what it carries on and puts out; T at least 1.

    Returns what is carried at last, and all that was put out, (B, T, ...).
    """
    from torch._higher_order_ops.scan import scan

    def body(carried: list[Tensor], now: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        after, out = step(tuple(carried), tuple(now))
        return [one.clone() for one in after], [one.clone() for one in out]

    before = [one.clone() for one in first]
    last, out = scan(body, before, [one.transpose(0, 1).contiguous() for one in inputs], dim=0)
    return tuple(last), tuple(one.transpose(0, 1) for one in out)


def scanned(
    step: Callable[[Tensor, Tensors, int, Tensor | None], Tensors],
    inputs: Tensor,
    first: Tensors,
    direction: int,
    mask: Tensor | None,
) -> Tensors:
    """A cell's step over inputs (B, T, I), from its first state on: the state tensors after each step, (B, T, H)."""

    def body(carried: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        after = step(now[0], carried, direction, mask)
        return after, after

    return over_time(body, first, (inputs,))[1]


def as_operator(
    kind: str, weights: Sequence[Tensors], inputs: Tensor, state: Tensors | None, lengths: Tensor | None
) -> tuple[Tensor, Tensors]:
    """A layer of torch over inputs (B, T, I) as one operator, `recurrence`; weights: W_ih, W_hh, b_ih, b_hh of each
    direction. Returns outputs and last states, of which those without a cell have the same twice."""
    by_input, by_hidden, *biases = (torch.stack(of) for of in zip(*weights, strict=True))
    if lengths is None:
        lengths = torch.full((inputs.shape[0],), inputs.shape[1])
    if state is None:
        state = (inputs.new_zeros(len(weights), inputs.shape[0], by_hidden.shape[2]),)
    both = (by_input, by_hidden, torch.cat(biases, 1))
    outputs, *last = torch.ops.seq2seq.recurrence(inputs, lengths, *both, state[0], state[-1], kind)
    return outputs, tuple(last)


@torch.library.custom_op("seq2seq::recurrence", mutates_args=())
def recurrence(
    inputs: Tensor,
    lengths: Tensor,
    by_input: Tensor,
    by_hidden: Tensor,
    bias: Tensor,
    hidden: Tensor,
    cell: Tensor,
    kind: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer of torch, of which `kind` is LSTM, GRU, RNN_TANH or RNN_RELU, over rows of these lengths (B,).

    inputs (B, T, I), by_input (D, G H, I), by_hidden (D, G H, H), bias (D, 2 G H), hidden and cell (D, B, H). Returns
    outputs (B, T, D H) and the last states (D, B, H); cell is what only an LSTM has.
    """
    directions, half = by_input.shape[0], bias.shape[1] // 2
    parameters = [
        part.clone()
        for of in range(directions)
        for part in (by_input[of], by_hidden[of], bias[of, :half], bias[of, half:])
    ]
    packed = pack_padded_sequence(inputs, lengths.cpu(), True, enforce_sorted=False)
    order: Any = packed.sorted_indices
    first: Any = tuple(one.index_select(1, order) for one in (hidden, cell))
    function: Any = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}[kind]
    if kind != "LSTM":
        first = first[0]
    arguments = (parameters, True, 1, 0.0, False, directions == 2)
    outputs, *last = function(packed.data, packed.batch_sizes, first, *arguments)
    padded, _ = pad_packed_sequence(packed._replace(data=outputs), True, total_length=inputs.shape[1])
    states = [one.index_select(1, order.argsort()) for one in last]
    return padded, states[0], states[-1].clone() if kind != "LSTM" else states[1]


@recurrence.register_fake
def _(
    inputs: Tensor,
    lengths: Tensor,
    by_input: Tensor,
    by_hidden: Tensor,
    bias: Tensor,
    hidden: Tensor,
    cell: Tensor,
    kind: str,
) -> tuple[Tensor, Tensor, Tensor]:
    outputs = inputs.new_empty(inputs.shape[0], inputs.shape[1], by_input.shape[0] * by_hidden.shape[2])
    return outputs, torch.empty_like(hidden), torch.empty_like(cell)
