"""Translation: any text to any text (asynchronous many-to-many)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.data.ragged import Ragged
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, UNK
from seq2seq.data.tokenizers.units import NoSource, Separated
from seq2seq.decoding.constraints import LEAST
from seq2seq.decoding.hypotheses import Hypothesis, StepFunction, finished, per_row, without_gradients
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.base import Metric
from seq2seq.metrics.bleu import Bleu, Chrf
from seq2seq.models import one_row, simultaneous
from seq2seq.models.attention import Attention, Monotonic, Normalizer
from seq2seq.models.cells import CellState, picked, real_positions
from seq2seq.models.decoder import DecoderOptions, DecoderOutputs, SourceMemory, State
from seq2seq.models.dropout import Noise
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.encoder_decoder import EncoderDecoder, Vocabularies, refuse_waiting
from seq2seq.models.fixed_vector import Bridge, Copy
from seq2seq.models.recurrent import Stack
from seq2seq.models.scheduled_sampling import ScheduledSampling, drawn
from seq2seq.models.simultaneous import ReadingState
from seq2seq.pinned_copy import to_device
from seq2seq.tasks import unknown_words
from seq2seq.tasks.base import RecurrentTask, Validated
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.token_rows import TokenRows, of_embedding, of_output

M = TypeVar("M", State, ReadingState)


@dataclass(eq=False, repr=False)
class Translation(RecurrentTask):
    """An RNN encoder compresses the source into a fixed vector; an RNN decoder unfolds it (Sutskever et al. 2014).

    Args:
        encoder: what the encoder does otherwise.
        bridge: how the fixed vector becomes the decoder's first state (Copy, Linear, Zeros, Learned).
        attention: what the decoder may look at besides (Dot, ScaledDot, General, Additive, Location, LocalP,
            MultiHeadAdditive), or a latent alignment that keeps the order of the source (Monotonic); null for none.
        decoder: what the decoder does otherwise.
        output: what makes probabilities; sparsemax and entmax15 make most of them zero (Peters et al. 2019).
        label_smoothing: share of probability spread over the vocabulary (Szegedy et al. 2016).
        coverage_loss: weight of looking again at the same source tokens (See et al. 2017, eq. 12 and 13).
        scheduled_sampling: how often the network reads its own tokens in training; null for never.
        wait_k: source tokens that are read before the first target token is chosen, one more before each further one
            (Ma et al. 2019); null for the whole source.
        metrics: scores of a split, the first of which selects the best checkpoint (Bleu, Chrf, ExactMatch); null
            for these three.
    """

    embedding_size: int = 256
    hidden_size: int = 512
    encoder: EncoderOptions = EncoderOptions()
    bridge: Bridge = Copy()
    attention: Attention | None = None
    decoder: DecoderOptions = DecoderOptions()
    output: Normalizer = "softmax"
    dropout: float = 0.2
    label_smoothing: float = 0.0
    coverage_loss: float = 0.0
    scheduled_sampling: ScheduledSampling | None = None
    wait_k: int | None = None
    unwritable: Tensor = field(init=False)
    """Ids that are no text, never predicted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        source, target = self.tokenizers
        sizes = Vocabularies(source.sizes, target.sizes, source is target, source.width)
        parts = self.encoder, self.bridge, self.attention, self.decoder, self.output
        self.network = EncoderDecoder(sizes, self.embedding_size, Stack.of(self), *parts, PAD, self.wait_k)
        self.register_buffer("unwritable", torch.from_numpy(target.unwritable), persistent=False)

    def usual_metrics(self) -> list[Metric]:
        return [Bleu(), Chrf(), ExactMatch()]

    def refuse_wrong_settings(self) -> None:
        check_range("model.label_smoothing", self.label_smoothing, 0, 1)
        check_range("model.coverage_loss", self.coverage_loss, 0)
        if self.wait_k is not None:
            check_range("model.wait_k", self.wait_k, 1)
            if isinstance(self.tokenizers.source, NoSource):
                raise InputError(
                    f"model.wait_k is {self.wait_k}, but data.tokenizer NoSource reads nothing; set it to null"
                )
        if self.tokenizers.target.width is not None:
            raise InputError("the target is made of vectors, but a translation writes text; set task: Forecasting")
        if self.label_smoothing and (self.decoder.copy or self.output != "softmax"):
            what = "decoder.copy" if self.decoder.copy else f"output {self.output}"
            raise InputError(
                f"model.label_smoothing goes with output softmax without copying, not with {what}; set it to 0"
            )
        if isinstance(self.attention, Monotonic):
            for name, nothing in (("label_smoothing", "0"), ("coverage_loss", "0"), ("scheduled_sampling", "null")):
                if getattr(self, name):
                    raise InputError(f"model.{name} does not go with attention Monotonic; set it to {nothing}")
        if self.coverage_loss and self.attention is None:
            raise InputError("model.coverage_loss is about attention; choose one such as Additive, or set it to 0")

    def token_rows(self) -> dict[str, TokenRows]:
        source, target = self.tokenizers
        encoder, decoder = self.network.encoder, self.network.decoder
        rows = of_embedding("network.encoder.embedding", encoder.embedding, source)
        rows |= of_embedding("network.decoder.embedding", decoder.embedding, target)
        return rows | of_output("network.decoder.output.layer", target)

    def encode(self, batch: Batch, noise: Noise | None = None) -> State:
        """The decoder's first state: the fixed vector, and the memory if there is attention."""
        state: State = self.network.encode(batch.source, batch.source_lengths, noise)
        return state

    def forward(self, batch: Batch) -> Tensor:
        noise = Noise(batch.seed, batch.row_keys)
        state, decoder = self.encode(batch, noise), self.network.decoder
        return decoder.log_probs(decoder(batch.target[:, :-1], state, noise), state.source)

    def loss(self, batch: Batch) -> Tensor:
        return self.loss_of(batch, *self.outputs(batch))

    def loss_and_distributions(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        if self.scheduled_sampling is not None:  # the loss reads the network's own tokens, the probabilities do not
            return super().loss_and_distributions(batch)
        outputs, source = self.outputs(batch)
        real = real_positions(batch.target_lengths - 1, batch.target[:, 1:])
        log_probs = picked(self.network.decoder.log_probs(outputs, source), real)
        return self.loss_of(batch, outputs, source), [log_probs]

    def loss_of_two(self, batch: Batch, other: Batch, distance: float) -> Tensor | None:
        """The loss of R-Drop by one sweep over the vocabulary (`paired_loss`); None where more than that is needed.

        other: the same rows with other dropout masks.
        """
        decoder = self.network.decoder
        aligned = isinstance(self.attention, Monotonic)
        if aligned or self.decoder.copy or self.scheduled_sampling is not None:
            return None
        one, two = self.outputs(batch)[0], self.outputs(other)[0]
        labels = batch.target[:, 1:]
        real = real_positions(batch.target_lengths - 1, labels)
        loss = decoder.loss_of_two(one, two, labels, real, self.label_smoothing, distance)
        return loss + (self.repetition(one, real) + self.repetition(two, real)) / 2

    def prediction_log_probs(self, batch: Batch, rows: Tensor, predictions: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities (N,) in nats of predictions, the end included, of the sources with numbers rows (N,).

        A source is read once, with the dropout masks of all its predictions; rows are in order and leave none out.
        """
        ids, lengths = Ragged.of(predictions).pad(np.arange(len(predictions)), PAD, BOS, EOS)
        ids = to_device(ids, batch.source.device)
        state = self.encode(batch, Noise(batch.seed, batch.row_keys))
        state = state.select(to_device(rows, ids.device).unsqueeze(1))
        outputs = self.network.decoder(ids[:, :-1], state, Noise(batch.seed, batch.row_keys[rows]))
        labels, real = ids[:, 1:], real_positions(lengths - 1, ids[:, 1:])
        each = self.network.decoder.label_log_probs(outputs, state.source, labels, real)
        return torch.stack([part.sum() for part in torch.split(each, (lengths - 1).tolist())])

    def outputs(self, batch: Batch) -> tuple[DecoderOutputs, SourceMemory]:
        """What the decoder computes at each step of the target, and what it knows of the source."""
        noise = Noise(batch.seed, batch.row_keys)
        state, own = self.encode(batch, noise), self.own_tokens(batch, noise)
        return self.network.decoder(batch.target[:, :-1], state, noise, own), state.source

    def loss_of(self, batch: Batch, outputs: DecoderOutputs, source: SourceMemory) -> Tensor:
        """The loss of what the decoder has computed."""
        labels = batch.target[:, 1:]
        real = real_positions(batch.target_lengths - 1, labels)  # padding never reaches the vocabulary product
        loss = self.network.decoder.loss(outputs, source, labels, real, self.label_smoothing)
        return loss + self.repetition(outputs, real)

    def repetition(self, outputs: DecoderOutputs, real: Tensor) -> Tensor | float:
        """What looking twice at a source token costs at real positions (N,)."""
        if not self.coverage_loss or outputs.weights is None:
            return 0.0
        return self.coverage_loss * picked(repeated(outputs.weights), real).sum()

    def own_tokens(self, batch: Batch, noise: Noise) -> Tensor | None:
        """(B, T - 1), true where the network reads its own token instead of the target's; None for nowhere."""
        if self.scheduled_sampling is None or not self.training:
            return None
        share = 1 - self.scheduled_sampling.reference_share(batch.step)
        own = drawn(share, noise, batch.target.shape[1] - 1) if share > 0 else None
        return None if own is None else to_device(own, batch.target.device)

    @property
    def without_distributions(self) -> str:
        return ""

    @property
    def without_distance(self) -> str:
        given = f"only model.output softmax gives every token some probability, and it is {self.output}"
        return "" if self.output == "softmax" else given

    @property
    def encoder_decoder(self) -> EncoderDecoder:
        return self.network

    def fixed_vector(self, batch: Batch) -> Tensor:
        vector: Tensor = self.network.encoder(batch.source, batch.source_lengths).vector
        return vector

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with without_gradients():
            step, state = self.start_of_search(batch, decoding)
        return self.search_from(step, state, batch, decoding)

    def start_of_search(self, batch: Batch, decoding: Decoding) -> tuple[StepFunction[Any], Any]:
        wait = self.waits(decoding)
        if wait is None:
            return self.step_of(decoding), self.encode(batch)
        lengths = to_device(batch.source_lengths, batch.source.device)
        return self.step_of(decoding), self.start_reading(batch.source, lengths, wait)

    def step_of(self, decoding: Decoding) -> StepFunction[Any]:
        """The step of a search, in which unknown words may be chosen if they are replaced later."""
        if not decoding.replace_unknown:
            return self.step
        return partial(self.step, unwritable=self.unwritable[self.unwritable != UNK])

    def start_reading(self, source: Tensor, lengths: Tensor, wait: int) -> ReadingState:
        """The state before the first step of a search that reads sources (B, S) as it writes; lengths (B,)."""
        return simultaneous.start(self.network, source, lengths, wait)

    def waits(self, decoding: Decoding) -> int | None:
        return decoding.wait_k or self.wait_k

    def search_from(
        self, step: StepFunction[Any], state: Any, batch: Batch, decoding: Decoding
    ) -> list[list[Hypothesis]]:
        """The best hypotheses of sources whose search has started."""
        own = getattr(step, "__func__", None) is Translation.step  # not one that tells what it sees, say
        if (
            own
            and decoding.plainly_greedy
            and self.waits(decoding) is None
            and one_row.fits(self.network.decoder, state)
        ):
            return [[self.greedy_row(state, batch, decoding)]]
        limits = to_device(self.limits(batch.source_lengths, decoding), batch.source.device)

        def bonus(state: State) -> Tensor:
            return decoding.coverage_penalty * state.left_out()

        covers = decoding.coverage_penalty > 0
        state = state.counting() if covers else state
        found = self.search(step, state, limits, batch.row_keys, decoding, None, bonus if covers else None)
        if not decoding.replace_unknown:
            return found
        return unknown_words.replaced(self.network, batch, found, decoding, self.tokenizers, self.waits(decoding))

    def greedy_row(self, state: State, batch: Batch, decoding: Decoding) -> Hypothesis:
        """The best hypothesis of the only source."""
        limit = int(self.limits(batch.source_lengths, decoding))
        decoder, never = self.network.decoder, self.unwritable
        tokens, scores = one_row.greedy_row(decoder, state, BOS, EOS, limit, never, LEAST)
        found = finished(tokens, scores, EOS, decoding.length_penalty, decoding.length_offset)
        return found._replace(at_limit=len(tokens) >= limit)

    def text(self, hypothesis: Hypothesis) -> str:
        target = self.tokenizers.target
        if hypothesis.unknowns is None or not isinstance(target, Separated):
            return super().text(hypothesis)
        return target.filled(hypothesis.tokens, hypothesis.unknowns)

    def check_decoding(self, decoding: Decoding) -> None:
        super().check_decoding(decoding)
        if decoding.wait_k is not None:
            setting = f"decoding.wait_k {decoding.wait_k}"
            refuse_waiting(setting, self.encoder, self.bridge, self.attention, self.decoder)
        if decoding.coverage_penalty and self.waits(decoding) is not None:
            raise InputError(
                f"decoding.coverage_penalty is {decoding.coverage_penalty}, but with wait_k {self.waits(decoding)} a "
                "hypothesis may end before the source has been read; set it to 0"
            )

    @property
    def attends(self) -> bool:
        return self.attention is not None

    def score_targets(self, batch: Batch, state: CellState) -> tuple[list[list[float]], CellState]:
        with without_gradients():
            encoded, labels, lengths = self.encode(batch), batch.target[:, 1:], batch.target_lengths - 1
            outputs, real = self.network.decoder(batch.target[:, :-1], encoded), real_positions(lengths, labels)
            return per_row(self.network.decoder.label_log_probs(outputs, encoded.source, labels, real), lengths), state

    def predict_and_measure(self, batch: Batch, state: CellState, decoding: Decoding) -> Validated:
        with without_gradients():
            encoded = self.encode(batch)
            loss = self.reference_loss(batch, encoded)
            start: tuple[StepFunction[Any], Any] = self.step_of(decoding), encoded
            if self.waits(decoding) is not None:
                start = self.start_of_search(batch, decoding)
        return Validated(self.search_from(*start, batch, decoding), None, state, loss)

    def validation_loss(self, batch: Batch) -> Tensor:
        return self.reference_loss(batch, self.encode(batch))

    def reference_loss(self, batch: Batch, state: State) -> Tensor:
        """Minus the log-probability of the targets after a state, or the loss that goes with a sparse output."""
        labels, decoder = batch.target[:, 1:], self.network.decoder
        outputs, real = decoder(batch.target[:, :-1], state), real_positions(batch.target_lengths - 1, labels)
        if self.loss_is_likelihood:
            return -decoder.label_log_probs(outputs, state.source, labels, real).double().sum()
        return decoder.loss(outputs, state.source, labels, real, 0.0)

    @property
    def loss_is_likelihood(self) -> bool:
        return self.output == "softmax"

    def step(self, tokens: Tensor, state: M, unwritable: Tensor | None = None) -> tuple[Tensor, M]:
        """One step of the search; tokens that are no text are never chosen, or those of `unwritable`."""
        log_probs: Tensor
        if isinstance(state, ReadingState):
            log_probs, state = simultaneous.step(self.network, tokens, state)
        else:
            log_probs, state = self.network.decoder.step(tokens, state)
        never = self.unwritable if unwritable is None else unwritable
        return log_probs.index_fill_(-1, never, -torch.inf), state


def repeated(weights: Tensor) -> Tensor:
    """How much of each step's attention (B, T, S) lies where earlier ones looked, (B, T) (See et al. 2017, eq. 12)."""
    before = weights.cumsum(1) - weights
    return torch.minimum(weights, before).sum(-1)
