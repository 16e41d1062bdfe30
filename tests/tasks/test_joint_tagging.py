"""Labels of tokens and a class of their sentence from one network: rows, vocabulary, network, and what users see."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seq2seq
from seq2seq import predict
from seq2seq.data.corpora.conll import Conll
from seq2seq.data.corpora.corpus import Corpus
from seq2seq.data.corpora.json_rows import Jsonl
from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.corpora.spans import Spans
from seq2seq.data.corpora.tables import Csv
from seq2seq.data.tokenizers.base import SPECIAL, Tokenizers
from seq2seq.data.tokenizers.units import Labels, Words
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.accuracy import Accuracy, ExactMatch, SentenceAccuracy
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.calibration import CalibrationError
from seq2seq.metrics.spans import SpanF1
from seq2seq.models.tagger import AutoregressiveTagger, Crf, Softmax, Tagger
from seq2seq.report.examples import example
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.tagging import Tagging
from tests import support

batch_of = partial(support.batch_of, row_format=Tagging.row_format)
tiny = partial(support.small, Tagging)

CITIES = ("oslo", "rome", "new york", "los angeles")
WORDS = {"flight": "show planes", "fare": "what is paid", "hour of day": "when does it leave"}


def asked(count: int, seed: int) -> list[tuple[str, str, str]]:
    """Questions with their slots and intents: which slot a city has depends on the word before it."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        intent = str(random.choice([*WORDS]))
        words, slots = WORDS[intent].split(), ["O"] * len(WORDS[intent].split())
        for place in ("from", "to"):
            city = str(random.choice(CITIES)).split()
            words, slots = [*words, place, *city], [*slots, "O", f"B-{place}", *[f"I-{place}"] * (len(city) - 1)]
        rows.append((" ".join(words), " ".join(slots), intent))
    return rows


ROWS = [(words, f"{intent} ‖ {slots}") for words, slots, intent in asked(40, 1)]
OTHERS = [(words, f"{intent} ‖ {slots}") for words, slots, intent in asked(20, 2)]


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    return support.learnt(ROWS, Words(), Labels())


# --- rows ------------------------------------------------------------------------------------------------------------


