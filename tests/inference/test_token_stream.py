"""Streaming: the labels of a stream are those of its sentences, whatever arrives in which piece."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Labels
from seq2seq.errors import InputError
from seq2seq.inference import token_stream
from seq2seq.models.cells import GRU, LSTM
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.tagger import AutoregressiveTagger, Crf, Softmax
from seq2seq.models.word_embedding import WordOptions
from seq2seq.runs import checkpoint
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.tagging import Tagging
from tests import support
from tests.support import ROOT, SENTENCES, SPANS, fitted, learnt, python

batch_of = partial(support.batch_of, row_format=Tagging.row_format)
tiny = partial(support.small, Tagging, words=WordOptions(4, 4, 8, 8))
FORWARD = EncoderOptions(bidirectional=False)


@pytest.fixture(scope="module")
def spelled() -> Tokenizers:
    return learnt(SENTENCES, Spelled(), Labels("\t"))


def labels_of(task: Tagging, sentences: list[list[str]]) -> list[list[str]]:
    """Token by token."""
    one, found = task.label_stream(), []
    for sentence in sentences:
        labelled = []
        for token in sentence:
            labelled += one.push(token)
        labelled += one.end()
        assert [each.token for each in labelled] == sentence
        found.append([each.label for each in labelled])
    return found


@pytest.mark.parametrize("tagger", [Softmax(), AutoregressiveTagger(8)], ids=repr)
@pytest.mark.parametrize("cell", [GRU(), LSTM()], ids=repr)
@pytest.mark.parametrize("lookahead", [0, 2])
def test_a_stream_has_the_labels_of_a_batch(spelled: Tokenizers, tagger: Any, cell: Any, lookahead: int) -> None:
    task = tiny(spelled, tagger=tagger, cell=cell, layers=2, encoder=FORWARD, lookahead=lookahead)
    batch = batch_of(SENTENCES, spelled)
    fitted(task, batch, 5)
    wanted = [task.text(found[0]).split("\t") for found in task.predict(batch, Decoding(1))]
    assert labels_of(task, [source.split("\t") for source, _ in SENTENCES]) == wanted


def test_labels_come_after_as_many_tokens_as_declared(spelled: Tokenizers) -> None:
    for lookahead in (0, 1, 3):
        one = tiny(spelled, encoder=FORWARD, lookahead=lookahead).label_stream()
        for place in range(50):
            assert len(one.push("cat")) == (place >= lookahead)
            assert len(one.waiting) == min(place + 1, lookahead)
        assert len(one.end()) == lookahead


def test_a_scheme_is_kept_looking_backwards() -> None:
    tokenizers = learnt(SPANS, Spelled(), Labels("\t"))
    for seed in range(10):
        torch.manual_seed(seed)
        task = tiny(tokenizers, tagger=Softmax("BIO"), encoder=FORWARD)
        for found in labels_of(task, [source.split("\t") for source, _ in SPANS]):
            for before, label in zip(["O", *found], found, strict=False):
                assert not label.startswith("I-") or before[2:] == label[2:]


@pytest.mark.parametrize("tagger", [Softmax(), AutoregressiveTagger(8)], ids=repr)
def test_a_state_that_was_saved_goes_on(spelled: Tokenizers, tagger: Any, tmp_path: Path) -> None:
    task = tiny(spelled, tagger=tagger, encoder=FORWARD, lookahead=1, layers=2).eval()
    words = [word for source, _ in SENTENCES for word in source.split("\t")]
    whole, first = task.label_stream(), task.label_stream()
    wanted = [one for word in words for one in whole.push(word)]
    found = [one for word in words[:9] for one in first.push(word)]
    checkpoint.write({"stream": first.content(), "mark": token_stream.mark_of(task)}, tmp_path / "state")
    second = task.label_stream()
    second.restore(token_stream.stored(tmp_path / "state", token_stream.mark_of(task)))
    found += [one for word in words[9:] for one in second.push(word)]
    assert found == wanted
    other = tiny(spelled, tagger=tagger, encoder=FORWARD, lookahead=1, layers=2)
    with pytest.raises(InputError, match=r"--state .*state .*another model"):
        token_stream.stored(tmp_path / "state", token_stream.mark_of(other))
    (tmp_path / "state").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"--state .*state "):
        token_stream.stored(tmp_path / "state", token_stream.mark_of(task))


def pieces_of(text: bytes, sizes: list[int], separator: str) -> list[str]:
    """The tokens of a pipe that is written in pieces."""
    reading, writing = os.pipe()

    def write() -> None:
        place = 0
        for size in [*sizes, len(text)]:
            os.write(writing, text[place : place + size])
            place += size
            time.sleep(0.01)
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    with open(reading, "rb", buffering=0) as source:
        found = list(token_stream.Incoming(source, separator, token_stream.StopFlag()))
    thread.join()
    return found


@pytest.mark.parametrize("sizes", [[], [1, 1, 1], [3], [4, 2], [8], [11, 1]])
@pytest.mark.parametrize("separator", ["\t", " "])
def test_pieces_do_not_matter(sizes: list[int], separator: str) -> None:
    text = "ab\tcä\n\nd\ne\tf\t\ng\n\n\nh".replace("\t", separator)
    assert pieces_of(text.encode(), sizes, separator) == ["ab", "cä", "", "d", "e", "f", "g", "", "", "h"]


def test_what_cannot_be_read() -> None:
    with pytest.raises(InputError, match=r"standard input:2: .*UTF-8"):
        pieces_of(b"a\n\xff\n", [], "\t")
    with pytest.raises(InputError, match=r"standard input:1: .*1,048,576"):
        pieces_of(b"x" * ((1 << 20) + 10), [], "\t")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"--stream .*--model\.encoder\.bidirectional"),
        ({"encoder": FORWARD, "tagger": Crf()}, r"--stream .*--model\.tagger"),
    ],
)
def test_what_cannot_stream(spelled: Tokenizers, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(spelled, **settings).label_stream()


def test_memory_does_not_grow(spelled: Tokenizers) -> None:
    one = tiny(spelled, encoder=FORWARD, lookahead=2).label_stream()
    for _ in range(300):
        one.push("cat")
    size = len(one.content()["plain"])
    for number in range(700):
        one.push("cat" if number % 2 else "dog")
    assert len(one.content()["plain"]) <= size + 2


TRAIN = [
    "--config", "configs/tagging_cldr.yaml", "--data.corpus.train", "200", "--data.corpus.validation", "10",
    "--data.corpus.test", "10", "--trainer.max_steps", "3", "--model.encoder.bidirectional", "false",
    "--model.hidden_size", "16", "--model.lookahead", "1",
]  # fmt: skip


@pytest.mark.slow
def test_the_command_labels_and_goes_on(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    python("-m", "seq2seq.train", *TRAIN, "--run", run, cwd=ROOT, check=True)
    command = ["-m", "seq2seq.predict", run, "--stream", "--device", "cpu"]
    whole = python(*command, input="May\t5\t2010\n\nin\t3\tdays\n", check=True, cwd=ROOT)
    lines = whole.stdout.split("\n")
    assert [line.split("\t")[0] for line in lines] == ["May", "5", "2010", "", "in", "3", "days", ""]
    state = ["--state", str(tmp_path / "state")]
    process = subprocess.Popen(
        [sys.executable, *command, *state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"May\t5\t20")
    process.stdin.flush()
    assert process.stdout.readline().decode() == lines[0] + "\n"  # one token later, not at the end of the line
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, b"")
    after = python(*command, *state, input="10\n\nin\t3\tdays\n\n", check=True, cwd=ROOT)
    assert after.stdout.split("\n")[:6] == lines[1:7]


def test_lines_are_written_as_they_come(spelled: Tokenizers, monkeypatch: pytest.MonkeyPatch) -> None:
    task, sink = tiny(spelled, encoder=FORWARD), io.BytesIO()
    monkeypatch.setattr(token_stream, "Incoming", lambda *given: ["the", "cat", "", "a"])
    token_stream.follow(task, io.BytesIO(), sink, None)
    lines = sink.getvalue().decode().split("\n")
    assert [line.split("\t")[0] for line in lines] == ["the", "cat", "", "a", ""]
    assert all(0 <= float(line.split("\t")[2]) <= 1 for line in lines if line)
