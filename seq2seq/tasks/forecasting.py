"""Forecasting: the next values of a series from those before (asynchronous many-to-many, real numbers)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.number_text import StepParts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.base import Metric
from seq2seq.metrics.forecast_errors import (
    IntervalCoverage,
    MeanAbsoluteError,
    MeanAbsoluteScaledError,
    RootMeanSquaredError,
    RootMeanSquaredScaledError,
    WeightedQuantileLoss,
)
from seq2seq.models.attention import Attention, Monotonic
from seq2seq.models.cells import GRU, Cell, CellState, inside, picked, real_positions
from seq2seq.models.dropout import Noise
from seq2seq.models.embedding import Projection
from seq2seq.models.encoder import Encoder, EncoderOptions, Encoding
from seq2seq.models.exported import exporting
from seq2seq.models.fixed_vector import Bridge, Linear, StateShape
from seq2seq.models.forecaster import Forecaster, ForecastInputs, pinball
from seq2seq.models.recurrent import Stack
from seq2seq.pinned_copy import to_device
from seq2seq.tasks.base import RecurrentTask, Validated
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.token_rows import TokenRows

MEDIAN = 0.5

LEAST = 1e-3
"""The least standard deviation of a history, in units of that of training; that of a constant history is 0."""


@dataclass(eq=False, repr=False)
class Forecasting(RecurrentTask):
    """An RNN encoder reads the history, an RNN decoder writes as many steps as the targets of training have.

    Covariates that are known in advance are read by the decoder too, at the step that they belong to; those that are
    known up to now by the encoder alone.

    Args:
        embedding_size: length of what is made of a step's numbers.
        encoder: what the encoder does otherwise.
        bridge: how the fixed vector becomes the decoder's first state (Copy, Linear, Zeros, Learned).
        attention: what the decoder may look at besides (Dot, ScaledDot, General, Additive, LocalP, ...).
        quantiles: which ones are forecast (Koenker and Bassett 1978), in rising order; the one of 0.5, the median,
            is the forecast. null for the mean, which the squared error teaches.
        relative: what the network corrects: nothing (none), the last value repeated (last) or the last season
            repeated (season); with the last two it sees values only less the last one, so that levels it has
            never seen do not matter.
        rescale: with relative, divide what is read by the standard deviation of the row's own history and
            multiply the forecast by it (Kim et al. 2022, sec. 3), so that a series may swing more than it ever did.
        season: steps after which a series is alike: 12 for months. Also that of the metrics mase and rmsse.
        metrics: scores of a split, the first of which selects the best checkpoint; null for
            MeanAbsoluteScaledError, RootMeanSquaredScaledError, MeanAbsoluteError, RootMeanSquaredError and, of
            quantiles, WeightedQuantileLoss and IntervalCoverage.
    """

    row_format = RowFormat(source_end=False, target_ends=False, fixed_target_length=True, keep_last_steps=True)

    cell: Cell = GRU()
    embedding_size: int = 32
    hidden_size: int = 64
    encoder: EncoderOptions = EncoderOptions()
    bridge: Bridge = Linear()
    attention: Attention | None = None
    quantiles: list[float] | None = field(default_factory=lambda: [0.1, MEDIAN, 0.9])
    relative: Literal["none", "last", "season"] = "last"
    rescale: bool = False
    season: int = 1
    dropout: float = 0.1
    gain: Tensor = field(init=False)
    """(D,) with `shift` what turns the normalised numbers of a source into those of a target; empty where these have
    another width."""
    shift: Tensor = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.levels = self.quantiles or [MEDIAN]
        source, target = sides_of(self.tokenizers)
        self.parts = parts_of(source)
        self.horizon = target.steps[1]
        stack, attention = Stack.of(self), self.attention
        self.reader = Encoder(Projection(source.width, self.embedding_size), stack, self.encoder)
        shapes = (StateShape(self.layers, size) for size in (self.reader.size, self.hidden_size))
        self.handed = self.bridge.build(self.cell.states, *shapes)
        attend = None if attention is None else attention.build(self.hidden_size, self.reader.size)
        middle = self.levels.index(MEDIAN)
        self.forecaster = Forecaster(target.width, self.embedding_size, len(self.levels), middle, stack, attend,
                                     self.parts.future)  # fmt: skip
        own = slice(self.parts.series)
        same = self.parts.series == target.width
        gain = source.deviation[own] / target.deviation if same else np.zeros(0)
        shift = (source.mean[own] - target.mean) / target.deviation if same else np.zeros(0)
        self.register_buffer("gain", torch.from_numpy(gain).float(), persistent=False)
        self.register_buffer("shift", torch.from_numpy(shift).float(), persistent=False)

    def token_rows(self) -> dict[str, TokenRows]:
        return {}

    def usual_metrics(self) -> list[Metric]:
        errors = [MeanAbsoluteScaledError(self.season), RootMeanSquaredScaledError(self.season), MeanAbsoluteError(),
                  RootMeanSquaredError()]  # fmt: skip
        return errors if self.quantiles is None else [*errors, WeightedQuantileLoss(), IntervalCoverage()]

    def refuse_wrong_settings(self) -> None:
        check_range("model.season", self.season, 1)
        levels = self.quantiles or [MEDIAN]
        if levels != sorted(set(levels)) or MEDIAN not in levels or levels[0] <= 0 or levels[-1] >= 1:
            raise InputError(f"model.quantiles is {levels}; they must rise from above 0 to below 1 and hold 0.5")
        if isinstance(self.attention, Monotonic):
            raise InputError("model.attention Monotonic is for task Translation; choose another one such as General")
        if self.attention is not None and self.attention.coverage:
            raise InputError("model.attention.coverage is for the attention of a translation; set it to false")
        if not self.bridge.uses_source and self.attention is None:
            raise InputError(
                f"model.bridge {type(self.bridge).__name__} tells the decoder nothing of the history; choose Copy or "
                "Linear, or an attention such as Additive"
            )
        if self.rescale and self.relative == "none":
            raise InputError("model.rescale goes with model.relative last or season; choose one, or set it to false")
        source, target = sides_of(self.tokenizers)
        parts = parts_of(source)
        if self.relative != "none" and parts.series != target.width:
            raise InputError(
                f"model.relative {self.relative} needs forecasts of the numbers that are known, but a step of the "
                f"source has {parts.series} and one of the target {target.width}; set it to none"
            )
        if parts.ahead not in (0, target.steps[1]):
            raise InputError(f"sources know covariates of {parts.ahead} steps ahead, and targets have "
                             f"{target.steps[1]} steps; both need as many")  # fmt: skip
        if self.relative == "season" and source.steps[0] - parts.ahead < self.season:
            raise InputError(
                f"model.relative season needs a season of {self.season} steps, but the shortest history of training "
                f"has {source.steps[0] - parts.ahead}; give longer ones, or set it to last"
            )

    @property
    def baseline_season(self) -> int | None:
        source, target = sides_of(self.tokenizers)
        return self.season if parts_of(source).series == target.width else None

    def check(self, text: str) -> None:
        super().check(text)
        steps = self.tokenizers.source.length(text)
        if self.relative == "season" and steps < self.season:
            raise InputError(f"{steps} steps, but model.season is {self.season}; give a history of a season or more")

    def encode(self, batch: Batch, noise: Noise | None = None) -> Encoding:
        """What the encoder makes of the histories, less their last value where forecasts are relative."""
        source = self.history(batch)
        relative = source if self.relative == "none" else (source - self.newest(batch)) / self.spread(batch)
        if self.covariates:
            covariates = batch.source[:, : source.shape[1], self.parts.series :]
            relative = torch.cat((relative, covariates), dim=-1)
        encoding: Encoding = self.reader(relative, self.history_lengths(batch), noise)
        return encoding

    def history(self, batch: Batch) -> Tensor:
        """(B, S, D) the series up to now, without covariates and the steps that only these have."""
        if not self.covariates:
            return batch.source
        return batch.source[:, : batch.source.shape[1] - self.parts.ahead, : self.parts.series]

    def history_lengths(self, batch: Batch) -> Tensor:
        """(B,) steps of each history, on the CPU."""
        lengths = batch.source_lengths - self.parts.ahead
        if self.parts.ahead and not exporting() and int(lengths.min()) < 1:
            raise InputError(
                f"data.max_length leaves none of a history before {self.parts.ahead} steps ahead; raise it"
            )
        return lengths

    def future(self, batch: Batch) -> Tensor | None:
        """(B, T, F) the covariates of each step to come."""
        if not self.parts.future:
            return None
        steps = self.history_lengths(batch).unsqueeze(1) + torch.arange(self.horizon)
        rows = torch.arange(len(steps)).unsqueeze(1).expand_as(steps)
        width = batch.source.shape[2]
        device = batch.source.device
        return batch.source[to_device(rows, device), to_device(steps, device), width - self.parts.future :]

    @property
    def covariates(self) -> int:
        """How many a step has."""
        return self.parts.past + self.parts.future

    def fixed_vector(self, batch: Batch) -> Tensor:
        return self.encode(batch).vector

    def known(self, batch: Batch, noise: Noise | None) -> ForecastInputs:
        """What is known of the future: the encoder's final state, and what the network corrects."""
        newest, spread, encoding = self.newest(batch), self.spread(batch), self.encode(batch, noise)
        scorer = self.forecaster.attention
        memory = None if scorer is None else scorer.memory(encoding.states, encoding.padding)
        first = newest.new_zeros(newest.shape[0], self.forecaster.width)
        base = first.unsqueeze(1).expand(-1, self.horizon, -1)
        if self.relative == "season":
            base = (self.last_season(batch) - newest) / spread
        elif self.relative == "none" and len(self.gain):
            first = self.translated(newest).squeeze(1)
        return ForecastInputs(self.handed(encoding.final), first, base, memory, self.future(batch))

    def newest(self, batch: Batch) -> Tensor:
        """(B, 1, D) the last value of each history."""
        source = self.history(batch)
        last = to_device(self.history_lengths(batch) - 1, source.device)
        return source[torch.arange(last.shape[0], device=last.device), last].unsqueeze(1)

    def last_season(self, batch: Batch) -> Tensor:
        """(B, T, D) the last value that is known a whole number of seasons before each forecast."""
        source, lengths = self.history(batch), self.history_lengths(batch)
        if not exporting() and (shortest := int(lengths.min())) < self.season:
            raise InputError(f"a history of {shortest} steps is shorter than model.season {self.season}")
        steps = torch.arange(self.horizon) % self.season - self.season
        steps = to_device(lengths.unsqueeze(1) + steps, source.device)  # (B, T)
        return source.gather(1, steps.unsqueeze(-1).expand(-1, -1, source.shape[2]))

    def spread(self, batch: Batch) -> Tensor:
        """(B, 1, D) the standard deviation of each history, by which it is divided, or one."""
        source = self.history(batch)
        if not self.rescale:
            return source.new_ones(source.shape[0], 1, source.shape[2])
        real = inside(self.history_lengths(batch), source).unsqueeze(-1).to(source.dtype)
        lengths = real.sum(1, keepdim=True)
        mean = (source * real).sum(1, keepdim=True) / lengths
        variance: Tensor = ((source - mean) * real).square().sum(1, keepdim=True) / lengths
        return torch.clamp(variance.sqrt(), min=LEAST)

    def translated(self, values: Tensor) -> Tensor:
        """Normalised numbers of a source (..., D) as those of a target."""
        return values * self.gain + self.shift

    def forward(self, batch: Batch) -> Tensor:
        """The forecasts (B, T, D, Q) of each quantile, or of the mean alone, normalised as the target is."""
        noise = Noise(batch.seed, batch.row_keys)
        forecasts: Tensor = self.forecaster(self.known(batch, noise), noise)
        forecasts = forecasts.to(torch.promote_types(forecasts.dtype, torch.float32))
        if self.relative == "none":
            return forecasts
        corrected = forecasts * self.spread(batch).unsqueeze(-1) + self.newest(batch).unsqueeze(-1)
        return self.translated(corrected.transpose(-1, -2)).transpose(-1, -2)

    def loss(self, batch: Batch) -> Tensor:
        """Sum over steps, numbers and quantiles of the pinball loss, or over steps and numbers of the squared error."""
        return self.loss_of(self(batch), batch)

    def loss_of(self, forecasts: Tensor, batch: Batch) -> Tensor:
        """The loss of forecasts (B, T, D, Q)."""
        real = real_positions(batch.target_lengths, batch.target)
        forecasts, target = picked(forecasts, real), picked(batch.target, real)
        if self.quantiles is None:
            return torch.sum(torch.square(forecasts.squeeze(-1) - target))
        return pinball(forecasts, target, self.quantiles).sum()

    @property
    def searches(self) -> bool:
        return False

    @property
    def predicts_once(self) -> bool:
        return True

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        """One forecast for each row; nothing ranks it, so its score is 0."""
        with without_gradients():
            return self.hypotheses(self(batch))

    def predict_and_measure(self, batch: Batch, state: CellState, decoding: Decoding) -> Validated:
        with without_gradients():
            forecasts = self(batch)
            return Validated(self.hypotheses(forecasts), None, state, self.loss_of(forecasts, batch))

    @property
    def loss_is_likelihood(self) -> bool:
        return False

    def hypotheses(self, forecasts: Tensor) -> list[list[Hypothesis]]:
        """Forecasts (B, T, D, Q), one for each row."""
        forecasts = forecasts.movedim(-1, 1)  # (B, Q, T, D)
        names = [f"{level:g}" for level in self.levels]
        return [[Hypothesis([], 0.0, [], dict(zip(names, row, strict=True)))] for row in forecasts.tolist()]

    def text(self, hypothesis: Hypothesis) -> str:
        return self.tokenizers.target.decode(present(hypothesis)[f"{MEDIAN:g}"])

    def quantile_texts(self, hypothesis: Hypothesis) -> dict[str, str] | None:
        if self.quantiles is None:
            return None
        return {name: self.tokenizers.target.decode(values) for name, values in present(hypothesis).items()}


def sides_of(tokenizers: Tokenizers) -> tuple[Vectors, Vectors]:
    """The tokenizers of source and target, refused where they make no vectors or are one and the same."""
    source, target = tokenizers
    for name, tokenizer in (("tokenizer", source), ("target_tokenizer", target)):
        if not isinstance(tokenizer, Vectors):
            raise InputError(f"data.{name} is {type(tokenizer).__name__}; a forecast reads and writes Vectors")
    if not isinstance(source, Vectors) or not isinstance(target, Vectors) or source is target:
        raise InputError("a forecast has a horizon of its own, which data.shared_vocabulary hides; set it to false")
    return source, target


def parts_of(source: Vectors) -> StepParts:
    """Which number of a step is what; all of them the series where there are no covariates."""
    return source.parts or StepParts(source.width, 0, 0, 0)


def present(hypothesis: Hypothesis) -> Mapping[str, Any]:
    """The values of a forecast."""
    if hypothesis.values is None:
        raise TypeError("this hypothesis holds no values")
    return hypothesis.values
