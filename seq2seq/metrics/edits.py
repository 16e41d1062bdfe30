"""Which edits lead from a reference to a prediction: words inserted, deleted and replaced, and for which ones."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

SHOWN = 20
"""Confusions that are kept, the most frequent ones."""


LONGEST = 2000
"""Words of a side above which a row is not aligned."""


class Aligned(NamedTuple):
    """A place of an alignment; None where the other side has a word more."""

    reference: str | None
    prediction: str | None


def align(reference: Sequence[str], prediction: Sequence[str]) -> list[Aligned]:
    """The words of both sides beside each other with the fewest edits (Wagner and Fischer 1974).

    Of equally short ways the one that replaces as late as it can.
    """
    table = [list(range(len(prediction) + 1))]
    for row, word in enumerate(reference, 1):
        above, now = table[-1], [row]
        for column, other in enumerate(prediction):
            now.append(min(above[column] + (word != other), above[column + 1] + 1, now[column] + 1))
        table.append(now)
    row, column, found = len(reference), len(prediction), list[Aligned]()
    while row or column:
        here = table[row][column]
        pair = row and column and here == table[row - 1][column - 1] + (reference[row - 1] != prediction[column - 1])
        down = not pair and row and here == table[row - 1][column] + 1
        row, column = row - bool(pair or down), column - bool(not down)
        found.append(Aligned(reference[row] if pair or down else None, None if down else prediction[column]))
    return found[::-1]


def edits(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, Any]:
    """How many words of all pairs (reference, prediction) are inserted, deleted and replaced, and which most often.

    left_out: pairs that are too long to be aligned, of which nothing is counted.
    """
    words, left_out, wrong = 0, 0, Counter[Aligned]()
    for reference, prediction in pairs:
        if max(len(reference), len(prediction)) > LONGEST:
            left_out += 1
            continue
        words += len(reference)
        if list(reference) != list(prediction):
            wrong.update(place for place in align(reference, prediction) if place.reference != place.prediction)
    inserted = sum(count for place, count in wrong.items() if place.reference is None)
    deleted = sum(count for place, count in wrong.items() if place.prediction is None)
    first = sorted(wrong.items(), key=lambda item: (-item[1], item[0].reference or "", item[0].prediction or ""))
    return {
        "words": words,
        "left_out": left_out,
        "inserted": inserted,
        "deleted": deleted,
        "replaced": wrong.total() - inserted - deleted,
        "confusions": [{**place._asdict(), "count": count} for place, count in first[:SHOWN]],
    }
