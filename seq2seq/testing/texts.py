"""The contracts of a tokenizer and of a corpus: texts come back, and rows come again."""

import itertools
from collections.abc import Sequence

import numpy as np

from seq2seq.data.corpora.corpus import SPLITS, Corpus
from seq2seq.data.rows import Row
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, UNK, Tokenizer
from seq2seq.testing.demands import demand, described

TEXTS = ("the cat sat", "a dog runs fast", "two men in a red car", "die Katze saß", "a bird")

MOST = 1_000
"""Rows of a split that are looked at."""


def check_tokenizer(tokenizer: Tokenizer, texts: Sequence[str] = TEXTS) -> None:
    """What training has shown comes back as it was, from a checkpoint too, each text by itself.

    texts: what it is trained on; plain words if none are given.
    """
    fresh = described(tokenizer, Tokenizer)
    tokenizer.train(iter(texts))
    encoded = tokenizer.encode(texts)
    found = f"{len(encoded)} of {len(texts)}"
    demand(len(encoded) == len(texts), tokenizer, "encode makes as many rows as texts", found)
    for text, ids in zip(texts, encoded, strict=True):
        check_ids(tokenizer, text, ids)
        again = tokenizer.encode([text])[0]
        demand(np.array_equal(again, ids), tokenizer, "a text does not depend on its neighbours", repr(text))
        back = tokenizer.decode(ids)
        demand(back == text, tokenizer, "decode(encode(text)) is the text", f"{text!r} comes back as {back!r}")
    state = tokenizer.state
    demand(isinstance(state, bytes), tokenizer, "state is bytes", type(state).__name__)
    fresh.restore(state)
    pairs = zip(fresh.encode(texts), encoded, strict=True)
    demand(all(itertools.starmap(np.array_equal, pairs)), tokenizer, "restore(state) gives the same ids")
    demand(fresh.state == state, tokenizer, "restore(state) has the same state")
    check_samples(tokenizer, texts)


def check_ids(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> None:
    """The ids of a text: within the vocabulary, without beginning, end and padding."""
    if tokenizer.width is not None:
        shape = np.shape(ids)
        demand(shape[1:] == (tokenizer.width,), tokenizer, "vectors of `width` numbers", shape)
        return
    size = int(np.prod(tokenizer.sizes))
    outside = [number for number in ids if number in (PAD, BOS, EOS) or not UNK <= number < size]
    demand(not outside, tokenizer, f"ids of text from 4 to {size - 1}, and 1", f"{text!r} has {outside}")


def check_samples(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Drawn segmentations say the same and follow from the random numbers alone."""
    if not tokenizer.samples:
        return
    for number, text in enumerate(texts):
        first, second = (tokenizer.sample(text, np.random.default_rng(number)) for _ in range(2))
        demand(first == second, tokenizer, "sample draws from its random numbers alone", repr(text))
        demand(tokenizer.decode(first) == tokenizer.decode(tokenizer.encode([text])[0]), tokenizer,
               "a sample is another segmentation of the same text", repr(text))  # fmt: skip


def check_corpus(corpus: Corpus, path: str | None = None) -> None:
    """Each split has rows of texts without line breaks, the same ones each time, and names the files it reads.

    path: as data.path.
    """
    described(corpus, Corpus)
    demand(corpus.has("train", path), corpus, "there is a train split")
    for split in SPLITS:
        if not corpus.has(split, path):
            continue
        rows = list(itertools.islice(corpus.rows(split, path), MOST))
        demand(bool(rows), corpus, "a split that there is has rows", f"{split} has none")
        for number, row in enumerate(rows):
            demand(isinstance(row, Row), corpus, "rows are Row(source, target, line)", f"{split}: {row!r:.80}")
            texts = (row.source, row.target, *row.more_references)
            plain = all(isinstance(text, str) and "\n" not in text for text in texts)
            demand(plain, corpus, "texts are strings on one line", f"{split}, row {number + 1}: {row!r:.80}")
        again = list(itertools.islice(corpus.rows(split, path), MOST))
        demand(again == rows, corpus, "reading again gives the same rows", split)
        files = corpus.stored(split, path)
        missing = [file for file in files or () if not file.is_file()]
        demand(not missing, corpus, "stored names files that there are", [str(file) for file in missing])
        named = {row.file for row in rows} - {""}
        unnamed = set() if files is None else named - {str(file) for file in files}
        demand(not unnamed, corpus, "stored names every file that is read, so that a changed one is noticed", unnamed)
