"""Simultaneous translation: a source that is read token by token while its translation is written.

Wait-k of Ma et al. 2019, eq. 4: target token t is chosen when min(t + k - 1, S) source tokens have been read. What has
not been read has not been encoded either, so that a source may end later.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from seq2seq.models.attention import Attention, Memory
from seq2seq.models.cells import CellState
from seq2seq.models.decoder import SourceMemory, State
from seq2seq.models.embedding import Embedding, Reader
from seq2seq.models.encoder_decoder import EncoderDecoder


class ReadingState(NamedTuple):
    """The middle of both: K hypotheses for each of B sources."""

    source: Tensor
    """(B, S) ids or (B, S, D) vectors, as many as have arrived."""
    lengths: Tensor
    """(B,) of them that are tokens."""
    encoder: CellState
    """Tensors (L, B, H), after what has been read."""
    read: int
    """Tokens of each source that have been."""
    due: int
    """Tokens that shall have been before the next step."""
    decoder: State

    def select(self, rows: Tensor) -> "ReadingState":
        """Keep, repeat or reorder hypotheses: rows (B', K') of hypothesis numbers, each row those of one source."""
        decoder = self.decoder.select(rows)
        if len(rows) == len(self.source):
            return self._replace(decoder=decoder)
        kept = rows[:, 0] // (self.decoder.recurrent[0].shape[1] // len(self.source))
        encoder = tuple(tensor.index_select(1, kept) for tensor in self.encoder)
        source, lengths = (tensor.index_select(0, kept) for tensor in (self.source, self.lengths))
        return self._replace(source=source, lengths=lengths, encoder=encoder, decoder=decoder)


def start(network: EncoderDecoder, source: Tensor, lengths: Tensor, wait: int) -> ReadingState:
    """Nothing read yet of sources (B, S), of which the first token is known; lengths (B,) on their device."""
    recurrent, count = network.encoder.recurrent, len(source)
    first = recurrent.first_state(count, network.decoder.embedding.weight)
    reader = network.encoder.embedding
    features = cast(Embedding, reader).features(source[:, 0]) if network.options.features else None
    nothing = torch.zeros(count, 0, dtype=torch.long, device=source.device)
    decoder = network.decoder.start(network.bridge(first), SourceMemory(nothing, None, features, None))
    return ReadingState(source, lengths, first, 0, wait, decoder)


def step(network: EncoderDecoder, tokens: Tensor, state: ReadingState) -> tuple[Tensor, ReadingState]:
    """Read what is due, then as the decoder's step: the last tokens (B, K) to log-probabilities (B, K, V)."""
    while state.read < min(state.due, state.source.shape[1]):
        state = read_on(network, state)
    log_probs, decoder = network.decoder.step(tokens, state.decoder)
    return log_probs, state._replace(decoder=decoder, due=state.due + 1)


def read_on(network: EncoderDecoder, state: ReadingState) -> ReadingState:
    """One more token of each source; where there is none nothing will look at what the encoder makes of it."""
    encoder, attention = network.encoder, cast(Attention, network.decoder.attention)
    now = state.source[:, state.read : state.read + 1]
    ends = (state.lengths <= state.read).unsqueeze(1)  # (B, 1)
    vectors, _ = cast(Reader, encoder.embedding).read(now, state.lengths, None)
    hidden, after = encoder.recurrent.step(vectors[:, 0], state.encoder)
    known, one = state.decoder.source, attention.memory(hidden.unsqueeze(1), ends)
    if known.memory is not None:
        one = Memory(*(torch.cat(pair, dim=1) for pair in zip(known.memory, one, strict=True)))
    ids = torch.cat((known.ids, now if network.options.copy else ends.long()), dim=1)
    coverage = state.decoder.coverage
    coverage = None if coverage is None else functional.pad(coverage, (0, 1))
    decoder = state.decoder._replace(source=known._replace(ids=ids, memory=one), coverage=coverage)
    return state._replace(encoder=after, read=state.read + 1, decoder=decoder)
