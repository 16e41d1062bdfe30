"""Search where each step has probabilities of classes and of a blank, as seq2seq does it: no step waits for another.

Classes are numbers from 0, of which 0 is the blank (Graves et al. 2006).
"""

import math
from collections.abc import Sequence

import numpy as np

Prefix = tuple[int, ...]
"""Classes that have been written."""

Ends = tuple[float, float]
"""The log-probability of paths that end with a blank, and of those that end with a class."""

BLANK = 0
NEVER = -math.inf


def search(log_probs: np.ndarray, beam_size: int) -> list[tuple[Prefix, float]]:
    """The best outputs for steps (T, C), best first, with their log-probability over all paths.

    A beam of one takes the best path, a larger one searches prefixes.
    """
    if beam_size == 1:
        found = [best_path(log_probs)]
    else:
        found = [prefix for prefix, score in prefix_beam_search(log_probs, beam_size) if score > NEVER]
    scores = text_log_probs(log_probs, found)
    return sorted(zip(found, scores, strict=True), key=lambda one: -one[1])


def best_path(log_probs: np.ndarray) -> Prefix:
    """What the likeliest class of each step (T, C) makes together: repetitions merged, then blanks left out."""
    best = log_probs.argmax(-1)
    starts = np.ones(len(best), dtype=bool)
    starts[1:] = best[1:] != best[:-1]
    return tuple(best[starts & (best != BLANK)].tolist())


def added(one: float, other: float) -> float:
    """The logarithm of the sum of two probabilities."""
    high, low = (one, other) if one >= other else (other, one)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))


def prefix_beam_search(log_probs: np.ndarray, beam_size: int) -> list[tuple[Prefix, float]]:
    """The `beam_size` best outputs for steps (T, C), best first; all paths that have written the same are one
    hypothesis (Graves and Jaitly 2014, alg. 1)."""
    beam: dict[Prefix, Ends] = {(): (0.0, NEVER)}
    # Of further classes a hypothesis has `beam_size` better ones, none of which is its last.
    likely = np.argsort(-log_probs[:, 1:], axis=-1, kind="stable")[:, : beam_size + 1] + 1
    for step, classes in zip(log_probs.tolist(), likely.tolist(), strict=True):
        known: dict[Prefix, set[int]] = {}  # what leads from one hypothesis to another of the beam, however unlikely
        for prefix in beam:
            if prefix:
                known.setdefault(prefix[:-1], set()).add(prefix[-1])
        grown: dict[Prefix, Ends] = {}
        for prefix, (blank, other) in beam.items():
            total = added(blank, other)
            stays = grown.get(prefix, (NEVER, NEVER))
            repeated = other + step[prefix[-1]] if prefix else NEVER
            grown[prefix] = (added(stays[0], total + step[BLANK]), added(stays[1], repeated))
            for number in {*classes, *known.get(prefix, ())}:
                longer = (*prefix, number)
                before = blank if prefix and number == prefix[-1] else total
                ends = grown.get(longer, (NEVER, NEVER))
                grown[longer] = (ends[0], added(ends[1], before + step[number]))
        beam = dict(sorted(grown.items(), key=lambda item: (-added(*item[1]), item[0]))[:beam_size])
    return [(prefix, added(*ends)) for prefix, ends in beam.items()]


def text_log_probs(log_probs: np.ndarray, texts: Sequence[Prefix]) -> list[float]:
    """The log-probability of each text over all paths through the steps (T, C) (Graves et al. 2006, eq. 6 to 8)."""
    longest = max(map(len, texts), default=0)
    classes = np.zeros((len(texts), 2 * longest + 1), dtype=np.int64)  # blanks stand between all
    for row, text in enumerate(texts):
        classes[row, 1 : 2 * len(text) : 2] = text
    skips = np.zeros(classes.shape, dtype=bool)  # over a blank between two that differ
    skips[:, 2:] = (classes[:, 2:] != BLANK) & (classes[:, 2:] != classes[:, :-2])
    sums = np.full((len(texts), classes.shape[1] + 2), NEVER)  # two places before the first
    sums[:, 2:4] = np.where(np.arange(classes.shape[1]) < 2, log_probs[0][classes], NEVER)[:, :2]
    with np.errstate(invalid="ignore"):
        for step in log_probs[1:]:
            arriving = np.logaddexp(sums[:, 2:], sums[:, 1:-1])
            arriving = np.logaddexp(arriving, np.where(skips, sums[:, :-2], NEVER))
            sums[:, 2:] = arriving + step[classes]
    ends = np.array([2 * len(text) for text in texts], dtype=np.int64)
    rows = np.arange(len(texts))
    last = np.where(ends > 0, sums[rows, ends + 1], NEVER)
    result: list[float] = np.logaddexp(sums[rows, ends + 2], last).tolist()
    return result
