"""Corpora made of random numbers, on which one sees how long a network remembers: copying, reversal, adding.

Within a split a source may occur twice.
"""

from collections.abc import Iterator

import numpy as np

from seq2seq.data.corpora.builtin.generated import Generated
from seq2seq.errors import check_range

BLOCK = 1000
"""Rows drawn at once."""

EARLY = 10
"""The first marked digit of the adding problem is one of that many."""


class Synthetic(Generated):
    """A corpus of random symbols; a subclass says how many random numbers a row takes and what it makes of them."""

    writes = ("numbers", "pairs")

    def __init__(self, length: int, symbols: int, train: int, validation: int, test: int, seed: int) -> None:
        check_range("data.corpus.length", length, 1)
        check_range("data.corpus.symbols", symbols, 2, 1 << 20)
        super().__init__(train, validation, test, seed)
        self.length, self.symbols = length, symbols

    def numbers(self) -> int:
        """Random numbers for one row."""
        raise TypeError(f"{type(self).__name__} does not say how many random numbers a row takes")

    def pairs(self, numbers: np.ndarray) -> Iterator[tuple[str, str]]:
        """Random 64-bit numbers (rows, `numbers`) to sources and targets."""
        raise TypeError(f"{type(self).__name__} does not say how to make rows")

    def drawn(self, random: np.random.Philox) -> Iterator[tuple[str, str]]:
        while True:
            yield from self.pairs(random.random_raw(BLOCK * self.numbers()).reshape(BLOCK, self.numbers()))


class Copying(Synthetic):
    """A random sequence of symbols; the target is the source. Every token must pass through the fixed vector."""

    def __init__(
        self,
        length: int = 20,
        shortest: int | None = None,
        symbols: int = 8,
        train: int = 20_000,
        validation: int = 500,
        test: int = 1_000,
        seed: int = 1,
    ) -> None:
        """length: tokens of a row; shortest: the fewest tokens of a row, null for `length` always.

        symbols: different tokens; train, validation, test: rows of each split.
        """
        super().__init__(length, symbols, train, validation, test, seed)
        if shortest is not None:
            check_range("data.corpus.shortest", shortest, 1, length)
        self.shortest = shortest

    def numbers(self) -> int:
        return self.length + 1  # the first one says how long the row is

    def pairs(self, numbers: np.ndarray) -> Iterator[tuple[str, str]]:
        least = self.length if self.shortest is None else self.shortest
        lengths = least + numbers[:, 0] % np.uint64(self.length - least + 1)
        names = [str(symbol) for symbol in range(self.symbols)]
        for row, length in zip((numbers[:, 1:] % np.uint64(self.symbols)).tolist(), lengths.tolist(), strict=True):
            tokens = [names[symbol] for symbol in row[: int(length)]]
            yield " ".join(tokens), " ".join(self.answer(tokens))

    def answer(self, tokens: list[str]) -> list[str]:
        """The target's tokens."""
        return tokens


class Reversal(Copying):
    """The same; the target is the source backwards, so that what was read last is written first."""

    def answer(self, tokens: list[str]) -> list[str]:
        return tokens[::-1]


class Adding(Synthetic):
    """The adding problem (Hochreiter and Schmidhuber 1997, exp. 5.4) in symbols.

    Two digits of the sequence are marked with a plus, one among the first ten, another within the first half; the
    target is their sum, one token. The half of the source after them is noise. The paper adds real numbers; a source
    here is made of symbols, so this is the discrete form: digits, and a sum that is right or wrong. Rows are of one
    length, not up to a tenth longer.
    """

    def __init__(
        self,
        length: int = 20,
        symbols: int = 10,
        train: int = 20_000,
        validation: int = 500,
        test: int = 1_000,
        seed: int = 1,
    ) -> None:
        """length: digits of a row; symbols: digits go from 0 to symbols - 1, sums to twice that.

        train, validation, test: rows of each split.
        """
        check_range("data.corpus.length", length, 4)
        super().__init__(length, symbols, train, validation, test, seed)

    def numbers(self) -> int:
        return self.length + 2  # the last two say which digits are marked

    def pairs(self, numbers: np.ndarray) -> Iterator[tuple[str, str]]:
        half = self.length // 2
        first = numbers[:, -2] % np.uint64(min(EARLY, half))
        second = numbers[:, -1] % np.uint64(half - 1)
        second += second >= first  # another one
        names = [str(digit) for digit in range(self.symbols)]
        digits = (numbers[:, :-2] % np.uint64(self.symbols)).tolist()
        for row, one, other in zip(digits, first.tolist(), second.tolist(), strict=True):
            tokens = [names[digit] for digit in row]
            tokens[one], tokens[other] = f"+{row[one]}", f"+{row[other]}"
            yield " ".join(tokens), str(row[one] + row[other])
