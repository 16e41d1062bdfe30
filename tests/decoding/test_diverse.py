"""Groups of a beam: as algorithm 1 of Vijayakumar et al. 2016 written down once more, and different from each other."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.decoding.beam import beam_search
from seq2seq.decoding.diverse import Diversity, ranked
from seq2seq.decoding.hypotheses import Hypothesis
from tests.decoding.chain import BEGIN, END, SIZE, Chain, Rows


def searched(chain: Chain, limit: int, size: int, groups: int, strength: float) -> list[list[Hypothesis]]:
    grow = Diversity(groups, strength).advance if groups > 1 else None
    limits = torch.tensor([limit, max(1, limit - 1), 1])
    found = beam_search(chain.step, Rows(torch.arange(3)), limits, BEGIN, END, size, 0.0, grow=grow)
    return [ranked(row) for row in found]


def written_down(
    chain: Chain, source: int, limit: int, size: int, groups: int, strength: float
) -> dict[tuple[int, ...], float]:
    """All that ends, group by group with plain lists; the best of it is found before a search may end early."""
    table, each = chain.table[source], size // groups
    living: list[list[tuple[float, tuple[int, ...]]]] = [[(0.0, ())] for _ in range(groups)]
    done: list[list[tuple[float, tuple[int, ...]]]] = [[] for _ in range(groups)]
    for position in range(limit):
        taken = [0.0] * SIZE
        for group in range(groups):
            ways = []
            for total, tokens in living[group]:
                for token in [END] if position + 1 == limit else range(SIZE):
                    score = float(table[tokens[-1] if tokens else BEGIN, token])
                    ways.append((total + score - strength * taken[token], total + score, tokens, token))
            ways = sorted(ways, reverse=True)[: 2 * each]
            done[group] += [(total, tokens) for _, total, tokens, token in ways if token == END]
            chosen = [way for way in ways if way[3] != END][:each]
            living[group] = [(total, (*tokens, token)) for _, total, tokens, token in chosen]
            for *_, token in chosen:
                taken[token] += 1
    return {tokens: total for total, tokens in itertools.chain.from_iterable(done)}


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.sampled_from([(4, 2), (6, 3), (3, 3), (4, 1)]),
    st.sampled_from([0.0, 0.7, 20.0]),
)
def test_it_is_the_algorithm_of_the_paper(seed: int, limit: int, sizes: tuple[int, int], strength: float) -> None:
    chain = Chain(seed)
    for source, row in enumerate(searched(chain, limit, *sizes, strength)):
        most = (limit, max(1, limit - 1), 1)[source]
        expected = written_down(chain, source, most, *sizes, strength)
        kept = {tuple(one.tokens): one.score for one in row}
        assert len(kept) == len(row), "each once"
        best = max(expected.values())
        assert row[0].score == pytest.approx(best, abs=1e-4)
        for tokens, score in kept.items():
            path = [BEGIN, *tokens, END]
            assert score == pytest.approx(
                sum(float(chain.table[source, a, b]) for a, b in itertools.pairwise(path)), abs=1e-4
            )
            assert tokens in expected


def test_groups_begin_differently_where_the_penalty_is_large() -> None:
    chain = Chain(3)
    chain.table[..., END] = -30.0
    chain.table[:, BEGIN, END] = -300.0
    for row in searched(chain, 5, 3, 3, 50.0):
        firsts = [one.tokens[0] for one in row if one.tokens]
        assert len(firsts) in (0, 3)
        assert len(set(firsts)) == len(firsts)