def files(folder: Path, form: str) -> Corpus:
    """The questions in one of the forms in which people have them."""
    rows = asked(3, 1)
    if form == "csv":
        lines = ["text,slots,intent", *(",".join(row) for row in rows)]
        (folder / "train.csv").write_text("\n".join(lines) + "\n")
        return Csv("text", "slots", sentence="intent")
    if form == "jsonl":
        lines = [
            json.dumps({"text": one.split(), "slots": two.split(), "of": {"intent": name}}) for one, two, name in rows
        ]
        (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
        return Jsonl("text", "slots", sentence="of.intent")
    if form == "conll":
        text = "".join(
            f"# id: 7\n# intent: {name}\n" + "".join(f"{w}\t{t}\n" for w, t in zip(one.split(), two.split(), strict=True)) + "\n"
            for one, two, name in rows
        )  # fmt: skip
        (folder / "train.conll").write_text(text)
        return Conll(comments="#", sentence="intent")
    names = ["seq.in", "seq.out", "label"]
    (folder / "train").mkdir()
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        (folder / "train" / name).write_text("\n".join(column) + "\n")
        (folder / f"train.{name}").write_text("\n".join(column) + "\n")
    if form == "folders":
        return Parallel("", "", pairs={"train": [f"train/{name}" for name in names]})
    return Parallel("seq.in", "seq.out", sentence="label")


@pytest.mark.parametrize("form", ["csv", "jsonl", "conll", "folders", "endings"])
def test_every_form_gives_the_class_and_the_labels(tmp_path: Path, form: str) -> None:
    rows = list(files(tmp_path, form).rows("train", str(tmp_path)))
    assert [(row.source.replace("\t", " "), row.target.replace("\t", " ")) for row in rows] == ROWS[:3]


def test_spans_have_a_class_too(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "Anna rang", "entities": [[0, 4, "PER"]], "intent": "news"}\n')
    [row] = Spans(sentence="intent").rows("train", str(tmp_path))
    assert row.target == "news ‖ B-PER\tO"


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("# intent = a\nx O\n\ny O\n")
    with pytest.raises(InputError, match=r"train\.conll:4: .*# intent"):
        list(Conll(sentence="intent").rows("train", str(tmp_path)))
    (tmp_path / "train.csv").write_text("text,slots,intent\nx y,O O,\n")
    with pytest.raises(InputError, match=r"train\.csv:2: .*class of the sentence is ''"):
        list(Csv("text", "slots", sentence="intent").rows("train", str(tmp_path)))
    corpus = files(tmp_path, "endings")
    (tmp_path / "train.label").write_text("flight\n")
    with pytest.raises(InputError, match=r"train\.seq\.in has 3 lines but .*train\.label has 1"):
        list(corpus.rows("train", str(tmp_path)))
    (tmp_path / "train.label").unlink()
    with pytest.raises(InputError, match=r"train\.label"):
        list(corpus.rows("train", str(tmp_path)))


def test_classes_are_a_vocabulary_of_their_own(tokenizers: Tokenizers) -> None:
    target = tokenizers.target
    assert isinstance(target, Labels)
    assert target.classes == ("fare", "flight", "hour of day")
    assert target.vocabulary == ("B-from", "B-to", "I-from", "I-to", "O")
    again = support.reborn(target)
    for text in ("hour of day ‖ O B-to", "flight ‖ O"):
        assert again.decode(again.encode([text])[0]) == text
    ids = again.encode(["train ‖ O B-to"])[0]
    assert (len(ids), again.decode(ids)) == (3, "<unk> ‖ O B-to")
    for texts in (["a ‖ O", "O"], ["O", "a ‖ O"]):
        with pytest.raises(InputError, match=r"data\.corpus\.sentence"):
            Labels().train(texts)
    with pytest.raises(InputError, match=r"data\.corpus\.sentence"):
        again.encode(["O B-to"])
    plain = support.trained(Labels(), ["O B-to"])
    assert json.loads(plain.state) == ["B-to", "O"], "of runs that were made before"
    for state in support.damage(target.state):
        with pytest.raises(InputError):
            Labels().restore(state)


def test_other_tasks_refuse_both(tokenizers: Tokenizers) -> None:
    with pytest.raises(InputError, match=r"task Tagging.*data\.corpus\.sentence"):
        support.small(Classification, tokenizers)
    task = tiny(tokenizers)
    with pytest.raises(InputError, match=r"data\.corpus\.sentence"):
        task.label_stream()
    with pytest.raises(InputError, match=r"decoding\.prefix"):
        task.check_decoding(Decoding(prefix="O"))


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tokenizers: Tokenizers) -> Tagging:
    return support.fitted(tiny(tokenizers, tagger=Softmax("BIO")), batch_of(ROWS, tokenizers), 35)


def test_one_network_learns_both(trained: Tagging, tokenizers: Tokenizers) -> None:
    found = trained.predict(batch_of(OTHERS, tokenizers), Decoding())
    predictions = [
        Prediction(number, *pair, trained.text(best), best.score, best.token_scores)
        for number, (pair, (best, *_)) in enumerate(zip(OTHERS, found, strict=True))
    ]
    for metric in (SpanF1(), SentenceAccuracy(), ExactMatch()):
        assert metric.score(predictions).value > 85, metric.name


@pytest.mark.parametrize("tagger", [Softmax(), Crf("BIO"), AutoregressiveTagger(8)], ids=lambda one: type(one).__name__)
def test_the_best_predictions_are_ranked(tokenizers: Tokenizers, tagger: Tagger) -> None:
    task, batch = tiny(tokenizers, tagger=tagger).eval(), batch_of(OTHERS[:4], tokenizers)
    found = task.predict(batch, Decoding(beam_size=3))
    for (words, _), several in zip(OTHERS, found, strict=False):
        assert [one.score for one in several] == sorted((one.score for one in several), reverse=True)
        assert len({tuple(one.tokens) for one in several}) == 3
        assert all(len(one.tokens) == len(one.token_scores) == len(words.split()) + 1 for one in several)
    alone = task.predict(batch_of(OTHERS[:1], tokenizers), Decoding(beam_size=3))[0]
    assert [one.tokens for one in alone] == [one.tokens for one in found[0]], "neighbours do not matter"


