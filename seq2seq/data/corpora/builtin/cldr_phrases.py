"""The kinds of phrase of the generated corpus, said by Unicode CLDR in any locale, word by word with its field.

A phrase is assembled from pieces whose field is known (`weekday`, `number`, `territory`, ...), so that each word knows
its own. Order, grammar and plurals come from CLDR alone; nothing here is translated by hand.

A new kind is one function: draw the values from `random`, return how a locale says them, list it in `KINDS`.
"""

import datetime
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache, lru_cache
from random import Random
from typing import Literal

from babel import Locale
from babel.core import get_global
from babel.dates import (
    TIMEDELTA_UNITS,
    format_timedelta,
    get_date_format,
    get_datetime_format,
    get_day_names,
    get_time_format,
)
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_name, get_currency_symbol
from babel.units import format_unit

from seq2seq.data.corpora.builtin.cldr_pieces import (
    STYLES,
    Phrase,
    Piece,
    Pieces,
    around,
    dated,
    fill,
    listed,
    locale_named,
)

# Dates and times


def drawn_day(random: Random) -> datetime.date:
    return datetime.date(1990, 1, 1) + datetime.timedelta(days=random.randrange(50 * 365 + 12))


def _clock(random: Random) -> datetime.time:
    """A time on the quarter of an hour, so that each occurs often enough to be learnt as one word."""
    return datetime.time(random.randrange(24), random.choice((0, 15, 30, 45)))


def _by_skeleton(value: datetime.date | datetime.time, skeleton: str) -> Phrase:
    return lambda locale: dated(value, str(locale.datetime_skeletons[skeleton]), locale)


def full_date(random: Random) -> Phrase:
    """Monday, May 3, 2010"""
    day = drawn_day(random)
    return lambda locale: dated(day, str(get_date_format("full", locale)), locale)


def long_date(random: Random) -> Phrase:
    """May 3, 2010"""
    day = drawn_day(random)
    return lambda locale: dated(day, str(get_date_format("long", locale)), locale)


def short_date(random: Random) -> Phrase:
    """Aug 3, 2010"""
    return _by_skeleton(drawn_day(random), "yMMMd")


def weekday_date(random: Random) -> Phrase:
    """Tue, Aug 3"""
    return _by_skeleton(drawn_day(random), "MMMEd")


def month_day(random: Random) -> Phrase:
    """August 3"""
    return _by_skeleton(drawn_day(random), "MMMMd")


def month_of_year(random: Random) -> Phrase:
    """August 2010"""
    return _by_skeleton(drawn_day(random), "yMMMM")


def quarter_of_year(random: Random) -> Phrase:
    """3rd quarter 2010"""
    return _by_skeleton(drawn_day(random), "yQQQQ")


def days_of_month(random: Random) -> Phrase:
    """Aug 3 – 5"""
    first = drawn_day(random).replace(day=random.randint(1, 24))
    last = first + datetime.timedelta(days=random.randint(1, 4))

    def say(locale: Locale) -> Pieces:
        start, end = locale.interval_formats["MMMd"]["d"]
        return dated(first, start, locale) + dated(last, end, locale)

    return say


def time_of_day(random: Random) -> Phrase:
    """3:45 PM"""
    clock = _clock(random)
    return lambda locale: dated(clock, str(get_time_format("short", locale)), locale)


def hour_of_day(random: Random) -> Phrase:
    """3 in the afternoon"""
    return _by_skeleton(datetime.time(random.randrange(24)), "Bh")


def weekday(random: Random) -> Phrase:
    """Tuesday"""
    number = random.randrange(7)
    return lambda locale: (Piece(get_day_names("wide", "stand-alone", locale)[number], "weekday"),)


def weekday_time(random: Random) -> Phrase:
    """Tuesday, 3:45 PM"""
    day, time = weekday(random), time_of_day(random)

    def say(locale: Locale) -> Pieces:
        pattern = str(get_datetime_format("medium", locale=locale)).replace("'", "")
        return fill(pattern, [time(locale), day(locale)], "literal")

    return say


# Amounts

