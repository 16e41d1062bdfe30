"""Forecaster: a state to the values that follow, each step reading what the step before has forecast."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.models.attention import Attention, Memory
from seq2seq.models.cells import CellState
from seq2seq.models.dropout import Dropout, Noise, masked
from seq2seq.models.embedding import Projection
from seq2seq.models.recurrent import Recurrent, Stack
from seq2seq.pinned_copy import to_device


class ForecastInputs(NamedTuple):
    """What a forecast may know of B histories; D numbers a step."""

    state: CellState
    """Tensors (L, B, H), the first state."""
    first: Tensor
    """(B, D) what the first step reads as the value before it."""
    base: Tensor
    """(B, T, D) what is forecast without the network, which adds to it."""
    memory: Memory | None
    """What attention looks at."""
    future: Tensor | None = None
    """(B, T, F) covariates of each step, which are known in advance."""


class Forecaster(nn.Module):
    """A recurrence that is fed its own forecast, in training as in prediction, and what it is a correction of."""

    def __init__(
        self,
        width: int,
        embedding_size: int,
        outputs: int,
        middle: int,
        stack: Stack,
        attention: Attention | None,
        future: int = 0,
    ) -> None:
        """width: numbers of a step, D; outputs: forecasts of each, Q, in rising order; middle: which one is fed.

        attention: already built; future: covariates of a step, F.
        """
        super().__init__()
        self.width, self.outputs, self.middle = width, outputs, middle
        self.embedding = Projection(2 * width + future, embedding_size)
        self.dropout = Dropout(stack.dropout, stack.locked_dropout)
        self.recurrent = Recurrent(stack, embedding_size)
        self.attention = attention
        self.last_dropout = Dropout(stack.dropout, stack.locked_dropout)
        seen = stack.hidden_size + (0 if attention is None else attention.context_size)
        self.output = nn.Linear(seen, width * outputs)
        nn.init.zeros_(self.output.bias)

    def forward(self, known: ForecastInputs, noise: Noise | None = None) -> Tensor:
        """The forecasts (B, T, D, Q) of all steps of `known.base`."""
        steps, forecasts = known.base.shape[1], []
        before, state = known.first, known.state
        entering = self.dropout.mask(noise, steps, self.embedding.size, before)
        leaving = self.last_dropout.mask(noise, steps, self.output.in_features, before)
        masks = self.recurrent.masks(noise, steps, before)
        for time in range(steps):
            base = known.base[:, time]
            given = (before, base) if known.future is None else (before, base, known.future[:, time])
            read = masked(self.embedding(torch.cat(given, dim=-1)), entering, time)
            hidden, state = self.recurrent.step(read, state, None, masks, time)
            seen = masked(self.attend(hidden, known.memory), leaving, time)
            raw = self.output(seen).view(-1, self.width, self.outputs)
            now = rising(raw, self.middle) + base.unsqueeze(-1)
            forecasts.append(now)
            before = now[..., self.middle]
        return torch.stack(forecasts, 1)

    def attend(self, hidden: Tensor, memory: Memory | None) -> Tensor:
        """A state (B, H) beside its context, (B, H + C)."""
        if self.attention is None or memory is None:
            return hidden
        context, _ = self.attention(hidden.unsqueeze(1), memory)
        return torch.cat((hidden, context.squeeze(1)), dim=-1)


def rising(raw: Tensor, middle: int) -> Tensor:
    """Any numbers (..., Q) to numbers that rise: the middle one, and positive distances from it on both sides."""
    lower, centre, upper = raw[..., :middle], raw[..., middle : middle + 1], raw[..., middle + 1 :]
    below = centre - functional.softplus(lower).flip(-1).cumsum(-1).flip(-1)
    above = centre + functional.softplus(upper).cumsum(-1)
    return torch.cat((below, centre, above), dim=-1)


def pinball(forecasts: Tensor, values: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Forecasts (..., Q) of each quantile and values (...) to losses (..., Q) (Koenker and Bassett 1978, eq. 2.2).

    q (y - f) where the value y is above the forecast f, (1 - q) (f - y) where it is below; half the absolute error of
    the median.
    """
    levels = to_device(torch.tensor(quantiles, dtype=forecasts.dtype), forecasts.device)
    errors = values.unsqueeze(-1) - forecasts
    return torch.maximum(levels * errors, (levels - 1) * errors)
