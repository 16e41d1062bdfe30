"""Streaming: what is written while a source arrives is what is written for a source that is there, bit for bit."""

import io
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq import predict
from seq2seq.analysis.delay import delay, delays
from seq2seq.data.tokenizers.base import EOS, Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.decoding import hypotheses
from seq2seq.decoding.length_bound import LengthBound
from seq2seq.errors import InputError
from seq2seq.inference import translation_stream
from seq2seq.metrics.base import Prediction
from seq2seq.models.attention import Additive, Dot
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Zeros
from seq2seq.report.wording import delay_sentence
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, batch_of, fitted, learnt, saved, small, split_of

GREEDY = Decoding(1)
LINES = "\ufeffthe cat sat\n\n   \r\na dog runs fast \r\ntwo  men in a red car\n  a woman reads\nnever seen words\n\u3000 a bird"


def reader(tokenizers: Tokenizers, **settings: Any) -> Translation:
    settings = {"encoder": EncoderOptions(bidirectional=False), "bridge": Zeros(), "attention": Dot(), **settings}
    torch.manual_seed(1)
    return small(Translation, tokenizers, **{"wait_k": 2, **settings}).eval()


@pytest.fixture(scope="module")
def trained() -> Translation:
    tokenizers = learnt(PAIRS, Words(), Words())
    return fitted(reader(tokenizers), batch_of(PAIRS, tokenizers), 15)


