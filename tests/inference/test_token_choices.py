"""Alternatives of each token: the most likely ones at its place, as teacher forcing has them."""

import json
import math
from pathlib import Path

import pytest
import torch

import seq2seq
from seq2seq import predict
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, UNK, Tokenizers
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.errors import InputError
from seq2seq.inference import token_choices
from seq2seq.inference.ensemble import Ensemble
from seq2seq.models.attention import Dot
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Zeros
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, batch_of, learnt, saved, small

TEXTS = [source for source, _ in PAIRS[:4]]
BEAM = Decoding(3, max_length=4)


@pytest.fixture(scope="module")
def words() -> Tokenizers:
    return learnt(PAIRS, Words(), Words())


def by_hand(
    task: Translation | Generation, source: str, tokens: list[int], count: int
) -> list[list[tuple[int, float]]]:
    """The most likely tokens at each place by the network's forward pass over the whole target."""
    target = torch.tensor([[BOS, *tokens, EOS]])
    batch = batch_of([(source, "")], task.tokenizers, task.row_format)._replace(
        target=target, target_lengths=torch.tensor([target.shape[1]])
    )
    with torch.no_grad():
        chances = task(batch)[0].exp()
    chances[:, [PAD, UNK, BOS]] = 0
    ranked = [sorted(enumerate(place), key=lambda item: -item[1])[:count] for place in chances.tolist()]
    return [[item for item in place if item[1] > 0] for place in ranked]


def test_alternatives_are_those_of_teacher_forcing(words: Tokenizers) -> None:
    labels = learnt([("de", "ein Hund"), ("en", "a dog")], Labels(), Characters())
    reader = {"encoder": EncoderOptions(bidirectional=False), "bridge": Zeros(), "attention": Dot()}
    tasks = [
        (small(Translation, words, attention=Dot()), TEXTS),
        (small(Translation, words, wait_k=2, **reader), TEXTS),
        (small(Generation, labels), ["en", "de"]),
    ]
    for task, texts in tasks:
        task.eval()
        pieces, every = task.tokenizers.target.pieces, len(task.tokenizers.target)
        texts = ["", *texts]
        found = seq2seq.inference.predict_texts.predict(task, texts, BEAM, torch.device("cpu"))
        for count in (2, every + 5):
            several = token_choices.with_choices(task, texts, found, BEAM, count, torch.device("cpu"), 512)
            assert [[one._replace(choices=None) for one in row] for row in several] == found
            assert several[0] == []
            for text, (best, *others) in zip(texts[1:], several[1:], strict=True):
                assert best.choices is not None
                assert all(one.choices is None for one in others)
                assert [one.text for one in best.choices] == [*pieces(best.tokens), "</s>"]
                scores = [math.log(one.probability) for one in best.choices]
                assert scores == pytest.approx(best.token_scores, abs=1e-4)
                for one, expected in zip(best.choices, by_hand(task, text, best.tokens, count), strict=True):
                    assert [other.text for other in one.alternatives] == pieces([token for token, _ in expected])
                    chances = [other.probability for other in one.alternatives]
                    assert chances == pytest.approx([chance for _, chance in expected], abs=1e-5)


def test_several_models_have_the_mean(words: Tokenizers) -> None:
    members = [small(Translation, words).eval() for _ in range(2)]
    task = Ensemble(members)
    found = seq2seq.inference.predict_texts.predict(task, TEXTS[:1], BEAM, torch.device("cpu"))
    [[best, *_]] = token_choices.with_choices(task, TEXTS[:1], found, BEAM, 1, torch.device("cpu"), 512)
    ways = [by_hand(member, TEXTS[0], best.tokens, 100) for member in members]
    for place, one in enumerate(best.choices or []):
        mean = [sum(dict(way[place])[token] for way in ways) / 2 for token, _ in ways[0][place]]
        assert one.alternatives[0].probability == pytest.approx(max(mean), abs=1e-5)


def test_command_and_python_tell_them(
    words: Tokenizers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run = saved(small(Translation, words), tmp_path / "run.ckpt")
    (tmp_path / "in").write_text("\n".join(["", *TEXTS]))
    with open(tmp_path / "in") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        predict.main([str(run), "--device", "cpu", "--decoding.max_length", "3", "--alternatives", "2"])
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.decode().splitlines()]
    assert lines[0] == {"text": "", "score": None, "tokens": []}
    answers = seq2seq.load(run).predict(["", *TEXTS], alternatives=2, max_length=3)
    assert not answers[0].n_best
    for line, answer in zip(lines[1:], answers[1:], strict=True):
        assert line["text"] == answer.text
        assert line["score"] == pytest.approx(answer.score, abs=1e-5)
        [best] = answer.n_best
        assert [token["text"] for token in line["tokens"]] == [one.text for one in best.tokens]
        for token, one in zip(line["tokens"], best.tokens, strict=True):
            assert [other["text"] for other in token["alternatives"]] == [other.text for other in one.alternatives]
            assert len(token["alternatives"]) == 2
            assert token["alternatives"][0]["probability"] >= token["alternatives"][1]["probability"]
    with pytest.raises(InputError, match=r"--alternatives .*--n_best"):
        predict.main([str(run), "--device", "cpu", "--alternatives", "2", "--n_best", "2"])


def test_tasks_without_such_tokens_refuse(words: Tokenizers) -> None:
    labels = learnt([("a", "x"), ("b", "y")], Words(), Labels())
    for task in (small(Classification, labels), small(Generation, learnt(PAIRS, NoSource(), Characters()))):
        with pytest.raises(InputError, match=f"--alternatives 3 .*{type(task).__name__}"):
            token_choices.check(task, 3, "--alternatives")
    with pytest.raises(InputError, match=r"alternatives.*0"):
        token_choices.check(small(Translation, words), 0, "alternatives")
