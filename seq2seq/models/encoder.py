"""Encoder: source ids to all states (the memory), the final state and the fixed vector, blind to padding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.configurable import Settings
from seq2seq.errors import check_range
from seq2seq.models.cells import CellState, inside, turned
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.embedding import Reader
from seq2seq.models.fixed_vector import Last, Pooling
from seq2seq.models.recurrent import Recurrent, Stack

PADDED = 0.2
"""Share of padding up to which it costs less to read it than to tell rows apart."""


@dataclass(frozen=True)
class EncoderOptions(Settings):
    """What the encoder does otherwise than the decoder.

    Args:
        bidirectional: read the source in both directions (Bahdanau et al. 2015).
        hidden_size: units of each layer, both directions together; null for model.hidden_size.
        reverse: feed the source last word first (Sutskever et al. 2014, sec. 3.3).
        pooling: how the states become the fixed vector (Last, Mean, Max, Attentive); null for Last.
        learned_first_state: start from a learned state instead of zeros.
        feature_size: length of the vector of each feature that a tokenizer adds to tokens or rows.
    """

    bidirectional: bool = True
    hidden_size: int | None = None
    reverse: bool = False
    pooling: Pooling | None = None
    learned_first_state: bool = False
    feature_size: int = 16

    def __post_init__(self) -> None:
        check_range("model.encoder.feature_size", self.feature_size, 1)
        if self.hidden_size is not None:
            check_range("model.encoder.hidden_size", self.hidden_size, 1)


class Encoding(NamedTuple):
    """What the encoder computes of B sources."""

    states: Tensor
    """(B, S, H), of the top layer, in the order in which they were computed."""
    final: CellState
    """Tensors (L, B, H) to hand on to the decoder."""
    vector: Tensor
    """(B, H), the fixed vector."""
    padding: Tensor
    """(B, S), true where a row has no state."""


class Encoder(nn.Module):
    """Embedding and recurrence over the source (Sutskever et al. 2014), in both directions (Bahdanau et al. 2015)."""

    def __init__(self, embedding: nn.Module, stack: Stack, options: EncoderOptions, lookahead: int = 0) -> None:
        """embedding: a `Reader`; lookahead: tokens that are read before the state of a token is taken."""
        super().__init__()
        stack = stack._replace(hidden_size=options.hidden_size or stack.hidden_size)
        self.size = stack.hidden_size
        """H, of a state."""
        self.reverse, self.lookahead = options.reverse, lookahead
        self.embedding = embedding
        self.dropout = Dropout(stack.dropout, stack.locked_dropout)
        width, learned = cast(Reader, embedding).size, options.learned_first_state
        self.recurrent = Recurrent(stack, width, options.bidirectional, learned)
        self.pool = (options.pooling or Last()).build(self.size)
        self.change: Callable[[Tensor], Tensor] | None = None
        """What vectors go through before they are read, set by `through`."""

    def states(self, source: Tensor, lengths: Tensor, noise: Noise | None = None) -> Tensor:
        """The states (B, S, H) alone; those after the end of a row mean nothing."""
        vectors, lengths = cast(Reader, self.embedding).read(source, lengths, noise)
        padded = len(vectors) * vectors.shape[1] - int(lengths.sum())
        if self.recurrent.directions > 1 or self.reverse or padded > PADDED * vectors.shape[1] * len(vectors):
            return self.encoding(vectors, lengths, noise).states
        # What reads forwards meets padding after all else, so that rows need not be told apart.
        inputs = self.inputs(vectors, ~inside(lengths.clamp(min=1), vectors), noise)
        states, _ = self.recurrent(inputs, noise=noise)
        return states[:, self.lookahead :]  # type: ignore[no-any-return]

    def forward(self, source: Tensor, lengths: Tensor, noise: Noise | None = None) -> Encoding:
        """Sources as the embedding reads them, lengths (B,) on the CPU."""
        vectors, counts = cast(Reader, self.embedding).read(source, lengths, noise)
        return self.encoding(vectors if self.change is None else self.change(vectors), counts, noise)

    @contextmanager
    def through(self, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Inside, the vectors (B, S, E) of sources go through `change` before they are read."""
        self.change = change
        try:
            yield
        finally:
            self.change = None

    def inputs(self, vectors: Tensor, padding: Tensor, noise: Noise | None) -> Tensor:
        """What the recurrence reads, (B, S + lookahead, E); padding (B, S)."""
        inputs: Tensor = self.dropout(vectors, noise)
        if self.lookahead:  # zeros follow the end of a row
            inputs = functional.pad(inputs.masked_fill(padding.unsqueeze(-1), 0), (0, 0, 0, self.lookahead))
        return inputs

    def encoding(self, vectors: Tensor, lengths: Tensor, noise: Noise | None) -> Encoding:
        """Of vectors (B, S, E)."""
        if self.reverse:
            vectors = turned(vectors, lengths)
        padding = ~inside(lengths.clamp(min=1), vectors)
        inputs = self.inputs(vectors, padding, noise)
        read = (lengths + self.lookahead).clamp(min=1)  # of an empty row one step of zeros is read
        states, after = self.recurrent(inputs, lengths=read, noise=noise)
        states = states[:, self.lookahead :]
        vector, handed = self.pool(states, padding, tuple(self.join(tensor) for tensor in after))
        return Encoding(states, handed, vector, padding)

    def join(self, tensor: Tensor) -> Tensor:
        """(L * directions, B, units) to (L, B, H): the directions of a layer side by side."""
        if self.recurrent.directions == 1:
            return tensor
        split = tensor.view(self.recurrent.layers, 2, *tensor.shape[1:])  # (L, 2, B, units)
        return torch.cat((split[:, 0], split[:, 1]), dim=-1)
