"""Search: a wide beam is exhaustive search, one hypothesis is greedy search, neighbours do not matter."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seq2seq.decoding import hypotheses
from seq2seq.decoding.beam import beam_search
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.greedy import greedy
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.decoding.sampling import Draw, sample
from tests.decoding.chain import BEGIN, END, SIZE, Chain, Rows


def exhaustive(table: Tensor, limit: int, penalty: float, offset: float = 0) -> list[tuple[float, tuple[int, ...]]]:
    """Every sequence of at most `limit` tokens with its score, best first."""
    found = []
    for length in range(limit):
        for tokens in itertools.product([token for token in range(SIZE) if token != END], repeat=length):
            path = [BEGIN, *tokens, END]
            total = sum(float(table[a, b]) for a, b in itertools.pairwise(path))
            found.append((total / ((offset + length + 1) / (offset + 1)) ** penalty, tokens))
    return sorted(found, reverse=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.6, 1.0]), st.integers(1, 4), st.sampled_from([0.0, 5.0]))
def test_wide_beam_is_exhaustive(seed: int, penalty: float, limit: int, offset: float) -> None:
    chain, limits = Chain(seed), torch.tensor([limit, 1, max(1, limit - 1)])
    found = beam_search(chain.step, Rows(torch.arange(3)), limits, BEGIN, END, 60, penalty, None, offset)
    for source in range(3):
        expected = exhaustive(chain.table[source], int(limits[source]), penalty, offset)[:60]
        assert [one.score for one in found[source]] == pytest.approx([score for score, _ in expected], abs=1e-5)
        scores = {tokens: score for score, tokens in expected}  # equal scores may stand in any order
        assert {tuple(one.tokens): one.score for one in found[source]} == pytest.approx(scores, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_greedy_takes_the_likeliest_token(seed: int, limit: int) -> None:
    chain, limits = Chain(seed), torch.tensor([limit, 2, 1])
    for source, (one,) in enumerate(greedy(chain.step, Rows(torch.arange(3)), limits, BEGIN, END)):
        last, tokens, scores = BEGIN, [], []
        for position in range(int(limits[source])):
            row = chain.table[source, last]
            last = END if position + 1 == limits[source] else int(row.argmax())
            scores.append(float(row[last]))
            if last == END:
                break
            tokens.append(last)
        assert one.tokens == tokens
        assert one.token_scores == pytest.approx(scores)
        assert one.score == pytest.approx(sum(scores) / len(scores))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_a_source_does_not_notice_its_neighbours(seed: int, size: int) -> None:
    chain = Chain(seed)
    together = beam_search(chain.step, Rows(torch.arange(3)), torch.tensor([7, 4, 5]), BEGIN, END, size)
    for source, limit in enumerate((7, 4, 5)):
        alone = beam_search(chain.step, Rows(torch.tensor([source])), torch.tensor([limit]), BEGIN, END, size)[0]
        assert together[source] == alone


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([0.0, 1.0]))
def test_hypotheses_are_ranked_distinct_and_add_up(seed: int, size: int, penalty: float) -> None:
    chain = Chain(seed)
    for found in beam_search(chain.step, Rows(torch.arange(3)), torch.tensor([6, 6, 3]), BEGIN, END, size, penalty):
        assert 1 <= len(found) <= size
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert len({tuple(one.tokens) for one in found}) == len(found)
        for one in found:
            assert one.score == pytest.approx(sum(one.token_scores) / len(one.token_scores) ** penalty, abs=1e-5)
            assert END not in one.tokens


def test_a_wider_beam_finds_no_worse_a_hypothesis_on_average() -> None:
    def mean_best(size: int) -> float:
        best = []
        for seed in range(60):
            found = beam_search(Chain(seed).step, Rows(torch.arange(3)), torch.tensor([5, 5, 5]), BEGIN, END, size, 0.0)
            best += [row[0].score for row in found]
        return math.fsum(best) / len(best)

    assert mean_best(1) < mean_best(2) <= mean_best(4) + 1e-9


@pytest.mark.parametrize("search", ["greedy", "beam", "sample"])
def test_looking_less_often_changes_nothing(search: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(every: int, seed: int) -> list[list[Hypothesis]]:
        monkeypatch.setitem(hypotheses.CHECK_EVERY, "cpu", every)
        task = Chain(seed).step, Rows(torch.arange(3)), torch.tensor([9, 7, 8]), BEGIN, END
        rules = Constraints(torch.tensor([2, 0, 1]), 2)
        if search == "greedy":
            return greedy(*task, 1.0, rules)
        if search == "beam":
            return beam_search(*task, 2, 1.0, rules)
        return sample(*task, 2, Draw(seed=seed), torch.arange(3), rules)

    for seed in range(40):
        assert found(1, seed) == found(3, seed) == found(8, seed)


def test_searching_under_autocast_keeps_the_weights_that_were_cast() -> None:
    modes = []

    def step(tokens: Tensor, state: Rows) -> tuple[Tensor, Rows]:
        modes.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        return Chain(0).step(tokens, state)

    for cast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            greedy(step, Rows(torch.arange(1)), torch.tensor([1]), BEGIN, END)
    assert modes == [(True, False), (False, False)]


def test_greedy_scores_follow_the_length_penalty() -> None:
    limits = torch.tensor([4, 4, 4])
    for penalty, offset in ((0.0, 0.0), (0.6, 0.0), (0.6, 5.0)):
        for (one,) in greedy(Chain(1).step, Rows(torch.arange(3)), limits, BEGIN, END, penalty, None, offset):
            divided = ((offset + len(one.token_scores)) / (offset + 1)) ** penalty
            assert one.score == pytest.approx(sum(one.token_scores) / divided)


def test_no_sources() -> None:
    none = torch.zeros(0, dtype=torch.long)
    assert beam_search(Chain(0).step, Rows(none), none, BEGIN, END, 3) == []
    assert greedy(Chain(0).step, Rows(none), none, BEGIN, END) == []


def test_hypothesis_fields() -> None:
    (found,) = greedy(Chain(3).step, Rows(torch.tensor([0])), torch.tensor([1]), BEGIN, END)
    assert isinstance(found[0], Hypothesis)
    assert found[0].tokens == []


@pytest.mark.parametrize("search", [greedy, beam_search])
def test_a_hypothesis_may_end_at_its_least_length_and_not_before(search: Callable[..., list[list[Hypothesis]]]) -> None:
    chain, least = Chain(0, 4), torch.tensor([0, 1, 2, 5])
    chain.table[..., END] = 9.0  # it ends as soon as it may
    limits, width = torch.full((4,), 9), [] if search is greedy else [3]
    found = search(chain.step, Rows(torch.arange(4)), limits, BEGIN, END, *width, 1.0, Constraints(least))
    assert [len(row[0].tokens) for row in found] == least.tolist()
