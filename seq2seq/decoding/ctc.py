"""Search where each frame has probabilities of classes and of a blank (Graves et al. 2006): no frame waits for another.

Classes are numbers from 0, of which 0 is the blank.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from seq2seq.decoding.guide import Guide, Prefix

Ends = tuple[float, float]
"""The log-probability of paths that end with a blank, and of those that end with a class."""

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


class FoundText(NamedTuple):
    """What a search has found."""

    prefix: Prefix
    log_prob: float
    """Of its paths, as far as known."""
    extra: float = 0.0
    """What a guide adds to that."""


def prefix_beam_search(log_probs: np.ndarray, beam_size: int, guide: Guide | None = None) -> list[FoundText]:
    """The `beam_size` best outputs for frames (T, C), best first.

    All paths that have written the same are one hypothesis (Graves and Jaitly 2014, alg. 1; Hannun et al. 2014). A
    guide adds to its log-probability what it has written, and at last how it ends (shallow fusion).
    """
    beam: dict[Prefix, Ends] = {(): (0.0, NEVER)}
    extras: dict[Prefix, float] = {(): 0.0}
    # Of further classes a hypothesis has `beam_size` better ones, none of which is its last.
    likely = best_classes(log_probs, beam_size)
    for frame, values, classes in zip(log_probs.tolist(), log_probs, likely.tolist(), strict=True):
        known: dict[Prefix, set[int]] = {}  # what leads from one hypothesis to another of the beam, however unlikely
        for prefix in beam:
            if prefix:
                known.setdefault(prefix[:-1], set()).add(prefix[-1])
        worth = [None] * len(beam) if guide is None else guide(list(beam))
        grown: dict[Prefix, Ends] = {}
        for (prefix, (blank, other)), more in zip(beam.items(), worth, strict=True):
            total = added(blank, other)
            stays = grown.get(prefix, (NEVER, NEVER))
            repeated = other + frame[prefix[-1]] if prefix else NEVER
            grown[prefix] = (added(stays[0], total + frame[0]), added(stays[1], repeated))
            best = classes if more is None else best_classes(values + more, beam_size).tolist()
            for number in {*best, *known.get(prefix, ())}:
                if more is not None and more[number] == NEVER:
                    continue
                longer = (*prefix, number)
                extras[longer] = extras[prefix] + (0.0 if more is None else float(more[number]))
                before = blank if prefix and number == prefix[-1] else total
                ends = grown.get(longer, (NEVER, NEVER))
                grown[longer] = (ends[0], added(ends[1], before + frame[number]))
        beam = dict(sorted(grown.items(), key=lambda item: ranked(item, extras))[:beam_size])
        extras = {prefix: extras[prefix] for prefix in beam}
    ended = [0.0] * len(beam) if guide is None else [float(more[0]) for more in guide(list(beam))]
    pairs = zip(beam.items(), ended, strict=True)
    found = [FoundText(prefix, added(*scores), extras[prefix] + end) for (prefix, scores), end in pairs]
    return found if guide is None else sorted(found, key=lambda one: (-one.log_prob - one.extra, one.prefix))


def best_classes(values: np.ndarray, beam_size: int) -> np.ndarray:
    """(..., C) to the best ones but the blank, one more than a beam holds."""
    best: np.ndarray = np.argsort(-values[..., 1:], axis=-1, kind="stable")[..., : beam_size + 1] + 1
    return best


def ranked(item: tuple[Prefix, Ends], extras: Mapping[Prefix, float]) -> tuple[float, Prefix]:
    """By score; equal ones by what they have written, so that the order of the sum plays no part."""
    return -added(*item[1]) - extras[item[0]], item[0]


def search(log_probs: np.ndarray, beam_size: int, guide: Guide | None = None) -> list[tuple[Prefix, float]]:
    """The outputs for frames (T, C), best first, with what a guide adds; without one a beam of one is the best path."""
    if beam_size == 1 and guide is None:
        return [(best_path(log_probs), 0.0)]
    found = prefix_beam_search(log_probs, beam_size, guide)
    return [(one.prefix, one.extra) for one in found if one.log_prob + one.extra > NEVER]
