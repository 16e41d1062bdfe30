"""The bound on the length of predictions: all training targets fit, and it is no wider than they need."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.decoding.length_bound import HEAD_ROOM, MORE, LengthBound, learn, read
from seq2seq.errors import InputError

LENGTHS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 400)), min_size=1, max_size=40)


@given(LENGTHS)
def test_all_targets_fit_with_head_room(lengths: list[tuple[int, int]]) -> None:
    sources, targets = map(np.array, zip(*lengths, strict=True))
    bound = learn(sources, targets)
    limits = bound.of(torch.from_numpy(sources)).numpy()
    assert (limits >= np.floor(HEAD_ROOM * np.where(sources, targets, 0)) + MORE - 1).all()
    assert (limits >= targets).all()
    assert read([*bound]) == bound


@given(LENGTHS)
def test_no_row_more_makes_room_for_less(lengths: list[tuple[int, int]]) -> None:
    """On average over the rows, no constant would be much lower."""
    sources, targets = map(np.array, zip(*lengths, strict=True))
    sources = np.maximum(sources, 1)
    limits = learn(sources, targets).of(torch.from_numpy(sources)).numpy()
    usual = targets.sum() / sources.sum()
    widest = max(0, (targets - usual * sources).max())
    assert limits.mean() <= HEAD_ROOM * (targets.mean() + widest) + MORE + 3


def test_a_longer_source_than_any_in_training_has_room() -> None:
    sources = np.arange(3, 30)
    bound = learn(sources, 4 * sources)
    assert 4 * 300 <= int(bound.of(torch.tensor([300]))) <= 1.3 * 4 * 300 + MORE


def test_one_outlier_changes_little_for_long_sources() -> None:
    sources = np.arange(3, 30)
    bound = learn(np.append(sources, 3), np.append(2 * sources, 100))
    assert int(bound.of(torch.tensor([300]))) >= 2 * 300


def test_from_sources_of_one_length_nothing_follows() -> None:
    assert learn(np.array([2, 2, 2]), np.array([30, 8, 40])) == LengthBound(0.0, 50 + MORE)
    assert learn(np.zeros(2, dtype=int), np.array([7, 8])) == LengthBound(0.0, 10 + MORE)
    assert learn(np.zeros(0, dtype=int), np.zeros(0, dtype=int)).offset == MORE


@pytest.mark.parametrize("value", [5, "x", [], [1], [1, 2, 3], [-1, 5], [1e300, 5], [float("nan"), 5], ["a", 5], {}])
def test_a_damaged_bound_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="length_bound"):
        read(value)
    assert read(None) is None
