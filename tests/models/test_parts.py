"""Encoder, bridge, attention and decoder: blind to padding and neighbours, one step equal to the whole."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seq2seq.errors import InputError
from seq2seq.models import cells, scan, stretches
from seq2seq.models import output as loss
from seq2seq.models.attention import Additive, Attention, Dot, General, LocalP
from seq2seq.models.cells import (
    GRU,
    LSTM,
    RNN,
    Cell,
    Fused,
    LayerNormLSTM,
    MinGRU,
    MinLSTM,
    inside,
    picked,
    real_positions,
    turned,
)
from seq2seq.models.embedding import Embedding
from seq2seq.models.encoder import Encoder, EncoderOptions
from seq2seq.models.fixed_vector import Attentive, Bridge, Copy, Learned, Linear, Pooling, StateShape, Zeros
from seq2seq.models.network_part import NetworkPart
from seq2seq.models.recurrent import Recurrent, Stack
from seq2seq.models.tagger import LabelColumn, Softmax, Tagger

CELLS: list[Cell] = [RNN(), RNN("relu"), GRU(), LSTM(), LayerNormLSTM(), MinGRU(), MinLSTM()]
ATTENTIONS: list[Attention | None] = [None, Dot(), General(), Additive(5)]


def encoder(cell: Cell, bidirectional: bool, reverse: bool, layers: int = 2) -> Encoder:
    options = EncoderOptions(bidirectional=bidirectional, reverse=reverse)
    return Encoder(Embedding((11,), 6, 1, 0), Stack(cell, 8, layers), options).eval()


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True), lengths


@pytest.mark.parametrize("cell", CELLS, ids=repr)
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_encoding_ignores_padding_and_neighbours(cell: Cell, bidirectional: bool, reverse: bool) -> None:
    module = encoder(cell, bidirectional, reverse)
    rows = [[4, 5, 6], [7, 8, 9, 10, 4, 5], [6]]
    together = module(*padded(rows))
    for index, row in enumerate(rows):
        alone = module(torch.tensor([row]), torch.tensor([len(row)]))
        torch.testing.assert_close(together.states[index, : len(row)], alone.states[0])
        for both, single in zip(together.final, alone.final, strict=True):
            torch.testing.assert_close(both[:, index], single[:, 0])


def test_real_positions_are_those_of_a_mask() -> None:
    values, lengths = torch.randn(4, 5, 3), torch.tensor([5, 0, 2, -1])
    mask = inside(lengths, values)
    assert picked(values, real_positions(lengths, values)).equal(values[mask])
    assert picked(values[..., 0], real_positions(lengths, values)).equal(values[..., 0][mask])


def test_reversal_is_the_encoding_of_the_reversed_source() -> None:
    forward, backward = encoder(GRU(), False, False), encoder(GRU(), False, True)
    backward.load_state_dict(forward.state_dict())
    ids, lengths = padded([[4, 5, 6], [7, 8, 9, 10, 4]])
    flipped, _ = padded([[6, 5, 4], [4, 10, 9, 8, 7]])
    assert turned(ids, lengths).equal(flipped)
    torch.testing.assert_close(backward(ids, lengths).final, forward(flipped, lengths).final)
    torch.testing.assert_close(backward(ids, lengths).states, forward(flipped, lengths).states)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_bidirectional_is_two_unidirectional_passes(cell: Cell) -> None:
    both = cell.build(6, 4, True)
    inputs, lengths = torch.randn(3, 5, 6), torch.tensor([3, 5, 1])
    outputs, last = both(inputs, None, lengths)
    for direction in (0, 1):
        single = cell.build(6, 4, False)
        single.load_state_dict(one_direction(both, direction))
        for row, length in enumerate(lengths.tolist()):
            words = inputs[row : row + 1, :length]
            alone, after = single(words.flip(1) if direction else words)
            alone = alone[0].flip(0) if direction else alone[0]
            torch.testing.assert_close(outputs[row, :length, 4 * direction : 4 * direction + 4], alone)
            assert outputs[row, length:].eq(0).all()
            for tensor, expected in zip(last, after, strict=True):
                torch.testing.assert_close(tensor[direction, row], expected[0, 0])


def one_direction(layer: Cell, direction: int) -> dict[str, Tensor]:
    """The parameters of one direction of a layer, under the names that a layer of one direction gives them."""
    state = layer.state_dict()
    if isinstance(layer, Fused):
        ending = "_reverse" if direction else ""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return {f"torch.{name}": state[f"torch.{name}{ending}"] for name in names}
    mine = f".{direction}."
    return {name.replace(mine, ".0.", 1): value for name, value in state.items() if f".{name.split('.')[1]}." == mine}


@pytest.mark.parametrize("cell", CELLS, ids=repr)
@pytest.mark.parametrize("residual_from", [None, 2])
def test_step_equals_the_whole_sequence(cell: Cell, residual_from: int | None) -> None:
    module = Recurrent(Stack(cell, 4, 3, residual_from=residual_from), 3)
    inputs, state = torch.randn(5, 40, 3), tuple(torch.randn(3, 5, 4) for _ in range(cell.states))
    whole, last = module(inputs, state)
    for time in range(40):
        output, state = module.step(inputs[:, time], state)
        torch.testing.assert_close(output, whole[:, time], atol=1e-5, rtol=0.0)
    torch.testing.assert_close(state, last, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("cell", CELLS[:4], ids=repr)
def test_layers_are_those_of_torch(cell: Cell) -> None:
    module, state = Recurrent(Stack(cell, 4, 2), 3), tuple(torch.randn(2, 5, 4) for _ in range(cell.states))
    kind = {"nonlinearity": cell.nonlinearity} if isinstance(cell, RNN) else {}
    theirs = type(module.stack[0].torch)(3, 4, 2, batch_first=True, **kind)
    weights = {name.replace("l0", f"l{k}"): w for k in (0, 1) for name, w in module.stack[k].torch.state_dict().items()}
    theirs.load_state_dict(weights)
    inputs = torch.randn(5, 7, 3)
    expected, last = theirs(inputs, state if cell.states > 1 else state[0])
    found, after = module(inputs, state)
    assert found.equal(expected)
    assert torch.cat(after).equal(torch.cat(last) if cell.states > 1 else last)


@pytest.mark.parametrize("cell", [RNN(), GRU(), LSTM(), LayerNormLSTM()], ids=repr)
def test_recurrent_dropout_hides_the_state_and_keeps_it(cell: Cell) -> None:
    """The mask multiplies what the products read; a mask of ones is none; the carried state is whole."""
    layer, inputs = cell.build(3, 4, True).double(), torch.randn(2, 5, 3).double()
    ones = torch.ones(2, 2, 4).double()
    torch.testing.assert_close(layer(inputs, None, None, ones), layer(inputs))
    state = tuple(torch.randn(2, 4).double() for _ in range(cell.states))
    hidden_by_mask = layer.step(inputs[:, 0], state, 0, torch.zeros(2, 4).double())
    without = layer.step(inputs[:, 0], (torch.zeros(2, 4).double(), *state[1:]), 0)
    if isinstance(cell, GRU):
        update = layer.gates(inputs[:, 0], (torch.zeros(2, 4).double(),))["update"]
        without = (without[0] + update * state[0],)
    torch.testing.assert_close(hidden_by_mask, without)


@pytest.mark.parametrize("cell", CELLS[:4], ids=repr)
def test_a_processor_without_bfloat16_computes_in_32_bits(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's LSTM raises there."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    layer, inputs, lengths = cell.build(8, 8, True), torch.randn(4, 6, 8), torch.tensor([6, 2, 3, 1])
    state = tuple(torch.randn(2, 4, 8) for _ in range(cell.states))
    expected = layer(inputs, state, lengths), layer(inputs, state)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(inputs.bfloat16().float(), state, lengths), layer(inputs, state)
        assert torch.is_autocast_enabled("cpu")
    assert found[1][0].equal(expected[1][0])
    torch.testing.assert_close(found[0], expected[0], atol=0.02, rtol=0.0)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_gates_are_those_of_the_step(cell: Cell) -> None:
    layer, state = cell.build(3, 4, True).double(), tuple(torch.randn(2, 4).double() for _ in range(cell.states))
    inputs = torch.randn(2, 3).double()
    gates, after = layer.gates(inputs, state, 1), layer.step(inputs, state, 1)
    if isinstance(cell, RNN):
        assert gates == {}
    elif isinstance(cell, LSTM):
        torch.testing.assert_close(after[0], gates["output"] * after[1].tanh())
        new = (after[1] - gates["forget"] * state[1]) / gates["input"]
        assert new.abs().max() < 1
    elif isinstance(cell, LayerNormLSTM):
        torch.testing.assert_close(after[0], gates["output"] * layer.of_cell[1](after[1]).tanh())
    elif isinstance(cell, (GRU, MinGRU)):
        kept = gates["update"] if isinstance(cell, GRU) else 1 - gates["update"]
        other = layer.step(inputs, (state[0] + 1e-6,), 1)[0]
        if isinstance(cell, MinGRU):  # the only road of the state
            torch.testing.assert_close((other - after[0]) / 1e-6, kept, atol=1e-6, rtol=1e-6)
        assert kept.min() > 0
        assert kept.max() < 1
    else:
        kept = gates["forget"] / (gates["forget"] + gates["input"])
        torch.testing.assert_close((layer.step(inputs, (state[0] + 1,), 1)[0] - after[0]), kept)


@pytest.mark.parametrize("gates", [1, 2])
@pytest.mark.parametrize("chunk", [1, 7 * 2 * 3, 1 << 16])
def test_scans_and_their_gradients(gates: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "CHUNK", chunk)
    logits = torch.randn(2, 17, 3 * (gates + 1), dtype=torch.double, requires_grad=True)
    first = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
    found, state = scan.gated_recurrence(logits, first), first
    for time in range(17):
        state = scan.gated_step(logits[:, time], state)
        torch.testing.assert_close(found[:, time], state)
    assert torch.autograd.gradcheck(scan.gated_recurrence, (logits, first))
    kept, new, _ = scan.parts_of(logits, 3)
    torch.testing.assert_close(scan.doubled(kept, (1 - kept) * new, first), found)


def test_a_scan_by_doubling_has_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other devices do, here."""
    logits, first = torch.randn(2, 13, 9, dtype=torch.double), torch.randn(2, 3, dtype=torch.double)
    slope = torch.randn(2, 13, 3, dtype=torch.double)
    given = logits.requires_grad_(), first.requires_grad_()
    expected = torch.autograd.grad(scan.gated_recurrence(*given), given, slope)
    monkeypatch.setattr(scan, "in_turn", lambda tensor: False)
    torch.testing.assert_close(torch.autograd.grad(scan.gated_recurrence(*given), given, slope), expected)


