"""Words of references and predictions: how texts split into them, which match, how often training has them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import NoSource
from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction

LIMIT = 1_000_000
"""Training rows whose words are counted, at most."""


class TextUnits(NamedTuple):
    """What the texts of one side consist of."""

    name: str
    """word, label or character."""
    separator: str
    """A space for any whitespace, another character for itself, or nothing between characters."""

    def split(self, text: str) -> list[str]:
        """The units of a text."""
        if self.separator in ("", " "):
            return text.split() if self.separator else list("".join(text.split()))
        return [word for word in text.split(self.separator) if word]


class WordCounts(NamedTuple):
    """How often training has each word of a split; those that it lacks are missing."""

    source: Mapping[str, int]
    """Empty where sources are numbers or not read at all."""
    target: Mapping[str, int]
    """Words of references and predictions; empty where each token has a label."""
    rows: int
    """Training rows that were counted, the first ones."""


class WordList(NamedTuple):
    """The W words of N rows, one after the other."""

    words: list[str]
    rows: np.ndarray
    """(W,) the row of each."""
    positions: np.ndarray
    """(W,) its position in the row, from 0."""
    lengths: np.ndarray
    """(N,) words."""


class WordMatches(NamedTuple):
    """The words of references and predictions."""

    reference: WordList
    predicted: WordList
    matched: np.ndarray
    """(W,) whether the prediction has each word of the references."""


def units_of_sides(predictions: Sequence[Prediction], aligned: bool, labels: str) -> tuple[TextUnits, TextUnits]:
    """The units of sources and targets: all texts of a side the same, whichever of its rows have a tab.

    labels: what stands between targets that are labels or numbers in no order; nothing where they are sentences.
    """
    sources, references = [row.source for row in predictions], [row.reference for row in predictions]
    if aligned:
        separator = "\t" if any("\t" in text for text in chain(sources, references)) else " "
        return TextUnits("word", separator), TextUnits("label", separator)
    return units_of(sources), TextUnits("label", labels) if labels else units_of(references)


def units_of(texts: Sequence[str]) -> TextUnits:
    """Words; characters where fewer than a tenth of the texts have whitespace inside, as in Japanese."""
    several = sum(len(text.split(None, 1)) > 1 for text in texts)
    filled = sum(not text.isspace() for text in texts if text)
    return TextUnits("character", "") if 10 * several < filled else TextUnits("word", " ")


def match(predictions: Sequence[Prediction], units: TextUnits, aligned: bool) -> WordMatches:
    """Match references with predictions word by word: at the same position if aligned, else anywhere in the row.

    Of a word that occurs m times in a reference and n times in its prediction, the first min(m, n) match.
    """
    sides = [word_list([units.split(text) for text in texts]) for texts in targets(predictions)]
    numbers: dict[str, int] = {}
    words = [np.array([numbers.setdefault(word, len(numbers)) for word in side.words], np.int64) for side in sides]
    pairs = [side.rows * len(numbers) + word for side, word in zip(sides, words, strict=True)]
    nth = [side.positions for side in sides] if aligned else [occurrences_before(pair) for pair in pairs]
    most = 1 + max(int(number.max(initial=0)) for number in nth)
    reference, predicted = (pair * most + number for pair, number in zip(pairs, nth, strict=True))
    return WordMatches(sides[0], sides[1], np.isin(reference, predicted))


def targets(predictions: Sequence[Prediction]) -> tuple[list[str], list[str]]:
    """References and predictions."""
    return [row.reference for row in predictions], [row.prediction for row in predictions]


def word_list(rows: Sequence[list[str]]) -> WordList:
    """The words of some rows."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    positions = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return WordList(list(chain.from_iterable(rows)), np.repeat(np.arange(len(rows)), lengths), positions, lengths)


def occurrences_before(keys: np.ndarray) -> np.ndarray:
    """How often each of some keys (n,) occurs before it."""
    order = np.argsort(keys, kind="stable")
    new = np.diff(keys[order], prepend=-1) != 0
    counts = np.empty_like(order)
    counts[order] = np.arange(len(keys)) - np.flatnonzero(new)[np.cumsum(new) - 1]
    return counts


def frequencies(words: Iterable[str], counts: Mapping[str, int]) -> np.ndarray:
    """(n,) how often training has each word."""
    return np.array([counts.get(word, 0) for word in words], dtype=np.int64)


def training_counts(
    data: DataModule,
    predictions: Sequence[Prediction],
    aligned: bool,
    labels: str = "",
    train: Texts | None = None,
    content: str | None = None,
) -> WordCounts | None:
    """How often the training rows have the words of some predictions; None where they are streamed or gone.

    train: the rows, where they have been read already. content: the checksum of the rows that a model was trained on;
    counts of other rows would say nothing about it.
    """
    if data.window is not None:
        return None
    try:
        rows = data.texts("train") if train is None else train
    except InputError:
        return None
    if content is not None and rows.content != content:
        return None
    sides = units_of_sides(predictions, aligned, labels)
    wanted = [{word for row in predictions for word in sides[0].split(row.source)}, set[str]()]
    if not aligned:
        wanted[1] = {word for texts in targets(predictions) for text in texts for word in sides[1].split(text)}
    source, target = (
        {} if isinstance(kind, NoSource | Vectors) else count_words(islice(texts, LIMIT), words, side)
        for kind, texts, words, side in zip(data.kinds, rows[:2], wanted, sides, strict=True)
    )
    return WordCounts(source, target, min(LIMIT, len(rows.source)))


def count_words(texts: Iterable[str], wanted: Set[str], units: TextUnits) -> dict[str, int]:
    """How often texts have each of the wanted words that they have at all."""
    counts = Counter(chain.from_iterable(map(units.split, texts if wanted else ())))
    return {word: counts[word] for word in sorted(wanted) if counts[word]}
