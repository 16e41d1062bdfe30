"""Accuracy, F1 and calibration: equal to scikit-learn and to counting by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as truth
from sklearn.preprocessing import MultiLabelBinarizer

from seq2seq.errors import InputError
from seq2seq.metrics.accuracy import SHOWN, Accuracy, ExactMatch, MacroF1, MicroF1
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.calibration import CalibrationError
from tests.support import rows_of

LABELS = st.sampled_from("abcdef")
TOKENS = st.lists(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=6), min_size=1, max_size=8)
SETS = st.lists(st.tuples(st.sets(LABELS), st.sets(LABELS)), min_size=1, max_size=8)


def paired(pairs: Sequence[tuple[str, str]]) -> list[Prediction]:
    """Rows of predictions and references."""
    return rows_of(*zip(*pairs, strict=True))


def tokens(found: list[list[tuple[str, str]]]) -> tuple[list[Prediction], list[str], list[str]]:
    rows = paired([(" ".join(one for one, _ in row), " ".join(other for _, other in row)) for row in found])
    return rows, [one for row in found for one, _ in row], [other for row in found for _, other in row]


@settings(deadline=None)
@given(TOKENS)
def test_labels_of_tokens_score_as_in_scikit_learn(found: list[list[tuple[str, str]]]) -> None:
    rows, guesses, references = tokens(found)
    assert Accuracy().score(rows).value == pytest.approx(100 * truth.accuracy_score(references, guesses))
    known = sorted(set(references))
    macro = truth.f1_score(references, guesses, labels=known, average="macro", zero_division=0)
    assert MacroF1().score(rows).value == pytest.approx(100 * macro)


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@settings(deadline=None)
@given(TOKENS)
def test_details_equal_scikit_learn(found: list[list[tuple[str, str]]]) -> None:
    rows, guesses, references = tokens(found)
    details = MacroF1().details(rows)
    names = list(details["labels"])
    table = truth.precision_recall_fscore_support(references, guesses, labels=names, zero_division=np.nan)
    for name, precision, recall, f1, support in zip(names, *table, strict=True):
        one = details["labels"][name]
        assert [one["precision"], one["recall"], one["f1"]] == pytest.approx(
            [100 * precision, 100 * recall, 100 * f1], nan_ok=True
        )
        assert one["support"] == support
    supports = [one["support"] for one in details["labels"].values()]
    assert supports == sorted(supports, reverse=True)
    assert details["confusion"]["labels"] == names
    assert details["confusion"]["counts"] == truth.confusion_matrix(references, guesses, labels=names).tolist()


@settings(deadline=None)
@given(SETS)
def test_sets_of_labels_score_as_in_scikit_learn(found: list[tuple[set[str], set[str]]]) -> None:
    rows = paired([(" ".join(sorted(one)), " ".join(sorted(other, reverse=True))) for one, other in found])
    known = sorted(set().union(*(other for _, other in found)))
    every = sorted(set("abcdef"))
    binary = MultiLabelBinarizer(classes=every)
    guesses, references = (binary.fit_transform([pair[side] for pair in found]) for side in (0, 1))
    micro = truth.f1_score(references, guesses, average="micro", zero_division=np.nan)
    assert MicroF1().score(rows).value == pytest.approx(100 * micro, nan_ok=True)
    assert ExactMatch(sets=True).score(rows).value == pytest.approx(100 * truth.accuracy_score(references, guesses))
    places = [every.index(label) for label in known]
    macro = truth.f1_score(references, guesses, labels=places, average="macro", zero_division=0) if known else np.nan
    assert MacroF1(sets=True).score(rows).value == pytest.approx(100 * macro, nan_ok=True)
    assert "confusion" not in MacroF1(sets=True).details(rows)


def test_rows_in_which_nothing_was_to_be_found_have_no_score() -> None:
    rows = paired([("", ""), ("a", ""), ("", "a")])
    assert MicroF1().each(rows) == pytest.approx([np.nan, 0, 0], nan_ok=True)
    assert MacroF1(sets=True).each(rows) == pytest.approx([np.nan, np.nan, 0], nan_ok=True)
    for metric in (MacroF1(sets=True), MicroF1()):
        assert metric.score(rows).value == 0


def test_the_order_of_labels_plays_no_part_where_rows_are_sets() -> None:
    rows = paired([("art sport", "sport art"), ("food", "food"), ("", ""), ("art", "art sport")])
    assert ExactMatch().score(rows).value == 50
    assert ExactMatch().of_sets().score(rows).value == 75
    assert ExactMatch(sets=False).of_sets().score(rows).value == 50, "a setting that was given rules"
    assert "sets:yes" in ExactMatch().of_sets().settings()


def test_a_prediction_of_another_length_misses_what_it_lacks() -> None:
    assert Accuracy().score(paired([("a b", "a b c d"), ("x y z w", "x")])).value == pytest.approx(60)
    assert MacroF1().score(paired([("a", "a b")])).value == pytest.approx(50)
    assert MacroF1().score(paired([("a b b", "a")])).value == pytest.approx(100), "b is in no reference"
    assert MacroF1().score(paired([("a a a", "a")])).value == pytest.approx(50), "two times a too many"


def test_labels_only_predicted_take_no_part_in_the_mean() -> None:
    rows = paired([("z", "a"), ("b", "b")])
    assert MacroF1().score(rows).value == pytest.approx(50)
    assert MacroF1().details(rows)["labels"]["z"] == pytest.approx(
        {"precision": 0, "recall": np.nan, "f1": 0, "support": 0}, nan_ok=True
    )


def test_labels_may_hold_blanks_where_tabs_divide_them() -> None:
    rows = paired([("new york\tparis", "new york\trome"), ("sci fi", "sci no")])
    assert Accuracy().score(rows[:1]).value == pytest.approx(50)
    assert Accuracy().score(rows).value == pytest.approx(50), "without a tab blanks divide"
    assert Accuracy(separator="\t").score(rows).value == pytest.approx(100 / 3)
    assert Accuracy().score(paired([("a\tb", "a b"), ("a b", "a\tb")])).value == 50, "the reference decides"
    assert Accuracy(separator=" ").score(paired([(" a  b", "a b")])).value == 100, "nothing is no label"
    assert list(MacroF1(separator="\t").details(rows)["labels"]) == ["new york", "rome", "sci no", "paris", "sci fi"]
    assert MicroF1(separator="\t").score(rows).value == pytest.approx(100 / 3)
    with pytest.raises(InputError, match="separator"):
        Accuracy(separator="")


def test_accuracy_of_a_column() -> None:
    rows = paired([("NOUN￨NN￨x VERB￨VB DET", "NOUN￨NNS￨x VERB￨VB￨z ADJ￨JJ￨y")])
    values = {Accuracy(column).name: Accuracy(column).score(rows).value for column in (1, 2, 3)}
    assert values == pytest.approx({"accuracy_1": 200 / 3, "accuracy_2": 100 / 3, "accuracy_3": 100 / 3})
    assert Accuracy().score(rows).value == 0
    with pytest.raises(InputError, match=r"row 0: .*'NOUN￨NNS￨x' .*3.*column is 4"):
        Accuracy(4).score(rows)
    with pytest.raises(InputError, match=r"column.*0"):
        Accuracy(0)


def test_rare_labels_of_a_confusion_matrix_are_pooled() -> None:
    names = [f"l{place:02}" for place in range(SHOWN + 5)]
    pairs = [(name, name) for place, name in enumerate(names) for _ in range(100 - place)]
    rows = paired([*pairs, ("l34", "l33"), ("l00", "l34"), ("l34", "l00")])
    confusion = MacroF1().details(rows)["confusion"]
    counts = np.array(confusion["counts"])
    assert confusion["labels"] == [*names[:SHOWN], "other"]
    assert counts.sum() == len(rows)
    assert counts[-1, -1] == sum(100 - place for place in range(SHOWN, SHOWN + 5)) + 1
    assert (counts[0, -1], counts[-1, 0], counts[0, 0]) == (1, 1, 100)


def test_a_hundred_thousand_labels_take_no_time_to_speak_of() -> None:
    rows = paired([("a b c d e " * 4, "a b c x e " * 4)] * 1000)
    assert Accuracy().score(rows, interval=True).value == pytest.approx(80)
    assert ExactMatch().score(rows, interval=True).high == 0


def test_calibration_error_is_that_of_counting_bins_by_hand() -> None:
    random = np.random.default_rng(5)
    sure, right = random.uniform(0.001, 1, 500), random.random(500) < 0.7
    rows = [
        Prediction(row, "", "a b", "a b" if hit else "x b", 0.0, [float(np.log(one)), 0.0, 0.0])
        for row, (one, hit) in enumerate(zip(sure, right, strict=True))
    ]
    # The second label is right with confidence 1 and the third score is that of the end.
    every, hits = np.append(sure, np.ones(500)), np.append(right, np.ones(500))
    expected = 0.0
    for low in range(10):
        inside = (every > low / 10) & (every <= (low + 1) / 10)
        if inside.any():
            expected += inside.mean() * abs(every[inside].mean() - hits[inside].mean())
    assert CalibrationError(bins=10).score(rows).value == pytest.approx(100 * expected)
    table = CalibrationError(bins=10).details(rows)["bins"]
    assert sum(one["count"] for one in table) == 1000
    assert [one["low"] for one in table] == pytest.approx(np.arange(10) / 10)
    inside = (sure > 0.2) & (sure <= 0.3)
    assert table[2] == pytest.approx(
        {
            "low": 0.2,
            "high": 0.3,
            "count": inside.sum(),
            "confidence": sure[inside].mean(),
            "accuracy": right[inside].mean(),
        }
    )


def test_calibration_error_of_edges_and_mistakes() -> None:
    edge = Prediction(0, "", "a", "a", 0.0, [float(np.log(0.5))])
    assert [one["count"] for one in CalibrationError(bins=2).details([edge])["bins"]] == [1, 0]
    assert CalibrationError(bins=2).score([edge]).value == pytest.approx(50)
    sure = edge._replace(token_scores=[1e-9])  # a little above 1 by rounding
    assert [one["count"] for one in CalibrationError(bins=2).details([sure])["bins"]] == [0, 1]
    longer = Prediction(0, "", "a", "a b", 0.0, [0.0, 0.0])
    assert CalibrationError().score([longer]).value == pytest.approx(50), "a label too many is wrong"
    with pytest.raises(InputError, match=r"row 0: 1 .*3 token_scores"):
        CalibrationError().score([edge._replace(token_scores=[0.0] * 3)])
    with pytest.raises(InputError, match=r"bins.*0"):
        CalibrationError(bins=0)
