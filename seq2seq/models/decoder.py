"""Decoder: start, forward over a known target, step over an unknown one; both give the same logits."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seq2seq.models.attention import Attention, Memory
from seq2seq.models.cells import Cell, CellState, Recurrent
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.embedding import token_embedding

PLACE = 1000
"""Where the numbers of the decoder's dropouts begin."""


class State(NamedTuple):
    """What one decoding step hands to the next: K hypotheses for each of B sources."""

    recurrent: CellState
    """Tensors (L, B * K, H)."""
    context: Tensor | None
    """(B, H), the fixed vector, when it is fed at every step."""
    memory: Memory | None
    """What attention looks at: one copy for each source, however many hypotheses there are."""
    sources: int
    """B."""

    def select(self, rows: Tensor) -> "State":
        """Keep, repeat or reorder hypotheses: rows (B', K') holds hypothesis numbers, each row those of one source.

        Sources stay in their order; one whose hypotheses do not appear is dropped.
        """
        before = self.recurrent[0].shape[1] // self.sources
        recurrent = tuple(tensor.index_select(1, rows.flatten()) for tensor in self.recurrent)
        if len(rows) == self.sources:
            return self._replace(recurrent=recurrent)
        kept = rows[:, 0] // before
        context = None if self.context is None else self.context.index_select(0, kept)
        memory = None if self.memory is None else self.memory.select(kept)
        return State(recurrent, context, memory, len(rows))


class Decoder(nn.Module):
    """Embedding, recurrence, optional attention after it (Luong et al. 2015, eq. 5), and the output layer."""

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int,
        hidden_size: int,
        cell: Cell,
        layers: int = 1,
        attention: Attention | None = None,
        context_every_step: bool = False,
        tied: bool = False,
        dropout: float = 0.0,
        padding: int = 0,
    ) -> None:
        """context_every_step feeds the fixed vector to each step and to the output (Cho et al. 2014, eq. 7).

        tied uses the target embedding as the output matrix (Press and Wolf 2017), behind a map to embedding_size.
        """
        super().__init__()
        self.context_every_step = context_every_step
        self.embedding = token_embedding(vocabulary_size, embedding_size, padding)
        self.dropout, self.last_dropout = Dropout(dropout, PLACE), Dropout(dropout, PLACE + 1)
        extra = hidden_size if context_every_step else 0
        self.recurrent = Recurrent(cell, embedding_size + extra, hidden_size, layers, dropout, place=PLACE + 2)
        self.attention = None if attention is None else attention.module(hidden_size)
        read = hidden_size * (1 if attention is None else 2) + (extra + embedding_size if context_every_step else 0)
        size = embedding_size if tied else hidden_size
        self.readout = nn.Linear(read, size) if tied or read != hidden_size else None
        self.output = nn.Linear(size, vocabulary_size)
        if tied:
            self.output.weight = self.embedding.weight

    def start(self, first: CellState, context: Tensor, memory: Tensor, padding: Tensor) -> State:
        """first: tensors (L, B, H); context (B, H); memory (B, S, H); padding (B, S), true where no token is."""
        return State(
            first,
            context if self.context_every_step else None,
            None if self.attention is None else self.attention.memory(memory, padding),
            len(context),
        )

    def forward(self, tokens: Tensor, state: State, noise: Noise | None = None) -> Tensor:
        """Known target tokens (B, T) to the features (B, T, R) that `output` turns into logits (B, T, V)."""
        embedded = self.dropout(self.embedding(tokens), noise)  # (B, T, E)
        context = None if state.context is None else state.context.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        inputs = embedded if context is None else torch.cat((embedded, context), dim=-1)
        hidden, _ = self.recurrent(inputs, state.recurrent, noise=noise)  # (B, T, H)
        features: Tensor = self.last_dropout(self.features(hidden, embedded, context, state.memory), noise)
        return features

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The last tokens (B, K) of all hypotheses to log-probabilities (B, K, V) in nats, and the next state."""
        embedded = self.embedding(tokens)  # (B, K, E)
        context = None if state.context is None else state.context.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        inputs = embedded if context is None else torch.cat((embedded, context), dim=-1)
        hidden, recurrent = self.recurrent.step(inputs.flatten(0, 1), state.recurrent)
        features = self.features(hidden.view(*tokens.shape, -1), embedded, context, state.memory)
        logits: Tensor = self.output(features)
        return logits.float().log_softmax(-1), state._replace(recurrent=recurrent)

    def features(self, hidden: Tensor, embedded: Tensor, context: Tensor | None, memory: Memory | None) -> Tensor:
        """Hidden states (B, T, H) and what the output may see besides, to features (B, T, R)."""
        read = [hidden]
        if self.attention is not None and memory is not None:
            read.insert(0, self.attention(hidden, memory)[0])
        if context is not None:
            read += [context, embedded]
        joined = torch.cat(read, dim=-1) if len(read) > 1 else hidden
        features: Tensor = joined if self.readout is None else self.readout(joined).tanh()
        return features
