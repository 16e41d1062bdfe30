"""How a score depends on the rows: their length, words that training lacks or rarely has, places in the sentence."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple

import numpy as np

from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import NoSource
from seq2seq.errors import InputError
from seq2seq.metrics.base import Metric, Prediction, resampled
from seq2seq.metrics.ratios import divided, f1

LENGTHS = (1, 6, 11, 16, 21, 31, 51)
"""Where groups of lengths begin, in words (Cho et al. 2014, fig. 4) or steps."""

SHARES = {0.0: "0 %", 0.1: "up to 10 %", 0.25: "up to 25 %", 1.0: "above 25 %"}
"""The largest share of unknown words in each group of rows."""

FREQUENCIES = (0, 1, 2, 5, 10, 100, 1000)
"""Where groups of words begin, in occurrences in training, much as in compare-mt (Neubig et al. 2019)."""

FIFTHS = ("first fifth", "second fifth", "third fifth", "fourth fifth", "last fifth")
"""Of a sentence, in the order in which it is read, whichever side that begins on."""

LIMIT = 1_000_000
"""Training rows whose words are counted, at most."""

REPEATED = 3
"""Words of the shortest sequence that counts as repeated wherever it occurs again."""

SHOWN = 20
"""Rows named at most, and words of what they repeat."""

Group = dict[str, Any]
"""{"label", "rows", "value", "low", "high"}; the interval is None where there is but one row."""


class Division(NamedTuple):
    """What the texts of one side are made of."""

    unit: str
    """word, label or character."""
    mark: str
    """What stands between two: a tab, or a blank for any blanks; empty between characters."""

    def of(self, text: str) -> list[str]:
        """The units of a text."""
        if self.mark == "\t":
            return [word for word in text.split("\t") if word]
        return text.split() if self.mark else list("".join(text.split()))


class WordCounts(NamedTuple):
    """How often training holds each word of a split; those that it lacks are missing."""

    source: Mapping[str, int]
    """None where sources are numbers or not read at all."""
    target: Mapping[str, int]
    """Words of references and predictions; none where each token has a label."""
    rows: int
    """Training rows that were looked at, the first ones."""


class Flat(NamedTuple):
    """The words of all rows, one after the other."""

    words: list[str]
    rows: np.ndarray
    """(words,) the row of each."""
    places: np.ndarray
    """(words,) its place there, from 0."""
    lengths: np.ndarray
    """(rows,) words."""


class Comparison(NamedTuple):
    """The words of references and predictions, and which of the former the latter hold."""

    reference: Flat
    predicted: Flat
    found: np.ndarray
    """Whether each word of the references is found (words,)."""


def breakdowns(
    predictions: Sequence[Prediction],
    metric: Metric,
    statistics: np.ndarray,
    source_length: Callable[[str], int],
    target_length: Callable[[str], int],
    counts: WordCounts | None,
    aligned: bool,
    sentences: bool = True,
) -> list[dict[str, Any]]:
    """The score of groups of rows and of words, plain values for results.json; what makes but one group is left out.

    statistics: those of the metric (N, K). aligned: whether targets are labels, one for each token of the source.
    sentences: whether other targets are sentences; numbers and labels in no order are not.
    """
    if not predictions:
        return []
    sides = divisions(predictions, aligned, sentences)
    compared = comparison(predictions, sides[1], aligned)
    lengths = {"source": [source_length(row.source) for row in predictions]}
    lengths["target"] = [] if aligned else [target_length(row.reference) for row in predictions]
    found = [by_length(side, one, metric, statistics) for side, one in lengths.items() if one]
    if counts is not None:
        sources = flat([sides[0].of(row.source) for row in predictions])
        if counts.source:
            found.append(by_unknown_words(sources, counts, metric, statistics))
        if not aligned:
            found.append(by_frequency(compared, counts))
        elif np.array_equal(sources.lengths, compared.reference.lengths):  # else they are divided differently
            found.append(by_source_frequency(compared, sources, counts))
    if aligned or sentences:
        found.append(by_place(compared, sides[1].unit, aligned))
    return [one for one in found if len(one["groups"]) > 1]


def divisions(predictions: Sequence[Prediction], aligned: bool, sentences: bool) -> tuple[Division, Division]:
    """How sources and targets are divided: all texts of a side the same way, whichever of its rows hold a tab."""
    sources, references = [row.source for row in predictions], [row.reference for row in predictions]
    if aligned:
        mark = "\t" if any("\t" in text for text in chain(sources, references)) else " "
        return Division("word", mark), Division("label", mark)
    if sentences:
        return division(sources), division(references)
    return division(sources), Division("label", "\t" if any("\t" in text for text in references) else " ")


def division(texts: Sequence[str]) -> Division:
    """Words between blanks; characters where fewer than a tenth of the texts hold a blank, as in Japanese."""
    several = sum(len(text.split(None, 1)) > 1 for text in texts)
    filled = sum(not text.isspace() for text in texts if text)
    return Division("character", "") if 10 * several < filled else Division("word", " ")


def by_length(side: str, lengths: Sequence[int], metric: Metric, statistics: np.ndarray) -> dict[str, Any]:
    """The metric by the length of one side; nothing counts as one."""
    groups = np.searchsorted(LENGTHS, np.maximum(lengths, 1), side="right") - 1
    described = {
        "by": f"{side}_length",
        "title": f"{side.capitalize()} length",
        "axis": f"words or steps of the {'reference' if side == 'target' else side}",
    }
    return described | rows_grouped(metric, statistics, groups, ranges(LENGTHS))


def by_unknown_words(sources: Flat, counts: WordCounts, metric: Metric, statistics: np.ndarray) -> dict[str, Any]:
    """The metric by the share of source words that training lacks."""
    unknown = frequencies(sources.words, counts.source) == 0
    rates = divided(np.bincount(sources.rows, unknown, len(sources.lengths)), sources.lengths)
    described = {
        "by": "unknown_rate",
        "title": "Unknown source words",
        "axis": f"share of source words that {counts.rows:,} training rows lack",
    }
    return described | rows_grouped(metric, statistics, np.searchsorted([*SHARES], rates), list(SHARES.values()))


def by_frequency(compared: Comparison, counts: WordCounts) -> dict[str, Any]:
    """F1 of target words by their frequency in training.

    A word of a sentence is found as often as it occurs in both texts; F1 is of the sums over all sentences.
    """
    sides = compared.reference, compared.predicted
    groups = [group_of(frequencies(side.words, counts.target)) for side in sides]
    rows, found = len(compared.reference.lengths), compared.found
    right = summed(compared.reference.rows[found], groups[0][found], rows, len(FREQUENCIES))
    others = [summed(side.rows, group, rows, len(FREQUENCIES)) for side, group in zip(sides, groups, strict=True)]
    table = np.stack([right, others[1], others[0]], axis=-1)
    described = {
        "by": "word_frequency",
        "title": "Frequency in training",
        "axis": f"times the word occurs in {counts.rows:,} training rows",
        "metric": "f1",
    }
    return described | words_grouped(table, f1, ranges(FREQUENCIES))


def by_source_frequency(compared: Comparison, sources: Flat, counts: WordCounts) -> dict[str, Any]:
    """Accuracy of labels by how often training holds the source words, one for each."""
    groups = group_of(frequencies(sources.words, counts.source))
    described = {
        "by": "word_frequency",
        "title": "Frequency of the source word in training",
        "axis": f"times the word occurs in {counts.rows:,} training rows",
        "metric": "accuracy",
    }
    table = shares_of(compared.reference, groups, compared.found, len(FREQUENCIES))
    return described | words_grouped(table, percent, ranges(FREQUENCIES))


def by_place(compared: Comparison, unit: str, aligned: bool) -> dict[str, Any]:
    """The share of the reference that is found, by the fifth of the sentence in which the middle of a word lies."""
    reference = compared.reference
    groups = (reference.places + 0.5) * len(FIFTHS) // reference.lengths[reference.rows]
    described = {
        "by": "position",
        "title": "Place in the sentence",
        "axis": f"place of the {unit} in the reference",
        "metric": "accuracy" if aligned else "recall",
    }
    table = shares_of(reference, groups.astype(np.int64), compared.found, len(FIFTHS))
    return described | words_grouped(table, percent, FIFTHS)


def rows_grouped(metric: Metric, statistics: np.ndarray, groups: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """The metric of each group (rows,) of statistics (rows, K); groups without a row are left out."""
    found: list[Group] = []
    for place, label in enumerate(labels):
        some = statistics[groups == place]
        if len(some):
            score = metric.scored(some, interval=True)
            numbers = {"value": score.value, "low": score.low, "high": score.high}
            found.append({"label": label, "rows": len(some), **numbers})
    return {"metric": metric.name, "unit": metric.unit, "counted": "rows", "groups": found}


def words_grouped(
    table: np.ndarray, value: Callable[[np.ndarray], np.ndarray], labels: Sequence[str]
) -> dict[str, Any]:
    """The value of each group of words, from sums (rows, groups, K) of which the last counts those of the reference.

    Whole sentences are resampled, since their words do not go wrong one by one.
    """
    rows, groups, kinds = table.shape
    totals = table.sum(axis=0)
    drawn = value(resampled(table.reshape(rows, -1)).reshape(-1, groups, kinds)) if rows > 1 else None
    found: list[Group] = []
    for place in np.flatnonzero(totals[:, -1]).tolist():
        low, high = (None, None) if drawn is None else np.percentile(drawn[:, place], [2.5, 97.5]).tolist()
        numbers = {"value": float(value(totals[place])), "low": low, "high": high}
        found.append({"label": labels[place], "rows": int(totals[place, -1]), **numbers})
    return {"unit": "percent", "counted": "words", "groups": found}


def comparison(predictions: Sequence[Prediction], target: Division, aligned: bool) -> Comparison:
    """References and predictions word by word: at the same place if aligned, else anywhere in the row.

    Of a word that stands there several times, the first so many of the reference are found as the prediction has.
    """
    sides = [flat([target.of(text) for text in texts]) for texts in columns(predictions)]
    numbers: dict[str, int] = {}
    words = [np.array([numbers.setdefault(word, len(numbers)) for word in side.words], np.int64) for side in sides]
    pairs = [side.rows * len(numbers) + one for side, one in zip(sides, words, strict=True)]
    nth = [side.places for side in sides] if aligned else [earlier(pair) for pair in pairs]
    most = 1 + max(int(one.max(initial=0)) for one in nth)
    reference, predicted = (pair * most + one for pair, one in zip(pairs, nth, strict=True))
    return Comparison(sides[0], sides[1], np.isin(reference, predicted))


def columns(predictions: Sequence[Prediction]) -> tuple[list[str], list[str]]:
    """References and predictions."""
    return [row.reference for row in predictions], [row.prediction for row in predictions]


def flat(rows: Sequence[list[str]]) -> Flat:
    """The words of some rows."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    places = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    return Flat(list(chain.from_iterable(rows)), np.repeat(np.arange(len(rows)), lengths), places, lengths)


