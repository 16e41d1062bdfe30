"""Encoder: source ids to all states (the memory) and the final state, blind to padding and to neighbours."""

import torch
from torch import Tensor, nn

from seq2seq.errors import InputError
from seq2seq.models.cells import Cell, CellState, Recurrent
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.embedding import token_embedding

PLACE = 0
"""Where the numbers of the encoder's dropouts begin."""


class Encoder(nn.Module):
    """Embedding and recurrence over the source (Sutskever et al. 2014), in both directions (Bahdanau et al. 2015)."""

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int,
        hidden_size: int,
        cell: Cell,
        layers: int = 1,
        bidirectional: bool = True,
        reverse: bool = False,
        dropout: float = 0.0,
        padding: int = 0,
    ) -> None:
        """hidden_size counts both directions together; reverse feeds the source last word first."""
        super().__init__()
        if bidirectional and hidden_size % 2:
            raise InputError(f"hidden_size {hidden_size} is odd; a bidirectional encoder gives each direction one half")
        self.reverse = reverse
        self.embedding = token_embedding(vocabulary_size, embedding_size, padding)
        self.dropout = Dropout(dropout, PLACE)
        units = hidden_size // 2 if bidirectional else hidden_size
        self.recurrent = Recurrent(cell, embedding_size, units, layers, dropout, bidirectional, PLACE + 1)

    def forward(self, source: Tensor, lengths: Tensor, noise: Noise | None = None) -> tuple[Tensor, CellState]:
        """source (B, S) ids, lengths (B,) on the CPU; returns states (B, S, H) and the final state, tensors (L, B, H).

        With `reverse`, states stand in the order in which they were computed.
        """
        if self.reverse:
            source = reversed_rows(source, lengths)
        inputs = self.dropout(self.embedding(source), noise)  # (B, S, E)
        outputs, final = self.recurrent(inputs, lengths=lengths, noise=noise)
        return outputs, tuple(self._join(tensor) for tensor in final)

    def _join(self, tensor: Tensor) -> Tensor:
        """(L * directions, B, units) to (L, B, H): the directions of a layer side by side."""
        if self.recurrent.directions == 1:
            return tensor
        split = tensor.view(self.recurrent.layers, 2, *tensor.shape[1:])  # (L, 2, B, units)
        return torch.cat((split[:, 0], split[:, 1]), dim=-1)


def reversed_rows(ids: Tensor, lengths: Tensor) -> Tensor:
    """Each row's first `lengths` ids in reverse order, padding left where it is; ids (B, S), lengths (B,)."""
    steps = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    last = lengths.to(ids.device).unsqueeze(1) - 1
    return ids.gather(1, torch.where(steps <= last, last - steps, steps))
