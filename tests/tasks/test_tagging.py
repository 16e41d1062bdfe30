"""Tagging: the loss, labels and checkpoint of every tagger; padding, neighbours and unknown words."""

import json
import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq import train
from seq2seq.data.batching.batch import Batch
from seq2seq.data.corpora.builtin.tones import ToneSegments
from seq2seq.data.ragged import Ragged
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.factored import TokenFeatures
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.spelled import Spelled, shape
from seq2seq.data.tokenizers.units import Labels, Words
from seq2seq.errors import InputError
from seq2seq.inference.predict_texts import predict
from seq2seq.models.cells import GRU, LSTM
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.tagger import AutoregressiveTagger, Crf, Softmax, Tagger
from seq2seq.models.word_embedding import WordOptions
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import pack_task, unpack_task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.tagging import Tagging
from tests import support
from tests.support import SENTENCES, SPANS, fitted, learnt, results_of

batch_of = partial(support.batch_of, row_format=Tagging.row_format)


TAGGERS = [Softmax(), Crf(), AutoregressiveTagger(8)]


@pytest.fixture(scope="module")
def spelled() -> Tokenizers:
    return learnt(SENTENCES, Spelled(), Labels("\t"))


def tiny(tokenizers: Tokenizers, **settings: Any) -> Tagging:
    words = WordOptions(4, 4, 8, 8, **settings.pop("words", {}))
    return support.small(Tagging, tokenizers, words=words, **settings)


def answers(task: Tagging, batch: Batch, beam: int = 1) -> list[str]:
    return [task.text(found[0]) for found in task.predict(batch, Decoding(beam))]


@pytest.mark.parametrize("tagger", TAGGERS, ids=repr)
@pytest.mark.parametrize("letters_by", ["LSTM", "CNN"])
def test_overfits_sentences(spelled: Tokenizers, tagger: Tagger, letters_by: str) -> None:
    batch = batch_of(SENTENCES, spelled)
    task = fitted(tiny(spelled, tagger=tagger, words={"letters_by": letters_by}), batch)
    for beam in (1, 3):
        assert answers(task, batch, beam) == [labels for _, labels in SENTENCES]


@pytest.mark.parametrize("tagger", TAGGERS, ids=repr)
@pytest.mark.parametrize("cell", [GRU(), LSTM()], ids=repr)
def test_neighbours_do_not_matter(spelled: Tokenizers, tagger: Tagger, cell: Any) -> None:
    task = tiny(spelled, tagger=tagger, cell=cell, layers=2).eval()
    together = task.predict(batch_of(SENTENCES, spelled), Decoding(3))
    losses = []
    for row, found in zip(SENTENCES, together, strict=True):
        alone = batch_of([row], spelled)
        [single] = task.predict(alone, Decoding(3))
        assert [one.tokens for one in single] == [one.tokens for one in found]
        np.testing.assert_allclose([one.score for one in single], [one.score for one in found], atol=1e-5)
        losses.append(task.loss(alone))
    torch.testing.assert_close(task.loss(batch_of(SENTENCES, spelled)), torch.stack(losses).sum())


@pytest.mark.parametrize("tagger", TAGGERS, ids=repr)
def test_scores_are_minus_the_loss(spelled: Tokenizers, tagger: Tagger) -> None:
    task = tiny(spelled, tagger=tagger).eval()
    for source, _ in SENTENCES[:6]:
        found = task.predict(batch_of([(source, "DET" + "\tDET" * source.count("\t"))], spelled), Decoding(4))[0]
        assert len(found) == 4
        assert sorted((one.score for one in found), reverse=True) == [one.score for one in found]
        for one in found:
            loss = task.loss(batch_of([(source, task.text(one))], spelled))
            assert one.score == pytest.approx(-float(loss.detach()) / len(one.tokens), abs=1e-5)
            assert len(one.token_scores) == len(one.tokens)


