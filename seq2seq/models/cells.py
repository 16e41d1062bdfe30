"""The recurrences: RNN, GRU, LSTM, LayerNormLSTM, MinGRU, MinLSTM, and what a layer of any of them must do.

The state of a layer is a tuple of (D, B, H) tensors for its D directions: two tensors for an LSTM, else one.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from seq2seq.models import products
from seq2seq.models.exported import as_operator, exporting, scanned
from seq2seq.models.network_part import NetworkPart
from seq2seq.models.row_cell import computes_in_numpy, whole_row
from seq2seq.models.scan import gated_recurrence, gated_step
from seq2seq.models.stretches import in_stretches, reordered, stretches, worthwhile
from seq2seq.pinned_copy import to_device

STEP_CONTRACT = "a step makes `states` tensors (B, H), a sequence (B, T, D * H)"
CellState = tuple[Tensor, ...]
Inputs = TypeVar("Inputs", Tensor, PackedSequence)


class Cell(NetworkPart):
    """What a recurrent layer computes at each step; once built, one layer over time, in one direction or in both.

    The frame: a loop over `step`, which a subclass writes.
    """

    states: ClassVar[int] = 1
    """State tensors per layer."""
    reads_state: ClassVar[bool] = True
    """Whether the gates see the state; without that there is no recurrent dropout."""
    hidden_size: int
    """Units of one direction."""
    directions: int

    def build(self, input_size: int, hidden_size: int, bidirectional: bool) -> "Cell":
        """A layer: (B, T, input_size) to (B, T, hidden_size), or to (B, T, 2 hidden_size) when bidirectional."""
        layer = self.copied()
        layer.hidden_size, layer.directions = hidden_size, 2 if bidirectional else 1
        layer.create(input_size)
        layer.refuse_broken(STEP_CONTRACT, lambda: layer.wrong_shapes(torch.zeros(2, 3, input_size)))
        return layer

    def wrong_shapes(self, inputs: Tensor) -> str:
        """Where a step, or all steps at once, of inputs (B, T, I) give other shapes than they must; empty for none."""
        rows, steps = inputs.shape[:2]
        state = [tuple(one.shape) for one in self.step(inputs[:, 0], self.zeros(inputs))]
        if state != (wanted_state := [(rows, self.hidden_size)] * self.states):
            return f"a step has {state}, not {wanted_state}"
        outputs, last = self(inputs)
        found = [tuple(one.shape) for one in (outputs, *last)]
        ends = [(self.directions, rows, self.hidden_size)] * self.states
        wanted = [(rows, steps, self.directions * self.hidden_size), *ends]
        return "" if found == wanted else f"a sequence has {found}, not {wanted}"

    @abstractmethod
    def create(self, input_size: int) -> None:
        """Make the parameters, for `hidden_size` units in each of the `directions`."""

    @abstractmethod
    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        """One step: inputs (B, I) and state tensors (B, H) to the next state tensors (B, H).

        mask (B, H): what the state is multiplied by where it is read, not where it is kept (Gal and Ghahramani 2016).
        """

    def gates(self, inputs: Tensor, state: CellState, direction: int = 0) -> dict[str, Tensor]:
        """The gates (B, H) of that step by name, each from 0 to 1."""
        return {}

    def forward(
        self,
        inputs: Tensor,
        state: CellState | None = None,
        lengths: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, CellState]:
        """All steps.

        inputs (B, T, I), state of (D, B, H) tensors or None for zeros, lengths (B,) or None when every step counts,
        masks (D, B, H) as in `step`. Returns outputs (B, T, D * H), zero where padded, and the state after each row's
        own last step: in the other direction, after its first token.
        """
        outputs, last = [], []
        lengths = None if lengths is None else to_device(lengths, inputs.device)
        for direction in range(self.directions):
            first = self.zeros(inputs) if state is None else tuple(tensor[direction] for tensor in state)
            read = turned(inputs, lengths) if direction else inputs
            mask = None if masks is None else masks[direction]
            if exporting():
                run = scanned(self.step, read, first, direction, mask)
            else:
                run = self.run(read, first, direction, mask)
            last.append(tuple(at_end(tensor, lengths) for tensor in run))
            outputs.append(turned(run[0], lengths) if direction else run[0])
        joined = torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]
        if lengths is not None:
            joined = joined * inside(lengths, joined).unsqueeze(-1)
        return joined, tuple(torch.stack(tensors) for tensors in zip(*last, strict=True))

    def run(self, inputs: Tensor, state: CellState, direction: int, mask: Tensor | None) -> CellState:
        """One direction in the order of the inputs (B, T, I): the state tensors after each step, (B, T, H)."""
        states = []
        for now in inputs.unbind(1):
            state = self.step(now, state, direction, mask)
            states.append(state)
        return tuple(torch.stack(tensors, 1) for tensors in zip(*states, strict=True))

    def matrices(self) -> Iterator[tuple[Tensor, bool]]:
        """Matrices that a training draws anew (`initial_values`), (gates * H, I), and which lead from state to state.

        Those of a cell of others keep what `create` has given them.
        """
        return iter(())

    def zeros(self, inputs: Tensor) -> CellState:
        """A state of zeros for inputs (B, T, I)."""
        return (inputs.new_zeros(inputs.shape[0], self.hidden_size),) * self.states


def at_least_32_bits(values: Tensor) -> Tensor:
    """The same numbers in single precision or better, whatever autocast made of them."""
    if values.dtype is torch.float32:
        return values
    return values.to(torch.promote_types(values.dtype, torch.float32))


def inside(lengths: Tensor, like: Tensor) -> Tensor:
    """(B, T), true where a row of `like` (B, T, ...) has a token; lengths (B,)."""
    return torch.arange(like.shape[1], device=like.device) < to_device(lengths, like.device).unsqueeze(1)


def real_positions(lengths: Tensor, like: Tensor) -> Tensor:
    """(N,) which of the B T tokens of `like` (B, T, ...) are the first `lengths` (B,) of their rows, on its device.

    They are counted on the CPU, where lengths are: a device would be waited for.
    """
    real = torch.arange(like.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    return to_device(real.flatten().nonzero().squeeze(1), like.device)


def picked(values: Tensor, positions: Tensor) -> Tensor:
    """(B, T, ...) at positions (N,) of its B T tokens: (N, ...)."""
    return values.flatten(0, 1).index_select(0, positions)


def turned(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Each row's own steps, (B, T) or (B, T, H), in reverse order; padding stays where it is."""
    if lengths is None:
        return values.flip(1)
    steps = torch.arange(values.shape[1], device=values.device)
    last = to_device(lengths, values.device).unsqueeze(1) - 1
    reversed_steps = torch.where(steps <= last, last - steps, steps)  # (B, T)
    return values.gather(1, reversed_steps if values.dim() == 2 else reversed_steps.unsqueeze(-1).expand_as(values))


