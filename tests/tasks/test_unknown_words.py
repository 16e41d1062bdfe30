"""Unknown words: in their place stands what the source says where attention looks, or its entry in a dictionary."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq import predict
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, UNK, Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.units import Words
from seq2seq.errors import InputError
from seq2seq.inference.ensemble import Ensemble
from seq2seq.inference.predictor import Predictor
from seq2seq.metrics.bleu import Chrf
from seq2seq.models.attention import Additive, Dot
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Zeros
from seq2seq.tasks import unknown_words
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, batch_of, learnt, saved, small, split_of

LINES = ["the cat sat", "a Xylophon in the car", "Zebra Yak", "three red girls"]
GREEDY = Decoding(1, max_length=6, replace_unknown=True)
KINDS: list[dict[str, Any]] = [
    {"attention": Dot(), "encoder": EncoderOptions(reverse=True)},
    {"attention": Additive(coverage=True), "decoder": DecoderOptions(input_feeding=True)},
    {"attention": Dot(), "wait_k": 2, "bridge": Zeros(), "encoder": EncoderOptions(bidirectional=False)},
]


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    return learnt(PAIRS, Words(), Words())


def unsure(tokenizers: Tokenizers, **settings: Any) -> Translation:
    """A network that often writes the unknown token, and looks at another source token at each step."""
    torch.manual_seed(4)
    task = small(Translation, tokenizers, **{**KINDS[0], **settings}).eval()
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        task.network.decoder.output.layer.bias[UNK] += 4
        task.network.decoder.output.layer.bias[EOS] -= 4
    return task


def by_hand(task: Translation, text: str, entries: dict[str, str] | None = None) -> str:
    """Greedy search over one source, step by step, reading where each step looks; entries: of a dictionary."""
    words = text.split()
    batch = batch_of([(text, "")], task.tokenizers)
    turn, decoder = task.encoder.reverse, task.network.decoder
    state, last, written = task.network.encode(batch.source, batch.source_lengths), BOS, list[str]()
    wait, state = state.source.wait, state._replace(source=state.source._replace(wait=None))
    memory = state.source.memory
    for time in range(6):
        read = len(words) + 1 if wait is None else min(wait + time, len(words) + 1)
        hidden = torch.arange(len(words) + 1).unsqueeze(0) >= read
        now = state._replace(source=state.source._replace(memory=memory._replace(padding=hidden)))
        seen, state = decoder.advance(decoder.embedding(torch.tensor([[last]])), now)
        log_probs = decoder.log_probs(decoder.outputs(seen, state), state.source)[0, 0]
        log_probs[[PAD, BOS]] = -torch.inf
        last = int(log_probs.argmax())
        if last == EOS:
            break
        looks = seen.weights[0, 0].tolist()
        looks = looks[::-1] if turn else looks
        best = max(range(len(words)), key=lambda place: looks[place])
        written.append(
            (entries or {}).get(words[best], words[best]) if last == UNK else task.tokenizers.target.decode([last])
        )
    return " ".join(written)


@pytest.mark.parametrize("kind", KINDS, ids=["reverse", "fed", "wait-k"])
@torch.no_grad()
def test_a_word_comes_from_where_attention_looks(tokenizers: Tokenizers, kind: dict[str, Any]) -> None:
    task = unsure(tokenizers, **kind)
    rows = [(line, "") for line in LINES]
    batch = split_of(rows, tokenizers).batch_with_texts(np.arange(len(rows)))
    found = task.predict(batch, GREEDY)
    texts = [task.text(one) for one, *_ in found]
    assert texts == [by_hand(task, line) for line in LINES]
    assert sum(one.tokens.count(UNK) for one, *_ in found) > 5
    assert len({word for one, *_ in found for word in one.unknowns or ()}) > 3  # not always the same place
    assert [item.text for item in Predictor(task, GREEDY)(batch)] == texts
    for several in task.predict(batch, Decoding(3, max_length=6, replace_unknown=True)):
        assert all(len(one.unknowns or ()) == one.tokens.count(UNK) for one in several)
    assert all(UNK not in one.tokens for one, *_ in task.predict(batch, Decoding(1, max_length=6)))


def test_a_dictionary_translates_what_it_knows(
    tokenizers: Tokenizers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    task = unsure(tokenizers)
    entries = {word: f"{word} übersetzt" for line in LINES for word in line.split() if word != "Zebra"}
    file = tmp_path / "words.txt"
    file.write_text("".join(f"{word}\t{other}\n" for word, other in entries.items()) + "Yak\tzweimal\n")
    (tmp_path / "in").write_text("\n".join(LINES))
    arguments = [str(saved(task, tmp_path / "run.ckpt")), "--device", "cpu", "--decoding.beam_size", "1"]
    arguments += ["--decoding.max_length", "6", "--decoding.replace_unknown", "true"]
    with open(tmp_path / "in") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        predict.main([*arguments, "--decoding.dictionary", str(file)])
    expected = [by_hand(task, line, entries) for line in LINES]
    assert capfdbinary.readouterr().out.decode().splitlines() == expected
    assert any("übersetzt" in line for line in expected)
    for content, place in (("one\n", 1), ("a b\nc d e\n", 2), ("a b\n\nc d\n", 2)):
        broken = tmp_path / f"{place}{len(content)}.txt"
        broken.write_text(content)
        with pytest.raises(InputError, match=rf"{broken.name}:{place}\b"):
            task.check_decoding(Decoding(replace_unknown=True, dictionary=str(broken)))
    (tmp_path / "blanks.txt").write_text("a b\nc  d\n")
    assert unknown_words.dictionary(str(tmp_path / "blanks.txt")) == {"a": "b", "c": "d"}


def test_what_has_no_such_words_is_refused(tokenizers: Tokenizers) -> None:
    pieces = learnt(PAIRS, SentencePiece(80), Words())
    wanted = Decoding(replace_unknown=True)
    for task, message in (
        (small(Translation, pieces, attention=Dot()), r"data\.tokenizer is SentencePiece"),
        (small(Translation, tokenizers), r"model\.attention"),
        (Ensemble([unsure(tokenizers)] * 2), "attends"),
    ):
        with pytest.raises(InputError, match=rf"decoding\.replace_unknown .*{message}"):
            task.check_decoding(wanted)
    for more in ({"avoid": ["cat"]}, {"risk": Chrf()}):
        with pytest.raises(InputError, match=rf"decoding\.{next(iter(more))} .*decoding\.replace_unknown"):
            unsure(tokenizers).check_decoding(Decoding(replace_unknown=True, **more))
    with pytest.raises(InputError, match=r"decoding\.dictionary d\.txt .*decoding\.replace_unknown"):
        Decoding(dictionary="d.txt")
    with pytest.raises(InputError, match="nowhere"):
        unsure(tokenizers).check_decoding(Decoding(replace_unknown=True, dictionary="nowhere"))
