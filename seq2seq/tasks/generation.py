"""Generation: text from a label, a vector or nothing (one-to-many), and the likelihood of text."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import BOS, EOS, PAD
from seq2seq.data.tokenizers.units import Listed, NoSource
from seq2seq.decoding.hypotheses import Hypothesis, StepFunction, per_row, without_gradients
from seq2seq.errors import InputError
from seq2seq.metrics.base import Metric
from seq2seq.metrics.likelihood import BitsPerCharacter, Perplexity
from seq2seq.models.cells import CellState, picked, real_positions
from seq2seq.models.decoder import State
from seq2seq.models.dropout import Noise
from seq2seq.models.embedding import Embedding, Projection
from seq2seq.models.language_model import Generator
from seq2seq.models.recurrent import Stack
from seq2seq.pinned_copy import to_host
from seq2seq.tasks.base import RecurrentTask
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.token_rows import TokenRows, of_embedding, of_output


@dataclass(eq=False, repr=False)
class Generation(RecurrentTask):
    """A recurrent language model that starts from a condition (Mikolov et al. 2010; Graves 2013).

    Args:
        tokenizers: how conditions and texts become ids; given by the data. Of conditions the mean of the vectors of
            all tokens is taken; data.tokenizer NoSource leaves the source unread.
        running: the rows are one text, each continuing the row before: the state is carried over, in training from
            segment to segment of data.lanes (truncated back-propagation through time). Needs data.tokenizer NoSource.
        condition_every_step: feed the condition to each step besides making the first state of it.
        tied_output: use the embedding as output matrix too (Press and Wolf 2017).
        metrics: scores of a split, the first of which selects the best checkpoint (Perplexity, BitsPerCharacter);
            null for both.
    """

    row_format = RowFormat(source_end=False, conditions=True)

    hidden_size: int = 512
    running: bool = False
    condition_every_step: bool = False
    tied_output: bool = False
    dropout: float = 0.2
    unwritable: Tensor = field(init=False)
    """Ids that are no text, never predicted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.row_format = self.row_format._replace(consecutive=self.running)
        source, target = self.tokenizers
        condition: Embedding | Projection | None = None
        if source.width is not None:
            condition = Projection(source.width, self.embedding_size)
        elif not isinstance(source, NoSource):
            condition = Embedding(source.sizes, self.embedding_size, self.embedding_size, PAD)
        texts = Embedding(target.sizes, self.embedding_size, 1, PAD)
        self.register_buffer("unwritable", torch.from_numpy(target.unwritable), persistent=False)
        self.network = Generator(condition, texts, Stack.of(self), self.condition_every_step, self.tied_output)

    def usual_metrics(self) -> list[Metric]:
        return [Perplexity(), BitsPerCharacter()]

    def refuse_wrong_settings(self) -> None:
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
    def has_no_source(self) -> bool:
        return isinstance(self.tokenizers.source, NoSource)

    def check(self, text: str) -> None:
        if self.has_no_source:
            self.prefix_tokens(text)
            return
        super().check(text)
        source = self.tokenizers.source
        if isinstance(source, Listed) and source.unknown_among(np.array(source.encode([text])[0])).any():
            known = ", ".join(source.vocabulary[:20]) + ", ..." * (len(source.vocabulary) > 20)
            raise InputError(f"no training row has a condition like {text!r}; known are {known}")

    def token_rows(self) -> dict[str, TokenRows]:
        source, target = self.tokenizers
        rows = of_embedding("network.condition", self.network.condition, source)
        rows |= of_embedding("network.decoder.embedding", self.network.decoder.embedding, target)
        return rows | of_output("network.decoder.output.layer", target)

    def start(self, batch: Batch) -> State:
        """The state before the first token."""
        state: State = self.network.start(batch.source, batch.source_lengths)
        return state

    def first_state(self, streams: int) -> CellState:
        if not self.running:
            return ()
        nothing = torch.zeros(streams, 0, dtype=torch.long, device=self.unwritable.device)
        with torch.no_grad():
            state: State = self.network.start(nothing, torch.zeros(streams, dtype=torch.long))
        return state.recurrent

    def state_from(self, recurrent: CellState) -> State:
        """The state of running text in which the recurrent layers are these, (L, B, H); its beginning without any."""
        state: State = self.network.resumed(recurrent or self.first_state(1))
        return state

    @property
    def without_distributions(self) -> str:
        return ""

    def forward(self, batch: Batch) -> Tensor:
        state, decoder = self.start(batch), self.network.decoder
        return decoder.log_probs(decoder(batch.target[:, :-1], state, Noise(batch.seed, batch.row_keys)), state.source)

    def loss(self, batch: Batch) -> Tensor:
        return self.loss_after(batch, self.start(batch))[0]

    def loss_and_state(self, batch: Batch, state: CellState) -> tuple[Tensor, CellState]:
        loss, after = self.loss_after(batch, self.state_from(state))
        return loss, after.recurrent

    def loss_after(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """The loss of text that continues from a state, and the state after it."""
        features, after = self.network(batch.target[:, :-1], state, Noise(batch.seed, batch.row_keys))
        labels = batch.target[:, 1:]
        real = real_positions(batch.target_lengths - 1, labels)
        return self.network.decoder.output.loss(picked(features, real), picked(labels, real), 0.0), after

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with without_gradients():
            return self.generate(self.start(batch), batch.row_keys, decoding)

    def predict_and_score(
        self, batch: Batch, state: CellState, decoding: Decoding
    ) -> tuple[list[list[Hypothesis]], list[list[float]], CellState]:
        """Of running text, with states (L, 1, H): for each row how the text might have continued instead."""
        if self.running:
            return self.predict_in_order(batch, state, decoding)
        return self.predict(batch, decoding), self.reference_scores(batch), ()

    def predict_in_order(
        self, batch: Batch, recurrent: CellState, decoding: Decoding
    ) -> tuple[list[list[Hypothesis]], list[list[float]], CellState]:
        """The same for running text alone: its rows are read one after the other."""
        with without_gradients():
            references, before, after = self.read_in_order(batch, recurrent)
            joined = tuple(torch.cat(tensors, dim=1) for tensors in zip(*before, strict=True))
            return self.generate(self.state_from(joined), batch.row_keys, decoding), references, after

    def read_in_order(self, batch: Batch, recurrent: CellState) -> tuple[list[list[float]], list[CellState], CellState]:
        """Rows of running text one after the other: the scores of each, the state before each and after the last."""
        before, scores, state = [], [], self.state_from(recurrent)
        for row, length in zip(batch.target, batch.target_lengths.tolist(), strict=True):
            before.append(state.recurrent)
            tokens = row[:length].clone().unsqueeze(0)
            tokens[0, 0] = EOS  # of the row before: the whole text begins as if one had just ended
            features, state = self.network(tokens[:, :-1], state, None)
            scores.append(self.network.decoder.output.label_log_probs(features[0], tokens[0, 1:]))
        return [row.tolist() for row in to_host(*scores)], before, state.recurrent  # one wait for all rows

    def score_targets(self, batch: Batch, state: CellState) -> tuple[list[list[float]], CellState]:
        if not self.running:
            return self.reference_scores(batch), state
        with without_gradients():
            scores, _, after = self.read_in_order(batch, state)
            return scores, after

    def reference_scores(self, batch: Batch) -> list[list[float]]:
        """The log-probability in nats of each token of each target."""
        with without_gradients():
            features, _ = self.network(batch.target[:, :-1], self.start(batch), None)
            return self.scores(features, batch.target[:, 1:], batch.target_lengths - 1)

    def scores(self, features: Tensor, labels: Tensor, lengths: Tensor) -> list[list[float]]:
        """The log-probability in nats of the first lengths (B,) of labels (B, T), given features (B, T, R)."""
        real = real_positions(lengths, labels)
        return per_row(
            self.network.decoder.output.label_log_probs(picked(features, real), picked(labels, real)), lengths
        )

    def generate(self, state: State, row_keys: Tensor, decoding: Decoding) -> list[list[Hypothesis]]:
        """Texts that continue from a state: each a row of its own or, of running text, what follows the row before."""
        limits = self.limits(torch.zeros(len(row_keys), dtype=torch.long), decoding).to(self.unwritable.device)
        return self.search(self.step, state, limits, row_keys, decoding)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of the search; running text begins as if a row had just ended."""
        before = EOS if self.running else BOS
        log_probs, state = self.network.decoder.step(tokens.masked_fill(tokens == BOS, before), state)
        log_probs[..., self.unwritable] = -torch.inf
        return log_probs, state

    def start_of_search(self, batch: Batch, decoding: Decoding) -> tuple[StepFunction[State], State]:
        return self.step, self.start(batch)

    def generate_from_prompts(
        self, prompts: Sequence[str], first_row: int, state: CellState, decoding: Decoding, share: slice = slice(None)
    ) -> tuple[list[list[Hypothesis]], CellState]:
        """Equal prompts are decoded together; of running text each row continues from the best one before it."""
        prompts = [prompt or decoding.prefix for prompt in prompts]
        with without_gradients():
            if self.running:
                return self.generate_in_order(prompts, first_row, state, decoding)
            result: dict[int, list[Hypothesis]] = {}
            for prompt, rows in batches_of(prompts, decoding.sources)[share]:
                nothing = torch.zeros(len(rows), 0, dtype=torch.long, device=self.unwritable.device)
                start = self.network.start(nothing, torch.zeros(len(rows), dtype=torch.long))
                keys = torch.tensor(rows) + first_row
                result |= zip(rows, self.generate(start, keys, replace(decoding, prefix=prompt)), strict=True)
        return [result.get(row, []) for row in range(len(prompts))], ()

    def generate_in_order(
        self, prompts: Sequence[str], first_row: int, recurrent: CellState, decoding: Decoding
    ) -> tuple[list[list[Hypothesis]], CellState]:
        """The same for running text alone."""
        result, state = [], self.state_from(recurrent)
        for row, prompt in enumerate(prompts, first_row):
            result.append(self.generate(state, torch.tensor([row]), replace(decoding, prefix=prompt))[0])
            tokens = torch.tensor([[EOS, *result[-1][0].tokens]], device=self.unwritable.device)
            _, state = self.network(tokens, state, None)
        return result, state.recurrent


def batches_of(prompts: Sequence[str], most: int) -> list[tuple[str, list[int]]]:
    """Equal prompts with the numbers of at most `most` of their rows."""
    result = []
    for prompt in dict.fromkeys(prompts):
        rows = [row for row, other in enumerate(prompts) if other == prompt]
        result += [(prompt, rows[at : at + most]) for at in range(0, len(rows), most)]
    return result