def test_the_loss_is_that_of_labels_and_class(tokenizers: Tokenizers) -> None:
    batch = batch_of(ROWS[:5], tokenizers)
    task = tiny(tokenizers).eval()
    heavy = tiny(tokenizers, sentence_weight=3.0).eval()
    heavy.load_state_dict(task.state_dict())
    scores, _ = task.score_targets(batch, ())
    assert [len(row) for row in scores] == batch.target_lengths.tolist()
    total, classes = -sum(map(sum, scores)), -sum(row[0] for row in scores)
    with torch.no_grad():
        assert float(task.loss(batch)) == pytest.approx(total, rel=1e-5)
        assert float(heavy.loss(batch)) == pytest.approx(total + 2 * classes, rel=1e-5)
        assert float(heavy.validation_loss(batch)) == pytest.approx(total, rel=1e-5), "no weight in what is measured"
    [strange] = task.score_targets(
        batch_of([(ROWS[0][0], f"x {ROWS[0][1][ROWS[0][1].index('‖') :]}")], tokenizers), ()
    )[0]
    assert strange[0] == -torch.inf, "a class that training lacks"
    task.train().loss(batch).backward()
    assert [
        name for name, parameter in task.named_parameters() if parameter.grad is None and "fields" not in name
    ] == []


def test_the_best_pairs_are_found(tokenizers: Tokenizers) -> None:
    task = tiny(tokenizers)
    assert task.sentence is not None
    labels = [Hypothesis([SPECIAL + number], score, [score]) for number, score in enumerate((-0.1, -0.5))]
    found = task.sentence.beside(labels, [-0.2, -0.3], [1, 0], Decoding(beam_size=4))
    assert [one.score * Decoding().divisor(2) for one in found] == pytest.approx([-0.3, -0.4, -0.7, -0.8])
    assert found[1].tokens == [task.sentence.first, SPECIAL]


# --- scores and pages ------------------------------------------------------------------------------------------------


def row(prediction: str, reference: str, **more: Any) -> Prediction:
    return Prediction(0, "", reference, prediction, 0.0, more.get("token_scores", []))


def test_scores_know_which_is_which() -> None:
    rows = [row("a b ‖ O\tB-x", "a b ‖ O\tO"), row("c ‖ O\tB-x", "a b ‖ O\tB-x")]
    assert SentenceAccuracy().score(rows).value == 50
    assert Accuracy().score(rows).value == 75
    assert SpanF1().score(rows).value == pytest.approx(200 / 3)
    assert ExactMatch().score(rows).value == 0
    details = SentenceAccuracy().details(rows)
    assert details["labels"]["a b"]["support"] == 2
    assert details["confusion"]["labels"] == ["a b", "c"]
    sure = [row("a ‖ O\tB", "a ‖ O\tB", token_scores=[-9.0, 0.0, 0.0])]
    assert CalibrationError().score(sure).value == 0, "of the labels"
    with pytest.raises(InputError, match=r"data\.corpus\.sentence.*model\.metrics"):
        SentenceAccuracy().score([row("O", "O")])


def test_the_page_shows_both() -> None:
    texts = {"source": "to rome", "reference": "a ‖ O B-x", "prediction": "b ‖ O O"}
    shown = example({"id": 3, **texts}, {}, "Tagging")
    assert [tuple(word) for word in shown.words] == [("to", "O", "O"), ("rome", "B-x", "O")]
    assert "class b, not a" in shown.facts


def test_predictions_give_both(trained: Tagging, tmp_path: Path) -> None:
    run = support.saved(trained, tmp_path / "one.ckpt")
    (tmp_path / "in.csv").write_text("text\nwhen does it leave from rome to oslo\n")
    predict.main(
        [str(run), "--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.jsonl"), "--device", "cpu"]
    )
    [found] = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (found["sentence"], found["prediction"]) == ("hour of day", "O O O O O B-from O B-to")
    [tagged] = seq2seq.load(run, device="cpu").tag("show planes from oslo to new york".split())
    assert (tagged.sentence, tagged.labels) == ("flight", ("O", "O", "O", "B-from", "O", "B-to", "I-to"))
    assert len(tagged.probabilities) == 7
    assert 0.5 < (tagged.sentence_probability or 0) <= 1
