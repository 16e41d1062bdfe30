"""Scores equal what other libraries say, add up over devices, and their intervals hold the value."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.configurable import build
from seq2seq.data.tokenizers.units import Characters
from seq2seq.errors import InputError
from seq2seq.metrics import bleu
from seq2seq.metrics.accuracy import Accuracy, ExactMatch, MacroF1, MicroF1
from seq2seq.metrics.base import RESAMPLES, Metric, Prediction, distinct, draws, resampled
from seq2seq.metrics.bleu import Bleu, Chrf, SacreBleuMetric, Ter
from seq2seq.metrics.calibration import CalibrationError
from seq2seq.metrics.edit_distance import EditDistance, SequenceErrorRate, SymbolErrorRate
from seq2seq.metrics.forecast_errors import (
    MeanAbsoluteError,
    MeanAbsoluteScaledError,
    RootMeanSquaredError,
    RootMeanSquaredScaledError,
)
from seq2seq.metrics.likelihood import BitsPerCharacter, Perplexity
from seq2seq.metrics.morphemes import MorphemeF1
from seq2seq.metrics.rouge import Rouge
from seq2seq.metrics.spans import SpanF1
from tests.support import rows_of

with warnings.catch_warnings():  # nltk imports parts of scipy and of itself that warn; the scores do not depend on them
    warnings.simplefilter("ignore")
    from rouge_score.rouge_scorer import RougeScorer

TEXTS = ["the cat sat on the mat .", "a dog", "", "birds sing loudly in the morning", "one two three four five"]
TRUTHS = ["the cat sat on a mat .", "the dog", "something", "birds sing in the morning", "one two three four five"]


def prediction(
    prediction: str, reference: str, source: str = "", scores: Sequence[float] = (), row: int = 0
) -> Prediction:
    return Prediction(row, source, reference, prediction, 0.0, list(scores))


SACREBLEU: list[SacreBleuMetric] = [Bleu(), Bleu("intl", lowercase=True), Chrf(), Ter()]
WORDS = st.lists(st.sampled_from(["a", "b", "the", "House", "house", "ü", "...", "3,5"]), max_size=9).map(" ".join)


@pytest.mark.parametrize("metric", SACREBLEU, ids=repr)
@given(pairs=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
def test_corpora_and_sentences_score_as_in_sacrebleu(metric: SacreBleuMetric, pairs: list[tuple[str, str]]) -> None:
    texts, truths = [list(side) for side in zip(*pairs, strict=True)]
    rows = rows_of(texts, truths)
    metric = metric.settled([[truth] for truth in truths])  # type: ignore[assignment]
    found, theirs = metric.score(rows), metric.scorer()
    if math.isnan(found.value):
        assert not any(text.strip() for text in ([] if metric.name == "chrf" else texts) + truths)
        return
    assert found.value == pytest.approx(theirs.corpus_score(texts, [truths]).score, abs=1e-9)
    assert found.signature == str(theirs.get_signature())
    if isinstance(metric, Bleu):
        theirs = sacrebleu.BLEU(lowercase=metric.lowercase, tokenize=metric.tokenize, effective_order=True)
    alone = [theirs.sentence_score(text, [truth]).score if truth or (text and metric.name != "chrf") else math.nan
             for text, truth in pairs]  # fmt: skip
    assert metric.each(rows) == pytest.approx(alone, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("metric", SACREBLEU, ids=repr)
@settings(max_examples=25)  # each resamples a thousand times, here and in sacreBLEU
@given(rows=st.lists(st.tuples(WORDS, st.lists(WORDS.filter(bool), min_size=1, max_size=3)), min_size=2, max_size=6))
def test_several_references_score_as_in_sacrebleu(metric: SacreBleuMetric, rows: list[tuple[str, list[str]]]) -> None:
    texts, several = [text for text, _ in rows], [references for _, references in rows]
    streams = [[one[place] if place < len(one) else None for one in several] for place in range(3)]
    streams = [stream for stream in streams if any(one is not None for one in stream)]
    found = metric.score([row._replace(reference=one[0], more_references=one[1:])
                          for row, one in zip(rows_of(texts, texts), several, strict=True)], interval=True)  # fmt: skip
    theirs = metric.settled(several).scorer()  # type: ignore[attr-defined]
    assert found.value == pytest.approx(theirs.corpus_score(texts, streams).score, abs=1e-9)
    if metric.name == "chrf":  # sacreBLEU's interval fails where some resamples are 0
        return
    score = theirs.corpus_score(texts, streams, n_bootstrap=RESAMPLES)
    assert (found.low, found.high) == pytest.approx((score._mean - score._ci, score._mean + score._ci), abs=1e-3)
    assert found.signature == str(theirs.get_signature())


def test_the_best_of_several_references_counts() -> None:
    rows = rows_of(["a b", "c d"], ["x", "c d"])
    rows[0] = rows[0]._replace(more_references=["a b", "y"])
    for metric in (ExactMatch(), Rouge("1")):
        assert metric.score(rows).value == 100
        assert metric.score([rows[0]._replace(more_references=None), rows[1]]).value == 50


LANGUAGES = {
    "红色的猫坐在垫子上。": "zh",
    "その赤い猫はマットの上に座った。": "ja-mecab",
    "빨간 고양이가 매트 위에 앉았다.": "ko-mecab",
    "แมวสีแดงนั่งบนเสื่อ": "char",
    "แมวสีแดง นั่งบน เสื่อ ABC": "char",
    "ແມວສີແດງນັ່ງຢູ່ເທິງເສື່ອ": "char",
    "ឆ្មាក្រហមអង្គុយលើកន្ទេល": "char",
    "ကြောင်နီလေးသည်ဖျာပေါ်တွင်ထိုင်သည်": "char",
    "བྱི་ལ་དམར་པོ་": "char",
    "Die rote Katze saß auf der Matte.": "13a",
    "Красная кошка сидела на коврике.": "13a",
    "लाल बिल्ली चटाई पर बैठी": "13a",
    "القطة الحمراء جلست على الحصيرة": "13a",
    "123 4,5": "13a",
    "": "13a",
}


@pytest.mark.parametrize(("text", "tokenize"), LANGUAGES.items())
@pytest.mark.parametrize("there", [True, False])
def test_bleu_splits_by_the_script_of_the_references(
    text: str, tokenize: str, there: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bleu, "installed", lambda name: there or "mecab" not in name)
    found = Bleu().settled([[text]] * 3)
    expected = tokenize if there or "mecab" not in tokenize else "char"
    assert found.specification()["init_args"]["tokenize"] == expected
    assert ("sacrebleu[" in caplog.text) == (expected != tokenize), "what to install is said, and nothing else"
    if "mecab" not in expected and text.strip("123 4,5"):
        assert f"tok:{expected}" in found.settings()
        whole = rows_of([text] * 3, [text] * 3)
        assert Bleu(expected).score(whole).value == pytest.approx(100)
        for metric in (Rouge(), Ter(), Chrf()):
            assert metric.score(whole).value == pytest.approx(0 if metric.name == "ter" else 100)
    assert Bleu("intl").settled([[text]]).specification()["init_args"]["tokenize"] == "intl"


def test_an_error_in_a_sentence_without_spaces_is_not_the_whole_sentence() -> None:
    rows = rows_of(["红色的猫坐在垫子上吃鱼"], ["红色的狗坐在垫子上吃鱼"])
    assert 30 < Bleu().score(rows).value < 100
    assert Ter().score(rows).value == pytest.approx(100 / 11)
    assert "tok:char" in Ter().score(rows).signature
    assert Ter(characters=False).score(rows).value == 100
    assert Rouge().score(rows).value == pytest.approx(100 * 10 / 11)


def test_a_tokenizer_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(["a"], ["a"])
    with pytest.raises(InputError, match=r"jieba.*13a.*zh"):
        Bleu("jieba").score(rows)
    monkeypatch.setattr(bleu, "installed", lambda name: False)
    with pytest.raises(InputError, match=r"ja-mecab.*sacrebleu\[ja\]"):
        Bleu("ja-mecab").score(rows)


def test_metrics_of_one_name_get_names_that_differ() -> None:
    def names(*metrics: Metric) -> list[str]:
        return [metric.name for metric in distinct(metrics)]

    assert names(Bleu("char"), Bleu("13a"), Chrf()) == ["bleu_char", "bleu_13a", "chrf"]
    assert names(Bleu(lowercase=True), Bleu()) == ["bleu_lowercase", "bleu"]
    assert names(Rouge("1"), Rouge("1", stem=False), Rouge()) == ["rouge1", "rouge1_no_stem", "rougeL"]
    assert names(SymbolErrorRate(grouped=True), SymbolErrorRate()) == ["per_grouped", "per"]
    assert names(Accuracy(), Accuracy(separator="\t"), Accuracy(2)) == [
        "accuracy",
        "accuracy_separator_tab",
        "accuracy_2",
    ]
    assert names(MeanAbsoluteScaledError(12), MeanAbsoluteScaledError()) == ["mase_season_12", "mase"]
    assert names(Bleu(), Bleu(), Bleu()) == ["bleu", "bleu_2", "bleu_3"]
    again = distinct(distinct([Bleu("char"), Bleu("zh")]))
    assert [one.name for one in again] == ["bleu_char", "bleu_zh"], "names are given anew, not longer"
    assert names(again[0]) == ["bleu"]


@pytest.mark.parametrize("rare", [1, 2])
def test_intervals_of_macro_averages_do_not_jump_where_a_resample_lacks_a_label(rare: int) -> None:
    rows = rows_of(["a"] * (40 + rare), ["a"] * 40 + ["b"] * rare)
    score = MacroF1().score(rows, interval=True)
    assert score.value == pytest.approx(50, abs=2)
    assert score.high < 51, "without b the mean would be 100"  # type: ignore[operator]
    groups = [Prediction(row, f"{'xy'[row < rare]}\tw", "a", "z" if row < rare else "a", 0.0, []) for row in range(40)]
    score = SymbolErrorRate(grouped=True).score(groups, interval=True)
    assert (score.low, score.value, score.high) == (50, 50, 50)


@pytest.mark.parametrize("metric", SACREBLEU, ids=repr)
def test_intervals_are_those_of_sacrebleu(metric: SacreBleuMetric) -> None:
    texts, truths = TEXTS * 8, TRUTHS * 8
    found = metric.score(rows_of(texts, truths), interval=True)
    score = (theirs := metric.scorer()).corpus_score(texts, [truths], n_bootstrap=RESAMPLES)
    assert (found.low, found.high) == pytest.approx((score._mean - score._ci, score._mean + score._ci), abs=1e-3)
    assert found.signature == str(theirs.get_signature())
    assert metric.score(rows_of(texts, truths)).low is None


def test_resamples_are_those_of_sacrebleu() -> None:
    for rows in (2, 7, 101):
        drawn = np.random.default_rng(12345).choice(rows, size=(RESAMPLES, rows), replace=True)
        assert np.array_equal(np.concatenate(list(draws(rows))), [np.bincount(row, minlength=rows) for row in drawn])
    counts = np.random.default_rng(1).integers(9, size=(7, 3)).astype(float)
    drawn = np.random.default_rng(12345).choice(7, size=(RESAMPLES, 7), replace=True)
    assert np.array_equal(resampled(counts), counts[drawn].sum(axis=1))


def test_the_strings_are_those_that_sacrebleus_command_line_reads() -> None:
    assert Bleu().score(rows_of([text + " \u2028" for text in TEXTS], TRUTHS)) == Bleu().score(rows_of(TEXTS, TRUTHS))


@pytest.mark.parametrize("metric", SACREBLEU, ids=repr)
def test_intervals_of_tiny_and_hopeless_sets(metric: SacreBleuMetric) -> None:
    for texts, truths in ((["a b", "x"], ["a b", "y"]), (["", ""], ["a", "b"]), (["a"], ["a"])):
        score = metric.score(rows_of(texts, truths), interval=True)
        assert score.low is None or score.low <= score.high  # type: ignore[operator]


def test_exact_match_is_the_share_of_equal_rows() -> None:
    score = ExactMatch().score([prediction("a", "a"), prediction(" b", "b"), prediction("c ", "x")])
    assert score.value == pytest.approx(200 / 3)
    assert score.signature == "exact_match|strip:yes"
    rows = [prediction("yes", "yes")] * 70 + [prediction("no", "yes")] * 30
    wide = ExactMatch().score(rows, interval=True)
    half = 1.96 * np.sqrt(0.7 * 0.3 / 100) * 100
    assert wide.low == pytest.approx(70 - half, abs=2)
    assert wide.high == pytest.approx(70 + half, abs=2)
    assert wide.signature == "exact_match|strip:yes|bs:1000|seed:12345"


def labelled(random: np.random.Generator, labels: Sequence[str], count: int = 40) -> list[Prediction]:
    """Rows of labels, half of which are right."""
    rows = []
    for row in range(count):
        length = int(random.integers(1, 8))
        reference = random.choice(labels, length)
        wrong = random.choice(labels, length)
        texts = " ".join(np.where(random.random(length) < 0.5, reference, wrong)), " ".join(reference)
        scores = np.log(random.uniform(0.01, 1, length)).tolist()
        more = np.log(random.uniform(0.01, 1, length + 1)).tolist()
        rows.append(Prediction(row, f"{'xyz'[row % 3]}\tword", texts[1], texts[0], -1.0, scores, more))
    return rows


def numeric(random: np.random.Generator, count: int = 40) -> list[Prediction]:
    rows = []
    for row in range(count):
        source, reference, guess = (
            "\t".join(" ".join(f"{value:.3f}" for value in step) for step in random.normal(size=(steps, 2)))
            for steps in (9, 3, 3)
        )
        rows.append(Prediction(row, source, reference, guess, 0.0, []))
    return rows


ON_LABELS: list[Metric] = [
    ExactMatch(),
    Accuracy(),
    MacroF1(),
    MacroF1(sets=True),
    MicroF1(),
    CalibrationError(bins=5),
    SpanF1(),
    MorphemeF1(" "),
    SequenceErrorRate(),
    SequenceErrorRate(grouped=True),
    SymbolErrorRate(),
    SymbolErrorRate(grouped=True),
    EditDistance(),
    Rouge("1"),
    Rouge("2", stem=False),
    Rouge(),
    Perplexity(),
    BitsPerCharacter(),
]
ON_NUMBERS: list[Metric] = [
    MeanAbsoluteError(),
    RootMeanSquaredError(),
    MeanAbsoluteScaledError(2),
    RootMeanSquaredScaledError(2),
]
EVERY = [*ON_LABELS, *ON_NUMBERS]


@pytest.mark.parametrize("metric", EVERY, ids=repr)
def test_counts_add_up_over_devices_and_rows_are_scored_as_if_alone(metric: Metric) -> None:
    random = np.random.default_rng(3)
    rows = numeric(random) if metric in ON_NUMBERS else labelled(random, ["O", "B-a", "I-a", "B-b"])
    whole = metric.statistics(rows)
    assert whole.shape[0] == len(rows)
    # Each third holds every label and group, so that its columns are those of the whole.
    parts = [metric.statistics(rows[start : start + 14]).sum(axis=0) for start in (0, 14, 28)]
    assert sum(parts) == pytest.approx(whole.sum(axis=0))
    assert float(metric.value(sum(parts))) == pytest.approx(metric.score(rows).value)
    assert metric.each(rows) == pytest.approx([metric.each([row])[0] for row in rows])
    if not isinstance(metric, (MacroF1, MicroF1, SpanF1)):  # which find nothing where there is nothing
        assert metric.each(rows) == pytest.approx([metric.score([row]).value for row in rows])
    score = metric.score(rows, interval=True)
    assert score.low is not None
    assert score.high is not None
    # Resampling makes a distance between means larger: its interval may lie above the value.
    assert score.low < score.high
    assert isinstance(metric, CalibrationError) or score.low < score.value < score.high
    assert metric.score(rows, interval=True) == score
    assert score.signature == metric.score(rows).signature + "|bs:1000|seed:12345"
    assert score.signature.startswith(metric.settings())


@pytest.mark.parametrize("metric", EVERY, ids=repr)
def test_nothing_has_no_score_and_empty_texts_have_one_where_rows_count(metric: Metric) -> None:
    empty = Prediction(0, "a\t", "", "", 0.0, [], [])
    assert math.isnan(metric.score([], interval=True).value)
    assert metric.each([]) == []
    metric.details([])
    score = metric.score([empty] * 3, interval=True)
    if metric.name in ("exact_match", "edit_distance", "wer", "bits_per_character"):
        assert (score.value, score.low, score.high) == (100.0 if metric.name == "exact_match" else 0.0,) * 3
    else:
        assert math.isnan(score.value)
        assert (score.low, score.high) == (None, None)
        assert all(map(math.isnan, metric.each([empty] * 3)))
    metric.details([empty])
    if metric not in ON_NUMBERS:
        label = "S-x" if metric.name == "span_f1" else "O"
        known = [empty._replace(prediction=label, reference=label, token_scores=[-1.0], reference_scores=[-1.0]), empty]
        assert math.isfinite(metric.score(known).value), "a row without anything to score spoils nothing"
        interval = metric.score(known, interval=True)
        assert math.isfinite(interval.low), "nor an interval"  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", [Bleu(), Chrf(), Ter()], ids=repr)
def test_texts_without_words_on_either_side_have_no_score(metric: Metric) -> None:
    assert math.isnan(metric.score(rows_of(["", ""], ["", " "])).value)
    assert metric.score(rows_of(["", ""], ["a b", "c"])).value == (100 if metric.name == "ter" else 0)
    assert metric.rank(math.nan) == -math.inf, "no checkpoint is chosen for it"


@pytest.mark.parametrize("metric", EVERY, ids=repr)
def test_metrics_describe_themselves(metric: Metric) -> None:
    again = build(Metric, metric.specification())
    assert repr(again) == repr(metric)
    assert again.name == metric.name
    assert metric.name


def test_settings_that_change_the_number_stand_in_the_signature() -> None:
    pairs: list[tuple[Metric, Metric]] = [
        (Accuracy(), Accuracy(2)),
        (Accuracy(), Accuracy(separator="\t")),
        (MacroF1(), MacroF1(sets=True)),
        (CalibrationError(), CalibrationError(bins=10)),
        (SequenceErrorRate(), SequenceErrorRate(grouped=True)),
        (Rouge("1"), Rouge("2")),
        (Rouge(), Rouge(stem=False)),
        (MeanAbsoluteScaledError(), MeanAbsoluteScaledError(12)),
    ]
    for one, other in pairs:
        assert one.settings() != other.settings()
    assert {metric.name for metric in EVERY if not metric.higher_is_better} == {
        *(
            "calibration_error",
            "wer",
            "per",
            "edit_distance",
            "mae",
            "rmse",
            "mase",
            "rmsse",
            "perplexity",
            "bits_per_character",
        )
    }


SENTENCES = [
    ("The cats were sitting on the mat.", "The cat sat on the mats"),
    ("Running quickly", "He ran quickly; running is healthy"),
    ("naïve Über-Straße", "naive uber strasse"),
    ("", "something"),
    ("42 apples", "42 apples and 7 pears"),
    ("Привет мир", "Привет мир"),
]


@pytest.mark.parametrize("stem", [True, False])
@pytest.mark.parametrize("kind", ["1", "2", "L"])
def test_rouge_equals_rouge_score(kind: Any, stem: bool) -> None:
    metric = Rouge(kind, stem, tokens="latin")
    every = Rouge(kind, stem, tokens="any")
    scorer = RougeScorer([f"rouge{kind}"], use_stemmer=stem)
    expected = [100 * scorer.score(target, guess)[f"rouge{kind}"].fmeasure for guess, target in SENTENCES]
    rows = [prediction(guess, target) for guess, target in SENTENCES]
    assert metric.name == f"rouge{kind}"
    assert metric.each(rows) == pytest.approx(expected)
    assert every.each(rows)[:-1] == pytest.approx(expected[:-1])
    assert Rouge(kind, stem).score(rows[:-1]).signature == metric.score(rows[:-1]).signature
    assert metric.score(rows).value == pytest.approx(float(np.mean(expected)))
    assert expected[-1] == 0, "the library knows no letters but a to z"
    assert Rouge(kind, stem).score(rows[-1:]).value == 100, "which is not to be left at that"
    assert f"stem:{'yes' if stem else 'no'}" in metric.score(rows).signature
    assert "rouge_score:" in metric.score(rows).signature


def test_stems_matter_to_rouge() -> None:
    rows = [prediction("sitting gas", "sits ga")]
    assert Rouge("1", stem=False).score(rows).value == 0
    assert Rouge("1").score(rows).value == pytest.approx(50), "words of three letters keep their endings"


def test_likelihoods_are_those_of_the_references() -> None:
    half, quarter = math.log(0.5), math.log(0.25)
    rows = [
        Prediction(0, "", "abc", "zzz", 0.0, [-9.0], [half, half, half, half]),
        Prediction(1, "", "d", "", 0.0, [], [quarter, quarter]),
    ]
    assert Perplexity().score(rows).value == pytest.approx(2 ** (8 / 6))
    assert Perplexity().each(rows) == pytest.approx([2, 4])
    assert BitsPerCharacter().score(rows).value == pytest.approx(8 / 6)
    assert BitsPerCharacter().each(rows) == pytest.approx([1, 2])
    assert BitsPerCharacter().score([rows[0]._replace(reference="abcdefg")]).value == pytest.approx(0.5)
    for metric in (Perplexity(), BitsPerCharacter()):
        with pytest.raises(InputError, match=f"row 1 .*reference_scores.*{metric.name}"):
            metric.score([rows[0], rows[1]._replace(reference_scores=None)])


def test_an_impossible_reference_has_an_endless_perplexity_that_is_a_number() -> None:
    rows = [Prediction(0, "", "a", "", 0.0, [], [-math.inf, -1.0]), Prediction(1, "", "a", "", 0.0, [], [-1.0, -1.0])]
    score = Perplexity().score(rows, interval=True)
    assert math.inf > score.value > 1e300
    assert score.high == score.value
    assert score.low == pytest.approx(math.e), "a resample without the row"


def test_words_are_what_stands_between_blanks() -> None:
    assert Characters().length(" one  two\u00a0three ") == 3
    assert Characters().length("") == 0


def test_a_known_temperature_and_calibration_error_are_recovered() -> None:
    """Labels that are right as often as p says are told with the log-odds of p doubled."""
    random = np.random.default_rng(4)
    p = random.uniform(0.5, 0.99, 20_000)
    told = 1 / (1 + ((1 - p) / p) ** 2)
    right = random.random(20_000) < p
    rows = [
        prediction("yes", "yes" if one else "no", scores=[float(np.log(sure))], row=row)
        for row, (sure, one) in enumerate(zip(told, right, strict=True))
    ]
    metric = CalibrationError()
    expected = 100 * float(np.abs(told - p).mean())  # the gap has one sign everywhere, so bins lose nothing
    assert metric.score(rows).value == pytest.approx(expected, abs=0.7)
    fitted = metric.details(rows)["temperature"]
    assert fitted["temperature"] == pytest.approx(2, abs=0.12)
    assert fitted["before"] == pytest.approx(metric.score(rows[1::2]).value), "of the half that it is not fitted to"
    assert fitted["after"] < 1.5
    assert "temperature" not in metric.details(rows[:90])


def test_morphemes_are_a_multiset_of_each_word_and_add_up() -> None:
    rows = rows_of(["a @@b @@b", "b @@a @@c", "x", "", " y @@ "], ["a @@b", "a @@b", "x @@y", "z", "y"])
    metric = MorphemeF1()
    assert metric.statistics(rows).tolist() == [[2, 3, 2], [2, 3, 2], [1, 1, 2], [0, 0, 1], [1, 1, 1]]
    assert metric.score(rows).value == pytest.approx(100 * 2 * 6 / (8 + 8))
    assert metric.details(rows) == {"precision": pytest.approx(75), "recall": pytest.approx(75)}
    assert MorphemeF1(separator="|").score(rows_of(["a|b"], ["b|a"])).value == 100
    assert MorphemeF1("|").settings() != metric.settings()
    with pytest.raises(InputError, match="separator"):
        MorphemeF1(separator="")
