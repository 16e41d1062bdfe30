"""Taggers: the states of a row's tokens to one label each; independent, joined by a field, or step by step.

Labels may have several columns. An id is label + C0 * (second column + C1 * (third + ...)), as `TokenFeatures` makes
them; each column has an output of its own.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.errors import InputError, check_range
from seq2seq.models.cells import CellState, at_least_32_bits, inside, picked, real_positions
from seq2seq.models.crf import SPAN, ConditionalRandomField, constraints
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.embedding import Embedding
from seq2seq.models.network_part import NetworkPart
from seq2seq.models.recurrent import Recurrent, Stack
from seq2seq.pinned_copy import to_device

TINY = 1e-30
"""Stands for a probability of zero where its logarithm is needed."""

Scheme = Literal["BIO", "BIOES"]


class LabelColumn(NamedTuple):
    """What one column of labels is."""

    labels: Sequence[str]
    first: int
    """The id of the first label; those before stand for no label or an unknown one and are never predicted."""


class Tagged(NamedTuple):
    """The best labels of some rows: of each N sequences, best first."""

    ids: Tensor
    """(B, N, S)"""
    scores: Tensor
    """(B, N) log-probability of each sequence in nats; minus infinity where there are fewer."""
    tokens: Tensor
    """(B, N, S) log-probability of each label given the source alone."""


class Tagger(NetworkPart):
    """How states become labels."""

    def build(self, size: int, columns: Sequence[LabelColumn], stack: Stack) -> "Tagger":
        """size: H, of a state; stack: of the encoder."""
        module = self.copied()
        module.create(size, columns, stack)
        return module

    @abstractmethod
    def create(self, size: int, columns: Sequence[LabelColumn], stack: Stack) -> None:
        """Make the parameters."""

    @abstractmethod
    def loss(self, states: Tensor, labels: Tensor, lengths: Tensor, noise: Noise | None) -> Tensor:
        """Minus the log-probability of the labels (B, S) of states (B, S, H), summed, in nats; lengths (B,)."""

    def log_probs(self, states: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """(B, S) log-probability in nats of each of the labels (B, S) given those before it; -inf of unknown ones."""
        raise InputError(f"{type(self).__name__} does not define log_probs, the probability of given labels")


def digits(ids: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Ids of any shape to the numbers of each column."""
    columns = []
    for size in sizes:
        columns.append(ids % size)
        ids = ids // size
    return columns


