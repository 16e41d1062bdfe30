"""Every cell and the whole network equal the papers' equations in plain numpy (tests/models/oracle.py)."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from seq2seq.data.tokenizers.base import PAD, Tokenizers
from seq2seq.data.tokenizers.factored import RowFeatures
from seq2seq.data.tokenizers.units import Characters
from seq2seq.models.attention import (
    Additive,
    Dot,
    General,
    LocalP,
    Location,
    MultiHeadAdditive,
    ScaledDot,
)
from seq2seq.models.cells import GRU, LSTM, RNN, Cell, CellState, LayerNormLSTM, MinGRU, MinLSTM
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Attentive, Learned, Linear, Max, Mean, Zeros
from seq2seq.models.recurrent import Recurrent, Stack
from seq2seq.tasks.translation import Translation
from tests.models import oracle
from tests.models.networks import PAIRS, networks, task_of
from tests.models.oracle_attention import Array
from tests.support import batch_of

CELLS: list[Cell] = [RNN(), RNN("relu"), GRU(), LSTM(), LayerNormLSTM(), MinGRU(), MinLSTM()]
OWN: list[Cell] = [LayerNormLSTM(), MinGRU(), MinLSTM()]
"""Those whose arithmetic is this project's and not torch's."""

SAME, MIXED = [6, 6, 6], [3, 6, 1]
"""Lengths of one batch: all steps at once without packing, or packed."""


def parameters(module: nn.Module) -> oracle.Parameters:
    """As plain numbers."""
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def close(found: Tensor, expected: Array, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found, torch.from_numpy(np.asarray(expected)), rtol=0, atol=tolerance)


# In the order of a first course on recurrent networks: by hand, a cell in a loop, a layer, ours


@pytest.mark.parametrize("function", ["tanh", "relu"])
def test_three_steps_by_hand_a_loop_a_layer_and_ours(function: str) -> None:
    f = {"tanh": np.tanh, "relu": oracle.relu}[function]
    xs, h0 = torch.randn(2, 3, 4).double(), torch.randn(2, 5).double()
    cell = nn.RNNCell(4, 5, nonlinearity=function).double()
    w_hx, w_hh, b_ih, b_hh = (parameters(cell)[f"{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    x, h, b_h = xs.numpy(), h0.numpy(), b_ih + b_hh
    h1 = f(x[:, 0] @ w_hx.T + h @ w_hh.T + b_h)
    h2 = f(x[:, 1] @ w_hx.T + h1 @ w_hh.T + b_h)
    h3 = f(x[:, 2] @ w_hx.T + h2 @ w_hh.T + b_h)
    by_hand = np.stack([h1, h2, h3], 1)

    state, in_a_loop = h0, []
    for time in range(3):
        state = cell(xs[:, time], state)
        in_a_loop.append(state)
    close(torch.stack(in_a_loop, 1), by_hand, 1e-6)

    layer = nn.RNN(4, 5, nonlinearity=function, batch_first=True).double()
    layer.load_state_dict({f"{name}_l0": tensor for name, tensor in cell.state_dict().items()})
    close(layer(xs, h0.unsqueeze(0))[0], by_hand, 1e-6)

    ours = RNN(function).build(4, 5, False).double()  # type: ignore[arg-type]
    ours.load_state_dict({f"torch.{name}": tensor for name, tensor in layer.state_dict().items()})
    outputs, (last,) = ours(xs, (h0.unsqueeze(0),))
    close(outputs, by_hand, 1e-6)
    close(last[0], h3, 1e-6)

    stack = Recurrent(Stack(RNN(function), 5), 4).double()  # type: ignore[arg-type]
    stack.load_state_dict({f"stack.0.{name}": tensor for name, tensor in ours.state_dict().items()})
    close(stack(xs, (h0.unsqueeze(0),))[0], by_hand, 1e-6)
    for row in (0, 1):  # and the oracle, which all below rests on
        found, _ = oracle.layer(RNN(function), parameters(ours), x[row], [(h[row],)])  # type: ignore[arg-type]
        np.testing.assert_allclose(found, by_hand[row], rtol=0, atol=1e-6)


# Cells


def far(module: Any) -> Any:
    """A module in double precision with parameters that matter."""
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.7)
    return module


def random_state(cell: Cell, count: int, rows: int, size: int) -> CellState:
    return tuple(torch.randn(count, rows, size).double() for _ in range(cell.states))


@pytest.mark.parametrize("cell", CELLS, ids=repr)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("lengths", [SAME, MIXED], ids=["same", "mixed"])
def test_layers_are_the_papers_equations(cell: Cell, directions: int, layers: int, lengths: list[int]) -> None:
    for residual_from in [None, 2][:layers]:
        module = far(Recurrent(Stack(cell, 4 * directions, layers, residual_from=residual_from), 3, directions == 2))
        inputs = torch.randn(len(lengths), max(lengths), 3).double()
        state = random_state(cell, layers * directions, len(lengths), 4)
        outputs, last = module(inputs, state, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            flat = [tuple(tensor[index, row].numpy() for tensor in state) for index in range(layers * directions)]
            first = [flat[k * directions : (k + 1) * directions] for k in range(layers)]
            expected, after = oracle.layers(
                cell, parameters(module), inputs[row, :length].numpy(), first, residual_from
            )
            close(outputs[row, :length], expected)
            assert outputs[row, length:].eq(0).all()
            for number, tensor in enumerate(last):
                close(tensor[:, row], np.array([one[number] for both in after for one in both]))


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_a_step_is_the_papers_equation(cell: Cell) -> None:
    layer, inputs = far(cell.build(3, 4, True)), torch.randn(2, 3).double()
    state = tuple(tensor[0] for tensor in random_state(cell, 1, 2, 4))
    for direction in (0, 1):
        found, weights = layer.step(inputs, state, direction), oracle.one_direction(parameters(layer), direction)
        for row in (0, 1):
            expected = oracle.step(cell, weights, inputs[row].numpy(), tuple(one[row].numpy() for one in state))
            assert len(found) == len(expected) == cell.states
            for tensor, one in zip(found, expected, strict=True):
                close(tensor[row], one)


@pytest.mark.parametrize("cell", OWN, ids=repr)
@pytest.mark.parametrize("lengths", [None, [1, 3]], ids=["same", "mixed"])
def test_gradients_are_exact(cell: Cell, lengths: list[int] | None) -> None:
    layer = far(cell.build(2, 3, True))
    names = [name for name, _ in layer.named_parameters()]
    rows = None if lengths is None else torch.tensor(lengths)

    def run(inputs: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        state, weights = others[: cell.states], dict(zip(names, others[cell.states :], strict=True))
        outputs, last = torch.func.functional_call(layer, weights, (inputs, state, rows))
        return outputs, *last

    leaves = [torch.randn(2, 3, 2).double(), *random_state(cell, 2, 2, 3), *layer.parameters()]
    assert torch.autograd.gradcheck(run, [leaf.detach().clone().requires_grad_() for leaf in leaves])


# The whole network


@pytest.fixture(scope="module")
def letters() -> Tokenizers:
    """One vocabulary for both sides."""
    tokenizer = Characters()
    tokenizer.train([text for pair in PAIRS for text in pair])
    return Tokenizers(tokenizer, tokenizer)


def assert_equal_to_the_oracle(task: Translation, pairs: list[tuple[str, str]]) -> None:
    """Every log-probability of every row, its loss, and a step of the search."""
    task = task.double().eval()
    batch, p = batch_of(pairs, task.tokenizers), parameters(task.network)
    found, loss, least = task(batch), 0.0, 0.0
    for row in range(len(pairs)):
        source, target = (
            [number for number in ids[row].tolist() if number != PAD] for ids in (batch.source, batch.target)
        )
        expected = oracle.log_probs(task, p, source, target)
        close(found[row, : len(expected)].exp(), np.exp(expected))
        if task.output == "softmax":
            # A copying mixture keeps probabilities above 1e-30, which those below 1e-17 notice.
            close(found[row, : len(expected)].clamp(min=-40), np.maximum(expected, -40), 1e-6)
        least = min(least, float(expected.min()))
        loss -= sum(expected[time, token] for time, token in enumerate(target[1:]))
    if task.output == "softmax" and not task.coverage_loss and least > -60:  # the oracle knows none below 1e-30
        assert task.loss(batch).item() == pytest.approx(loss, rel=1e-7, abs=1e-9)


UNEQUAL = {"layers": 1, "bridge": Linear(), "encoder": EncoderOptions(hidden_size=12)}
WHOLE: dict[str, dict[str, Any]] = {
    "Cho et al. 2014": {
        "cell": GRU(), "bridge": Linear(), "encoder": EncoderOptions(bidirectional=False),
        "decoder": DecoderOptions(context_every_step=True, readout="maxout", readout_size=5),
    },
    "Sutskever et al. 2014": {"layers": 2, "encoder": EncoderOptions(bidirectional=False, reverse=True)},
    "Bahdanau et al. 2015": {
        "cell": GRU(), "bridge": Linear(), "attention": Additive(5),
        "decoder": DecoderOptions(attend_from="before", readout="maxout"),
    },
    "Bahdanau et al. 2015, two layers": {
        "layers": 2, "residual_from": 2, "attention": General(), "decoder": DecoderOptions(attend_from="before"),
    },
    "Luong et al. 2015": {
        "layers": 2, "attention": General(), "decoder": DecoderOptions(input_feeding=True, readout="tanh"),
    },
    "Luong et al. 2015, local": {"attention": LocalP(2), "encoder": EncoderOptions(bidirectional=False, reverse=True)},
    "Luong et al. 2015, local dot": {"attention": LocalP(1, "dot")},
    "Luong et al. 2015, location": {"cell": RNN(), "attention": Location(4), "bridge": Zeros()},
    "See et al. 2017": {
        "attention": Additive(5, coverage=True),
        "decoder": DecoderOptions(copy=True, input_feeding=True, tied_embeddings=True),
    },
    "See et al. 2017, reversed and alone": {
        "attention": Dot(), "encoder": EncoderOptions(reverse=True), "decoder": DecoderOptions(copy=True),
    },
    "Chen et al. 2018": {
        "cell": LayerNormLSTM(), "layers": 3, "attention": MultiHeadAdditive(2), "residual_from": 2,
        "decoder": DecoderOptions(attend_from="bottom", readout="linear"),
    },
    "Chen et al. 2018, with copying": {
        "cell": MinLSTM(), "layers": 2, "attention": MultiHeadAdditive(4, 12),
        "decoder": DecoderOptions(attend_from="bottom", copy=True, context_every_step=True),
    },
    "coverage from before": {
        "cell": RNN("relu"), "attention": Additive(coverage=True),
        "decoder": DecoderOptions(attend_from="before", copy=True, readout="none"),
    },
    "coverage from the bottom": {
        "layers": 2, "attention": Additive(coverage=True), "decoder": DecoderOptions(attend_from="bottom"),
    },
    "tied three ways": {"decoder": DecoderOptions(tied_output=True, tied_embeddings=True)},
    "tied output": {"attention": ScaledDot(), "decoder": DecoderOptions(tied_output=True, readout="maxout")},
    "plain": {"cell": RNN("relu"), "decoder": DecoderOptions(readout="none")},
    "nothing but the context": {"cell": MinGRU(), "bridge": Zeros(), "decoder": DecoderOptions(context_every_step=True)},
    "learned states": {
        "cell": LayerNormLSTM(), "layers": 2, "attention": Dot(), "bridge": Learned(),
        "encoder": EncoderOptions(learned_first_state=True),
    },
    "more layers above": {**UNEQUAL, "cell": MinGRU(), "decoder": DecoderOptions(layers=3), "attention": Additive(3)},
    "more layers below": {**UNEQUAL, "layers": 3, "residual_from": 2, "decoder": DecoderOptions(layers=1)},
    "mean": {"encoder": EncoderOptions(pooling=Mean()), "layers": 2},
    "max": {"encoder": EncoderOptions(pooling=Max()), "bridge": Linear(), "cell": RNN()},
    "attentive": {
        "encoder": EncoderOptions(pooling=Attentive()), "decoder": DecoderOptions(context_every_step=True, readout="linear"),
    },
    "sparse attention": {"cell": MinLSTM(), "attention": General("sparsemax"), "decoder": DecoderOptions(input_feeding=True)},
    "sparse output": {"attention": ScaledDot("entmax15"), "output": "entmax15"},
    "sparser output": {"cell": GRU(), "output": "sparsemax"},
    "residual, from the top": {"layers": 3, "residual_from": 2, "attention": Dot(), "decoder": DecoderOptions(copy=True)},
    "residual from the first": {"embedding_size": 8, "layers": 2, "residual_from": 1},
}  # fmt: skip


@pytest.mark.parametrize("chosen", WHOLE.values(), ids=WHOLE)
def test_the_whole_network_is_the_papers_equations(letters: Tokenizers, chosen: dict[str, Any]) -> None:
    assert_equal_to_the_oracle(task_of(letters, **chosen), PAIRS)


@settings(max_examples=30, deadline=None)
@given(chosen=networks())
def test_any_network_is_the_papers_equations(letters: Tokenizers, chosen: dict[str, Any]) -> None:
    assert_equal_to_the_oracle(task_of(letters, **chosen), PAIRS)


def test_features_of_the_source_enter_both_sides(letters: Tokenizers) -> None:
    pairs = [(f"{'xyz'[row % 3]}\t{source}", target) for row, (source, target) in enumerate(PAIRS)]
    tokenizer = RowFeatures(Characters())
    tokenizer.train([source for source, _ in pairs])
    options = DecoderOptions(features=True, context_every_step=True)
    both = Tokenizers(tokenizer, letters.target)
    task = task_of(both, attention=Additive(), encoder=EncoderOptions(feature_size=3), decoder=options)
    assert_equal_to_the_oracle(task, pairs)


def test_features_of_both_sides() -> None:
    pairs = [(f"{row % 3}\tx\t{source}", f"{row % 2}\tx\t{target}") for row, (source, target) in enumerate(PAIRS)]
    tokenizer = RowFeatures(Characters(), 2)
    tokenizer.train([text for pair in pairs for text in pair])
    options = DecoderOptions(copy=True, readout="maxout", tied_embeddings=True)
    both = Tokenizers(tokenizer, tokenizer)
    task = task_of(both, attention=Dot(), encoder=EncoderOptions(feature_size=3), decoder=options)
    assert_equal_to_the_oracle(task, pairs)