def test_the_confidence_of_a_label_is_its_marginal(spelled: Tokenizers) -> None:
    torch.manual_seed(3)
    task = tiny(spelled, tagger=Crf()).eval()
    torch.nn.init.normal_(task.labeller.fields[0].transitions)  # type: ignore[union-attr, arg-type]
    source = "the\tcat"
    everything = task.predict(batch_of([(source, "DET\tDET")], spelled), Decoding(81))[0]
    best = everything[0]
    for place in range(2):
        same = [math.exp(2 * one.score) for one in everything if one.tokens[place] == best.tokens[place]]
        assert math.exp(best.token_scores[place]) == pytest.approx(sum(same), abs=1e-5)


@pytest.mark.parametrize("tagger", [Softmax("BIO"), Crf("BIO")], ids=repr)
def test_no_sequence_breaks_the_scheme(tagger: Tagger) -> None:
    tokenizers = learnt(SPANS, Spelled(), Labels("\t"))
    for seed in range(20):
        torch.manual_seed(seed)
        task = tiny(tokenizers, tagger=tagger).eval()
        for found in task.predict(batch_of(SPANS, tokenizers), Decoding(5)):
            for one in found:
                labels = ["O", *task.text(one).split("\t")]
                for before, label in pairwise(labels):
                    assert not label.startswith("I-") or before[2:] == label[2:], labels
    batch = batch_of(SPANS, tokenizers)
    assert answers(fitted(tiny(tokenizers, tagger=tagger), batch), batch) == [labels for _, labels in SPANS]


CONFIG = """
task: Tagging
data:
  corpus: {class_path: ToneSegments, init_args: {shortest: 1, longest: 2, train: 24, validation: 3, test: 5}}
  tokenizer: Vectors
  target_tokenizer: {class_path: Labels, init_args: {separator: "\\t"}}
  batch_tokens: 600
model: {cell: GRU, embedding_size: 16, hidden_size: 24, encoder: {bidirectional: false}}
optimizer: {learning_rate: 0.02}
trainer: {max_epochs: 5, val_check_interval: 1000, accelerator: cpu}
"""


def test_frames_get_labels_and_segments_in_seconds(tmp_path: Path) -> None:
    config, run = tmp_path / "tones.yaml", RunDirectory(tmp_path / "run")
    config.write_text(CONFIG)
    train.main(["--config", str(config), "--run", str(run.path)])
    assert results_of(run)["splits"]["test"]["metrics"]["accuracy"]["value"] > 75, "of nothing but none: 58"
    rows = [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().splitlines()]
    calls = list(ToneSegments(1, 2, test=5).dialled("test"))
    for row, call in zip(rows, calls, strict=True):
        sounding = [segment for segment in row["reference_segments"] if segment[2] != "none"]
        assert [label for *_, label in sounding] == [one.label for one in call.segments]
        for (start, end, _), one in zip(sounding, call.segments, strict=True):
            assert (start, end) == pytest.approx(one[:2], abs=0.0051)
        assert row["segments"][0][0] == 0
        assert [end for _, end, _ in row["segments"][:-1]] == [start for start, _, _ in row["segments"][1:]]
    report = run.report.read_text()
    assert 'src="data:audio/wav;base64,' in report
    assert "none ×" in report


COLUMNS = [
    ("the\tcats", "DET￨DT￨Definite=Def\tNOUN￨NNS￨Number=Plur"),
    ("a\tcat", "DET￨DT￨Definite=Ind\tNOUN￨NN￨Number=Sing"),
    ("sat", "VERB￨VBD￨_"),
] * 3


@pytest.mark.parametrize("tagger", [Softmax(), Crf()], ids=repr)
def test_several_columns_have_one_encoder(tagger: Tagger) -> None:
    tokenizers = learnt(COLUMNS, Spelled(), TokenFeatures(Labels("\t"), 2))
    batch = batch_of(COLUMNS, tokenizers)
    task = fitted(tiny(tokenizers, tagger=tagger), batch)
    assert answers(task, batch) == [labels for _, labels in COLUMNS]
    assert [one.out_features for one in task.labeller.maps] == [3, 4, 5]  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"AutoregressiveTagger .*3 columns"):
        tiny(tokenizers, tagger=AutoregressiveTagger())


