"""Parallel phrases made on the spot from Unicode CLDR: a corpus that needs no download.

CLDR, which the Babel library carries, says how hundreds of languages write dates, times, durations, amounts and names.
A row draws a few values (a date, a price, three countries), says them in two locales, and joins them with the list
pattern of each.

    20%, 9 days ago, or Tue, May 1      20 %, vor 9 Tagen oder Di., 1. Mai

Each word carries its field, so the same rows serve tagging, classification by locale and generation.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple, TypeVar

from babel import Locale

from seq2seq.data.corpora.builtin.cldr_phrases import utterance
from seq2seq.data.corpora.builtin.cldr_pieces import Word, locale_named, text_of, words
from seq2seq.data.corpora.builtin.generated import split_of

PATIENCE = 10_000
"""After that many draws without a new row, there are held to be no more."""

T = TypeVar("T")


class PhrasePair(NamedTuple):
    """The words of a phrase in two locales."""

    source: list[Word]
    target: list[Word]


def generate(
    source_locale: str, target_locale: str, counts: Mapping[str, int], seed: int = 1
) -> dict[str, list[PhrasePair]]:
    """As many rows of each split as `counts` says.

    No source occurs twice. Its checksum alone decides its split, so no source of one split turns up in another,
    whatever the seed and the counts; asking for more rows only appends. A row's values depend on the seed and the
    number of its draw, not on the locales, so en-de and en-fr say the same things.
    """
    source, target = locale_named(source_locale), locale_named(target_locale)

    def draw(random: Random) -> tuple[str, Callable[[], PhrasePair]]:
        say = utterance(random)
        spoken = words(say(source))
        return text_of(spoken), lambda: PhrasePair(spoken, words(say(target)))

    return filled(counts, draw, seed, source)


def filled(
    counts: Mapping[str, int], draw: Callable[[Random], tuple[str, Callable[[], T]]], seed: int, locale: Locale
) -> dict[str, list[T]]:
    """As many rows of each split as `counts` says, none of whose sources occurs twice.

    draw: from random numbers to a source, and to what makes its row. ValueError where there are too few sources.
    """
    made: dict[str, list[T]] = {name: [] for name in counts}
    seen: set[str] = set()
    last = number = 0
    while any(len(made[name]) < count for name, count in counts.items()):
        if number - last > PATIENCE:
            reached = ", ".join(f"{len(made[name])} of {count} {name}" for name, count in counts.items())
            raise ValueError(f"{locale} has too few different phrases: made {reached} rows; ask for fewer")
        source, row = draw(Random(f"{seed} {number}"))  # a text seed is hashed by SHA-512, the same in every process
        split = split_of(source)
        if source not in seen and len(made.get(split, ())) < counts.get(split, 0):
            seen.add(source)
            made[split].append(row())
            last = number
        number += 1
    return made
