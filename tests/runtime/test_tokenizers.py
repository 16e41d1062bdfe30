"""The runtime's tokenizers make the ids and texts of ours, whatever the text."""

import functools
import json
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.factored import RowFeatures, TokenFeatures
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.errors import InputError
from seq2seq.exporting.description import of_tokenizer
from seq2seq_runtime import description, tokenizers
from seq2seq_runtime.fields import Fields
from seq2seq_runtime.problems import FileError, RequestError
from tests.support import SENTENCES, TEXTS, damage, trained

SIGNS = "abcdeé e\u0301ßAZ9٣ǅ.,￨\t▁▅\x00\u2028\ufeffﬁＡ한" + "".join(map(chr, range(0xF8F0, 0xF900)))
ODD = ["<s> car  runs </s>", "the▁fox", "▅▅ x\x00y", "  outer  ", "<unk> <pad> a", SIGNS, "a" * 90]
ROWS = ["de\tder Hund", "fr\tle chien", "de\tein a b"]
TAGGED = ["a￨X￨1 b￨Y￨2", "c￨X￨2 a￨Y￨1 b￨Y￨2"]

KINDS: dict[str, Callable[[], Tokenizer]] = {
    "unigram": lambda: trained(SentencePiece(200), [*ODD, *TEXTS, SIGNS, *SIGNS] * 3),
    "bpe": lambda: trained(SentencePiece(200, "bpe"), [*ODD, *TEXTS, SIGNS, *SIGNS] * 3),
    "bytes": lambda: trained(SentencePiece(400, byte_fallback=True), [*ODD, *TEXTS] * 3),
    "characters": lambda: trained(Characters(), [*ODD, SIGNS]),
    "NFKD": lambda: trained(Characters("NFKD"), [*ODD, SIGNS]),
    "words": lambda: trained(Words(), [*TEXTS, *ODD]),
    "labels": lambda: trained(Labels("\t"), [target for _, target in SENTENCES]),
    "columns": lambda: trained(Columns([Words(), Characters()], single=True), ROWS),
    "columns, the first alone": lambda: trained(Columns([Words(), Characters()], single="first"), ROWS),
    "columns, the first between": lambda: trained(Columns([Words(), Characters()], single="between"), ROWS),
    "three columns": lambda: trained(Columns([Labels(), Words(), Characters()]), [f"x\t{row}" for row in ROWS]),
    "row features": lambda: trained(RowFeatures(Words()), ROWS),
    "row features of columns": lambda: trained(RowFeatures(Columns([Words(), Words()]), 2), [f"a\tb\t{row}" for row in ROWS]),
    "token features": lambda: trained(TokenFeatures(Words(), 2), TAGGED),
    "spelled": lambda: trained(Spelled(), [source for source, _ in SENTENCES]),
    "spelled without letters": lambda: trained(Spelled(Words(), affixes=1, letters=False), TEXTS),
    "nothing": NoSource,
}  # fmt: skip


@functools.cache
def both(kind: str) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """A tokenizer of ours and the runtime's, made from what a file holds."""
    ours = KINDS[kind]()
    of = json.loads(json.dumps(of_tokenizer(ours)))
    return ours, tokenizers.made(description.tokenizer(Fields(of, "source")))


def assert_same_ids(kind: str, text: str) -> None:
    ours, theirs = both(kind)
    try:
        ours.check(text)
    except InputError:
        with pytest.raises(RequestError):
            theirs.encode(text)
        return
    assert theirs.encode(text) == ours.encode([text])[0]


def assert_same_text(kind: str, seed: int, count: int) -> None:
    ours, theirs = both(kind)
    draw = random.Random(seed)
    ids = [draw.choice([draw.randrange(len(ours)), draw.randrange(min(8, len(ours)))]) for _ in range(count)]
    if not isinstance(ours, Spelled):  # a source
        for some in (ids, ids[:1], [1], [1, len(ours) - 1], [0, 2, 3]):
            assert theirs.decode(some) == ours.decode(some)


known = st.one_of(
    st.text(st.sampled_from(SIGNS), max_size=30),
    st.lists(st.sampled_from(["a", "b￨X￨1", "x￨Q￨2", "￨", "Hund", "der", "the", "cat"]), max_size=6).map(" ".join),
    st.lists(st.sampled_from(["de", "x", "der Hund", "", "cat"]), max_size=5).map("\t".join),
)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
numbers = st.integers(0, 1 << 30)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12)
@given(text=st.one_of(known, anything), seed=numbers, count=st.integers(0, 12))
def test_ids_and_texts_are_ours(kind: str, text: str, seed: int, count: int) -> None:
    assert_same_ids(kind, text)
    assert_same_text(kind, seed, count)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3000)
@given(text=st.one_of(known, anything), seed=numbers, count=st.integers(0, 40))
def test_ids_and_texts_are_ours_for_many(kind: str, text: str, seed: int, count: int) -> None:
    assert_same_ids(kind, text)
    assert_same_text(kind, seed, count)


@given(
    rows=st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2), min_size=1),
    plain=st.booleans(),
)  # fmt: skip
@settings(max_examples=40)
def test_vectors_are_ours(rows: list[list[float]], plain: bool) -> None:
    text = "\t".join(" ".join(map(str, row)) for row in rows)
    ours = trained(Vectors(normalise=not plain), ["1 2\t3 5000\t-1 0.25"])
    theirs = tokenizers.made(description.tokenizer(Fields(of_tokenizer(ours), "source")))
    assert isinstance(theirs, tokenizers.Vectors)
    [vectors] = ours.encode([text])
    np.testing.assert_array_equal(theirs.vectors(text), vectors)
    assert theirs.numbers(vectors) == ours.decode(vectors.tolist())


@pytest.mark.parametrize("text", ["1", "1 2\t3", "1 x", "nan 1", "1 2\t", "1 1e999"])
def test_what_is_no_vector(text: str) -> None:
    ours = trained(Vectors(), ["1 2\t3 5\t-1 0.25"])
    theirs = tokenizers.made(description.tokenizer(Fields(of_tokenizer(ours), "source")))
    assert isinstance(theirs, tokenizers.Vectors)
    with pytest.raises(InputError):
        ours.encode([text])
    with pytest.raises(RequestError):
        theirs.vectors(text)


@pytest.mark.parametrize("kind", [one for one in KINDS if one != "nothing"])
def test_a_damaged_state_is_refused(kind: str) -> None:
    of = of_tokenizer(both(kind)[0])
    for state in damage(both(kind)[0].state):
        with pytest.raises(FileError):
            tokenizers.made(
                description.TokenizerState(of["kind"], Fields(of["settings"], "source"), tuple(of["sizes"]), state)
            )


def test_another_size_or_kind_is_refused() -> None:
    ours = both("words")[0]
    of = of_tokenizer(ours)
    for wrong in ({"sizes": [len(ours) + 1]}, {"kind": "Words2"}, {"kind": ["Words"]}, {"settings": {}}):
        with pytest.raises(FileError):
            tokenizers.made(description.tokenizer(Fields(of | wrong, "source")))
