"""Words to include and to avoid: a wide beam is exhaustive search among what is allowed; narrow ones keep to it too."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.decoding.beam import beam_search
from seq2seq.decoding.constraints import LEAST, Constraints
from seq2seq.decoding.greedy import greedy
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.decoding.lexical import PhraseBanks, avoiding, spotted
from seq2seq.decoding.sampling import Draw, sample
from tests.decoding.chain import BEGIN, END, Chain, Rows

CPU = torch.device("cpu")
FREE = (0, 2, 3)
PARTS = ["", " ", "a", " ba"]
"""What the tokens of the chain write, the end a blank."""
PHRASES = st.lists(
    st.lists(st.sampled_from(FREE), min_size=1, max_size=3).map(tuple), min_size=1, max_size=2, unique=True
)


def all_of(chain: Chain, source: int, limit: int) -> dict[tuple[int, ...], float]:
    """Every hypothesis with its log-probability over its length."""
    found = {}
    for length in range(limit):
        for tokens in itertools.product(FREE, repeat=length):
            scores = [float(chain.table[source, a, b]) for a, b in itertools.pairwise([BEGIN, *tokens, END])]
            found[tokens] = sum(scores) / len(scores)
    return found


def holds(tokens: tuple[int, ...], phrase: tuple[int, ...]) -> bool:
    return any(tokens[at : at + len(phrase)] == phrase for at in range(len(tokens)))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), PHRASES)
def test_a_wide_beam_finds_all_that_hold_the_phrases(seed: int, limit: int, phrases: list[tuple[int, ...]]) -> None:
    chain, limits = Chain(seed), torch.tensor([limit, max(1, limit - 1), 1])
    grow = PhraseBanks(phrases).advance
    found = beam_search(chain.step, Rows(torch.arange(3)), limits, BEGIN, END, 60, 1.0, grow=grow)
    for source, row in enumerate(found):
        every = all_of(chain, source, int(limits[source]))
        expected = {tokens: score for tokens, score in every.items() if all(holds(tokens, one) for one in phrases)}
        kept = {tuple(one.tokens): one.score for one in row if min(one.token_scores) > LEAST}
        assert kept == pytest.approx(expected, abs=1e-4)
        scores = [one.score for one in row]
        assert scores == sorted(scores, reverse=True)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), PHRASES)
def test_a_narrow_beam_writes_the_phrases_too(seed: int, size: int, phrases: list[tuple[int, ...]]) -> None:
    chain, tokens = Chain(seed), sum(map(len, phrases))
    chain.table[..., phrases[0][0]] -= 9.0  # nothing that would be written without being asked for
    together = beam_search(
        chain.step, Rows(torch.arange(3)), torch.tensor([9, 7, 8]), BEGIN, END, size, grow=PhraseBanks(phrases).advance
    )
    for source, limit in enumerate((9, 7, 8)):
        for one in together[source][:1]:
            if size > tokens:  # a place for each bank
                assert all(holds(tuple(one.tokens), phrase) for phrase in phrases)
            scores = [float(chain.table[source, a, b]) for a, b in itertools.pairwise([BEGIN, *one.tokens, END])]
            if min(one.token_scores) > LEAST:
                assert one.token_scores == pytest.approx(scores, abs=1e-5)
        alone = beam_search(
            chain.step,
            Rows(torch.tensor([source])),
            torch.tensor([limit]),
            BEGIN,
            END,
            size,
            grow=PhraseBanks(phrases).advance,
        )
        assert alone[0] == together[source]


def avoided(
    chain: Chain, limit: int, patterns: list[str], search: str, rules: Constraints | None = None
) -> list[list[Hypothesis]]:
    texts = [spotted(pattern, PARTS, CPU) for pattern in patterns]
    step, state = avoiding(chain.step, Rows(torch.arange(3)), 3, texts, BEGIN, END)
    task = step, state, torch.full((3,), limit), BEGIN, END
    if search == "beam":
        return beam_search(*task, 60, 1.0, rules)
    return greedy(*task, 1.0, rules) if search == "greedy" else sample(*task, 4, Draw(), torch.arange(3), rules)


@pytest.mark.parametrize("pattern", ["aab", "abab", "abaab", "a", " ab ", " "])
def test_a_text_is_spotted_wherever_it_is(pattern: str) -> None:
    automaton = spotted(pattern, [*"ab ", "ab", "aa", "ba"], CPU)
    for tokens in itertools.product(range(6), repeat=4):
        text, seen = " ", automaton.first
        for token in tokens:
            if automaton.completes[seen, token]:
                break
            text, seen = text + [*"ab ", "ab", "aa", "ba"][token], int(automaton.after[seen, token])
        else:
            assert pattern not in text[1:]
            continue
        assert pattern in text + [*"ab ", "ab", "aa", "ba"][token]
        assert pattern not in text[1:]


PATTERNS = st.lists(st.text("ab ", min_size=1, max_size=5), min_size=1, max_size=2)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), PATTERNS)
def test_what_is_avoided_is_in_no_text_and_all_else_is_found(seed: int, limit: int, patterns: list[str]) -> None:
    chain = Chain(seed)
    for source, row in enumerate(avoided(chain, limit, patterns, "beam")):
        texts = {tokens: " " + "".join(PARTS[token] for token in tokens) for tokens in all_of(chain, source, limit)}
        legal = {tokens for tokens, text in texts.items() if not any(one in text + " " for one in patterns)}
        legal -= {
            tokens for tokens in legal if any(one in texts[tokens[:n]] for n in range(len(tokens)) for one in patterns)
        }
        kept = {tuple(one.tokens): one.score for one in row if min(one.token_scores) > LEAST}
        assert kept == pytest.approx({tokens: all_of(chain, source, limit)[tokens] for tokens in legal}, abs=1e-4)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), PATTERNS, st.sampled_from(["greedy", "drawn"]))
def test_every_search_avoids(seed: int, patterns: list[str], search: str) -> None:
    for row in avoided(Chain(seed), 8, patterns, search):
        for one in row:
            text = " " + "".join(PARTS[token] for token in one.tokens) + " "
            assert min(one.token_scores) <= LEAST or not any(pattern in text for pattern in patterns)


def test_where_all_is_to_be_avoided_a_hypothesis_ends_as_a_last_resort() -> None:
    for search in ("beam", "greedy", "drawn"):
        for row in avoided(Chain(1), 6, ["a", " "], search):  # its end writes a blank
            assert row
            assert min(row[0].token_scores) <= LEAST
