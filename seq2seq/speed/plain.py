"""The same networks as they are written with torch's layers alone, by somebody who takes care of speed.

Batches of like lengths, packing where lengths differ, the loss of real tokens only, no Python per token in training.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import BOS, EOS, PAD
from seq2seq.models.tagger import ColumnTagger
from seq2seq.models.word_embedding import Letters, WordEmbedding, taken_apart
from seq2seq.tasks.tagging import Tagging

LstmState = tuple[Tensor, Tensor]


def over_time(layer: nn.RNNBase, inputs: Tensor, lengths: Tensor, total: int) -> tuple[Tensor, LstmState]:
    """A layer over rows (B, T, I); the dense one where all are as long."""
    if bool((lengths == total).all()):
        outputs, last = layer(inputs)
        return outputs, last
    packed, last = layer(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))
    return pad_packed_sequence(packed, batch_first=True, total_length=total)[0], last


class PlainTranslator(nn.Module):
    """A bidirectional LSTM, an LSTM that goes on from its state, Luong's general attention or none."""

    def __init__(self, words: int, embedding: int, hidden: int, attention: bool, share: float) -> None:
        super().__init__()
        self.share = share
        self.source, self.target = (nn.Embedding(words, embedding, padding_idx=PAD) for _ in range(2))
        self.encoder = nn.LSTM(embedding, hidden // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.LSTM(embedding, hidden, batch_first=True)
        self.keys = nn.Linear(hidden, hidden, bias=False) if attention else None
        self.readout = nn.Linear(2 * hidden, hidden)
        self.output = nn.Linear(hidden, words)

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor, LstmState]:
        """States (B, S, H), where they are padding, and the decoder's first state."""
        embedded = dropout(self.source(batch.source), self.share, self.training)
        memory, final = over_time(self.encoder, embedded, batch.source_lengths, batch.source.shape[1])
        first = [torch.cat((state[0], state[1]), -1).unsqueeze(0) for state in final]
        return memory, batch.source == PAD, (first[0], first[1])

    def features(self, hidden: Tensor, keys: Tensor | None, memory: Tensor, padding: Tensor) -> Tensor:
        """What the output sees of states (B, T, H)."""
        if keys is None:
            return hidden
        scores = torch.bmm(hidden, keys.transpose(1, 2)).float().masked_fill(padding.unsqueeze(1), -1e9)
        context = torch.bmm(scores.softmax(-1).to(memory.dtype), memory)
        return torch.tanh(self.readout(torch.cat((context, hidden), -1)))

    def loss(self, batch: Batch) -> Tensor:
        """Summed over target tokens, in nats."""
        memory, padding, first = self.encode(batch)
        embedded = dropout(self.target(batch.target[:, :-1]), self.share, self.training)
        hidden, _ = self.decoder(embedded, first)
        keys = None if self.keys is None else self.keys(memory)
        seen = dropout(self.features(hidden, keys, memory, padding), self.share, self.training)
        labels = batch.target[:, 1:]
        real = labels != PAD
        return cross_entropy(self.output(seen[real]).float(), labels[real], reduction="sum")

    @torch.no_grad()
    def greedy(self, batch: Batch, steps: int) -> Tensor:
        """The best token of each of so many steps, (B, steps)."""
        memory, padding, state = self.encode(batch)
        keys = None if self.keys is None else self.keys(memory)
        token, written = torch.full((len(memory), 1), BOS), []
        for _ in range(steps):
            hidden, state = self.decoder(self.target(token), state)
            logits = self.output(self.features(hidden, keys, memory, padding)[:, 0])
            logits[:, EOS] = -torch.inf
            token = logits.argmax(-1, keepdim=True)
            written.append(token)
        return torch.cat(written, 1)

    @torch.no_grad()
    def beam(self, batch: Batch, steps: int, size: int) -> Tensor:
        """The tokens of the best hypothesis of each row, (B, steps)."""
        memory, padding, state = self.encode(batch)
        rows, keys = len(memory), memory if self.keys is None else self.keys(memory)
        memory, padding, keys = (each.repeat_interleave(size, 0) for each in (memory, padding, keys))
        state = (state[0].repeat_interleave(size, 1), state[1].repeat_interleave(size, 1))
        token, written = torch.full((rows * size, 1), BOS), torch.empty(rows * size, 0, dtype=torch.long)
        scores = torch.full((rows, size), -1e9)
        scores[:, 0] = 0
        first = (torch.arange(rows) * size).unsqueeze(1)
        for _ in range(steps):
            hidden, state = self.decoder(self.target(token), state)
            seen = self.features(hidden, None if self.keys is None else keys, memory, padding)[:, 0]
            log_probs = self.output(seen).log_softmax(-1)
            log_probs[:, EOS] = -torch.inf
            words = log_probs.shape[1]
            scores, best = (scores.unsqueeze(2) + log_probs.view(rows, size, words)).flatten(1).topk(size)
            before, token = (first + best // words).flatten(), (best % words).view(-1, 1)
            state = (state[0].index_select(1, before), state[1].index_select(1, before))
            written = torch.cat((written.index_select(0, before), token), 1)
        return written.view(rows, size, steps)[:, 0]


class PlainTokens(NamedTuple):
    """A batch of spelled words as a plain loop's loader keeps it."""

    heads: Tensor
    """(N, 1 + others) ids of each word, its shape and its ends."""
    letters: Tensor
    """(U, W) of the words that are spelled differently, padded with 0."""
    spelling: Tensor
    """(N,) which of these each word is."""
    counts: Tensor
    """(B,) words of each row."""
    labels: Tensor
    """(N,)"""


class PlainTagger(nn.Module):
    """Vectors of a word, its shape, its ends and an LSTM over its letters; an LSTM over words; a linear map."""

    def __init__(self, task: Tagging) -> None:
        """With the sizes of a task of ours."""
        super().__init__()
        reader, options = cast(WordEmbedding, task.reader.embedding), task.words
        letters = cast(Letters, reader.letters)
        self.share, self.starts = task.dropout, reader.starts
        self.tables = nn.ModuleList(nn.Embedding(*one.get_parameter("weight").shape)
                                    for one in (reader.own, *reader.others))  # fmt: skip
        self.signs = nn.Embedding(letters.table.num_embeddings, options.letter_size, padding_idx=0)
        size = options.letters_size // 2
        self.spell = nn.LSTM(options.letter_size, size, batch_first=True, bidirectional=True)
        width = sum(table.get_parameter("weight").shape[1] for table in self.tables) + options.letters_size
        self.layer = nn.LSTM(width, task.hidden_size // 2, batch_first=True, bidirectional=True)
        [column] = cast(ColumnTagger, task.labeller).columns
        self.first, self.map = column.first, nn.Linear(task.hidden_size, len(column.labels))

    def prepared(self, batch: Batch) -> PlainTokens:
        """Ids as tensors; not timed."""
        parts = taken_apart(batch.source, self.starts[0], len(self.starts) - 1, PAD)
        letters = (parts.letters - self.starts[-1] + 1).clamp(min=0).masked_fill(parts.letters == PAD, 0)
        heads = parts.heads - torch.tensor([0, *self.starts[:-1]])
        unique, which = torch.unique(letters, dim=0, return_inverse=True)
        labels = (batch.target[tuple(parts.places)] - self.first).clamp(min=0)
        return PlainTokens(heads, unique, which, parts.counts, labels)

    def loss(self, tokens: PlainTokens) -> Tensor:
        """Summed over words, in nats."""
        vectors = [table(tokens.heads[:, place]) for place, table in enumerate(self.tables)]
        lengths = (tokens.letters != 0).sum(1).clamp(min=1)
        packed = pack_padded_sequence(self.signs(tokens.letters), lengths, batch_first=True, enforce_sorted=False)
        last = self.spell(packed)[1][0]
        vectors.append(torch.cat((last[0], last[1]), -1)[tokens.spelling])
        rows = torch.split(torch.cat(vectors, -1), tokens.counts.tolist())
        inputs = dropout(pad_sequence([*rows], batch_first=True), self.share, self.training)
        states, _ = over_time(self.layer, inputs, tokens.counts, inputs.shape[1])
        states = dropout(states, self.share, self.training)
        real = torch.arange(states.shape[1]) < tokens.counts.unsqueeze(1)
        return cross_entropy(self.map(states[real]), tokens.labels, reduction="sum")
