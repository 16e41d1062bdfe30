"""The words beside a state, told from it: what teaches an encoder without labels (Rei 2017)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.models.cells import at_least_32_bits, picked
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.pinned_copy import to_device

WORDS = 5000
"""The most frequent words, which are told apart; the others are one."""

HIDDEN = 64
"""Units between a state and the words: few, so that the states and not the map learn."""


class Neighbours(nn.Module):
    """The next word from the states that read forwards, the previous one from those that read backwards.

    Rei 2017, Semi-supervised Multitask Learning for Sequence Labeling, eq. 7 to 11. Only of one layer: a second one
    has read both directions below it, and with them what it should tell.
    """

    def __init__(self, size: int, both: bool, lookahead: int, words: int, padding: int, unknown: int,
                 dropout: float) -> None:  # fmt: skip
        """size: H, of a state; both: whether half of it reads backwards; lookahead: tokens read before it is taken."""
        super().__init__()
        self.units, self.ahead = size // 2 if both else size, 1 + lookahead
        self.words, self.padding, self.unknown = min(words, WORDS), padding, unknown
        self.dropout = Dropout(dropout)
        self.hidden = nn.ModuleList(nn.Linear(self.units, HIDDEN) for _ in range(1 + both))
        self.maps = nn.ModuleList(nn.Linear(HIDDEN, self.words) for _ in range(1 + both))

    def forward(self, states: Tensor, words: Tensor, noise: Noise | None) -> Tensor:
        """The loss in nats, summed, of states (B, S, H) and the ids of their words (B, S), on the CPU."""
        states = self.dropout(states, noise)
        later = (words != self.padding)[:, self.ahead :]
        loss = self.told(0, states[:, : -self.ahead, : self.units], words[:, self.ahead :], later)
        if len(self.maps) > 1:
            loss = loss + self.told(1, states[:, 1:, self.units :], words[:, :-1], later)
        return loss

    def told(self, direction: int, states: Tensor, words: Tensor, pairs: Tensor) -> Tensor:
        """The loss of words (B, S) that states (B, S, units) of one direction should tell, where both are real."""
        real = pairs.flatten().nonzero().squeeze(1)
        wanted = words.flatten().index_select(0, real)
        wanted = torch.where(wanted < self.words, wanted, self.unknown)
        seen = picked(states, to_device(real, states.device))
        logits = self.maps[direction](self.hidden[direction](seen).tanh())
        return functional.cross_entropy(at_least_32_bits(logits), to_device(wanted, states.device), reduction="sum")
