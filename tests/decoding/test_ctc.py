"""Best path and prefix beam search: against all paths of tiny cases."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from seq2seq.decoding.ctc import best_path, prefix_beam_search, search
from seq2seq.decoding.guide import Guide


def written(path: tuple[int, ...]) -> tuple[int, ...]:
    """What a path writes, by the definition."""
    return tuple(number for number, _ in itertools.groupby(path) if number)


def all_outputs(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of each output, summed over its paths."""
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        sums[written(path)] += float(np.exp(log_probs[np.arange(len(path)), path].sum()))
    return sums


def frames(seed: int, steps: int = 5, classes: int = 4) -> np.ndarray:
    """(steps, classes) log-probabilities."""
    values = np.random.default_rng(seed).normal(size=(steps, classes)) * 1.5
    result: np.ndarray = values - np.log(np.exp(values).sum(-1, keepdims=True))
    return result


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_that_holds_all_prefixes_is_exhaustive(seed: int) -> None:
    log_probs = frames(seed)
    expected = all_outputs(log_probs)
    found = prefix_beam_search(log_probs, 2000)
    assert {one.prefix for one in found if one.log_prob > -np.inf} == set(expected)
    for one in found:
        assert np.isclose(np.exp(one.log_prob), expected.get(one.prefix, 0.0), rtol=1e-9)
    assert [one.log_prob for one in found] == sorted((one.log_prob for one in found), reverse=True)


def bigrams(seed: int, classes: int = 4) -> Guide:
    """A guide that knows the class before, and forbids some pairs and ends."""
    table = np.random.default_rng(seed).normal(size=(classes, classes))
    table[table > 1.2] = -np.inf
    return lambda prefixes: [table[prefix[-1] if prefix else 0] for prefix in prefixes]


@pytest.mark.parametrize("seed", range(6))
def test_a_guide_is_added_to_every_output(seed: int) -> None:
    """Shallow fusion against the score of all outputs; what is forbidden is never written."""
    log_probs, guide = frames(seed), bigrams(seed)
    scores = {}
    for prefix, probability in all_outputs(log_probs).items():
        steps = [guide([prefix[:size]])[0] for size in range(len(prefix) + 1)]
        worth = sum(float(more[number]) for more, number in zip(steps, (*prefix, 0), strict=True))
        if worth > -np.inf:
            scores[prefix] = (np.log(probability) + worth, worth)
    found = search(log_probs, 2000, guide)
    assert [prefix for prefix, _ in found] == sorted(scores, key=lambda prefix: -scores[prefix][0])
    assert all(np.isclose(extra, scores[prefix][1]) for prefix, extra in found)


@pytest.mark.parametrize("seed", range(10))
def test_a_guide_that_adds_nothing_changes_nothing(seed: int) -> None:
    log_probs = frames(seed, 7, 9)
    found = search(log_probs, 3, lambda prefixes: [np.zeros(9)] * len(prefixes))
    assert found == search(log_probs, 3)


@pytest.mark.parametrize("seed", range(30))
def test_leaving_out_unlikely_classes_changes_nothing(seed: int) -> None:
    """Only the likeliest extensions are looked at: the same beam as with all of them."""
    log_probs = frames(seed, 7, 9)
    for size in (2, 3, 5):
        assert [one.prefix for one in prefix_beam_search(log_probs, size)] == with_all_classes(log_probs, size)


def with_all_classes(log_probs: np.ndarray, size: int) -> list[tuple[int, ...]]:
    """The search as its paper writes it, in plain probabilities."""
    beam = {(): (1.0, 0.0)}
    for frame in np.exp(log_probs):
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, other) in beam.items():
            grown[prefix][0] += (blank + other) * frame[0]
            for number in range(1, len(frame)):
                if prefix and prefix[-1] == number:
                    grown[prefix][1] += other * frame[number]
                    grown[(*prefix, number)][1] += blank * frame[number]
                else:
                    grown[(*prefix, number)][1] += (blank + other) * frame[number]
        best = sorted(grown, key=lambda prefix: -sum(grown[prefix]))[:size]
        beam = {prefix: (grown[prefix][0], grown[prefix][1]) for prefix in best}
    return list(beam)


def test_the_best_path_may_lose_against_the_best_output() -> None:
    """Two paths write 1, together more probable than the single one of blanks (Graves et al. 2006, sec. 3.2)."""
    log_probs = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    assert search(log_probs, 1) == [((), 0.0)]
    assert search(log_probs, 2)[0] == ((1,), 0.0)


def test_best_path_merges_repetitions_and_drops_blanks() -> None:
    one_hot = np.log(np.eye(3)[[0, 1, 1, 0, 1, 2, 2, 0]] * 0.97 + 0.01)
    assert best_path(one_hot) == (1, 1, 2)
    assert best_path(one_hot[:1]) == ()
