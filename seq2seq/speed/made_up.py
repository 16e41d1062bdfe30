"""Made-up rows whose lengths are those of known corpora: the time of a step depends on nothing else."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seq2seq.data.batching.split import Split
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.units import Words
from seq2seq.tasks.translation import Translation

SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
LABELS = ("NOUN", "VERB", "ADJ", "DET", "ADP", "PRON", "PUNCT", "ADV")


def names(count: int) -> list[str]:
    """So many different words of one to five syllables."""
    random, found = numbers(0), dict[str, None]()
    while len(found) < count:
        found["".join(random.choice(SYLLABLES, random.integers(1, 6)))] = None
    return list(found)


def numbers(key: int) -> np.random.Generator:
    """Random numbers of their own."""
    return np.random.Generator(np.random.Philox(key))


def lengths(rows: int) -> np.ndarray:
    """(rows, 2) words of sources and targets, as captions have them: 12 on average."""
    random = numbers(1)
    sources = np.clip(random.normal(12, 3.5, rows), 4, 35).astype(int)
    return np.stack((sources, np.clip(sources + random.normal(0, 2, rows), 3, 40).astype(int)), 1)


def drawn(words: Sequence[str], counts: Sequence[int] | np.ndarray, key: int) -> list[str]:
    """A text of each so many words."""
    random = numbers(key)
    return [" ".join(words[number] for number in random.integers(0, len(words), count)) for count in counts]


def write_pairs(folder: Path, words: int, rows: int) -> None:
    """Parallel files train, validation and test, .en and .de."""
    known = names(words)
    for split, count in (("train", rows), ("validation", 8), ("test", 8)):
        for side, ending in enumerate(("en", "de")):
            lines = drawn(known, lengths(count)[:, side], 2 + side)
            lines[0] = lines[0] if split != "train" else " ".join(lines[0].split())
            (folder / f"{split}.{ending}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def split_of(words: int, rows: int, shape: Sequence[int] | None = None) -> tuple[Split, Tokenizers]:
    """Translation rows over a vocabulary of so many words; shape: source and target words of each row."""
    known, tokenizer = names(words), Words(max_size=1 << 20)
    tokenizer.train(iter(known))
    counts = lengths(rows) if shape is None else np.tile(np.array(shape), (rows, 1))
    sides = [drawn(known, counts[:, side], 4 + side) for side in (0, 1)]
    source, target = (Ragged.of(tokenizer.encode(side)) for side in sides)
    split = Split(Texts(sides[0], sides[1]), source, target, 1 << 16, Translation.row_format)
    return split, Tokenizers(tokenizer, tokenizer)


def write_tagged(folder: Path, words: int, rows: int) -> None:
    """CoNLL-U files with sentences as long as those of UD English EWT: 16 words on average, a quarter below 6.

    Words are drawn by Zipf's law, so that most of a batch's words are in it more than once.
    """
    random, known = numbers(6), names(words)
    for split, count in (("train", rows), ("dev", 8), ("test", 8)):
        sentences = []
        for length in np.clip(random.gamma(1.6, 10, count), 1, 80).astype(int):
            chosen = np.minimum(random.zipf(1.25, length) - 1, words - 1)
            lines = [
                f"{place}\t{known[word]}\t_\t{LABELS[word % len(LABELS)]}\t_\t_\t_\t_\t_\t_"
                for place, word in enumerate(chosen, 1)
            ]
            sentences.append("\n".join(lines))
        (folder / f"made-up-{split}.conllu").write_text("\n\n".join(sentences) + "\n\n", encoding="utf-8")