def test_gates_that_are_shut_are_no_division_by_zero() -> None:
    logits = torch.tensor([[-500.0, -500.0, 3.0], [-500.0, 500.0, 3.0], [500.0, -500.0, 3.0]])
    assert scan.gated_step(logits, torch.full((3, 1), 2.0)).squeeze(1).tolist() == [2.5, 2.0, 3.0]


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_a_learned_first_state(cell: Cell) -> None:
    module = Recurrent(Stack(cell, 8, 2), 3, bidirectional=True, learned_first_state=True)
    assert len(module.first) == cell.states
    for parameter in module.first:
        parameter.data.normal_()
    inputs, lengths = torch.randn(2, 5, 3), torch.tensor([5, 2])
    given = tuple(parameter.expand(-1, 2, -1).contiguous() for parameter in module.first)
    torch.testing.assert_close(module(inputs, None, lengths), module(inputs, given, lengths))
    other = tuple(torch.randn(4, 2, 4) for _ in range(cell.states))
    assert not module(inputs, other, lengths)[0].equal(module(inputs, None, lengths)[0]), "a given state goes first"
    module(inputs, None, lengths)[0].sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.first)


def test_forget_bias_is_what_was_asked() -> None:
    layer = LSTM(1.5).build(3, 4, True)
    for suffix in ("l0", "l0_reverse"):
        total = getattr(layer.torch, f"bias_ih_{suffix}") + getattr(layer.torch, f"bias_hh_{suffix}")
        assert total[4:8].tolist() == [1.5] * 4


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("way", [loss.in_cache, loss.chunked])
def test_vocabulary_loss_is_cross_entropy(way: Any, smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "in_cache", way)
    monkeypatch.setattr(loss, "LARGE", 5 * 13)
    monkeypatch.setattr(loss, "CHUNK", 5 * 13)  # five rows at once, of which two at once become probabilities
    monkeypatch.setattr(loss, "CACHED", 2 * 13)
    monkeypatch.setattr(loss, "LEAST_ROWS", 1)
    parts = [torch.randn(*size, dtype=torch.double, requires_grad=True) for size in ((10, 4), (13, 4), (13,))]
    labels = torch.randint(0, 13, (10,))
    ours = loss.vocabulary_loss(*parts, labels, smoothing)
    logits = nn.functional.linear(*parts)
    theirs = nn.functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(3 * ours, parts), torch.autograd.grad(3 * theirs, parts))
    assert torch.autograd.gradcheck(lambda *given: loss.vocabulary_loss(*given, labels, smoothing), parts)


