"""Scores equal what sacreBLEU says, and intervals hold the value."""

import numpy as np
import pytest
import sacrebleu

from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.bleu import Bleu, Chrf
from seq2seq.results import words

TEXTS = ["the cat sat on the mat .", "a dog", "", "birds sing loudly in the morning", "one two three four five"]
TRUTHS = ["the cat sat on a mat .", "the dog", "something", "birds sing in the morning", "one two three four five"]


@pytest.mark.parametrize("interval", [False, True])
def test_bleu_and_chrf_equal_sacrebleu(interval: bool) -> None:
    assert Bleu().compute(TEXTS, TRUTHS, interval).value == pytest.approx(sacrebleu.corpus_bleu(TEXTS, [TRUTHS]).score)
    assert Chrf().compute(TEXTS, TRUTHS, interval).value == pytest.approx(sacrebleu.corpus_chrf(TEXTS, [TRUTHS]).score)


def test_signatures_say_what_changes_the_number() -> None:
    plain, lower = Bleu().compute(TEXTS, TRUTHS), Bleu("intl", lowercase=True).compute(TEXTS, TRUTHS, True)
    assert "case:mixed" in plain.signature
    assert "tok:13a" in plain.signature
    assert "case:lc" in lower.signature
    assert "tok:intl" in lower.signature
    assert "bs:1000" in lower.signature


@pytest.mark.parametrize("metric", [Bleu(), Chrf(), ExactMatch()], ids=lambda metric: metric.name)
def test_intervals_and_rows(metric: Bleu | Chrf | ExactMatch) -> None:
    texts, truths = TEXTS * 8, TRUTHS * 8
    score = metric.compute(texts, truths, interval=True)
    assert score.low is not None
    assert score.high is not None
    assert score.low < score.value < score.high
    again = metric.compute(texts, truths, interval=True)
    assert again == score
    rows = metric.rows(TEXTS, TRUTHS)
    assert len(rows) == len(TEXTS)
    assert rows[4] == pytest.approx(100)
    assert rows[2] == pytest.approx(0)
    assert metric.compute(texts, truths).low is None


def test_bleu_takes_the_strings_as_the_command_line_reads_them() -> None:
    assert Bleu().compute([text + " \u2028" for text in TEXTS], TRUTHS) == Bleu().compute(TEXTS, TRUTHS)


@pytest.mark.parametrize("metric", [Bleu(), Chrf()], ids=lambda metric: metric.name)
def test_intervals_of_tiny_and_hopeless_sets(metric: Bleu | Chrf) -> None:
    for texts, truths in ((["a b", "x"], ["a b", "y"]), (["", ""], ["a", "b"]), (["a"], ["a"])):
        score = metric.compute(texts, truths, interval=True)
        assert score.low is None or score.low <= score.high  # type: ignore[operator]


def test_exact_match_is_the_share_of_equal_rows() -> None:
    score = ExactMatch().compute(["a", " b", "c "], ["a", "b", "x"])
    assert score.value == pytest.approx(200 / 3)
    assert ExactMatch().compute([], []).value == 0
    right = ["yes"] * 70 + ["no"] * 30
    wide = ExactMatch().compute(right, ["yes"] * 100, interval=True)
    half = 1.96 * np.sqrt(0.7 * 0.3 / 100) * 100
    assert wide.low == pytest.approx(70 - half, abs=2)
    assert wide.high == pytest.approx(70 + half, abs=2)


def test_words_are_what_stands_between_blanks() -> None:
    assert words(" one  two\u00a0three ") == 3
    assert words("") == 0
