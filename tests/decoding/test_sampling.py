"""Sampling: tokens come with their probability, are cut exactly, and depend on nothing but seed and row key."""

import itertools

import numpy as np
import pytest
import torch

from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.sampling import Draw, drawn, sample, uniform
from tests.decoding.chain import BEGIN, END, Chain, Rows

SHARES = torch.tensor([0.05, 0.5, 0.15, 0.3])
NUMBERS = torch.from_numpy(np.random.default_rng(3).random((1, 20_000), dtype=np.float32))


def frequencies(draw: Draw) -> torch.Tensor:
    tokens = drawn(SHARES.log().expand(1, NUMBERS.shape[1], 4), NUMBERS, draw)
    return torch.bincount(tokens.flatten(), minlength=4) / tokens.numel()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_probabilities(temperature: float) -> None:
    expected = (SHARES.log() / temperature).softmax(0)
    torch.testing.assert_close(frequencies(Draw(temperature)), expected, atol=0.012, rtol=0)  # 3.4 deviations


@pytest.mark.parametrize(
    ("draw", "kept"),
    [
        (Draw(top_k=1), [1]),
        (Draw(top_k=2), [1, 3]),
        (Draw(top_k=9), [0, 1, 2, 3]),
        (Draw(top_p=0.5), [1]),  # the first alone has half of it
        (Draw(top_p=0.51), [1, 3]),
        (Draw(top_p=0.79), [1, 3]),
        (Draw(top_p=0.81), [1, 3, 2]),
        (Draw(top_p=1.0), [0, 1, 2, 3]),
        (Draw(top_p=1e-9), [1]),
        (Draw(top_k=3, top_p=0.7), [1, 3]),  # half is 0.53 of what three tokens have together
        (Draw(temperature=0.2, top_p=0.9), [1]),  # of what the temperature has made of them
    ],
)
def test_what_is_cut_never_comes_and_the_rest_keeps_its_proportions(draw: Draw, kept: list[int]) -> None:
    found = frequencies(draw)
    assert sorted(found.nonzero()[:, 0].tolist()) == sorted(kept)
    expected = torch.zeros(4)
    expected[kept] = (SHARES.log() / draw.temperature).softmax(0)[kept]
    torch.testing.assert_close(found, expected / expected.sum(), atol=0.012, rtol=0)


def test_the_largest_number_draws_a_token_that_is_left() -> None:
    """Rounded to 32 bits it may be 1."""
    token = drawn(SHARES.log().view(1, 1, 4), torch.ones(1, 1), Draw(top_k=2))
    assert token.tolist() == [[3]]


def test_the_probability_of_a_whole_hypothesis() -> None:
    """Of a chain of tokens, over many rows, each drawn by itself."""
    chain, rows = Chain(5, 1), 4000
    chain.table[:, :, BEGIN] = -torch.inf
    chain.table = chain.table.log_softmax(-1)
    chain.table = chain.table.expand(rows, -1, -1)
    limits = torch.full((rows,), 3)
    found = sample(chain.step, Rows(torch.arange(rows)), limits, BEGIN, END, 1, Draw(), torch.arange(rows))
    counts: dict[tuple[int, ...], int] = {}
    for row in found:
        counts[tuple(row[0].tokens)] = counts.get(tuple(row[0].tokens), 0) + 1
    table = chain.table[0].exp()
    for first in (2, 3):
        for second in (2, 3):
            expected = float(table[BEGIN, first] * table[first, second])  # the end is forced after them
            assert counts.get((first, second), 0) / rows == pytest.approx(expected, abs=0.028)
        assert counts.get((first,), 0) / rows == pytest.approx(
            float(table[BEGIN, first] * table[first, END]), abs=0.028
        )
    assert counts.get((), 0) / rows == pytest.approx(float(table[BEGIN, END]), abs=0.028)


def draws(row_keys: list[int], count: int, seed: int = 1) -> list[list[list[int]]]:
    """What is drawn for sources that differ, by their row keys."""
    chain, numbers = Chain(1, 6), torch.tensor(row_keys)
    chain.table[:, :, END] -= 2  # long ones
    found = sample(
        chain.step, Rows(numbers), torch.full((len(row_keys),), 9), BEGIN, END, count, Draw(seed=seed), numbers
    )
    return [[one.tokens for one in row] for row in found]


def test_neighbours_never_matter() -> None:
    together = draws([0, 1, 2, 3, 4, 5], 3)
    assert [draws([key], 3)[0] for key in range(6)] == together
    assert draws([4, 1], 3) == [together[4], together[1]]
    assert [row[:2] for row in together] == draws([0, 1, 2, 3, 4, 5], 2), "one more changes none before it"


def test_another_seed_place_or_number_draws_otherwise() -> None:
    assert draws([0, 1, 2], 2) == draws([0, 1, 2], 2)
    assert draws([0, 1, 2], 2) != draws([0, 1, 2], 2, seed=2)
    numbers = uniform(1, torch.tensor([0, 1]), 2, 5)
    assert len({tuple(row) for row in numbers.flatten(0, 1).tolist()}) == 4
    assert uniform(1, torch.tensor([1]), 2, 9)[0, :, :5].equal(numbers[1]), "more steps change none before them"


def test_rules_and_limits_are_kept_and_scores_are_the_networks_own() -> None:
    chain = Chain(2)
    limits = torch.tensor([6, 1, 2])  # the last ends before its rule would let it
    rules = Constraints(torch.tensor([3, 0, 3]))
    found = sample(chain.step, Rows(torch.arange(3)), limits, BEGIN, END, 20, Draw(0.5), torch.arange(3), rules)
    for source, row in enumerate(found):
        for one in row:
            most = int(limits[source]) - 1
            assert min(int(rules.least[source]), most) <= len(one.tokens) <= most
            path = [BEGIN, *one.tokens, END]
            scores = [float(chain.table[source, a, b]) for a, b in itertools.pairwise(path)]
            assert one.token_scores == pytest.approx(scores, abs=1e-6)
            assert one.score == pytest.approx(sum(scores) / len(scores), abs=1e-6)
    assert sample(chain.step, Rows(torch.arange(0)), limits[:0], BEGIN, END, 2, Draw(), limits[:0]) == []
