"""Sound as numbers: samples of a file at one rate, and the energies of its bands over time.

The numbers of a frame are log-mel energies: of 25 ms every 10 ms, through a Hann window, the power spectrum in
triangles that are equally wide on the mel scale (Davis and Mermelstein 1980), as natural logarithms.
"""

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from seq2seq.errors import InputError

WINDOW, HOP = 0.025, 0.010
"""Seconds of a frame, and from one to the next."""

FLOOR = 1e-10
"""The least energy, of digital silence."""

CROSSINGS = 16
"""Zero crossings on each side of the filter that changes the rate."""

PASSED = 0.95
"""The share of the lower rate's frequencies that the filter lets through."""


def samples_of(path: Path, rate: int, start: float | None = None, end: float | None = None) -> tuple[np.ndarray, int]:
    """The samples (N,) of a sound file from -1 to 1 at `rate` a second, channels averaged, and the file's own rate.

    start, end: seconds of a part; None for the whole. Raises InputError for what is no sound.
    """
    try:
        import soundfile
    except (ImportError, OSError) as problem:  # its library may lack, too
        raise InputError(f"sound is read by soundfile ({problem}); pip install soundfile") from problem
    if not path.is_file():
        raise InputError(f"{path} is missing; check the table and data.path")
    try:
        with soundfile.SoundFile(path) as file:
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


def resampled(samples: np.ndarray, own: int, rate: int) -> np.ndarray:
    """Samples (N,) taken `own` times a second as those of `rate` times, by a windowed sinc (Smith 1984).

    There are ceil(N * rate / own) of them.
    """
    if own == rate:
        return samples
    common = math.gcd(own, rate)
    up, down = rate // common, own // common
    cutoff = PASSED * min(1.0, up / down)  # in half of the file's own rate
    reach = math.ceil(CROSSINGS / cutoff)
    # Sample q * up + p of the result lies at q * down + p * down / up of the file.
    places = torch.arange(-reach, reach + down + 1, dtype=torch.float64)
    distances = places - torch.arange(up, dtype=torch.float64).unsqueeze(1) * down / up  # (up, taps)
    window = torch.cos(distances.clamp(-reach, reach) * math.pi / (2 * reach)).square()
    taps = cutoff * torch.sinc(cutoff * distances) * window
    padded = functional.pad(torch.from_numpy(samples), (reach, reach + 2 * down))
    phases = functional.conv1d(padded.view(1, 1, -1), taps.unsqueeze(1), stride=down)[0]  # (up, blocks)
    count = -(-len(samples) * up // down)
    result: np.ndarray = phases.T.flatten()[:count].numpy()
    return result


def log_mel(samples: np.ndarray, rate: int, bands: int) -> np.ndarray:
    """Samples (N,) to log-mel energies (T, bands); a sound that is shorter than a frame is filled up with silence."""
    window, hop = round(WINDOW * rate), round(HOP * rate)
    size = transform_size(rate)
    values = torch.from_numpy(np.pad(samples.astype(np.float64), (0, max(0, window - len(samples)))))
    steps = values.unfold(0, window, hop) * torch.hann_window(window, periodic=True, dtype=torch.float64)
    power = torch.fft.rfft(steps, n=size).abs().square()  # (T, size / 2 + 1)
    energies: np.ndarray = (power @ torch.from_numpy(triangles(rate, bands))).clamp(min=FLOOR).log().numpy()
    return energies


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