class Arriving:
    """A pipe to which a thread writes some bytes at a time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.descriptor, sink = os.pipe()

        def fill() -> None:
            with open(sink, "wb", buffering=0) as opened:
                for piece in pieces:
                    opened.write(piece)

        self.thread = threading.Thread(target=fill)
        self.thread.start()

    def fileno(self) -> int:
        return self.descriptor


def streamed(task: Translation, text: str, size: int = 1, decoding: Decoding = GREEDY, longest: int = 512) -> str:
    data, sink = text.encode(), io.BytesIO()
    source = Arriving(data[at : at + size] for at in range(0, len(data), size))
    translation_stream.follow(task, decoding, longest, source, sink)  # type: ignore[arg-type]
    source.thread.join()
    os.close(source.descriptor)
    return sink.getvalue().decode()


def offline(
    task: Translation,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    *arguments: str,
) -> str:
    """What the command writes for a file, all of its lines in one batch."""
    (tmp_path / "in").write_bytes(text.encode())
    with open(tmp_path / "in") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        run = str(saved(task, tmp_path / "run.ckpt"))
        predict.main([run, "--device", "cpu", "--decoding.beam_size", "1", *arguments])
    return capfdbinary.readouterr().out.decode()


SIDES = [
    (lambda: (Words(), Words()), {}),
    (lambda: (Characters(), Characters()), {"attention": Additive(coverage=True), "layers": 2}),
    (lambda: (SentencePiece(80, "bpe"), SentencePiece(70)), {"decoder": DecoderOptions(input_feeding=True)}),
    (lambda: (Words(), SentencePiece(330, byte_fallback=True)), {}),
    (lambda: (Labels(" "), Characters()), {}),
]


@pytest.mark.parametrize("side", [2, *(pytest.param(side, marks=pytest.mark.slow) for side in (0, 1, 3, 4))])
def test_a_stream_writes_what_the_command_writes(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    made, settings = SIDES[side]
    task = reader(learnt(PAIRS, *made()), **settings)
    for wait, more in ((1, []), (4, ["--decoding.max_length", "6", "--decoding.no_repeat_ngram", "2"])):
        own = Decoding(1, wait_k=wait)
        own = replace(own, max_length=6, no_repeat_ngram=2) if more else own
        expected = offline(task, LINES, tmp_path, monkeypatch, capfdbinary, "--decoding.wait_k", str(wait), *more)
        for size in (1, 1000):
            assert streamed(task, LINES, size, own) == expected


def test_numbers_are_the_same_to_the_last_bit(trained: Translation) -> None:
    """Tokens and probabilities of one row, whatever limits its length."""
    settings = [GREEDY, Decoding(1, wait_k=5), Decoding(1, max_length=2), Decoding(1, max_length_ratio=0.01)]
    settings += [Decoding(1, min_length=5), Decoding(1, no_repeat_ngram=1, max_length=12)]
    trained.length_bound = LengthBound(0.5, 1)  # fewer target than source tokens: the limit has to be waited for
    try:
        for decoding in settings:
            for pair in PAIRS[:5]:
                [[expected]] = trained.predict(batch_of([pair], trained.tokenizers), decoding)
                ids = iter([*trained.tokenizers.source.encode([pair[0]])[0], EOS])
                found = translation_stream.translate(trained, decoding, 512, ids, lambda text: None)
                assert found == expected._replace(at_limit=None)
    finally:
        trained.length_bound = None


def test_a_device_that_is_asked_seldom_writes_the_same(trained: Translation, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = streamed(trained, LINES, 1000)
    assert len(expected.split()) > 5
    monkeypatch.setitem(hypotheses.CHECK_EVERY, "cpu", 8)
    assert streamed(trained, LINES, 1000) == expected


def test_a_token_is_written_as_soon_as_the_policy_allows(trained: Translation) -> None:
    """Nothing is read beyond min(t + k - 1, S) tokens before token t has been written."""
    source = [*trained.tokenizers.source.encode([PAIRS[2][0]])[0], EOS]
    for wait in (1, 2, 4):
        rest, read = list(source), list[int]()

        def write(text: str, rest: list[int] = rest, read: list[int] = read) -> None:
            read += [len(source) - len(rest)] if text else []

        ids = (rest.pop(0) for _ in source)
        translation_stream.translate(trained, Decoding(1, wait_k=wait, min_length=5), 512, ids, write)
        assert len(read) > 3
        assert read == [min(t + wait, len(source)) for t in range(len(read))]


def test_a_source_is_cut_where_the_command_cuts_it(trained: Translation, caplog: pytest.LogCaptureFixture) -> None:
    assert streamed(trained, "two men in a red car\n", longest=4) == streamed(trained, "two men in\n")
    assert "data.max_length 4" in caplog.text


def test_parts_of_a_text_have_its_ids(trained: Translation) -> None:
    """Of unigrams that is not so; there the whole text decides."""
    pieces, random = learnt(PAIRS, SentencePiece(80, "bpe"), Words()).source, np.random.default_rng(1)
    for _ in range(300):
        text = "".join(random.choice(list("abcdeiorst \u2581é\t "), random.integers(1, 25)))
        parts = text.split(pieces.boundary)
        assert [number for part in parts for number in pieces.encode_part(part)] == pieces.encode([text])[0]
    for refused, name in ((SentencePiece(80), "model_type bpe"), (Characters("NFD"), "normalization NFD")):
        with pytest.raises(InputError, match=name):
            streamed(reader(learnt(PAIRS, refused, Words())), "a\n")
    with pytest.raises(InputError, match="normalization NFD"):
        streamed(reader(learnt(PAIRS, Words(), Characters("NFD"))), "a\n")


def test_what_takes_back_tokens_is_refused(trained: Translation, tmp_path: Path) -> None:
    for decoding, name in (
        (Decoding(2), "beam_size is 2"),
        (Decoding(1, prefix="die"), "prefix"),
        (Decoding(1, avoid=["die"]), "avoid"),
        (Decoding(1, temperature=1.0), "temperature"),
    ):
        with pytest.raises(InputError, match=rf"decoding\.{name}"):
            translation_stream.check(trained, decoding)
    with pytest.raises(InputError, match=r"decoding\.wait_k"):
        translation_stream.check(reader(trained.tokenizers, wait_k=None), GREEDY)
    run = str(saved(trained, tmp_path / "run.ckpt"))
    with pytest.raises(InputError, match="--scores"):
        predict.main([run, "--stream", "--scores", "--device", "cpu", "--decoding.beam_size", "1"])
    with pytest.raises(InputError, match="standard input:2: invalid UTF-8"):
        sink, source = io.BytesIO(), Arriving(iter([b"a bird\n", b"the \xff"]))
        translation_stream.follow(trained, GREEDY, 512, source, sink)  # type: ignore[arg-type]
    source.thread.join()
    assert sink.getvalue().count(b"\n") == 1


def test_delays_are_those_of_their_definitions(trained: Translation) -> None:
    """Average lagging of Ma et al. 2019 and average proportion of Cho and Esipova 2016, token by token."""
    for wait, source, target in ((1, 5, 5), (3, 7, 4), (2, 2, 6), (9, 4, 3), (1, 1, 1), (3, 9, 2)):
        read = {t: min(t + wait - 1, source) for t in range(1, target + 1)}
        last = min((t for t in read if read[t] == source), default=target)
        lagging = sum(read[t] - (t - 1) / (target / source) for t in range(1, last + 1)) / last
        proportion = sum(read.values()) / (source * target)
        assert delays(wait, source, target) == pytest.approx((lagging, proportion))
    assert delays(3, 20, 20)[0] == pytest.approx(3)  # wait-k lags k tokens behind where lengths are equal
    rows, tokens = PAIRS[:3], (4, 2, 9)
    predictions = [Prediction(row, *pair, "", 0.0, [0.0] * n) for row, (pair, n) in enumerate(zip(rows, tokens))]  # noqa: B905
    split = split_of(rows, trained.tokenizers)
    found = delay(trained, split, predictions, GREEDY) or {}
    each = [delays(2, int(length), n) for length, n in zip(split.source_lengths(), tokens, strict=True)]
    assert (found["average_lagging"], found["average_proportion"]) == pytest.approx(np.mean(each, axis=0))
    assert "wait-2" in delay_sentence(found)
    assert delay(reader(trained.tokenizers, wait_k=None), split, predictions, GREEDY) is None
    assert delay_sentence({}) == ""
