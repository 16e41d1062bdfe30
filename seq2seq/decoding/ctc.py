"""Search where each frame has probabilities of classes and of a blank (Graves et al. 2006): no frame waits for another.

Classes are numbers from 0, of which 0 is the blank.
"""

import math
from collections.abc import Sequence

import numpy as np

Prefix = tuple[int, ...]
"""The classes that have been written so far."""

NEVER = -math.inf


def best_path(log_probs: np.ndarray) -> Prefix:
    """What the likeliest class of each frame (T, C) makes together: repetitions merged, then blanks left out."""
    best = log_probs.argmax(-1)
    starts = np.ones(len(best), dtype=bool)
    starts[1:] = best[1:] != best[:-1]
    return tuple(best[starts & (best != 0)].tolist())


def added(one: float, other: float) -> float:
    """The logarithm of the sum of two probabilities."""
    high, low = (one, other) if one >= other else (other, one)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))


def prefix_beam_search(log_probs: np.ndarray, beam_size: int) -> list[tuple[Prefix, float]]:
    """The `beam_size` likeliest outputs for frames (T, C), best first, with their log-probabilities as far as known.

    All paths that have written the same are one hypothesis (Graves and Jaitly 2014, alg. 1; Hannun et al. 2014).
    """
    beam: dict[Prefix, tuple[float, float]] = {(): (0.0, NEVER)}  # of paths that end with a blank, and with a class
    # Of further classes a hypothesis has `beam_size` better ones, none of which is its last.
    likely = np.argsort(-log_probs[:, 1:], axis=-1, kind="stable")[:, : beam_size + 1] + 1
    for frame, classes in zip(log_probs.tolist(), likely.tolist(), strict=True):
        known: dict[Prefix, set[int]] = {}  # what leads from one hypothesis to another of the beam, however unlikely
        for prefix in beam:
            if prefix:
                known.setdefault(prefix[:-1], set()).add(prefix[-1])
        grown: dict[Prefix, tuple[float, float]] = {}
        for prefix, (blank, other) in beam.items():
            total = added(blank, other)
            stays = grown.get(prefix, (NEVER, NEVER))
            repeated = other + frame[prefix[-1]] if prefix else NEVER
            grown[prefix] = (added(stays[0], total + frame[0]), added(stays[1], repeated))
            for number in {*classes, *known.get(prefix, ())}:
                longer = (*prefix, number)
                before = blank if prefix and number == prefix[-1] else total
                ends = grown.get(longer, (NEVER, NEVER))
                grown[longer] = (ends[0], added(ends[1], before + frame[number]))
        beam = dict(sorted(grown.items(), key=ranked)[:beam_size])
    return [(prefix, added(*scores)) for prefix, scores in beam.items()]


def ranked(item: tuple[Prefix, tuple[float, float]]) -> tuple[float, Prefix]:
    """By probability; equal ones by what they have written, so that the order of the sum plays no part."""
    return -added(*item[1]), item[0]


def search(log_probs: np.ndarray, beam_size: int) -> Sequence[Prefix]:
    """The outputs for frames (T, C), best first: of a beam of one the best path."""
    if beam_size == 1:
        return [best_path(log_probs)]
    return [prefix for prefix, score in prefix_beam_search(log_probs, beam_size) if score > NEVER]
