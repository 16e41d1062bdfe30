"""Sound as numbers, as seq2seq makes them, with numpy alone: samples at one rate, and frames of their energies.

A frame is log-mel energies: of 25 ms every 10 ms, through a Hann window, the power spectrum in triangles that are
equally wide on the mel scale, as natural logarithms; or their cosine transform, the cepstrum.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from seq2seq_runtime.problems import RequestError

WINDOW, HOP = 0.025, 0.010
"""Seconds of a frame, and from one to the next."""

FLOOR = 1e-10
"""The least energy, of digital silence."""

DECIMALS = 2
"""Of the energies."""

REACH = 2
"""Frames on each side of one that its change over time is taken from."""

MOST_TAPS = 20_000_000
"""Numbers of the filter that changes the rate: rates that have nothing in common need more."""

CROSSINGS = 16
"""Zero crossings on each side of the filter that changes the rate."""

PASSED = 0.95
"""The share of the lower rate's frequencies that the filter lets through."""

AT_ONCE = 1 << 22
"""Numbers that are multiplied by the filter, or transformed, at once."""


class SoundFrames(NamedTuple):
    """What a frame of sound is."""

    rate: int
    """Samples a second."""
    bands: int
    """On the mel scale."""
    coefficients: int = 0
    """The first ones of the cepstrum that stand for the bands; 0 for the bands themselves."""
    deltas: int = 0
    """How often the change over time of all numbers stands behind them."""

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return round(WINDOW * self.rate)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(HOP * self.rate)

    @property
    def width(self) -> int:
        """Numbers of a frame."""
        return (self.coefficients or self.bands) * (1 + self.deltas)

    def of(self, samples: np.ndarray) -> np.ndarray:
        """Samples (N,) to frames (T, D); a sound that is shorter than a frame is filled up with silence."""
        samples = np.pad(samples.astype(np.float64), (0, max(0, self.window - len(samples))))
        windows = sliding_window_view(samples, self.window)[:: self.hop]
        at_once = max(1, AT_ONCE // transform_size(self.rate))
        starts = range(0, len(windows), at_once)
        frames = [np.concatenate([self.energies(windows[start : start + at_once]) for start in starts])]
        if self.coefficients:
            frames = [cepstrum(frames[0], self.coefficients)]
        for _ in range(self.deltas):
            frames.append(changes(frames[-1]))
        result: np.ndarray = np.round(np.concatenate(frames, axis=1), DECIMALS)
        return result

    def energies(self, windows: np.ndarray) -> np.ndarray:
        """Samples (T, window) to log-mel energies (T, bands)."""
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
        power = np.square(np.abs(np.fft.rfft(windows * hann, transform_size(self.rate))))
        result: np.ndarray = np.log(np.maximum(power @ triangles(self.rate, self.bands), FLOOR))
        return result


def cepstrum(energies: np.ndarray, coefficients: int) -> np.ndarray:
    """Log energies (T, bands) to the first coefficients of their orthonormal cosine transform."""
    bands = energies.shape[1]
    orders = np.arange(coefficients)
    waves = np.cos(np.pi / bands * (np.arange(bands)[:, None] + 0.5) * orders)
    result: np.ndarray = energies @ (waves * np.where(orders, math.sqrt(2 / bands), math.sqrt(1 / bands)))
    return result


def changes(frames: np.ndarray) -> np.ndarray:
    """Frames (T, D) to their slopes over time (T, D): lines through REACH frames on each side, whose ends repeat."""
    padded = np.pad(frames, ((REACH, REACH), (0, 0)), mode="edge")
    steps = range(1, REACH + 1)
    sums = sum(step * (padded[REACH + step :][: len(frames)] - padded[REACH - step :][: len(frames)]) for step in steps)
    return np.asarray(sums / (2 * sum(step * step for step in steps)))


def transform_size(rate: int) -> int:
    """Points of the Fourier transform: a power of two, twice the window or more."""
    return 1 << math.ceil(math.log2(2 * round(WINDOW * rate)))


@cache
def triangles(rate: int, bands: int) -> np.ndarray:
    """(points, bands) how much each point of the power spectrum counts in each band, from 0 to half the rate."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + rate / 2 / 700), bands + 2) / 2595) - 1)
    points = np.arange(transform_size(rate) // 2 + 1)[:, None] * rate / transform_size(rate)
    rising = (points - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - points) / (edges[2:] - edges[1:-1])
    weights: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    return weights


def resampled(samples: np.ndarray, own: int, rate: int) -> np.ndarray:
    """Samples (N,) taken `own` times a second as those of `rate` times: ceil(N * rate / own) of them."""
    if own == rate:
        return samples
    changing = Resampler(own, rate)
    return np.concatenate((changing.push(samples), changing.end()))


class Resampler:
    """Samples at one rate to those at another as they arrive, by a windowed sinc."""

    def __init__(self, own: int, rate: int) -> None:
        """own: samples a second that arrive; rate: that are made."""
        common = math.gcd(own, rate)
        self.up, self.down = rate // common, own // common
        cutoff = PASSED * min(1.0, self.up / self.down)  # in half of the own rate
        self.reach = reach = math.ceil(CROSSINGS / cutoff)
        self.width = 2 * reach + self.down + 1
        if self.up * self.width > MOST_TAPS:
            raise RequestError(f"{own} samples a second cannot become {rate}; bring the sound to a usual rate")
        # Sample q * up + p of the result lies at q * down + p * down / up of what arrives.
        distances = np.arange(-reach, reach + self.down + 1) - np.arange(self.up)[:, None] * self.down / self.up
        window = np.square(np.cos(np.clip(distances, -reach, reach) * math.pi / (2 * reach)))
        self.taps = cutoff * np.sinc(cutoff * distances) * window  # (up, width)
        self.waiting, self.read, self.made = np.zeros(reach), 0, 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """What more samples (N,) make, which need not be all that belongs to them."""
        self.read += len(samples)
        result = self.filtered(samples)
        self.made += len(result)
        return result

    def end(self) -> np.ndarray:
        """The rest, where silence follows."""
        count = -(-self.read * self.up // self.down) - self.made
        return self.filtered(np.zeros(self.reach + 2 * self.down))[:count]

    def filtered(self, samples: np.ndarray) -> np.ndarray:
        """All whole blocks of `up` samples."""
        values = np.concatenate((self.waiting, samples))
        blocks = max(0, (len(values) - self.width) // self.down + 1)
        self.waiting = values[blocks * self.down :]
        if not blocks:
            return np.zeros(0)
        windows = sliding_window_view(values, self.width)[:: self.down][:blocks]
        at_once = max(1, AT_ONCE // self.width)
        parts = [windows[start : start + at_once] @ self.taps.T for start in range(0, blocks, at_once)]
        result: np.ndarray = np.concatenate(parts).ravel()
        return result
