"""Memory over time: the gradient is the one of finite differences, gates are counted right, training does not notice."""

from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.analysis.gradient_flow import (
    MemoryDiagnostics,
    by_tokens_after,
    effective_rank,
    memory_of,
    memory_over_time,
    rounded,
    some_rows,
)
from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.models.cells import GRU, LSTM, RNN, Cell, LayerNormLSTM, MinGRU, MinLSTM
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Linear
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, batch_of

CELLS: list[Cell] = [RNN(), RNN("relu"), GRU(), LSTM(), LayerNormLSTM(), MinGRU(), MinLSTM()]


def made(tokenizers: Tokenizers, cell: Cell, bidirectional: bool = False, **more: Any) -> tuple[Translation, Batch]:
    torch.manual_seed(2)
    options = EncoderOptions(bidirectional=bidirectional)
    task = Translation(tokenizers, cell, 6, 8, encoder=options, dropout=0.3, **more)
    return task, batch_of(PAIRS[:5], tokenizers)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_the_gradient_is_what_a_nudge_of_the_state_does(tokenizers: Tokenizers, cell: Cell) -> None:
    """A row's loss from a state onwards, differentiated at that state, has the norm that is told."""
    task, batch = made(tokenizers, cell, layers=2)
    task.double()
    found = memory_over_time(task, batch)
    task.eval()
    row, length = 2, int(batch.source_lengths[2])
    one = batch_of(PAIRS[2:3], tokenizers)
    encoder = task.network.encoder
    embedded = encoder.embedding(one.source)
    for after in (0, 2, length - 1):
        _, state = encoder.recurrent(embedded[:, : length - after])
        state = tuple(tensor.detach().requires_grad_() for tensor in state)
        last = encoder.recurrent(embedded[:, length - after :], state)[1] if after else state
        first = task.network.decoder.start(task.network.bridge(last), task.encode(one).source)
        outputs = task.network.decoder(one.target[:, :-1], first)
        labels = one.target[:, 1:]
        loss = task.network.decoder.loss(outputs, first.source, labels, (labels > 0).flatten().nonzero()[:, 0], 0.0)
        slopes = torch.autograd.grad(loss, state)
        told = memory_over_time(task, one)
        assert told.gradient_norm["forward"][after] == pytest.approx(float(slopes[0][-1].norm()), rel=1e-6)
        if isinstance(cell, LSTM):  # its second state works through the first one, too: h = o tanh(c)
            through = slopes[0] * state[0] / state[1].tanh() * (1 - state[1].tanh() ** 2)
            norm = float((slopes[1] + through)[-1].detach().norm())
            assert told.cell_gradient_norm["forward"][after] == pytest.approx(norm, rel=1e-6)
    alone = [memory_over_time(task, batch_of([pair], tokenizers)).gradient_norm["forward"] for pair in PAIRS[:5]]
    for after, mean in enumerate(found.gradient_norm["forward"]):
        norms = [each[after] for each in alone if len(each) > after]
        assert len(norms) == found.rows[after]
        assert mean == pytest.approx(sum(norms) / len(norms), rel=1e-6)
    assert len(alone[row]) == length


def test_both_directions_are_told(tokenizers: Tokenizers) -> None:
    task, batch = made(tokenizers, GRU(), bidirectional=True, bridge=Linear(), layers=2)
    found = memory_over_time(task, batch)
    assert set(found.gradient_norm) == {"forward", "backward"}
    assert found.gradient_norm["forward"] != found.gradient_norm["backward"]
    assert all(len(norms) == max(batch.source_lengths) == len(found.rows) for norms in found.gradient_norm.values())
    assert found.cell_gradient_norm == {}


def test_training_does_not_notice(tokenizers: Tokenizers) -> None:
    task, batch = made(tokenizers, LSTM())
    task.train()
    task.loss(batch).backward()
    before = {name: parameter.grad.clone() for name, parameter in task.named_parameters()}
    state = torch.get_rng_state()
    loss = task.loss(batch._replace(seed=3))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = memory_over_time(task, batch)
    assert task.training
    assert torch.get_rng_state().equal(state)
    assert task.loss(batch._replace(seed=3)).equal(loss), "the layers run fused again"
    assert all(before[name].equal(parameter.grad) for name, parameter in task.named_parameters())
    assert found == memory_over_time(task, batch)


