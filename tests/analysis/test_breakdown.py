"""Groups of rows and words: they hold every row and word once, and their scores are those of a count by hand."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seq2seq.analysis import breakdown, words
from seq2seq.analysis.breakdown import breakdowns
from seq2seq.analysis.examine import between_labels
from seq2seq.analysis.repetition import repeated, repetition
from seq2seq.analysis.words import TextUnits, WordCounts, count_words, match, training_counts, units_of, units_of_sides
from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import NoSource, Words
from seq2seq.metrics.accuracy import Accuracy, ExactMatch, MacroF1
from seq2seq.metrics.base import Metric, Prediction
from seq2seq.metrics.bleu import Bleu
from seq2seq.metrics.edit_distance import SymbolErrorRate
from tests.support import rows_of

Triple = tuple[str, str, str]
"""Source, reference, prediction."""


def predictions_of(triples: Sequence[Triple]) -> list[Prediction]:
    sources, references, texts = zip(*triples, strict=True)
    return rows_of(texts, references, sources)


def words_in(text: str) -> int:
    return len(text.split())


def found(
    triples: Sequence[Triple],
    metric: Metric | None = None,
    counts: WordCounts | None = None,
    aligned: bool = False,
    labels: str = "",
) -> dict[str, dict[str, Any]]:
    """The breakdowns by their names."""
    metric, rows = metric or ExactMatch(), predictions_of(triples)
    many = breakdowns(rows, metric, metric.statistics(rows), words_in, words_in, counts, aligned, labels)
    return {one["by"]: one for one in many}


def told(part: dict[str, Any], what: str) -> dict[str, Any]:
    """One number of each group."""
    return {group["label"]: group[what] for group in part["groups"]}


word = st.sampled_from(["a", "b", "c", "dd", "e", "f", "שלום", "語"])
text = st.lists(word, max_size=14).map(" ".join)
triples = st.lists(st.tuples(text, text, text), min_size=1, max_size=12)
KNOWN = WordCounts({"a": 1, "b": 5, "dd": 99}, {"a": 1, "b": 4, "c": 9, "dd": 1000, "שלום": 2, "語": 10}, 7)


def test_errors_in_long_rows_are_found() -> None:
    """All rows of more than 20 words are wrong, half of those with 11 to 20, no others."""
    many = []
    for length in range(1, 41):
        sentence = " ".join(f"w{place}" for place in range(length))
        wrong = length > 20 or (length > 10 and length % 2)
        many.append((sentence, sentence, sentence + " x" * bool(wrong)))
    for by in ("source_length", "target_length"):
        part = found(many)[by]
        assert told(part, "value") == {"1–5": 100, "6–10": 100, "11–15": 40, "16–20": 60, "21–30": 0, "31–50": 0}
        assert told(part, "rows") == {"1–5": 5, "6–10": 5, "11–15": 5, "16–20": 5, "21–30": 10, "31–50": 10}
        assert (part["metric"], part["unit"], part["counted"]) == ("exact_match", "percent", "rows")
        low, high = (told(part, end)["11–15"] for end in ("low", "high"))
        assert 0 <= low < 40 < high <= 100


@pytest.mark.parametrize("metric", [Bleu(), MacroF1(), SymbolErrorRate(), ExactMatch()], ids=lambda one: one.name)
def test_a_group_scores_like_its_rows_alone(metric: Metric) -> None:
    many = [("a b", "a c", "a c"), ("b", "x y z w v", "x y z w u"), ("a b c d e f", "p q r s t", "p q r s t")] * 4
    some = predictions_of([one for one in many if words_in(one[0]) < 6])
    alone = metric.score(some, interval=True)
    group = found(many, metric)["source_length"]["groups"][0]
    assert group["rows"] == len(some) == 8
    assert group["value"] == pytest.approx(alone.value)
    assert (group["low"], group["high"]) == pytest.approx((alone.low, alone.high))


@given(triples)
@example([("", "", "")])
@settings(max_examples=15, deadline=None)
def test_groups_hold_every_row_and_word_once(many: list[Triple]) -> None:
    parts = found(many, counts=KNOWN)
    references = sum(len(one[1].split()) for one in many)
    units = units_of_sides(predictions_of(many), False, "")[1]
    everything = sum(len(units.split(one[1])) for one in many)
    assert units.name == "character" or everything == references
    for part in parts.values():
        assert len(part["groups"]) > 1
        rows = sum(group["rows"] for group in part["groups"])
        assert rows == (everything if part["counted"] == "words" else len(many))
        for group in part["groups"]:
            if len(many) > 1 and part["counted"] == "words":
                assert 0 <= group["low"] <= group["high"] <= 100


def by_hand(many: Sequence[Triple], counts: dict[str, int]) -> dict[str, tuple[int, int, int]]:
    """(matched, predicted, reference) words of each group of frequencies, counted one by one."""
    ends = [(0, 0), (1, 1), (2, 4), (5, 9), (10, 99), (100, 999), (1000, 10**9)]
    names = ["0", "1", "2–4", "5–9", "10–99", "100–999", "1,000+"]
    sums = {name: [0, 0, 0] for name in names}
    for _, reference, prediction in many:
        wanted, said = Counter(reference.split()), Counter(prediction.split())
        for one in wanted.keys() | said.keys():
            name = next(n for n, (low, high) in zip(names, ends, strict=True) if low <= counts.get(one, 0) <= high)
            for place, number in enumerate((min(wanted[one], said[one]), said[one], wanted[one])):
                sums[name][place] += number
    return {name: (numbers[0], numbers[1], numbers[2]) for name, numbers in sums.items() if numbers[2]}


def test_a_class_that_holds_spaces_is_one_label() -> None:
    rows = predictions_of([("a b", "World News", "Sci Tech"), ("c", "Sci Tech", "Sci Tech")])
    whole = match(rows, units_of_sides(rows, False, between_labels(Accuracy(separator="\n"), rows))[1], False)
    assert (whole.reference.words, whole.matched.tolist()) == (["World News", "Sci Tech"], [False, True])
    assert between_labels(Accuracy(), rows) == " "
    assert between_labels(Accuracy(), predictions_of([("a b", "A\tB", "A\tB")])) == "\t"


@given(triples)
@settings(max_examples=40, deadline=None)
def test_f1_of_words_equals_brute_force(many: list[Triple]) -> None:
    expected = by_hand(many, dict(KNOWN.target))
    part = breakdown.by_frequency(match(predictions_of(many), TextUnits("word", " "), aligned=False), KNOWN)
    assert told(part, "rows") == {name: numbers[2] for name, numbers in expected.items()}
    values = {name: 200 * right / (said + wanted) for name, (right, said, wanted) in expected.items()}
    assert told(part, "value") == pytest.approx(values)


def test_f1_of_words_by_hand() -> None:
    """`the` is said twice and wanted three times; `cat`, never seen, is missed; `zebra`, seen once, is made up."""
    many = [("q", "the cat saw the dog", "the zebra saw the dog"), ("q", "the end", "end")]
    counts = WordCounts({}, {"the": 5000, "saw": 12, "dog": 11, "zebra": 1, "end": 3}, 100)
    part = found(many, counts=counts)["word_frequency"]
    assert told(part, "rows") == {"0": 1, "2–4": 1, "10–99": 2, "1,000+": 3}
    assert told(part, "value") == pytest.approx({"0": 0, "2–4": 100, "10–99": 100, "1,000+": 200 * 2 / (2 + 3)})
    assert part["metric"] == "f1"
    assert "100 training rows" in part["axis"]


@given(triples)
@settings(max_examples=40, deadline=None)
def test_matched_words_add_up(many: list[Triple]) -> None:
    target = TextUnits("word", " ")
    matches = match(predictions_of(many), target, aligned=False)
    matched = sum(sum((Counter(one[1].split()) & Counter(one[2].split())).values()) for one in many)
    assert matches.matched.sum() == matched
    groups = breakdown.group_of_frequency(words.frequencies(matches.reference.words, KNOWN.target))
    table = breakdown.matched_words(matches, groups)
    assert table.sum(axis=(0, 1)).tolist() == [matched, sum(words_in(one[1]) for one in many)]


def test_places_are_fifths_of_the_sentence() -> None:
    """Ten words of which the last two are missed, and a double of which the first one counts as found."""
    ten = " ".join(f"w{place}" for place in range(10))
    part = found([("x y", ten, " ".join(ten.split()[:8])), ("x", "a b c d a", "a b c d")])["position"]
    assert told(part, "rows") == {f"{name} fifth": 3 for name in ("first", "second", "third", "fourth", "last")}
    assert [group["value"] for group in part["groups"]] == [100, 100, 100, 100, 0]
    assert part["metric"] == "recall"
    assert told(found([("x", "a b c", "a b c")] * 2)["position"], "rows") == {
        "first fifth": 2, "third fifth": 2, "last fifth": 2,
    }  # fmt: skip


def test_right_to_left_text_begins_where_it_is_read() -> None:
    """The first word in Hebrew stands on the right, and first in memory; it alone is missed."""
    part = found([("x", "שלום לך עולם גדול מאוד", "לך עולם גדול מאוד")] * 2)["position"]
    assert [group["value"] for group in part["groups"]] == [0, 100, 100, 100, 100]


def test_labels_are_right_where_they_stand() -> None:
    """Tokens hold blanks, as in Vietnamese; the label of the rare one is wrong, one that is missing too."""
    many = [("Hà Nội\tđẹp", "PROPN\tADJ", "NOUN\tADJ"), ("đẹp\tlắm\tđẹp", "ADJ\tADV\tADJ", "ADJ\tADV")]
    counts = WordCounts({"đẹp": 7, "Hà": 50}, {}, 9)
    parts = found(many, Accuracy(), counts, aligned=True)
    part = parts["word_frequency"]
    assert told(part, "rows") == {"0": 2, "5–9": 3}
    assert told(part, "value") == pytest.approx({"0": 50, "5–9": 200 / 3})
    assert part["metric"] == parts["position"]["metric"] == "accuracy"
    assert told(parts["position"], "value") == {
        "first fifth": 100, "second fifth": 0, "third fifth": 100, "fourth fifth": 100, "last fifth": 0,
    }  # fmt: skip


def test_aligned_sides_have_one_length_and_go_word_by_word() -> None:
    long = ("a b c d e f", "X X X X X X", "X X X X X X")
    counts = WordCounts({"a": 1, "b": 2}, {}, 9)
    assert {"source_length", "word_frequency"} <= found(
        [long, ("a", "X", "X")], Accuracy(), counts, aligned=True
    ).keys()
    assert "target_length" not in found([long, ("a", "X", "X")], Accuracy(), counts, aligned=True)
    assert "word_frequency" not in found([long, ("a b c", "X X", "X Y")], Accuracy(), counts, aligned=True)


def test_a_label_at_another_place_is_wrong() -> None:
    many = [("a b", "X Y", "Y X")] * 2
    assert told(found(many, Accuracy(), aligned=True)["position"], "value") == {"second fifth": 0, "fourth fifth": 0}


def test_single_labels_and_empty_sources_have_no_places() -> None:
    many = [("", "good", "bad"), ("", "bad", "bad"), ("", "fair", "fair")]
    counts = WordCounts({}, {"good": 3, "bad": 20}, 23)
    assert set(found(many, Accuracy(), counts, labels=" ")) == {"word_frequency"}
    part = found(many, Accuracy(), counts, labels=" ")["word_frequency"]
    assert told(part, "value") == pytest.approx({"0": 100, "2–4": 0, "10–99": 200 / 3})
    assert found([("a b", "A B", "B A"), ("c d e f g h", "A B", "A B")], labels=" ").keys() == {"source_length"}


def test_rows_are_grouped_by_unknown_words() -> None:
    known = "a " * 9
    many = [("a b", "r s", "r s"), (known + "z", "r s", "r"), (known + "z z z", "r s", "r s"), ("z", "r s", "")]
    part = found(many, counts=WordCounts({"a": 4, "b": 1}, {}, 5))["unknown_rate"]
    assert told(part, "value") == {"0 %": 100, "up to 10 %": 0, "up to 25 %": 100, "above 25 %": 0}
    assert told(part, "rows") == dict.fromkeys(["0 %", "up to 10 %", "up to 25 %", "above 25 %"], 1)
    assert part["groups"][0]["low"] is None, "one row has no interval"
    assert "unknown_rate" not in found(many)
    numbers = [("", "r s", "r s"), ("0.5 1.5", "r s", "r s")]
    assert "unknown_rate" not in found(numbers, counts=WordCounts({}, {"r": 1}, 5)), "sources that are no words"


def test_nothing_and_empty_predictions() -> None:
    assert breakdowns([], ExactMatch(), np.zeros((0, 2)), words_in, words_in, KNOWN, False) == []
    part = found([("a b", "a b c d e", ""), ("a", "b c", "")], counts=KNOWN)["position"]
    assert {group["value"] for group in part["groups"]} == {0}
    assert repetition([]) == {}


def test_text_without_blanks_is_divided_into_characters() -> None:
    many = [("x y", "猫が好き", "猫が嫌い"), ("x", "犬", "犬")]
    part = found(many, counts=WordCounts({}, {"猫": 2, "犬": 3, "が": 900}, 5))
    assert told(part["word_frequency"], "rows") == {"0": 2, "2–4": 2, "100–999": 1}
    assert repetition(predictions_of(many)) == {}
    assert units_of(["ab"] * 10 + ["a b"] * 2).name == "word"
    assert units_of(["ab"] * 9 + ["a b", " "]).name == "word"
    assert units_of(["ab"] * 19 + ["a b", "", " "]).name == "character"


@given(
    st.lists(st.text(st.sampled_from("ab é\t語\u3000\x1c\xa0"), max_size=12), max_size=8),
    st.sampled_from(["", " ", "\t"]),
)
@settings(max_examples=100, deadline=None)
def test_words_are_counted_as_they_are_divided(texts: list[str], mark: str) -> None:
    side = TextUnits("word", mark)
    counts = Counter(unit for text in texts for unit in side.split(text))
    assert count_words(texts, {*counts, "z"}, side) == counts
    wanted = set(list(counts)[::2])
    assert count_words(texts, wanted, side) == {one: counts[one] for one in wanted}


class Corpora:
    """A folder with a tiny parallel corpus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for split, pairs in {"train": [("a b", "A B"), ("a", "A A")], "test": [("a z", "A Z")]}.items():
            for side, ending in enumerate(("s", "t")):
                (folder / f"{split}.{ending}").write_text("".join(pair[side] + "\n" for pair in pairs))

    def data(self, **more: Any) -> DataModule:
        return DataModule(Parallel("s", "t"), str(self.folder), tokenizer=more.pop("tokenizer", Words()), **more)