def test_a_checkpoint_predicts_the_same(spelled: Tokenizers) -> None:
    batch = batch_of(SENTENCES, spelled)
    for tagger in (Softmax(), Crf(), AutoregressiveTagger(4, 6)):
        task = tiny(spelled, tagger=tagger).eval()
        again = unpack_task(pack_task(task))
        again.load_state_dict(task.state_dict())
        assert task.predict(batch, Decoding(2)) == again.eval().predict(batch, Decoding(2))
        assert again.tokenizers.source.decode(spelled.source.encode(["the\tcat"])[0]) == "the\tcat"


@pytest.mark.parametrize("source", [Spelled(), Words(separator="\t")])
def test_words_between_spaces_are_no_single_token(source: Tokenizer) -> None:
    task = support.small(Tagging, learnt([("New York\tsleeps", "A\tB"), ("cats\trun", "A\tB")], source, Labels("\t")))
    with pytest.raises(InputError, match=r"2 words.*tr ' ' '\\t'"):
        task.check("cats run")
    for text in ("cats\trun", "cats", "New York", "San Juan\truns"):
        task.check(text)


@pytest.mark.parametrize("separator", ["\t", " "])
def test_a_no_break_space_is_a_token_or_a_part_of_one(separator: str) -> None:
    pairs = [(separator.join(("10\u00a0000", "\u00a0")), separator.join("AB"))] * 2
    task = support.small(Tagging, learnt(pairs, Words(separator=separator), Labels(separator)))
    texts = ["\u00a0", "10\u00a0000", f"\u00a0{separator}10\u00a0000", " "]
    found = predict(task, texts, Decoding(1), torch.device("cpu"))
    assert [len(one[0].tokens) if one else 0 for one in found] == [1, 1, 2, 0]
    for text in texts[:3]:
        task.check(text)


def test_what_is_seen_of_a_word() -> None:
    tokenizer = Spelled(Words(separator=" "), affixes=2, longest=4)
    tokenizer.train(["Bern bern Rom", "bern Rom"])
    [ids] = tokenizer.encode(["Bern Bonn"])
    sections = tokenizer.sections
    assert len(ids) == 2 * (1 + 1 + 4 + 4)
    assert tokenizer.decode(ids) == "Bern <unk>"
    starts = np.cumsum([0, sections.words, sections.shapes, *sections.ends])
    kinds = np.searchsorted(starts, ids, side="right") - 1
    assert kinds.tolist() == [0, 1, 2, 3, 4, 5, *[6] * 4] * 2
    assert tokenizer.units(Ragged.of([ids, [], tokenizer.encode(["Rom"])[0]])).tolist() == [2, 0, 1]
    again = Spelled(Words(separator=" "), affixes=2, longest=4)
    again.restore(tokenizer.state)
    assert again.encode(["Bern Bonn Köln"]) == tokenizer.encode(["Bern Bonn Köln"])
    assert len(again) == len(tokenizer) == int(starts[-1]) + sections.letters


def test_a_long_word_keeps_its_ends() -> None:
    tokenizer = Spelled(Words(separator=" "), affixes=0, longest=6)
    tokenizer.train(["abcdefghij abcdefghij"])
    [whole], [same] = tokenizer.encode(["abcdefghij"]), tokenizer.encode(["abcxxxxxxxxxxxxxhij"])
    assert whole[2:] == same[2:]
    [huge] = tokenizer.encode(["abc" + "x" * 5000 + "hij"])
    assert len(huge) == 2 + 6


