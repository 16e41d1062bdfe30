"""Attention: a query and a memory to a context vector and weights; each kind names its paper and equation."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, cast

import torch
from entmax import entmax15, sparsemax
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seq2seq.errors import InputError, check_range
from seq2seq.models.cells import at_least_32_bits
from seq2seq.models.exported import exporting
from seq2seq.models.network_part import NetworkPart
from seq2seq.models.products import mapped

Fit = Callable[[Tensor, Tensor, Tensor | None], Tensor]

CHUNK = {"cpu": 1 << 20}
"""Numbers of (B, T, S, A) that additive attention holds at once, by device: on a processor what its cache keeps."""

LARGE = 1 << 27
"""The same on any other device."""

Normalizer = Literal["softmax", "sparsemax", "entmax15"]
"""What turns scores into weights or probabilities; the sparse ones give most of them none (Peters et al. 2019)."""


class Memory(NamedTuple):
    """What attention looks at; keys are computed once for each source."""

    keys: Tensor
    """(B, S, A)"""
    values: Tensor
    """(B, S, M), or what the attention makes of them"""
    padding: Tensor
    """(B, S), true where there is no source token; real tokens come first. (B, T, S) where each query sees others"""

    @property
    def unseen(self) -> Tensor:
        """(B, 1 or T, S), true where a query may not look."""
        return self.padding if self.padding.dim() == 3 else self.padding.unsqueeze(1)

    def select(self, rows: Tensor) -> "Memory":
        """The memory of the given sources (B',)."""
        keys = self.keys.index_select(0, rows)
        values = keys if self.values is self.keys else self.values.index_select(0, rows)
        return Memory(keys, values, self.padding.index_select(0, rows))


def distribution(scores: Tensor, normalizer: Normalizer) -> Tensor:
    """Scores (..., N), in single precision or better, to probabilities (..., N)."""
    if normalizer == "softmax":
        return scores.softmax(-1)
    # Both give nothing to a score two or more below the best (no probability exceeds one): cutting the scores below
    # that changes nothing, and neither their squares nor their sums overflow.
    scores = (scores - scores.detach().amax(-1, keepdim=True)).clamp(min=-3)
    probabilities: Tensor = (sparsemax if normalizer == "sparsemax" else entmax15)(scores, dim=-1)
    return probabilities


def normalize(scores: Tensor, padding: Tensor, normalizer: Normalizer) -> Tensor:
    """Scores (..., S) to weights (..., S) in single precision or better; zero on padding and where a score is -inf."""
    scores = at_least_32_bits(scores)
    scores = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
    return distribution(scores, normalizer).masked_fill(padding, 0.0)


class Attention(NetworkPart):
    """How well a decoder state fits a source state, and the context that follows; a subclass writes `scores`."""

    coverage: bool = False
    """Whether the scores look at the attention paid so far."""
    query_size: int
    """Q, the decoder's hidden size."""
    context_size: int
    """C, length of a context: M, if the values are the source's states."""

    def __init__(self, normalizer: Normalizer = "softmax") -> None:
        """Settings.

        Args:
            normalizer: scores to weights: softmax, or sparsemax or entmax15, which give most source tokens a weight of
                exactly zero (Peters et al. 2019).
        """
        super().__init__()
        self.normalizer = normalizer

    def build(self, query_size: int, memory_size: int) -> "Attention":
        """query_size, Q: the decoder's hidden size; memory_size, M: the encoder's."""
        module = self.copied()
        module.query_size, module.context_size = query_size, memory_size
        module.create(query_size, memory_size)
        tried = torch.zeros(2, 1, query_size), torch.zeros(2, 3, memory_size)
        module.refuse_broken("contexts (B, T, C), weights (B, T, S)", lambda: module.wrong_shapes(*tried))
        return module

    def wrong_shapes(self, queries: Tensor, values: Tensor) -> str:
        """Where contexts or weights of queries (B, T, Q) and values (B, S, M) have another shape; empty for none."""
        contexts, weights = self(queries, self.memory(values, torch.zeros(values.shape[:2], dtype=torch.bool)))
        wanted = (*queries.shape[:2], self.context_size), (*queries.shape[:2], values.shape[1])
        found = tuple(contexts.shape), tuple(weights.shape)
        return "" if found == wanted else f"{found[0]} and {found[1]}, not {wanted[0]} and {wanted[1]}"

    def create(self, query_size: int, memory_size: int) -> None:
        """Make the parameters, if there are any."""

    def memory(self, values: Tensor, padding: Tensor) -> Memory:
        """values (B, S, M), padding (B, S); computes the keys once."""
        return Memory(self.keys(values), values, padding)

    def keys(self, values: Tensor) -> Tensor:
        """(B, S, M) to (B, S, A)."""
        return values

    @abstractmethod
    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        """(B, T, Q), (B, S, A) and the sum of the weights so far (B, T, S), all zero when None, to (B, T, S)."""

    def forward(self, queries: Tensor, memory: Memory, coverage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """queries (B, T, Q) to contexts (B, T, C) and weights (B, T, S), which are zero on padding.

        T may be time steps or hypotheses. coverage (B, T, S): the sum of the weights so far, all zero when None.
        """
        if coverage is not None and not self.coverage:
            raise InputError("this attention has no coverage; Additive with coverage: true has")
        return self.read(self.weights(queries, memory, coverage), memory)

    def weights(self, queries: Tensor, memory: Memory, coverage: Tensor | None) -> Tensor:
        """(B, T, Q) to (B, T, S)."""
        return normalize(self.scores(queries, memory.keys, coverage), memory.unseen, self.normalizer)

    def read(self, weights: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """What `weights` made to contexts (B, T, C) and weights (B, T, S)."""
        return weights.to(memory.values.dtype) @ memory.values, weights


class Dot(Attention):
    """score = q . k (Luong et al. 2015, sec. 3.1)."""

    def create(self, query_size: int, memory_size: int) -> None:
        check_sizes(self, query_size, memory_size)

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        return queries @ keys.mT


class ScaledDot(Dot):
    """score = q . k / sqrt(Q) (Vaswani et al. 2017, eq. 1)."""

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        return super().scores(queries / self.query_size**0.5, keys)


class General(Attention):
    """score = q . W k (Luong et al. 2015, sec. 3.1), with W k computed once for each source."""

    def create(self, query_size: int, memory_size: int) -> None:
        self.map = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        return mapped(self.map, values)

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        return queries @ keys.mT


def check_sizes(attention: Attention, query_size: int, memory_size: int) -> None:
    """Refuse a product of vectors of unequal sizes."""
    if query_size != memory_size:
        raise InputError(
            f"attention {type(attention).__name__} needs equal sizes, but the decoder's hidden size is {query_size} and"
            f" the encoder's {memory_size}; make them equal or choose General, Additive, Location, LocalP (with score: "
            "general) or MultiHeadAdditive, which fit any sizes"
        )


def in_pieces(fit: Fit, asked: Tensor, keys: Tensor, coverage: Tensor | None) -> Tensor:
    """fit(asked (B, T, A), keys (B, S, A), coverage (B, T, S)) without ever holding a large (B, T, S, A).

    What is large is taken in pieces of T, each of which forgets what it held and computes it again for its gradient.
    """
    limit = CHUNK.get(keys.device.type, LARGE)
    if exporting() or asked.shape[1] * keys.numel() <= limit:
        return fit(asked, keys, coverage)
    if torch.is_grad_enabled():
        fit = partial(checkpoint, fit, use_reentrant=False, preserve_rng_state=False)
    steps = max(1, limit // keys.numel())
    parts = torch.split(asked, steps, 1)
    covered = [None] * len(parts) if coverage is None else torch.split(coverage, steps, 1)
    return torch.cat([fit(part, keys, seen) for part, seen in zip(parts, covered, strict=True)], 1)


class Additive(Attention):
    """score = v . tanh(W q + U k + b) (Bahdanau et al. 2015, app. A.1.2), plus w c in the tanh with coverage c.

    U k is computed once for each source.
    """

    def __init__(
        self, attention_size: int | None = None, coverage: bool = False, normalizer: Normalizer = "softmax"
    ) -> None:
        """Settings.

        Args:
            attention_size: length of v; the decoder's hidden size when null.
            coverage: let the score see c, the sum of a token's weights so far (See et al. 2017, eq. 11).
            normalizer: scores to weights (softmax, sparsemax, entmax15).
        """
        super().__init__(normalizer)
        check_range("attention_size", 1 if attention_size is None else attention_size, 1)
        self.attention_size, self.coverage = attention_size, coverage

    def create(self, query_size: int, memory_size: int) -> None:
        size = self.attention_size or query_size
        self.key_map = nn.Linear(memory_size, size)
        self.query_map = nn.Linear(query_size, size, bias=False)
        self.vector = nn.Linear(size, 1, bias=False)
        self.coverage_map = nn.Linear(1, size, bias=False) if self.coverage else None

    def keys(self, values: Tensor) -> Tensor:
        return mapped(self.key_map, values)

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        asked: Tensor = self.query_map(queries)  # (B, T, A)
        return in_pieces(self.fit, asked, keys, coverage)

    def fit(self, asked: Tensor, keys: Tensor, coverage: Tensor | None) -> Tensor:
        """The score of every mapped query (B, T, A) with every key."""
        both = asked.unsqueeze(2) + keys.unsqueeze(1)  # (B, T, S, A)
        if coverage is not None and self.coverage_map is not None:
            both = both + self.coverage_map(coverage.unsqueeze(-1).to(asked.dtype))
        score: Tensor = self.vector(both.tanh())
        return score.squeeze(-1)


class Location(Attention):
    """score = W q, one row of W for each source position, whatever the state there holds (Luong et al. 2015, eq. 8).

    As in the paper, shorter sources use the top rows (the weights sum to one over their tokens) and what is longer
    gets no weight.
    """

    def __init__(self, longest: int = 50, normalizer: Normalizer = "softmax") -> None:
        """Settings.

        Args:
            longest: source tokens that can get a weight; the paper's sentences have at most 50 words.
            normalizer: scores to weights (softmax, sparsemax, entmax15).
        """
        super().__init__(normalizer)
        check_range("longest", longest, 1)
        self.longest = longest

    def create(self, query_size: int, memory_size: int) -> None:
        self.map = nn.Linear(query_size, self.longest, bias=False)

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        size = keys.shape[1]
        if exporting():  # slices of a size that is not known would keep that of the example
            places = torch.arange(size)
            every: Tensor = self.map(queries)
            known = every.index_select(-1, places.clamp(max=self.longest - 1))
            return known.masked_fill(places >= self.longest, -torch.inf)
        scores = nn.functional.linear(queries, self.map.weight[:size])
        return nn.functional.pad(scores, (0, size - scores.shape[-1]), value=-torch.inf)


class LocalP(Attention):
    """Attention to a window whose position the decoder predicts (Luong et al. 2015, eq. 9 and 10).

    p = S sigmoid(v . tanh(W q)) with S real tokens, numbered 1 to S. The weights are normalised over the tokens of the
    window [p - D, p + D] and then multiplied by a Gaussian around p of deviation D / 2. As in the paper they are not
    normalised again: they sum to less than one.
    """

    def __init__(
        self, window: int = 10, score: Literal["dot", "general"] = "general", normalizer: Normalizer = "softmax"
    ) -> None:
        """Settings.

        Args:
            window: D, tokens to either side of the predicted position.
            score: how a decoder state fits a source state, as Dot or as General.
            normalizer: scores to weights (softmax, sparsemax, entmax15).
        """
        super().__init__(normalizer)
        check_range("window", window, 1)
        self.window, self.score = window, score

    score: "str | Attention"
    """Once built the attention whose scores are taken."""

    def create(self, query_size: int, memory_size: int) -> None:
        if self.score == "dot":
            check_sizes(self, query_size, memory_size)
        kind = Dot() if self.score == "dot" else General()
        self.score = kind.build(query_size, memory_size)
        self.map = nn.Linear(query_size, query_size, bias=False)
        self.vector = nn.Linear(query_size, 1, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        return cast(Attention, self.score).keys(values)

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        return cast(Attention, self.score).scores(queries, keys)

    def weights(self, queries: Tensor, memory: Memory, coverage: Tensor | None) -> Tensor:
        position = at_least_32_bits(self.vector(self.map(queries).tanh()))  # bfloat16 cannot tell 300 from 301
        lengths = memory.unseen.logical_not().sum(-1, keepdim=True)  # (B, 1 or T, 1)
        scores = self.scores(queries, memory.keys)
        tokens = torch.arange(1, scores.shape[-1] + 1, device=position.device)
        distance = tokens - lengths * position.sigmoid()  # (B, T, S)
        scores = scores.masked_fill(distance.abs() > self.window, -torch.inf)
        weights = normalize(scores, memory.unseen, self.normalizer)
        return weights * (distance / self.window).square().mul(-2).exp()


class MultiHeadAdditive(Additive):
    """Several additive attentions, each to its own part of the projected values (RNMT+, Chen et al. 2018).

    The context is their contexts side by side, of the decoder's hidden size; the weights shown are their mean.
    """

    def __init__(self, heads: int = 4, attention_size: int | None = None, normalizer: Normalizer = "softmax") -> None:
        """Settings.

        Args:
            heads: how many attentions share the sizes.
            attention_size: length of v, all heads together; the decoder's hidden size when null.
            normalizer: scores to weights (softmax, sparsemax, entmax15).
        """
        super().__init__(attention_size, normalizer=normalizer)
        check_range("heads", heads, 1)
        self.heads = heads

    def create(self, query_size: int, memory_size: int) -> None:
        size = self.attention_size or query_size
        for name, value in (("attention_size", size), ("the decoder's hidden size", query_size)):
            if value % self.heads:
                raise InputError(f"{name} {value} is no multiple of heads {self.heads}; change one of the two")
        super().create(query_size, memory_size)
        self.context_size = query_size
        self.value_map = nn.Linear(memory_size, query_size, bias=False)

    def memory(self, values: Tensor, padding: Tensor) -> Memory:
        return Memory(self.keys(values), self.value_map(values), padding)

    def fit(self, asked: Tensor, keys: Tensor, coverage: Tensor | None) -> Tensor:
        """(B, T, S, heads)"""
        both = (asked.unsqueeze(2) + keys.unsqueeze(1)).tanh() * self.vector.weight[0]  # (B, T, S, A)
        return both.view(*both.shape[:-1], self.heads, -1).sum(-1)

    def weights(self, queries: Tensor, memory: Memory, coverage: Tensor | None) -> Tensor:
        """(B, heads, T, S)"""
        scores = self.scores(queries, memory.keys, coverage).permute(0, 3, 1, 2)
        return normalize(scores, memory.unseen.unsqueeze(1), self.normalizer)

    def read(self, weights: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        values = memory.values.view(*memory.keys.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, S, Q / heads)
        contexts = weights.to(values.dtype) @ values
        return contexts.transpose(1, 2).flatten(2), weights.mean(1)


class Monotonic(Attention):
    """A latent monotonic alignment: each target token is written at one source token, none before that of the last.

    Nothing is averaged: every source token has a distribution of the next target token of its own, and the loss sums
    over all alignments exactly (Yu et al. 2016; Wu and Cotterell 2019). For what keeps the order of its source: word
    forms, sounds, morphemes. The work grows with the product of both lengths and the vocabulary.
    """

    joined_size: int
    """J, length of what joins a target step with a source token."""
    key_map: nn.Linear
    query_map: nn.Linear

    def __init__(self, size: int | None = None) -> None:
        """Settings.

        Args:
            size: of the layer that joins a target step with a source token; the decoder's hidden size when null.
        """
        super().__init__()
        check_range("size", 1 if size is None else size, 1)
        self.size = size

    def build(self, query_size: int, memory_size: int) -> "Monotonic":
        module = self.copied()
        module.joined_size = self.size or query_size
        module.key_map = nn.Linear(memory_size, module.joined_size)
        module.query_map = nn.Linear(query_size, module.joined_size, bias=False)
        return module

    def keys(self, values: Tensor) -> Tensor:
        return mapped(self.key_map, values)

    def memory(self, values: Tensor, padding: Tensor) -> Memory:
        keys = self.keys(values)
        return Memory(keys, keys, padding)

    def asked(self, queries: Tensor) -> Tensor:
        """(B, T, Q) to what is joined with the keys, (B, T, J)."""
        return mapped(self.query_map, queries)

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        raise TypeError("a latent alignment has no scores: models/aligned_decoder.py")
