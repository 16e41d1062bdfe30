"""Encoder, bridge, attention and decoder: blind to padding and neighbours, one step equal to the whole."""

import pytest
import torch
from torch import Tensor, nn

from seq2seq.models import loss
from seq2seq.models.attention import Additive, Attention, Dot, General
from seq2seq.models.bridge import Bridge, Copy, Linear, Zeros
from seq2seq.models.cells import GRU, LSTM, RNN, Cell, Recurrent
from seq2seq.models.decoder import Decoder, State
from seq2seq.models.encoder import Encoder, reversed_rows

CELLS: list[Cell] = [RNN(), RNN("relu"), GRU(), LSTM()]
ATTENTIONS: list[Attention | None] = [None, Dot(), General(), Additive(5)]


def encoder(cell: Cell, bidirectional: bool, reverse: bool, layers: int = 2) -> Encoder:
    return Encoder(11, 6, 8, cell, layers, bidirectional, reverse).eval()


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True), lengths


@pytest.mark.parametrize("cell", CELLS, ids=repr)
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_encoding_ignores_padding_and_neighbours(cell: Cell, bidirectional: bool, reverse: bool) -> None:
    module = encoder(cell, bidirectional, reverse)
    rows = [[4, 5, 6], [7, 8, 9, 10, 4, 5], [6]]
    together, state = module(*padded(rows))
    for place, row in enumerate(rows):
        alone, own = module(torch.tensor([row]), torch.tensor([len(row)]))
        torch.testing.assert_close(together[place, : len(row)], alone[0])
        for both, single in zip(state, own, strict=True):
            torch.testing.assert_close(both[:, place], single[:, 0])


def test_reversal_is_the_encoding_of_the_reversed_source() -> None:
    forward, backward = encoder(GRU(), False, False), encoder(GRU(), False, True)
    backward.load_state_dict(forward.state_dict())
    ids, lengths = padded([[4, 5, 6], [7, 8, 9, 10, 4]])
    flipped, _ = padded([[6, 5, 4], [4, 10, 9, 8, 7]])
    assert reversed_rows(ids, lengths).equal(flipped)
    torch.testing.assert_close(backward(ids, lengths)[1], forward(flipped, lengths)[1])


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_bidirectional_is_two_unidirectional_passes(cell: Cell) -> None:
    both = encoder(cell, True, False, layers=1)
    ids, lengths = padded([[4, 5, 6], [7, 8, 9, 10, 4]])
    memory, state = both(ids, lengths)
    layer = both.recurrent.stack[0]
    for direction, suffix in enumerate(("", "_reverse")):
        single = cell.layer(6, 4, False)
        single.load_state_dict({name: getattr(layer, name + suffix) for name in dict(single.named_parameters())})
        for row, length in enumerate(lengths.tolist()):
            words = ids[row, :length].flip(0) if direction else ids[row, :length]
            outputs, last = single(both.embedding(words).unsqueeze(0))
            outputs = outputs[0].flip(0) if direction else outputs[0]
            torch.testing.assert_close(memory[row, :length, 4 * direction : 4 * direction + 4], outputs)
            hidden = last[0] if isinstance(last, tuple) else last
            torch.testing.assert_close(state[0][0, row, 4 * direction : 4 * direction + 4], hidden[0, 0])


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_step_equals_the_whole_sequence_and_torch(cell: Cell) -> None:
    module = Recurrent(cell, 3, 4, layers=2).double()
    inputs = torch.randn(5, 7, 3, dtype=torch.double)
    state = tuple(torch.randn(2, 5, 4, dtype=torch.double) for _ in range(cell.states))
    whole, last = module(inputs, state)
    first = module.stack[0]
    kind = {"nonlinearity": first.nonlinearity} if isinstance(first, torch.nn.RNN) else {}
    torchs = type(first)(3, 4, 2, batch_first=True, **kind).double()
    weights = {name.replace("l0", f"l{k}"): w for k in (0, 1) for name, w in module.stack[k].state_dict().items()}
    torchs.load_state_dict(weights)
    reference, _ = torchs(inputs, state if cell.states > 1 else state[0])
    torch.testing.assert_close(whole, reference)
    for time in range(7):
        output, state = module.step(inputs[:, time], state)
        torch.testing.assert_close(output, whole[:, time])
    torch.testing.assert_close(state, last)