Span = Literal["year", "month", "week", "day", "hour", "minute", "second"]
_SPANS: tuple[Span, ...] = ("year", "month", "week", "day", "hour", "minute", "second")
_SECONDS = dict(TIMEDELTA_UNITS)

# fmt: off
UNITS = (
    "acceleration-g-force", "angle-degree", "area-hectare", "area-square-foot", "area-square-kilometer",
    "area-square-meter", "area-square-mile", "digital-byte", "digital-gigabyte", "digital-kilobyte", "digital-megabyte",
    "duration-day", "duration-hour", "duration-minute", "duration-month", "duration-second", "duration-week",
    "duration-year", "electric-ampere", "electric-volt", "energy-calorie", "energy-joule", "energy-kilowatt-hour",
    "frequency-hertz", "length-centimeter", "length-foot", "length-inch", "length-kilometer", "length-light-year",
    "length-meter", "length-mile", "length-millimeter", "mass-gram", "mass-kilogram", "mass-ounce", "mass-pound",
    "power-horsepower", "power-kilowatt", "power-watt", "pressure-hectopascal", "speed-kilometer-per-hour",
    "speed-meter-per-second", "speed-mile-per-hour", "temperature-celsius", "temperature-fahrenheit",
    "volume-cubic-meter", "volume-cup", "volume-gallon", "volume-liter", "volume-milliliter",
)
CURRENCIES = (
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HUF", "INR", "JPY", "KRW", "MXN", "NOK", "PLN",
    "RUB", "SEK", "TRY", "USD", "ZAR",
)
# Few signs and prices, for English glues them: each pair is one word, to be seen often enough.
_SIGNS = ("EUR", "GBP", "INR", "JPY", "USD")
_PRICES = (
    "0.99", "1.49", "2", "2.50", "3.95", "4.99", "5", "7.50", "9.99", "10", "12.50", "15", "19.99", "24.95", "29.99",
    "49.99", "50", "75", "99.99", "100", "149", "199.99", "250", "499.90", "750",
)
# fmt: on


def drawn_number(random: Random) -> Decimal:
    """Mostly 1 to 99, at times a half or a round number up to 2,000: few enough words for each to be seen."""
    draw = random.random()
    if draw < 0.7:
        return Decimal(random.randint(1, 99))
    if draw < 0.85:
        return Decimal(random.randint(0, 19)) + Decimal("0.5")
    return Decimal(random.randint(2, 40) * 50)


@lru_cache(maxsize=100_000)
def measured(number: Decimal, unit: str, locale: Locale) -> Pieces:
    """A number with its unit in the plural form the locale asks for; some put a 1 or 2 into the form itself."""
    text = format_unit(number, unit, locale=locale)
    if unit in text:  # Babel's answer where the long name is the short one, as often in Japanese
        text = format_unit(number, unit, "short", locale=locale)
    return around(text, format_decimal(number, locale=locale), "number", "unit")


@lru_cache(maxsize=100_000)
def relative(number: int, unit: Span, locale: Locale) -> Pieces:
    """Units from now, or ago if negative; words common to past and future are the unit, the others direction.

    CLDR has one pattern for both, so a language that inflects the unit by direction (Finnish) has more of the latter.
    """
    amount = str(abs(number))
    shared = _since(-number, unit, locale).replace(amount, " ").split()
    pieces: list[Piece] = []
    for text, field in around(_since(number, unit, locale), amount, "number", "unit"):
        for part in re.split(r"(\s+)", text):
            pieces.append(Piece(part, "direction" if field == "unit" and part not in shared else field))
    return tuple(pieces)


def _since(number: int, unit: Span, locale: Locale) -> str:
    # A threshold out of reach keeps Babel from turning 30 days into a month.
    return format_timedelta(number * _SECONDS[unit], unit, threshold=1e9, add_direction=True, locale=locale)


def measure(random: Random) -> Phrase:
    """21 kilometers"""
    number, unit = drawn_number(random), random.choice(UNITS)
    return lambda locale: measured(number, unit, locale)


