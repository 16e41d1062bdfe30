"""Text of which every stretch knows its field, as Unicode CLDR writes it in a locale: pieces, words, dates, lists."""

import datetime
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Literal, NamedTuple

from babel import Locale, UnknownLocaleError, localedata
from babel.dates import DateTimeFormat, tokenize_pattern
from babel.lists import format_list

FIELDS = (
    "weekday",
    "day",
    "month",
    "quarter",
    "year",
    "era",
    "hour",
    "minute",
    "period",  # of the day: PM, in the afternoon
    "direction",  # by which past and future differ: in, ago
    "unit",
    "currency",
    "percent",
    "territory",
    "language",
    "number",
    "connector",  # joins the items of a list: and, or
    "literal",  # belongs to a pattern: Uhr, a dash
)
"""All fields, the most specific first: a word of several pieces (`3.`, `$45`, `5月3日`) takes the first of theirs."""


class Piece(NamedTuple):
    """A stretch of text, spaces included, with the one field all of it belongs to."""

    text: str
    field: str


class Word(NamedTuple):
    """What stands between two spaces, with its most specific field."""

    text: str
    field: str


Pieces = tuple[Piece, ...]
Phrase = Callable[[Locale], Pieces]
"""A meaning with its values fixed, to be said in any locale."""

Style = Literal["standard", "or"]
STYLES: tuple[Style, ...] = ("standard", "or")  # all other styles of list are missing somewhere


@cache
def locale_named(name: str) -> Locale:
    """The locale of a name such as `de`, `pt_BR` or `pt-BR`, with its data loaded apart from every other locale's.

    In Babel 2.18 locales share inherited data and write into it on reading, so that Hebrew month names turn up in
    French (github.com/python-babel/babel/issues/1234). What a locale says would depend on those used before it.
    """
    try:
        locale = Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError) as error:
        known = "babel.localedata.locale_identifiers() lists those it knows, such as en, de or pt_BR"
        raise ValueError(f"Babel knows no locale {name!r}; {known}") from error
    localedata._cache.clear()
    locale.languages.get("en")  # loads the data, which this instance then keeps
    localedata._cache.clear()
    return locale


# Left out: marks of writing direction, soft hyphens, zero-width spaces, word joiners. Zero-width joiners stay, for they
# change how Persian or Hindi is spelt.
_INVISIBLE = dict.fromkeys(
    [0xAD, 0x61C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF]
)


def words(pieces: Pieces) -> list[Word]:
    """Cuts pieces at every Unicode space (no-break and thin ones included) and drops invisible marks."""
    result: list[Word] = []
    glued = False  # does the next text continue the last word?
    for text, field in pieces:
        for part in re.split(r"(\s+)", text.translate(_INVISIBLE)):
            if part.isspace():
                glued = False
            elif part and glued:
                result[-1] = Word(result[-1].text + part, min(result[-1].field, field, key=FIELDS.index))
            elif part:
                result.append(Word(part, field))
                glued = True
    return result


def text_of(words: Iterable[Word]) -> str:
    """Words with single spaces between them."""
    return " ".join(word.text for word in words)


def fill(pattern: str, values: list[Pieces], field: str) -> Pieces:
    """Puts values for {0}, {1}, ... of a CLDR pattern; the pattern's own text gets the given field."""
    filled: list[Piece] = []
    for index, text in enumerate(re.split(r"\{(\d)\}", pattern)):
        filled.extend(values[int(text)] if index % 2 else [Piece(text, field)])
    return tuple(filled)


def around(text: str, part: str, part_field: str, field: str) -> Pieces:
    """Splits a text Babel has formatted into a part and its surroundings; without the part, all is surroundings."""
    before, middle, after = text.partition(part)
    return (Piece(before, field), Piece(middle, part_field), Piece(after, field))


def listed(items: list[Phrase], style: Style) -> Phrase:
    """The items joined as the locale joins a list, `standard` meaning and."""
    return lambda locale: fill(_list_pattern(len(items), style, locale), [item(locale) for item in items], "connector")


@cache
def _list_pattern(length: int, style: Style, locale: Locale) -> str:
    return format_list([f"{{{index}}}" for index in range(length)], style, locale)


_PATTERN_FIELDS = {
    letter: field
    for letters, field in {
        "Eec": "weekday",
        "d": "day",
        "ML": "month",
        "Qq": "quarter",
        "yYu": "year",
        "G": "era",
        "hHkK": "hour",
        "m": "minute",
        "abB": "period",
    }.items()
    for letter in letters
}


def dated(value: datetime.date | datetime.time, pattern: str, locale: Locale) -> Pieces:
    """A date or time by a CLDR pattern such as `EEEE, d. MMMM y`, one piece per field of the pattern."""
    values = DateTimeFormat(value, locale)
    return tuple(
        Piece(token, "literal")
        if isinstance(token, str)
        else Piece(values[token[0] * token[1]], _PATTERN_FIELDS[token[0]])
        for token in _tokens(pattern)
    )


@cache
def _tokens(pattern: str) -> list[str | tuple[str, int]]:
    return [token for _, token in tokenize_pattern(pattern)]
