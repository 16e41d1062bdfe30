"""Texts as rows of ids, and rows as the batches that a network reads."""

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from seq2seq_runtime.description import END, PADDING, UNKNOWN, Description
from seq2seq_runtime.problems import RequestError
from seq2seq_runtime.tokenizers import Listed, Spelled, Tokenizer, Vectors

LONGEST_WHOLE = 100_000
"""Characters of the longest text that is read whole; others are cut to `max_length` tokens."""

HYPOTHESES = 256
"""Hypotheses of all sources that are computed at once."""

TOKENS = 16_384
"""Source tokens of a batch, padding included."""

Arrays = dict[str, np.ndarray]


class Row(NamedTuple):
    """A text that is ready for the network."""

    place: int
    """Among the texts of its chunk."""
    key: int
    """The number of the text, by which random draws are told apart."""
    ids: np.ndarray
    """(S,) tokens, for vectors (S, D), for spelled words (S,) of which `words` has the ids; of a prompt all tokens."""
    words: tuple[tuple[int, ...], ...] = ()


class Reader:
    """Texts to rows."""

    def __init__(self, of: Description, source: Tokenizer | None, target: Tokenizer) -> None:
        self.of, self.source, self.target = of, source, target

    def check(self, text: object) -> None:
        """Raise RequestError for what is no text, or too long to be read whole."""
        if not isinstance(text, str):
            raise RequestError(f"it is {text!r:.40}, and not a text")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise RequestError("it holds half of a surrogate pair, which is no letter; decode it anew")
        if len(text) > LONGEST_WHOLE and self.of.max_length is None:
            raise RequestError(f"it has {len(text):,} characters, and {LONGEST_WHOLE:,} are read at once; break it up")

    def row(self, text: str, place: int, key: int) -> Row | None:
        """A text as a row; None for one of which nothing is predicted."""
        self.check(text)
        if self.source is None:
            return Row(place, key, np.array([self.of.begin, *self.prompt(text)]))
        if not text.strip(" \t\r\n" if self.of.task == "Tagging" else None):
            return None
        if isinstance(self.source, Vectors):
            vectors = self.cut(self.source.vectors(text))
            history = len(vectors) - (0 if self.source.parts is None else self.source.parts.ahead)
            if history < self.of.season:
                raise RequestError(f"it has {history} steps, and a season has {self.of.season}; give a longer one")
            return Row(place, key, vectors)
        if isinstance(self.source, Spelled):
            words = self.cut_words(self.source, text)
            return Row(place, key, np.zeros(len(words), np.int64), words) if words else None
        tokens = self.source.encode(text)
        if self.of.task == "Generation" and isinstance(self.source, Listed) and UNKNOWN in tokens:
            raise RequestError(f"no training row has a condition like {text!r:.60}")
        ids = self.cut(np.array(tokens, dtype=np.int64))
        ids = np.append(ids, END) if self.of.source_end else ids
        return Row(place, key, ids) if len(ids) else None

    def prompt(self, text: str) -> list[int]:
        """The tokens that a text begins with."""
        if not text:
            return []
        ids = self.target.encode(text)
        if not ids or UNKNOWN in ids:
            raise RequestError(f"no training text has all the tokens of {text!r:.60}; begin with another text")
        if self.of.search.no_repeat_ngram:
            raise RequestError("this file knows no_repeat_ngram only within what it writes; leave the text empty")
        return ids

    def cut_words(self, source: Spelled, text: str) -> tuple[tuple[int, ...], ...]:
        """The ids of each word that is read; the last may lack letters, and is left out if it lacks more."""
        left = sys.maxsize if self.of.max_length is None else self.of.max_length
        words: list[tuple[int, ...]] = []
        for word in source.split(text):
            ids = tuple(source.spelling.ids(word)[:left])
            if len(ids) < source.spelling.heads:
                break
            words.append(ids)
            left -= len(ids)
        return tuple(words)

    def cut(self, ids: np.ndarray) -> np.ndarray:
        """The tokens of a source that are read."""
        if self.of.max_length is None:
            return ids
        most = max(self.of.max_length - self.of.source_end, 0)
        return ids[max(len(ids) - most, 0) :] if self.of.keep_last_steps else ids[:most]


def batches(rows: Sequence[Row], hypotheses: int, alike: bool) -> Iterator[list[Row]]:
    """Rows of similar length together, so many that neither tokens nor hypotheses get too many.

    hypotheses: of each row; alike: whether all rows of a batch must have one length.
    """
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        full = (len(batch) + 1) * hypotheses > HYPOTHESES or (len(batch) + 1) * len(row.ids) > TOKENS
        if batch and (full or (alike and len(row.ids) != len(batch[0].ids))):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def sources(batch: Sequence[Row]) -> Arrays:
    """What a network reads of the texts of a batch."""
    lengths = np.array([len(row.ids) for row in batch])
    first = batch[0].ids
    source = np.full((len(batch), lengths.max(), *first.shape[1:]), PADDING, dtype=first.dtype)
    for place, row in enumerate(batch):
        source[place, : len(row.ids)] = row.ids
    if not any(row.words for row in batch):
        return {"source": source, "lengths": lengths}
    numbers: dict[tuple[int, ...], int] = {}
    for place, row in enumerate(batch):
        source[place, : len(row.words)] = [numbers.setdefault(word, len(numbers)) for word in row.words]
    words = np.full((len(numbers), max(map(len, numbers))), PADDING)
    for word, number in numbers.items():
        words[number, : len(word)] = word
    return {"source": source, "lengths": lengths, "words": words}


def uniform(seed: int, keys: Sequence[int], count: int, steps: int) -> np.ndarray:
    """(B, count, steps) random numbers from 0 to 1, those of a row by the seed and its key alone."""
    numbers = [[np.random.default_rng([seed, key, which]).random(steps) for which in range(count)] for key in keys]
    return np.array(numbers, dtype=np.float32).reshape(len(keys), count, steps)