class ColumnTagger(Tagger):
    """A linear map for each column, and above it a field or nothing."""

    writes = ("learned",)
    learned: ClassVar[bool]
    """Whether labels depend on each other through a field that learns; else it only carries the constraints."""

    def __init__(self, scheme: Scheme | None = None) -> None:
        super().__init__()
        self.scheme = scheme

    def create(self, size: int, columns: Sequence[LabelColumn], stack: Stack) -> None:
        scheme, self.columns = self.scheme, columns
        self.sizes = [column.first + len(column.labels) for column in columns]
        self.dropout = Dropout(stack.dropout, stack.locked_dropout)
        self.maps = nn.ModuleList(nn.Linear(size, len(column.labels)) for column in columns)
        if scheme is not None and not any(SPAN.fullmatch(label) for label in columns[0].labels):
            known = ", ".join(columns[0].labels[:5])
            raise InputError(f"model.tagger.scheme is {scheme}, but no label is a span's: {known}; set it to null")
        legal = [None if scheme is None else constraints(column.labels, scheme) for column in columns[:1]]
        legal += [None] * (len(columns) - 1)
        self.fields = nn.ModuleList(
            ConditionalRandomField(len(column.labels), *(rules or (None, None, None)))
            for column, rules in zip(columns, legal, strict=True)
        )
        if not self.learned:
            for parameter in self.fields.parameters():
                nn.init.zeros_(parameter).requires_grad_(False)

    def loss(self, states: Tensor, labels: Tensor, lengths: Tensor, noise: Noise | None) -> Tensor:
        total = states.new_zeros((), dtype=torch.promote_types(states.dtype, torch.float32))
        real, lengths = real_positions(lengths, states), to_device(lengths, states.device)
        columns = zip(self.emissions(states, noise), digits(labels, self.sizes), strict=True)
        for index, (emissions, ids) in enumerate(columns):
            ids = (ids - self.columns[index].first).clamp(min=0)
            if self.learned:
                total = total + self.field(index).loss(emissions, ids, lengths)
            else:
                total = total + functional.cross_entropy(picked(emissions, real), picked(ids, real), reduction="sum")
        return total

    def emissions(self, states: Tensor, noise: Noise | None = None) -> list[Tensor]:
        """The logits (B, S, C) of each column for states (B, S, H), with a field its emissions; in 32 bits or more."""
        states = self.dropout(states, noise)
        return [at_least_32_bits(linear(states)) for linear in self.maps]

    def log_probs(self, states: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Of several columns the sum."""
        total, lengths = at_least_32_bits(states.new_zeros(labels.shape)), to_device(lengths, states.device)
        for index, (emissions, ids) in enumerate(zip(self.emissions(states), digits(labels, self.sizes), strict=True)):
            known = ids - self.columns[index].first
            if self.learned:
                each = self.field(index).log_probs(emissions, known.clamp(min=0), lengths)
            else:
                each = emissions.log_softmax(-1).gather(-1, known.clamp(min=0).unsqueeze(-1)).squeeze(-1)
            total = total + each.masked_fill(known < 0, -torch.inf)
        return total

    def field(self, index: int) -> ConditionalRandomField:
        """That of a column."""
        return cast(ConditionalRandomField, self.fields[index])

    def tag(self, states: Tensor, lengths: Tensor, count: int) -> Tagged:
        """The `count` best sequences for states (B, S, H); of further columns always the best."""
        lengths = to_device(lengths, states.device)
        emissions = self.emissions(states)
        if self.learned:
            return self.joined(emissions, [self.field(index) for index in range(len(emissions))], lengths, count)
        return self.joined([one.log_softmax(-1) for one in emissions], None, lengths, count)

    def probabilities(self, states: Tensor, lengths: Tensor) -> list[Tensor]:
        """That of each class of each column at each step of states (B, S, H), of a learned field the marginal."""
        emissions = self.emissions(states)
        if not self.learned:
            return [one.softmax(-1) for one in emissions]
        lengths = to_device(lengths, states.device)
        return [self.field(index).marginals(one, lengths) for index, one in enumerate(emissions)]

    def tag_by(self, probabilities: Sequence[Tensor], lengths: Tensor, count: int) -> Tagged:
        """As `tag`, by given probabilities of each column, of which a field keeps only what it forbids."""
        log_probs = [one.clamp_min(TINY).log() for one in probabilities]
        return self.joined(log_probs, None, to_device(lengths, log_probs[0].device), count)

    def joined(
        self, columns: Sequence[Tensor], fields: list[ConditionalRandomField] | None, lengths: Tensor, count: int
    ) -> Tagged:
        """The best sequences by the emissions of each column; fields: None where they are log-probabilities."""
        ids = scores = tokens = torch.zeros(())
        scale = 1
        for index, (emissions, column, size) in enumerate(zip(columns, self.columns, self.sizes, strict=True)):
            field = None if fields is None else fields[index]
            best = self.tag_column(index, emissions, field, lengths, count if index == 0 else 1)
            local = best.ids + column.first
            if index == 0:
                ids, scores, tokens = local, best.scores, best.tokens
            else:
                ids, scores, tokens = ids + local * scale, scores + best.scores, tokens + best.tokens
            scale *= size
        return Tagged(ids, scores, tokens)

    def tag_column(
        self, index: int, emissions: Tensor, field: ConditionalRandomField | None, lengths: Tensor, count: int
    ) -> Tagged:
        """The best classes of one column; field: None where the emissions are log-probabilities."""
        real = inside(lengths, emissions)
        if field is None and count == 1 and (self.scheme is None or index > 0):
            best, ids = emissions.max(-1)
            return Tagged(ids.unsqueeze(1), (best * real).sum(-1, keepdim=True), best.unsqueeze(1))
        rules = field or (self.field(index).rules() if self.learned else self.field(index))
        ids, scores = rules.best(emissions, lengths, count)  # (B, N, S), (B, N)
        log_probs = emissions if field is None else field.marginals(emissions, lengths).clamp_min(TINY).log()
        tokens = log_probs.unsqueeze(1).expand(-1, ids.shape[1], -1, -1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
        return Tagged(ids, scores, tokens)

    def next_label(self, state: Tensor, before: int | None) -> tuple[int, float]:
        """The most likely legal id after `before` (None at the beginning) for a state (1, H), and its log-probability.

        For streams: what follows is not known, so legality looks backwards only.
        """
        total, chosen, scale = 0.0, 0, 1
        for index, (column, size) in enumerate(zip(self.columns, self.sizes, strict=True)):
            log_probs = at_least_32_bits(self.maps[index](state))[0].log_softmax(-1)
            field = self.field(index)
            legal = field.start_allowed if before is None else field.allowed[before // scale % size - column.first]
            best = int(log_probs.masked_fill(~legal, -torch.inf).argmax())
            total, chosen, scale = total + float(log_probs[best]), chosen + (best + column.first) * scale, scale * size
        return chosen, total


class Softmax(ColumnTagger):
    """Each label by itself: softmax(W h + b)."""

    learned = False

    def __init__(self, scheme: Scheme | None = None) -> None:
        """scheme: labels that break it are never predicted next to each other, BIO or BIOES; null for any."""
        super().__init__(scheme)


class Crf(ColumnTagger):
    """A linear-chain conditional random field over the row's labels (Lample et al. 2016, sec. 2.2)."""

    learned = True

    def __init__(self, scheme: Scheme | None = None) -> None:
        """scheme: what labels may stand next to each other, in training and in prediction; null for any."""
        super().__init__(scheme)


class TaggerState(NamedTuple):
    """What one step hands to the next: K hypotheses for each of B rows."""

    states: Tensor
    """(B, S, H) of the encoder."""
    recurrent: CellState
    """Tensors (1, B * K, H)."""
    time: int

    def select(self, rows: Tensor) -> "TaggerState":
        """Keep, repeat or reorder hypotheses: rows (B', K') of hypothesis numbers, each row those of one source."""
        before = self.recurrent[0].shape[1] // len(self.states)
        recurrent = tuple(tensor.index_select(1, rows.flatten()) for tensor in self.recurrent)
        states = self.states if len(rows) == len(self.states) else self.states[rows[:, 0] // before]
        return TaggerState(states, recurrent, self.time)


class AutoregressiveTagger(Tagger):
    """A decoder RNN in step with the source: its input is the state of a token and the label before."""

    def __init__(self, embedding_size: int = 32, hidden_size: int | None = None) -> None:
        """embedding_size: of a label; hidden_size: null for that of the encoder."""
        super().__init__()
        check_range("model.tagger.embedding_size", embedding_size, 1)
        if hidden_size is not None:
            check_range("model.tagger.hidden_size", hidden_size, 1)
        self.embedding_size, self.hidden_size = embedding_size, hidden_size

    def create(self, size: int, columns: Sequence[LabelColumn], stack: Stack) -> None:
        if len(columns) > 1:
            raise InputError(
                "model.tagger AutoregressiveTagger reads its last label, but the target has "
                f"{len(columns)} columns; choose Softmax or Crf, or one column"
            )
        self.column, self.tensors = columns[0], stack.cell.states
        count, hidden_size = self.column.first + len(self.column.labels), self.hidden_size or size
        self.embedding = Embedding([count], self.embedding_size, 1, 0)
        layer = stack._replace(hidden_size=hidden_size, layers=1, residual_from=None)
        self.recurrent = Recurrent(layer, size + self.embedding_size)
        self.dropout = Dropout(stack.dropout, stack.locked_dropout)
        self.last_dropout = Dropout(stack.dropout, stack.locked_dropout)
        self.map = nn.Linear(hidden_size, len(self.column.labels))

    def loss(self, states: Tensor, labels: Tensor, lengths: Tensor, noise: Noise | None) -> Tensor:
        """The loss with the true label before each one."""
        logits = self.logits(states, labels, noise)
        real = real_positions(lengths, states)
        ids = (labels - self.column.first).clamp(min=0)
        return functional.cross_entropy(picked(logits, real), picked(ids, real), reduction="sum")

    def logits(self, states: Tensor, labels: Tensor, noise: Noise | None) -> Tensor:
        """(B, S, C) of each label after those before it."""
        before = functional.pad(labels, (1, 0))[:, :-1]  # 0, the padding, stands before the first
        inputs = torch.cat((self.dropout(states, noise), self.embedding(before)), dim=-1)
        hidden, _ = self.recurrent(inputs, noise=noise)
        return at_least_32_bits(self.map(self.last_dropout(hidden, noise)))

    def log_probs(self, states: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        known = (labels - self.column.first).unsqueeze(-1)
        each = self.logits(states, labels, None).log_softmax(-1).gather(-1, known.clamp(min=0))
        return each.masked_fill(known < 0, -torch.inf).squeeze(-1)

    def start(self, states: Tensor) -> TaggerState:
        """Before the first token; a column of zeros follows the last state, for the step that ends a row."""
        zeros = states.new_zeros(1, states.shape[0], self.recurrent.hidden_size)
        return TaggerState(functional.pad(states, (0, 0, 0, 1)), (zeros,) * self.tensors, 0)

    def step(self, before: Tensor, state: TaggerState) -> tuple[Tensor, TaggerState]:
        """The labels before (B, K) to log-probabilities (B, K, V) of the next, minus infinity for what is no label."""
        counts = before.shape
        now = state.states[:, state.time].unsqueeze(1).expand(-1, counts[1], -1)
        inputs = torch.cat((now, self.embedding(before)), dim=-1).flatten(0, 1)
        hidden, recurrent = self.recurrent.step(inputs, state.recurrent)
        log_probs = at_least_32_bits(self.map(hidden)).log_softmax(-1).view(*counts, -1)
        after = state._replace(recurrent=recurrent, time=state.time + 1)
        return functional.pad(log_probs, (self.column.first, 0), value=-torch.inf), after
