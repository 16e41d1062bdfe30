"""The plan: every row once an epoch, within the budget, the same on any number of devices."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.data.batching.plan import Plan, TrainingSampler, evaluation_batches, pieces
from seq2seq.data.batching.split import RowFormat, Split
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.errors import InputError

Pairs = list[tuple[int, int]]
LENGTHS = st.lists(st.tuples(st.integers(1, 30), st.integers(2, 30)), min_size=1, max_size=80)


def plan_of(lengths: Pairs, budget: int = 120, seed: int = 1) -> Plan:
    source, target = np.array(lengths, dtype=np.int32).T
    return Plan(source, target, budget, seed)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(60, 400), st.integers(0, 3))
def test_every_row_once_an_epoch_within_the_budget(lengths: Pairs, budget: int, epoch: int) -> None:
    plan = plan_of(lengths, budget)
    batches = [plan.rows(epoch * len(plan) + step) for step in range(len(plan))]
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for rows in batches:
        source, target = np.array(lengths)[rows].T
        assert len(rows) * (source.max() + target.max()) <= budget


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 5), st.sampled_from([None, 60, 90]))
def test_devices_share_the_rows_of_each_step(lengths: Pairs, devices: int, device_tokens: int | None) -> None:
    plan, table = plan_of(lengths), np.array(lengths)
    for rows in TrainingSampler(plan, lambda: 0):
        found = pieces(table[rows.numbers], device_tokens, devices)
        assert len(found) % devices == 0, "a device would wait for the others for ever"
        parts = [rows.numbers[a:b] for a, b in found]
        assert np.concatenate(parts).tolist() == rows.numbers.tolist()
        for part in parts:
            widest = table[part].max(axis=0).sum() if len(part) else 0
            assert device_tokens is None or len(part) * widest <= device_tokens


def test_no_more_pieces_than_needed() -> None:
    lengths = np.array([[5, 5]] * 12)
    assert pieces(lengths, None, 1) == [(0, 12)]
    assert pieces(lengths, 120, 1) == [(0, 12)]
    assert pieces(lengths, 119, 1) == [(0, 6), (6, 12)]
    assert len(pieces(lengths, 119, 4)) == 4
    assert len(pieces(lengths, 20, 4)) == 8
    assert pieces(lengths[:1], 10, 3) == [(0, 0), (0, 0), (0, 1)]


def test_pieces_have_like_numbers_of_tokens() -> None:
    lengths = np.array([[5, 5]] * 20 + [[5, 15]] * 10)
    assert pieces(lengths, None, 2) == [(0, 20), (20, 30)]
    random = np.sort(np.random.default_rng(0).integers(5, 30, (200, 2)), axis=0)
    shares = [int(random[a:b].sum()) for a, b in pieces(random, None, 8)]
    assert max(shares) - min(shares) <= 2 * random.sum(axis=1).max()


def test_many_pieces_are_found_at_once() -> None:
    lengths = np.full((20_000, 2), 20)
    found = pieces(lengths, 400, 2)
    assert len(found) == 2000
    assert all(b - a == 10 for a, b in found)


def test_a_row_and_its_repetition_differ_in_their_places() -> None:
    plan = Plan(np.full(10, 5), np.full(10, 5), 1000, 1, repetitions=[(10, 2.5)])
    steps = [plan.step(step) for step in range(2 * len(plan))]
    assert max(Counter(steps[0].numbers.tolist()).values()) > 1
    assert all(len(set(step.row_keys.tolist())) == len(step.row_keys) for step in steps)


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
    assert [rows.numbers.tolist() for rows in sampler] == [rows.tolist() for rows in steps[place:]]
    assert len(sampler) == len(fresh)


def test_seeking_shuffles_one_epoch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of([(3, 4), (5, 6)] * 50)
    sorts = []
    argsort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda *a, **k: sorts.append(1) or argsort(*a, **k))
    plan.rows(1000 * len(plan) + 3)
    assert len(sorts) == 1


def test_like_lengths_go_together() -> None:
    random = np.random.default_rng(0)
    source = random.integers(4, 30, 5000)
    target = np.clip(source + random.integers(-4, 8, 5000), 3, None)
    plan = Plan(source, target, 2048, 1)
    padded = sum(
        len(rows) * (source[rows].max() + target[rows].max()) for rows in (plan.rows(step) for step in range(len(plan)))
    )
    assert (source.sum() + target.sum()) / padded > 0.95


def test_rows_left_out_keep_the_numbers_of_the_others() -> None:
    source = np.array([3, 40, 5, 40, 7])
    plan = Plan(source, source, 30, 1, np.array([0, 2, 4]))
    assert sorted(np.concatenate([plan.rows(step) for step in range(len(plan))])) == [0, 2, 4]


def test_a_row_beyond_the_budget_is_refused() -> None:
    with pytest.raises(InputError, match=r"90 .*data\.batch_tokens 80"):
        plan_of([(3, 4), (45, 45)], 80)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0.05, 3.5)), min_size=1, max_size=4), st.integers(0, 9))
def test_a_mixture_holds_each_corpus_as_often_as_its_weight_says(parts: list[tuple[int, float]], seed: int) -> None:
    rows = sum(count for count, _ in parts)
    source, target = np.random.default_rng(seed).integers(2, 9, (2, rows))
    plan = Plan(source, target, 200, seed, repetitions=parts)
    epochs, before = 40, 0
    seen = Counter(row for step in range(epochs * len(plan)) for row in plan.rows(step).tolist())
    for step in range(2 * len(plan)):
        chosen = plan.rows(step)
        assert len(chosen) * (source[chosen].max() + target[chosen].max()) <= 200
    for count, times in parts:
        visits = [seen[row] for row in range(before, before + count)]
        turns = max(round((times - int(times)) * count), times < 1)
        assert sum(visits) == epochs * (int(times) * count + turns)
        if turns:  # no row is favoured: blocks differ by one row at most
            size = count / turns
            rest = [visit - epochs * int(times) for visit in visits]
            assert min(rest) >= epochs // np.ceil(size)
            assert max(rest) <= -(-epochs // np.floor(size))
        before += count


def test_the_epochs_of_a_mixture_are_equally_long_and_take_turns() -> None:
    plan = Plan(np.full(100, 5), np.full(100, 5), 50, 1, repetitions=[(90, 0.1), (10, 1.0)])
    epochs = [np.concatenate([plan.rows(e * len(plan) + s) for s in range(len(plan))]) for e in range(10)]
    assert [len(epoch) for epoch in epochs] == [19] * 10
    assert sorted(np.concatenate([epoch[epoch < 90] for epoch in epochs])) == list(range(90))
    assert all(set(a) != set(b) for a, b in pairwise(epochs))


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_evaluation_scores_every_row_once(rows: int, devices: int) -> None:
    lengths = np.arange(rows) % 4 + 1
    shares = [evaluation_batches(lengths, 2, rank, devices) for rank in range(devices)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(row for share in shares for batch in share for row in batch) == list(range(rows))
    alone = {tuple(batch) for batch in evaluation_batches(lengths, 2)}
    assert {tuple(batch) for share in shares for batch in share if len(batch)} == alone


def test_labelled_rows_go_together_by_words_not_by_what_spells_them() -> None:
    ids, labels = ([list(range(size)) for size in sizes] for sizes in ([9, 30, 12, 31], [3, 2, 3, 2]))
    sides = Ragged.of(ids), Ragged.of(labels)
    aligned = RowFormat(source_end=False, target_ends=False, aligned=True)
    labelled = Split(Texts((), ()), *sides, 512, aligned)
    plan = Plan(*labelled.grouping_lengths(), 70, 1)
    assert sorted(sorted(plan.rows(step)) for step in range(len(plan))) == [[0, 2], [1, 3]]
    translated = Split(Texts((), ()), *sides, 512)
    assert translated.grouping_lengths()[0].tolist() == translated.source_lengths().tolist()
