"""Generation: text from a label, a vector or nothing (one-to-many), and the likelihood of text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, Tokenizers
from seq2seq.data.tokenizers.units import Listed, NoSource
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.base import Metric
from seq2seq.metrics.likelihood import BitsPerCharacter, Perplexity
from seq2seq.models.cells import LSTM, Cell, CellState
from seq2seq.models.decoder import State
from seq2seq.models.embedding import Embedding, Projection
from seq2seq.models.language_model import Generator
from seq2seq.models.recurrent import Stack
from seq2seq.tasks.base import Task, check_numbers, noise_of
from seq2seq.tasks.decoding_options import Decoding

LONGEST = 200
"""Tokens of a text, its end not counted, where decoding.max_length is null."""


class Generation(Task):
    """A recurrent language model that starts from a condition (Mikolov et al. 2010; Graves 2013)."""

    row_format: ClassVar[RowFormat] = RowFormat(source_end=False, conditions=True)

    def __init__(
        self,
        tokenizers: Tokenizers,
        cell: Cell = LSTM(),
        embedding_size: int = 128,
        hidden_size: int = 512,
        layers: int = 1,
        running: bool = False,
        condition_every_step: bool = False,
        tied_output: bool = False,
        dropout: float = 0.2,
        locked_dropout: bool = False,
        recurrent_dropout: float = 0.0,
        residual_from: int | None = None,
        metrics: list[Metric] | None = None,
    ) -> None:
        """The network and its loss.

        Args:
            tokenizers: how conditions and texts become ids; given by the data. Of conditions the mean of the vectors of
                all tokens is taken; data.tokenizer NoSource leaves the source unread.
            cell: the recurrence (RNN, GRU, LSTM, LayerNormLSTM, MinGRU, MinLSTM).
            embedding_size: length of a token's vector, and of a condition's.
            hidden_size: units of each layer.
            layers: recurrent layers.
            running: the rows are one text, each going on where the row before ended: the state is carried over, in
                training from segment to segment of data.lanes (truncated back-propagation through time). Needs
                data.tokenizer NoSource.
            condition_every_step: feed the condition to each step besides making the first state of it.
            tied_output: use the embedding as output matrix too (Press and Wolf 2017).
            dropout: share of units zeroed on embeddings, between layers and before the output.
            locked_dropout: zero the same units at every step of a row (Gal and Ghahramani 2016).
            recurrent_dropout: share of units of the state zeroed on their way into the recurrence, always locked.
            residual_from: from this layer on, counted from 1, the input of a layer is added to its output.
            metrics: scores of a split, the first of which selects the best checkpoint (Perplexity, BitsPerCharacter);
                null for both.
        """
        super().__init__(tokenizers)
        self.cell, self.embedding_size, self.hidden_size, self.layers = cell, embedding_size, hidden_size, layers
        self.running = running
        self.condition_every_step, self.tied_output = condition_every_step, tied_output
        self.dropout, self.locked_dropout, self.recurrent_dropout = dropout, locked_dropout, recurrent_dropout
        self.residual_from = residual_from
        self.metrics = metrics or [Perplexity(), BitsPerCharacter()]
        self.refuse_wrong_settings()
        stack = Stack(cell, hidden_size, layers, dropout, locked_dropout, recurrent_dropout, residual_from)
        source, target = tokenizers
        condition: Embedding | Projection | None = None
        if source.width is not None:
            condition = Projection(source.width, embedding_size)
        elif not isinstance(source, NoSource):
            condition = Embedding(source.sizes, embedding_size, embedding_size, PAD)
        texts = Embedding(target.sizes, embedding_size, 1, PAD)
        self.register_buffer("unwritable", torch.from_numpy(target.unwritable), persistent=False)
        self.network = Generator(condition, texts, stack, condition_every_step, tied_output)

    unwritable: Tensor
    """Ids that are no text, never predicted."""

    def refuse_wrong_settings(self) -> None:
        """Raise InputError for a setting out of its range, or for what cannot be generated."""
        check_numbers(self)
        source, target = self.tokenizers
        if target.width is not None or len(target.sizes) > 1:
            kind = type(target).__name__
            raise InputError(
                f"data.target_tokenizer is {kind}, but text is generated; choose Characters or SentencePiece"
            )
        if self.condition_every_step and isinstance(source, NoSource):
            raise InputError(
                "model.condition_every_step needs a condition; choose another data.tokenizer than NoSource"
            )
        if self.running and not isinstance(source, NoSource):
            raise InputError("model.running is for text without conditions; set data.tokenizer to NoSource")

    @property
    def continues(self) -> bool:
        return isinstance(self.tokenizers.source, NoSource)

    def check(self, text: str) -> None:
        if self.continues:
            self.opening(text)
            return
        super().check(text)
        source = self.tokenizers.source
        if isinstance(source, Listed) and source.unknown_among(np.array(source.encode([text])[0])).any():
            known = ", ".join(source.vocabulary[:20]) + ", ..." * (len(source.vocabulary) > 20)
            raise InputError(f"no training row has a condition like {text!r}; known are {known}")

    def start(self, batch: Batch) -> State:
        """The state before the first token."""
        state: State = self.network.start(batch.source, batch.source_lengths)
        return state

    def forward(self, batch: Batch) -> Tensor:
        state, decoder = self.start(batch), self.network.decoder
        return decoder.log_probs(decoder(batch.target[:, :-1], state, noise_of(batch)), state.source)

    def loss(self, batch: Batch) -> Tensor:
        return self.carried_loss(batch, self.start(batch))[0]

    def carried_loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """The loss of text that goes on from a state, and the state after it: where rows are segments of lanes."""
        features, after = self.network(batch.target[:, :-1], state, noise_of(batch))
        labels = batch.target[:, 1:]
        real = labels != PAD
        return self.network.decoder.output.loss(features[real], labels[real], 0.0), after

    def beginning(self, rows: int) -> CellState:
        """The recurrent state before running text, tensors (L, B, H), without a gradient."""
        nothing = torch.zeros(rows, 0, dtype=torch.long, device=self.unwritable.device)
        with torch.no_grad():
            state: State = self.network.start(nothing, torch.zeros(rows, dtype=torch.long))
        return state.recurrent

    def resumed(self, recurrent: CellState) -> State:
        """A state that `carried_loss` goes on from."""
        state: State = self.network.resumed(recurrent)
        return state

    def reference_scores(self, batch: Batch) -> list[list[float]]:
        with torch.inference_mode():
            features, _ = self.network(batch.target[:, :-1], self.start(batch), None)
            return self.scores(features, batch.target[:, 1:])

    def scores(self, features: Tensor, labels: Tensor) -> list[list[float]]:
        """The log-probability in nats of each label (B, T) that is no padding, given features (B, T, R)."""
        real = labels != PAD
        flat = self.network.decoder.output.label_log_probs(features[real], labels[real]).tolist()
        ends = real.sum(1).cumsum(0).tolist()
        return [flat[first:last] for first, last in zip([0, *ends[:-1]], ends, strict=True)]

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with torch.inference_mode():
            return self.written(self.start(batch), batch.row_keys, decoding, EOS if self.running else BOS)

    def written(self, state: State, row_keys: Tensor, decoding: Decoding, before: int) -> list[list[Hypothesis]]:
        """Texts that go on from a state after the token `before`."""

        def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
            log_probs, state = self.network.decoder.step(tokens.masked_fill(tokens == BOS, before), state)
            log_probs[..., self.unwritable] = -torch.inf
            return log_probs, state

        most = LONGEST if decoding.max_length is None else decoding.max_length
        limits = torch.full((len(row_keys),), max(most, decoding.min_length) + 1, device=self.unwritable.device)
        return self.search(step, state, limits, row_keys, decoding)

    def followed(
        self, batch: Batch, state: CellState | None, decoding: Decoding
    ) -> tuple[list[list[Hypothesis]], list[list[float]] | None, CellState | None]:
        """Of running text, with states (L, 1, H): for each row how the text might have gone on instead."""
        return self.read_on(batch, state, decoding) if self.running else super().followed(batch, state, decoding)

    def read_on(
        self, batch: Batch, recurrent: CellState | None, decoding: Decoding
    ) -> tuple[list[list[Hypothesis]], list[list[float]], CellState]:
        """The same for running text alone: its rows are read one after the other."""
        before, scores = [], []
        with torch.inference_mode():
            state = self.resumed(self.beginning(1) if recurrent is None else recurrent)
            for row, length in zip(batch.target, batch.target_lengths.tolist(), strict=True):
                before.append(state.recurrent)
                tokens = row[:length].clone().unsqueeze(0)
                tokens[0, 0] = EOS  # of the row before: the whole text begins as if one had just ended
                features, state = self.network(tokens[:, :-1], state, None)
                scores += self.scores(features, tokens[:, 1:])
            joined = tuple(torch.cat(tensors, dim=1) for tensors in zip(*before, strict=True))
            return self.written(self.resumed(joined), batch.row_keys, decoding, EOS), scores, state.recurrent

    def told(
        self, openings: Sequence[str], before: int, recurrent: CellState | None, decoding: Decoding
    ) -> tuple[list[list[Hypothesis]], CellState]:
        """Running text, a row for each opening, which may be empty: each goes on from the best one before it.

        before: rows told earlier, of which `recurrent` is the state (L, 1, H); None at the beginning of the text.
        """
        told = []
        with torch.inference_mode():
            state = self.resumed(self.beginning(1) if recurrent is None else recurrent)
            for place, opening in enumerate(openings, before):
                begun = replace(decoding, prefix=opening or decoding.prefix)
                told.append(self.written(state, torch.tensor([place]), begun, EOS)[0])
                tokens = torch.tensor([[EOS, *told[-1][0].tokens]], device=self.unwritable.device)
                _, state = self.network(tokens, state, None)
        return told, state.recurrent
