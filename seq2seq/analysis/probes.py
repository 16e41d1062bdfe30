"""Probes: what a linear map can read from fixed vectors (Adi et al. 2017; Conneau et al. 2018).

The map is fitted on one half of the rows and scored on the other. A probe that does not beat its chance baseline finds
nothing; one that does shows that the vector holds this, not that the network uses it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seq2seq.analysis.ridge import ridge
from seq2seq.analysis.vector_space import FixedVectors
from seq2seq.analysis.word_swaps import SEED, WordPattern

LEAST = 40
"""Rows without which nothing is probed."""

FIRST = 20
"""First words that are told apart."""

WORDS = 50
"""Words whose presence is probed, at most."""

PRESENT = (0.02, 0.25)
"""The share of rows that such a word occurs in."""

SIDE = 5
"""Rows with and without a word that either half must have."""

SURE = 1.96
"""Standard deviations to either side that hold 95 % of a normal distribution."""


class Halves(NamedTuple):
    """Indices (N,) of the rows that fit a map and (M,) of those that score it."""

    train: np.ndarray
    test: np.ndarray


def halves(count: int) -> Halves:
    """Two halves of `count` rows, drawn by a fixed seed."""
    order = np.random.default_rng(SEED).permutation(count)
    return Halves(np.sort(order[: count // 2]), np.sort(order[count // 2 :]))


def all_probes(
    vectors: FixedVectors, pattern: WordPattern | None, swaps: tuple[np.ndarray, np.ndarray] | None
) -> list[dict[str, Any]]:
    """All probes that the rows allow; of equal sources only the first one takes part.

    pattern: None where sources are not text; swaps: indices (N,) of vectors, and those vectors (N, H) after a swap.
    """
    first: dict[str, int] = {}
    for index, text in enumerate(vectors.texts):
        first.setdefault(text, index)
    kept = np.array(list(first.values()), dtype=np.int64)
    alone = vectors.take(kept)
    probes = [length_probe(alone)]
    if pattern is not None:
        probes += [first_probe(alone, pattern), content_probe(alone, pattern)]
    if pattern is not None and swaps is not None:
        chosen = np.isin(swaps[0], kept)
        probes.append(order_probe(vectors.values[swaps[0][chosen]], swaps[1][chosen], pattern))
    return [probe for probe in probes if probe is not None]


def length_probe(vectors: FixedVectors) -> dict[str, Any] | None:
    """R squared of the source's length in tokens; at least 0."""
    lengths = vectors.lengths.astype(np.float64)
    train, test = halves(len(lengths))
    if len(lengths) < LEAST or np.ptp(lengths[test]) == 0 or np.ptp(lengths[train]) == 0:
        return None
    predicted = ridge(vectors.values[train], lengths[train, None], vectors.values[test])[:, 0]
    missed, spread = (lengths[test] - predicted) ** 2, (lengths[test] - lengths[test].mean()) ** 2
    share = missed.mean() / spread.mean()
    influence = share * spread - missed  # of each row on the value, times the variance
    error = influence.std() / spread.mean() / len(test) ** 0.5
    return probe("length", 1 - share, 0.0, "R²", len(test), (1 - share - SURE * error, 1 - share + SURE * error))


def first_probe(vectors: FixedVectors, pattern: WordPattern) -> dict[str, Any] | None:
    """Accuracy for the first word, one of the most frequent ones, in percent; baseline: always the likeliest."""
    firsts = [next(iter(pattern.words(text)), "") for text in vectors.texts]
    counts = Counter(word for word in firsts if word)
    words = sorted(counts, key=lambda word: (-counts[word], word))[:FIRST]
    kept = np.array([index for index, word in enumerate(firsts) if word in words], dtype=np.int64)
    train, test = halves(len(kept))
    if len(kept) < LEAST or len(words) < 2:
        return None
    wanted = np.array([words.index(firsts[index]) for index in kept.tolist()])
    one_hot = np.eye(len(words))[wanted]
    chosen = vectors.values[kept]
    right = ridge(chosen[train], one_hot[train], chosen[test]).argmax(1) == wanted[test]
    likeliest = int(np.bincount(wanted[train]).argmax())
    baseline = 100 * float((wanted[test] == likeliest).mean())
    return probe(f"first {pattern.name}", 100 * float(right.mean()), baseline, "percent", len(test), wilson(right))


