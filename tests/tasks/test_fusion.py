"""Transcriptions guided by a language model and a word list: against all texts of small networks, and what is refused."""

import itertools
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import SPECIAL, Tokenizer
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.decoding import transducer
from seq2seq.errors import InputError
from seq2seq.models.transducer import Transducer
from seq2seq.tasks import fusion
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.transcription import Transcription
from seq2seq.tasks.translation import Translation
from tests import support
from tests.support import learnt, saved

ROWS = [("0 1\t1 0\t0.4 0.6\t0.3 0.2", "a b"), ("0.5 0.5\t1 1\t0 0", "b a")]
WIDE = Decoding(beam_size=3000)


def network(target: Tokenizer, **settings: Any) -> Transcription:
    """One that has learnt nothing."""
    torch.manual_seed(4)
    task = support.small(Transcription, learnt(ROWS, Vectors(), target), stacking=1, **settings)
    with torch.no_grad():
        for parameter in task.output.parameters():
            parameter.normal_()
    return task.eval()


def model(path: Path, target: Tokenizer, texts: str = "c b a", **settings: Any) -> str:
    """A checkpoint of a language model that has learnt nothing; texts: with its symbols."""
    torch.manual_seed(5)
    task = support.small(Generation, learnt([("", texts)], NoSource(), target), **settings)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.normal_()
    return str(saved(task, path))


def batch_of(task: Transcription, rows: list[tuple[str, str]]) -> Batch:
    return support.batch_of(rows, task.tokenizers, task.row_format)


def score(task: Transcription, text: str) -> float:
    """The log-probability of a text for the first row's frames."""
    [[found]], _ = task.score_targets(batch_of(task, [(ROWS[0][0], text)]), ())
    return found


def texts_of(task: Transcription, longest: int) -> list[str]:
    """All texts of so many tokens."""
    tokens = range(SPECIAL, len(task.tokenizers.target))
    every = (ids for size in range(1, longest + 1) for ids in itertools.product(tokens, repeat=size))
    return [task.tokenizers.target.decode(ids) for ids in every]


def found(task: Transcription, decoding: Decoding) -> dict[str, float]:
    """Texts of the first row with their scores, best first."""
    task.check_decoding(decoding)
    [several] = task.predict(batch_of(task, ROWS[:1]), replace(decoding, length_penalty=0.0))
    return {task.text(one): one.score for one in several if one.tokens}


@pytest.mark.parametrize(
    ("settings", "running"),
    [({}, True), ({"alignment": Transducer(3, 4, 1, 5)}, False)],
    ids=["ctc with running text", "transducer"],
)
def test_a_language_model_is_added_to_every_text(
    settings: dict[str, Any], running: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transducer, "most", lambda time: time + 1)
    task, run = network(Words(), **settings), model(tmp_path / "lm.ckpt", Words(), running=running)
    decoding = replace(WIDE, lm=run, lm_weight=0.7, token_bonus=0.3)
    lm = fusion.language_model(run, task.tokenizers.target)
    scores = {}
    for text in texts_of(task, 3):
        [tokens], _ = lm.score_targets(support.batch_of([("", text)], lm.tokenizers, lm.row_format), lm.first_state(1))
        if (own := score(task, text)) > -1e9:
            scores[text] = own + 0.7 * math.fsum(tokens) + 0.3 * len(text.split())
    result = found(task, decoding)
    assert [text for text in result if len(text.split()) <= 3] == sorted(scores, key=lambda text: -scores[text])
    assert {text: result[text] for text in scores} == pytest.approx(scores, abs=1e-4)
    assert list(result) != list(found(task, WIDE)), "the model says something"


