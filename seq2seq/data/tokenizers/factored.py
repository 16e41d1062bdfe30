"""Tokens that carry features, of their row (its language) or their own (a part of speech): one id holds all of it."""

import json
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import cache

import numpy as np

from seq2seq.data.lines import DIVIDER
from seq2seq.data.tokenizers.base import (
    EOS,
    PAD,
    SPECIAL,
    UNK,
    Tokenizer,
    check_separator,
    damaged,
    one_line,
    pack,
    strings,
    unpack,
)
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.units import Separated, TokenIds
from seq2seq.errors import InputError, check_range

FIRST = 2
"""The number of a feature's first value; 0 is no value, which special tokens have, and UNK one that training lacks."""

MOST = 1 << 31
"""Ids are kept in 32 bits."""

Values = tuple[str, ...]
"""One value of each feature."""


class Features(Tokenizer):
    """Another tokenizer's tokens with features: with sizes (V, F1, F2, ...), an id is token + V * (f1 + F1 * (f2 ...)).

    The values of a feature are a closed set, all that training has.
    """

    unknown = "<unk>"
    """How an unknown value is shown."""

    def __init__(self, text: Tokenizer, features: int) -> None:
        """text: the tokenizer of what carries the features; features: how many there are."""
        check_range("data.tokenizer.features", features, 1)
        if text.width is not None:
            raise InputError(f"data.tokenizer.text is {text!r}, but vectors carry no features; choose such as Words")
        self.text, self.features = text, features
        self._names: list[Values] = []
        self._numbers: list[TokenIds] = []

    def stripped(self, texts: Iterable[str], seen: set[Values]) -> Iterator[str]:
        """The texts without their features, which are added to `seen`."""
        raise TypeError(f"{type(self).__name__} does not say where its features stand")

    def train(self, texts: Iterable[str]) -> None:
        seen: set[Values] = set()
        self.text.train(self.stripped(texts, seen))
        self._number([tuple(sorted({values[feature] for values in seen})) for feature in range(self.features)])

    def _number(self, names: list[Values]) -> None:
        """Learn the values of each feature."""
        self._names = names
        self._numbers = [TokenIds({name: number for number, name in enumerate(values, FIRST)}) for values in names]
        if math.prod(self.sizes) > MOST:
            counts = " x ".join(map(str, self.sizes))
            raise InputError(f"{counts} tokens and features have more than 2^31 ids; drop a feature or rare values")

    @property
    def names(self) -> Sequence[Values]:
        """The values of each feature, in the order of their ids, the first of which is 2."""
        return self._names

    @property
    def sizes(self) -> tuple[int, ...]:
        return (*self.text.sizes, *(FIRST + len(values) for values in self._names))

    @property
    def row_names(self) -> list[list[Hashable]]:
        return [*self.text.row_names, *([*range(FIRST), *values] for values in self._names)]

    def __len__(self) -> int:
        return math.prod(self.sizes)

    def shift(self, values: Values) -> int:
        """What is added to the id of a token with these features."""
        code = 0
        for numbers, value in zip(reversed(self._numbers), reversed(values), strict=True):
            code = code * (FIRST + len(numbers)) + numbers[value]
        return code * len(self.text)

    def values(self, number: int) -> list[str]:
        """The features of an id, as they are shown."""
        code, shown = number // len(self.text), []
        for names in self._names:
            code, value = divmod(code, FIRST + len(names))
            shown.append(one_line(names[value - FIRST]) if value >= FIRST else self.unknown * (value == UNK))
        return shown

    @property
    def unwritable(self) -> np.ndarray:
        """Besides what the tokenizer of the text never writes: an end with features, others with none or an unknown."""
        sizes = self.sizes[len(self.text.sizes) :]
        known = np.all([value >= FIRST for value in np.unravel_index(np.arange(math.prod(sizes)), sizes[::-1])], axis=0)
        tokens = np.ones(len(self.text), dtype=bool)
        tokens[self.text.unwritable] = False
        writable = known[:, None] & tokens  # (features, tokens)
        writable[:, EOS] = np.arange(len(known)) == 0
        return np.flatnonzero(~writable)

    def unknown_among(self, ids: np.ndarray) -> np.ndarray:
        code, tokens = np.divmod(ids.astype(np.int64), len(self.text))
        unknown = self.text.unknown_among(tokens)
        for names in self._names:
            code, value = np.divmod(code, FIRST + len(names))
            unknown |= value == UNK
        return unknown

    @property
    def state(self) -> bytes:
        return pack([self.text.state, *(json.dumps(names).encode() for names in self._names)])

    def restore(self, state: bytes) -> None:
        text, *lists = unpack(self, state, 1 + self.features)
        self.text.restore(text)
        names = [tuple(strings(self, values)) for values in lists]
        if not all(values and len(set(values)) == len(values) for values in names):
            raise damaged(self, "each feature must list values, each of them once")
        self._number(names)


