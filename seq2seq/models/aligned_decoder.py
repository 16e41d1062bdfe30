"""Decoder over a latent monotonic alignment: each token is written at a source token, none before that of the last.

Which one is not known: all ways are summed over (Yu et al. 2016, eq. 3 to 7; Wu and Cotterell 2019). In shapes J stands
for what joins a step of the target with a source token, and "place" for the source token at which a token is written.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seq2seq.models.attention import Memory, Monotonic
from seq2seq.models.cells import CellState, at_least_32_bits, picked
from seq2seq.models.decoder import Decoder, DecoderOptions, DecoderOutputs, SourceMemory, State, present
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.embedding import Embedding
from seq2seq.models.output import CHUNK, LARGE, TINY, Output
from seq2seq.models.products import product
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
        self.attention = attention.build(stack.hidden_size, memory_size)
        self.covers, self.fed_size = False, self.alignment.joined_size
        self.recurrent = Recurrent(stack, embedding.size + features_size + memory_size * options.context_every_step)
        self.output = Output(self.alignment.joined_size, vocabulary_size + 3)
        with torch.no_grad():
            self.output.layer.bias[LEAVE], self.output.layer.bias[SKIP] = FIRST, -FIRST

    @property
    def tokens(self) -> int:
        """How many of the logits share one distribution: those of the vocabulary, and of a copy."""
        return self.vocabulary_size + self.options.copy

    @property
    def alignment(self) -> Monotonic:
        """What is asked of a source."""
        return cast(Monotonic, self.attention)

    def start(self, first: CellState, source: SourceMemory) -> State:
        """first: tensors (L, B, H). Returns the state before the first step, at the first source token."""
        place = first_place(source.ids, at_least_32_bits(first[0]).dtype)
        return State(source, first, first[0].new_zeros(place.shape[0], self.fed_size), None, place)

    def forward(
        self, tokens: Tensor, state: State, noise: Noise | None = None, own: Tensor | None = None
    ) -> DecoderOutputs:
        """Known target tokens (B, T) to what is asked of the source for the token after each.

        Outside training the weights are the probabilities, in 64 bits, of where that token is written.
        """
        embedded = self.dropout(self.embedding(tokens), noise)  # (B, T, E)
        inputs = torch.cat([embedded, *self.constant_inputs(state.source, tokens.shape[1])], dim=-1)
        hidden, recurrent = self.recurrent(inputs, state.recurrent, noise=noise)  # (B, T, H)
        features = self.alignment.asked(self.last_dropout(hidden, noise))  # (B, T, J)
        outputs = DecoderOutputs(features, None, None, state._replace(recurrent=recurrent), tokens)
        if self.training:
            return outputs
        return outputs._replace(weights=self.places(outputs, state.source).exp())

    def places(self, outputs: DecoderOutputs, source: SourceMemory) -> Tensor:
        """Log-probabilities (B, T, S) of where the token after each that was read is written."""
        if outputs.weights is not None:
            return outputs.weights.log()
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
        places = self.places(outputs, source)
        written, _ = self.scored(outputs.features, self.memory(source), source.ids, labels)
        return picked((places + written).logsumexp(-1).to(written.dtype), real)

    def log_probs(self, outputs: DecoderOutputs, source: SourceMemory) -> Tensor:
        """Log-probabilities (B, T, V) in nats; logits of one step are held at a time."""
        places, keys, found = self.places(outputs, source), self.memory(source).keys, []
        for asked, place in zip(*(torch.split(one, 1, 1) for one in (outputs.features, places)), strict=True):
            logits = self.output.logits(joined(asked, keys))
            found.append(self.mixed(logits, place.to(logits.dtype), source)[0])
        return torch.cat(found, 1)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The last tokens (B, K) of all hypotheses to log-probabilities (B, K, V) in nats, and the next state."""
        own = cast(AlignedDecoder, self.by_step or self)
        counts, memory, source = tokens.shape, self.memory(state.source), state.source
        before = self.after_writing(tokens, state)  # (B, K, S)
        inputs = torch.cat([self.embedding(tokens), *self.constant_inputs(source, counts[1])], dim=-1)
        hidden, recurrent = own.recurrent.step(inputs.flatten(0, 1), state.recurrent)
        asked = own.alignment.asked(hidden).view(*counts, -1)  # (B, K, J)
        logits = own.output.logits(joined(asked, memory.keys))  # (B, K, S, V + 3)
        place = (before.unsqueeze(-1) + transitions(logits[..., LEAVE:], memory.padding)).logsumexp(-2)
        log_probs, rest = self.mixed(logits, place, source)
        coverage = None if state.coverage is None else state.coverage + place.exp().flatten(0, 1)
        return log_probs, State(source, recurrent, asked.flatten(0, 1), coverage, rest.flatten(0, 1))

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
        layer = self.output.layer
        asked, keys = (one.to(layer.weight.dtype) for one in (asked, memory.keys))
        with torch.autocast(asked.device.type, enabled=False):
            found = PlaceScores.apply(asked, keys, layer.weight, layer.bias, ids, labels, self.options.copy)  # type: ignore[no-untyped-call]
        return found[0], found[1]


