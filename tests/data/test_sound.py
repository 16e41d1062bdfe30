"""Log-mel energies against a slow computation of their definition; a changed rate keeps the tones."""

import math

import numpy as np
import pytest

from seq2seq.data.sound import log_mel, resampled


def by_definition(samples: np.ndarray, rate: int, bands: int) -> np.ndarray:
    """A direct Fourier sum for each frame, and each triangle by its two sides."""
    window, hop, size = round(rate * 0.025), round(rate * 0.010), 1
    while size < 2 * window:
        size *= 2
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = [700 * (10 ** (top * index / (bands + 1) / 2595) - 1) for index in range(bands + 2)]
    rows = []
    for start in range(0, len(samples) - window + 1, hop):
        power = []
        for point in range(size // 2 + 1):
            angles = 2 * np.pi * point * np.arange(window) / size
            shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
            frame = samples[start : start + window] * shape
            power.append((frame @ np.cos(angles)) ** 2 + (frame @ np.sin(angles)) ** 2)
        energies = []
        for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
            total = 0.0
            for point, value in enumerate(power):
                hertz = point * rate / size
                if low < hertz <= middle:
                    total += value * (hertz - low) / (middle - low)
                elif middle < hertz < high:
                    total += value * (high - hertz) / (high - middle)
            energies.append(math.log(max(total, 1e-10)))
        rows.append(energies)
    return np.array(rows)


@pytest.mark.parametrize(("rate", "bands"), [(8000, 40), (11025, 23)])
def test_energies_are_those_of_the_definition(rate: int, bands: int) -> None:
    times = np.arange(round(0.06 * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * 440 * times) + 0.05 * np.random.default_rng(1).normal(size=len(times))
    found = log_mel(sound, rate, bands)
    assert found.shape == (4, bands)
    np.testing.assert_allclose(found, by_definition(sound, rate, bands), atol=1e-4)


def test_silence_and_a_sound_shorter_than_a_frame() -> None:
    assert np.allclose(log_mel(np.zeros(800), 8000, 20), math.log(1e-10))
    assert log_mel(np.ones(3), 8000, 20).shape == (1, 20)


@pytest.mark.parametrize(("own", "rate"), [(44_100, 16_000), (8000, 16_000), (48_000, 8000), (22_050, 8000)])
def test_another_rate_keeps_what_both_hold_and_drops_the_rest(own: int, rate: int) -> None:
    times = np.arange(own // 5) / own
    found = resampled(np.sin(2 * np.pi * 500 * times), own, rate)
    assert len(found) == math.ceil(len(times) * rate / own)
    inner = slice(rate // 50, -rate // 50)
    expected = np.sin(2 * np.pi * 500 * np.arange(len(found)) / rate)
    np.testing.assert_allclose(found[inner], expected[inner], atol=2e-3)
    if own > rate:  # a tone above half the new rate would come back as another
        above = resampled(np.sin(2 * np.pi * 0.62 * rate * times), own, rate)
        assert np.abs(above[inner]).max() < 0.02
