"""CTC against all paths in 64 bits; stacking is blind to padding; masks hang on step and row alone."""

import itertools

import pytest
import torch

from seq2seq.errors import InputError
from seq2seq.models.ctc import ctc_losses
from seq2seq.models.dropout import Noise
from seq2seq.models.frames import Frames, Masking, less_running_mean


def by_all_paths(log_probs: torch.Tensor, classes: list[int]) -> torch.Tensor:
    """Minus the log of the summed probability of all paths (T, C) that write the classes."""
    scores = [
        sum((log_probs[step, number] for step, number in enumerate(path)), torch.zeros((), dtype=log_probs.dtype))
        for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs))
        if [number for number, _ in itertools.groupby(path) if number] == classes
    ]
    return -torch.logsumexp(torch.stack(scores), 0)


@pytest.mark.parametrize("classes", [[1], [1, 2], [2, 2], [1, 2, 1], [1, 1, 2], []])
def test_loss_and_gradient_are_those_of_all_paths(classes: list[int]) -> None:
    generator = torch.Generator().manual_seed(len(classes))
    logits = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    padded = torch.cat((ours, torch.full((3, 3), 9.0, dtype=torch.float64)))  # padding plays no part
    row = torch.tensor([[*classes, 1, 1]])
    steps, length = torch.tensor([5]), torch.tensor([len(classes)])
    [loss] = ctc_losses(padded.log_softmax(-1).unsqueeze(0), steps, row, length)
    expected = by_all_paths(theirs.log_softmax(-1), classes)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_a_text_without_a_path_is_impossible() -> None:
    log_probs = torch.zeros(1, 3, 4, dtype=torch.float64).log_softmax(-1)
    assert ctc_losses(log_probs, torch.tensor([3]), torch.tensor([[2, 2, 2]]), torch.tensor([3])).isinf().all()


def test_stacked_frames_are_those_of_the_row_alone() -> None:
    torch.manual_seed(1)
    frames, source = Frames(2, 5, 3, Masking()), torch.randn(2, 7, 2)
    source[1, 4:] = 0  # as batches are padded
    together, lengths = frames.read(source, torch.tensor([7, 4]), None)
    assert lengths.tolist() == [3, 2]
    alone, _ = frames.read(source[1:, :4], torch.tensor([4]), None)
    torch.testing.assert_close(together[1:, :2], alone)
    other = source.clone()
    other[0, 6] += 1
    changed = (frames.read(other, torch.tensor([7, 4]), None)[0] - together).abs().amax(-1) > 1e-3
    assert changed.tolist() == [[False, False, True], [False] * 3]


def test_a_running_mean_knows_nothing_of_what_comes() -> None:
    torch.manual_seed(1)
    source, nothing = torch.randn(2, 7, 3), torch.zeros(2, 3)
    found, total = less_running_mean(source, 4, nothing, 0)
    for place in range(7):
        expected = source[:, place] - source[:, : place + 1].sum(1) / (4 + place + 1)
        torch.testing.assert_close(found[:, place], expected)
    first, before = less_running_mean(source[:, :3], 4, nothing, 0)
    second, after = less_running_mean(source[:, 3:], 4, before, 3)
    torch.testing.assert_close(torch.cat((first, second), 1), found)
    torch.testing.assert_close(after, total)
    frames = Frames(3, 5, 3, Masking(), running=4)
    alone, _ = frames.read(source[1:, :4], torch.tensor([4]), None)
    together, _ = frames.read(source, torch.tensor([7, 4]), None)
    torch.testing.assert_close(together[1:, :2], alone)


def test_masks_hang_on_step_and_row_alone() -> None:
    masking = Masking(bands=2, band_width=4, times=2, time_width=6)
    source, lengths = torch.ones(40, 30, 12), torch.full((40,), 20)
    keys = torch.arange(40)
    hidden = masking.hide(source, lengths, Noise(3, keys)) == 0
    assert hidden[7:9, :25].equal(masking.hide(source[7:9, :25], lengths[7:9], Noise(3, keys[7:9])) == 0)
    assert not hidden.equal(masking.hide(source, lengths, Noise(4, keys)) == 0)
    bands, times = hidden[:, -1].sum(-1), hidden.all(-1).sum(-1)
    assert bands.min() == 0
    assert 4 < bands.max() <= 8, "whole bands, past the end of a row too"
    assert 6 < times.max() <= 12
    assert not hidden[:, 20:].all(-1).any(), "times are hidden within a row"
    assert 2 < bands.double().mean() < 4.5, "two of none to four, some of which overlap"
    places = hidden[:, -1].double().mean(0)
    assert places.min() > 0.05, "every band is hidden at times"


def test_masks_are_for_training() -> None:
    frames, source = Frames(4, 5, 1, Masking(bands=3)), torch.ones(9, 6, 4)
    noise, lengths = Noise(1, torch.arange(9)), torch.full((9,), 6)
    assert not frames.read(source, lengths, noise)[0].equal(frames.read(source, lengths, None)[0])
    frames.eval()
    assert frames.read(source, lengths, noise)[0].equal(frames.read(source, lengths, None)[0])
    with pytest.raises(InputError, match=r"model\.masking\.band_width"):
        Masking(band_width=0)
