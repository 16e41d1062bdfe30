"""A loaded model answers as the commands do, in typed rows; nothing else is imported for it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import seq2seq
from seq2seq.api.answers import Answer, AnswerTable
from seq2seq.api.model import Model
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.units import Labels, Words
from seq2seq.errors import InputError
from seq2seq.inference import predict_texts
from seq2seq.models import int8
from seq2seq.models.attention import Dot
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.products import lacks_bfloat16
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, SENTENCES, batch_of, fitted, learnt, python, small

HOSTILE = "<script>alert(1)</script>"


def saved(task: Task, path: Path) -> Path:
    """The task as a checkpoint."""
    state = {f"task.{name}": value for name, value in task.state_dict().items()}
    checkpoint.write({"state_dict": state, "seq2seq": checkpoint.packed(task, DataModule())}, path)
    return path


@pytest.fixture(scope="module")
def translator(tokenizers: Tokenizers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator that has learnt its sixteen pairs, in text order and with attention."""
    torch.manual_seed(0)
    task = small(Translation, tokenizers, attention=Dot(), encoder=EncoderOptions(reverse=True), hidden_size=32)
    task = fitted(task, batch_of(PAIRS, tokenizers), 60)
    return saved(task, tmp_path_factory.mktemp("api") / "translator.ckpt")


@pytest.fixture(scope="module")
def model(translator: Path) -> Model:
    return seq2seq.load(translator)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizers = learnt(SENTENCES, Words(separator="\t"), Labels("\t"))
    task = fitted(small(Tagging, tokenizers), batch_of(SENTENCES, tokenizers, Tagging.row_format), 60)
    return seq2seq.load(saved(task, tmp_path_factory.mktemp("api") / "tagger.ckpt"))


def test_predictions_are_those_of_the_command(model: Model, translator: Path) -> None:
    texts = [source for source, _ in PAIRS[:8]]
    answers = model.predict(["", *texts, " "])
    task = checkpoint.load(translator)
    assert [one.text for one in answers] == ["", *predict_texts.translate(task, texts), ""]
    assert math.isnan(answers[0].score)
    assert [one.text for one in answers].count("") == 2
    three = model.predict(texts, n_best=3, beam_size=4)
    found = predict_texts.predict(task, texts, three_of(task), torch.device("cpu"))
    for answer, hypotheses in zip(three, found, strict=True):
        assert [one.text for one in answer.n_best] == [task.text(one) for one in hypotheses[:3]]
        assert [one.score for one in answer.n_best] == pytest.approx([one.score for one in hypotheses[:3]], abs=1e-5)


def three_of(task: Task) -> object:
    """The search of the test above."""
    import dataclasses

    return dataclasses.replace(task.decoding, beam_size=4)


@pytest.mark.parametrize("bits", ["bf16", "int8"])
def test_fewer_bits_say_nearly_the_same(bits: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacks_bfloat16(torch.device("cpu")) or not int8.is_exact():
        pytest.skip("this processor cannot")
    monkeypatch.setattr(int8, "LEAST", 1)
    lowered = seq2seq.load(model.path, precision=bits)
    texts = [source for source, _ in PAIRS[:8]]
    for beam in (1, 4):
        exact, rounded = model.predict(texts, beam_size=beam), lowered.predict(texts, beam_size=beam)
        same = [(a.score, b.score) for a, b in zip(exact, rounded, strict=True) if a.text == b.text]
        assert len(same) > len(texts) / 2
        assert 0 < max(abs(one - other) for one, other in same) < 0.05
    assert [one.log_prob for one in lowered.score(PAIRS[:2])] == [one.log_prob for one in model.score(PAIRS[:2])]


def test_one_text_at_a_time_is_the_same(model: Model, translator: Path) -> None:
    """Matrices that lie otherwise in memory hold the same numbers."""
    texts = [source for source, _ in PAIRS[:8]]
    together = model.predict(texts, beam_size=1)
    alone = [model.predict([text], beam_size=1)[0] for text in texts]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-4)
    stored = checkpoint.load(translator).state_dict()
    assert all(value.equal(stored[name]) for name, value in model.task.state_dict().items())


def test_scores_are_the_log_probabilities_of_the_loss(model: Model, tokenizers: Tokenizers) -> None:
    pairs = [*PAIRS[:5], ("the cat sat", "")]
    scores = model.score(pairs)
    batch = batch_of(pairs, tokenizers)
    with torch.no_grad():
        total = float(model.task.validation_loss(batch))
    assert -sum(one.log_prob for one in scores) == pytest.approx(total, rel=1e-4)
    lengths = [len(ids) + 1 for ids in tokenizers.target.encode([target for _, target in pairs])]
    assert [len(one.token_scores) for one in scores] == lengths
    assert [(one.source, one.target) for one in scores] == pairs
    assert scores[0].perplexity == pytest.approx(math.exp(-scores[0].log_prob / lengths[0]))


def test_vectors_do_not_depend_on_their_neighbours(model: Model) -> None:
    texts = [source for source, _ in PAIRS[:4]]
    vectors = model.encode(texts)
    assert vectors.shape == (4, 32)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        assert model.encode([text])[0] == pytest.approx(vector, abs=1e-5)
    assert not np.allclose(vectors[0], vectors[1])
    assert model.encode([]).shape[0] == 0


