"""Decoder over a latent monotonic alignment: each token is written at a source token, none before that of the last.

Which one is not known: all ways are summed over (Yu et al. 2016, eq. 3 to 7; Wu and Cotterell 2019). In shapes J stands
for what joins a step of the target with a source token, and "place" for the source token at which a token is written.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from seq2seq.models.attention import Memory, Monotonic
from seq2seq.models.cells import CellState, at_least_32_bits, picked
from seq2seq.models.decoder import Decoder, DecoderOptions, DecoderOutputs, SourceMemory, State, present
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.embedding import Embedding
from seq2seq.models.output import CHUNK, LARGE, TINY, Output
from seq2seq.models.products import mapped
from seq2seq.models.recurrent import Recurrent, Stack

NEVER = -1e30
"""Logarithm of the probability of what cannot be."""

COPY, LEAVE, SKIP = -3, -2, -1
"""What the last three of the V + 3 numbers of the output layer are the logits of."""

FIRST = 2.0
"""The logit of leaving a place, and of not skipping the next one, that a training begins with: about one token for each
source token."""


class AlignedDecoder(Decoder):
    """A recurrence over the target alone; its state and each source token's make a distribution of the next token.

    For a step and a source token one layer tells the logits of the tokens, of a copy of the source token, of leaving it
    where the last token was written at it, and of skipping it where it was not.
    """

    def __init__(
        self,
        embedding: Embedding,
        vocabulary_size: int,
        stack: Stack,
        options: DecoderOptions,
        memory_size: int,
        attention: Monotonic,
        features_size: int = 0,
    ) -> None:
        """memory_size: of the source's states; features_size: of the vectors of a row's features."""
        nn.Module.__init__(self)
        self.options, self.embedding, self.vocabulary_size = options, embedding, vocabulary_size
        self.dropout = Dropout(stack.dropout, stack.locked_dropout)
        self.last_dropout = Dropout(stack.dropout)
        self.alignment = self.attention = attention.build(stack.hidden_size, memory_size)
        self.covers, self.fed_size = False, self.alignment.joined_size
        self.recurrent = Recurrent(stack, embedding.size + features_size)
        self.output = Output(self.alignment.joined_size, vocabulary_size + 3)
        with torch.no_grad():
            self.output.layer.bias[LEAVE], self.output.layer.bias[SKIP] = FIRST, -FIRST
        self.tokens = vocabulary_size + options.copy
        """How many of the logits share one distribution."""

    def start(self, first: CellState, source: SourceMemory) -> State:
        """first: tensors (L, B, H). Returns the state before the first step, at the first source token."""
        place = first_place(source.ids, at_least_32_bits(first[0]).dtype)
        return State(source, first, first[0].new_zeros(place.shape[0], self.fed_size), None, place)

    def forward(
        self, tokens: Tensor, state: State, noise: Noise | None = None, own: Tensor | None = None
    ) -> DecoderOutputs:
        """Known target tokens (B, T) to what is asked of the source for the token after each.

        Outside training the weights are the probabilities of where that token is written.
        """
        embedded = self.dropout(self.embedding(tokens), noise)  # (B, T, E)
        inputs = torch.cat([embedded, *self.constant_inputs(state.source, tokens.shape[1])], dim=-1)
        hidden, recurrent = self.recurrent(inputs, state.recurrent, noise=noise)  # (B, T, H)
        features = self.alignment.asked(self.last_dropout(hidden, noise))  # (B, T, J)
        outputs = DecoderOutputs(features, None, None, state._replace(recurrent=recurrent), tokens)
        if self.training:
            return outputs
        return outputs._replace(weights=self.places(outputs, state.source).exp().to(features.dtype))

    def places(self, outputs: DecoderOutputs, source: SourceMemory) -> Tensor:
        """Log-probabilities (B, T, S) of where the token after each that was read is written."""
        known = functional.pad(present(outputs.read)[:, 1:], (0, 1))  # nothing follows from what follows the last
        return self.aligned(outputs.features, source, known)[1]

    def aligned(self, features: Tensor, source: SourceMemory, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of labels (B, T), each after those before it, and of where each is written, (B, T, S).

        All sums are in 64 bits.
        """
        memory = self.memory(source)
        written, gates = self.scored(features, memory, source.ids, labels)  # (B, T, S), (B, T, S, 2)
        moves, written = transitions(gates.double(), memory.padding), written.double()
        place = first_place(source.ids, torch.double)
        log_probs, places = [], []
        for time in range(labels.shape[1]):
            now = (place.unsqueeze(-1) + moves[:, time]).logsumexp(1)  # (B, S)
            both = now + written[:, time]
            sums = both.logsumexp(-1)
            place = both - sums.unsqueeze(-1)
            log_probs.append(sums)
            places.append(now)
        return torch.stack(log_probs, 1), torch.stack(places, 1)

    def loss(
        self, outputs: DecoderOutputs, source: SourceMemory, labels: Tensor, real: Tensor, smoothing: float
    ) -> Tensor:
        """Sum over the tokens of labels (B, T) at positions real (N,): minus their log-probability, in nats.

        Each label must be the token that was read next.
        """
        log_probs, _ = self.aligned(outputs.features, source, labels)
        return -picked(log_probs, real).sum().to(at_least_32_bits(outputs.features).dtype)

    def label_log_probs(self, outputs: DecoderOutputs, source: SourceMemory, labels: Tensor, real: Tensor) -> Tensor:
        """Log-probabilities (N,) in nats of the tokens of labels (B, T) at positions real (N,), whatever was read."""
        read = outputs._replace(read=present(outputs.read)[:, : labels.shape[1]])
        places = self.places(read, source)
        written, _ = self.scored(outputs.features, self.memory(source), source.ids, labels)
        return picked((places + written).logsumexp(-1).to(written.dtype), real)

    def log_probs(self, outputs: DecoderOutputs, source: SourceMemory) -> Tensor:
        """Log-probabilities (B, T, V) in nats."""
        places = self.places(outputs, source).to(at_least_32_bits(outputs.features).dtype)
        pieces = zip(outputs.features.unbind(1), places.unbind(1), strict=True)
        return torch.cat([self.mixture(one.unsqueeze(1), place.unsqueeze(1), source)[0] for one, place in pieces], 1)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The last tokens (B, K) of all hypotheses to log-probabilities (B, K, V) in nats, and the next state."""
        own = cast(AlignedDecoder, self.by_step or self)
        counts, memory, source = tokens.shape, self.memory(state.source), state.source
        before = self.after_writing(tokens, state)  # (B, K, S)
        inputs = torch.cat([self.embedding(tokens), *self.constant_inputs(source, counts[1])], dim=-1)
        hidden, recurrent = own.recurrent.step(inputs.flatten(0, 1), state.recurrent)
        asked = own.alignment.asked(hidden).view(*counts, -1)  # (B, K, J)
        logits = at_least_32_bits(mapped(own.output.layer, joined(asked, memory.keys)))  # (B, K, S, V + 3)
        place = (before.unsqueeze(-1) + transitions(logits[..., LEAVE:], memory.padding)).logsumexp(-2)
        log_probs, rest = self.mixed(logits, place, source)
        coverage = None if state.coverage is None else state.coverage + place.exp().flatten(0, 1)
        return log_probs, State(source, recurrent, asked.flatten(0, 1), coverage, rest.flatten(0, 1))

    def mixture(self, asked: Tensor, place: Tensor, source: SourceMemory) -> tuple[Tensor, Tensor]:
        """`mixed` of what is asked, (B, T, J)."""
        logits = at_least_32_bits(mapped(self.output.layer, joined(asked, self.memory(source).keys)))
        return self.mixed(logits, place, source)

    def mixed(self, logits: Tensor, place: Tensor, source: SourceMemory) -> tuple[Tensor, Tensor]:
        """Logits (B, T, S, V + 3) and log-probabilities of places (B, T, S) to those of tokens (B, T, V).

        Beside them what the logit of a token at each place lacks to tell how probable both are together, (B, T, S).
        """
        rest = place - logits[..., : self.tokens].logsumexp(-1)
        log_probs = (rest.unsqueeze(-1) + logits[..., : self.vocabulary_size]).logsumexp(-2)
        if self.options.copy:
            copied = (rest + logits[..., COPY]).exp()
            ids = source.ids.unsqueeze(1).expand_as(copied)
            sums = torch.zeros_like(log_probs).scatter_add_(-1, ids, copied)
            log_probs = torch.logaddexp(log_probs, sums.clamp_min(TINY).log())
        return log_probs, rest

    def after_writing(self, tokens: Tensor, state: State) -> Tensor:
        """Log-probabilities (B, K, S) of where the last tokens (B, K) were written."""
        keys, (weight, bias) = self.memory(state.source).keys, (self.output.layer.weight, self.output.layer.bias)
        both = joined(present(state.fed).view(*tokens.shape, -1), keys)  # (B, K, S, J)
        own = (both * weight[tokens].unsqueeze(2)).sum(-1) + bias[tokens].unsqueeze(-1)
        if self.options.copy:
            copied = (both * weight[COPY]).sum(-1) + bias[COPY]
            own = with_copies(own, copied, state.source.ids, tokens)
        return (present(state.places).view(own.shape) + at_least_32_bits(own)).log_softmax(-1)

    def memory(self, source: SourceMemory) -> Memory:
        """What the source says."""
        if source.memory is None:
            raise TypeError("an alignment needs the source's states")
        return source.memory

    def scored(self, asked: Tensor, memory: Memory, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, T, S) of writing labels (B, T) at each place, and logits (B, T, S, 2) of its gates."""
        numbers = memory.keys[..., 0].numel() * max(memory.keys.shape[2], len(self.output.layer.weight))
        steps = max(1, (4 * CHUNK if asked.device.type == "cpu" else LARGE) // numbers)
        pieces = list(zip(*(torch.split(one, steps, 1) for one in (asked[:, : labels.shape[1]], labels)), strict=True))
        find = self.scored_piece
        if torch.is_grad_enabled() and len(pieces) > 1:  # the rest is computed again where gradients are taken
            find = partial(checkpoint, find, use_reentrant=False, preserve_rng_state=False)
        written, gates = zip(*(find(some, memory.keys, ids, known) for some, known in pieces), strict=True)
        return torch.cat(written, 1), torch.cat(gates, 1)

    def scored_piece(self, asked: Tensor, keys: Tensor, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """`scored` of some steps."""
        logits = at_least_32_bits(mapped(self.output.layer, joined(asked, keys)))  # (B, T, S, V + 3)
        own = logits.gather(-1, labels[:, :, None, None].expand(*logits.shape[:3], 1)).squeeze(-1)
        if self.options.copy:
            own = with_copies(own, logits[..., COPY], ids, labels)
        return own - logits[..., : self.tokens].logsumexp(-1), logits[..., LEAVE:]


def joined(asked: Tensor, keys: Tensor) -> Tensor:
    """(B, T, J) and (B, S, J) to (B, T, S, J)."""
    return (asked.unsqueeze(2) + keys.unsqueeze(1)).tanh()


def with_copies(own: Tensor, copied: Tensor, ids: Tensor, labels: Tensor) -> Tensor:
    """Logits (B, T, S) of labels (B, T), where the source token ids (B, S) is the label with that of a copy."""
    same = ids.unsqueeze(1) == labels.unsqueeze(-1)
    return torch.logaddexp(own, copied.masked_fill(~same, NEVER))


def first_place(ids: Tensor, kind: torch.dtype) -> Tensor:
    """(B, S) log-probabilities of the place before the first step: the first source token."""
    place = torch.full(ids.shape, NEVER, dtype=kind, device=ids.device)
    place[:, 0] = 0.0
    return place


def transitions(gates: Tensor, padding: Tensor) -> Tensor:
    """Log-probabilities (B, T, S, S') of S' as the next place after S; padding (B, S).

    gates: the logits (B, T, S, 2) of leaving S, and of skipping it. What is written next is written at S again, or S is
    left, the places S + 1 to S' - 1 are skipped and S' is not. The last source token is neither left nor skipped.
    """
    leave, skip = gates.unbind(-1)
    last = functional.pad(padding[:, 1:], (0, 1), value=True).unsqueeze(1)  # (B, 1, S), padding too
    skipped, taken = (functional.logsigmoid(one).masked_fill(last, 0.0) for one in (skip, -skip))
    before = skipped.cumsum(-1)  # (B, T, S) that a place and all before are skipped
    left = (functional.logsigmoid(leave) - before).unsqueeze(-1) + (before - skipped + taken).unsqueeze(-2)
    stays = functional.logsigmoid(-leave).masked_fill(last, 0.0)
    places = torch.arange(leave.shape[-1], device=leave.device)
    moves = torch.where(places.unsqueeze(-1) == places, stays.unsqueeze(-1), left)
    never = (places.unsqueeze(-1) > places) | padding[:, None, None, :]
    return moves.masked_fill(never, NEVER)