def test_saturated_gates_are_counted(tokenizers: Tokenizers) -> None:
    task, batch = made(tokenizers, LSTM())
    layer = task.network.encoder.recurrent.stack[0].torch
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0[:8] = torch.tensor([-3.0] * 2 + [3.0] * 4 + [0.0] * 2)  # input gates
        layer.bias_ih_l0[8:16] = 3.0
    found = memory_over_time(task, batch)
    assert found.saturation == {"input": (0.25, 0.5), "forget": (0.0, 1.0), "output": (0.0, 0.0)}
    task, batch = made(tokenizers, RNN())
    layer = task.network.encoder.recurrent.stack[0].torch
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0.copy_(torch.tensor([-3.0] + [3.0] * 2 + [0.0] * 5))
    assert memory_over_time(task, batch).saturation == {"hidden": (0.125, 0.25)}
    assert memory_over_time(*made(tokenizers, RNN("relu"))).saturation == {}


@pytest.mark.parametrize("cell", [GRU(), LSTM(), LayerNormLSTM(), MinGRU(), MinLSTM()], ids=repr)
def test_gates_are_looked_at_token_by_token(tokenizers: Tokenizers, cell: Cell) -> None:
    """Of rows of unlike length, each gate of each real token, with the state that it met."""
    task, batch = made(tokenizers, cell)
    task.eval()
    layer = task.network.encoder.recurrent.stack[0]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(6)
    counts: dict[str, list[bool]] = {}
    for row, length in enumerate(batch.source_lengths.tolist()):
        state = (torch.zeros(1, 8),) * cell.states
        for token in batch.source[row, :length]:
            read = task.network.encoder.embedding(token.view(1))
            for name, gate in layer.gates(read, state).items():
                counts.setdefault(name, []).extend((gate > 0.9).flatten().tolist())
            state = layer.step(read, state)
    found = memory_over_time(task, batch).saturation
    assert {name: opened for name, (_, opened) in found.items()} == pytest.approx(
        {name: sum(values) / len(values) for name, values in counts.items()}
    )
    assert len(set(batch.source_lengths.tolist())) > 1


def test_norms_are_sorted_by_what_is_read_after() -> None:
    run = [[torch.tensor([1.0, 10.0])], [torch.tensor([2.0, 0.0])], [torch.tensor([3.0, 0.0])]]
    assert by_tokens_after(run, torch.tensor([3, 1]), 0) == [6.5, 2.0, 1.0]


def test_the_effective_rank() -> None:
    assert effective_rank(torch.ones(5, 3)) == 1.0
    line = torch.outer(torch.arange(5.0), torch.tensor([1.0, 2.0, -1.0]))
    assert effective_rank(line) == pytest.approx(1.0, abs=1e-5)
    cross = torch.cat((torch.eye(3), -torch.eye(3)))
    assert effective_rank(cross + 7.0) == pytest.approx(3.0)


def test_texts_are_a_batch(tokenizers: Tokenizers) -> None:
    task, batch = made(tokenizers, GRU())
    sources, targets = zip(*PAIRS[:5], strict=True)
    assert memory_of(task, sources, targets) == memory_over_time(task, batch)


def test_the_summary() -> None:
    norms = {"forward": [2.0, 1.0, 0.5, 9.0], "backward": [4.0, 1.0, 3.0, 9.0]}
    found = MemoryDiagnostics(norms, {}, [6, 6, 3, 2], {"forget": (0.1, 0.2), "input": (0.0, 0.1)}, 3.0, 8)
    assert found.summary() == pytest.approx({"effective_rank": 3.0, "gradient_arriving": 0.25, "saturated_gates": 0.2})
    assert "saturated_gates" not in found._replace(saturation={}).summary()


def test_no_more_rows_are_looked_at_than_a_training_step_has_tokens() -> None:
    lengths = np.array([[5, 5]] * 99 + [[300, 5]])
    assert some_rows(lengths[:10], 4096).tolist() == list(range(10))
    assert len(some_rows(lengths[:99], 4096)) == 64
    for limit in (4096, 1000, 10):
        rows = some_rows(lengths, limit)
        assert len(set(rows.tolist())) == len(rows)
        assert len(rows) * lengths[rows].max(axis=0).sum() <= limit or len(rows) == 1
    assert len(some_rows(lengths, 10)) == 1


def test_numbers_in_json() -> None:
    assert rounded({"a": (0.123456, [float("nan"), 3])}) == {"a": [0.1235, [None, 3]]}
