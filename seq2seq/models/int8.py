"""A decoder's step with products in 8 bits: weights are rounded once, what they multiply at each step.

Each row of a product has a scale of its own, so that what it gives does not depend on the rows beside it.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from seq2seq.models.cells import GRU, LSTM, RNN, CellState, Fused
from seq2seq.models.decoder import Decoder

LEAST = 1 << 12
"""Weights of the smallest matrix that gains."""

MIDDLE = 128
"""Stands for zero in the 8 bits, without a sign, of what weights are multiplied by."""


class Int8Linear(nn.Module):
    """x W^T + b; of W and of x each row is a scale times whole numbers from -127 to 127."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight (O, I), bias (O,)"""
        super().__init__()
        self.scales = weight.abs().amax(1).clamp(min=1e-12) / 127  # (O,)
        whole = (weight / self.scales.unsqueeze(1)).round().to(torch.int8).contiguous()  # `suit_one_row` turns them
        self.packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self.zeros = torch.zeros(len(weight), dtype=torch.long)
        self.bias = torch.zeros(len(weight)) if bias is None else bias.detach()

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., I) to (..., O)"""
        rows = inputs.flatten(0, -2).float()
        scale = rows.abs().amax(1, keepdim=True).clamp_(min=1e-12).div_(127)
        whole = (rows / scale).round_().add_(MIDDLE).to(torch.uint8)
        weights = self.packed, self.scales, self.zeros
        product = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, MIDDLE, *weights, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return torch.addcmul(self.bias, product, scale, out=product).view(*inputs.shape[:-1], -1)


class Int8Cell(nn.Module):
    """A step of a layer of torch."""

    def __init__(self, cell: Fused) -> None:
        super().__init__()
        self.kind, self.relu = cell, isinstance(cell, RNN) and cell.nonlinearity == "relu"
        by_input, by_hidden, input_bias, hidden_bias = (one.detach() for one in cell.weights(0))
        size = cell.hidden_size
        self.sums = isinstance(cell, RNN | LSTM)
        """Whether both products are added up, so that one does for both."""
        if self.sums:
            weight, bias = torch.cat((by_input, by_hidden), 1), input_bias + hidden_bias
            if isinstance(cell, LSTM):  # i, f, g, o; tanh(x) = 2 sigmoid(2 x) - 1, which torch computes much faster
                weight[2 * size : 3 * size] *= 2
                bias[2 * size : 3 * size] *= 2
            self.both = Int8Linear(weight, bias)
        else:
            self.of_input, self.of_hidden = Int8Linear(by_input, input_bias), Int8Linear(by_hidden, hidden_bias)

    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        """As that of the cell, in one direction and without a mask."""
        if self.sums:
            gates = self.both(torch.cat((inputs, state[0]), -1))
            if not isinstance(self.kind, LSTM):
                return (gates.relu_() if self.relu else gates.tanh_(),)
            into, forget, new, out = gates.sigmoid_().chunk(4, -1)
            cell = torch.addcmul(torch.addcmul(-into, forget, state[1]), into, new, value=2)
            return torch.addcmul(-out, out, (2 * cell).sigmoid_(), value=2), cell
        of_input, of_hidden = self.of_input(inputs).chunk(3, -1), self.of_hidden(state[0]).chunk(3, -1)
        reset, update = (torch.sigmoid(of_input[gate] + of_hidden[gate]) for gate in (0, 1))
        new = torch.tanh(torch.addcmul(of_input[2], reset, of_hidden[2]))
        return (torch.addcmul(new, update, state[0] - new),)


def is_exact() -> bool:
    """Whether this machine and torch multiply 8 bits and lose nothing on the way; processors without the instructions
    for it let sums overflow."""
    try:
        layer = Int8Linear(torch.full((16, 64), 1.0), None)
        return bool((layer(torch.full((2, 64), 1.0)) - 64).abs().max() < 1e-3)
    except (AttributeError, RuntimeError, TypeError):
        return False


@torch.no_grad()
def quantise(decoder: Decoder) -> None:
    """Let the decoder take its single steps in 8 bits; all target positions at once stay as they are."""
    object.__setattr__(decoder, "by_step", rounded(decoder))  # no part of its parameters


def rounded(module: Any) -> Any:
    """A module that shares everything with this one but the larger matrices."""
    if isinstance(module, nn.Linear):
        return Int8Linear(module.weight, module.bias) if module.weight.numel() >= LEAST else module
    if isinstance(module, Fused) and type(module).step in (LSTM.step, GRU.step, RNN.step):
        return Int8Cell(module) if module.weights(0)[1].numel() >= LEAST else module
    shared = copy.copy(module)
    shared._modules = {name: None if one is None else rounded(one) for name, one in module._modules.items()}
    return shared