class PlaceScores(torch.autograd.Function):
    """`AlignedDecoder.scored`; what joins both sides is held for a few rows, and computed again for gradients."""

    @staticmethod
    def forward(
        ctx: Any, asked: Tensor, keys: Tensor, weight: Tensor, bias: Tensor, ids: Tensor, labels: Tensor, copy: bool
    ) -> tuple[Tensor, Tensor]:
        """asked (B, T, J), keys (B, S, J), weight (V + 3, J), bias (V + 3,), ids (B, S), labels (B, T)."""
        shape = len(asked), asked.shape[1], keys.shape[1]
        written, gates = asked.new_empty(shape), asked.new_empty(*shape, 2)
        sums = torch.empty_like(written)
        for own in pieces(asked, keys, weight):
            logits = product(joined(asked[own], keys[own]).flatten(0, 2), weight.t()).add_(bias)
            shared = logits[:, : COPY + copy]
            sums[own] = (shared - shared.amax(1, keepdim=True)).exp_().sum(1).log_().view_as(sums[own])
            sums[own] += shared.amax(1).view_as(sums[own])
            gates[own] = logits[:, LEAVE:].view_as(gates[own])
            logits = logits.view(*written[own].shape, -1)
            label = logits.gather(-1, labels[own, :, None, None].expand(*logits.shape[:3], 1)).squeeze(-1)
            written[own] = with_copies(label, logits[..., COPY], ids[own], labels[own]) if copy else label
        written -= sums
        ctx.save_for_backward(asked, keys, weight, bias, labels, written, sums)
        ctx.copy = copy
        return written, gates

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_written: Tensor, by_gates: Tensor) -> Any:
        asked, keys, weight, bias, labels, written, sums = ctx.saved_tensors
        by_asked, by_keys = torch.empty_like(asked), torch.empty_like(keys)
        by_weight, by_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        for own in pieces(asked, keys, weight):
            both = joined(asked[own], keys[own])
            shape, both = both.shape, both.flatten(0, 2)  # (N, J)
            logits = product(both, weight.t()).add_(bias)
            scale, total = by_written[own].reshape(-1, 1), sums[own].reshape(-1, 1)
            label = labels[own].unsqueeze(-1).expand(shape[:3]).reshape(-1, 1)
            written_label = logits.gather(1, label).sub_(total + written[own].reshape(-1, 1)).exp_()  # not copied
            slopes = logits.sub_(total).exp_().mul_(-scale)
            if ctx.copy:
                slopes[:, COPY] += (scale * (1 - written_label)).squeeze(1)
            else:
                slopes[:, COPY] = 0
            slopes[:, LEAVE:] = by_gates[own].reshape(-1, 2)
            slopes.scatter_add_(1, label, scale * written_label)
            by_weight += product(slopes.t(), both)
            by_bias += slopes.sum(0)
            by_joined = product(slopes, weight).mul_(both.square_().neg_().add_(1)).view(shape)
            by_asked[own], by_keys[own] = by_joined.sum(2), by_joined.sum(1)
        return by_asked, by_keys, by_weight, by_bias, None, None, None


def pieces(asked: Tensor, keys: Tensor, weight: Tensor) -> list[slice]:
    """Of B rows as many at once as few enough numbers are held for."""
    count = asked.shape[1] * keys.shape[1] * max(weight.shape)
    rows = max(1, (CHUNK // 4 if asked.device.type == "cpu" else LARGE) // max(1, count))
    return [slice(first, first + rows) for first in range(0, len(asked), rows)]


def joined(asked: Tensor, keys: Tensor) -> Tensor:
    """(B, T, J) and (B, S, J) to (B, T, S, J)."""
    return (asked.unsqueeze(2) + keys.unsqueeze(1)).tanh_()


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
