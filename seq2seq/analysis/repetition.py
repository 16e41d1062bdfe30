"""Predictions that repeat themselves: likely over-translations (Tu et al. 2016, sec. 1)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from seq2seq.analysis.words import targets, units_of
from seq2seq.metrics.base import Prediction

REPEATED = 3
"""Words of the shortest sequence that counts as repeated wherever it occurs again."""

SHOWN = 20
"""Rows named at most, and words of what they repeat."""


def repetition(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """The percentage of references and of predictions that repeat themselves, and rows whose prediction alone does.

    A text does if REPEATED or more words in a row occur in it again, or a word twice in a row. Rows are sorted by the
    length of what they repeat. Empty for texts without words, whose characters repeat all the time.
    """
    sides = targets(predictions)
    units = units_of(sides[0])
    if not predictions or units.name == "character":
        return {}
    references, repeats = ([repeated(units.split(text)) for text in texts] for texts in sides)
    alone = [row for row, (one, other) in enumerate(zip(references, repeats, strict=True)) if other and not one]
    alone.sort(key=lambda row: -len(repeats[row]))
    return {
        "prediction": 100 * sum(map(bool, repeats)) / len(repeats),
        "reference": 100 * sum(map(bool, references)) / len(references),
        "rows": [{"id": predictions[row].id, "repeated": " ".join(repeats[row][:SHOWN])} for row in alone[:SHOWN]],
    }


def repeated(words: Sequence[str]) -> list[str]:
    """The longest sequence that occurs again, if it has REPEATED words; else the first doubled word; else nothing."""
    seen: dict[tuple[str, ...], int] = {}
    longest: Sequence[str] = ()
    after = 0
    for start in range(len(words) - REPEATED + 1):
        first = seen.setdefault(tuple(words[start : start + REPEATED]), start)
        if first < start >= after:  # not inside the last repetition
            after = start + REPEATED
            while after < len(words) and words[after] == words[first + after - start]:
                after += 1
            longest = max(longest, words[start:after], key=len)
    doubles = ([one, other] for one, other in pairwise(words) if one == other)
    return list(longest) or next(doubles, [])
