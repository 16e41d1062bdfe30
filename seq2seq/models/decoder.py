"""Decoder: start, forward over a known target, step over an unknown one; both give the same probabilities."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from seq2seq.configurable import Settings
from seq2seq.errors import InputError, check_range
from seq2seq.models.attention import Attention, Memory, Monotonic, Normalizer
from seq2seq.models.cells import CellState, picked
from seq2seq.models.dropout import Dropout, Noise, masked
from seq2seq.models.embedding import Embedding
from seq2seq.models.output import Output, Readout, ReadoutKind, mixed
from seq2seq.models.paired_loss import paired_loss
from seq2seq.models.recurrent import Masks, Recurrent, Stack

UNSEEN = 1e-10
"""The least attention that a source token counts as having got, where a logarithm is taken."""


@dataclass(frozen=True)
class DecoderOptions(Settings):
    """What the decoder does otherwise than the encoder.

    Args:
        layers: recurrent layers; null for model.layers.
        context_every_step: feed the fixed vector to each step and to the output (Cho et al. 2014, eq. 7).
        attend_from: what queries the attention: the top layer's new state (Luong et al. 2015), its state before the
            step, the context then entering the recurrence (Bahdanau et al. 2015), or the bottom layer's new state, the
            context then entering the layers above (Chen et al. 2018).
        input_feeding: feed what the output saw at the step before (Luong et al. 2015, sec. 3.3).
        latent_alignments: source tokens that predict one by one where attention looks most, their probabilities
            summed; the others predict from their mean (Shankar et al. 2018). 0 for their mean alone.
        copy: source tokens may be copied (See et al. 2017); needs attention and data.shared_vocabulary.
        readout: what the output layer sees of state, context and token: tanh (Luong et al. 2015, eq. 5), maxout
            (Bahdanau et al. 2015, app. A.2.2), linear, none (all of them side by side); null for tanh where there is
            more than the state to see.
        readout_size: length of what it sees; null for hidden_size, with tied_output for embedding_size.
        tied_output: use the target embedding as output matrix too (Press and Wolf 2017).
        tied_embeddings: one embedding for source and target; needs data.shared_vocabulary.
        features: feed the features of the source's first token (of the row: a language, say) to each step.
    """

    layers: int | None = None
    context_every_step: bool = False
    attend_from: Literal["top", "before", "bottom"] = "top"
    input_feeding: bool = False
    latent_alignments: int = 0
    copy: bool = False
    readout: ReadoutKind | None = None
    readout_size: int | None = None
    tied_output: bool = False
    tied_embeddings: bool = False
    features: bool = False

    def __post_init__(self) -> None:
        for name in ("layers", "readout_size"):
            value = getattr(self, name)
            if value is not None:
                check_range(f"model.decoder.{name}", value, 1)
        check_range("model.decoder.latent_alignments", self.latent_alignments, 0)


class SourceMemory(NamedTuple):
    """What the decoder may know of each of B sources."""

    ids: Tensor
    """(B, S) in the order of the memory, for copying."""
    vector: Tensor | None
    """(B, H), the fixed vector, when it is fed at every step."""
    features: Tensor | None
    """(B, F), vectors of the row's features, when they are fed at every step."""
    memory: Memory | None
    """What attention looks at: one copy for each source, however many hypotheses there are."""
    wait: int | None = None
    """Source tokens that the first step of a known target sees, each further one seeing one more; None for all."""

    def seen(self, time: int, steps: int) -> Memory | None:
        """What attention looks at in as many steps from `time` on."""
        if self.memory is None or self.wait is None:
            return self.memory
        places = torch.arange(self.ids.shape[1], device=self.ids.device)
        read = torch.arange(self.wait + time, self.wait + time + steps, device=places.device)
        return self.memory._replace(padding=self.memory.unseen | (places >= read.unsqueeze(1)))

    def select(self, rows: Tensor) -> "SourceMemory":
        """The given sources (B',)."""
        vector, features = (None if it is None else it.index_select(0, rows) for it in (self.vector, self.features))
        memory = None if self.memory is None else self.memory.select(rows)
        return SourceMemory(self.ids.index_select(0, rows), vector, features, memory, self.wait)


