"""Perturbation: in training, frames of sound as another voice, speed, microphone and noise would have made them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seq2seq.configurable import Settings
from seq2seq.errors import check_range
from seq2seq.models.cells import inside
from seq2seq.models.dropout import Noise, hashed, number_of, row_keys
from seq2seq.pinned_copy import to_device

NUMBER, GRAINS = number_of("perturbation of frames"), number_of("noise in frames")
"""What tells these random numbers from those of dropout."""

DRAWN = 8
"""Random numbers of a row: speed, warp, three of the channel, two of the noise, and a free one."""

NOISE_RANGE = 40.0
"""Decibels from the most noise to the least."""

NEPERS = math.log(10) / 10
"""Natural logarithms of power in a decibel."""


@dataclass(frozen=True)
class Perturbation(Settings):
    """What training changes of a row's frames, another thing at each step; what is predicted is never changed.

    It changes log energies of bands, as `Recordings` makes them; other frames may have speed alone.

    Args:
        speed: the most by which a row becomes faster or slower, as a share (Ko et al. 2015); 0.1 is usual.
        warp: the most by which its frequencies become higher or lower on the scale of the bands, as a share, as another
            vocal tract would make them (Jaitly and Hinton 2013).
        channel: the most decibels by which all bands, their slope and their bend change, as by another microphone.
        noise: the least decibels from noise up to the mean power of the row, which gets noise of some colour, up to 40
            decibels softer than that; null for none.
    """

    speed: float = 0.0
    warp: float = 0.0
    channel: float = 0.0
    noise: float | None = None

    def __post_init__(self) -> None:
        for name in ("speed", "warp"):
            check_range(f"model.perturbation.{name}", getattr(self, name), 0, 0.5)
        check_range("model.perturbation.channel", self.channel, 0, 60)
        if self.noise is not None:
            check_range("model.perturbation.noise", self.noise, -20, 100)

    @property
    def of_bands(self) -> bool:
        """Whether the frames must be log energies."""
        return bool(self.warp or self.channel or self.noise is not None)

    def __bool__(self) -> bool:
        return bool(self.speed) or self.of_bands


class Perturbed:
    """The perturbation of frames with a known normalisation."""

    def __init__(self, options: Perturbation, mean: np.ndarray, deviation: np.ndarray) -> None:
        """mean, deviation: (D,) by which frames were normalised."""
        self.options = options
        self.mean, self.deviation = (torch.from_numpy(values.astype(np.float32)) for values in (mean, deviation))

    def __call__(self, source: Tensor, lengths: Tensor, least: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Frames (B, S, D) of lengths (B,) to other frames and lengths; what becomes of a row hangs on (seed, row).

        least: (B,) frames below which no row is shortened; this and the lengths are on the CPU.
        """
        numbers = hashed(row_keys(noise, NUMBER), DRAWN)
        shares = (numbers.long() & 0xFFFFFFFF).double() / 2**31 - 1  # (B, DRAWN) from -1 to 1
        if self.options.speed:
            source, lengths = stretched(source, lengths, least, 1 + self.options.speed * shares[:, 0])
        if not self.options.of_bands:
            return source, lengths
        mean, deviation = (to_device(values, source.device) for values in (self.mean, self.deviation))
        real = inside(lengths, source).unsqueeze(-1)
        energies = source * deviation + mean
        if self.options.warp:
            energies = warped(energies, 1 + self.options.warp * shares[:, 1])
        if self.options.channel:
            curves = NEPERS * self.options.channel * bent(shares[:, 2:5], source.shape[2])
            energies = energies + to_device(curves.float(), source.device).unsqueeze(1)
        if self.options.noise is not None:
            energies = self.noisy(energies, real, shares[:, 5:7], noise, self.options.noise)
        return ((energies - mean) / deviation).masked_fill(~real, 0.0), lengths

    def noisy(self, energies: Tensor, real: Tensor, shares: Tensor, noise: Noise, least: float) -> Tensor:
        """Log energies (B, S, D) with those of noise; shares (B, 2) say how much and of which slope."""
        rows, steps, bands = energies.shape
        power = energies.exp().mul(real).sum((1, 2)) / (real.sum((1, 2)) * bands).clamp(min=1)  # (B,)
        softer = NEPERS * (least + NOISE_RANGE * (shares[:, :1] + 1) / 2)
        slope = shares[:, 1:] * 2 * (2 * torch.arange(bands) / max(1, bands - 1) - 1)
        level = to_device((slope - softer).float(), energies.device).exp().unsqueeze(1) * power.view(-1, 1, 1)
        keys = to_device(row_keys(noise, GRAINS), energies.device)
        grains = hashed(keys, steps * bands).view(rows, steps, bands)
        uniform = (grains.to(energies.dtype) * (0.5 - 1e-6) / 2**31 + 0.5).clamp(1e-6, 1)
        return torch.log(energies.exp() - level * uniform.log())  # the power of a point of white noise


def stretched(source: Tensor, lengths: Tensor, least: Tensor, speeds: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (B, S, D) read at other speeds (B,), between neighbours by a line; no shorter than `least`."""
    least = torch.minimum(least, lengths).clamp(min=1)
    after = torch.maximum((lengths / speeds).round().long(), least)
    steps = torch.arange(int(after.max())).double().unsqueeze(0)
    places = steps * ((lengths - 1).clamp(min=0) / (after - 1).clamp(min=1)).unsqueeze(1)
    places = torch.minimum(places, (lengths - 1).clamp(min=0).unsqueeze(1))
    low = places.floor()
    first = to_device(low.long(), source.device).unsqueeze(-1).expand(-1, -1, source.shape[2])
    part = to_device((places - low).to(source.dtype), source.device).unsqueeze(-1)
    here, there = source.gather(1, first), source.gather(1, (first + 1).clamp(max=source.shape[1] - 1))
    result = torch.where(part > 0, here + part * (there - here), here)
    return result.masked_fill(~inside(after, result).unsqueeze(-1), 0.0), after


def warped(energies: Tensor, factors: Tensor) -> Tensor:
    """Log energies (B, S, D) whose band k is what was at k times a factor (B,)."""
    bands = energies.shape[2]
    places = (torch.arange(bands).double() * factors.unsqueeze(1)).clamp(max=bands - 1)  # (B, D)
    low = places.floor().clamp(max=max(0, bands - 2))
    first = to_device(low.long(), energies.device).unsqueeze(1).expand(-1, energies.shape[1], -1)
    part = to_device((places - low).to(energies.dtype), energies.device).unsqueeze(1)
    here, there = energies.gather(2, first), energies.gather(2, (first + 1).clamp(max=bands - 1))
    return here + part * (there - here)


def bent(shares: Tensor, bands: int) -> Tensor:
    """Shares (B, 3) of a height, a slope and a bend to curves (B, D)."""
    angles = torch.arange(3).double().unsqueeze(1) * torch.arange(bands) * math.pi / max(1, bands - 1)
    return shares @ angles.cos()
