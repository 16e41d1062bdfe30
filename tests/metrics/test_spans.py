"""Spans are counted exactly as conlleval and seqeval count them, whatever the labels look like."""

import itertools
import time
from collections import Counter

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.spans import Span, SpanF1, spans
from tests.support import rows_of

TYPES = ("person", "group")


def alphabet(prefixes: str, types: tuple[str, ...] = TYPES) -> list[str]:
    return ["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in types)]


def drawn(random: np.random.Generator, labels: list[str], count: int) -> list[list[str]]:
    """Sequences of any labels in any order, most of them ill-formed."""
    return [random.choice(labels, random.integers(1, 9)).tolist() for _ in range(count)]


def well_formed(random: np.random.Generator, scheme: str, count: int) -> list[tuple[list[str], set[Span]]]:
    """Sequences that follow a scheme, and their spans."""
    result = []
    for _ in range(count):
        labels: list[str] = []
        expected = set()
        for _ in range(int(random.integers(1, 6))):
            length, kind = int(random.integers(1, 4)), str(random.choice(TYPES))
            if random.random() < 0.4:
                labels.append("O")
                continue
            expected.add(Span(kind, len(labels), len(labels) + length))
            touches = bool(labels) and labels[-1].endswith(kind)
            inside = ["I"] * (length - 1)
            prefixes = {
                "IOB1": ["B" if touches else "I", *inside],
                "IOB2": ["B", *inside],
                "BIOES": ["S"] if length == 1 else ["B", *inside[1:], "E"],
                "BILOU": ["U"] if length == 1 else ["B", *inside[1:], "L"],
            }[scheme]
            labels += [f"{prefix}-{kind}" for prefix in prefixes]
        result.append((labels, expected))
    return result


def conlleval(references: list[list[str]], guesses: list[list[str]]) -> tuple[int, int, int]:
    """Correct, guessed and reference chunks as the state machine of conlleval.pl counts them.

    Rewritten from its rules for B, I, E and O; it goes through reference and guess side by side, as the script does.
    """
    ending = {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O"), ("E", "E"), ("E", "I"), ("E", "O")}
    starting = {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I"), ("E", "E"), ("E", "I"), ("O", "E")}
    correct = guessed = reference = 0
    inside, before = False, [("O", ""), ("O", "")]
    streams = [[label for row in side for label in (*row, "O")] for side in (references, guesses)]
    for labels in zip(*streams, strict=True):
        now = [(label[:1], label[2:]) for label in labels]
        ends, starts = [], []
        for (tag, kind), (new, current) in zip(before, now, strict=True):
            ends.append((tag, new) in ending or (tag != "O" and kind != current))
            starts.append((tag, new) in starting or (new != "O" and kind != current))
        if inside:
            if all(ends) and before[0][1] == before[1][1]:
                correct, inside = correct + 1, False
            elif ends[0] != ends[1] or now[0][1] != now[1][1]:
                inside = False
        inside = inside or (all(starts) and now[0][1] == now[1][1])
        reference, guessed, before = reference + starts[0], guessed + starts[1], now
    return correct + inside, guessed, reference


def joined(guesses: list[list[str]], references: list[list[str]]) -> list[Prediction]:
    return rows_of(map(" ".join, guesses), map(" ".join, references))


@pytest.mark.parametrize("prefixes", ["B", "I", "BI", "BIE", "BIES", "IE", "BIS"])
def test_spans_equal_seqeval_on_any_labels(prefixes: str) -> None:
    random = np.random.default_rng(11)
    for labels in drawn(random, alphabet(prefixes), 1500):
        expected = {Span(kind, start, end + 1) for kind, start, end in get_entities(labels)}
        assert spans(labels) == expected, labels


def test_spans_equal_seqeval_on_every_short_sequence() -> None:
    for labels in itertools.product(alphabet("BIES", ("x", "y")), repeat=4):
        expected = {Span(kind, start, end + 1) for kind, start, end in get_entities(list(labels))}
        assert spans(labels) == expected, labels


@pytest.mark.parametrize("prefixes", ["I", "BI", "IE"])
def test_counts_equal_the_script_on_any_labels(prefixes: str) -> None:
    random = np.random.default_rng(12)
    labels = alphabet(prefixes)
    references = drawn(random, labels, 3000)
    # Half of the labels are those of the reference, so that spans are right often.
    guesses = [[one if random.random() < 0.5 else str(random.choice(labels)) for one in row] for row in references]
    counts = SpanF1().statistics(joined(guesses, references)).sum(axis=0)
    assert tuple(counts) == conlleval(references, guesses)
    assert counts[0] > 500
    singles = [conlleval([one], [other]) for one, other in zip(references[:300], guesses, strict=False)]
    assert SpanF1().statistics(joined(guesses[:300], references[:300])).tolist() == [list(one) for one in singles]


def test_where_the_script_differs() -> None:
    # It has no rule for a B after an E, and none for S: both would join neighbours of one type.
    labels = "B-x E-x B-x E-x".split()
    assert conlleval([labels], [labels]) == (1, 1, 1)
    assert spans(labels) == {Span("x", 0, 2), Span("x", 2, 4)}
    labels = "S-x S-x".split()
    assert conlleval([labels], [labels]) == (1, 1, 1)
    assert spans(labels) == {Span("x", 0, 1), Span("x", 1, 2)}


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BILOU"])
def test_spans_of_every_scheme_are_found(scheme: str) -> None:
    for labels, expected in well_formed(np.random.default_rng(13), scheme, 500):
        assert spans(labels) == expected, labels


def test_last_and_unit_are_other_names_for_end_and_single() -> None:
    for labels in drawn(np.random.default_rng(15), alphabet("BIES"), 500):
        renamed = [label.replace("E-", "L-").replace("S-", "U-") for label in labels]
        assert spans(renamed) == spans(labels)


def test_scores_and_details_of_a_small_set() -> None:
    references = ["B-person I-person O B-group".split(), "O O".split(), ["S-group"]]
    guesses = ["B-person I-person O B-person".split(), "O B-group".split(), ["U-group"]]
    rows = joined(guesses, references)
    assert SpanF1().score(rows).value == pytest.approx(100 * 2 * 2 / (4 + 3))
    details = SpanF1().details(rows)
    assert details["precision"] == pytest.approx(50)
    assert details["recall"] == pytest.approx(200 / 3)
    assert list(details["labels"]) == ["group", "person"]
    assert details["labels"]["group"] == pytest.approx({"precision": 50, "recall": 50, "f1": 50, "support": 2})
    person = {"precision": 50, "recall": 100, "f1": 200 / 3, "support": 1}
    assert details["labels"]["person"] == pytest.approx(person)
    each = SpanF1().each(joined([["O"], ["B-x"]], [["O"], ["O"]]))
    assert each == pytest.approx([float("nan"), 0], nan_ok=True), "a row without spans has no F1"


def test_types_of_spans_hold_dashes_and_may_be_absent() -> None:
    assert spans("B-creative-work I-creative-work I-work".split()) == {Span("creative-work", 0, 2), Span("work", 2, 3)}
    assert spans("B I O I".split()) == {Span("", 0, 2), Span("", 3, 4)}


def test_labels_that_are_no_spans() -> None:
    assert spans("B-x NOUN I-x".split()) == {Span("x", 0, 1), Span("x", 2, 3)}, "outside where it is predicted"
    with pytest.raises(InputError, match=r"row 1: .*'NOUN'"):
        SpanF1().score(joined([["O"], ["O"]], [["O"], ["NOUN"]]))


def test_predictions_of_another_length_are_counted() -> None:
    rows = joined([["B-x"], "B-x O B-x O".split()], [["B-x", "B-x"], ["B-x"]])
    assert SpanF1().statistics(rows).tolist() == [[1, 1, 2], [1, 2, 1]]


def test_a_test_set_is_scored_at_once() -> None:
    random = np.random.default_rng(14)
    references = [random.choice(alphabet("BI"), 20).tolist() for _ in range(1250)]
    guesses = [random.choice(alphabet("BI"), 20).tolist() for _ in range(1250)]
    rows = joined(guesses, references)
    start = time.process_time()
    counts = SpanF1().statistics(rows).sum(axis=0)
    assert time.process_time() - start < 1
    kinds = Counter(kind for row in references for kind, *_ in get_entities(row))
    assert {name: one["support"] for name, one in SpanF1().details(rows)["labels"].items()} == kinds
    assert counts[2] == sum(kinds.values())
