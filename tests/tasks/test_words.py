"""decoding.include and decoding.avoid in the texts that people read, whatever the tokens are."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seq2seq import predict
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.errors import InputError
from seq2seq.models.attention import Dot
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from seq2seq.tasks.words import automaton
from tests.support import PAIRS, batch_of, learnt, saved, small, trained

TEXTS = [*(target for _, target in PAIRS), "猫が好き、猫です", "the cat's cats, a cat.", "New York!"]
TOKENIZERS = [Words(), Characters(), SentencePiece(120, "bpe"), SentencePiece(120, "unigram")]


def completes(tokenizer: Tokenizer, phrase: str, text: str) -> bool:
    """Whether the automaton of a phrase spots it in a text, its end included."""
    spotted = automaton(tokenizer, phrase, torch.device("cpu"))
    seen, found = spotted.first, False
    for token in [*tokenizer.encode([text])[0], 3]:
        found |= bool(spotted.completes[seen, token])
        seen = int(spotted.after[seen, token])
    return found


@pytest.mark.parametrize("kind", TOKENIZERS, ids=str)
def test_whole_words_are_spotted_however_they_are_segmented(kind: Tokenizer) -> None:
    tokenizer = trained(kind, TEXTS * 3)
    for phrase in ("cat", "cats", "Katze", "at", "a cat", "ein Hund", "in", "roten Auto"):
        for text in TEXTS:
            words = " ".join(re.findall(r"\w+|[^\w\s]", text))
            if "," in text and " " in phrase:
                continue
            assert completes(tokenizer, phrase, text) == (f" {phrase} " in f" {words} "), (phrase, text)
    if not isinstance(kind, Words):  # there a token is all of it
        assert completes(tokenizer, "猫", "猫が好き、猫です"), "no blanks stand between these"
        assert completes(tokenizer, "!", "New York!")
    assert not completes(tokenizer, "!", "New York")


@pytest.fixture(scope="module")
def task(tokenizers: Tokenizers) -> Translation:
    torch.manual_seed(1)
    return small(Translation, tokenizers, attention=Dot()).eval()


@pytest.mark.parametrize("usual", [Decoding(1), Decoding(6), Decoding(4, temperature=1.0), Decoding(4, prefix="ein")])
def test_avoided_words_are_in_no_prediction(task: Translation, usual: Decoding) -> None:
    batch = batch_of(PAIRS[:6], task.tokenizers)
    usual = replace(usual, max_length=12)
    texts = [task.text(one) for row in task.predict(batch, usual) for one in row]
    words = sorted({word for text in texts for word in re.findall(r"\w+", text)} - {"ein"})[:6]
    assert words
    for row in task.predict(batch, replace(usual, avoid=words)):
        for one in row:
            broken = set(re.findall(r"\w+", task.text(one))) & set(words)
            assert not broken or min(one.token_scores) <= -1e4


def test_included_words_are_in_every_prediction(task: Translation) -> None:
    batch, phrases = batch_of(PAIRS[:6], task.tokenizers), ["liest", "ein Vogel"]
    decoding = Decoding(16, max_length=24, include=phrases, avoid=["der"])
    for row in task.predict(batch, decoding):
        assert all(phrase in task.text(one) for phrase in phrases for one in row if min(one.token_scores) > -1e4)
        assert min(row[0].token_scores) > -1e4
        assert "der" not in task.text(row[0]).split()


def test_lines_that_break_what_was_asked_are_counted(
    task: Translation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").write_text("the cat\n\na bird\n")
    with open(tmp_path / "in") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        options = ["--decoding.include", "[ein Vogel, Wasser]", "--decoding.max_length", "2"]
        predict.main([str(saved(task, tmp_path / "one.ckpt")), "--device", "cpu", *options])
    assert [text for text in caplog.messages if "2 of 3 lines" in text and "decoding.include" in text]


def test_what_has_no_meaning_is_refused(task: Translation) -> None:
    for name in ("include", "avoid"):
        with pytest.raises(InputError, match=rf"decoding\.{name}.*''"):
            Decoding(**{name: ["a", ""]})
    with pytest.raises(InputError, match=r"decoding\.include.*beam_size"):
        Decoding(1, include=["a"])
    with pytest.raises(InputError, match=r"decoding\.include.*'猫'"):
        task.check_decoding(Decoding(include=["猫"]))
    task.check_decoding(Decoding(avoid=["猫"]))
    labels = small(Classification, learnt([("a", "x"), ("b", "y")], Words(), Labels()))
    with pytest.raises(InputError, match=r"decoding\.avoid.*Classification does not search"):
        labels.check_decoding(Decoding(avoid=["x"]))
    with pytest.raises(InputError, match="Vectors"):
        Vectors().written()
    assert Decoding(include=["a"]).greedy().include is None