def test_vocabulary_loss_of_what_cannot_be_is_finite() -> None:
    """A label whose probability is no 32-bit number still has a loss and a gradient."""
    parts = [torch.tensor([[500.0]]), torch.tensor([[1.0], [-1.0]]), torch.zeros(2)]
    parts[0].requires_grad_()
    ours = loss.vocabulary_loss(*parts, torch.tensor([1]))
    ours.backward()
    assert (ours.item(), parts[0].grad.item()) == (1000, 2)  # type: ignore[union-attr]


def test_vocabulary_loss_in_bfloat16_is_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "WIDE", 16)  # rows of the matrix at once, of 40
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


def test_a_copying_bridge_wants_equal_states() -> None:
    state = (torch.randn(2, 3, 8), torch.randn(2, 3, 8))
    assert Copy().build(2, StateShape(2, 8), StateShape(2, 8))(state) is state
    with pytest.raises(InputError, match=r"model.bridge Copy .*2 x 8.*3 x 8"):
        Copy().build(2, StateShape(2, 8), StateShape(3, 8))


@pytest.mark.parametrize(("layers", "read"), [(1, [1]), (2, [0, 1]), (4, [0, 0, 0, 1])])
def test_a_linear_bridge_fits_anything(layers: int, read: list[int]) -> None:
    """Layers at the same distance from the top are joined."""
    state = (torch.randn(2, 3, 8), torch.randn(2, 3, 8))
    module = Linear().build(2, StateShape(2, 8), StateShape(layers, 5))
    for first, tensor, maps in zip(module(state), state, module.maps, strict=True):
        assert first.shape == (layers, 3, 5)
        for layer, below in enumerate(read):
            torch.testing.assert_close(first[layer], maps[layer](tensor[below]).tanh())


