"""Sound in the runtime: frames, texts and streams are those of the task, whatever arrives in which piece."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.data import sound as own_sound
from seq2seq.data import wav_stream as own_stream
from seq2seq.data.number_text import text_of_array
from seq2seq.data.sound import SoundFrames, wav
from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Words
from seq2seq.decoding import ctc as own_ctc
from seq2seq.decoding import transducer as own_transducer
from seq2seq.errors import InputError
from seq2seq.exporting.description import KEY, as_metadata, described
from seq2seq.exporting.graphs import graph_of
from seq2seq.inference import predict_texts
from seq2seq.models.attention import Additive
from seq2seq.models.cells import GRU
from seq2seq.models.ctc import ctc_losses
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.transducer import Transducer
from seq2seq.tasks import word_stream
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.transcription import Transcription
from seq2seq_runtime import __main__ as program
from seq2seq_runtime import ctc, description, sound, transcribing, transducer, wav_stream
from seq2seq_runtime.model import Model
from seq2seq_runtime.problems import FileError, RequestError
from tests import support
from tests.runtime.networks import TorchNetwork, changed, places
from tests.support import learnt

SOUND = SoundFrames(4000, 8)
RANDOM = np.random.default_rng(1)
PITCHES = np.repeat(RANDOM.integers(0, 8, 20) * 220, 200)[:3901]
WHOLE = np.round(9000 * np.sin(2 * np.pi * np.cumsum(PITCHES) / 4000)) + RANDOM.integers(-99, 99, 3901)
SAMPLES = WHOLE / 2**15
BYTES = WHOLE.astype("<i2").tobytes()
FORWARDS = EncoderOptions(bidirectional=False)

NETWORKS: dict[str, dict[str, Any]] = {
    "forwards": {"encoder": FORWARDS, "lookahead": 2, "layers": 2},
    "running mean": {"encoder": FORWARDS, "centre_running": 20, "cell": GRU(), "lookahead": 1},
    "learned state": {"encoder": EncoderOptions(bidirectional=False, learned_first_state=True)},
    "both ways": {"centre_rows": True},
    "transducer": {"encoder": FORWARDS, "lookahead": 2, "alignment": Transducer(6, 8, 2, 8)},
    "transducer both ways": {"alignment": Transducer(6, 8, 1, 8), "cell": GRU()},
}


def network(target: Tokenizer, **settings: Any) -> Transcription:
    """A network that writes much, of which little is right."""
    rows = [(text_of_array(SOUND.of(SAMPLES)), "one two three")]
    task = support.small(Transcription, learnt(rows, Vectors(), target), **{"stacking": 3, **settings})
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.normal_(0, 0.5)
        if task.writer is not None:
            task.output.weight.normal_()
        else:
            task.output.weight *= 8
    return task.eval()


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """These transducers would write without end."""
    for module in (own_transducer, word_stream, transducer):
        monkeypatch.setattr(module, "most", lambda time: time + 1)


def entry_of(task: Transcription, decoding: Decoding, frames: SoundFrames | None = SOUND) -> str:
    return as_metadata(described(graph_of(task, decoding), decoding, 10_000, None, {}, frames))[KEY]


def model_of(task: Transcription, decoding: Decoding, frames: SoundFrames | None = SOUND) -> Model:
    of = description.read(entry_of(task, decoding, frames))
    return Model(of, TorchNetwork(graph_of(task, decoding)))


def streamed(task: Transcription, frames: np.ndarray) -> list[tuple[int, int, str]]:
    """What the task writes, a step at a time."""
    one = task.word_stream(math.ceil(transcribing.PAUSE / (0.03)))
    groups = (frames[start : start + one.group] for start in range(0, len(frames), one.group))
    return [tuple(word) for word in [*(word for group in groups for word in one.push(group)), *one.end()]]


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_texts_are_those_of_the_task(name: str, beam_size: int) -> None:
    task, decoding = network(Words(), **NETWORKS[name]), Decoding(beam_size=beam_size)
    mine, pieces = model_of(task, decoding), [SAMPLES[:size] for size in (3901, 1500, 50, 777)]
    texts = [text_of_array(SOUND.of(piece)) for piece in pieces]
    want = predict_texts.predict(task, texts, decoding, torch.device("cpu"), 10_000)
    assert max(len(task.text(several[0]).split()) for several in want) > 2
    for answers in (mine.predict(texts, beam_size), mine.transcribe(pieces, beam_size)):
        for answer, several in zip(answers, want, strict=True):
            assert [one.text for one in answer.n_best] == [task.text(one) for one in several]
            assert [one.score for one in answer.n_best] == pytest.approx([one.score for one in several], abs=1e-4)
            assert [one.token_scores for one in answer.n_best] == [
                pytest.approx(one.token_scores, abs=1e-4) for one in several
            ]


@pytest.mark.parametrize("target", [Words(), Characters()], ids=["words", "characters"])
@pytest.mark.parametrize("name", ["forwards", "running mean", "transducer"])
def test_a_stream_writes_what_the_task_writes(name: str, target: Tokenizer) -> None:
    task = network(target, **NETWORKS[name])
    mine, want = model_of(task, Decoding(beam_size=1)), streamed(task, SOUND.of(SAMPLES))
    assert len(want) >= 1
    listening = mine.listen()
    found = [word for at in range(0, len(BYTES), 997) for word in listening.push(BYTES[at : at + 997])]
    before = len(found)
    found += listening.end()
    assert before or isinstance(target, Characters), "words come before the end"
    steps = [(round(begin / 0.03), round(end / 0.03) - 1, text) for begin, end, text in found]
    assert steps == want
    whole, in_samples, in_frames = mine.listen(), mine.listen(), mine.listen()
    assert [*whole.push(bytearray(wav(SAMPLES * 2**15 / 32767, 4000))), *whole.end()] == found
    assert [*in_samples.push(SAMPLES[:999]), *in_samples.push(SAMPLES[999:]), *in_samples.end()] == found
    frames = SOUND.of(SAMPLES)
    assert [*in_frames.push_frames(frames[:7]), *in_frames.push_frames(frames[7:]), *in_frames.end()] == found
    with pytest.raises(RequestError, match="ended"):
        whole.push(BYTES)


def test_many_steps_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = model_of(network(Words(), **NETWORKS["running mean"]), Decoding(beam_size=1))
    one, other = mine.listen(), mine.listen()
    found = [*one.push(SAMPLES), *one.end()]
    monkeypatch.setattr(transcribing, "AT_ONCE", 3)
    assert [*other.push(SAMPLES), *other.end()] == found


def test_frames_and_samples_are_those_of_the_training() -> None:
    noise = RANDOM.normal(size=20_000)
    for of in ((8000, 40, 0, 0), (16_000, 26, 13, 2), (11_025, 8, 0, 1)):
        np.testing.assert_allclose(sound.SoundFrames(*of).of(noise), SoundFrames(*of).of(noise), atol=0.0101)
        assert sound.SoundFrames(*of).width == SoundFrames(*of).of(noise).shape[1]
        assert (sound.SoundFrames(*of).of(noise) == SoundFrames(*of).of(noise)).mean() > 0.999
    for own, rate in ((16_000, 8000), (44_100, 8000), (8000, 11_025)):
        np.testing.assert_allclose(sound.resampled(noise, own, rate), own_sound.resampled(noise, own, rate), atol=1e-12)
    short = noise[:50]
    np.testing.assert_array_equal(sound.SoundFrames(8000, 8).of(short), SoundFrames(8000, 8).of(short))


@pytest.mark.parametrize("rate", [4000, 11_025])
def test_bytes_in_pieces_are_the_same_samples(rate: int) -> None:
    data, own, mine = wav(SAMPLES, rate) + b"more", own_stream.WavStream(4000), wav_stream.WavStream(4000)
    pieces = [data[at : at + 501] for at in range(0, len(data), 501)]
    want = np.concatenate([*(own.push(piece) for piece in pieces), own.end()])
    np.testing.assert_allclose(np.concatenate([*(mine.push(piece) for piece in pieces), mine.end()]), want, atol=1e-12)
    np.testing.assert_allclose(wav_stream.samples_of(data, 4000), want, atol=1e-12)


@pytest.mark.parametrize("beam_size", [1, 3, 8])
def test_search_and_its_probabilities_are_those_of_torch(beam_size: int) -> None:
    for seed in range(6):
        draw = torch.randn(9, 6, generator=torch.Generator().manual_seed(seed)) * 3
        log_probs = draw.log_softmax(-1)
        log_probs[:, 1] = -torch.inf
        array = log_probs.double().numpy()
        found = ctc.search(array, beam_size)
        assert {text for text, _ in found} == {text for text, _ in own_ctc.search(array, beam_size)}
        for text, score in found:
            classes = torch.tensor([text or (1,)])
            lengths = torch.tensor([len(text)])
            [loss] = ctc_losses(log_probs.unsqueeze(0), torch.tensor([9]), classes, lengths).tolist()
            assert score == pytest.approx(-loss, abs=1e-4)


def test_the_command_writes_a_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    task = network(Words(), **NETWORKS["forwards"])
    mine = model_of(task, Decoding(beam_size=1))
    monkeypatch.setattr(program, "load", lambda file, threads: mine)
    want = streamed(task, SOUND.of(SAMPLES))
    for data, code in ((wav(SAMPLES * 2**15 / 32767, 4000), 0), (b"", 2), (b"fLaC....", 2)):
        (tmp_path / "a.wav").write_bytes(data)
        with (tmp_path / "a.wav").open("rb") as file, monkeypatch.context() as inner:
            inner.setattr("sys.stdin", type("In", (), {"buffer": file}))
            assert program.main(["model.onnx", "--stream"]) == code
        out, err = capsysbinary.readouterr()
        lines = [f"{0.03 * first:.2f}\t{0.03 * (last + 1):.2f}\t{text}" for first, last, text in want]
        assert out.decode().splitlines() == ([] if code else lines)
        assert len(err.splitlines()) == (code > 0)


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    whole = model_of(network(Words(), centre_rows=True), Decoding(beam_size=1))
    with pytest.raises(RequestError, match="bidirectional"):
        whole.listen()
    mine = model_of(network(Words(), **NETWORKS["forwards"]), Decoding(beam_size=2))
    for wrong, message in (
        (np.zeros((3, 2)), "one row"), (np.array([np.nan]), "finite"), (b"OggS", "OGG"), ("nowhere.wav", "nowhere"),
        (np.zeros(0), "no sound"), (np.zeros(10**6), "frames"), (np.zeros(99, np.int16), "from -1 to 1"), (b"", "no sound"),
    ):  # fmt: skip
        with pytest.raises(RequestError, match=rf"sounds\[0\].*{message}"):
            mine.transcribe([wrong])  # type: ignore[list-item]
    with pytest.raises(RequestError, match="list"):
        mine.transcribe(SAMPLES)
    with pytest.raises(RequestError, match="n_best is 3"):
        mine.transcribe([SAMPLES], n_best=3)
    with pytest.raises(RequestError, match="no sound"):
        mine.listen().end()
    elsewhere = model_of(network(Words(), **NETWORKS["forwards"]), Decoding(beam_size=1), None)
    with pytest.raises(RequestError, match="push_frames"):
        elsewhere.listen().push(BYTES)
    with pytest.raises(RequestError, match="8 finite"):
        elsewhere.listen().push_frames(np.zeros((2, 7)))
    with pytest.raises(RequestError, match="those of sound"):
        elsewhere.transcribe([SAMPLES])


def test_what_a_graph_has_not_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.attention is Additive"):
        graph_of(network(Words(), attention=Additive(4)), Decoding(beam_size=1))
    with pytest.raises(InputError, match=r"decoding\.token_bonus"):
        graph_of(network(Words()), Decoding(beam_size=1, token_bonus=1.0))


def test_whatever_the_metadata_say_is_read_or_one_line() -> None:
    task, decoding = network(Words(), **NETWORKS["transducer"]), Decoding(beam_size=1)
    entry, right = entry_of(task, decoding), TorchNetwork(graph_of(task, decoding))
    said = []
    for place in places(json.loads(entry)["settings"], ("settings",)):
        for value in (..., None, True, -1, 1e99, float("nan"), "", [], {}, [[]], [{}], {"kind": 1}):
            try:
                mine = Model(description.read(changed(entry, place, value)), right)
                assert isinstance(mine.transcribe([SAMPLES[:400]])[0].text, str)
            except (FileError, RequestError) as problem:
                said.append(str(problem))
            except RuntimeError:  # of torch, in the place of onnxruntime
                said.append("")
    assert len(said) > 100
    assert all(len(one.splitlines()) <= 1 and len(one) < 400 for one in said)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["settings", "stacking"], 0),
        (["settings", "lookahead"], -1),
        (["settings", "states"], [{"layers": 1}]),
        (["settings", "states"], 7),
        (["settings", "sound", "bands"], 9),
        (["settings", "sound", "rate"], 1),
        (["settings", "forwards"], None),
        (["settings", "streams"], ...),
        (["source", "kind"], "Words"),
        (["outputs"], "logits"),
    ],
)
def test_metadata_that_is_wrong_is_one_line(path: list[str | int], value: object) -> None:
    task, decoding = network(Words(), **NETWORKS["forwards"]), Decoding(beam_size=1)
    entry = changed(entry_of(task, decoding), path, value)
    with pytest.raises(FileError) as problem:
        Model(description.read(entry), TorchNetwork(graph_of(task, decoding)))
    assert len(str(problem.value).splitlines()) == 1


def test_outputs_that_are_wrong_are_one_line() -> None:
    mine = model_of(network(Words(), **NETWORKS["forwards"]), Decoding(beam_size=1))
    right = mine.network

    class Wrong:
        inputs = right.inputs
        lacks = "log_probs"

        def run(self, given: Any) -> Any:
            return {name: value for name, value in right.run(given).items() if name != self.lacks}

    for name in ("log_probs", "state_0_after"):
        wrong = Wrong()
        wrong.lacks = name
        other = Model(mine.description, wrong)
        with pytest.raises(FileError):
            other.listen().push(SAMPLES)
    hearing = json.loads(entry_of(network(Words()), Decoding(beam_size=1)))["settings"]
    assert (hearing["forwards"], hearing["streams"]) == (False, False)
    assert os.sep not in json.dumps(hearing)