def test_forget_bias_is_what_was_asked() -> None:
    layer = LSTM(1.5).layer(3, 4, True)
    for suffix in ("l0", "l0_reverse"):
        total = getattr(layer, f"bias_ih_{suffix}") + getattr(layer, f"bias_hh_{suffix}")
        assert total[4:8].tolist() == [1.5] * 4


def started(decoder: Decoder, cell: Cell, sources: int = 3) -> State:
    first = tuple(torch.randn(2, sources, 8) for _ in range(cell.states))
    padding = torch.zeros(sources, 5, dtype=torch.bool)
    padding[1, 2:] = True
    return decoder.start(first, torch.randn(sources, 8), torch.randn(sources, 5, 8), padding)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
@pytest.mark.parametrize("attention", ATTENTIONS, ids=repr)
@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_forward_equals_step(cell: Cell, attention: Attention | None, context: bool, tied: bool) -> None:
    decoder = Decoder(11, 6, 8, cell, 2, attention, context, tied).eval()
    state = started(decoder, cell)
    tokens = torch.randint(4, 11, (3, 6))
    whole = decoder.output(decoder(tokens, state)).log_softmax(-1)
    for time in range(6):
        log_probs, state = decoder.step(tokens[:, time : time + 1], state)
        torch.testing.assert_close(log_probs[:, 0], whole[:, time])


@pytest.mark.parametrize("attention", ATTENTIONS, ids=repr)
def test_selected_hypotheses_continue_as_if_alone(attention: Attention | None) -> None:
    decoder = Decoder(11, 6, 8, LSTM(), 2, attention, True).eval()
    state = started(decoder, LSTM())
    wide = state.select(torch.arange(3).unsqueeze(1).expand(-1, 2))  # two hypotheses for each source
    tokens = torch.tensor([[4, 5], [6, 7], [8, 9]])
    _, wide = decoder.step(tokens, wide)
    kept = wide.select(torch.tensor([[1, 0], [5, 5]]))  # source 1 leaves, source 2 keeps its second twice
    found, _ = decoder.step(torch.tensor([[4, 5], [6, 7]]), kept)
    for source, hypothesis, token, first in ((0, 0, 4, 5), (0, 1, 5, 4), (2, 0, 6, 9), (2, 1, 7, 9)):
        _, alone = decoder.step(torch.tensor([[first]]), state.select(torch.tensor([[source]])))
        expected, _ = decoder.step(torch.tensor([[token]]), alone)
        torch.testing.assert_close(found[0 if source == 0 else 1, hypothesis], expected[0, 0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_vocabulary_loss_is_cross_entropy(smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss.CHUNK, "cpu", 3 * 13)  # three rows at once
    parts = [torch.randn(*size, dtype=torch.double, requires_grad=True) for size in ((10, 4), (13, 4), (13,))]
    labels = torch.randint(0, 13, (10,))
    ours = loss.vocabulary_loss(*parts, labels, smoothing)
    logits = nn.functional.linear(*parts)
    theirs = nn.functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(3 * ours, parts), torch.autograd.grad(3 * theirs, parts))
    assert torch.autograd.gradcheck(lambda *given: loss.vocabulary_loss(*given, labels, smoothing), parts)


def test_vocabulary_loss_in_bfloat16_is_close() -> None:
    parts = [torch.randn(*size, requires_grad=True) for size in ((50, 16), (40, 16), (40,))]
    labels = torch.randint(0, 40, (50,))
    exact = loss.vocabulary_loss(*parts, labels, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        rough = loss.vocabulary_loss(*parts, labels, 0.1)
    torch.testing.assert_close(rough, exact, rtol=0.01, atol=0.0)
    gradients = zip(torch.autograd.grad(rough, parts), torch.autograd.grad(exact, parts), strict=True)
    for one, other in gradients:
        assert one.dtype == other.dtype == torch.float32
        assert (one - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize("bridge", [Copy(), Linear(), Zeros()], ids=repr)
def test_bridges(bridge: Bridge) -> None:
    state = (torch.randn(2, 3, 8), torch.randn(2, 3, 8))
    module = bridge.module(2, 8)
    first = module(state)
    expected = {
        Copy: lambda: state,
        Zeros: lambda: tuple(map(torch.zeros_like, state)),
        Linear: lambda: tuple(torch.tanh(m(t)) for m, t in zip(module.maps, state, strict=True)),
    }
    torch.testing.assert_close(first, expected[type(bridge)]())


def test_odd_hidden_size_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden_size 7"):
        Encoder(11, 6, 7, GRU())
