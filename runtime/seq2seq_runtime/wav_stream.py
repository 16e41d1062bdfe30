"""Sound as it arrives: the bytes of a pipe to samples, and samples to frames, in memory that does not grow."""

from typing import NamedTuple

import numpy as np

from seq2seq_runtime.problems import RequestError
from seq2seq_runtime.sound import Resampler, SoundFrames

LONGEST_HEADER = 1 << 20
"""Bytes before the samples of a WAV."""

ENDLESS = 0x7FFF0000
"""Bytes from which the length in a header means that whoever wrote it did not know; so does 0."""

OTHERS = {b"fLaC": "FLAC", b"OggS": "OGG", b"ID3": "MP3", b"RIFX": "RIFX", b"FORM": "AIFF", b"caff": "CAF"}
"""Beginnings of what is no WAV."""

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
"""Kinds of samples in a header; the last one says its kind further below."""

KINDS = {(PCM, 8): "u1", (PCM, 16): "<i2", (PCM, 24): "", (PCM, 32): "<i4", (FLOAT, 32): "<f4", (FLOAT, 64): "<f8"}
"""Kind and bits of the samples that are read; numpy knows none of 24 bits."""


class SampleFormat(NamedTuple):
    """How the bytes of a sound are to be read."""

    rate: int
    """Samples a second."""
    channels: int = 1
    kind: int = PCM
    bits: int = 16

    @property
    def size(self) -> int:
        """Bytes of a sample of all channels."""
        return self.channels * self.bits // 8

    def samples(self, data: bytes) -> np.ndarray:
        """Whole samples as numbers (N,) from -1 to 1, channels averaged."""
        if self.bits == 24:
            wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            values = wide.view("<i4")[:, 0].astype(np.float64) / 2**31
        else:
            values = np.frombuffer(data, KINDS[self.kind, self.bits]).astype(np.float64)
            if self.kind == PCM:
                values = (values - 128) / 128 if self.bits == 8 else values / 2.0 ** (self.bits - 1)
        mean: np.ndarray = values.reshape(-1, self.channels).mean(1)
        return mean


def header_of(data: bytes) -> tuple[SampleFormat, int, int | None] | None:
    """The format of a WAV, where its samples begin, and their bytes, None for no end; None while the header is cut."""
    form, place = None, 12
    while len(data) >= place + 8:
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name == b"data":
            if form is None:
                raise RequestError("the WAV has samples before its format; write it anew")
            return form, place + 8, None if size == 0 or size >= ENDLESS else size
        if place + 8 + size > LONGEST_HEADER:
            raise RequestError("the header of the WAV is damaged, or has more than a megabyte")
        if name == b"fmt " and len(data) >= place + 8 + size:
            form = format_of(data[place + 8 : place + 8 + size])
        place += 8 + size + size % 2
    return None


def format_of(chunk: bytes) -> SampleFormat:
    """What the format chunk of a WAV says."""
    numbers = [int.from_bytes(chunk[at : at + count], "little") for at, count in ((0, 2), (2, 2), (4, 4), (14, 2))]
    kind, channels, rate, bits = numbers
    if kind == EXTENSIBLE:
        kind = int.from_bytes(chunk[24:26], "little")
    if (kind, bits) not in KINDS or len(chunk) < 16:
        raise RequestError(
            f"the WAV has samples of kind {kind} with {bits} bits; send PCM of 8, 16, 24 or 32 bits, or floats"
        )
    if not 1 <= channels <= 64 or not 1000 <= rate <= 768_000:
        raise RequestError(f"the WAV claims {channels} channels and {rate} samples a second")
    return SampleFormat(rate, channels, kind, bits)


