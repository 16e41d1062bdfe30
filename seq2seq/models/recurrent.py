"""Recurrent: stacked layers of one cell, over all steps at once or step by step with the same numbers."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from seq2seq.errors import InputError
from seq2seq.models.cells import Cell, CellState
from seq2seq.models.dropout import Dropout, Noise, masked
from seq2seq.models.exported import exporting


class Stack(NamedTuple):
    """The recurrent layers of one side of a network, in the words of the settings."""

    cell: Cell
    hidden_size: int
    """Units, both directions together."""
    layers: int = 1
    dropout: float = 0.0
    """Share of units zeroed between layers."""
    locked_dropout: bool = False
    """Zero the same ones at every step."""
    recurrent_dropout: float = 0.0
    """Share of units of the state zeroed on their way into the recurrence, always locked."""
    residual_from: int | None = None
    """The first layer, counted from 1, whose input is added to its output."""

    @classmethod
    def of(cls, settings: Any) -> "Stack":
        """The stack of settings that have an attribute for each of these."""
        return cls._make(getattr(settings, name) for name in cls._fields)


class Masks(NamedTuple):
    """What the layers multiply by at each step of a batch in training; None where nothing is dropped."""

    between: list[Tensor | None]
    """Before each layer but the first, (B, T or 1, units)."""
    recurrent: list[Tensor | None]
    """The state on its way into each layer, (B, H)."""


class Recurrent(nn.Module):
    """Stacked layers of one cell."""

    def __init__(
        self,
        stack: Stack,
        input_size: int,
        bidirectional: bool = False,
        learned_first_state: bool = False,
        extra: int = 0,
    ) -> None:
        """Build the layers.

        Args:
            stack: what they are.
            input_size: of a step.
            bidirectional: whether each of them reads in both directions.
            learned_first_state: begin with parameters instead of zeros when no state is given.
            extra: length of another vector that enters every layer at each step (`step` only).
        """
        super().__init__()
        self.layers, self.directions = stack.layers, 2 if bidirectional else 1
        self.hidden_size, rest = divmod(stack.hidden_size, self.directions)
        self.residual_from = self.layers + 1 if stack.residual_from is None else stack.residual_from
        if rest:
            raise InputError(
                f"hidden_size {stack.hidden_size} is odd; a bidirectional encoder gives each direction one half"
            )
        if stack.recurrent_dropout and not stack.cell.reads_state:
            raise InputError(
                f"model.recurrent_dropout is {stack.recurrent_dropout}, but the gates of {type(stack.cell).__name__} "
                "do not read the state; set it to 0, or choose RNN, GRU, LSTM or LayerNormLSTM"
            )
        if self.residual_from == 1 and input_size != stack.hidden_size:
            raise InputError(
                f"model.residual_from 1 adds the first layer's input, of size {input_size}, to its output, of size "
                f"{stack.hidden_size}; make them equal or choose 2"
            )
        sizes = [input_size] + [stack.hidden_size] * (self.layers - 1)
        self.stack = nn.ModuleList(stack.cell.build(size + extra, self.hidden_size, bidirectional) for size in sizes)
        self.between = [Dropout(stack.dropout, stack.locked_dropout) for _ in range(self.layers - 1)]
        self.within = [Dropout(stack.recurrent_dropout, locked=True) for _ in range(self.layers)]
        self.dropouts = nn.ModuleDict({"between": nn.ModuleList(self.between), "within": nn.ModuleList(self.within)})
        self.first = nn.ParameterList(
            torch.zeros(self.layers * self.directions, 1, self.hidden_size)
            for _ in range(stack.cell.states * learned_first_state)
        )

    def forward(
        self,
        inputs: Tensor,
        state: CellState | None = None,
        lengths: Tensor | None = None,
        noise: Noise | None = None,
    ) -> tuple[Tensor, CellState]:
        """Run over all steps.

        inputs (B, T, I), state a tuple of (L * directions, B, H) or None for the first state, lengths (B,) on the CPU
        or None when every step counts. Returns outputs (B, T, directions * H), zero where padded, and the state after
        each row's own last step. No padding ever enters a state.
        """
        if lengths is not None and not exporting() and bool((lengths == inputs.shape[1]).all()):
            lengths = None
        if state is None and len(self.first):
            state = tuple(first.to(inputs.dtype).expand(-1, inputs.shape[0], -1).contiguous() for first in self.first)
        last = []
        for index, layer in enumerate(self.stack):
            if index:
                inputs = self.between[index - 1](inputs, noise)
            own = slice(index * self.directions, (index + 1) * self.directions)
            first = None if state is None else tuple(tensor[own] for tensor in state)
            outputs, after = layer(inputs, first, lengths, self._recurrent_masks(index, noise, inputs))
            inputs = outputs + inputs if index + 1 >= self.residual_from else outputs
            last.append(after)
        return inputs, tuple(torch.cat(tensors) for tensors in zip(*last, strict=True))

    def first_state(self, rows: int, like: Tensor) -> CellState:
        """The state (L, rows, H) before the first step of layers that read forwards, on the device of `like`."""
        zeros = like.new_zeros(self.layers, rows, self.hidden_size)
        learned = tuple(first.expand(-1, rows, -1) for first in self.first)
        return learned or (zeros,) * cast(Cell, self.stack[0]).states

    def step(
        self,
        inputs: Tensor,
        state: CellState,
        extra: Tensor | None = None,
        masks: Masks | None = None,
        time: int = 0,
    ) -> tuple[Tensor, CellState]:
        """One step forward: inputs (B, I), state of (L, B, H); returns the output (B, H) and the next state.

        extra (B, extra): enters every layer beside its input; masks: of the batch; time: the number of the step.
        """
        after = []
        for index, layer in enumerate(cast(list[Cell], list(self.stack))):
            if masks is not None and index:
                inputs = masked(inputs, masks.between[index - 1], time)
            read = inputs if extra is None else torch.cat((inputs, extra), dim=-1)
            within = None if masks is None else masks.recurrent[index]
            new = layer.step(read, tuple(tensor[index] for tensor in state), 0, within)
            after.append(new)
            inputs = new[0] + inputs if index + 1 >= self.residual_from else new[0]
        if len(after) == 1:
            return inputs, tuple(tensor.unsqueeze(0) for tensor in after[0])
        return inputs, tuple(torch.stack(tensors) for tensors in zip(*after, strict=True))

    def masks(self, noise: Noise | None, steps: int, like: Tensor) -> Masks:
        """The masks of all steps, of the kind and on the device of `like`."""
        units = self.hidden_size
        between = [dropout.mask(noise, steps, units, like) for dropout in self.between]
        within = [dropout.mask(noise, 1, units, like) for dropout in self.within]
        return Masks(between, [None if mask is None else mask.squeeze(1) for mask in within])

    def _recurrent_masks(self, index: int, noise: Noise | None, like: Tensor) -> Tensor | None:
        """(directions, B, H)"""
        mask = self.within[index].mask(noise, 1, self.directions * self.hidden_size, like)
        return None if mask is None else mask.view(len(like), self.directions, -1).transpose(0, 1)