def earlier(keys: np.ndarray) -> np.ndarray:
    """How often each of some keys (n,) has stood before it."""
    order = np.argsort(keys, kind="stable")
    new = np.diff(keys[order], prepend=-1) != 0
    found = np.empty_like(order)
    found[order] = np.arange(len(keys)) - np.flatnonzero(new)[np.cumsum(new) - 1]
    return found


def frequencies(words: Iterable[str], counts: Mapping[str, int]) -> np.ndarray:
    """(n,) how often training holds each word."""
    return np.array([counts.get(word, 0) for word in words], dtype=np.int64)


def group_of(counts: np.ndarray) -> np.ndarray:
    """The group of FREQUENCIES of each count (n,)."""
    groups: np.ndarray = np.searchsorted(FREQUENCIES, counts, side="right") - 1
    return groups


def summed(rows: np.ndarray, groups: np.ndarray, count: int, kinds: int) -> np.ndarray:
    """How many words each of `count` rows has of each of `kinds` groups (count, kinds), from those of each word."""
    sums = np.bincount(rows * kinds + groups, minlength=count * kinds)
    return sums.reshape(count, kinds).astype(np.float64)


def shares_of(reference: Flat, groups: np.ndarray, found: np.ndarray, kinds: int) -> np.ndarray:
    """(rows, kinds, 2) words that are found, and all."""
    rows = len(reference.lengths)
    right = summed(reference.rows[found], groups[found], rows, kinds)
    return np.stack([right, summed(reference.rows, groups, rows, kinds)], axis=-1)


