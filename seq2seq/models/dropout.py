"""Dropout whose masks depend on the optimiser step and the row alone, so that no slicing changes a result."""

import hashlib
import sys
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq.pinned_copy import to_device


class Noise(NamedTuple):
    """What makes the masks of a batch."""

    seed: int
    """Of the optimiser step."""
    row_keys: Tensor
    """(B,) numbers that tell the rows apart, on the CPU."""


class Dropout(nn.Module):
    """Zeroes units and scales the others up (Srivastava et al. 2014).

    Whether a unit stays is a hash of (seed, row, name in the task, step, unit): the same on every kind of device,
    whichever rows are computed together and whatever other parts the network has. A locked one knows no step: it
    zeroes the same units of a row at every step (Gal and Ghahramani 2016).
    """

    number: int | None = None
    """That of its name in the task, set by `number_dropouts`."""

    def __init__(self, probability: float, locked: bool = False) -> None:
        """probability: share of units zeroed."""
        super().__init__()
        self.probability, self.locked = probability, locked

    def forward(self, values: Tensor, noise: Noise | None) -> Tensor:
        """Values (B, T, H) with the masks of `noise`; unchanged outside training or without noise.

        Of values (B, T, M, H) all M have one mask.
        """
        mask = self.mask(noise, values.shape[1], values.shape[-1], values)
        if mask is None:
            return values
        return values * (mask if values.dim() == 3 else mask.unsqueeze(2))

    def mask(self, noise: Noise | None, steps: int, units: int, like: Tensor) -> Tensor | None:
        """What to multiply by, (B, steps, units), of a locked dropout (B, 1, units); None where nothing is dropped.

        like: any tensor of the wanted kind and device.
        """
        if not self.training or noise is None or not self.probability:
            return None
        size = (len(noise.row_keys), 1 if self.locked else steps, units)
        if self.probability >= 1:
            return like.new_zeros(size)
        if self.number is None:
            raise RuntimeError("this dropout is in no task; call number_dropouts on the network that it belongs to")
        numbers = hashed(to_device(row_keys(noise, self.number), like.device), size[1] * units)
        least = min(round((self.probability - 0.5) * 2**32), 2**31 - 1)
        return torch.ge(numbers.view(size), least, out=like.new_empty(size)).mul_(1 / (1 - self.probability))


def number_of(name: str) -> int:
    """64 bits that follow from a name alone, on any machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def number_dropouts(network: nn.Module, name: str) -> None:
    """Give each dropout of a network its number; name: of the network in the task."""
    for path, module in network.named_modules(prefix=name):
        if isinstance(module, Dropout):
            module.number = number_of(path)


def masked(values: Tensor, mask: Tensor | None, time: int) -> Tensor:
    """Values (B, H) of one step with the mask (B, T or 1, H) of all steps."""
    return values if mask is None else values * mask[:, min(time, mask.shape[1] - 1)]


def row_keys(noise: Noise, number: int) -> Tensor:
    """(B,) 32 bits for each row; number: another one for each use in a task."""
    start = np.random.SeedSequence([noise.seed, number]).generate_state(1, np.uint64)
    keys = noise.row_keys.numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start  # wraps, as it shall
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)  # Steele et al. 2014, SplitMix64
    return torch.from_numpy((keys >> np.uint64(32)).astype(np.uint32).view(np.int32))


def hashed(keys: Tensor, count: int) -> Tensor:
    """(B,) keys to (B, count) 32-bit numbers, uniform and unrelated to their neighbours; products wrap around."""
    numbers = torch.arange(count, dtype=torch.int32, device=keys.device).mul_(-1640531527)  # Knuth's multiplier
    mixed = keys.unsqueeze(1) ^ numbers
    halves = mixed.view(torch.int16).view(len(keys), count, 2).unbind(-1)
    low, high = halves if sys.byteorder == "little" else halves[::-1]
    low ^= high  # x ^= x >> 16 in one launch
    mixed *= 0x7FEB352D
    mixed ^= (mixed >> 15).bitwise_and_((1 << 17) - 1)
    mixed *= 0x846CA68B - 2**32
    low ^= high
    return mixed