class RowFeatures(Features):
    """Columns between tabs, features of the row and then its text: each token carries them, such as the language."""

    def __init__(self, text: Tokenizer, features: int = 1) -> None:
        """text: the tokenizer of the last column; features: how many columns stand before it."""
        if isinstance(text, RowFeatures):
            raise InputError("data.tokenizer.text is RowFeatures again; raise data.tokenizer.features instead")
        super().__init__(text, features)
        self._tabs = isinstance(text, Columns) or getattr(text, "separator", None) == "\t"

    def check(self, text: str) -> None:
        self.text.check(self._row(text)[1])

    def unknown_values(self, text: str) -> list[str]:
        values, alone = self._row(text)
        pairs = zip(values, self._numbers, strict=True)
        return [value for value, numbers in pairs if numbers[value] == UNK] + self.text.unknown_values(alone)

    def _row(self, text: str) -> tuple[Values, str]:
        """The features of a row and its text, with tabs only if they separate the text's tokens."""
        *values, alone = text.split("\t", self.features)
        if len(values) < self.features or ("\t" in alone and not self._tabs):
            raise InputError(
                f"{text!r} has {text.count(chr(9)) + 1} columns between tabs, but {self.features + 1} are expected: "
                f"data.tokenizer.features, which is {self.features}, and the text"
            )
        return tuple(values), alone

    def stripped(self, texts: Iterable[str], seen: set[Values]) -> Iterator[str]:
        for text in texts:
            values, alone = self._row(text)
            seen.add(values)
            yield alone

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        rows, shift = [self._row(text) for text in texts], cache(self.shift)
        shifts, encoded = [shift(values) for values, _ in rows], self.text.encode([alone for _, alone in rows])
        return [[number + more for number in ids] for ids, more in zip(encoded, shifts, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """The features of the first token that has some, and the text."""
        size = len(self.text)
        first = next((number for number in ids if number >= size), PAD)
        text = self.text.decode([number % size for number in ids])
        return "\t".join([*self.values(first), text if self._tabs else text.replace("\t", " ")])

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token by itself, without the features that all of them share."""
        return self.text.pieces([number % len(self.text) for number in ids])

    @property
    def samples(self) -> bool:
        return self.text.samples

    def sample(self, text: str, random: np.random.Generator) -> list[int]:
        values, alone = self._row(text)
        more = self.shift(values)
        return [number + more for number in self.text.sample(alone, random)]


class TokenFeatures(Features):
    """Words with features of their own, written as OpenNMT does: Hund￨NOUN￨Nom."""

    def __init__(self, text: Separated, features: int = 1, divider: str = DIVIDER) -> None:
        """text: the words' tokenizer, Words or Labels; features: how many each has; divider: stands before each."""
        if not isinstance(text, Separated):
            raise InputError(f"data.tokenizer.text is {text!r}, but features of tokens need Words or Labels")
        super().__init__(text, features)
        check_separator(divider, "divider")
        if divider == text.separator:
            raise InputError(f"data.tokenizer.divider is {divider!r}, which separates words; choose another one")
        self.text: Separated = text
        self.divider = divider

    @property
    def separator(self) -> str:
        """The character between words."""
        return self.text.separator

    def check(self, text: str) -> None:
        for token in self.text.split(text):
            self._parts(token)

    def _parts(self, token: str) -> tuple[str, Values]:
        """A word and its features."""
        word, *values = token.split(self.divider)
        if len(values) != self.features:
            raise InputError(
                f"the token {token!r} has {len(values)} features, each after a {self.divider!r}, but "
                f"{self.features} are expected: data.tokenizer.features"
            )
        if not word:
            raise InputError(f"the token {token!r} has no word before its features")
        return word, tuple(values)

    def stripped(self, texts: Iterable[str], seen: set[Values]) -> Iterator[str]:
        parts = cache(self._parts)
        for text in texts:
            tokens = [parts(token) for token in self.text.split(text)]
            seen.update(values for _, values in tokens)
            yield self.text.join(word for word, _ in tokens)

    def _id(self, token: str) -> int:
        word, values = self._parts(token)
        [number] = self.text.encode([word])[0]
        return number + self.shift(values)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        find = cache(self._id)
        return [list(map(find, self.text.split(text))) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        size = len(self.text)
        shown = [number for number in ids if number % size == UNK or number % size >= SPECIAL]
        words = [self.text.decode([number % size]) for number in shown]
        return self.text.join(
            self.divider.join([word, *self.values(number)]) for word, number in zip(words, shown, strict=True)
        )
