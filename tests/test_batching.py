"""The plan: every row once an epoch, within the budget, the same on any number of devices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.data.batching import Plan, TrainingSampler, evaluation_batches
from seq2seq.errors import InputError

LENGTHS = st.lists(st.tuples(st.integers(1, 30), st.integers(2, 30)), min_size=1, max_size=80)


def plan_of(lengths: list[tuple[int, int]], budget: int = 120, seed: int = 1) -> Plan:
    source, target = np.array(lengths, dtype=np.int32).T
    return Plan(source, target, budget, seed)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(60, 400), st.integers(0, 3))
def test_every_row_once_an_epoch_within_the_budget(lengths: list[tuple[int, int]], budget: int, epoch: int) -> None:
    plan = plan_of(lengths, budget)
    batches = [plan.rows(epoch * len(plan) + step) for step in range(len(plan))]
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for rows in batches:
        source, target = np.array(lengths)[rows].T
        assert len(rows) * (source.max() + target.max()) <= budget


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 5))
def test_devices_share_the_rows_of_each_step(lengths: list[tuple[int, int]], devices: int) -> None:
    plan = plan_of(lengths)
    for step in range(len(plan)):
        shares = [plan.slice(step, rank, devices) for rank in range(devices)]
        counted = [row for share in shares if share.counts for row in share.rows]
        assert sorted(counted) == sorted(plan.rows(step))
        assert {share.step_tokens for share in shares} == {sum(lengths[row][1] - 1 for row in plan.rows(step))}
        assert all(len(share.rows) for share in shares)


def test_epochs_differ_and_repeat_for_the_same_seed() -> None:
    random = np.random.default_rng(0)
    lengths = [(int(a), int(b)) for a, b in random.integers(2, 9, (200, 2))]
    plan, again, other = plan_of(lengths), plan_of(lengths), plan_of(lengths, seed=2)
    steps = range(2 * len(plan))
    orders = [[tuple(one.rows(step)) for step in steps] for one in (plan, again, other)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert set(orders[0][: len(plan)]) != set(orders[0][len(plan) :])


def test_seeking_needs_no_replay() -> None:
    lengths = [(3, 4), (5, 6), (7, 7), (3, 3)] * 20
    whole, fresh = plan_of(lengths), plan_of(lengths)
    steps = [whole.rows(step) for step in range(3 * len(whole))]
    place = 2 * len(whole) + 1
    assert fresh.rows(place).tolist() == steps[place].tolist()
    sampler = TrainingSampler(fresh, lambda: place)
    assert [share.rows.tolist() for share in sampler] == [rows.tolist() for rows in steps[place:]]
    assert len(sampler) == len(fresh)


def test_like_lengths_go_together() -> None:
    random = np.random.default_rng(0)
    source = random.integers(4, 30, 5000)
    target = np.clip(source + random.integers(-4, 8, 5000), 3, None)
    plan = Plan(source, target, 2048, 1)
    padded = sum(
        len(rows) * (source[rows].max() + target[rows].max()) for rows in (plan.rows(step) for step in range(len(plan)))
    )
    assert (source.sum() + target.sum()) / padded > 0.95


def test_a_row_beyond_the_budget_is_refused() -> None:
    with pytest.raises(InputError, match=r"one row alone has 90 tokens.*batch_tokens 80"):
        plan_of([(3, 4), (45, 45)], 80)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_evaluation_scores_every_row_once(rows: int, devices: int) -> None:
    lengths = np.arange(rows) % 4 + 1
    shares = [evaluation_batches(lengths, 2, rank, devices) for rank in range(devices)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(row for share in shares for batch in share for row in batch) == list(range(rows))
    alone = {tuple(batch) for batch in evaluation_batches(lengths, 2)}
    assert {tuple(batch) for share in shares for batch in share if len(batch)} == alone
