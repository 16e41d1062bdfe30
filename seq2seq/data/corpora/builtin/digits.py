"""Handwritten digits of scikit-learn: small pictures as sequences of rows, or several side by side as columns.

1,797 pictures of 8 by 8 pixels from 0 to 16, the test part of the optical recognition set of the UCI (Alpaydin and
Kaynak 1998). Which split a picture belongs to is drawn once by its seed; a string of digits takes all its pictures
from its own split.
"""

import functools
from collections.abc import Iterator

import numpy as np

from seq2seq.data.corpora.builtin.generated import Builtin, random_bits
from seq2seq.data.corpora.corpus import SPLITS
from seq2seq.data.number_text import text_of_array
from seq2seq.data.rows import Row
from seq2seq.errors import InputError, check_range

SHARES = (0.7, 0.1, 0.2)
"""Of the pictures for each split."""


class Digits(Builtin):
    """Handwritten digits: the lines of pixels of a picture from above, or its columns from the left, to the digit."""

    def __init__(self, columns: bool = False, seed: int = 1) -> None:
        """columns: read columns of pixels instead of lines; seed: of the splits, 70, 10 and 20 percent."""
        check_range("data.corpus.seed", seed, 0, 1 << 63)
        self.columns, self.seed = columns, seed

    def made(self, split: str) -> Iterator[Row]:
        pictures, digits = pictures_and_digits()
        for number in members(split, self.seed, len(digits)):
            picture = pictures[number].T if self.columns else pictures[number]
            yield Row(text_of_array(picture), str(digits[number]), int(number) + 1, "scikit-learn digits")


class DigitStrings(Builtin):
    """Handwritten digits side by side, as columns of pixels from the left, to the string of digits."""

    def __init__(
        self,
        shortest: int = 3,
        longest: int = 6,
        train_strings: int = 8_000,
        validation_strings: int = 300,
        test_strings: int = 1_000,
        seed: int = 1,
    ) -> None:
        """shortest, longest: digits of a string.

        train_strings, validation_strings, test_strings: how many each split has. seed: of the splits, 70, 10 and 20
        percent of the pictures, and of the strings.
        """
        check_range("data.corpus.shortest", shortest, 1)
        check_range("data.corpus.longest", longest, shortest)
        check_range("data.corpus.seed", seed, 0, 1 << 63)
        counts = train_strings, validation_strings, test_strings
        for name, strings in zip(SPLITS, counts, strict=True):
            check_range(f"data.corpus.{name}_strings", strings, 1)
        self.shortest, self.longest, self.seed = shortest, longest, seed
        self.train_strings, self.validation_strings, self.test_strings = counts

    def made(self, split: str) -> Iterator[Row]:
        pictures, digits = pictures_and_digits()
        mine = members(split, self.seed, len(digits))
        count = getattr(self, f"{split}_strings")
        numbers = random_bits(self.seed, SPLITS.index(split)).random_raw(count * (self.longest + 1)).reshape(count, -1)
        lengths = self.shortest + numbers[:, 0] % np.uint64(self.longest - self.shortest + 1)
        chosen = mine[numbers[:, 1:] % np.uint64(len(mine))]
        for row, (length, indices) in enumerate(zip(lengths.tolist(), chosen, strict=True), 1):
            indices = indices[: int(length)]
            side_by_side = np.concatenate(pictures[indices], axis=1)  # (8, 8 * length)
            yield Row(text_of_array(side_by_side.T), "".join(map(str, digits[indices])), row)


@functools.cache
def pictures_and_digits() -> tuple[np.ndarray, np.ndarray]:
    """The pictures (1797, 8, 8) and their digits (1797,)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as problem:
        raise InputError("the digits come with scikit-learn; pip install scikit-learn") from problem
    bunch = load_digits()
    return bunch.images, bunch.target


def members(split: str, seed: int, count: int) -> np.ndarray:
    """The indices of the pictures of a split, of `count` pictures in all."""
    order = np.argsort(random_bits(seed, len(SPLITS)).random_raw(count), kind="stable")
    ends = np.rint(np.cumsum([0, *SHARES]) * count).astype(int)
    first, after = ends[SPLITS.index(split) :][:2]
    indices: np.ndarray = np.sort(order[first:after])
    return indices
