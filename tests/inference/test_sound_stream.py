"""Streams of sound: the words of a stream are those of the whole recording, whatever arrives in which piece."""

import io
import logging
import math
import os
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.data.corpora.builtin.tones import Tones
from seq2seq.data.corpora.npy import Npy
from seq2seq.data.corpora.recordings import Recordings
from seq2seq.data.number_text import text_of_array
from seq2seq.data.sound import SoundFrames, resampled
from seq2seq.data.tokenizers.base import SPECIAL, Tokenizer
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Words
from seq2seq.data.wav_stream import FrameGroups, WavStream
from seq2seq.decoding import transducer
from seq2seq.errors import InputError
from seq2seq.inference import predict_texts, sound_stream
from seq2seq.models.cells import GRU, LSTM
from seq2seq.models.ctc import FIRST
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.transducer import Transducer
from seq2seq.tasks import word_stream
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.transcription import Transcription
from tests import support
from tests.support import learnt

SOUND = SoundFrames(4000, 8)
CORPUS = Recordings(rate=4000, bands=8)
ONE = Decoding(beam_size=1)
RANDOM = np.random.default_rng(1)
PITCHES = np.repeat(RANDOM.integers(0, 8, 36) * 220, 200)[:7001]
SAMPLES = np.round(9000 * np.sin(2 * np.pi * np.cumsum(PITCHES) / 4000)).astype(int) + RANDOM.integers(-99, 99, 7001)
BYTES = SAMPLES.astype("<i2").tobytes()


def wav(data: bytes, rate: int = 4000, kind: int = 1, bits: int = 16, channels: int = 1, size: int = -1) -> bytes:
    """A WAV; size: what its header claims."""
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    claimed = len(data) if size < 0 else size
    return (
        b"RIFF\0\0\0\0WAVE"
        + b"LIST\3\0\0\0abc\0"
        + b"fmt \x10\0\0\0"
        + form
        + b"data"
        + struct.pack("<I", claimed)
        + data
    )


def network(target: Tokenizer, **settings: Any) -> Transcription:
    """A network that writes much, of which little is right."""
    rows = [(text_of_array(SOUND.of(SAMPLES / 2**15)), "one two three")]
    options = {"stacking": 3, "encoder": EncoderOptions(bidirectional=False), "layers": 2, "lookahead": 2, **settings}
    task = support.small(Transcription, learnt(rows, Vectors(), target), **options)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.normal_(0, 0.5)
        task.output.weight *= 8
    return task


def streamed(task: Transcription, data: bytes, piece: int, tmp_path: Path, state: Path | None = None) -> str:
    """What a stream writes for bytes that arrive in pieces."""
    read, write = os.pipe()
    sink = io.BytesIO()
    with open(read, "rb") as source, open(write, "wb", buffering=0) as out:
        chunk, sound_stream.CHUNK = sound_stream.CHUNK, piece
        try:
            out.write(data)  # fits into the pipe
            out.close()
            sound_stream.follow(task, ONE, CORPUS, source, sink, state)
        finally:
            sound_stream.CHUNK = chunk
    return sink.getvalue().decode()


def whole(task: Transcription, samples: np.ndarray) -> str:
    """What the network writes for all frames at once."""
    [[best]] = predict_texts.predict(task, [text_of_array(SOUND.of(samples))], ONE, torch.device("cpu"), 10_000)
    return task.text(best)


def words(lines: str) -> str:
    return " ".join(line.split("\t")[2] for line in lines.splitlines())


@pytest.mark.parametrize("cell", [GRU(), LSTM()], ids=repr)
@pytest.mark.parametrize("target", [Words(), Characters()], ids=lambda one: type(one).__name__)
def test_a_stream_has_the_words_of_the_whole(target: Tokenizer, cell: Any, tmp_path: Path) -> None:
    task = network(target, cell=cell)
    expected = whole(task, SAMPLES / 2**15)
    found = streamed(task, BYTES, 997, tmp_path)
    assert len(expected) > 3
    assert words(found).split() == expected.split()
    assert found == streamed(task, wav(BYTES), 64, tmp_path) == streamed(task, wav(BYTES, size=0), 16_384, tmp_path)
    times = [tuple(map(float, line.split("\t")[:2])) for line in found.splitlines()]
    assert times == sorted(times)
    assert all(0 <= first < last <= len(SAMPLES) / 4000 + 0.03 for first, last in times)
    state = tmp_path / "state"  # in three parts, the first of which has a header
    parts = (wav(BYTES[:3001], size=0), BYTES[3001:7000], BYTES[7000:])
    resumed = "".join(streamed(task, part, 500, tmp_path, state) for part in parts)
    assert resumed == streamed(task, BYTES, 500, tmp_path, tmp_path / "other")
    assert found.startswith(resumed[: max(1, len(resumed))])


def test_a_transducer_and_a_running_mean_in_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (transducer, word_stream):  # this network would write without end
        monkeypatch.setattr(module, "most", lambda time: time + 1)
    task = network(Words(), alignment=Transducer(6, 8, 1, 8), centre_running=20)
    torch.manual_seed(3)
    with torch.no_grad():
        task.output.weight.normal_()
    expected = whole(task, SAMPLES / 2**15).split()
    assert len(set(expected)) > 1
    assert 40 < len(expected) < math.ceil(len(SOUND.of(SAMPLES / 2**15)) / 3), "tokens, and steps without one"
    found = streamed(task, BYTES, 997, tmp_path)
    assert words(found).split() == expected
    state = tmp_path / "state"
    resumed = "".join(streamed(task, part, 500, tmp_path, state) for part in (BYTES[:3002], BYTES[3002:]))
    assert resumed == streamed(task, BYTES, 500, tmp_path, tmp_path / "other")


