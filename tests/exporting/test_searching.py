"""The search inside a file finds what the project's own search finds; here with Python's loop in place of the graph's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seq2seq.decoding.beam import beam_search
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.greedy import greedy
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.decoding.sampling import Draw, sample, uniform
from seq2seq.exporting import searching
from seq2seq.exporting.searching import Carried, Chances, Found, Rules, Tensors
from tests.decoding.chain import BEGIN, END, Rows

VOCABULARY = 9
SOURCES = 4
STEPS = 12
OFFSET = 3.0


def python_loop(going: Callable[..., Tensor], body: Callable[..., Tensors], carried: Tensors) -> Tensors:
    while going(*carried):
        carried = body(*carried)
    return carried


@pytest.fixture(autouse=True)
def loops_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "loop", python_loop)


def table(seed: int) -> Tensor:
    """Of each source at each step; the same at all steps would make hypotheses that are as good as each other.

    The last source, of the highest limit, never ends by itself.
    """
    random = torch.Generator().manual_seed(seed)
    numbers = (1.5 * torch.randn(SOURCES * STEPS, VOCABULARY, VOCABULARY, generator=random)).log_softmax(-1)
    numbers[SOURCES - 1 :: SOURCES, :, END] = -50_000.0
    return numbers


def in_both(seed: int, size: int, penalty: float, least: int, no_repeat: int, draw: Draw | None) -> tuple[Any, Found]:
    numbers, limits = table(seed), torch.tensor([9, 1, 5, STEPS])
    rules = Constraints(torch.full_like(limits, least), no_repeat) if least or no_repeat else None
    keys, begin = torch.arange(SOURCES), torch.full((SOURCES,), BEGIN)

    def ours(tokens: Tensor, state: Rows) -> tuple[Tensor, Rows]:
        return numbers[state.numbers.view(tokens.shape), tokens].clone(), Rows(state.numbers + SOURCES)

    def theirs(tokens: Tensor, time: Tensor, state: Tensors) -> tuple[Tensor, Tensors]:
        return numbers[state[0].view(tokens.shape), tokens].clone(), (state[0] + SOURCES,)

    start, carried = Rows(torch.arange(SOURCES)), Carried((torch.arange(SOURCES),), [0])
    kept = Rules(limits, torch.tensor([least]), END, no_repeat)
    if draw is not None:
        want = sample(ours, start, limits, BEGIN, END, size, draw, keys, rules)
        given = uniform(draw.seed, keys, size, int(limits.max()))
        rest = (draw.temperature, draw.top_k or VOCABULARY, draw.top_p or 2.0)
        return want, searching.sample(theirs, carried, kept, begin, Chances(given, *map(torch.tensor, rest)))
    if size == 1:
        want = greedy(ours, start, limits, BEGIN, END, penalty, rules, OFFSET)
    else:
        want = beam_search(ours, start, limits, BEGIN, END, size, penalty, rules, OFFSET)
    room = torch.zeros(size, int(limits.max()))
    return want, searching.beam_search(theirs, carried, kept, begin, room, torch.tensor(penalty), OFFSET)


def as_hypotheses(found: Found) -> list[list[Hypothesis]]:
    return [
        [
            Hypothesis(tokens[: length - 1], score, each[:length])
            for tokens, length, score, each in zip(*columns, strict=True)
            if score > -torch.inf
        ]
        for columns in zip(*(column.tolist() for column in found), strict=True)
    ]


@pytest.mark.parametrize("size", [1, 2, 4, 6])
@pytest.mark.parametrize(
    ("penalty", "least", "no_repeat"), [(1.0, 0, 0), (0.0, 0, 0), (0.6, 4, 0), (1.0, 11, 1), (1.0, 0, 2)]
)
@pytest.mark.parametrize("draw", [None, Draw(0.8), Draw(1.3, top_k=4, top_p=0.8)])
def test_it_finds_the_same(size: int, penalty: float, least: int, no_repeat: int, draw: Draw | None) -> None:
    for seed in range(2):
        want, found = in_both(seed, size, penalty, least, no_repeat, draw)
        for ours, theirs in zip(want, as_hypotheses(found), strict=True):
            assert [one.tokens for one in ours] == [one.tokens for one in theirs]
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(
                    [one.score, *one.token_scores], [other.score, *other.token_scores], rtol=1e-5
                )


def test_a_state_is_repeated_and_selected_along_its_own_dimension() -> None:
    layers, flat = torch.arange(6.0).view(2, 3, 1), torch.arange(3.0).view(3, 1)
    state = Carried((layers, flat), [1, 0])
    repeated = state.repeated(2)
    assert repeated[0][:, :, 0].tolist() == [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]
    assert state.selected(repeated, torch.tensor([5, 0]))[1][:, 0].tolist() == [2, 0]
