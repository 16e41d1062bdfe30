"""Words: ids that spell words to one vector for each word, out of all that is seen of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.configurable import Settings
from seq2seq.errors import InputError, check_range
from seq2seq.models.cells import LSTM
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.exported import exporting
from seq2seq.pinned_copy import to_device


@dataclass(frozen=True)
class WordOptions(Settings):
    """How what is seen of a word becomes its vector, for the tokenizer Spelled.

    Args:
        shape_size: length of the vector of a word's casing and shape.
        affix_size: length of the vector of each beginning and ending.
        letter_size: length of a letter's vector.
        letters_size: length of what is made of all letters.
        letters_by: an LSTM in both directions (Lample et al. 2016, sec. 4.1) or a convolution of width three and its
            maximum (Ma and Hovy 2016, sec. 2.1).
        word_dropout: share of the words of training that are read as unknown, so that unknown ones have a vector; null
            for the share that is expected to be unknown: that of the words of training that occur once (Good 1953).
        freeze_vectors: leave pre-trained vectors as they are.
    """

    shape_size: int = 16
    affix_size: int = 16
    letter_size: int = 32
    letters_size: int = 64
    letters_by: Literal["LSTM", "CNN"] = "LSTM"
    word_dropout: float | None = None
    freeze_vectors: bool = False

    def __post_init__(self) -> None:
        for name in ("shape_size", "affix_size", "letter_size", "letters_size"):
            check_range(f"model.words.{name}", getattr(self, name), 2)
        check_range("model.words.word_dropout", self.word_dropout or 0, 0, 1)
        if self.letters_by == "LSTM" and self.letters_size % 2:
            raise InputError(
                f"model.words.letters_size {self.letters_size} is odd; each direction of the LSTM gets half"
            )


class Parts(NamedTuple):
    """The ids of a batch taken apart: N words of B rows, the longest of S words."""

    places: Tensor
    """(2, N) the row of each word, and its position in the row."""
    heads: Tensor
    """(N, 1 + others) its own id and those of its shape and ends."""
    letters: Tensor
    """(N, W) ids of its letters, padded."""
    counts: Tensor
    """(B,) words of each row."""


def taken_apart(ids: Tensor, words: int, others: int, padding: int) -> Parts:
    """ids (B, F): of each word its own (below `words`), `others` more, then its letters.

    A row may be cut anywhere: a last word that lacks some of its others is left out, one that lacks letters is not.
    """
    real, begins = ids != padding, ids < words
    needed = torch.arange(ids.shape[1], device=ids.device) + 1 + others
    broken = real & begins & (needed > real.sum(1, keepdim=True))
    real = real & (broken.cumsum(1) == 0)
    begins = real & begins
    rows, starts = begins.nonzero(as_tuple=True)
    counts = begins.sum(1)
    positions = begins.cumsum(1)[rows, starts] - 1
    ends = torch.where(
        torch.arange(len(rows), device=ids.device) + 1 < len(rows),
        functional.pad(starts, (0, 1))[1:],
        torch.zeros_like(starts),
    )
    last = positions == counts[rows] - 1  # the end of a row's last word is the end of the row
    ends = torch.where(last, real.sum(1)[rows], ends)
    heads = ids[rows.unsqueeze(1), starts.unsqueeze(1) + torch.arange(1 + others, device=ids.device)]
    lengths = ends - starts - 1 - others
    steps = torch.arange(int(lengths.max()) if len(rows) else 0, device=ids.device)
    inside = steps < lengths.unsqueeze(1)  # (N, W)
    at = (starts.unsqueeze(1) + 1 + others + steps).clamp(max=max(ids.shape[1] - 1, 0))
    letters = ids[rows.unsqueeze(1), at].masked_fill(~inside, padding)
    return Parts(torch.stack((rows, positions)), heads, letters, counts)


class WordEmbedding(nn.Module):
    """A word's vector: those of its own id, its shape, its ends and its letters side by side."""

    def __init__(
        self,
        sizes: tuple[int, int, Sequence[int], int],
        letters: bool,
        embedding_size: int,
        options: WordOptions,
        padding: int,
        unknown: int,
    ) -> None:
        """sizes: ids of words, shapes, each kind of ends, letters; letters: whether they are spelled."""
        super().__init__()
        words, shapes, ends, signs = sizes
        self.padding, self.unknown, self.options = padding, unknown, options
        self.own = nn.Embedding(words, embedding_size, padding_idx=padding)
        nn.init.normal_(self.own.weight, std=embedding_size**-0.5)
        with torch.no_grad():
            self.own.weight[padding].zero_()
        others = [(shapes, options.shape_size), *((count, options.affix_size) for count in ends)]
        self.others = nn.ModuleList(nn.Embedding(*size) for size in others)
        for table in self.others:
            weight = table.get_parameter("weight")
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        self.starts = list(accumulate([words, shapes, *ends]))
        """The first id of each kind besides the words."""
        self.letters = Letters(signs, options) if letters else None
        self.word_dropout = Dropout(options.word_dropout or 0)
        self.size = embedding_size + sum(size for _, size in others) + options.letters_size * letters
        """Of a whole vector."""

    def read(self, source: Tensor, lengths: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """What an encoder reads of sources (B, F): a vector for each word, and how many there are, (B,) on the CPU."""
        mask = self.word_dropout.mask(noise, source.shape[1], 1, self.own.weight)
        vectors, counts = self(source, None if mask is None else mask.squeeze(-1) == 0)
        return vectors, counts

    def forward(self, ids: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """ids (B, F) to the vectors (B, S, size) of words, at least one, and the number of words (B,), on the CPU.

        ids are taken apart on the CPU, best where they are already: sizes depend on how many words and letters there
        are. hidden (B, S or more): true for a word that is read as unknown.
        """
        words, padding, device = self.own.num_embeddings, self.padding, self.own.weight.device
        parts = taken_apart(ids.cpu(), words, len(self.others), padding)
        heads, (rows, positions) = to_device(parts.heads, device), to_device(parts.places, device)
        unread = None if hidden is None else hidden[rows, positions]
        joined = self.joined(heads, parts.letters, unread)
        steps = max(1, int(parts.counts.max()))
        whole = joined.new_zeros(len(ids), steps, self.size)
        return whole.index_put((rows, positions), joined), parts.counts

    def joined(self, heads: Tensor, letters: Tensor, hidden: Tensor | None = None) -> Tensor:
        """heads (N, 1 + others), letters (N, W) on the CPU and hidden (N,) to vectors (N, size)."""
        own = heads[:, 0]
        if hidden is not None:
            own = own.masked_fill(hidden, self.unknown)
        vectors = [self.own(own)]
        for index, table in enumerate(self.others):
            vectors.append(table(heads[:, 1 + index] - self.starts[index]))
        if self.letters is not None:
            spelled = (letters - self.starts[-1] + 1).clamp(min=0)  # 0 is padding, 1 unknown
            vectors.append(self.letters(spelled.masked_fill(letters == self.padding, 0)))
        return torch.cat([vector.to(vectors[0].dtype) for vector in vectors], dim=-1)


class Letters(nn.Module):
    """The letters of words to one vector each; words that are spelled alike are computed once."""

    def __init__(self, signs: int, options: WordOptions) -> None:
        """signs: different letters, the unknown one included."""
        super().__init__()
        size, result = options.letter_size, options.letters_size
        self.table = nn.Embedding(signs + 1, size, padding_idx=0)
        nn.init.normal_(self.table.weight, std=size**-0.5)
        with torch.no_grad():
            self.table.weight[0].zero_()
        self.layer = LSTM().build(size, result // 2, True) if options.letters_by == "LSTM" else None
        self.filters = nn.Conv1d(size, result, 3, padding=1) if options.letters_by == "CNN" else None
        self.size = result

    def forward(self, letters: Tensor) -> Tensor:
        """letters (N, W) on the CPU, 0 for padding, to (N, size)."""
        device = self.table.weight.device
        if exporting():  # how many words differ is not known
            return self.vectors(letters, (letters != 0).sum(1).clamp(min=1))
        if not letters.numel():
            return self.table.weight.new_zeros(len(letters), self.size)
        unique, which = torch.unique(letters, dim=0, return_inverse=True)
        lengths = (unique != 0).sum(1).clamp(min=1)
        unique, which = to_device(unique, device), to_device(which, device)
        return self.vectors(unique, lengths)[which]

    def vectors(self, letters: Tensor, lengths: Tensor) -> Tensor:
        """letters (U, W) and how many there are of each word, (U,) on the CPU, to (U, size)."""
        vectors = self.table(letters)  # (U, W, letter size)
        if self.filters is not None:
            top = self.filters(vectors.transpose(1, 2)).masked_fill((letters == 0).unsqueeze(1), -torch.inf).amax(-1)
            convolved: Tensor = top.clamp(min=-1e4).tanh()  # words without letters have a maximum of -inf
            return convolved
        if self.layer is None:
            raise TypeError("letters are read by an LSTM or a CNN")
        _, (last, *_) = self.layer(vectors, None, lengths)  # (2, U, size / 2)
        return torch.cat((last[0], last[1]), dim=-1)