def two_measures(random: Random) -> Phrase:
    """3 hours and 20 minutes"""
    units = random.choice((("week", "day"), ("day", "hour"), ("hour", "minute"), ("minute", "second")))
    amounts = [Decimal(random.randint(1, 30)) for _ in units]
    parts = zip(amounts, units, strict=True)
    return listed([_duration(amount, unit) for amount, unit in parts], "standard")


def _duration(number: Decimal, unit: str) -> Phrase:
    return lambda locale: measured(number, f"duration-{unit}", locale)


def from_now(random: Random) -> Phrase:
    """in 3 days, 2 weeks ago"""
    number, unit = random.choice((-1, 1)) * random.randint(1, 40), random.choice(_SPANS)
    return lambda locale: relative(number, unit, locale)


def percentage(random: Random) -> Phrase:
    """45%"""
    number = Decimal(random.randint(1, 100))

    def say(locale: Locale) -> Pieces:
        text = format_percent(number / 100, locale=locale)
        return around(text, format_decimal(number, locale=locale), "number", "percent")

    return say


def price(random: Random) -> Phrase:
    """$49.99"""
    number, currency = Decimal(random.choice(_PRICES)), random.choice(_SIGNS)

    def say(locale: Locale) -> Pieces:
        text = format_currency(number, currency, locale=locale)
        return around(text, get_currency_symbol(currency, locale), "currency", "number")

    return say


def money(random: Random) -> Phrase:
    """45 Swiss francs"""
    number, currency = drawn_number(random), random.choice(CURRENCIES)

    def say(locale: Locale) -> Pieces:
        text = format_currency(number, currency, locale=locale, format_type="name", currency_digits=False)
        return around(text, get_currency_name(currency, number, locale), "currency", "number")

    return say


# Names


_NAMELESS = ("CQ", "hif")  # Sark and Fiji Hindi: most locales have no name for them


@cache
def _official() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Territories with an official language, and the languages official somewhere: 249 and 114 codes."""
    official = ("official", "de_facto_official")
    spoken = {
        territory: [code for code, facts in codes.items() if facts["official_status"] in official]
        for territory, codes in get_global("territory_languages").items()
        if territory not in _NAMELESS
    }
    known = locale_named("en").languages  # neither codes no locale has a name for, nor variants by script
    languages = {code for codes in spoken.values() for code in codes if code in known and "_" not in code}
    territories = tuple(sorted(territory for territory, codes in spoken.items() if codes))
    return territories, tuple(sorted(languages - {*_NAMELESS}))


def _territory(code: str) -> Phrase:
    return lambda locale: (Piece(locale.territories.get(code, code), "territory"),)


def _language(code: str) -> Phrase:
    return lambda locale: (Piece(locale.languages.get(code, code), "language"),)


def territory(random: Random) -> Phrase:
    """Switzerland"""
    return _territory(random.choice(_official()[0]))


def language(random: Random) -> Phrase:
    """Romanian"""
    return _language(random.choice(_official()[1]))


def territories(random: Random) -> Phrase:
    """Switzerland, Peru, or Japan"""
    codes = random.sample(_official()[0], random.randint(2, 3))
    return listed([_territory(code) for code in codes], random.choice(STYLES))


def languages(random: Random) -> Phrase:
    """Romanian and Thai"""
    codes = random.sample(_official()[1], random.randint(2, 3))
    return listed([_language(code) for code in codes], random.choice(STYLES))


KINDS: tuple[Callable[[Random], Phrase], ...] = (
    full_date,
    long_date,
    short_date,
    weekday_date,
    month_day,
    month_of_year,
    quarter_of_year,
    days_of_month,
    time_of_day,
    hour_of_day,
    weekday,
    weekday_time,
    measure,
    two_measures,
    from_now,
    percentage,
    price,
    money,
    territory,
    language,
    territories,
    languages,
)
"""The kinds of phrase a row is made of; each docstring is an example."""


def utterance(random: Random) -> Phrase:
    """One to three phrases of different kinds, joined as a list."""
    (number,) = random.choices((1, 2, 3), weights=(3, 4, 3))
    return listed([kind(random) for kind in random.sample(KINDS, number)], random.choice(STYLES))
