"""Frames: vectors of sound, many a second, to the vectors that an encoder reads, fewer and masked in training."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.configurable import Settings
from seq2seq.errors import check_range
from seq2seq.models.cells import inside
from seq2seq.models.dropout import Noise, hashed, number_of, row_keys
from seq2seq.models.embedding import Projection
from seq2seq.pinned_copy import to_device

NUMBER = number_of("masking of frames")
"""What tells the random numbers of masks from those of dropout."""


@dataclass(frozen=True)
class Masking(Settings):
    """What training hides of a row's frames, another part at each step (SpecAugment, Park et al. 2019, sec. 2).

    What is hidden is 0, the mean of training. Each mask is drawn anew, from none to its widest.

    Args:
        bands: masks over neighbouring numbers of all frames; 0 for none.
        band_width: the most numbers that one of them hides.
        times: masks over neighbouring frames; 0 for none.
        time_width: the most frames that one of them hides.
    """

    bands: int = 0
    band_width: int = 8
    times: int = 0
    time_width: int = 20

    def __post_init__(self) -> None:
        for name in ("bands", "times"):
            check_range(f"model.masking.{name}", getattr(self, name), 0)
        for name in ("band_width", "time_width"):
            check_range(f"model.masking.{name}", getattr(self, name), 1)

    def hide(self, frames: Tensor, lengths: Tensor, noise: Noise) -> Tensor:
        """Frames (B, S, D) with zeros; lengths (B,) on the CPU. What is hidden hangs on (seed, row) alone."""
        numbers = hashed(row_keys(noise, NUMBER), 2 * (self.bands + self.times))
        shares = (numbers.long() & 0xFFFFFFFF).double() / 2**32  # from 0 to 1, without it
        widths, starts = shares.chunk(2, dim=1)
        size = torch.full_like(lengths, frames.shape[2])
        bands = covered(widths[:, : self.bands], starts[:, : self.bands], self.band_width, size, frames.shape[2])
        times = covered(widths[:, self.bands :], starts[:, self.bands :], self.time_width, lengths, frames.shape[1])
        bands, times = (to_device(mask, frames.device) for mask in (bands, times))
        return frames.masked_fill(bands.unsqueeze(1) | times.unsqueeze(2), 0.0)


def covered(widths: Tensor, starts: Tensor, most: int, lengths: Tensor, size: int) -> Tensor:
    """(B, size), true under one of N masks, whose widths and starts (B, N) are shares of what they may be."""
    lengths = lengths.unsqueeze(1)
    wide = (widths * (lengths.clamp(max=most) + 1)).floor().long()
    first = (starts * (lengths - wide + 1)).floor().long()
    places = torch.arange(size).view(1, 1, -1)
    return ((places >= first.unsqueeze(-1)) & (places < (first + wide).unsqueeze(-1))).any(1)


class Frames(nn.Module):
    """Vectors (B, S, D) to (B, ceil(S / stacking), size): neighbours side by side, through a linear map and tanh."""

    def __init__(
        self, width: int, size: int, stacking: int, masking: Masking, centred: bool = False, running: int = 0
    ) -> None:
        """width: numbers of a frame, D; stacking: frames that become one vector.

        centred: each row has the mean 0; running: as in `less_running_mean`, 0 for none.
        """
        super().__init__()
        self.projection, self.size = Projection(width * stacking, size), size
        self.stacking, self.masking, self.centred, self.running = stacking, masking, centred, running

    def read(self, source: Tensor, lengths: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """What an encoder reads, and how many there are of each row, on the CPU. Zeros fill the last one up."""
        if self.centred:
            source = centred(source, lengths)
        if self.running:
            real = inside(lengths, source).unsqueeze(-1)
            source, _ = less_running_mean(source, self.running, source.new_zeros(len(source), source.shape[2]), 0)
            source = source * real
        return self.read_centred(source, lengths, noise)

    def read_centred(self, source: Tensor, lengths: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """The same of frames that have lost their mean."""
        if self.training and noise is not None and (self.masking.bands or self.masking.times):
            source = self.masking.hide(source, lengths, noise)
        missing = -source.shape[1] % self.stacking
        stacked = functional.pad(source, (0, 0, 0, missing)).view(len(source), -1, self.stacking * source.shape[2])
        return self.projection(stacked), steps_of(lengths, self.stacking)


def centred(source: Tensor, lengths: Tensor) -> Tensor:
    """Frames (B, S, D) without the mean of each row's own ones, which padding does not change."""
    real = inside(lengths, source).unsqueeze(-1)
    count = to_device(lengths.clamp(min=1), source.device).view(-1, 1, 1)
    return (source - (source * real).sum(1, keepdim=True) / count) * real


def less_running_mean(source: Tensor, prior: int, total: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Frames (B, S, D) without the mean of those up to each, beside `prior` frames of zero, the mean of training.

    total (B, D), count: sum and number of the frames before. Returns the sum after them too.
    """
    sums = total.unsqueeze(1) + source.cumsum(1)
    counts = torch.arange(count + 1, count + 1 + source.shape[1], device=source.device).view(1, -1, 1)
    return source - sums / (prior + counts), sums[:, -1]


def steps_of(lengths: Tensor, stacking: int) -> Tensor:
    """(B,) frames to the vectors that they become."""
    return torch.div(lengths + stacking - 1, stacking, rounding_mode="floor")
