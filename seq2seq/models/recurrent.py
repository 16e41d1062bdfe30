"""Recurrent: stacked layers of one cell, over all steps at once or step by step with the same numbers."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from seq2seq.errors import InputError
from seq2seq.models.cells import Cell, CellState, Layer
from seq2seq.models.dropout import Dropout, Noise, masked

RECURRENT = 100
"""How much further the numbers of the recurrent dropouts begin."""


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
        cell: Cell,
        input_size: int,
        hidden_size: int,
        layers: int = 1,
        bidirectional: bool = False,
        place: int = 0,
        dropout: float = 0.0,
        locked: bool = False,
        recurrent_dropout: float = 0.0,
        residual_from: int | None = None,
        learned_first_state: bool = False,
        extra: int = 0,
    ) -> None:
        """Build the layers.

        Args:
            cell: what they compute.
            input_size: of a step.
            hidden_size: units of one direction.
            layers: how many.
            bidirectional: whether each of them reads in both directions.
            place: where the numbers of the dropouts begin.
            dropout: share of units zeroed between layers.
            locked: zero the same ones at every step.
            recurrent_dropout: share of units of the state zeroed on their way into the recurrence, always locked.
            residual_from: the first layer, counted from 1, whose input is added to its output.
            learned_first_state: begin with parameters instead of zeros when no state is given.
            extra: length of another vector that enters every layer at each step (`step` only).
        """
        super().__init__()
        if recurrent_dropout and not cell.reads_state:
            raise InputError(
                f"model.recurrent_dropout is {recurrent_dropout}, but the gates of {type(cell).__name__} do not read "
                "the state; set it to 0, or choose RNN, GRU, LSTM or LayerNormLSTM"
            )
        self.layers, self.hidden_size, self.directions = layers, hidden_size, 2 if bidirectional else 1
        units = hidden_size * self.directions
        self.residual_from = layers + 1 if residual_from is None else residual_from
        if self.residual_from == 1 and input_size != units:
            raise InputError(
                f"model.residual_from 1 adds the first layer's input, of size {input_size}, to its output, of size "
                f"{units}; make them equal or choose 2"
            )
        sizes = [input_size] + [units] * (layers - 1)
        self.stack = nn.ModuleList(cell.layer(size + extra, hidden_size, bidirectional) for size in sizes)
        self.between = [Dropout(dropout, place + index, locked) for index in range(layers - 1)]
        self.within = [Dropout(recurrent_dropout, place + RECURRENT + index, True) for index in range(layers)]
        self.dropouts = nn.ModuleList(self.between + self.within)
        self.first = nn.ParameterList(
            torch.zeros(layers * self.directions, 1, hidden_size) for _ in range(cell.states * learned_first_state)
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
        if lengths is not None and bool((lengths == inputs.shape[1]).all()):
            lengths = None
        if state is None and len(self.first):
            state = tuple(one.to(inputs.dtype).expand(-1, len(inputs), -1).contiguous() for one in self.first)
        last = []
        for index, layer in enumerate(self.stack):
            if index:
                inputs = self.between[index - 1](inputs, noise)
            first = None if state is None else tuple(tensor[self._part(index)] for tensor in state)
            outputs, after = layer(inputs, first, lengths, self._recurrent_masks(index, noise, inputs))
            inputs = outputs + inputs if index + 1 >= self.residual_from else outputs
            last.append(after)
        return inputs, tuple(torch.cat(tensors) for tensors in zip(*last, strict=True))

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
        for index, layer in enumerate(cast(list[Layer], list(self.stack))):
            if masks is not None and index:
                inputs = masked(inputs, masks.between[index - 1], time)
            read = inputs if extra is None else torch.cat((inputs, extra), dim=-1)
            within = None if masks is None else masks.recurrent[index]
            new = layer.step(read, tuple(tensor[index] for tensor in state), 0, within)
            after.append(new)
            inputs = new[0] + inputs if index + 1 >= self.residual_from else new[0]
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

    def _part(self, index: int) -> slice:
        """A layer's states among those of all layers."""
        return slice(index * self.directions, (index + 1) * self.directions)