@pytest.mark.parametrize("bridge", [Zeros(), Learned()], ids=repr)
def test_bridges_that_tell_nothing(bridge: Bridge) -> None:
    module = bridge.build(2, StateShape(2, 8), StateShape(3, 5))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
    first = module((torch.randn(2, 4, 8), torch.randn(2, 4, 8)))
    for number, tensor in enumerate(first):
        expected = torch.zeros(3, 1, 5) if isinstance(bridge, Zeros) else module.first[number]
        torch.testing.assert_close(tensor, expected.expand(3, 4, 5))


def test_odd_hidden_size_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden_size 7"):
        Encoder(Embedding((11,), 6, 1, 0), Stack(GRU(), 7, 1), EncoderOptions())


PARTS = [LSTM(0.5), General("sparsemax"), LocalP(3), Attentive(), Linear(), Softmax("BIO")]


def built(part: NetworkPart) -> NetworkPart:
    """A small module of any kind of part."""
    if isinstance(part, Cell):
        return part.build(3, 4, True)
    if isinstance(part, Attention):
        return part.build(3, 3)
    if isinstance(part, Pooling):
        return part.build(3)
    if isinstance(part, Bridge):
        return part.build(2, StateShape(2, 4), StateShape(1, 4))
    assert isinstance(part, Tagger)
    return part.build(3, [LabelColumn(["O", "B-x", "I-x"], 1)], Stack(GRU(), 4))


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_settings_are_not_changed_by_what_is_built_from_them(part: NetworkPart) -> None:
    before, first, second = part.specification(), built(part), built(part)
    assert part.specification() == before
    assert not list(part.parameters())
    assert not list(part.children())
    mine, others = dict(first.named_parameters()), dict(second.named_parameters())
    assert mine
    assert mine.keys() == others.keys()
    assert not {id(parameter) for parameter in mine.values()} & {id(parameter) for parameter in others.values()}
    assert type(pickle.loads(pickle.dumps(part))) is type(copy.deepcopy(part)) is type(first) is type(part)


@pytest.mark.parametrize("cell", [RNN("relu"), GRU(), LSTM()], ids=repr)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_stretches_are_packed_rows(cell: Cell, bidirectional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, lengths = cell.build(5, 4, bidirectional), torch.tensor([3, 1, 7, 7, 2])
    inputs = torch.randn(5, 8, 5, requires_grad=True)  # one step more than the longest row has
    first = tuple(torch.randn(layer.directions, 5, 4) for _ in range(cell.states))

    def both(least: int) -> list[Tensor]:
        monkeypatch.setattr(stretches, "LEAST", least)
        for parameter in (inputs, *layer.parameters()):
            parameter.grad = None
        outputs, last = layer(inputs, first, lengths)
        (outputs * torch.linspace(-1, 1, outputs.numel()).view_as(outputs)).sum().backward(retain_graph=True)
        sum((one**2).sum() for one in last).backward()  # type: ignore[union-attr]
        return [outputs, *last, *(of.grad.clone() for of in (inputs, *layer.parameters()) if of.grad is not None)]

    calls: list[int] = []
    run = stretches.in_stretches
    monkeypatch.setattr(cells, "in_stretches", lambda *given: calls.append(1) or run(*given))
    packed, stretched = both(10**9), both(0)
    assert len(calls) == 1
    for one, other in zip(packed, stretched, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(
    ("lengths", "gain"), [([400, 350, 200], True), ([9, 8, 7, 6, 5], False), ([30] * 9 + [8], True)]
)
def test_stretches_are_read_where_they_gain(lengths: list[int], gain: bool) -> None:
    plan = stretches.stretches(lengths)
    assert sum(one.steps * one.rows for one in plan) == sum(lengths)
    assert stretches.worthwhile(plan) == gain
