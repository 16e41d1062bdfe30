"""The recurrences: RNN, GRU, LSTM. A state is a tuple of (L, B, H) tensors: one for RNN and GRU, two for LSTM."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seq2seq.models.dropout import Dropout, Noise
from seq2seq.parts import Part

CellState = tuple[Tensor, ...]
Weights = tuple[Tensor, Tensor, Tensor, Tensor]


class Cell(Part):
    """What a recurrent layer computes at each step.

    A new cell says how many state tensors it has, builds its layer over time, and takes one step of it.
    """

    states: ClassVar[int] = 1
    """State tensors per layer."""

    def layer(self, input_size: int, hidden_size: int, bidirectional: bool) -> nn.RNNBase:
        """The layer over time: (B, T, input_size) to (B, T, H), or to (B, T, 2 H) when bidirectional."""
        raise TypeError(f"{type(self).__name__} does not say how to build its layer")

    def step(self, inputs: Tensor, state: CellState, weights: Weights) -> CellState:
        """One step of one layer: inputs (B, I) and state tensors (B, H) to the next state tensors (B, H)."""
        raise TypeError(f"{type(self).__name__} does not say how to take a step")


class RNN(Cell):
    """h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), with f tanh or relu (Elman 1990)."""

    def __init__(self, nonlinearity: Literal["tanh", "relu"] = "tanh") -> None:
        """nonlinearity: the f of the equation."""
        self.nonlinearity = nonlinearity

    def layer(self, input_size: int, hidden_size: int, bidirectional: bool) -> nn.RNNBase:
        kind = self.nonlinearity
        return nn.RNN(input_size, hidden_size, nonlinearity=kind, batch_first=True, bidirectional=bidirectional)

    def step(self, inputs: Tensor, state: CellState, weights: Weights) -> CellState:
        function = torch.rnn_tanh_cell if self.nonlinearity == "tanh" else torch.rnn_relu_cell
        return (function(inputs, state[0], *weights),)


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014, eq. 5 to 8, with torch's reset gate after the product)."""

    def layer(self, input_size: int, hidden_size: int, bidirectional: bool) -> nn.RNNBase:
        return nn.GRU(input_size, hidden_size, batch_first=True, bidirectional=bidirectional)

    def step(self, inputs: Tensor, state: CellState, weights: Weights) -> CellState:
        return (torch.gru_cell(inputs, state[0], *weights),)


class LSTM(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000), no peepholes."""

    states = 2

    def __init__(self, forget_bias: float = 1.0) -> None:
        """forget_bias: first value of the forget gate's bias (Jozefowicz et al. 2015 advise 1)."""
        self.forget_bias = forget_bias

    def layer(self, input_size: int, hidden_size: int, bidirectional: bool) -> nn.RNNBase:
        layer = nn.LSTM(input_size, hidden_size, batch_first=True, bidirectional=bidirectional)
        with torch.no_grad():
            for name, bias in layer.named_parameters():
                if name.startswith("bias"):  # the two biases add up; gates are stored in the order i, f, g, o
                    bias[hidden_size : 2 * hidden_size] = self.forget_bias if "_ih_" in name else 0.0
        return layer

    def step(self, inputs: Tensor, state: CellState, weights: Weights) -> CellState:
        return torch.lstm_cell(inputs, state, *weights)


class Recurrent(nn.Module):
    """Stacked layers of one cell, run over time by torch's fused layer or step by step with the same numbers."""

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        place: int = 0,
    ) -> None:
        """dropout: share of units zeroed between layers; hidden_size: units of one direction; place: of the masks."""
        super().__init__()
        self.cell = cell
        self.directions = 2 if bidirectional else 1
        self.layers, self.hidden_size = layers, hidden_size
        sizes = [input_size] + [hidden_size * self.directions] * (layers - 1)
        self.stack = nn.ModuleList(cell.layer(size, hidden_size, bidirectional) for size in sizes)
        self.between = nn.ModuleList(Dropout(dropout, place + index) for index in range(layers - 1))

    def forward(
        self,
        inputs: Tensor,
        state: CellState | None = None,
        lengths: Tensor | None = None,
        noise: Noise | None = None,
    ) -> tuple[Tensor, CellState]:
        """Run over all steps.

        inputs (B, T, I), state a tuple of (L * directions, B, H) or None for zeros, lengths (B,) on the CPU or
        None when every step counts. Returns outputs (B, T, directions * H), zero where padded, and the state after
        each row's own last step. Rows of one length take the dense fused layer; a mixed batch is packed, so that no
        padding ever enters a state.
        """
        if lengths is not None and bool((lengths == inputs.shape[1]).all()):
            lengths = None
        last = []
        for index, layer in enumerate(self.stack):
            if index:
                inputs = self.between[index - 1](inputs, noise)
            first = None if state is None else tuple(tensor[self._part(index)] for tensor in state)
            if lengths is None:
                inputs, final = layer(inputs, self._torch(first))
            else:
                packed = pack_padded_sequence(inputs, lengths, True, enforce_sorted=False)
                outputs, final = layer(packed, self._torch(first))
                inputs = pad_packed_sequence(outputs, True, total_length=inputs.shape[1])[0]
            last.append(self._tuple(final))
        return inputs, tuple(torch.cat(tensors) for tensors in zip(*last, strict=True))

    def step(self, inputs: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """One step without dropout: inputs (B, I), state of (L, B, H); returns the output (B, H) and the next state."""
        after = []
        for index, layer in enumerate(self.stack):
            new = self.cell.step(inputs, tuple(tensor[index] for tensor in state), weights_of(layer))
            after.append(new)
            inputs = new[0]
        return inputs, tuple(torch.stack(tensors) for tensors in zip(*after, strict=True))

    def _part(self, index: int) -> slice:
        """A layer's states among those of all layers."""
        return slice(index * self.directions, (index + 1) * self.directions)

    def _torch(self, state: CellState | None) -> Tensor | CellState | None:
        if state is None or self.cell.states > 1:
            return state
        return state[0]

    def _tuple(self, state: Tensor | CellState) -> CellState:
        return (state,) if isinstance(state, Tensor) else tuple(state)


def weights_of(layer: nn.Module) -> Weights:
    """The parameters of a layer's forward direction."""
    first, second, third, fourth = (
        layer.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    return first, second, third, fourth
