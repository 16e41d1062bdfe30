"""Log-mel energies against a slow computation of their definition, cepstra against librosa; rates keep the tones."""

import io
import math
import wave

import numpy as np
import pytest

from seq2seq.data.sound import SoundFrames, cepstrum, changes, log_mel, resampled, wav


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


LIBROSA = {  # librosa 0.11: mfcc(S=log(melspectrogram(..., htk=True, norm=None))), delta(width=5, mode="nearest") twice
    0: [-20.78889, 12.77603, -8.38421, -16.72427, -3.79884, 5.58777, -19.14301, 9.00151, 0.60154, 11.0441, -1.1028,
        -5.08034, 0.38505, 0.15951, -0.6519, -0.49112, 1.15087, 0.18153, -1.54631, -0.54581, 1.12934, 0.57656,
        -0.83552, -0.71525, 0.38189, 0.41136, 0.02306, -0.10153, 0.00845, 0.28536, -0.03655, -0.38545, 0.11441,
        0.37059, -0.11108, -0.27541, 0.07234, 0.16676, 0.0017],
    6: [-19.0757, 6.76034, -9.09958, -2.79334, -7.35573, -10.23849, -14.05232, 21.32101, -3.31151, 2.9059, 0.49187,
        -0.62873, -0.03114, -0.04029, -1.0651, 0.52013, 1.81824, -2.14035, -1.66937, 2.6333, 0.35722, -2.33225,
        0.23788, 1.28411, -0.44817, -0.59675, -0.08057, 0.02698, 0.15765, -0.24304, -0.3567, 0.57234, 0.22123,
        -0.79595, -0.01409, 0.70878, -0.19347, -0.45083, 0.18437],
    12: [-19.66567, 1.97821, -3.69386, 3.34076, -22.14282, -8.5183, -0.87427, 11.23571, -8.36677, 11.98206, -1.46799,
         -4.49495, 2.11262, -0.12687, -0.42291, 0.32249, -0.01844, -1.19277, 0.723, 0.45344, -1.4274, 0.39306, 0.69885,
         -0.87643, 0.00479, 0.35179, -0.00122, 0.06778, -0.19228, -0.19083, 0.33806, -0.07033, -0.37522, 0.23258,
         0.12596, -0.27536, 0.04101, 0.11588, -0.09563],
}  # fmt: skip


def test_cepstrum_and_changes_are_those_of_librosa() -> None:
    times = np.arange(1200) / 8000
    sound = 0.3 * np.sin(2 * np.pi * 440 * times) + 0.2 * np.sin(2 * np.pi * (900 + 3000 * times) * times)
    sound += 0.05 * np.cos(2 * np.pi * 2750 * times)
    base = cepstrum(log_mel(sound, 8000, 23), 13)
    found = np.concatenate([base, changes(base), changes(changes(base))], axis=1)
    assert found.shape == (13, 39)
    for frame, expected in LIBROSA.items():
        np.testing.assert_allclose(found[frame], expected, atol=1e-4)
    np.testing.assert_allclose(SoundFrames(8000, 23, 13, 2).of(sound), found, atol=0.00501)
    assert SoundFrames(8000, 23, deltas=1).of(sound).shape == (13, 46)


def test_a_clip_holds_the_samples() -> None:
    with wave.open(io.BytesIO(wav(np.array([0.0, 0.5, -2.0]), 8000))) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 1)
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [0, 16384, -32767]
