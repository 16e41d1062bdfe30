"""Parallel phrases made on the spot from Unicode CLDR: a corpus that needs no download.

CLDR, which the Babel library carries, says how hundreds of languages write dates, times, durations, amounts and names.
A row draws a few values (a date, a price, three countries), says them in two locales, and joins them with the list
pattern of each.

    20%, 9 days ago, or Tue, May 1      20 %, vor 9 Tagen oder Di., 1. Mai

Each word carries its field, so the same rows serve tagging, classification by locale and generation.
"""

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import TypedDict, TypeVar

from babel import Locale

from seq2seq.data.corpora.builtin.cldr_phrases import utterance
from seq2seq.data.corpora.builtin.cldr_pieces import Word, locale_named, words
from seq2seq.data.corpora.builtin.generated import split_of
from seq2seq.data.corpora.corpus import SPLITS

ROWS: Mapping[str, int] = MappingProxyType(dict(zip(SPLITS, (20_000, 500, 1_000), strict=True)))
"""How many rows of each split `generate` makes by default."""

PATIENCE = 10_000
"""After that many draws without a new row, `generate` holds that there are no more."""


T = TypeVar("T")


class PhraseRow(TypedDict):
    """One pair of texts; `" ".join(source_words) == source`, and likewise for the target."""

    id: int
    source: str
    target: str
    source_locale: str
    target_locale: str
    source_words: list[str]
    source_fields: list[str]
    target_words: list[str]
    target_fields: list[str]


def generate(
    source_locale: str = "en", target_locale: str = "de", rows: Mapping[str, int] = ROWS, seed: int = 1
) -> dict[str, list[PhraseRow]]:
    """Makes the splits `train`, `validation` and `test`, each with as many rows as `rows` says, by default 0.

    No source occurs twice. Its checksum alone decides its split, so no source of one split turns up in another,
    whatever the seed and the counts; asking for more rows only appends. A row's values depend on the seed and its id,
    not on the locales, so en-de and en-fr say the same things.
    """
    source, target = locale_named(source_locale), locale_named(target_locale)
    if unknown := [f"{name!r}: {number}" for name, number in rows.items() if name not in ROWS or number < 0]:
        raise ValueError(f"rows has {', '.join(unknown)}; it maps {', '.join(ROWS)} to counts of at least 0")

    def draw(random: Random) -> tuple[str, Callable[[int], PhraseRow]]:
        say = utterance(random)
        said = words(say(source))
        return " ".join(word.text for word in said), lambda number: _row(
            number, source, target, said, words(say(target))
        )

    return filled({name: rows.get(name, 0) for name in ROWS}, draw, seed, source)


def filled(
    wanted: Mapping[str, int], draw: Callable[[Random], tuple[str, Callable[[int], T]]], seed: int, locale: Locale
) -> dict[str, list[T]]:
    """The `wanted` number of rows of each split, none of whose sources occurs twice.

    draw: from random numbers to a source, and to what makes its row, given the number of the draw.
    """
    made: dict[str, list[T]] = {name: [] for name in wanted}
    seen: set[str] = set()
    last = number = 0
    while any(len(made[name]) < wanted[name] for name in wanted):
        if number - last > PATIENCE:
            reached = ", ".join(f"{len(made[name])} of {wanted[name]} {name}" for name in wanted)
            raise ValueError(f"{locale} has too few different phrases: made {reached} rows; ask for fewer")
        text, row = draw(Random(f"{seed} {number}"))  # a text seed is hashed by SHA-512, the same in every process
        split = split_of(text)
        if text not in seen and len(made[split]) < wanted[split]:
            seen.add(text)
            made[split].append(row(number))
            last = number
        number += 1
    return made


def _row(number: int, source: Locale, target: Locale, said: list[Word], answer: list[Word]) -> PhraseRow:
    return PhraseRow(
        id=number,
        source=" ".join(word.text for word in said),
        target=" ".join(word.text for word in answer),
        source_locale=str(source),
        target_locale=str(target),
        source_words=[word.text for word in said],
        source_fields=[word.field for word in said],
        target_words=[word.text for word in answer],
        target_fields=[word.field for word in answer],
    )
