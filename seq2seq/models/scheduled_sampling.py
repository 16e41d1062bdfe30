"""Scheduled sampling: how often a network in training reads the target, how often its own output."""

import math
from typing import Literal

from torch import Tensor

from seq2seq.configurable import Part
from seq2seq.errors import check_range
from seq2seq.models.dropout import Noise, hashed, number_of, row_keys

NUMBER = number_of("scheduled_sampling")
"""What tells these draws from dropout's."""


class ScheduledSampling(Part):
    """Feeds the target's token with a probability that falls from 1 in training (Bengio et al. 2015, sec. 2.4)."""

    def __init__(
        self,
        decay: Literal["linear", "exponential", "inverse_sigmoid"] = "inverse_sigmoid",
        decay_steps: float = 1000.0,
        least: float = 0.5,
    ) -> None:
        """How the probability falls.

        Args:
            decay: linear 1 - i / k, exponential exp(-i / k), inverse_sigmoid k / (k + exp(i / k)), at optimiser step i.
            decay_steps: the k of these.
            least: the probability does not fall below.
        """
        check_range("model.scheduled_sampling.decay_steps", decay_steps, 1)
        check_range("model.scheduled_sampling.least", least, 0, 1.0001)
        self.decay, self.decay_steps, self.least = decay, decay_steps, least

    def reference_share(self, step: int) -> float:
        """The probability of the target's token at an optimiser step (from 0)."""
        past = step / self.decay_steps
        if self.decay == "linear":
            share = 1 - past
        elif self.decay == "exponential":
            share = math.exp(-past)
        else:
            share = self.decay_steps / (self.decay_steps + math.exp(min(past, 700.0)))
        return max(self.least, share)


def drawn(share: float, noise: Noise, steps: int) -> Tensor:
    """(B, steps), true with probability `share`; a hash of the optimiser step, the row and the position in it."""
    return hashed(row_keys(noise, NUMBER), steps) < round((share - 0.5) * 2**32)
