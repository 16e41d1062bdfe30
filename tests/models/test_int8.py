"""Steps of a decoder in 8 bits: nearly the same numbers, whoever stands beside a row."""

import pytest
import torch

from seq2seq.models import int8
from seq2seq.models.attention import Dot
from seq2seq.models.cells import GRU, LSTM, RNN, Cell, LayerNormLSTM
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.encoder_decoder import EncoderDecoder, Vocabularies
from seq2seq.models.fixed_vector import Copy
from seq2seq.models.recurrent import Stack

pytestmark = pytest.mark.skipif(not int8.is_exact(), reason="this processor loses sums of 8 bits")


@pytest.mark.parametrize("cell", [RNN(), RNN("relu"), GRU(), LSTM(), LayerNormLSTM()], ids=repr)
@torch.no_grad()
def test_steps_in_8_bits(cell: Cell) -> None:
    torch.manual_seed(1)
    words = Vocabularies((80,), (80,), False)
    options = EncoderOptions(), Copy(), Dot(), DecoderOptions()
    network = EncoderDecoder(words, 32, Stack(cell, 64, 2), *options).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):  # as `suit_one_row` stores them
            module.weight.data = module.weight.data.t().contiguous().t()
    names, source, lengths = list(network.state_dict()), torch.randint(4, 80, (3, 5)), torch.tensor([5, 5, 5])
    before, state = network.encode(source, lengths), network.encode(source, lengths)
    tokens = torch.tensor([[4], [5], [6]])
    for _ in range(2):
        exact, before = network.decoder.step(tokens, before)
    int8.quantise(network.decoder)
    first = state
    for _ in range(2):
        rounded, state = network.decoder.step(tokens, state)
    assert 1e-7 < (rounded - exact).abs().max() < 0.02
    assert list(network.state_dict()) == names
    alone = first.select(torch.tensor([[1]]))
    alone = alone._replace(source=first.source.select(torch.tensor([1])))
    for _ in range(2):
        one, alone = network.decoder.step(tokens[1:2], alone)
    torch.testing.assert_close(one[0], rounded[1], atol=2e-5, rtol=0)


def test_what_processors_lose_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8.Int8Linear, "forward", lambda self, inputs: torch.full((2, 16), 63.0))
    assert not int8.is_exact()