@pytest.mark.parametrize(
    ("word", "wanted"),
    [("the", "xx"), ("A", "X"), ("USA", "XX"), ("McDonald's-1999", "XxXxx'x-99"), ("3.14", "9.99"), ("día", "xx")],
)
def test_shapes(word: str, wanted: str) -> None:
    assert shape(word) == wanted


def test_an_unknown_word_is_read_by_its_spelling(spelled: Tokenizers) -> None:
    task = tiny(spelled).eval()
    ids = batch_of([("the\tcats", "DET\tNOUN")], spelled), batch_of([("the\tdogs", "DET\tNOUN")], spelled)
    first, second = (task.states(one)[0].states[:, 1] for one in ids)
    assert not torch.allclose(first, second)


def test_word_dropout_belongs_to_step_and_row(spelled: Tokenizers) -> None:
    task, batch = tiny(spelled, words={"word_dropout": 0.5}), batch_of(SENTENCES, spelled)
    same, other = task.loss(batch._replace(seed=7)), task.loss(batch._replace(seed=8))
    assert task.loss(batch._replace(seed=7)) == same != other
    parts = [
        batch_of([row], spelled)._replace(seed=7, row_keys=batch.row_keys[[place]])
        for place, row in enumerate(SENTENCES)
    ]
    torch.testing.assert_close(torch.stack([task.loss(part) for part in parts]).sum(), same)


def test_an_empty_sentence_has_no_labels(spelled: Tokenizers) -> None:
    rows = [SENTENCES[0], ("", ""), SENTENCES[1]]
    for tagger in TAGGERS:
        task = tiny(spelled, tagger=tagger).eval()
        found = task.predict(batch_of(rows, spelled), Decoding(2))
        assert found[1][0].tokens == []
        assert task.text(found[1][0]) == ""
        torch.testing.assert_close(task.loss(batch_of(rows, spelled)), task.loss(batch_of([rows[0], rows[2]], spelled)))


@pytest.mark.parametrize("lookahead", [0, 1, 3])
def test_look_ahead_is_bounded(spelled: Tokenizers, lookahead: int) -> None:
    forward = EncoderOptions(bidirectional=False)
    task = tiny(spelled, encoder=forward, lookahead=lookahead).eval()
    whole = "the\tred\tdog\tsat\tin\tthe\tcar".split("\t")
    states, _ = task.states(batch_of([("\t".join(whole), "\t".join(["DET"] * 7))], spelled))
    for place in range(7):
        changed = whole[: place + lookahead + 1] + ["stop"] * (6 - place - lookahead)
        other, _ = task.states(batch_of([("\t".join(changed), "\t".join(["DET"] * 7))], spelled))
        torch.testing.assert_close(states.states[:, place], other.states[:, place])
        if lookahead and place + lookahead < 7:
            changed = [*whole[: place + lookahead], "stop", *whole[place + lookahead + 1 :]]
            other, _ = task.states(batch_of([("\t".join(changed), "\t".join(["DET"] * 7))], spelled))
            assert not torch.allclose(states.states[:, place], other.states[:, place])


@pytest.mark.parametrize(
    ("source", "target", "settings", "message"),
    [
        (Spelled(), Labels("\t"), {"lookahead": 2}, "model.lookahead .*model.encoder.bidirectional"),
        (SentencePiece(60), Labels("\t"), {}, "SentencePiece, whose tokens are not those that are labelled"),
        (Spelled(), Words(separator="\t"), {}, "data.target_tokenizer is Words"),
        (Spelled(), Labels("\t"), {"dropout": 2.0}, "model.dropout"),
        (
            Spelled(),
            Labels("\t"),
            {"tagger": Crf("BIO")},
            "scheme is BIO, but no label is a span's: ADJ, ADP, ADV, DET, NOUN;",
        ),
    ],
)
def test_wrong_settings(source: Tokenizer, target: Tokenizer, settings: dict[str, Any], message: str) -> None:
    tokenizers = learnt(SENTENCES, source, target)
    with pytest.raises(InputError, match=message):
        tiny(tokenizers, **settings)
