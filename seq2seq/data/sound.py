"""Sound as numbers: samples of a file at one rate, and the energies of its bands over time.

The numbers of a frame are log-mel energies: of 25 ms every 10 ms, through a Hann window, the power spectrum in
triangles that are equally wide on the mel scale (Davis and Mermelstein 1980), as natural logarithms. Their cosine
transform is the mel-frequency cepstrum (MFCC).
"""

import io
import math
import wave
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from seq2seq.errors import InputError

WINDOW, HOP = 0.025, 0.010
"""Seconds of a frame, and from one to the next."""

FLOOR = 1e-10
"""The least energy, of digital silence."""

SILENCE = 1e-4
"""The height below which all samples of a silent sound are: some of the last bits of 16."""

FULL = 0.99
"""The height above which three equal samples, one after the other, are clipped."""

MOST_CLIPPED = 0.001
"""The share of clipped samples that is no accident."""

DECIMALS = 2
"""Of the energies: steps of a hundredth, where speech has deviations of several units."""

MOST_TAPS = 20_000_000
"""Numbers of the filter that changes the rate: rates that have nothing in common need more."""

CROSSINGS = 16
"""Zero crossings on each side of the filter that changes the rate."""

PASSED = 0.95
"""The share of the lower rate's frequencies that the filter lets through."""

REACH = 2
"""Frames on each side of one that its change over time is taken from."""


