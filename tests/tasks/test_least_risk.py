"""Minimum Bayes risk: the expected score of each prediction, by sacreBLEU's own numbers and by counting."""

from collections import Counter
from pathlib import Path

import pytest
from sacrebleu.metrics import CHRF

from seq2seq import predict
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.bleu import Bleu, Chrf
from seq2seq.metrics.edit_distance import EditDistance
from seq2seq.metrics.likelihood import Perplexity
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.least_risk import ranked
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, batch_of, saved, small

TEXTS = ["the cat sat", "a cat sat down", "the cat sat", "dogs", "the cat sits"]
ALL = [Hypothesis([number], 0.0, []) for number in range(len(TEXTS))]


def text(one: Hypothesis) -> str:
    return TEXTS[one.tokens[0]]


def test_the_score_is_the_mean_over_all_samples() -> None:
    found = ranked(ALL, text, Chrf())
    scorer = CHRF()
    expected = {own: sum(scorer.sentence_score(own, [other]).score for other in TEXTS) / 5 for own in TEXTS}
    assert {text(one): one.score for one in found} == pytest.approx(expected)
    assert [text(one) for one in found] == sorted(expected, key=lambda own: -expected[own])
    assert [one.score for one in ranked(ALL, text, ExactMatch())] == [40, 20, 20, 20]
    assert text(ranked(ALL, text, Bleu())[0]) == "the cat sat"
    nearest = ranked(ALL, text, EditDistance())  # of which a lower value is better
    assert text(nearest[0]) == "the cat sat"
    assert text(nearest[-1]) == "dogs"
    assert ranked([], text, Chrf()) == []


def test_drawn_predictions_are_ranked_and_the_command_writes_the_best(
    tokenizers: Tokenizers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    task, batch = small(Translation, tokenizers).eval(), batch_of(PAIRS[:2], tokenizers)
    drawn = task.predict(batch, Decoding(12, temperature=0.5, max_length=2))
    found = task.predict(batch, Decoding(12, temperature=0.5, max_length=2, risk=ExactMatch()))
    for row, several in zip(drawn, found, strict=True):
        times = Counter(map(task.text, row)).most_common()
        assert several[0].score == pytest.approx(100 * times[0][1] / 12)
        assert len(several) == len(times)
    (tmp_path / "in").write_text("".join(f"{source}\n" for source, _ in PAIRS[:2]))
    with open(tmp_path / "in") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        options = ["risk=ExactMatch", "beam_size=12", "temperature=0.5", "max_length=2"]
        predict.main(
            [str(saved(task, tmp_path / "one.ckpt")), "--device", "cpu", *(f"--decoding.{one}" for one in options)]
        )
    assert capfdbinary.readouterr().out.decode().splitlines() == [task.text(row[0]) for row in found]


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(InputError, match=r"decoding\.risk.*beam_size is 1\b"):
        Decoding(1, risk=Chrf())
    with pytest.raises(InputError, match="reference_scores"):
        ranked(ALL, text, Perplexity())
    assert Decoding(4, risk=Chrf()).greedy().risk is None
    for groups, more in ((2, {}), (5, {"temperature": 1.0}), (5, {"include": ["a"]})):
        with pytest.raises(InputError, match=rf"decoding\.groups {groups}\b.*beam_size 5\b"):
            Decoding(5, groups=groups, **more)
