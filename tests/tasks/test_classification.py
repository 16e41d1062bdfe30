"""Classification: the loss, labels and checkpoint; pooling, several labels, and labels that cannot be told apart."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from seq2seq.data.batching.batch import RowFormat
from seq2seq.data.batching.split import Split
from seq2seq.data.corpora.json_rows import Jsonl
from seq2seq.data.corpora.tables import Tsv
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import SPECIAL, Tokenizer, Tokenizers
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.errors import InputError
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Attentive, Last, Max, Mean, Pooling
from seq2seq.tasks.base import pack_task, unpack_task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.tagging import Tagging
from tests import support
from tests.support import fitted

batch_of = partial(support.batch_of, row_format=Classification.row_format)
tiny = partial(support.small, Classification)


ROWS = [("good fun", "1"), ("bad and long", "0"), ("fun", "1"), ("what a bad film it is", "0"), ("so long", "2")] * 3
SEVERAL = [("red car", "red car"), ("red", "red"), ("a car", "car"), ("nothing", ""), ("blue red", "red blue")] * 3


def learnt(rows: list[tuple[str, str]], target: Tokenizer | None = None) -> Tokenizers:
    return support.learnt(rows, Characters(), target or Labels())


@pytest.mark.parametrize("pooling", [Last(), Mean(), Max(), Attentive()], ids=repr)
def test_overfits_rows(pooling: Pooling) -> None:
    tokenizers = learnt(ROWS)
    batch = batch_of(ROWS, tokenizers)
    task = fitted(tiny(tokenizers, encoder=EncoderOptions(pooling=pooling)), batch)
    found = task.predict(batch, Decoding(3))
    assert [task.text(one[0]) for one in found] == [label for _, label in ROWS]
    for one in found:
        assert sum(math.exp(each.score) for each in one) == pytest.approx(1, abs=1e-5)
        assert [each.score for each in one] == sorted((each.score for each in one), reverse=True)


@pytest.mark.parametrize("letters", [True, False])
def test_words_that_are_cut_are_read_as_far_as_they_are_whole(letters: bool) -> None:
    spelled = support.learnt(
        [(text.replace(" ", "\t"), label) for text, label in ROWS], Spelled(letters=letters), Labels()
    )
    task, row = tiny(spelled).eval(), ("bad\tand\tlong", "0")
    others, found = [("film", "1"), ("and", "2")], dict[int, float]()
    words = np.cumsum([len(ids) for ids in spelled.source.encode(row[0].split("\t"))])
    for longest in range(8, int(words[-1]) + 1):
        split = support.split_of([*others, row], spelled, task.row_format, longest)
        together = task.predict(split.batch(np.arange(3)), Decoding())[2][0].score
        alone = task.predict(split.batch(np.array([2])), Decoding())[0][0]
        assert alone.score == pytest.approx(together, abs=1e-6), "padding is not read"
        found[longest] = alone.score
    for end in words:
        same = [score for longest, score in found.items() if end <= longest < end + 8]
        assert np.ptp(same) < 1e-6, "a word that lacks more than letters is left out"
    if letters:
        assert found[words[0] - 1] != pytest.approx(found[words[0]], abs=1e-6), "letters count"


def test_overfits_rows_of_several_labels() -> None:
    tokenizers = learnt(SEVERAL)
    task = tiny(tokenizers, multi_label=True)
    batch = batch_of(SEVERAL, tokenizers, row_format=task.row_format)
    found = fitted(task, batch).predict(batch, Decoding())
    assert [set(task.text(one[0]).split()) for one in found] == [set(labels.split()) for _, labels in SEVERAL]
    assert all(len(one) == 1 and len(one[0].token_scores) == len(one[0].tokens) for one in found)


def test_the_loss_is_that_of_torch() -> None:
    tokenizers = learnt(ROWS)
    task, batch = tiny(tokenizers, label_smoothing=0.1), batch_of(ROWS, tokenizers)
    wanted = functional.cross_entropy(
        task.logits(batch), batch.target[:, 0] - SPECIAL, reduction="sum", label_smoothing=0.1
    )
    torch.testing.assert_close(task.loss(batch), wanted)
    torch.testing.assert_close(torch.stack([task.loss(batch_of([row], tokenizers)) for row in ROWS]).sum(), wanted)
    several = tiny(learnt(SEVERAL), multi_label=True)
    batch = batch_of(SEVERAL, several.tokenizers, row_format=several.row_format)
    whole = torch.stack(
        [several.loss(batch_of([row], several.tokenizers, row_format=several.row_format)) for row in SEVERAL]
    ).sum()
    torch.testing.assert_close(several.loss(batch), whole)
    names = several.tokenizers.target.vocabulary  # type: ignore[attr-defined]
    marks = torch.tensor([[float(name in labels.split()) for name in names] for _, labels in SEVERAL])
    by_hand = functional.binary_cross_entropy_with_logits(several.logits(batch), marks, reduction="sum")
    torch.testing.assert_close(several.loss(batch), by_hand)


def test_neighbours_do_not_matter() -> None:
    tokenizers = learnt(ROWS)
    for pooling in (Last(), Mean(), Max(), Attentive()):
        task = tiny(tokenizers, encoder=EncoderOptions(pooling=pooling), layers=2).eval()
        together = task.logits(batch_of(ROWS, tokenizers))
        alone = torch.cat([task.logits(batch_of([row], tokenizers)) for row in ROWS])
        torch.testing.assert_close(together, alone)


def test_a_checkpoint_predicts_the_same() -> None:
    tokenizers = learnt(SEVERAL)
    task = tiny(tokenizers, multi_label=True).eval()
    again = unpack_task(pack_task(task))
    again.load_state_dict(task.state_dict())
    batch = batch_of(SEVERAL, tokenizers, row_format=task.row_format)
    assert again.eval().predict(batch, Decoding()) == task.predict(batch, Decoding())
    assert again.row_format == task.row_format != Classification.row_format


def test_a_step_is_divided_by_its_rows() -> None:
    assert Classification.row_format.loss_denominator(np.array([1, 1, 1])) == 3
    assert RowFormat(per_row=True).loss_denominator(np.array([0, 4])) == 2
    assert Tagging.row_format.loss_denominator(np.array([2, 4])) == 6
    assert RowFormat().loss_denominator(np.array([3, 5])) == 6  # the beginning is not predicted


# Data as users have it


def corpus(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    return str(folder)


def encoded(data: DataModule, kind: Any, split: str = "train") -> Split:
    tokenizers = data.train_tokenizers(data.texts("train"))
    return data.encode(data.texts(split), tokenizers, split, kind.row_format)


def test_a_label_may_be_a_number(tmp_path: Path) -> None:
    rows = ['{"source": "so", "target": 3}', '{"source": "no", "target": 2.5}', '{"source": "ok", "target": true}']
    (tmp_path / "train.jsonl").write_text("\n".join(rows * 4))
    data = DataModule(Jsonl(), str(tmp_path), tokenizer=Characters(), target_tokenizer=Labels())
    tokenizers = data.train_tokenizers(data.texts("train"))
    assert tokenizers.target.vocabulary == ("2.5", "3", "true")  # type: ignore[attr-defined]
    task = tiny(tokenizers)
    assert {task.text(one) for one in task.predict(batch_of([("so", "3")], tokenizers), Decoding(3))[0]} == {
        "2.5",
        "3",
        "true",
    }


def test_one_class_only() -> None:
    with pytest.raises(InputError, match=r"label '1'.*data\.corpus"):
        tiny(learnt([("a", "1"), ("b", "1")]))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (
            Tagging,
            "the cat sat\tDET NOUN\na dog\tDET NOUN\n",
            r"train\.tsv:1: 3 tokens .*\b2 labels",
        ),
        (
            Tagging,
            "the cat\tDET NOUN\na dog\tDET NOUN VERB\nb\tB C\n",
            r"train\.tsv:2: 2 tokens .*\b3 labels .*\b1 more",
        ),
        (
            Classification,
            "so\tgood\nno\tvery bad\n",
            r"train\.tsv:2: 2 labels .*data\.target_tokenizer",
        ),
        (Classification, "so\tgood\nno\t\n", r"train\.tsv:2: 0 labels"),
    ],
)
def test_labels_of_the_wrong_number(tmp_path: Path, kind: Any, text: str, message: str) -> None:
    path = corpus(tmp_path, train=text)
    data = DataModule(Tsv(), path, tokenizer=Words(), target_tokenizer=Labels(), holdout=0)
    with pytest.raises(InputError, match=message):
        encoded(data, kind)


@pytest.mark.parametrize(("kind", "labels"), [(Tagging, "DET NEW"), (Classification, "NEW")])
def test_a_label_that_training_lacks(tmp_path: Path, kind: Any, labels: str, caplog: pytest.LogCaptureFixture) -> None:
    known = "DET NOUN" if kind is Tagging else "NOUN"
    path = corpus(
        tmp_path, train=f"the cat\t{known}\na dog\t{known}\nI\tDET\n", test=f"the cat\t{known}\nan ox\t{labels}\n" * 2
    )
    data = DataModule(Tsv(), path, tokenizer=Words(), target_tokenizer=Labels(), holdout=0.0)
    split = encoded(data, kind, "test")
    [warning] = [record.getMessage() for record in caplog.records if "never occur" in record.getMessage()]
    count = len(split.target.flat)
    assert warning.startswith(f"2 of {count} test labels never occur in training, the first at ")
    assert warning.endswith("test.tsv:2; they count as wrong")
    tokenizers = data.train_tokenizers(data.texts("train"))
    task = kind(tokenizers, embedding_size=4, hidden_size=4)
    for found, wanted in zip(
        task.eval().predict(split.batch(np.arange(4)), Decoding(1)), split.texts.target, strict=True
    ):
        text = task.text(found[0])
        assert "NEW" not in text
        assert len(text.split()) == len(wanted.split())


def test_target_tokenizers_that_do_not_fit() -> None:
    made = learnt(ROWS, Words())
    with pytest.raises(InputError, match=r"data\.target_tokenizer is Words\b"):
        tiny(made)
    with pytest.raises(InputError, match=r"model\.label_smoothing .*model\.multi_label"):
        tiny(learnt(SEVERAL), multi_label=True, label_smoothing=0.1)


def test_rows_of_several_labels_are_compared_as_sets_whatever_the_metrics() -> None:
    from seq2seq.metrics.accuracy import ExactMatch, MacroF1

    tokenizers = learnt([("x y", "sport art"), ("z", "food"), ("y", "")] * 3)
    for metrics in (None, [ExactMatch(), MacroF1()]):
        task = tiny(tokenizers, multi_label=True, metrics=metrics)
        right = support.rows_of(["art sport", "food"], ["sport art", "food"])
        assert [metric.score(right).value for metric in task.metrics] == [100] * len(task.metrics)


@pytest.mark.parametrize("separator", ["\t", ","])
@pytest.mark.parametrize("several", [False, True])
def test_classes_that_hold_spaces_count_like_others(several: bool, separator: str) -> None:
    texts = ["very good", "very bad", "so so", f"very good{separator}so so" if several else "very good"]
    guesses = ["very good", "very good", "so so", f"so so{separator}very good" if several else "so so"]
    scores = []
    for space in " _":
        predicted, reference = ([text.replace(" ", space) for text in side] for side in (guesses, texts))
        task = tiny(learnt([("x", text) for text in reference], Labels(separator)), multi_label=several)
        rows = [row._replace(token_scores=[-0.1]) for row in support.rows_of(predicted, reference)]
        scores.append([metric.score(rows).value for metric in task.metrics])
    assert scores[0] == pytest.approx(scores[1], nan_ok=True)
    assert (scores[0][2] == 75) if several else (scores[0][0] == 50)