def samples_of(path: Path, rate: int, start: float | None = None, end: float | None = None) -> tuple[np.ndarray, int]:
    """The samples (N,) of a sound file from -1 to 1 at `rate` a second, channels averaged, and the file's own rate.

    start, end: seconds of a part; None for the whole. Raises InputError for what is no sound.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; check the table and data.path")
    return samples_in(path, str(path), rate, start, end)


def samples_in(
    sound: Path | BinaryIO, path: str, rate: int, start: float | None = None, end: float | None = None
) -> tuple[np.ndarray, int]:
    """The same of an open file; path: what messages call it."""
    try:
        import soundfile
    except (ImportError, OSError) as problem:  # its library may lack, too
        raise InputError(f"sound is read by soundfile ({problem}); pip install soundfile") from problem
    try:
        with soundfile.SoundFile(sound) as file:
            own, length = file.samplerate, file.frames
            first = 0 if start is None else round(start * own)
            last = length if end is None else round(end * own)
            if not 0 <= first < last <= length:
                raise InputError(
                    f"{path} has {length / own:.3f} seconds, which hold no part from {first / own:.3f} to "
                    f"{last / own:.3f}; fix start and end, or drop the row"
                )
            file.seek(first)
            values = file.read(last - first, dtype="float64", always_2d=True)
    except InputError:
        raise
    except Exception as problem:  # soundfile's own, and whatever a hostile header makes of numbers
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        raise InputError(f"{path} is no sound that can be read ({reason}); write it anew as WAV or FLAC") from problem
    if len(values) != last - first:
        raise InputError(f"{path} holds {len(values)} of the {last - first} samples that its header claims; it is cut")
    if not np.isfinite(values).all():
        raise InputError(f"{path} holds samples that are not finite (NaN or infinity); write it anew")
    return resampled(values.mean(1), own, rate), own


def is_clipped(samples: np.ndarray) -> bool:
    """Whether more than one in a thousand of the samples (N,) stand in a row of equal ones at full height."""
    if len(samples) < 3:
        return False
    high = np.abs(samples) >= FULL
    flat = high[2:] & (samples[2:] == samples[1:-1]) & (samples[1:-1] == samples[:-2])
    return bool(flat.sum() > MOST_CLIPPED * len(samples))


def resampled(samples: np.ndarray, own: int, rate: int) -> np.ndarray:
    """Samples (N,) taken `own` times a second as those of `rate` times: ceil(N * rate / own) of them."""
    if own == rate:
        return samples
    changing = Resampler(own, rate)
    return np.concatenate((changing.push(samples), changing.end()))


class Resampler:
    """Samples at one rate to those at another as they arrive, by a windowed sinc (Smith 1984)."""

    def __init__(self, own: int, rate: int) -> None:
        """own: samples a second that arrive; rate: that are made."""
        common = math.gcd(own, rate)
        self.up, self.down = rate // common, own // common
        cutoff = PASSED * min(1.0, self.up / self.down)  # in half of the own rate
        self.reach = reach = math.ceil(CROSSINGS / cutoff)
        self.width = 2 * reach + self.down + 1
        if self.up * self.width > MOST_TAPS:
            raise InputError(f"{own} samples a second cannot become {rate}; bring the sound to a usual rate")
        # Sample q * up + p of the result lies at q * down + p * down / up of what arrives.
        places = torch.arange(-reach, reach + self.down + 1, dtype=torch.float64)
        distances = places - torch.arange(self.up, dtype=torch.float64).unsqueeze(1) * self.down / self.up
        window = torch.cos(distances.clamp(-reach, reach) * math.pi / (2 * reach)).square()
        self.taps = cutoff * torch.sinc(cutoff * distances) * window  # (up, width)
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
        used = torch.from_numpy(values[: (blocks - 1) * self.down + self.width])
        phases = functional.conv1d(used.view(1, 1, -1), self.taps.unsqueeze(1), stride=self.down)[0]  # (up, blocks)
        result: np.ndarray = phases.T.flatten().numpy()
        return result


class SoundFrames(NamedTuple):
    """What a frame of sound is in a corpus."""

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

    def of(self, samples: np.ndarray) -> np.ndarray:
        """Samples (N,) to frames (T, D)."""
        frames = [log_mel(samples, self.rate, self.bands)]
        if self.coefficients:
            frames = [cepstrum(frames[0], self.coefficients)]
        for _ in range(self.deltas):
            frames.append(changes(frames[-1]))
        result: np.ndarray = np.round(np.concatenate(frames, axis=1), DECIMALS)
        return result

    def middle(self, frame: int) -> float:
        """The second in the middle of a frame, counted from 0."""
        return (frame * self.hop + self.window / 2) / self.rate

    def between(self, frame: int) -> float:
        """The second between the middles of a frame and of the one before it; 0 before the first."""
        return self.middle(frame) - self.hop / self.rate / 2 if frame else 0.0

    def seconds(self, frames: int) -> float:
        """Of so many frames."""
        return ((frames - 1) * self.hop + self.window) / self.rate

    def first_after(self, second: float) -> int:
        """The first frame whose middle is not before a second."""
        return math.ceil((second * self.rate - self.window / 2) / self.hop - 1e-9)


def log_mel(samples: np.ndarray, rate: int, bands: int) -> np.ndarray:
    """Samples (N,) to log-mel energies (T, bands); a sound that is shorter than a frame is filled up with silence."""
    window, hop = round(WINDOW * rate), round(HOP * rate)
    size = transform_size(rate)
    values = torch.from_numpy(np.pad(samples.astype(np.float64), (0, max(0, window - len(samples)))))
    steps = values.unfold(0, window, hop) * torch.hann_window(window, periodic=True, dtype=torch.float64)
    power = torch.fft.rfft(steps, n=size).abs().square()  # (T, size / 2 + 1)
    energies: np.ndarray = (power @ torch.from_numpy(triangles(rate, bands))).clamp(min=FLOOR).log().numpy()
    return energies


def cepstrum(energies: np.ndarray, coefficients: int) -> np.ndarray:
    """Log energies (T, bands) to the first coefficients (T, coefficients) of their orthonormal cosine transform."""
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


def wav(samples: np.ndarray, rate: int) -> bytes:
    """Samples (N,) from -1 to 1 as a WAV of 16 bits."""
    whole, file = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2"), io.BytesIO()
    with wave.open(file, "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(rate)
        opened.writeframes(whole.tobytes())
    return file.getvalue()


def transform_size(rate: int) -> int:
    """Points of the Fourier transform: a power of two, twice the window or more, so that each band has a point."""
    return 1 << math.ceil(math.log2(2 * round(WINDOW * rate)))


def mel(hertz: float) -> float:
    """The mel scale (O'Shaughnessy 1987)."""
    return 2595 * math.log10(1 + hertz / 700)


@cache
def triangles(rate: int, bands: int) -> np.ndarray:
    """(points, bands) how much each point of the power spectrum counts in each band, from 0 to half the rate."""
    edges = 700 * (10 ** (np.linspace(0, mel(rate / 2), bands + 2) / 2595) - 1)
    points = np.arange(transform_size(rate) // 2 + 1)[:, None] * rate / transform_size(rate)
    rising = (points - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - points) / (edges[2:] - edges[1:-1])
    weights: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    return weights
