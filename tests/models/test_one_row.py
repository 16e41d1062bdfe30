"""One row in numpy: the tokens and, to the last bits, the numbers of the search in torch."""

from dataclasses import replace

import pytest
import torch

from seq2seq.api.one_row import suit_one_row
from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.models import one_row
from seq2seq.models.attention import Additive, Attention, Dot, General, ScaledDot
from seq2seq.models.cells import GRU, LSTM, RNN, Cell, MinGRU
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Linear
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, batch_of


@pytest.fixture
def batch(tokenizers: Tokenizers) -> Batch:
    """One pair."""
    return batch_of(PAIRS[:1], tokenizers)


FEEDS = DecoderOptions(context_every_step=True)


def both(tokenizers: Tokenizers, batch: Batch, monkeypatch: pytest.MonkeyPatch, decoding: Decoding,
         **settings: object) -> tuple[Hypothesis, Hypothesis, int]:  # fmt: skip
    """What is found in torch and after `suit_one_row`, and how many searches were numpy's."""
    torch.manual_seed(3)
    task = Translation(tokenizers, embedding_size=12, hidden_size=16, layers=2, **settings).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.mul_(2.5)  # so that tokens follow from what is read
    calls: list[int] = []
    search = one_row.greedy_row
    monkeypatch.setattr(one_row, "greedy_row", lambda *given: calls.append(1) or search(*given))
    [[torch_finds, *_]] = task.predict(batch, decoding)
    assert not calls
    suit_one_row(task)
    [[found, *_]] = task.predict(batch, decoding)
    return torch_finds, found, len(calls)


@pytest.mark.parametrize(
    ("cell", "attention", "decoder", "reverse"),
    [
        (LSTM(), Dot(), DecoderOptions(), False),
        (GRU(), General(), DecoderOptions(readout="linear"), True),
        (LSTM(), Dot(), DecoderOptions(latent_alignments=2), False),
        (LSTM(), General(), DecoderOptions(latent_alignments=40, context_every_step=True), False),
        (RNN(), ScaledDot(), FEEDS, False),
        (RNN("relu"), None, FEEDS, True),
        (LSTM(), None, DecoderOptions(tied_output=True), False),
    ],
    ids=str,
)
def test_numpy_finds_what_torch_finds(
    cell: Cell, attention: Attention | None, decoder: DecoderOptions, reverse: bool,
    tokenizers: Tokenizers, batch: Batch, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings = {"cell": cell, "attention": attention, "decoder": decoder, "bridge": Linear()}
    for most in (1, 9):
        decoding = Decoding(beam_size=1, max_length=most, length_penalty=0.7)
        expected, found, calls = both(
            tokenizers, batch, monkeypatch, decoding, encoder=EncoderOptions(reverse=reverse), **settings
        )
        assert calls == 1
        assert (found.tokens, found.at_limit) == (expected.tokens, expected.at_limit)
        assert found.token_scores == pytest.approx(expected.token_scores, abs=2e-5)
        assert found.score == pytest.approx(expected.score, abs=2e-5)


@pytest.mark.parametrize(
    ("settings", "decoding"),
    [
        ({"cell": MinGRU()}, {}),
        ({"attention": Additive()}, {}),
        ({"attention": Dot(), "decoder": DecoderOptions(input_feeding=True)}, {}),
        ({"output": "entmax15"}, {}),
        ({}, {"beam_size": 2}),
        ({}, {"min_length": 2}),
        ({}, {"temperature": 1.0}),
    ],
    ids=str,
)
def test_other_searches_stay_in_torch(
    settings: dict[str, object], decoding: dict[str, object],
    tokenizers: Tokenizers, batch: Batch, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plain = Decoding(beam_size=1, max_length=9)
    expected, found, calls = both(tokenizers, batch, monkeypatch, replace(plain, **decoding), **settings)  # type: ignore[arg-type]
    assert not calls
    assert found.tokens == expected.tokens


@pytest.mark.parametrize("cell", [LSTM(), GRU(), RNN("relu")], ids=repr)
def test_padding_of_a_single_row_enters_no_state(cell: Cell) -> None:
    layer = cell.build(3, 4, bidirectional=True)
    inputs, lengths = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([4])
    with torch.inference_mode():
        expected = layer(inputs, None, lengths)
        layer.suits_one_row = True
        for found in (layer(inputs, None, lengths), layer(inputs[:, :4])):
            torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-6)
            torch.testing.assert_close(found[0][:, :4], expected[0][:, :4], rtol=0, atol=1e-6)
