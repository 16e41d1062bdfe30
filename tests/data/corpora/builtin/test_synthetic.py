"""Synthetic corpora: the right answers, no source in two splits, the same rows everywhere."""

import json
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from seq2seq.configurable import build
from seq2seq.data.corpora.builtin.synthetic import EARLY, Adding, Copying, Reversal, Synthetic
from seq2seq.data.corpora.corpus import SPLITS
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import in_memory
from seq2seq.data.tokenizers.units import Words
from seq2seq.errors import InputError
from tests.support import python

FEW = {"train": 300, "validation": 40, "test": 50}
KINDS: list[Callable[..., Synthetic]] = [Copying, Reversal, Adding]


def pairs(corpus: Synthetic, split: str = "train") -> list[tuple[list[str], list[str]]]:
    """The rows of a split as tokens."""
    return [(row.source.split(), row.target.split()) for row in corpus.rows(split, None)]


@pytest.mark.parametrize("kind", KINDS)
def test_splits_have_their_rows_and_share_no_source(kind: Callable[..., Synthetic]) -> None:
    corpus = kind(4, symbols=5, **FEW)  # 625 sources: independent draws would share some
    sources = {split: [row.source for row in corpus.rows(split, None)] for split in SPLITS}
    assert {split: len(rows) for split, rows in sources.items()} == FEW
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not set(sources[one]) & set(sources[other])
    elsewhere = kind(4, symbols=5, **FEW, seed=2)
    assert not set(sources["train"]) & {row.source for row in elsewhere.rows("test", None)}  # whatever the seed


@pytest.mark.parametrize("kind", KINDS)
def test_more_rows_only_append_and_other_seeds_give_other_rows(kind: Callable[..., Synthetic]) -> None:
    few, many, other = kind(12, **FEW), kind(12, train=1500), kind(12, **FEW, seed=2)
    assert pairs(many)[:300] == pairs(few)
    assert pairs(few) != pairs(other)


def test_rows_are_the_same_in_another_process_and_in_years() -> None:
    program = (
        "import json; from seq2seq.data.corpora.builtin.synthetic import *; from seq2seq.data.corpora.corpus import SPLITS; corpus = Copying(6, 2, train=5, validation=2, test=2);"
        "print(json.dumps([row for split in SPLITS for row in corpus.rows(split, None)]))"
    )
    done = python("-c", program, check=True)
    corpus = Copying(6, 2, train=5, validation=2, test=2)
    assert json.loads(done.stdout) == [[*row[:5], [], ""] for split in SPLITS for row in corpus.rows(split, None)]
    assert next(iter(Copying(6).rows("train", None))).source == "7 2 2 4 1 6"
    assert next(iter(Adding(8).rows("train", None))).source == "7 5 +8 +6 4 3 8 5"


def test_copying_and_reversal() -> None:
    copied, reversed_ = (
        pairs(Copying(15, shortest=3, symbols=5, **FEW)),
        pairs(Reversal(15, shortest=3, symbols=5, **FEW)),
    )
    assert all(target == source for source, target in copied)
    assert all(target == source[::-1] for source, target in reversed_)
    assert [source for source, _ in copied] == [source for source, _ in reversed_]
    assert {len(source) for source, _ in copied} == set(range(3, 16))
    assert {len(source) for source, _ in pairs(Copying(15, **FEW))} == {15}
    counts = Counter(token for source, _ in copied for token in source)
    assert set(counts) == set("01234")
    assert max(counts.values()) < 1.3 * min(counts.values())


@pytest.mark.parametrize("length", [4, 9, 40])
def test_adding_is_the_sum_of_two_early_digits(length: int) -> None:
    places = []
    for source, target in pairs(Adding(length, symbols=7, **FEW)):
        marked = [place for place, token in enumerate(source) if token.startswith("+")]
        assert len(source) == length
        assert len(marked) == 2
        assert target == [str(sum(int(source[place]) for place in marked))]
        assert marked[0] < EARLY
        places += marked
    assert set(places) == set(range(length // 2))


def test_a_hundred_thousand_rows_take_seconds() -> None:
    started = time.process_time()
    texts = in_memory(Copying(100, train=100_000).rows("train", None))
    assert len(texts.source) == 100_000
    assert time.process_time() - started < 20  # one second on an idle core


def test_a_data_module_reads_them() -> None:
    corpus = Copying(6, **FEW)
    data = DataModule(build(Synthetic, corpus.specification()), tokenizer=Words())
    texts = data.texts("train")
    assert list(texts.source) == list(data.texts("train").source)
    assert texts.content == in_memory(corpus.rows("train", None)).content
    tokenizers = data.train_tokenizers(texts)
    assert len(tokenizers.source) == 4 + 8
    assert np.array_equal(data.encode(texts, tokenizers, "train").source.lengths, np.full(300, 6))
    assert not data.held_out()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Copying(0), "data.corpus.length is 0"),
        (lambda: Copying(5, shortest=6), "data.corpus.shortest is 6"),
        (lambda: Copying(symbols=1), "data.corpus.symbols is 1"),
        (lambda: Copying(test=0), "data.corpus.test is 0"),
        (lambda: Adding(3), "data.corpus.length is 3"),
        (lambda: list(Copying(1, symbols=2).rows("test", None)), "Copying.length=1.* symbols=2.*test"),
        (lambda: list(Adding().rows("test", "folder")), "Adding .*data.path"),
    ],
)
def test_mistakes_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
