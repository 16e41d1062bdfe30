"""Rows that repeat others: inside a split, and between training and another split."""

from collections.abc import Iterator

import numpy as np

from seq2seq.data.checks.findings import Example, Finding, Scan, Severity, examples_of, noted, pair_shown
from seq2seq.data.checks.scanning import SHINGLE
from seq2seq.data.checks.text_marks import EMPTY, canonical, letters

ALIKE = 0.6
"""The share of shingles, of those in one or both, that near-duplicates have in common."""

SHORTEST = 40
"""Letters and digits of a row, below which nothing is called a near-duplicate."""

AGREEING = 2
"""Orders in which the least shingles of two rows must be the same, before they are compared."""

LETTERS = 2_000
"""Of a row, which are compared; the first ones."""

COMPARED = 20_000
"""Pairs of rows that are compared letter by letter, at most."""


def filled(split: Scan) -> np.ndarray:
    """(rows,) whether both sides of a row hold something."""
    both: np.ndarray = split.marks & (EMPTY[0] | EMPTY[1]) == 0
    return both


def copied(split: Scan) -> list[Finding]:
    """Targets that repeat the source."""
    rows = np.flatnonzero((split.source == split.target) & filled(split))
    severity: Severity = "warning" if len(rows) > 0.01 * len(split.pair) else "note"
    return noted(split, "copied", severity, rows, "target is the same as its source")


def duplicates(split: Scan) -> list[Finding]:
    """Rows that repeat an earlier one."""
    order, same = repeated(split.pair)
    rows = np.sort(order[1:][same])
    examples = [
        example._replace(like=split.texts.location(first_with(split.pair, split.pair[row])))
        for row, example in zip(rows, examples_of(split.texts, rows), strict=False)
    ]
    return noted(split, "duplicate", "note", rows, "same source and target as an earlier row", examples=examples)


def ambiguous(split: Scan) -> list[Finding]:
    """Sources with several targets."""
    _, firsts = np.unique(split.pair, return_index=True)
    order, same = repeated(split.source[firsts])
    several = np.zeros(len(order), dtype=bool)
    several[1:] |= same
    several[:-1] |= same
    rows = np.sort(firsts[order[several]])
    _, heads, groups = np.unique(split.source[rows], return_index=True, return_inverse=True)
    rows = rows[np.argsort(heads[groups], kind="stable")]  # rows with the same source follow one another
    return noted(split, "ambiguous", "note", rows, "same source as another row, another target")


def repeated(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of hashes, and whether each but the first equals the one before it in that order."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    return order, ordered[1:] == ordered[:-1]


def first_with(hashes: np.ndarray, wanted: np.uint64) -> int:
    """The first row with a hash."""
    return int(np.argmax(hashes == wanted))


def first_equal(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The first index among known hashes of each one that is wanted, -1 where there is none; quick for few wanted."""
    values, inverse = np.unique(wanted, return_inverse=True)
    firsts = np.full(max(1, len(values)), -1)
    if len(values):
        at = np.minimum(np.searchsorted(values, known), len(values) - 1)
        hits = np.flatnonzero(values[at] == known)[::-1]
        firsts[at[hits]] = hits  # the last one that is written is the first
    places: np.ndarray = firsts[inverse]
    return places


def repeats(split: Scan) -> float:
    """The share of a split's text in rows that it has several times, as natural rows such as "Thank you." are."""
    order, same = repeated(split.pair)
    several = np.zeros(len(order), dtype=bool)
    several[order[1:]] |= same
    several[order[:-1]] |= same
    return float(split.lengths[several].sum() / max(1, split.lengths.sum()))


def overlap(train: Scan, other: Scan) -> list[Finding]:
    """Rows of another split that training has seen: an error when they are a hundredth of its text.

    Not of its rows, for "Thank you." is in every split of many corpora. Where training repeats its own rows, as windows
    of a periodic series and short sources do, other splits may repeat them as often, twice at most.
    """
    known = {"pair": first_equal(train.pair, other.pair), "source": first_equal(train.source, other.source)}
    seen = (known["pair"] >= 0) & filled(other)
    half = (known["source"] >= 0) & filled(other) & ~seen
    natural = max(0.01, 2 * repeats(train))
    severity: Severity = "error" if other.lengths[seen].sum() > natural * other.lengths.sum() else "warning"
    findings = []
    for kind, level, these, ours, text in (
        ("overlap", severity, seen, "pair", "source and target also in train"),
        ("known source", "warning", half, "source", "source also in train, with another target"),
    ):
        rows = np.flatnonzero(these)
        examples = [
            example._replace(like=train.texts.location(int(known[ours][row])))
            for row, example in zip(rows, examples_of(other.texts, rows), strict=False)
        ]
        findings += noted(other, kind, level, rows, text, examples=examples)
    return findings


def near_duplicates(train: Scan, other: Scan) -> list[Finding]:
    """Rows of another split that are training rows but for a word, case, spaces or punctuation."""
    alike = dict(pairs_alike(train, other))
    rows = np.array(sorted(alike), dtype=np.int64)
    severity: Severity = "warning" if len(rows) > 0.01 * len(other.pair) else "note"
    examples = [
        Example(other.texts.location(row), pair_shown(other.texts.source[row], other.texts.target[row]),
                train.texts.location(alike[row]))
        for row in map(int, rows[:3])
    ]  # fmt: skip
    return noted(other, "near-duplicate", severity, rows, "nearly the same as a row of train", examples=examples)


def pairs_alike(train: Scan, other: Scan) -> Iterator[tuple[int, int]]:
    """Rows of another split, each with one of train that is nearly the same."""
    new = (first_equal(train.pair, other.pair) < 0) & filled(other) & (other.lengths.sum(axis=1) >= SHORTEST)
    left, compared = np.flatnonzero(new), 0
    for mine, theirs in zip(other.least, train.least, strict=True):
        candidates, found = first_equal(theirs, mine[left]), []
        agreeing = (other.least[:, left] == train.least[:, candidates]).sum(axis=0)
        same = (candidates >= 0) & (agreeing >= AGREEING)
        for row, known in zip(left[same].tolist(), candidates[same].tolist(), strict=True):
            compared += 1
            if compared > COMPARED:
                return
            if likeness(shingles(other, row), shingles(train, known)) >= ALIKE:
                found.append(row)
                yield row, known
        left = np.setdiff1d(left, found)


def shingles(split: Scan, row: int) -> set[bytes]:
    """The pieces of a row's letters; none of a short row."""
    text = b"\t".join(letters(canonical([side[row] for side in split.texts[:2]])))[:LETTERS]
    return {text[at : at + SHINGLE] for at in range(len(text) - SHINGLE + 1)} if len(text) > SHORTEST else set()


def likeness(one: set[bytes], other: set[bytes]) -> float:
    """The share that two sets have in common of all that they hold (Jaccard)."""
    return len(one & other) / max(1, len(one | other))
