"""Edit distances equal the textbook's table; rates over groups are means over groups."""

import time
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.edit_distance import (
    CharacterErrorRate,
    EditDistance,
    SequenceErrorRate,
    SymbolErrorRate,
    WordErrorRate,
    edit_distance,
)
from seq2seq.metrics.edits import align, edits
from tests.support import rows_of


def by_definition(one: str, other: str) -> int:
    """The recursion of Levenshtein 1966."""

    @cache
    def distance(left: int, right: int) -> int:
        if not left or not right:
            return left + right
        replaced = distance(left - 1, right - 1) + (one[left - 1] != other[right - 1])
        return min(replaced, distance(left - 1, right) + 1, distance(left, right - 1) + 1)

    return distance(len(one), len(other))


def test_kinds_of_edits_add_up_to_the_distance() -> None:
    pairs = [("a b c", "a x c d"), ("one two", "two"), ("same", "same"), ("", "new")]
    split = [(one.split(), other.split()) for one, other in pairs]
    found = edits(split)
    assert (found["words"], found["inserted"], found["deleted"], found["replaced"]) == (6, 2, 1, 1)
    assert found["inserted"] + found["deleted"] + found["replaced"] == sum(edit_distance(*pair) for pair in split)
    assert {"reference": "b", "prediction": "x", "count": 1} in found["confusions"]
    assert {"reference": "one", "prediction": None, "count": 1} in found["confusions"]
    assert align("abc", "axcd") == [("a", "a"), ("b", "x"), ("c", "c"), (None, "d")]
    assert edits([(["a"] * 3000, ["b"])])["left_out"] == 1


TEXTS = st.text(alphabet="abc", max_size=12)
LONG = st.text(alphabet="ab", min_size=60, max_size=90)


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS)
@example("kitten", "sitting")
def test_distance_is_that_of_the_definition(one: str, other: str) -> None:
    assert edit_distance(one, other) == by_definition(one, other)


@settings(max_examples=20, deadline=None)
@given(LONG, LONG)
def test_distance_of_texts_longer_than_a_machine_word(one: str, other: str) -> None:
    assert edit_distance(one, other) == by_definition(one, other)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS)
def test_alignments_have_as_many_errors_as_the_distance(one: str, other: str) -> None:
    places = align(one, other)
    assert "".join(place.reference or "" for place in places) == one
    assert "".join(place.prediction or "" for place in places) == other
    assert sum(place.reference != place.prediction for place in places) == edit_distance(one, other)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_distance_is_a_distance(one: str, other: str, third: str) -> None:
    assert (edit_distance(one, other) == 0) == (one == other)
    assert edit_distance(one, other) == edit_distance(other, one)
    assert edit_distance(one, third) <= edit_distance(one, other) + edit_distance(other, third)


def triples(*rows: tuple[str, str, str]) -> list[Prediction]:
    """Rows of source, prediction and reference."""
    sources, texts, references = zip(*rows, strict=True)
    return rows_of(texts, references, sources)


ROWS = triples(
    ("ady\tx", "a b", "a b"),
    ("ady\ty", "a c", "a b"),
    ("bul\tz", "", "a b c d"),
    ("bul\tw", "tʃ a a", "tʃ a"),
    ("bul\tv", "x  y ", "x y"),
)


def test_rates_over_all_rows() -> None:
    assert SequenceErrorRate().score(ROWS).value == pytest.approx(60)
    assert SymbolErrorRate().score(ROWS).value == pytest.approx(100 * 6 / 12)
    assert SymbolErrorRate().each(ROWS) == pytest.approx([0, 50, 100, 50, 0])
    assert SequenceErrorRate().details(ROWS) == {}


def test_rates_over_groups_are_the_mean_of_the_groups() -> None:
    wer, per = SequenceErrorRate(grouped=True), SymbolErrorRate(grouped=True)
    assert wer.details(ROWS)["groups"] == pytest.approx({"ady": 50, "bul": 200 / 3})
    assert wer.score(ROWS).value == pytest.approx((50 + 200 / 3) / 2)
    assert per.details(ROWS)["groups"] == pytest.approx({"ady": 25, "bul": 500 / 8})
    assert per.score(ROWS).value == pytest.approx((25 + 500 / 8) / 2)
    assert wer.each(ROWS) == pytest.approx([0, 100, 100, 100, 0])
    with pytest.raises(InputError, match=r"row 0: .*'word'.*wer"):
        wer.score(triples(("word", "a", "a")))


def test_a_group_without_errors_weighs_as_much_as_others() -> None:
    rows = triples(("a\tx", "a", "a"), ("b\tx", "z", "a"), ("b\ty", "z", "a"))
    for metric in (SequenceErrorRate(grouped=True), SymbolErrorRate(grouped=True)):
        assert metric.score(rows).value == pytest.approx(50)


def test_a_mean_over_groups_that_a_resample_lacks_is_over_the_others() -> None:
    rows = triples(*[("a\tx", "z", "a")] * 3, ("b\tx", "z", "a"))
    score = SequenceErrorRate(grouped=True).score(rows, interval=True)
    assert (score.low, score.value, score.high) == (100, 100, 100)


def test_edit_distance_is_in_characters_of_stripped_texts() -> None:
    rows = triples(("", "kitten ", "sitting"), ("", " same", "same"), ("", "", "été"))
    assert EditDistance().each(rows) == [3, 0, 3]
    assert EditDistance().score(rows).value == pytest.approx(2)
    assert EditDistance.unit == "characters"


def test_a_test_set_is_scored_at_once() -> None:
    random = np.random.default_rng(2)
    rows = triples(
        *(
            (" ".join(random.choice(list("abcdef"), 10)), " ".join(random.choice(list("abcdef"), 10)), "")
            for _ in range(4500)
        )
    )
    rows = [row._replace(reference=row.source) for row in rows]
    start = time.process_time()
    value = SymbolErrorRate().score(rows).value
    assert time.process_time() - start < 1
    assert 40 < value < 100


def test_error_rates_of_speech() -> None:
    """Edits over the symbols of the references, of all rows together, which may be more than there are symbols."""
    rows = rows_of(["one  two", "four five six", "x y z"], ["one two three ", "four six", "x"])
    assert WordErrorRate().score(rows).value == pytest.approx(100 * (1 + 1 + 2) / 6)
    assert CharacterErrorRate().score(rows).value == pytest.approx(100 * (6 + 5 + 4) / (13 + 8 + 1))
    assert WordErrorRate().score(rows[2:]).value == 200
    assert SequenceErrorRate().name not in (WordErrorRate().name, CharacterErrorRate().name)
