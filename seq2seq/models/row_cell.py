"""A layer of torch for one row on a processor, in numpy over the layer's own memory.

A step of one row is a product of a matrix with a vector, which numpy takes in less time than torch needs to find out
what is asked of it. Sums may round otherwise in the last bit.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray
HALF = np.float32(0.5)


def array(tensor: Tensor) -> Array:
    """The same memory."""
    return tensor.detach().numpy()


def computes_in_numpy(like: Tensor) -> bool:
    """Whether one row may be computed here: no gradient is asked for, and numbers are of 32 bits on a processor."""
    kind = like.dtype is torch.float32 and like.device.type == "cpu"
    free = like.is_inference() or not torch.is_grad_enabled()
    return kind and free and not torch.is_autocast_enabled("cpu")


def sigmoid(values: Array) -> Array:
    """Of each number, in place; no exponential that could overflow."""
    values *= HALF
    np.tanh(values, values)
    values *= HALF
    values += HALF
    return values


class RowCell:
    """One direction of a layer, with the state that it is in.

    `advance` takes what the map of the input makes of one step's, W_ih x + b_ih, and returns the new h, (H,).
    """

    __slots__ = ("advance", "by_state", "hidden", "memory", "shift", "size")

    def __init__(self, mode: str, weights: Sequence[Tensor], state: Sequence[Array]) -> None:
        """mode: torch's name of the recurrence; weights: W_ih, W_hh, b_ih, b_hh; state: (H,) for each tensor."""
        self.by_state, self.shift = array(weights[1]), array(weights[3])
        self.hidden, self.memory, self.size = state[0], state[-1], len(state[0])
        steps = {"GRU": self.gru, "LSTM": self.lstm, "RNN_TANH": self.tanh, "RNN_RELU": self.relu}
        self.advance: Callable[[Array], Array] = steps[mode]

    @property
    def state(self) -> tuple[Array, Array]:
        """h and, of an LSTM, c."""
        return self.hidden, self.memory

    def gru(self, of_input: Array) -> Array:
        """Cho et al. 2014, eq. 5 to 8, with torch's reset gate after the product."""
        size = self.size
        of_state: Array = self.by_state @ self.hidden
        of_state += self.shift
        gates, by_reset = of_state[: 2 * size], of_state[2 * size :]
        gates += of_input[: 2 * size]
        sigmoid(gates)
        by_reset *= gates[:size]
        by_reset += of_input[2 * size :]
        new = np.tanh(by_reset, by_reset)
        hidden: Array = self.hidden - new
        hidden *= gates[size:]
        hidden += new
        self.hidden = hidden
        return hidden

    def lstm(self, of_input: Array) -> Array:
        """Gers et al. 2000."""
        size = self.size
        sums: Array = self.by_state @ self.hidden
        sums += of_input
        sums += self.shift
        gates, new, out = sums[: 2 * size], sums[2 * size : 3 * size], sums[3 * size :]
        sigmoid(gates), sigmoid(out)
        np.tanh(new, new)
        new *= gates[:size]
        self.memory = gates[size:] * self.memory
        self.memory += new
        out *= np.tanh(self.memory)
        self.hidden = out
        return out

    def tanh(self, of_input: Array) -> Array:
        """Elman 1990."""
        self.hidden = np.tanh(of_input + self.by_state @ self.hidden + self.shift)
        return self.hidden

    def relu(self, of_input: Array) -> Array:
        """The same with max(0, x)."""
        self.hidden = np.maximum(of_input + self.by_state @ self.hidden + self.shift, 0)
        return self.hidden


def whole_row(
    mode: str, weights: Sequence[Sequence[Tensor]], inputs: Tensor, state: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """All steps of inputs (T, I) in each direction's order; weights: of each direction; state: (D, H) for each tensor.

    Returns outputs (T, D * H) and the state after the last step of each direction.
    """
    read, outputs, last = array(inputs), [], []
    for way, own in enumerate(weights):
        cell = RowCell(mode, own, [array(one[way]) for one in state])
        given = read @ array(own[0]).T + array(own[2])
        made = np.stack([cell.advance(now) for now in (given[::-1] if way else given)])
        outputs.append(made[::-1] if way else made)
        last.append(cell.state[: len(state)])
    joined = np.concatenate(outputs, 1) if len(outputs) > 1 else outputs[0]
    return torch.from_numpy(joined), tuple(torch.from_numpy(np.stack(one)) for one in zip(*last, strict=True))
