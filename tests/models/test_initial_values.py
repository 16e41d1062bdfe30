"""What a training begins with: orthogonal from state to state, Glorot's bound elsewhere, and nothing else is touched."""

import math

import pytest
import torch
from torch import nn

from seq2seq.models.cells import GRU, LSTM, RNN, Cell, LayerNormLSTM, MinGRU, MinLSTM
from seq2seq.models.embedding import Embedding
from seq2seq.models.initial_values import draw
from seq2seq.models.output import Output

INPUT, HIDDEN = 12, 16


def bound(weight: torch.Tensor) -> float:
    return math.sqrt(6 / sum(weight.shape))


@pytest.mark.parametrize(
    "cell", [RNN(), GRU(), LSTM(), LayerNormLSTM(), MinGRU(), MinLSTM()], ids=lambda one: type(one).__name__
)
def test_matrices_of_cells_are_drawn_gate_by_gate(cell: Cell) -> None:
    layer = cell.build(INPUT, HIDDEN, bidirectional=True)
    biases = {name: one.clone() for name, one in layer.named_parameters() if one.dim() == 1}
    torch.manual_seed(1)
    draw(layer)
    drawn = list(layer.matrices())
    assert len(drawn) == sum(one.dim() == 2 for one in layer.parameters())
    assert any(from_state for _, from_state in drawn) == layer.reads_state
    for weight, from_state in drawn:
        for gate in weight.split(HIDDEN):
            if from_state:
                torch.testing.assert_close(gate @ gate.T, torch.eye(HIDDEN))
            else:
                assert 0.8 * bound(gate) < float(gate.detach().abs().max()) <= bound(gate)
    assert all(torch.equal(one, biases[name]) for name, one in layer.named_parameters() if one.dim() == 1)


def test_a_tied_output_stays_an_embedding() -> None:
    table = Embedding([20], 8, 0, padding=0)
    network = nn.ModuleList([table, Output(8, 20, weight=table.weight)])
    before = table.weight.detach().clone()
    draw(network)
    assert torch.equal(table.weight, before)


def test_an_output_of_its_own_is_drawn() -> None:
    output = Output(8, 20)
    draw(output)
    assert float(output.layer.weight.detach().abs().max()) <= bound(output.layer.weight)


def test_a_cell_of_others_keeps_its_values() -> None:
    class Own(Cell):
        def create(self, input_size: int) -> None:
            self.map = nn.Linear(input_size + self.hidden_size, self.hidden_size)
            nn.init.ones_(self.map.weight)

        def step(self, inputs, state, direction=0, mask=None):  # type: ignore[no-untyped-def]
            return (torch.tanh(self.map(torch.cat((inputs, state[0]), -1))),)

    layer = Own().build(INPUT, HIDDEN, bidirectional=False)
    draw(layer)
    assert float(layer.map.weight.detach().min()) == 1
