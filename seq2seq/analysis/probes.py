"""Probes: what can be read from fixed vectors by a linear map (Adi et al. 2017; Conneau et al. 2018).

One half of the rows teaches the map, the other half says how good it is. A probe that does no better than its baseline
finds nothing; one that does better shows that the vector holds this, not that the network uses it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from seq2seq.analysis.vector_space import Studied
from seq2seq.data.tokenizers.base import Tokenizer

LEAST = 40
"""Rows without which nothing is probed."""

FIRST = 20
"""First words that are told apart."""

WORDS = 50
"""Words whose presence is asked for, at most."""

PRESENT = (0.02, 0.25)
"""The share of rows that such a word stands in."""

SIDE = 5
"""Rows with and without a word that either half must have."""

PENALTIES = 10.0 ** np.arange(-6, 3)
"""What the penalty of a ridge regression is chosen from, in mean squares of a direction."""

HELD = 4
"""One in so many rows of the first half chooses the penalty."""

SEED = 2018
"""Of halves and swaps."""

SURE = 1.96
"""Standard deviations to either side that hold 95 % of a normal distribution."""


class Units(NamedTuple):
    """What stands in the place of words."""

    name: str
    pattern: re.Pattern[str]
    joint: str
    """What stands between two of them."""
    columns: bool
    """Whether only the text after the last tab is made of them."""

    def of(self, text: str) -> list[re.Match[str]]:
        """All of a text, with their places."""
        return list(self.pattern.finditer(text, text.rfind("\t") + 1 if self.columns else 0))

    def words(self, text: str) -> list[str]:
        """All of a text."""
        return [one.group() for one in self.of(text)]


def units_of(tokenizer: Tokenizer, texts: Sequence[str]) -> Units:
    """Words between the tokenizer's separators or blanks; characters where texts have hardly two words on average."""
    separator = getattr(tokenizer, "separator", " ")
    if separator != " ":
        return Units("word", re.compile(f"[^{re.escape(separator)}]+"), separator, separator != "\t")
    words = Units("word", re.compile(r"\S+"), " ", True)
    if sum(len(words.of(text)) for text in texts) >= 2 * len(texts):
        return words
    return Units("character", re.compile(r"\S"), "", True)


class Swaps(NamedTuple):
    """Sources with two adjacent words swapped."""

    places: np.ndarray
    """(N,) which of the rows studied they come from."""
    texts: list[str]
    ids: list[list[int]]