class WavStream:
    """A WAV, or 16-bit samples of one channel without a header, as it arrives, to samples at the rate of training."""

    def __init__(self, rate: int) -> None:
        """rate: samples a second of training, and of what has no header."""
        self.rate, self.pending = rate, b""
        self.format: SampleFormat | None = None
        self.left: int | None = None
        """Bytes until the end that a header has claimed."""
        self.begun = False
        """Whether it is known that, or where, the header ends."""
        self.resampler: Resampler | None = None
        self.seen = 0
        """Samples that have arrived."""

    def push(self, data: bytes) -> np.ndarray:
        """What more bytes make: samples (N,)."""
        self.pending += data
        if not self.begun and not self.begin():
            return np.zeros(0)
        form = self.format or SampleFormat(self.rate)
        count = len(self.pending) if self.left is None else min(len(self.pending), self.left)
        count -= count % form.size
        values = form.samples(self.pending[:count])
        if self.left is None:
            self.pending = self.pending[count:]
        else:
            self.left -= count
            self.pending = self.pending[count:] if self.left >= form.size else b""  # what follows is no sound
        if not np.isfinite(values).all():
            where = (self.seen + int(np.flatnonzero(~np.isfinite(values))[0])) / form.rate
            raise RequestError(f"a sample at {where:.3f} seconds is not finite (NaN or infinity)")
        self.seen += len(values)
        return values if self.resampler is None else self.resampler.push(values)

    def begin(self) -> bool:
        """Whether the samples have begun; RequestError for another kind of file."""
        start = self.pending[:4]
        for mark, name in OTHERS.items():
            if start.startswith(mark):
                raise RequestError(f"it is {name}; give WAV or PCM, as ffmpeg -i FILE -f wav - makes it")
        if b"RIFF".startswith(start) or start == b"RIFF":
            if len(self.pending) < 12:
                return False
            if self.pending[8:12] != b"WAVE":
                raise RequestError("it is no WAV, though it begins as one")
            if (found := header_of(self.pending)) is None:
                return False
            self.format, place, self.left = found
            self.pending = self.pending[place:]
        else:
            self.format = SampleFormat(self.rate)
        self.begun = True
        if self.format.rate != self.rate:
            self.resampler = Resampler(self.format.rate, self.rate)
        return True

    def end(self) -> np.ndarray:
        """The rest; RequestError where there was no sound."""
        if not self.begun and self.pending:
            raise RequestError("the header of the WAV is cut; no sound came")
        if not self.seen:
            raise RequestError("it holds no sound")
        return np.zeros(0) if self.resampler is None else self.resampler.end()


def checked(samples: np.ndarray) -> np.ndarray:
    """Samples (N,) from -1 to 1; RequestError for what are none."""
    if samples.dtype.kind in "iub":
        raise RequestError(
            "samples must be numbers from -1 to 1; give whole ones as bytes, or divide them by their most"
        )
    if samples.ndim != 1 or samples.dtype.kind != "f" or not np.isfinite(samples).all():
        raise RequestError("samples must be one row of finite numbers; average the channels first")
    return samples.astype(np.float64)


def samples_of(data: bytes, rate: int) -> np.ndarray:
    """The samples (N,) of a whole WAV at this rate."""
    arriving = WavStream(rate)
    return np.concatenate((arriving.push(data), arriving.end()))


class FrameGroups:
    """Samples as they arrive to groups of neighbouring frames, each as a network's step reads it."""

    def __init__(self, sound: SoundFrames, group: int) -> None:
        """group: frames that make a step."""
        self.sound, self.group = sound, group
        self.waiting, self.made = np.zeros(0), 0
        """Samples that are still needed, and groups so far."""

    def push(self, samples: np.ndarray) -> list[np.ndarray]:
        """The groups (group, bands) that more samples (N,) complete. Each is computed alone, so that it is the same
        however the samples arrive."""
        values = np.concatenate((self.waiting, samples))
        step = self.group * self.sound.hop
        width = step - self.sound.hop + self.sound.window
        count = max(0, (len(values) - width) // step + 1)
        self.waiting, self.made = values[count * step :], self.made + count
        return [self.sound.of(values[place * step : place * step + width]) for place in range(count)]

    def end(self) -> list[np.ndarray]:
        """The last group, which may be smaller; of less than a frame of sound it is a frame filled with silence."""
        if len(self.waiting) < self.sound.window and self.made:
            return []
        return [self.sound.of(self.waiting)] if len(self.waiting) else []