@pytest.mark.parametrize("settings", [{}, {"alignment": Transducer(3, 4, 1, 5)}], ids=["ctc", "transducer"])
def test_only_words_of_the_list_are_written(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transducer, "most", lambda time: time + 1)
    task, file = network(Characters(), **settings), tmp_path / "words.txt"
    file.write_text("ab\nb\nxyz\n")
    every, allowed = found(task, WIDE), found(task, replace(WIDE, words=str(file)))
    expected = {text: value for text, value in every.items() if text.split() and set(text.split()) <= {"ab", "b"}}
    expected = {text: value for text, value in expected.items() if not text.startswith(" ") and "  " not in text}
    mine = {text: value for text, value in allowed.items() if not text.startswith(" ") and "  " not in text}
    assert {"b", "ab", "b b"} <= set(mine)
    assert list(mine) == list(expected)
    assert mine == pytest.approx(expected)
    assert all(set(text.split()) <= {"ab", "b"} for text in allowed)
    assert "1 of 3" in caplog.text
    assert "xyz" in caplog.text
    assert found(network(Words()), replace(WIDE, words=str(write(tmp_path / "one.txt", "b\n")))).keys() == {
        "b", "b b"}  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"alignment": Transducer(3, 4, 1, 5)}], ids=["ctc", "transducer"])
def test_where_the_beam_has_no_text_of_the_list_there_is_none(settings: dict[str, Any], tmp_path: Path) -> None:
    task = network(Characters(), **settings)
    with torch.no_grad():
        task.output.weight.zero_()
        task.output.bias.copy_(torch.tensor([0.0, 0, 0, 30, 0]))  # nothing but "a"
    words = str(write(tmp_path / "words.txt", "aab\n"))
    [[best]] = task.predict(batch_of(task, ROWS[:1]), Decoding(beam_size=1, words=words))
    assert task.text(best) in ("", "aab")
    assert task.predict(batch_of(task, ROWS[:1]), Decoding(beam_size=1))[0][0].tokens[:1] == [5]


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"decoding\.words .* is empty"),
        ("c\nd\n", r"decoding\.words .* 'c'"),
        ("a\na b\n", r"words\.txt:2: 'a b'"),
        ("a\n\nb\n", r"words\.txt:2"),
    ],
)
def test_word_lists_that_are_none(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        network(Words()).check_decoding(replace(WIDE, words=str(write(tmp_path / "words.txt", content))))


def test_runs_that_are_no_language_model_of_these_symbols(tmp_path: Path) -> None:
    task, path = network(Words()), tmp_path / "other.ckpt"

    def refused(run: str | Path, message: str) -> None:
        with pytest.raises(InputError, match=message):
            task.check_decoding(replace(WIDE, lm=str(run)))

    refused(tmp_path / "none", r"none does not exist")
    refused(saved(task, path), r"decoding\.lm .* Transcription")
    refused(model(path, Words(), "b d"), r"decoding\.lm .* 1 of this run's \('a'\)")
    refused(model(path, Characters()), r"decoding\.lm .* Characters.* Words")
    conditioned = support.small(Generation, learnt([("x", "a b")], Labels(), Words()))
    refused(saved(conditioned, path), r"decoding\.lm .* NoSource")
    with pytest.raises(InputError, match=r"decoding\.lm .*Translation"):
        support.small(Translation, learnt([("x", "a b")], Words(), Words())).check_decoding(replace(WIDE, lm="run"))
    for name in ("lm_weight", "token_bonus"):
        with pytest.raises(InputError, match=rf"decoding\.{name} is -101"):
            Decoding(**{name: -101.0})  # type: ignore[arg-type]


def test_a_word_list_that_changes_is_read_again(tmp_path: Path) -> None:
    target = learnt([("1", "a b c")], Vectors(), Characters()).target
    file = write(tmp_path / "words", "a\n")
    before = fusion.word_list(str(file), target)
    assert fusion.word_list(str(file), target) is before
    os.utime(write(file, "b\n"), ns=(1, 1))
    assert set(before) == {"a"}
    assert set(fusion.word_list(str(file), target)) == {"b"}