def swapped(studied: Studied, units: Units, tokenizer: Tokenizer, whole: np.ndarray) -> Swaps:
    """Each source with two different adjacent words swapped at random, where it has some and the ids tell them apart.

    whole (R,): whether the encoder reads all of a source, so that nothing is swapped beyond its cut.
    """
    texts = {}
    for place in np.flatnonzero(whole).tolist():
        text = swap(studied.texts[place], units, np.random.default_rng([SEED, int(studied.rows[place])]))
        if text is not None:
            texts[place] = text
    before = tokenizer.encode([studied.texts[place] for place in texts])
    after = tokenizer.encode(list(texts.values()))
    kept = [number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    places, changed = list(texts), list(texts.values())
    chosen = np.array([places[number] for number in kept], dtype=np.int64)
    return Swaps(chosen, [changed[number] for number in kept], [after[number] for number in kept])


def swap(text: str, units: Units, random: np.random.Generator) -> str | None:
    """A text with two different adjacent words swapped; None where it has none."""
    words = units.of(text)
    pairs = [
        (one, other)
        for one, other in pairwise(words)
        if text[one.end() : other.start()] == units.joint and one.group() != other.group()
    ]
    if not pairs:
        return None
    one, other = pairs[int(random.integers(len(pairs)))]
    middle = other.group() + units.joint + one.group()
    return text[: one.start()] + middle + text[other.end() :]


class Halves(NamedTuple):
    """Rows that teach and rows that are asked, (N,) and (M,) places."""

    taught: np.ndarray
    asked: np.ndarray


def halves(count: int) -> Halves:
    """Two halves of so many rows, drawn by a fixed seed."""
    order = np.random.default_rng(SEED).permutation(count)
    return Halves(np.sort(order[: count // 2]), np.sort(order[count // 2 :]))


def answers(studied: Studied, units: Units | None, swaps: tuple[np.ndarray, np.ndarray] | None) -> list[dict[str, Any]]:
    """All probes that the rows allow; of equal sources only the first one takes part.

    units: None where sources are no text; swaps: places (N,) of rows studied and their vectors (N, H) after a swap.
    """
    first: dict[str, int] = {}
    for place, text in enumerate(studied.texts):
        first.setdefault(text, place)
    kept = np.array(list(first.values()), dtype=np.int64)
    alone = studied.take(kept)
    found = [length_probe(alone)]
    if units is not None:
        found += [first_probe(alone, units), content_probe(alone, units)]
    if units is not None and swaps is not None:
        chosen = np.isin(swaps[0], kept)
        found.append(order_probe(studied.vectors[swaps[0][chosen]], swaps[1][chosen], units))
    return [probe for probe in found if probe is not None]


def length_probe(studied: Studied) -> dict[str, Any] | None:
    """How much of the variance of the source's length in tokens can be read, R squared; at least 0."""
    lengths = studied.lengths.astype(np.float64)
    taught, asked = halves(len(lengths))
    if len(lengths) < LEAST or np.ptp(lengths[asked]) == 0 or np.ptp(lengths[taught]) == 0:
        return None
    guessed = ridge(studied.vectors[taught], lengths[taught, None], studied.vectors[asked])[:, 0]
    missed, spread = (lengths[asked] - guessed) ** 2, (lengths[asked] - lengths[asked].mean()) ** 2
    share = missed.mean() / spread.mean()
    influence = share * spread - missed  # of each row on the value, times the variance
    error = influence.std() / spread.mean() / len(asked) ** 0.5
    return told("length", 1 - share, 0.0, "R²", len(asked), (1 - share - SURE * error, 1 - share + SURE * error))


def first_probe(studied: Studied, units: Units) -> dict[str, Any] | None:
    """How often the first word is found among the most frequent ones, in percent; baseline: always the likeliest."""
    firsts = [next(iter(units.words(text)), "") for text in studied.texts]
    counts = Counter(word for word in firsts if word)
    words = sorted(counts, key=lambda word: (-counts[word], word))[:FIRST]
    kept = np.array([place for place, word in enumerate(firsts) if word in words], dtype=np.int64)
    taught, asked = halves(len(kept))
    if len(kept) < LEAST or len(words) < 2:
        return None
    wanted = np.array([words.index(firsts[place]) for place in kept.tolist()])
    one_hot = np.eye(len(words))[wanted]
    vectors = studied.vectors[kept]
    right = ridge(vectors[taught], one_hot[taught], vectors[asked]).argmax(1) == wanted[asked]
    likeliest = int(np.bincount(wanted[taught]).argmax())
    baseline = 100 * float((wanted[asked] == likeliest).mean())
    return told(f"first {units.name}", 100 * float(right.mean()), baseline, "percent", len(asked), wilson(right))


def content_probe(studied: Studied, units: Units) -> dict[str, Any] | None:
    """How often a sentence with a word is held likelier to have it than one without, in percent; the mean over words.

    That is the area under the ROC curve, whose baseline is 50 however rare a word is.
    """
    taught, asked = halves(len(studied.texts))
    if len(studied.texts) < LEAST:
        return None
    present = presence([set(units.words(text)) for text in studied.texts])
    sides = np.stack([(half == side).sum(0) for half in (present[taught], present[asked]) for side in (0.0, 1.0)])
    present = present[:, (sides >= SIDE).all(0)][:, :WORDS]
    if not present.shape[1]:
        return None
    guessed = ridge(studied.vectors[taught], present[taught], studied.vectors[asked])
    areas, influence = zip(*map(area, guessed.T, present[asked].T > 0), strict=True)
    value, error = float(np.mean(areas)), float(np.mean(influence, axis=0).std()) / len(asked) ** 0.5
    ends = (100 * (value - SURE * error), 100 * (value + SURE * error))
    return told(f"{units.name} content", 100 * value, 50.0, "percent", len(asked), ends)


def presence(sets: Sequence[set[str]]) -> np.ndarray:
    """(R, W) which rows have which of the words of middling frequency, the most frequent ones first."""
    counts = Counter(word for words in sets for word in words)
    low, high = (share * len(sets) for share in PRESENT)
    chosen = sorted((word for word in counts if low <= counts[word] <= high), key=lambda word: (-counts[word], word))
    found = np.zeros((len(sets), len(chosen)))
    for row, words in enumerate(sets):
        for place, word in enumerate(chosen):
            found[row, place] = word in words
    return found


def area(scores: np.ndarray, wanted: np.ndarray) -> tuple[float, np.ndarray]:
    """The area under the ROC curve of scores (M,), and the influence (M,) of each row on it (DeLong et al. 1988)."""
    positive, negative = scores[wanted], scores[~wanted]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    value = float(wins.mean())
    influence = np.empty(len(scores))
    influence[wanted] = (wins.mean(1) - value) * len(scores) / len(positive)
    influence[~wanted] = (wins.mean(0) - value) * len(scores) / len(negative)
    return value, influence


def order_probe(intact: np.ndarray, turned: np.ndarray, units: Units) -> dict[str, Any] | None:
    """How often it is seen whether two adjacent words are swapped, in percent (Conneau et al. 2018, bigram shift).

    intact, turned: vectors (N, H) of the same rows before and after. Both teach or both are asked.
    """
    taught, asked = halves(len(intact))
    if len(intact) < LEAST:
        return None
    both = np.stack((intact, turned), axis=1)  # (N, 2, H)
    signs = np.tile([-1.0, 1.0], len(taught))[:, None]
    size = both.shape[2]
    guessed = ridge(both[taught].reshape(-1, size), signs, both[asked].reshape(-1, size), copies=2).reshape(-1, 2)
    right = np.stack((guessed[:, 0] < 0, guessed[:, 1] > 0), axis=1)
    return told(f"{units.name} order", 100 * float(right.mean()), 50.0, "percent", len(asked), wilson(right.mean(1)))


def told(
    name: str, value: float, baseline: float, unit: str, rows: int, interval: tuple[float, float]
) -> dict[str, Any]:
    """A probe, plain; rows: those that were asked. Values are kept between nothing and all."""
    most = 100.0 if unit == "percent" else 1.0
    value, low, high = (float(np.clip(one, 0.0, most)) for one in (value, *interval))
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


def ridge(vectors: np.ndarray, wanted: np.ndarray, others: np.ndarray, copies: int = 1) -> np.ndarray:
    """Ridge regression in closed form: what vectors (N, H) say of wanted (N, K), asked of others (M, H): (M, K).

    The penalty is the one that does best on every fourth row after the others have taught it; copies: how many
    neighbours belong together there.
    """
    held = np.arange(len(vectors)) // copies % HELD == HELD - 1
    trials = regressions(vectors[~held], wanted[~held], vectors[held], PENALTIES)
    missed = [float(((trial - wanted[held]) ** 2).sum()) for trial in trials]
    best = int(np.argmin(missed))
    return regressions(vectors, wanted, others, PENALTIES[best : best + 1])[0]


def regressions(vectors: np.ndarray, wanted: np.ndarray, others: np.ndarray, penalties: np.ndarray) -> list[np.ndarray]:
    """The same (M, K) with each of some penalties."""
    mean, middle = vectors.mean(0), wanted.mean(0)
    centred, known, asked = vectors - mean, wanted - middle, others - mean
    # (X'X + p)^-1 X'Y = X' (XX' + p)^-1 Y: whichever of the two matrices is smaller.
    wide = centred.shape[0] < centred.shape[1]
    gram, known = (centred @ centred.T, known) if wide else (centred.T @ centred, centred.T @ known)
    asked = asked @ centred.T if wide else asked
    square = max(float(np.trace(gram)) / len(gram), 1e-30)
    return [
        middle + asked @ np.linalg.solve(gram + penalty * square * np.eye(len(gram)), known) for penalty in penalties
    ]
