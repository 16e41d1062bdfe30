"""Perturbation: what it changes, that it hangs on the row alone, and that it leaves prediction alone."""

import numpy as np
import pytest
import torch
from torch import Tensor

from seq2seq.errors import InputError
from seq2seq.models.dropout import Noise
from seq2seq.models.frames import centred
from seq2seq.models.perturbation import Perturbation, Perturbed, bent, stretched, warped

BANDS = 12
LENGTHS = torch.tensor([60, 44, 30])
LEAST = torch.tensor([2, 2, 2])
ALL = Perturbation(speed=0.2, warp=0.1, channel=6.0, noise=10.0)


def frames() -> Tensor:
    """(3, 60, BANDS), zeros after each row."""
    values = torch.randn(3, 60, BANDS, generator=torch.Generator().manual_seed(1))
    for row, length in enumerate(LENGTHS.tolist()):
        values[row, length:] = 0
    return values


def changed(options: Perturbation, rows: slice = slice(None), seed: int = 5) -> tuple[Tensor, Tensor]:
    one = Perturbed(options, np.linspace(-9, -5, BANDS), np.full(BANDS, 3.0))
    lengths = LENGTHS[rows]
    source = frames()[rows, : int(lengths.max())]
    return one(source, lengths, LEAST[rows], Noise(seed, torch.tensor([7, 8, 9])[rows]))


def test_a_row_is_changed_alike_whatever_rows_are_beside_it() -> None:
    values, lengths = changed(ALL)
    assert lengths.tolist() != LENGTHS.tolist()
    for row in range(3):
        alone, length = changed(ALL, slice(row, row + 1))
        assert length.tolist() == [lengths[row]]
        torch.testing.assert_close(alone[0], values[row, : lengths[row]], rtol=0, atol=1e-5)
        assert not values[row, lengths[row] :].any()
    assert not changed(ALL, seed=6)[0].equal(values)
    assert changed(ALL)[0].equal(values)


@pytest.mark.parametrize("name", ["warp", "channel", "noise"])
def test_each_part_changes_the_energies_alone(name: str) -> None:
    values, lengths = changed(Perturbation(**{name: 0.3 if name == "warp" else 3.0}))
    assert lengths.equal(LENGTHS)
    assert values.isfinite().all()
    assert (values - frames()).abs().mean() > 0.02
    if name == "noise":  # adds power everywhere
        assert (values - frames() > -1e-5).all()
    if name == "channel":  # the same at each frame
        assert (values - frames())[0].std(0).max() < 1e-5


def test_speed_is_read_between_the_frames() -> None:
    ramp = torch.arange(21.0).view(1, 21, 1).repeat(2, 1, 1)
    values, lengths = stretched(ramp, torch.tensor([21, 11]), LEAST[:2], torch.tensor([2.0, 0.5]).double())
    assert lengths.tolist() == [10, 22]
    torch.testing.assert_close(values[0, :10, 0], torch.linspace(0, 20, 10))
    torch.testing.assert_close(values[1, :22, 0], torch.linspace(0, 10, 22))
    kept, lengths = stretched(ramp[:1], torch.tensor([21]), torch.tensor([17]), torch.tensor([2.0]).double())
    assert lengths.tolist() == [17] == [kept.shape[1]]


def test_a_band_is_what_was_further_up_or_down() -> None:
    ramp = torch.arange(float(BANDS)).view(1, 1, BANDS)
    torch.testing.assert_close(warped(ramp, torch.tensor([0.5]).double())[0, 0], torch.arange(BANDS) / 2)
    torch.testing.assert_close(warped(ramp, torch.tensor([1.5]).double())[0, 0, :8], torch.arange(8) * 1.5)
    height, slope = bent(torch.eye(3).double(), BANDS)[:2]
    assert height.tolist() == [1.0] * BANDS
    assert (slope[0], slope[-1]) == (1, -1)


def test_rows_are_centred_without_their_padding() -> None:
    values = centred(frames() + 3, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        assert values[row, :length].mean(0).abs().max() < 1e-5
        assert not values[row, length:].any()


def test_settings_that_cannot_be() -> None:
    for name, value in {"speed": 0.6, "warp": -0.1, "channel": 100.0, "noise": -30.0}.items():
        with pytest.raises(InputError, match=rf"model\.perturbation\.{name}"):
            Perturbation(**{name: value})
    assert not Perturbation()