def at_end(values: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, H) at each row's own last step, (B, H)."""
    if lengths is None:
        return values[:, -1]
    return values[torch.arange(values.shape[0], device=values.device), to_device(lengths, values.device) - 1]


F = TypeVar("F", bound="Fused")


class Fused(Cell):
    """A layer of torch, which computes all steps in one call."""

    torch: nn.RNNBase
    """With a single layer inside, batch first."""
    loops_packed: ClassVar[bool] = True
    """Whether torch computes the dense layer on processors by the loop that it has for packed rows."""
    suits_one_row: bool = False
    """Whether a single row is computed by numpy where it can be (`row_cell.py`), whose sums round otherwise."""

    def train(self: F, mode: bool = True) -> F:
        """torch's layer stays in training mode, without which cuDNN has no backward; it drops nothing itself."""
        super().train(mode)
        self.torch.train()
        return self

    def forward(
        self,
        inputs: Tensor,
        state: CellState | None = None,
        lengths: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, CellState]:
        """Rows of one length take the dense layer; a mixed batch is packed, or read in stretches of steps with the same
        rows, so no padding ever enters a state."""
        if exporting():
            weights = [self.weights(direction) for direction in range(self.directions)]
            outputs, last = as_operator(self.torch.mode, weights, inputs, state, lengths)
            return outputs, last[: self.states]
        if masks is not None:
            return super().forward(inputs, state, lengths, masks)
        if torch.is_autocast_enabled(inputs.device.type) and products.lacks_bfloat16(inputs.device):
            with torch.autocast("cpu", enabled=False):
                return self.fused(inputs.float(), None if state is None else tuple(map(Tensor.float, state)), lengths)
        return self.fused(inputs, state, lengths)

    def fused(self, inputs: Tensor, state: CellState | None, lengths: Tensor | None) -> tuple[Tensor, CellState]:
        """All steps by torch's layer."""
        if lengths is None and self.suits_one_row and len(inputs) == 1 and computes_in_numpy(inputs):
            return self.one_row(inputs, state)
        if lengths is None:
            return self.dense(inputs, state)
        # Torch sorts too, but waits for the device twice to learn an order that was made on the CPU.
        longest_first, order = lengths.sort(descending=True)
        order, back = to_device(torch.stack((order, order.argsort())), inputs.device)
        inputs, state = inputs.index_select(0, order), None if state is None else reordered(state, order)
        plan = stretches(longest_first.tolist())
        if inputs.device.type == "cpu" and worthwhile(plan) and (torch.is_grad_enabled() or not self.loops_packed):
            padded, last = in_stretches(self.torch, inputs, state, plan)
        else:
            outputs, last = self.dense(pack_padded_sequence(inputs, longest_first, True), state)
            padded, _ = pad_packed_sequence(outputs, True, total_length=inputs.shape[1])
        return padded.index_select(0, back), reordered(last, back)

    def one_row(self, inputs: Tensor, state: CellState | None) -> tuple[Tensor, CellState]:
        """All steps of a single row in numpy."""
        weights = [self.weights(direction) for direction in range(self.directions)]
        first = inputs.new_zeros(self.states, self.directions, self.hidden_size) if state is None else state
        made, last = whole_row(self.torch.mode, weights, inputs[0], [one.view(self.directions, -1) for one in first])
        return made.unsqueeze(0), tuple(one.unsqueeze(1) for one in last)

    def dense(self, inputs: Inputs, state: CellState | None) -> tuple[Inputs, CellState]:
        """All steps of rows of one length, or of rows that are packed."""
        if state is not None:  # cuDNN takes nothing else
            state = tuple(tensor.contiguous() for tensor in state)
        outputs, last = self.torch(inputs, state if state is None or self.states > 1 else state[0])
        return outputs, ((last,) if self.states == 1 else tuple(last))

    def matrices(self) -> Iterator[tuple[Tensor, bool]]:
        for name, weight in self.torch.named_parameters():
            if name.startswith("weight"):
                yield weight, "_hh_" in name

    def weights(self, direction: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W_ih, W_hh, b_ih, b_hh."""
        # As torch keeps them for its own call; by their names they take three times as long.
        flat = cast(list[Tensor], self.torch._flat_weights)
        first, second, third, fourth = flat[4 * direction : 4 * direction + 4]
        return first, second, third, fourth

    def products(self, inputs: Tensor, hidden: Tensor, direction: int) -> tuple[Tensor, Tensor]:
        """W_ih x + b_ih and W_hh h + b_hh."""
        weights = self.weights(direction)
        return products.linear(inputs, *weights[::2]), products.linear(hidden, *weights[1::2])


class RNN(Fused):
    """h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), with f tanh or relu (Elman 1990)."""

    def __init__(self, nonlinearity: Literal["tanh", "relu"] = "tanh") -> None:
        """nonlinearity: the f of the equation."""
        super().__init__()
        self.nonlinearity = nonlinearity

    def create(self, input_size: int) -> None:
        kind, both = self.nonlinearity, self.directions == 2
        self.torch = nn.RNN(input_size, self.hidden_size, nonlinearity=kind, batch_first=True, bidirectional=both)

    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        hidden = state[0] if mask is None else state[0] * mask
        function = torch.rnn_tanh_cell if self.nonlinearity == "tanh" else torch.rnn_relu_cell
        return (function(inputs, hidden, *self.weights(direction)),)


class GRU(Fused):
    """Gated recurrent unit (Cho et al. 2014, eq. 5 to 8, with torch's reset gate after the product)."""

    def create(self, input_size: int) -> None:
        self.torch = nn.GRU(input_size, self.hidden_size, batch_first=True, bidirectional=self.directions == 2)

    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        if mask is None:
            return (torch.gru_cell(inputs, state[0], *self.weights(direction)),)
        reset, update, new, by_state = self.parts(inputs, state[0] * mask, direction)
        new = torch.tanh(new + reset * by_state)
        return (new + update * (state[0] - new),)

    def gates(self, inputs: Tensor, state: CellState, direction: int = 0) -> dict[str, Tensor]:
        reset, update, *_ = self.parts(inputs, state[0], direction)
        return {"reset": reset, "update": update}

    def parts(self, inputs: Tensor, hidden: Tensor, direction: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both gates, and the two halves of the new value."""
        of_input, of_hidden = (product.chunk(3, -1) for product in self.products(inputs, hidden, direction))
        reset, update = (torch.sigmoid(of_input[gate] + of_hidden[gate]) for gate in (0, 1))
        return reset, update, of_input[2], of_hidden[2]


class LSTM(Fused):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000), no peepholes."""

    states = 2
    loops_packed = False

    def __init__(self, forget_bias: float = 1.0) -> None:
        """forget_bias: first value of the forget gate's bias (Jozefowicz et al. 2015 advise 1)."""
        super().__init__()
        self.forget_bias = forget_bias

    def create(self, input_size: int) -> None:
        size = self.hidden_size
        self.torch = nn.LSTM(input_size, size, batch_first=True, bidirectional=self.directions == 2)
        with torch.no_grad():
            for name, bias in self.torch.named_parameters():
                if name.startswith("bias"):  # the two biases add up; gates are stored in the order i, f, g, o
                    bias[size : 2 * size] = self.forget_bias if "_ih_" in name else 0.0

    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        hidden = state[0] if mask is None else state[0] * mask
        if products.by_onednn(inputs):
            of_input, of_hidden = self.products(inputs, hidden, direction)
            into, forget, new, out = of_input.add_(of_hidden).chunk(4, -1)
            cell = torch.addcmul(forget.sigmoid() * state[1], into.sigmoid(), new.tanh())
            return out.sigmoid() * cell.tanh(), cell
        return torch.lstm_cell(inputs, (hidden, state[1]), *self.weights(direction))

    def gates(self, inputs: Tensor, state: CellState, direction: int = 0) -> dict[str, Tensor]:
        of_input, of_hidden = self.products(inputs, state[0], direction)
        into, forget, _, out = (of_input + of_hidden).sigmoid().chunk(4, -1)
        return {"input": into, "forget": forget, "output": out}


class LayerNormLSTM(Cell):
    """LSTM with layer normalisation of each product and of the second state (Ba et al. 2016, eq. 20 to 22).

    (f, i, o, g) = LN(W_h h) + LN(W_x x) + b; h = o tanh(LN(c)): three normalisations with gain, two with a shift.
    Its steps follow one another in Python, so it is slower than an LSTM.
    """

    states = 2

    def __init__(self, forget_bias: float = 1.0) -> None:
        """forget_bias: first value of the forget gate's bias."""
        super().__init__()
        self.forget_bias = forget_bias

    def create(self, input_size: int) -> None:
        hidden_size = self.hidden_size
        self.of_input = nn.ModuleList(self._product(input_size, True) for _ in range(self.directions))
        self.of_hidden = nn.ModuleList(self._product(hidden_size, False) for _ in range(self.directions))
        self.of_cell = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(self.directions))
        with torch.no_grad():
            for product in self.of_input:
                product.get_parameter("1.bias")[:hidden_size] = self.forget_bias

    def _product(self, size: int, shifted: bool) -> nn.Sequential:
        """Linear map to the four gates f, i, o, g and their normalisation; one shift serves both products and b."""
        linear = nn.Linear(size, 4 * self.hidden_size, bias=False)
        return nn.Sequential(linear, nn.LayerNorm(4 * self.hidden_size, bias=shifted))

    def matrices(self) -> Iterator[tuple[Tensor, bool]]:
        for maps, from_state in ((self.of_input, False), (self.of_hidden, True)):
            for one in maps:
                yield one.get_parameter("0.weight"), from_state

    def run(self, inputs: Tensor, state: CellState, direction: int, mask: Tensor | None) -> CellState:
        states = []
        for product in self.of_input[direction](inputs).unbind(1):  # of all steps at once: they do not see the state
            state = self.advance(product, state, direction, mask)
            states.append(state)
        return tuple(torch.stack(tensors, 1) for tensors in zip(*states, strict=True))

    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        return self.advance(self.of_input[direction](inputs), state, direction, mask)

    def gates(self, inputs: Tensor, state: CellState, direction: int = 0) -> dict[str, Tensor]:
        sums = self.of_input[direction](inputs) + self.of_hidden[direction](state[0])
        forget, into, out, _ = sums.sigmoid().chunk(4, -1)
        return {"forget": forget, "input": into, "output": out}

    def advance(self, product: Tensor, state: CellState, direction: int, mask: Tensor | None) -> CellState:
        """One step after the product with the input."""
        hidden, cell = state
        sums = product + self.of_hidden[direction](hidden if mask is None else hidden * mask)
        gates, new = sums.split((3 * self.hidden_size, self.hidden_size), -1)
        forget, into, out = gates.sigmoid().chunk(3, -1)
        cell = forget * cell + into * new.tanh()
        return out * self.of_cell[direction](cell).tanh(), cell


class MinCell(Cell):
    """One linear map to the gates and the new value, then a linear recurrence over time (Feng et al. 2024).

    The gates see the input only, so that all steps are computed at once.
    """

    writes = ("biases",)
    reads_state = False
    biases: ClassVar[Sequence[tuple[str, float]]]
    """Each gate, and the first value of its bias in units of forget_bias."""

    def __init__(self, forget_bias: float = 1.0) -> None:
        super().__init__()
        self.forget_bias = forget_bias

    def create(self, input_size: int) -> None:
        size, wide = self.hidden_size, (len(self.biases) + 1) * self.hidden_size
        self.maps = nn.ModuleList(nn.Linear(input_size, wide) for _ in range(self.directions))
        with torch.no_grad():
            for linear in self.maps:
                for gate, (_, bias) in enumerate(self.biases):
                    linear.get_parameter("bias")[gate * size : (gate + 1) * size] = bias * self.forget_bias

    def matrices(self) -> Iterator[tuple[Tensor, bool]]:
        for linear in self.maps:
            yield linear.get_parameter("weight"), False

    def run(self, inputs: Tensor, state: CellState, direction: int, mask: Tensor | None) -> CellState:
        return (gated_recurrence(at_least_32_bits(self.maps[direction](inputs)), at_least_32_bits(state[0])),)

    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        return (gated_step(at_least_32_bits(self.maps[direction](inputs)), at_least_32_bits(state[0])),)

    def gates(self, inputs: Tensor, state: CellState, direction: int = 0) -> dict[str, Tensor]:
        *gates, _ = self.maps[direction](inputs).split(self.hidden_size, -1)
        return {name: gate.sigmoid() for (name, _), gate in zip(self.biases, gates, strict=True)}


class MinGRU(MinCell):
    """h_t = (1 - z_t) h_{t-1} + z_t h'_t; z_t = sigmoid(W_z x_t), h'_t = W_h x_t (Feng et al. 2024, sec. 3.1)."""

    biases = (("update", -1.0),)

    def __init__(self, forget_bias: float = 1.0) -> None:
        """forget_bias: minus the first value of the bias of z."""
        super().__init__(forget_bias)


class MinLSTM(MinCell):
    """h_t = f'_t h_{t-1} + i'_t h'_t; f and i are gates of x_t, f' = f / (f + i), i' = i / (f + i), h'_t = W_h x_t.

    Feng et al. 2024, sec. 3.2.
    """

    biases = (("input", 0.0), ("forget", 1.0))

    def __init__(self, forget_bias: float = 1.0) -> None:
        """forget_bias: first value of the forget gate's bias."""
        super().__init__(forget_bias)