def content_probe(vectors: FixedVectors, pattern: WordPattern) -> dict[str, Any] | None:
    """The mean over words of the area under the ROC curve for the presence of the word, in percent.

    Its baseline is 50 however rare a word is.
    """
    train, test = halves(len(vectors.texts))
    if len(vectors.texts) < LEAST:
        return None
    present = presence([set(pattern.words(text)) for text in vectors.texts])
    sides = np.stack([(half == side).sum(0) for half in (present[train], present[test]) for side in (0.0, 1.0)])
    present = present[:, (sides >= SIDE).all(0)][:, :WORDS]
    if not present.shape[1]:
        return None
    predicted = ridge(vectors.values[train], present[train], vectors.values[test])
    areas, influence = zip(*map(area, predicted.T, present[test].T > 0), strict=True)
    value, error = float(np.mean(areas)), float(np.mean(influence, axis=0).std()) / len(test) ** 0.5
    ends = (100 * (value - SURE * error), 100 * (value + SURE * error))
    return probe(f"{pattern.name} content", 100 * value, 50.0, "percent", len(test), ends)


def presence(sets: Sequence[set[str]]) -> np.ndarray:
    """(R, W) which rows have which of the words of medium frequency, the most frequent ones first."""
    counts = Counter(word for words in sets for word in words)
    low, high = (share * len(sets) for share in PRESENT)
    chosen = sorted((word for word in counts if low <= counts[word] <= high), key=lambda word: (-counts[word], word))
    table = np.zeros((len(sets), len(chosen)))
    for row, words in enumerate(sets):
        table[row] = [word in words for word in chosen]
    return table


def area(scores: np.ndarray, wanted: np.ndarray) -> tuple[float, np.ndarray]:
    """The area under the ROC curve of scores (M,), and the influence (M,) of each row on it (DeLong et al. 1988)."""
    positive, negative = scores[wanted], scores[~wanted]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    value = float(wins.mean())
    influence = np.empty(len(scores))
    influence[wanted] = (wins.mean(1) - value) * len(scores) / len(positive)
    influence[~wanted] = (wins.mean(0) - value) * len(scores) / len(negative)
    return value, influence


def order_probe(intact: np.ndarray, swapped: np.ndarray, pattern: WordPattern) -> dict[str, Any] | None:
    """Accuracy for whether two adjacent words are swapped, in percent (Conneau et al. 2018, bigram shift).

    intact, swapped: vectors (N, H) of the same rows before and after, which belong to one half together.
    """
    train, test = halves(len(intact))
    if len(intact) < LEAST:
        return None
    both = np.stack((intact, swapped), axis=1)  # (N, 2, H)
    signs = np.tile([-1.0, 1.0], len(train))[:, None]
    size = both.shape[2]
    predicted = ridge(both[train].reshape(-1, size), signs, both[test].reshape(-1, size), copies=2).reshape(-1, 2)
    right = np.stack((predicted[:, 0] < 0, predicted[:, 1] > 0), axis=1)
    return probe(f"{pattern.name} order", 100 * float(right.mean()), 50.0, "percent", len(test), wilson(right.mean(1)))


def probe(
    name: str, value: float, baseline: float, unit: str, rows: int, interval: tuple[float, float]
) -> dict[str, Any]:
    """A probe for results.json; rows: those that score it. Values are clipped to the range of the unit."""
    most = 100.0 if unit == "percent" else 1.0
    value, low, high = (float(np.clip(number, 0.0, most)) for number in (value, *interval))
    return {
        "name": name, "value": value, "baseline": baseline, "unit": unit, "rows": rows, "low": low, "high": high,
    }  # fmt: skip


def wilson(right: np.ndarray) -> tuple[float, float]:
    """The 95 % interval in percent of a mean over rows (M,) (Wilson 1927); wide where a row is partly right."""
    count, share = len(right), float(right.mean())
    square = SURE**2 / count
    middle = share + square / 2
    half = SURE * ((share * (1 - share) + square / 4) / count) ** 0.5
    return 100 * (middle - half) / (1 + square), 100 * (middle + half) / (1 + square)