def percent(sums: np.ndarray) -> np.ndarray:
    """(..., 2) to (...)."""
    return 100.0 * divided(sums[..., 0], sums[..., 1])


def ranges(starts: Sequence[int]) -> list[str]:
    """The names of groups of whole numbers that begin at `starts`."""
    ends = [after - 1 for after in starts[1:]]
    closed = [
        f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}" for low, high in zip(starts, ends, strict=False)
    ]
    return [*closed, f"{starts[-1]:,}+"]


def training_counts(
    data: DataModule,
    predictions: Sequence[Prediction],
    aligned: bool,
    sentences: bool = True,
    train: Texts | None = None,
    content: str | None = None,
) -> WordCounts | None:
    """How often the training rows hold the words of some predictions; None where they are streamed or not to be had.

    train: the rows, where somebody has read them already. content: the checksum of those that a model was trained on;
    others say nothing about it.
    """
    if data.window is not None:
        return None
    try:
        rows = data.texts("train") if train is None else train
    except InputError:
        return None
    if content is not None and rows.content != content:
        return None
    sides = divisions(predictions, aligned, sentences)
    wanted = [{word for row in predictions for word in sides[0].of(row.source)}, set[str]()]
    if not aligned:
        wanted[1] = {word for texts in columns(predictions) for text in texts for word in sides[1].of(text)}
    source, target = (
        {} if isinstance(kind, NoSource | Vectors) else count_words(islice(texts, LIMIT), words, side)
        for kind, texts, words, side in zip(data.kinds, rows[:2], wanted, sides, strict=True)
    )
    return WordCounts(source, target, min(LIMIT, len(rows.source)))