def test_nothing_between_two_tabs_is_no_word() -> None:
    assert TextUnits("word", "\t").split("a b\t\tc\t") == ["a b", "c"]


def test_training_texts_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpora = Corpora(tmp_path)
    data, rows = corpora.data(), predictions_of([("a z", "A Z", "B")])
    assert training_counts(data, rows, False) == WordCounts({"a": 2}, {"A": 3, "B": 1}, 2)
    assert training_counts(data, rows, True) == WordCounts({"a": 2}, {}, 2)
    numbers = corpora.data(tokenizer=NoSource(), target_tokenizer=Vectors())
    assert training_counts(numbers, rows, False) == WordCounts({}, {}, 2)
    texts = data.texts("train")
    assert training_counts(data, rows, False, content=texts.content) is not None
    assert training_counts(data, rows, False, content="of other rows") is None
    monkeypatch.setattr(DataModule, "texts", None)
    monkeypatch.setattr(words, "LIMIT", 1)
    assert training_counts(data, rows, False, train=texts) == WordCounts({"a": 1}, {"A": 1, "B": 1}, 1)


def test_training_texts_that_cannot_be_had(tmp_path: Path) -> None:
    rows = predictions_of([("a z", "A Z", "B")])
    streamed = Corpora(tmp_path).data(window=10, max_length=20)
    assert training_counts(streamed, rows, False) is None
    data = Corpora(tmp_path).data()
    assert training_counts(data, rows, False) is not None
    (tmp_path / "train.s").unlink()
    assert training_counts(data, rows, False) is None


