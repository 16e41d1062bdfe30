"""The loss of a transducer against all its alignments in 64 bits, blind to padding and to how it is cut for memory."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from seq2seq.models import transducer
from seq2seq.models.cells import GRU, LSTM
from seq2seq.models.dropout import Noise, number_dropouts
from seq2seq.models.recurrent import Stack
from seq2seq.models.transducer import Transducer, class_log_probs, diagonals, rectangle, transducer_losses


def by_all_alignments(log_probs: Tensor, classes: list[int]) -> Tensor:
    """Minus the log of the summed probability (T, U + 1, C) of all ways to place the classes among the steps."""
    steps, moves = len(log_probs), len(log_probs) - 1 + len(classes)
    sums = []
    for places in itertools.combinations(range(moves), len(classes)):
        time = written = 0
        total = torch.zeros((), dtype=log_probs.dtype)
        for move in range(moves):
            if move in places:
                total, written = total + log_probs[time, written, classes[written]], written + 1
            else:
                total, time = total + log_probs[time, written, 0], time + 1
        sums.append(total + log_probs[steps - 1, len(classes), 0])
    return -torch.logsumexp(torch.stack(sums), 0)


class Sides:
    """Vectors of both sides of three rows of different sizes, and an output."""

    steps, lengths = torch.tensor([4, 3, 1]), torch.tensor([2, 3, 0])

    def __init__(self, kind: torch.dtype = torch.float64) -> None:
        torch.manual_seed(1)
        self.output = nn.Linear(6, 5).to(kind)
        self.frames = torch.randn(3, 4, 6, dtype=kind, requires_grad=True)
        self.written = torch.randn(3, 4, 6, dtype=kind, requires_grad=True)
        self.classes = torch.randint(1, 5, (3, 3))

    @property
    def leaves(self) -> list[Tensor]:
        return [self.frames, self.written, *self.output.parameters()]

    def losses(self) -> Tensor:
        return transducer_losses(self.output, self.frames, self.written, self.steps, self.classes, self.lengths)


WEIGHTS = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
"""Of the rows, so that their gradients differ."""


def test_loss_and_gradient_are_those_of_all_alignments() -> None:
    sides = Sides()
    losses = sides.losses()
    expected = []
    for row, (steps, length) in enumerate(zip(sides.steps.tolist(), sides.lengths.tolist(), strict=True)):
        every = class_log_probs(sides.output, sides.frames[row, :steps].unsqueeze(1), sides.written[row].unsqueeze(0))
        expected.append(by_all_alignments(every, sides.classes[row, :length].tolist()))
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad((losses * WEIGHTS).sum(), sides.leaves)
    theirs = torch.autograd.grad((torch.stack(expected) * WEIGHTS).sum(), sides.leaves)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_padding_plays_no_part() -> None:
    sides = Sides()
    losses = sides.losses()
    frames, written = torch.autograd.grad(losses.sum(), [sides.frames, sides.written])
    for row, (steps, length) in enumerate(zip(sides.steps.tolist(), sides.lengths.tolist(), strict=True)):
        alone = (sides.frames[row : row + 1, :steps], sides.written[row : row + 1, : length + 1])
        counts = (sides.steps[row : row + 1], sides.classes[row : row + 1, :length], sides.lengths[row : row + 1])
        [loss] = transducer_losses(sides.output, *alone, *counts)
        torch.testing.assert_close(loss, losses[row], rtol=1e-12, atol=0)
        own = torch.autograd.grad(loss, alone)
        torch.testing.assert_close(frames[row : row + 1, :steps], own[0], rtol=1e-10, atol=1e-14)
        assert not frames[row, steps:].any()
        assert not written[row, length + 1 :].any()


@pytest.mark.parametrize("at_once", [1, 100, 1 << 20])
def test_steps_that_are_held_at_once_change_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = Sides()
    expected = torch.autograd.grad((sides.losses() * WEIGHTS).sum(), sides.leaves)
    monkeypatch.setattr(transducer, "CHUNK", at_once)
    found = torch.autograd.grad((sides.losses() * WEIGHTS).sum(), sides.leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_in_half_precision_the_loss_stays_in_32_bits() -> None:
    sides = Sides(torch.float32)
    expected = sides.losses()
    with torch.autocast("cpu", torch.bfloat16):
        losses = sides.losses()
    assert losses.dtype is torch.float32
    torch.testing.assert_close(losses, expected, rtol=0.02, atol=0.02)
    assert all(one.isfinite().all() for one in torch.autograd.grad(losses.sum(), sides.leaves))


def test_diagonals_and_back() -> None:
    cells = torch.arange(24.0).view(2, 4, 3)
    lines = diagonals(cells)
    assert lines[2, 0].tolist() == [cells[0, 2, 0], cells[0, 1, 1], cells[0, 0, 2]]
    assert lines[5, 1].tolist() == [-torch.inf, -torch.inf, cells[1, 3, 2]]
    assert rectangle(lines, 4).equal(cells)


@pytest.mark.parametrize("cell", [GRU(), LSTM()], ids=repr)
def test_step_by_step_gives_what_all_at_once_gives(cell: GRU | LSTM) -> None:
    torch.manual_seed(2)
    writer = Transducer(5, 6, 2, 7).build(4, 5, Stack(cell, 9, 1, 0.5, residual_from=2)).eval()
    classes = torch.tensor([[1, 4, 2], [3, 3, 1]])
    written, own = writer.first(2), []
    for number in range(3):
        own.append(written.vector)
        written = writer.step(classes[:, number], written.recurrent)
    torch.testing.assert_close(writer.written(classes, None), torch.stack([*own, written.vector], 1))
    assert written.where(torch.tensor([True, False]), writer.first(2)).vector[1].equal(writer.first(2).vector[1])
    number_dropouts(writer, "writer")
    masked = [writer.train().written(classes, Noise(seed, torch.arange(2))) for seed in (1, 1, 2)]
    assert masked[0].equal(masked[1])
    assert not masked[0].equal(masked[2])
