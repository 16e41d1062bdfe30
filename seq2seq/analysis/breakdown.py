"""How a score depends on the rows: their length, words that training lacks or rarely has, position in the sentence."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from seq2seq.analysis.words import WordCounts, WordList, WordMatches, frequencies, match, units_of_sides, word_list
from seq2seq.metrics.base import Metric, Prediction, percentiles, resampled
from seq2seq.metrics.labels import CLASS_MARK
from seq2seq.metrics.ratios import divided, f1

LENGTHS = (1, 6, 11, 16, 21, 31, 51)
"""Where groups of lengths begin, in words (Cho et al. 2014, fig. 4) or steps."""

SHARES = {0.0: "0 %", 0.1: "up to 10 %", 0.25: "up to 25 %", 1.0: "above 25 %"}
"""The largest share of unknown words in each group of rows."""

FREQUENCIES = (0, 1, 2, 5, 10, 100, 1000)
"""Where groups of words begin, in occurrences in training, much as in compare-mt (Neubig et al. 2019)."""

FIFTHS = ("first fifth", "second fifth", "third fifth", "fourth fifth", "last fifth")
"""Of a sentence, in reading order, whichever side that begins on."""

SPEAKERS = 30
"""Groups of speakers at most: those with the worst scores."""

Breakdown = dict[str, Any]
"""by, title, axis, metric, unit, what is counted (rows or words) and groups: {"label", "rows", "value", "low", "high"}.