def test_attention_is_a_distribution_over_the_source_in_text_order(model: Model, tokenizers: Tokenizers) -> None:
    first, second = model.attention(PAIRS[:2])
    for one, (source, target) in zip((first, second), PAIRS, strict=False):
        assert list(one.source[:-1]) == tokenizers.source.pieces(tokenizers.source.encode([source])[0])
        assert list(one.target[:-1]) == tokenizers.target.pieces(tokenizers.target.encode([target])[0])
        assert one.weights.shape == (len(one.target), len(one.source))
        assert one.weights.sum(1) == pytest.approx(np.ones(len(one.target)), abs=1e-5)
    assert model.attention(PAIRS[:1])[0].weights == pytest.approx(first.weights, abs=1e-5)


def test_tags(tagger: Model) -> None:
    sentences = [source.split("\t") for source, _ in SENTENCES[:4]]
    tagged = tagger.tag([*sentences, []])
    assert [list(one.labels) for one in tagged[:4]] == [labels.split("\t") for _, labels in SENTENCES[:4]]
    assert tagged[4].labels == ()
    assert all(0 < one <= 1 for row in tagged for one in row.probabilities)
    alone = tagger.tag(sentences[0])
    assert [one.labels for one in alone] == [tagged[0].labels]


def test_tables(model: Model) -> None:
    pandas = pytest.importorskip("pandas")
    answers = model.predict([HOSTILE, "the cat sat"], n_best=2)
    assert "<script>" not in answers._repr_html_()
    assert "&lt;script&gt;" in answers._repr_html_()
    assert "the cat sat" in repr(answers)
    frame = answers.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["source"]) == [HOSTILE, "the cat sat"]
    assert frame["prediction 2"][1] == answers[1].n_best[1].text
    assert "<script>" not in model.attention([("the cat", HOSTILE)])[0]._repr_html_()
    many = AnswerTable(Answer(str(number), ()) for number in range(60))
    assert "10 more" in repr(many)
    assert "10 more" in many._repr_html_()
    assert len(many[5:8]) == 3


def test_mistakes_are_one_line(model: Model, tagger: Model, tmp_path: Path) -> None:
    mistakes = {
        "list of texts": lambda: model.predict("the cat"),
        r"texts\[1\]": lambda: model.predict(["a", None]),  # type: ignore[list-item]
        "n_best": lambda: model.predict(["a"], n_best=0),
        "n_best 9 needs beam_size 9": lambda: model.predict(["a"], n_best=9),
        "beam_sise": lambda: model.predict(["a"], beam_sise=3),
        "beam_size": lambda: model.predict(["a"], beam_size=0),
        r"pairs\[0\]": lambda: model.score(["a"]),  # type: ignore[list-item]
        "score needs": lambda: tagger.score([("the\tcat", "DET\tNOUN")]),
        "attention needs": lambda: tagger.attention([("the\tcat", "DET\tNOUN")]),
        "encode": lambda: tagger.encode(["the\tcat"]),
        "Translation": lambda: model.tag(["a"]),
        "sentence 0": lambda: tagger.tag([["the\tcat"]]),
        "list of tokens": lambda: tagger.tag("the cat"),
        "absent": lambda: seq2seq.load(tmp_path / "absent"),
        "precision is fp8": lambda: seq2seq.load(model.path, precision="fp8"),
        "precision int8 is for steps": lambda: seq2seq.load(tagger.path, precision="int8"),
        "--device abacus": lambda: seq2seq.load(model.path, "abacus"),
    }
    for words, call in mistakes.items():
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_classifier_has_vectors_and_no_attention(tmp_path: Path) -> None:
    rows = [("a b", "x"), ("c d", "y")] * 3
    tokenizers = learnt(rows, Words(), Labels())
    model = seq2seq.load(saved(small(Classification, tokenizers), tmp_path / "one.ckpt"))
    assert model.encode(["a b", "c"]).shape == (2, 16)
    best = model.predict(["a b"], n_best=2)[0].n_best
    assert {one.text for one in best} == {"x", "y"}
    assert best[0].score >= best[1].score
    with pytest.raises(InputError, match="Classification"):
        model.attention([("a b", "x")])


def test_short_lists_are_encoded_like_long_ones(tokenizers: Tokenizers) -> None:
    texts = [source for source, _ in PAIRS] * 4
    assert len(texts) > 32
    assert tokenizers.source.encode(texts) == [tokenizers.source.encode([text])[0] for text in texts]


@pytest.mark.slow
def test_loading_and_predicting_import_no_trainer(translator: Path) -> None:
    code = (
        "import sys, json, seq2seq; model = seq2seq.load(sys.argv[1]); text = model.predict(['the cat sat'])[0].text; "
        "names = ('pytorch_lightning', 'lightning_fabric', 'datasets', 'pandas', 'jsonargparse', 'tensorboardX'); "
        "print(json.dumps([text, [name for name in names if name in sys.modules]]))"
    )
    done = python("-c", code, translator)
    assert done.returncode == 0, done.stderr
    text, imported = json.loads(done.stdout)
    assert text
    assert imported == []
