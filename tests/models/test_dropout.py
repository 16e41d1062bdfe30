"""Dropout: the right share of units, unrelated to each other, and the same however a step is sliced."""

import numpy as np
import pytest
import torch

from seq2seq.models.dropout import Dropout, Noise, hashed, number_dropouts, number_of


def dropout(probability: float, name: str = "encoder.dropout", locked: bool = False) -> Dropout:
    module = Dropout(probability, locked)
    number_dropouts(module, name)
    return module


def kept(rows: list[int], seed: int = 1, name: str = "encoder.dropout", steps: int = 20) -> torch.Tensor:
    """True where a unit stays; (B, T, 64)."""
    return dropout(0.3, name)(torch.ones(len(rows), steps, 64), Noise(seed, torch.tensor(rows))) != 0


def test_a_mask_depends_on_step_row_and_name_alone() -> None:
    whole = kept([5, 3, 9, 1_000_000_007])
    assert whole[[1, 2]].equal(kept([3, 9]))
    assert whole[:, :7].equal(kept([5, 3, 9, 1_000_000_007], steps=7)), "padding must not matter"
    for other in (kept([6, 4, 10, 8]), kept([5, 3, 9, 7], seed=2), kept([5, 3, 9, 7], name="decoder.dropout")):
        assert 0.5 < (other == whole).float().mean() < 0.66  # 0.7^2 + 0.3^2 = 0.58


@pytest.mark.parametrize("probability", [0.05, 0.3, 0.5, 0.9])
def test_the_share_of_zeroed_units(probability: float) -> None:
    ones = torch.ones(100, 50, 64)
    dropped = dropout(probability)(ones, Noise(1, torch.arange(100)))
    assert (dropped == 0).float().mean().item() == pytest.approx(probability, abs=4e-3)
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)


def test_numbers_are_those_of_the_hash_in_plain_numpy() -> None:
    """They decide what runs that are resumed drop, on any device: x ^= x >> 16, and so on, of unsigned numbers."""
    keys = torch.tensor([0, 1, -1, 2**31 - 1, -(2**31)], dtype=torch.int32)
    mixed = keys.numpy().view(np.uint32)[:, None] ^ (np.arange(77, dtype=np.uint32) * np.uint32(2**32 - 1640531527))
    mixed = (mixed ^ (mixed >> np.uint32(16))) * np.uint32(0x7FEB352D)
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x846CA68B)
    mixed ^= mixed >> np.uint32(16)
    assert (hashed(keys, 77).numpy().view(np.uint32) == mixed).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_what_stays_is_scaled_in_the_kind_of_the_values(dtype: torch.dtype) -> None:
    dropped = dropout(0.3)(torch.ones(3, 5, 7, dtype=dtype), Noise(1, torch.arange(3)))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.7, dtype=dtype).item()}


def test_units_are_unrelated() -> None:
    rest = kept(list(range(200)), steps=50).double().flatten(1) - 0.7
    noise = 4 * 0.21 / (200 * 50 * 64) ** 0.5
    for lag in (1, 2, 7, 63, 64, 65, 128):
        assert (rest[:, lag:] * rest[:, :-lag]).mean().abs() < noise
    assert (rest[1:] * rest[:-1]).mean().abs() < noise


def test_a_locked_mask_is_the_same_at_every_step() -> None:
    noise = Noise(1, torch.arange(50))
    found = dropout(0.3, locked=True)(torch.ones(50, 20, 64), noise)
    assert found.equal(found[:, :1].expand_as(found))
    assert (found == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not found[0].equal(found[1])
    free = dropout(0.3).mask(noise, 20, 64, found)
    assert free is not None
    assert not free[:, 0].equal(free[:, 1])


def test_no_dropout_outside_training() -> None:
    values, noise = torch.randn(2, 3, 4), Noise(1, torch.arange(2))
    assert Dropout(0.5).eval()(values, noise).equal(values)
    assert Dropout(0.0)(values, noise).equal(values)
    assert Dropout(1.0)(values, noise).eq(0).all()


def test_a_number_follows_from_the_name_on_any_machine() -> None:
    assert number_of("network.encoder.dropout") == 5470840217589205663
    assert kept([5])[0, 0, :16].int().tolist() == [1, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 0]


def test_a_dropout_outside_a_task_has_no_number() -> None:
    with pytest.raises(RuntimeError, match="number_dropouts"):
        Dropout(0.3)(torch.ones(1, 2, 3), Noise(1, torch.arange(1)))