The interval of a group is None where there is but one row; the value is NaN where a group has nothing to score.
"""


def breakdowns(
    predictions: Sequence[Prediction],
    metric: Metric,
    statistics: np.ndarray,
    source_length: Callable[[str], int],
    target_length: Callable[[str], int],
    counts: WordCounts | None,
    aligned: bool,
    labels: str = "",
) -> list[Breakdown]:
    """The score of groups of rows and of words, plain values for results.json; a breakdown into one group is left out.

    statistics: those of the metric (N, K). aligned: whether targets are labels, one for each token of the source.
    labels: what stands between other targets that are labels or numbers in no order; nothing where they are sentences.
    """
    if not predictions:
        return []
    if aligned:
        predictions = [without_class(row) for row in predictions]
    source_units, target_units = units_of_sides(predictions, aligned, labels)
    matches = match(predictions, target_units, aligned)
    results = [by_length("source", [source_length(row.source) for row in predictions], metric, statistics)]
    if any(row.speaker for row in predictions):
        results.append(by_speaker([row.speaker or "unknown" for row in predictions], metric, statistics))
    if not aligned:
        results.append(by_length("target", [target_length(row.reference) for row in predictions], metric, statistics))
    if counts is not None:
        sources = word_list([source_units.split(row.source) for row in predictions])
        if counts.source:
            results.append(by_unknown_words(sources, counts, metric, statistics))
        if not aligned:
            results.append(by_frequency(matches, counts))
        elif np.array_equal(sources.lengths, matches.reference.lengths):  # else they split at other separators
            results.append(by_source_frequency(matches, sources, counts))
    if aligned or not labels:
        results.append(by_position(matches, target_units.name, aligned))
    return [result for result in results if len(result["groups"]) > 1]


def without_class(row: Prediction) -> Prediction:
    """A row without the class of the sentence that stands before the labels of its tokens."""
    reference, prediction = (
        text.rpartition(CLASS_MARK)[2].removeprefix(" ") for text in (row.reference, row.prediction)
    )
    return row._replace(reference=reference, prediction=prediction)


def by_length(side: str, lengths: Sequence[int], metric: Metric, statistics: np.ndarray) -> Breakdown:
    """The metric by the length of one side; length 0 counts as 1."""
    groups = np.searchsorted(LENGTHS, np.maximum(lengths, 1), side="right") - 1
    text = "reference" if side == "target" else side
    described = {
        "by": f"{side}_length",
        "title": f"{side.capitalize()} length",
        "axis": f"length of the {text} (words or steps)",
    }
    return described | rows_grouped(metric, statistics, groups, ranges(LENGTHS))


def by_speaker(speakers: Sequence[str], metric: Metric, statistics: np.ndarray) -> Breakdown:
    """The metric of each speaker, by name; of very many those with the worst scores."""
    names, groups = np.unique(speakers, return_inverse=True)
    described: Breakdown = {"by": "speaker", "title": "Speaker", "axis": "speaker"}
    found = described | rows_grouped(metric, statistics, groups, names.tolist())
    if len(names) > SPEAKERS:
        worst = sorted(found["groups"], key=lambda group: metric.rank(group["value"]))[:SPEAKERS]
        kept = {group["label"] for group in worst}
        found["groups"] = [group for group in found["groups"] if group["label"] in kept]
        found["note"] = f"The {SPEAKERS} of {len(names):,} speakers with the worst scores."
    return found


def by_unknown_words(sources: WordList, counts: WordCounts, metric: Metric, statistics: np.ndarray) -> Breakdown:
    """The metric by the share of source words that training lacks."""
    unknown = frequencies(sources.words, counts.source) == 0
    rates = divided(np.bincount(sources.rows, unknown, len(sources.lengths)), sources.lengths, 0.0)
    described = {
        "by": "unknown_rate",
        "title": "Unknown source words",
        "axis": f"share of source words that are not in {counts.rows:,} training rows",
    }
    return described | rows_grouped(metric, statistics, np.searchsorted([*SHARES], rates), list(SHARES.values()))


def by_frequency(matches: WordMatches, counts: WordCounts) -> Breakdown:
    """F1 of target words by their frequency in training, from the sums over all sentences."""
    sides = matches.predicted, matches.reference
    predicted, reference = (group_of_frequency(frequencies(side.words, counts.target)) for side in sides)
    table = np.concatenate([matched_words(matches, reference), words_of(matches.predicted, predicted)], axis=-1)
    described = {
        "by": "word_frequency",
        "title": "Frequency in training",
        "axis": f"occurrences of the word in {counts.rows:,} training rows",
        "metric": "f1",
    }
    return described | words_grouped(table[..., [0, 2, 1]], f1, ranges(FREQUENCIES))


def by_source_frequency(matches: WordMatches, sources: WordList, counts: WordCounts) -> Breakdown:
    """Accuracy of labels by how often training has the source words, one for each."""
    groups = group_of_frequency(frequencies(sources.words, counts.source))
    described = {
        "by": "word_frequency",
        "title": "Frequency of the source word in training",
        "axis": f"occurrences of the word in {counts.rows:,} training rows",
        "metric": "accuracy",
    }
    return described | words_grouped(matched_words(matches, groups, len(FREQUENCIES)), percent, ranges(FREQUENCIES))


def by_position(matches: WordMatches, unit: str, aligned: bool) -> Breakdown:
    """The share of the reference that is matched, by the fifth of the sentence in which the middle of a word lies."""
    reference = matches.reference
    groups = (reference.positions + 0.5) * len(FIFTHS) // reference.lengths[reference.rows]
    described = {
        "by": "position",
        "title": "Position in the sentence",
        "axis": f"position of the {unit} in the reference",
        "metric": "accuracy" if aligned else "recall",
    }
    return described | words_grouped(matched_words(matches, groups.astype(np.int64), len(FIFTHS)), percent, FIFTHS)


def rows_grouped(metric: Metric, statistics: np.ndarray, groups: np.ndarray, labels: Sequence[str]) -> Breakdown:
    """The metric of each group (N,) of statistics (N, K); groups without a row are left out."""
    results = []
    for index, label in enumerate(labels):
        some = statistics[groups == index]
        if len(some):
            score = metric.scored(some, interval=True)
            results.append(
                {"label": label, "rows": len(some), "value": score.value, "low": score.low, "high": score.high}
            )
    return {"metric": metric.name, "unit": metric.unit, "counted": "rows", "groups": results}


def words_grouped(table: np.ndarray, value: Callable[[np.ndarray], np.ndarray], labels: Sequence[str]) -> Breakdown:
    """The value of each group of words, from sums (N, G, K) of which the last counts those of the reference.

    Whole rows are resampled, since the words of a sentence do not go wrong one by one.
    """
    rows, groups, kinds = table.shape
    totals = table.sum(axis=0)
    drawn = value(resampled(table.reshape(rows, -1)).reshape(-1, groups, kinds)) if rows > 1 else None
    results = []
    for group in np.flatnonzero(totals[:, -1]).tolist():
        low, high = (None, None) if drawn is None else percentiles(drawn[:, group])
        numbers = {"value": float(value(totals[group])), "low": low, "high": high}
        results.append({"label": labels[group], "rows": int(totals[group, -1]), **numbers})
    return {"unit": "percent", "counted": "words", "groups": results}


def group_of_frequency(counts: np.ndarray) -> np.ndarray:
    """The group of FREQUENCIES of each count (W,)."""
    groups: np.ndarray = np.searchsorted(FREQUENCIES, counts, side="right") - 1
    return groups


def words_of(words: WordList, groups: np.ndarray, count: int = len(FREQUENCIES)) -> np.ndarray:
    """How many words each row has of each of `count` groups (N, count, 1), from the group of each word (W,)."""
    rows = len(words.lengths)
    sums = np.bincount(words.rows * count + groups, minlength=rows * count)
    return sums.reshape(rows, count, 1).astype(np.float64)


def matched_words(matches: WordMatches, groups: np.ndarray, count: int = len(FREQUENCIES)) -> np.ndarray:
    """(N, count, 2) matched words of the reference, and all."""
    matched = matches.reference._replace(rows=matches.reference.rows[matches.matched])
    both = words_of(matched, groups[matches.matched], count), words_of(matches.reference, groups, count)
    return np.concatenate(both, axis=-1)


def percent(sums: np.ndarray) -> np.ndarray:
    """(..., 2) to (...)."""
    return 100.0 * divided(sums[..., 0], sums[..., 1])


def ranges(starts: Sequence[int]) -> list[str]:
    """The names of groups of whole numbers that begin at `starts`."""
    closed = [f"{low:,}" if low == after - 1 else f"{low:,}\N{EN DASH}{after - 1:,}" for low, after in pairwise(starts)]
    return [*closed, f"{starts[-1]:,}+"]
