"""Digits as a telephone dials them: two tones at once for each, in noise, to the digits. The smallest recordings."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from seq2seq.data.corpora.builtin.generated import PATIENCE, Builtin, random_bits, split_of
from seq2seq.data.corpora.corpus import SPLITS
from seq2seq.data.lines import JOINER
from seq2seq.data.number_text import text_of_array
from seq2seq.data.rows import Row, Texts
from seq2seq.data.segments import Segment, labels_of
from seq2seq.data.sound import SoundFrames
from seq2seq.errors import InputError, check_range

RATE, BANDS = 4000, 24
"""Samples a second, and numbers of a frame."""

LOW, HIGH = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0)
"""Hertz of the lines and columns of a telephone's keys (ITU-T Q.23)."""

KEYS = "123456789*0#"

TONE, GAP = (0.05, 0.15), (0.02, 0.15)
"""Seconds of a digit, and of what stands between two."""

OUT_OF_TUNE = 0.03
"""By which share a telephone's tones are at most too high or too low."""


class Call(NamedTuple):
    """What a telephone has dialled."""

    digits: list[int]
    samples: np.ndarray
    segments: list[Segment]
    """Of each digit, in seconds."""


class Tones(Builtin):
    """Dialled numbers as log-mel energies, 24 every 10 ms, to their digits, separated by spaces.

    Each row is another telephone, out of tune, with a speed and a noise of its own. No number is in two splits.
    """

    def __init__(
        self,
        shortest: int = 3,
        longest: int = 7,
        noise: float = 0.5,
        train: int = 2_000,
        validation: int = 200,
        test: int = 500,
        seed: int = 1,
    ) -> None:
        """shortest, longest: digits of a row.

        noise: the most of a row's noise, as a share of a tone's height. train, validation, test: rows of each split.
        """
        check_range("data.corpus.shortest", shortest, 1)
        check_range("data.corpus.longest", longest, shortest, 100)
        check_range("data.corpus.noise", noise, 0, 10)
        check_range("data.corpus.seed", seed, 0, 1 << 63)
        for name, rows in zip(SPLITS, (train, validation, test), strict=True):
            check_range(f"data.corpus.{name}", rows, 1)
        self.train, self.validation, self.test, self.seed = train, validation, test, seed
        self.shortest, self.longest, self.noise = shortest, longest, noise

    @property
    def sound(self) -> SoundFrames:
        return SoundFrames(RATE, BANDS)

    def made(self, split: str) -> Iterator[Row]:
        for number, call in enumerate(self.dialled(split), 1):
            frames = self.sound.of(call.samples)
            yield Row(text_of_array(frames), self.target(call, len(frames)), number)

    def target(self, call: Call, frames: int) -> str:
        """What is to be written of a call."""
        return text_of(call.digits)

    def recorded(self, split: str, texts: Texts, rows: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        wanted = set(rows)
        for row, call in enumerate(itertools.islice(self.dialled(split), max(wanted, default=-1) + 1)):
            if row in wanted:
                yield row, call.samples

    def dialled(self, split: str) -> Iterator[Call]:
        """The call of each row."""
        random, wanted, number = random_bits(self.seed, SPLITS.index(split)), getattr(self, split), 0
        barren = 0
        while number < wanted:
            if barren == PATIENCE:
                raise InputError(f"{self!r} has too few numbers for its {split} split; change data.corpus")
            barren += 1
            digits = self.digits(random)
            if split_of(text_of(digits)) == split:
                number, barren = number + 1, 0
                yield self.call(digits, random)

    def digits(self, random: np.random.Philox) -> list[int]:
        """The digits of a row."""
        numbers = random.random_raw(self.longest + 1)
        count = self.shortest + int(numbers[0] % np.uint64(self.longest - self.shortest + 1))
        digits: list[int] = (numbers[1 : count + 1] % np.uint64(10)).tolist()
        return digits

    def call(self, digits: list[int], random: np.random.Philox) -> Call:
        """How a telephone dials them."""
        high, height = 1 + OUT_OF_TUNE * (2 * shares(random, 1)[0] - 1), self.noise * shares(random, 1)[0]
        pieces, segments = [silence(random)], list[Segment]()
        for digit in digits:
            line, column = divmod(KEYS.index(str(digit)), 3)
            times = 2 * np.pi * high * np.arange(drawn_length(random, TONE)) / RATE
            before = sum(map(len, pieces))
            segments.append(Segment(before / RATE, (before + len(times)) / RATE, str(digit)))
            pieces += [(np.sin(LOW[line] * times) + np.sin(HIGH[column] * times)) / 2, silence(random)]
        sound = np.concatenate(pieces)
        sound += height * (2 * shares(random, len(sound)) - 1)
        return Call(digits, sound, segments)


class ToneSegments(Tones):
    """The same sounds to a label for each frame, separated by tabs: the digit that sounds in its middle, or none."""

    def target(self, call: Call, frames: int) -> str:
        return JOINER.join(labels_of(call.segments, frames, self.sound, "none"))


def shares(random: np.random.Philox, count: int) -> np.ndarray:
    """(count,) random numbers from 0 to 1."""
    numbers: np.ndarray = random.random_raw(count) / 2.0**64
    return numbers


def drawn_length(random: np.random.Philox, seconds: tuple[float, float]) -> int:
    """Samples of a random time between two."""
    low, high = seconds
    return round(RATE * (low + (high - low) * float(shares(random, 1)[0])))


def silence(random: np.random.Philox) -> np.ndarray:
    """What stands between two digits."""
    return np.zeros(drawn_length(random, GAP))


def text_of(digits: list[int]) -> str:
    """The digits as text."""
    return " ".join(map(str, digits))
