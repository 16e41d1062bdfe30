"""Words with all that can be seen of them: one id for the word, for its shape and its ends, and for each letter."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from seq2seq.data.tokenizers.base import SPECIAL, UNK, Tokenizer, damaged, one_line
from seq2seq.data.tokenizers.units import Separated, Words
from seq2seq.errors import check_range

if TYPE_CHECKING:
    from seq2seq.data.ragged import Ragged

ONCE = 2
"""A letter or an end of a word that fewer training words have is unknown."""


class Sections(NamedTuple):
    """How many ids each kind takes, in the order in which a word writes them; 0 in a kind is unknown."""

    words: int
    shapes: int
    ends: tuple[int, ...]
    """Of the first letter, the first two ..., then the last letter, the last two ..."""
    letters: int


class Spelled(Tokenizer):
    """Words as a sequence of ids: each word's own, its shape's, those of its beginnings and endings, its letters'.

    So a word that training lacks still shows how it is written. A long word keeps its two ends.
    """

    ends = False

    def __init__(
        self,
        words: Separated | None = None,
        affixes: int = 3,
        letters: bool = True,
        longest: int = 32,
        vectors: str | None = None,
        most_vectors: int = 100_000,
    ) -> None:
        """What a word shows.

        Args:
            words: which words have an id of their own, and what separates them; null for all, between tabs.
            affixes: letters of the longest beginning and ending; 0 for none.
            letters: whether all letters are there.
            longest: letters of a word that are kept, half from each end.
            vectors: file of pre-trained vectors (word2vec, GloVe, fastText's text), whose words have an id too.
            most_vectors: words that are taken from it, besides those of the training text.
        """
        check_range("data.tokenizer.affixes", affixes, 0, 8)
        check_range("data.tokenizer.longest", longest, 2)
        check_range("data.tokenizer.most_vectors", most_vectors, 0)
        self.words = Words(separator="\t") if words is None else words  # it learns, so each needs its own
        self.affixes, self.letters, self.longest = affixes, letters, longest
        self.vectors, self.most_vectors = vectors, most_vectors
        self._tables: list[dict[str, int]] = []
        self._known: dict[str, list[int]] = {}
        self._extra: dict[str, int] = {}

    @property
    def separator(self) -> str:
        """The character between words."""
        return self.words.separator

    @property
    def files(self) -> list[Path]:
        return [Path(self.vectors)] if self.vectors is not None else []

    def train(self, texts: Iterable[str]) -> None:
        counts: Counter[str] = Counter()

        def counted() -> Iterator[str]:
            for text in texts:
                counts.update(self.words.split(text))
                yield text

        self.words.train(counted())
        extra = vector_words(self.files[0], self.most_vectors) if self.files else []
        known = set(self.words.vocabulary)
        tables = [[word for word in dict.fromkeys(extra) if word not in known]]
        tables += [frequent(map(seen, counts)) for seen in self._looks()]
        tables.append(sorted(letter for letter, times in Counter("".join(counts)).items() if times >= ONCE))
        self._number(tables)

    def _looks(self) -> list[Callable[[str], str]]:
        """What to look at in a word besides its letters: its shape, its beginnings and its endings."""
        sizes = range(1, self.affixes + 1)
        return [shape, *(partial(beginning, size) for size in sizes), *(partial(ending, size) for size in sizes)]

    def _number(self, tables: Sequence[Sequence[str]]) -> None:
        extra, *others = tables
        first = len(self.words)
        self._extra = {word: first + index for index, word in enumerate(extra)}
        self._tables = [{unit: number for number, unit in enumerate(units, 1)} for units in others]
        self._known = {}

    @property
    def sections(self) -> Sections:
        """How many ids each kind takes."""
        shapes, *ends, letters = (1 + len(table) for table in self._tables)
        return Sections(len(self.words) + len(self._extra), shapes, tuple(ends), letters)

    @property
    def row_names(self) -> list[list[Hashable]]:
        """Of words, shapes, each kind of ends, and letters, in whose table padding has a row too."""
        *others, letters = self._tables
        words = [*range(SPECIAL), *self.word_list()[SPECIAL:]]
        return [words, *([0, *units] for units in others), [0, 1, *letters]]

    def word_list(self) -> list[str]:
        """Every word with an id of its own, in the order of the ids; the special ones are empty."""
        return [*([""] * SPECIAL), *self.words.vocabulary, *self._extra]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        known, rows = self._known, []
        starts = self._starts
        for text in texts:
            ids: list[int] = []
            for word in self.words.split(text):
                if word not in known:
                    known[word] = self._ids(word, starts)
                ids += known[word]
            rows.append(ids)
        return rows

    @property
    def _starts(self) -> list[int]:
        """The first id of each kind besides the words."""
        sections = self.sections
        return list(accumulate((sections.shapes, *sections.ends), initial=sections.words))

    def _ids(self, word: str, starts: Sequence[int]) -> list[int]:
        """All ids of one word."""
        [own] = self.words.encode([word])[0]
        own = self._extra.get(word, own) if own == UNK else own
        *tables, letters = self._tables
        looks = zip(self._looks(), tables, starts, strict=False)
        ids = [own, *(start + table.get(seen(word), 0) for seen, table, start in looks)]
        if self.letters:
            half = self.longest // 2
            kept = word if len(word) <= self.longest else word[: self.longest - half] + word[-half:]
            ids += [starts[-1] + letters.get(letter, 0) for letter in kept]
        return ids

    def units(self, ids: "Ragged") -> np.ndarray:
        """(rows,) words."""
        before = np.concatenate(([0], np.cumsum(np.asarray(ids.flat) < self.sections.words)))
        words: np.ndarray = np.diff(before[ids.starts])
        return words

    def own_ids(self, text: str) -> list[int]:
        """The id of each word of a text by itself."""
        return [number for number in self.encode([text])[0] if number < self.sections.words]

    def decode(self, ids: Sequence[int]) -> str:
        words, extra = len(self.words), list(self._extra)
        own = [number for number in ids if number < self.sections.words]
        shown = [self.words.decode([number]) if number < words else extra[number - words] for number in own]
        return one_line(self.words.join(word for word in shown if word))

    def unknown_among(self, ids: np.ndarray) -> np.ndarray:
        return self.words.unknown_among(ids)

    def __len__(self) -> int:
        sections = self.sections
        return sections.words + sections.shapes + sum(sections.ends) + sections.letters

    @property
    def state(self) -> bytes:
        tables = [list(self._extra), *(list(table) for table in self._tables)]
        return json.dumps([self.words.state.decode(), tables]).encode()

    def restore(self, state: bytes) -> None:
        try:
            words, tables = json.loads(state)
            whole = all(isinstance(unit, str) for table in tables for unit in table)
        except (ValueError, TypeError, RecursionError) as problem:
            raise damaged(self, problem) from problem
        if not isinstance(words, str) or not whole or len(tables) != 3 + 2 * self.affixes:
            raise damaged(self, "it must hold words and what is seen of them")
        self.words.restore(words.encode())
        self._number(tables)


def vector_words(file: Path, most: int) -> list[str]:
    """The first words of a file of pre-trained vectors."""
    from seq2seq.data.word_vectors import WordVectors

    return WordVectors.open(file).words(most)


def frequent(units: Iterable[str]) -> list[str]:
    """What several training words share, by code point."""
    return sorted(unit for unit, times in Counter(units).items() if times >= ONCE)


def beginning(size: int, word: str) -> str:
    """The first `size` letters."""
    return word[:size]


def ending(size: int, word: str) -> str:
    """The last `size` letters."""
    return word[-size:]


def shape(word: str) -> str:
    """How a word is written: X for capitals, x for other letters, 9 for digits, other signs as they are; runs once.

    A run of several is doubled, so that A and AB differ: "McDonald's-1999" is "XxXxx'x-99" (Collins 2002, sec. 4).
    """
    kinds = "".join(map(kind, word[:64]))
    return "".join(sign * min(2, len(list(run))) for sign, run in groupby(kinds))


def kind(letter: str) -> str:
    """The kind of a letter."""
    category = unicodedata.category(letter)
    if category in ("Lu", "Lt"):
        return "X"
    if category[0] in "LM":
        return "x"
    return "9" if category[0] == "N" else letter