def test_words_come_as_soon_as_declared(tmp_path: Path) -> None:
    task = network(Words())
    one, groups = task.word_stream(17), FrameGroups(SOUND, 3)
    for place, frames in enumerate(groups.push(SAMPLES / 2**15)):
        for word in one.push(frames):
            assert place - task.lookahead - 1 <= word.last <= place - task.lookahead
    assert one.read > 40


def test_a_space_or_a_pause_ends_a_word() -> None:
    """Characters do not say that a word is over."""
    one = network(Characters()).word_stream(3)
    [ids] = one.target.encode(["on e"])
    classes = [number - SPECIAL + FIRST for number in ids]
    written = [classes[0], classes[0], 0, classes[1], classes[2], classes[3], 0, 0, 0, 0, classes[3]]
    found = [one.written(number, place) for place, number in enumerate(written)]
    assert [(place, *word) for place, words in enumerate(found) for word in words] == [
        (4, 0, 3, "on"),
        (9, 5, 5, "e"),
    ]
    assert one.ended() == [(10, 10, "e")]


@pytest.mark.parametrize(
    ("kind", "bits", "data"),
    [
        (1, 8, (SAMPLES / 256 + 128).astype("u1").tobytes()),
        (1, 24, b"".join(int(one * 256).to_bytes(3, "little", signed=True) for one in SAMPLES)),
        (1, 32, (SAMPLES * 65536).astype("<i4").tobytes()),
        (3, 32, (SAMPLES / 2**15).astype("<f4").tobytes()),
        (3, 64, (SAMPLES / 2**15).astype("<f8").tobytes()),
    ],
    ids=["pcm8", "pcm24", "pcm32", "float", "double"],
)
def test_any_kind_of_samples(kind: int, bits: int, data: bytes) -> None:
    one = WavStream(4000)
    arriving = wav(data, kind=kind, bits=bits) + b"LIST and what follows"
    found = np.concatenate([one.push(arriving[place : place + 101]) for place in range(0, len(arriving), 101)])
    np.testing.assert_allclose(found, SAMPLES / 2**15, atol=0.008 if bits == 8 else 1e-7)


def test_channels_and_another_rate_arriving_in_pieces() -> None:
    one = WavStream(4000)
    stereo = wav(np.stack((SAMPLES, np.zeros_like(SAMPLES)), 1).astype("<i2").tobytes(), 11_025, channels=2)
    pieces = [one.push(stereo[place : place + 333]) for place in range(0, len(stereo), 333)]
    np.testing.assert_allclose(
        np.concatenate((*pieces, one.end())), resampled(SAMPLES / 2**16, 11_025, 4000), atol=1e-12
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no sound"),
        (wav(b""), "no sound"),
        (wav(BYTES)[:30], "cut"),
        (b"RIFF\0\0\0\0AVI LIST", "no WAV"),
        (b"fLaC\0\0", "FLAC"),
        (wav(BYTES, kind=7, bits=8), "kind 7 with 8 bits"),
        (wav(BYTES, channels=0), "0 channels"),
        (wav(BYTES, rate=7), "7 samples a second"),
        (wav(BYTES, rate=44_101), "44101 samples a second cannot become 4000"),
        (wav(np.array([0.5, np.nan], "<f4").tobytes(), kind=3, bits=32), r"0\.000 seconds is not finite"),
        (b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\x7f", "header of the WAV is damaged"),
    ],
)
def test_what_is_no_sound_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        streamed(network(Words()), data, 16, tmp_path)


def test_what_cannot_be_streamed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.encoder\.bidirectional"):
        network(Words(), encoder=EncoderOptions(), lookahead=0).word_stream(3)
    with pytest.raises(InputError, match=r"model\.centre_rows"):
        network(Words(), centre_rows=True).word_stream(3)
    with pytest.raises(InputError, match=r"model\.lookahead"):
        network(Words(), encoder=EncoderOptions())
    with pytest.raises(InputError, match=r"decoding\.beam_size"):
        sound_stream.check(Decoding(beam_size=2))
    with pytest.raises(InputError, match=r"decoding\.words"):
        sound_stream.check(Decoding(beam_size=1, words="words.txt"))
    with pytest.raises(InputError, match=r"data\.corpus was Npy"):
        sound_stream.frames_of(Npy())
    assert sound_stream.frames_of(Tones()).rate == 4000
    state = tmp_path / "state"
    state.write_text("no state")
    with pytest.raises(InputError, match="--state"):
        streamed(network(Words()), BYTES, 99, tmp_path, state)


def test_stalls_and_silence_are_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_stream, "STALL", 0.04)
    monkeypatch.setattr(sound_stream, "WAIT", 0.01)
    monkeypatch.setattr(sound_stream, "SILENT", 0.5)
    read, write = os.pipe()
    os.write(write, bytes(6000))
    threading.Timer(0.2, os.close, [write]).start()
    sink = io.BytesIO()
    with caplog.at_level(logging.WARNING), open(read, "rb") as source:
        sound_stream.follow(network(Words()), ONE, CORPUS, source, sink, None)
    messages = [record.getMessage() for record in caplog.records]
    assert len([text for text in messages if "no sound has come" in text]) == 1
    assert len([text for text in messages if "digital silence" in text]) == 1