def count_words(texts: Iterable[str], wanted: Set[str], side: Division) -> dict[str, int]:
    """How often texts hold each of the wanted words that they hold at all."""
    counts = Counter(chain.from_iterable(map(side.of, texts if wanted else ())))
    return {word: counts[word] for word in sorted(wanted) if counts[word]}


def repetition(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """How often sentences repeat themselves, percent of the rows: predictions that do so beyond their references.

    A row does if REPEATED or more words in a row occur in it again, or a word twice in a row. Named are the rows whose
    prediction alone does so, the longest repetitions first: likely over-translations (Tu et al. 2016, sec. 1). Empty
    for texts without words, whose characters repeat all the time.
    """
    sides = columns(predictions)
    side = division(sides[0])
    if not predictions or side.unit == "character":
        return {}
    references, found = ([repeated(side.of(text)) for text in texts] for texts in sides)
    alone = [place for place, (one, other) in enumerate(zip(references, found, strict=True)) if other and not one]
    alone.sort(key=lambda place: -len(found[place]))
    return {
        "prediction": 100 * sum(map(bool, found)) / len(found),
        "reference": 100 * sum(map(bool, references)) / len(references),
        "rows": [{"id": predictions[place].id, "repeated": " ".join(found[place][:SHOWN])} for place in alone[:SHOWN]],
    }


def repeated(words: Sequence[str]) -> list[str]:
    """The longest sequence that occurs again, if it has REPEATED words, else a word with its double; empty if none."""
    seen: dict[tuple[str, ...], int] = {}
    longest: Sequence[str] = ()
    after = 0
    for place in range(len(words) - REPEATED + 1):
        first = seen.setdefault(tuple(words[place : place + REPEATED]), place)
        if first < place >= after:  # not inside the sequence that was found last
            after = place + REPEATED
            while after < len(words) and words[after] == words[first + after - place]:
                after += 1
            longest = max(longest, words[place:after], key=len)
    doubles = ([one, other] for one, other in pairwise(words) if one == other)
    return list(longest) or next(doubles, [])
