"""Sources with two adjacent words swapped, for the probe of word order."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from seq2seq.analysis.vector_space import FixedVectors
from seq2seq.data.tokenizers.base import Tokenizer

SEED = 2018


class WordPattern(NamedTuple):
    """Finds the words of sources, or what stands for them."""

    name: str
    """word or character."""
    pattern: re.Pattern[str]
    separator: str
    """Between two of them."""
    columns: bool
    """Whether only the text after the last tab has words."""

    def matches(self, text: str) -> list[re.Match[str]]:
        """The words of a text with their positions."""
        return list(self.pattern.finditer(text, text.rfind("\t") + 1 if self.columns else 0))

    def words(self, text: str) -> list[str]:
        """The words of a text."""
        return [match.group() for match in self.matches(text)]


def word_pattern(tokenizer: Tokenizer, texts: Sequence[str]) -> WordPattern:
    """Words between the tokenizer's separators or whitespace; characters if texts have under two words on average."""
    separator = getattr(tokenizer, "separator", " ")
    if separator != " ":
        return WordPattern("word", re.compile(f"[^{re.escape(separator)}]+"), separator, separator != "\t")
    words = WordPattern("word", re.compile(r"\S+"), " ", True)
    if sum(len(words.matches(text)) for text in texts) >= 2 * len(texts):
        return words
    return WordPattern("character", re.compile(r"\S"), "", True)


class SwappedSources(NamedTuple):
    """Sources with two adjacent words swapped."""

    indices: np.ndarray
    """(N,) of the vectors of the same sources before."""
    texts: list[str]
    ids: list[list[int]]


def swap_words(vectors: FixedVectors, pattern: WordPattern, tokenizer: Tokenizer, whole: np.ndarray) -> SwappedSources:
    """Swap two different adjacent words of each source at random, where it has some and the ids tell them apart.

    whole (R,): whether the encoder reads all of a source, so that nothing is swapped beyond its cut.
    """
    texts = {}
    for index in np.flatnonzero(whole).tolist():
        text = swap(vectors.texts[index], pattern, np.random.default_rng([SEED, int(vectors.rows[index])]))
        if text is not None:
            texts[index] = text
    before = tokenizer.encode([vectors.texts[index] for index in texts])
    after = tokenizer.encode(list(texts.values()))
    kept = [row for row in zip(texts, texts.values(), before, after, strict=True) if row[2] != row[3]]
    indices = np.array([index for index, _, _, _ in kept], dtype=np.int64)
    return SwappedSources(indices, [text for _, text, _, _ in kept], [ids for _, _, _, ids in kept])


def swap(text: str, pattern: WordPattern, random: np.random.Generator) -> str | None:
    """A text with two different adjacent words swapped; None where it has none."""
    pairs = [
        (one, other)
        for one, other in pairwise(pattern.matches(text))
        if text[one.end() : other.start()] == pattern.separator and one.group() != other.group()
    ]
    if not pairs:
        return None
    one, other = pairs[int(random.integers(len(pairs)))]
    middle = other.group() + pattern.separator + one.group()
    return text[: one.start()] + middle + text[other.end() :]