def test_repetition_is_told() -> None:
    many = [
        ("q", "we sat down", "we sat sat down"),
        ("q", "of the sea and of the sea", "of the sea and of the sea"),
        ("q", "one two", "a b c d x a b c d a b c"),
        ("q", "fine words", "fine words"),
    ]
    told = repetition(predictions_of(many))
    assert (told["prediction"], told["reference"]) == (75, 25)
    assert told["rows"] == [{"id": 2, "repeated": "a b c d"}, {"id": 0, "repeated": "sat sat"}]
    loop = repetition(predictions_of([("q", "one two", "la le " * 99)]))
    assert words_in(loop["rows"][0]["repeated"]) == 20, "enough of a loop to see it"


@given(st.lists(st.sampled_from("abc"), max_size=12))
@settings(max_examples=150, deadline=None)
def test_what_repeats_is_found(text: list[str]) -> None:
    threes = [tuple(text[place : place + 3]) for place in range(len(text) - 2)]
    double = any(one == other for one, other in pairwise(text))
    part = repeated(text)
    assert bool(part) == (len(set(threes)) < len(threes) or double)
    if len(part) > 2:
        places = [place for place in range(len(text)) if text[place : place + len(part)] == part]
        assert len(places) > 1
    elif part:
        assert len(set(threes)) == len(threes)


def test_a_loop_of_thousands_of_words_takes_no_time() -> None:
    assert len(repeated(["la", "le"] * 10_000)) == 20_000 - 2
