"""Constraints and limits, random ones: a wide beam is exhaustive search, greedy and sampling keep to the same rules."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seq2seq.decoding.beam import beam_search
from seq2seq.decoding.constraints import LEAST, Constraints
from seq2seq.decoding.greedy import greedy
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.decoding.sampling import Draw, sample
from tests.decoding.chain import BEGIN, END, SIZE, Chain, Rows

RULES = st.tuples(
    st.integers(0, 10_000),  # the network
    st.integers(1, 5),  # the longest limit
    st.integers(0, 6),  # the fewest tokens
    st.integers(0, 2),  # no_repeat
    st.lists(st.sampled_from([0, 2, 3]), max_size=3),  # tokens before
)


def allowed(tokens: list[int], limit: int, rules: Constraints, source: int) -> list[int]:
    """What may follow, the rules written down once more."""
    if len(tokens) + 1 == limit:
        return [END]
    seen, size = [*rules.before, *tokens], rules.no_repeat
    grams = {tuple(seen[at : at + size]) for at in range(len(seen) - size + 1)} if size else set()
    free = [token for token in range(SIZE) if token != END]
    free = [token for token in free if not size or (*seen[len(seen) - size + 1 :], token)[-size:] not in grams]
    return free + [END] * (len(tokens) >= int(rules.least[source]) or not free)


def ways(limit: int, rules: Constraints, source: int, tokens: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every hypothesis that the rules allow."""
    for token in allowed([*tokens], limit, rules, source):
        if token == END:
            yield tokens
        else:
            yield from ways(limit, rules, source, (*tokens, token))


def scores_of(table: Tensor, tokens: tuple[int, ...]) -> list[float]:
    return [float(table[a, b]) for a, b in itertools.pairwise([BEGIN, *tokens, END])]


def made(case: tuple[int, int, int, int, list[int]]) -> tuple[Chain, Tensor, Constraints]:
    """A network, three limits, of which the least tokens leave one, and rules."""
    seed, longest, least, size, before = case
    limits = torch.tensor([longest, 1, max(1, longest - 1)])
    return Chain(seed), limits, Constraints((limits - 1).clamp(max=least), size, tuple(before))


@settings(max_examples=60, deadline=None)
@given(RULES, st.sampled_from([0.0, 1.0]))
def test_a_wide_beam_finds_all_that_the_rules_allow(case: tuple[int, int, int, int, list[int]], penalty: float) -> None:
    chain, limits, rules = made(case)
    found = beam_search(chain.step, Rows(torch.arange(3)), limits, BEGIN, END, 150, penalty, rules)
    for source in range(3):
        expected = {}
        for tokens in ways(int(limits[source]), rules, source):
            scores = scores_of(chain.table[source], tokens)
            expected[tokens] = sum(scores) / len(scores) ** penalty
        assert {tuple(one.tokens): one.score for one in found[source]} == pytest.approx(expected, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(RULES)
def test_greedy_takes_the_likeliest_that_is_allowed(case: tuple[int, int, int, int, list[int]]) -> None:
    chain, limits, rules = made(case)
    found = greedy(chain.step, Rows(torch.arange(3)), limits, BEGIN, END, 1.0, rules)
    for source, (one,) in enumerate(found):
        tokens: list[int] = []
        while True:
            row = chain.table[source, tokens[-1] if tokens else BEGIN]
            token = max(allowed(tokens, int(limits[source]), rules, source), key=lambda token: float(row[token]))
            if token == END:
                break
            tokens.append(token)
        assert one.tokens == tokens
        assert one.token_scores == pytest.approx(scores_of(chain.table[source], tuple(tokens)), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(RULES, st.sampled_from([Draw(), Draw(0.2), Draw(top_k=1), Draw(top_p=0.5)]))
def test_all_that_is_drawn_is_allowed(case: tuple[int, int, int, int, list[int]], draw: Draw) -> None:
    chain, limits, rules = made(case)
    found = sample(chain.step, Rows(torch.arange(3)), limits, BEGIN, END, 5, draw, torch.arange(3), rules)
    for source, row in enumerate(found):
        possible = set(ways(int(limits[source]), rules, source))
        assert all(tuple(one.tokens) in possible for one in row)


def searched(chain: Chain, limit: int, rules: Constraints | None) -> dict[str, list[list[Hypothesis]]]:
    arguments = (chain.step, Rows(torch.arange(3)), torch.full((3,), limit), BEGIN, END)
    return {
        "beam": beam_search(*arguments, 3, 1.0, rules),
        "greedy": greedy(*arguments, 1.0, rules),
        "drawn": sample(*arguments, 3, Draw(), torch.arange(3), rules),
    }


def test_where_nothing_is_left_a_hypothesis_ends() -> None:
    """Three tokens, none of them twice, but sixty are asked for."""
    for name, found in searched(Chain(4), 100, Constraints(torch.full((3,), 60), 1)).items():
        for one in itertools.chain.from_iterable(found):
            assert len(one.tokens) == len(set(one.tokens)) == 3, name
            assert one.score > LEAST


@pytest.mark.parametrize("rules", [None, Constraints(torch.full((3,), 60), 1)], ids=["limit", "rules"])
def test_an_end_without_probability_ends_too(rules: Constraints | None) -> None:
    """As sparse outputs have it; there is a hypothesis all the same, and its score is a number."""
    chain = Chain(4)
    chain.table[..., END] = -torch.inf
    for name, found in searched(chain, 6, rules).items():
        assert all(found), name
        for one in itertools.chain.from_iterable(found):
            assert len(one.tokens) == (5 if rules is None else 3), name
            assert -torch.inf < one.score < LEAST / 10