class State(NamedTuple):
    """What one decoding step hands to the next: K hypotheses for each of B sources."""

    source: SourceMemory
    recurrent: CellState
    """Tensors (L, B * K, H)."""
    fed: Tensor | None = None
    """(B * K, R) what the step before gives to this one besides."""
    coverage: Tensor | None = None
    """(B * K, S) sum of the attention's weights so far, when it or the search looks at them."""
    places: Tensor | None = None
    """(B * K, S) log-probabilities of where the last token was written, but for that token (`aligned_decoder.py`)."""

    def counting(self) -> "State":
        """The same with the sum of the attention's weights, so that `left_out` can be asked later."""
        if self.coverage is not None:
            return self
        return self._replace(coverage=self.recurrent[0].new_zeros(self.source.ids.shape))

    def left_out(self) -> Tensor:
        """(B, K) sum over source tokens of log(min(1, attention so far)), zero or less (Wu et al. 2016, eq. 14)."""
        if self.coverage is None or self.source.memory is None:
            raise TypeError("nothing has counted where attention looks")
        padding = self.source.memory.padding
        seen = self.coverage.view(len(padding), -1, padding.shape[1]).clamp(UNSEEN, 1.0)
        return seen.log().masked_fill(padding.unsqueeze(1), 0.0).sum(-1)

    def select(self, rows: Tensor) -> "State":
        """Keep, repeat or reorder hypotheses: rows (B', K') holds hypothesis numbers, each row those of one source.

        Sources stay in their order; one whose hypotheses do not appear is dropped.
        """
        sources, flat = len(self.source.ids), rows.flatten()
        before = self.recurrent[0].shape[1] // sources
        recurrent = tuple(tensor.index_select(1, flat) for tensor in self.recurrent)
        others = (None if it is None else it.index_select(0, flat) for it in (self.fed, self.coverage, self.places))
        source = self.source if len(rows) == sources else self.source.select(rows[:, 0] // before)
        return State(source, recurrent, *others)


class StepOutputs(NamedTuple):
    """What the output may look at: steps or hypotheses (B, T)."""

    embedded: Tensor
    """(B, T, E) the token before."""
    hidden: Tensor
    """(B, T, H) the top layer."""
    context: Tensor | None
    """(B, T, C) of the attention."""
    weights: Tensor | None
    """(B, T, S) of the attention."""
    features: Tensor | None = None
    """(B, T, R) of the readout, where the next step is fed them."""


class DecoderOutputs(NamedTuple):
    """From what probabilities are made."""

    features: Tensor
    """(B, T, R), or (B, T, M, R) of M alternatives (`latent_decoder.py`)"""
    weights: Tensor | None
    """(B, T, S) of the attention."""
    gate: Tensor | None
    """(B, T) logits of generating rather than copying, when there is copying."""
    state: State
    """After the last step."""
    read: Tensor | None = None
    """(B, T) tokens, where they say where those after them are written (`aligned_decoder.py`)."""

    def first(self, steps: int) -> "DecoderOutputs":
        """The same of the first steps only."""
        weights, gate, read = (None if it is None else it[:, :steps] for it in (self.weights, self.gate, self.read))
        return self._replace(features=self.features[:, :steps], weights=weights, gate=gate, read=read)


class DropoutMasks(NamedTuple):
    """Dropout masks of all steps."""

    bottom: Masks | None
    between: Tensor | None
    above: Masks | None


class Decoder(nn.Module):
    """Embedding, recurrence, attention before, within or after it, readout and output."""

    by_step: "Decoder | None" = None
    """What takes single steps in its place, with rounded matrices (`int8.py`)."""
    suits_one_row: bool = False
    """Whether one row is searched by numpy where it can be (`one_row.py`), whose sums round otherwise."""

    def __init__(
        self,
        embedding: Embedding,
        vocabulary_size: int,
        stack: Stack,
        options: DecoderOptions,
        memory_size: int,
        attention: Attention | None = None,
        features_size: int = 0,
        normalizer: Normalizer = "softmax",
    ) -> None:
        """memory_size: of the source's states and fixed vector; features_size: of the vectors of a row's features."""
        super().__init__()
        self.options, self.embedding, self.vocabulary_size = options, embedding, vocabulary_size
        self.dropout = Dropout(stack.dropout, stack.locked_dropout)
        self.last_dropout = Dropout(stack.dropout)
        if isinstance(attention, Monotonic):
            raise InputError("attention Monotonic is for task Translation; choose another one such as General")
        self.attention = None if attention is None else attention.build(stack.hidden_size, memory_size)
        self.covers = attention is not None and attention.coverage
        context = 0 if self.attention is None else self.attention.context_size
        always = memory_size * options.context_every_step
        token = embedding.size * (options.context_every_step or options.readout == "maxout")
        read = stack.hidden_size + context + always + token
        size = options.readout_size or (embedding.weight.shape[1] if options.tied_output else stack.hidden_size)
        self.readout = Readout(options.readout, read, size, read == stack.hidden_size)
        self.fed_size = self.readout.size if options.input_feeding else context if options.attend_from != "top" else 0
        inputs = embedding.size + always + features_size + self.fed_size
        below = 1 if options.attend_from == "bottom" else stack.layers
        self.recurrent = Recurrent(stack._replace(layers=below), inputs)
        self.above: Recurrent | None = None
        if options.attend_from == "bottom":
            self.between = Dropout(stack.dropout, stack.locked_dropout)
            residual = None if stack.residual_from is None else max(1, stack.residual_from - 1)
            above = stack._replace(layers=stack.layers - 1, residual_from=residual)
            self.above = Recurrent(above, stack.hidden_size, extra=context)
        shared = embedding.get_parameter("weight") if options.tied_output else None
        self.output = Output(self.readout.size, vocabulary_size, normalizer, shared)
        self.pointer = nn.Linear(context + stack.hidden_size + embedding.size, 1) if options.copy else None

    @property
    def feeds_back(self) -> bool:
        """Whether a step reads the context, the coverage or the features of the step before."""
        return self.fed_size > 0 or self.covers

    def start(self, first: CellState, source: SourceMemory) -> State:
        """first: tensors (L, B, H). Returns the state before the first step, one hypothesis for each source."""
        count = source.ids.shape[0]
        feeds = self.fed_size and self.options.attend_from != "before"
        fed = first[0].new_zeros(count, self.fed_size) if feeds else None
        coverage = first[0].new_zeros(source.ids.shape) if self.covers else None
        return State(source, first, fed, coverage)

    def forward(
        self, tokens: Tensor, state: State, noise: Noise | None = None, own: Tensor | None = None
    ) -> DecoderOutputs:
        """Known target tokens (B, T) to the features of the token after each.

        own (B, T): true where the network reads its own most likely token instead (Bengio et al. 2015); then, and where
        a step feeds the next, steps are taken one by one, otherwise the recurrence runs over all at once.
        """
        embedded = self.dropout(self.embedding(tokens), noise)  # (B, T, E)
        if own is not None or self.feeds_back:
            seen, after = self.unrolled(embedded, state, noise, own)
        else:
            inputs = torch.cat([embedded, *self.constant_inputs(state.source, tokens.shape[1])], dim=-1)
            hidden, recurrent = self.recurrent(inputs, state.recurrent, noise=noise)  # (B, T, H)
            seen = StepOutputs(embedded, hidden, *self.attend(hidden, state, 0))
            after = state._replace(recurrent=recurrent)
        outputs = self.outputs(seen, after)
        return outputs._replace(features=self.last_dropout(outputs.features, noise))

    def unrolled(
        self, embedded: Tensor, state: State, noise: Noise | None, own: Tensor | None
    ) -> tuple[StepOutputs, State]:
        """One step after the other over embedded tokens (B, T, E)."""
        steps = embedded.shape[1]
        kept = None if own is None else self.dropout.mask(noise, steps, embedded.shape[2], embedded)
        masks = self.masks(noise, steps, embedded)
        steps_seen: list[StepOutputs] = []
        for time in range(steps):
            now = embedded[:, time : time + 1]
            if own is not None and steps_seen:
                with torch.no_grad():
                    best = self.log_probs(self.outputs(steps_seen[-1], state), state.source).argmax(-1)  # (B, 1)
                guessed = masked(self.embedding(best).squeeze(1), kept, time).unsqueeze(1)
                now = torch.where(own[:, time].view(-1, 1, 1), guessed.to(now.dtype), now)
            seen, state = self.advance(now, state, masks, time)
            steps_seen.append(seen)
        columns = zip(*steps_seen, strict=True)
        return StepOutputs(*(None if column[0] is None else torch.cat(column, dim=1) for column in columns)), state  # type: ignore[arg-type]

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The last tokens (B, K) of all hypotheses to log-probabilities (B, K, V) in nats, and the next state."""
        if state.source.wait is not None:
            raise TypeError("a source that is read step by step is read by models/simultaneous.py")
        own = self.by_step or self
        seen, after = own.advance(own.embedding(tokens), state)
        return own.log_probs(own.outputs(seen, after), state.source), after

    def advance(
        self, embedded: Tensor, state: State, masks: DropoutMasks | None = None, time: int = 0
    ) -> tuple[StepOutputs, State]:
        """One step of all hypotheses; embedded (B, K, E). Its outputs are (B, K, ...)."""
        counts, context, weights = embedded.shape[:2], None, None
        inputs = [embedded, *self.constant_inputs(state.source, counts[1])]
        if self.options.attend_from == "before":
            context, weights = self.attend(state.recurrent[0][-1].view(*counts, -1), state, time)
            inputs.append(present(context))
        elif state.fed is not None:
            inputs.append(state.fed.view(*counts, -1).to(embedded.dtype))
        read = torch.cat(inputs, dim=-1) if len(inputs) > 1 else embedded
        flat, below, first = read.flatten(0, 1), self.recurrent.layers, state.recurrent
        if self.above is not None:
            first = tuple(tensor[:below] for tensor in first)
        hidden, recurrent = self.recurrent.step(flat, first, None, masks and masks.bottom, time)
        if self.options.attend_from != "before":
            context, weights = self.attend(hidden.view(*counts, -1), state, time)
        if self.above is not None:
            entering = masked(hidden, masks and masks.between, time)
            first = tuple(tensor[below:] for tensor in state.recurrent)
            extra = present(context).flatten(0, 1)
            hidden, upper = self.above.step(entering, first, extra, masks and masks.above, time)
            recurrent = tuple(torch.cat(pair) for pair in zip(recurrent, upper, strict=True))
        seen = StepOutputs(embedded, hidden.view(*counts, -1), context, weights)
        if self.options.input_feeding:
            seen = seen._replace(features=self.features(seen, state.source))
        return seen, self.after(seen, state, recurrent)

    def after(self, seen: StepOutputs, state: State, recurrent: CellState) -> State:
        """The state for the next step."""
        fed = state.fed
        if seen.features is not None:
            fed = seen.features.flatten(0, 1)
        elif fed is not None:
            fed = present(seen.context).flatten(0, 1)
        coverage = None if state.coverage is None else state.coverage + present(seen.weights).flatten(0, 1)
        return State(state.source, recurrent, fed, coverage)

    def constant_inputs(self, source: SourceMemory, steps: int) -> list[Tensor]:
        """What every step reads besides its token, (B, steps, ...)."""
        given = (source.vector, source.features)
        return [vector.unsqueeze(1).expand(-1, steps, -1) for vector in given if vector is not None]

    def attend(self, queries: Tensor, state: State, time: int) -> tuple[Tensor | None, Tensor | None]:
        """Context and weights of the attention, if there is one, for queries (B, T, H) from the step `time` on."""
        memory = state.source.seen(time, queries.shape[1])
        if self.attention is None or memory is None:
            return None, None
        seen = state.coverage if self.covers else None
        coverage = None if seen is None else seen.view(*queries.shape[:2], -1)
        context, weights = self.attention(queries, memory, coverage)
        return context, weights

    def features(self, seen: StepOutputs, source: SourceMemory) -> Tensor:
        """What the readout makes of steps or hypotheses, (B, T, R)."""
        read = [] if seen.context is None else [seen.context]
        read.append(seen.hidden)
        if source.vector is not None:
            read += self.constant_inputs(source._replace(features=None), seen.hidden.shape[1])
        if source.vector is not None or self.options.readout == "maxout":
            read.append(seen.embedded)
        features: Tensor = self.readout(torch.cat(read, dim=-1) if len(read) > 1 else seen.hidden)
        return features

    def outputs(self, seen: StepOutputs, state: State) -> DecoderOutputs:
        """What the output layer needs; state: after the last step."""
        features = self.features(seen, state.source) if seen.features is None else seen.features
        gate = None
        if self.pointer is not None:
            gate = self.pointer(torch.cat((present(seen.context), seen.hidden, seen.embedded), dim=-1)).squeeze(-1)
        return DecoderOutputs(features, seen.weights, gate, state)

    def log_probs(self, outputs: DecoderOutputs, source: SourceMemory) -> Tensor:
        """Log-probabilities (B, T, V) in nats."""
        log_probs = self.generated(outputs)
        if outputs.gate is None:
            return log_probs
        weights = present(outputs.weights).to(log_probs.dtype)
        copied = torch.zeros_like(log_probs).scatter_add_(-1, source.ids.unsqueeze(1).expand_as(weights), weights)
        return mixed(log_probs, outputs.gate.unsqueeze(-1), copied)

    def loss(
        self, outputs: DecoderOutputs, source: SourceMemory, labels: Tensor, real: Tensor, smoothing: float
    ) -> Tensor:
        """Sum over the tokens of labels (B, T) at positions real (N,): minus their log-probability, in nats."""
        if outputs.gate is None:
            return self.output.loss(picked(outputs.features, real), picked(labels, real), smoothing)
        return -self.label_log_probs(outputs, source, labels, real).sum()

    def loss_of_two(
        self, one: DecoderOutputs, two: DecoderOutputs, labels: Tensor, real: Tensor, smoothing: float, distance: float
    ) -> Tensor:
        """The loss of R-Drop (`paired_loss`) without copying; labels (B, T) at positions real (N,)."""
        features = picked(one.features, real), picked(two.features, real)
        layer, wanted = self.output.layer, picked(labels, real)
        return paired_loss(*features, layer.weight, layer.bias, wanted, smoothing, distance)

    def label_log_probs(self, outputs: DecoderOutputs, source: SourceMemory, labels: Tensor, real: Tensor) -> Tensor:
        """Log-probabilities (N,) in nats of the tokens of labels (B, T) at positions real (N,)."""
        log_probs = self.generated_labels(outputs, labels, real)
        if outputs.gate is None:
            return log_probs
        same = source.ids.unsqueeze(1) == labels.unsqueeze(-1)  # (B, T, S)
        copied = picked((present(outputs.weights) * same).sum(-1), real)
        return mixed(log_probs, picked(outputs.gate, real), copied)

    def looked_at(self, outputs: DecoderOutputs, source: SourceMemory, labels: Tensor) -> Tensor | None:
        """How much (B, T, S) of each source token is in the predictions of labels (B, T); None without attention."""
        return outputs.weights

    def generated(self, outputs: DecoderOutputs) -> Tensor:
        """Log-probabilities (B, T, V) without copying."""
        return self.output.log_probs(outputs.features)

    def generated_labels(self, outputs: DecoderOutputs, labels: Tensor, real: Tensor) -> Tensor:
        """Those (N,) of the tokens of labels (B, T) at positions real (N,)."""
        return self.output.label_log_probs(picked(outputs.features, real), picked(labels, real))

    def masks(self, noise: Noise | None, steps: int, like: Tensor) -> DropoutMasks:
        """The dropout masks of all steps."""
        bottom = self.recurrent.masks(noise, steps, like)
        if self.above is None:
            return DropoutMasks(bottom, None, None)
        between = self.between.mask(noise, steps, self.above.hidden_size, like)
        return DropoutMasks(bottom, between, self.above.masks(noise, steps, like))


def present(tensor: Tensor | None) -> Tensor:
    """A tensor that is known to be there."""
    if tensor is None:
        raise InputError("the decoder has no attention")
    return tensor
