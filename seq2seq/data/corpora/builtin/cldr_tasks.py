"""Other tasks on the generated phrases: which field a word is, which language it is, how to say it shorter."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from random import Random

from babel import Locale
from babel.dates import get_date_format, get_day_names
from babel.numbers import format_currency, format_percent
from babel.units import format_unit

from seq2seq.data.corpora.builtin import cldr, cldr_phrases
from seq2seq.data.corpora.builtin.cldr_pieces import Phrase, Piece, Word, dated, listed, locale_named, text_of, words
from seq2seq.data.corpora.builtin.generated import Builtin
from seq2seq.data.corpora.corpus import SPLITS
from seq2seq.data.lines import JOINER
from seq2seq.data.rows import Row
from seq2seq.errors import InputError, check_range

Pairs = Mapping[str, Sequence[tuple[str, str]]]
"""Sources and targets of each split."""


class Localised(Builtin):
    """A corpus that is generated from Unicode CLDR: no download. A subclass writes `pairs`."""

    writes = ("pairs",)
    _pairs: Pairs | None = None

    def __init__(self, train: int, validation: int, test: int, seed: int) -> None:
        """train, validation, test: rows of each split."""
        for name, rows in zip(SPLITS, (train, validation, test), strict=True):
            check_range(f"data.corpus.{name}", rows, 0)
        self.train, self.validation, self.test, self.seed = train, validation, test, seed

    def pairs(self, counts: Mapping[str, int]) -> Pairs:
        """As many of each split as `counts` says; ValueError for a locale that cannot give them."""
        raise TypeError(f"{type(self).__name__} does not say how to make rows")

    def made(self, split: str) -> Iterator[Row]:
        if self._pairs is None:  # all splits are drawn together
            try:
                self._pairs = self.pairs({name: getattr(self, name) for name in SPLITS})
            except ValueError as problem:
                raise InputError(f"{problem}; choose another locale in data.corpus") from problem
        for number, (source, target) in enumerate(self._pairs[split], 1):
            yield Row(source, target, number)


class Cldr(Localised):
    """Localised phrases of two languages, of any locale pair."""

    def __init__(
        self,
        source_locale: str = "en",
        target_locale: str = "de",
        train: int = 20_000,
        validation: int = 500,
        test: int = 1_000,
        seed: int = 1,
    ) -> None:
        """source_locale, target_locale: such as en, de, pt_BR; train, validation, test: rows of each split."""
        super().__init__(train, validation, test, seed)
        self.source_locale, self.target_locale = source_locale, target_locale

    def pairs(self, counts: Mapping[str, int]) -> Pairs:
        made = cldr.generate(self.source_locale, self.target_locale, counts, self.seed)
        return {split: [(text_of(source), text_of(target)) for source, target in rows] for split, rows in made.items()}


class OneLocale(Localised):
    """Phrases of one locale."""

    def __init__(
        self, locale: str = "en", train: int = 20_000, validation: int = 500, test: int = 1_000, seed: int = 1
    ) -> None:
        """locale: such as en, de, pt_BR; train, validation, test: rows of each split."""
        super().__init__(train, validation, test, seed)
        self.locale = locale


class Fields(OneLocale):
    """The words of a phrase, each with its field: weekday, month, number, unit, territory and so on."""

    def pairs(self, counts: Mapping[str, int]) -> Pairs:
        made = cldr.generate(self.locale, self.locale, counts, self.seed)
        return {split: [with_fields(row.source) for row in rows] for split, rows in made.items()}


def with_fields(phrase: Sequence[Word]) -> tuple[str, str]:
    """The words and their fields."""
    return JOINER.join(word.text for word in phrase), JOINER.join(word.field for word in phrase)


class Languages(Localised):
    """A phrase, and the locale in which it is said."""

    def __init__(
        self,
        locales: list[str] | None = None,
        train: int = 20_000,
        validation: int = 500,
        test: int = 1_000,
        seed: int = 1,
    ) -> None:
        """locales: null for twelve of Europe, some of them near relatives; train, validation, test: rows of each split,
        as many of each locale.
        """
        super().__init__(train, validation, test, seed)
        self.locales = locales

    def pairs(self, counts: Mapping[str, int]) -> Pairs:
        locales = self.locales or ["cs", "de", "en", "es", "fi", "fr", "it", "nl", "no", "pl", "pt", "sv"]
        each = {name: -(-count // len(locales)) for name, count in counts.items()}
        rows = [cldr.generate(locale, locale, each, self.seed) for locale in locales]
        return {
            split: [
                (text_of(some[split][row].source), locale)
                for row in range(each[split])
                for locale, some in zip(locales, rows, strict=True)
            ][:count]
            for split, count in counts.items()
        }


class Phrases(Languages):
    """The same the other way round: a locale, and something that is said in it (one-to-many)."""

    def pairs(self, counts: Mapping[str, int]) -> Pairs:
        return {split: [(locale, phrase) for phrase, locale in some] for split, some in super().pairs(counts).items()}


class ShortForms(OneLocale):
    """A phrase written out, and the same in figures and signs: Monday, May 3, 2010 and 5/3/10."""

    def pairs(self, counts: Mapping[str, int]) -> Pairs:
        locale = locale_named(self.locale)

        def draw(random: Random) -> tuple[str, Callable[[], tuple[str, str]]]:
            both = both_forms(random, locale)
            return both[0], lambda: both

        return cldr.filled(counts, draw, self.seed, locale)


def both_forms(random: Random, locale: Locale) -> tuple[str, str]:
    """One to three things in a list, written out and short."""
    (number,) = random.choices((1, 2, 3), weights=(3, 4, 3))
    pairs = [kind(random) for kind in random.sample(FORMS, number)]
    long, short = (listed(list(side), "standard")(locale) for side in zip(*pairs, strict=True))
    return text_of(words(long)), text_of(words(short))


def date(random: Random) -> tuple[Phrase, Phrase]:
    """Monday, May 3, 2010 and 5/3/10"""
    day = cldr_phrases.drawn_day(random)
    return (
        lambda locale: dated(day, str(get_date_format("full", locale)), locale),
        lambda locale: dated(day, str(get_date_format("short", locale)), locale),
    )


def weekday(random: Random) -> tuple[Phrase, Phrase]:
    """Tuesday and Tue"""
    number = random.randrange(7)
    return (
        lambda locale: (Piece(get_day_names("wide", "stand-alone", locale)[number], "weekday"),),
        lambda locale: (Piece(get_day_names("abbreviated", "stand-alone", locale)[number], "weekday"),),
    )


def measure(random: Random) -> tuple[Phrase, Phrase]:
    """21 kilometers and 21 km"""
    number, unit = cldr_phrases.drawn_number(random), random.choice(cldr_phrases.UNITS)
    return (
        lambda locale: (Piece(format_unit(number, unit, "long", locale=locale), "unit"),),
        lambda locale: (Piece(format_unit(number, unit, "short", locale=locale), "unit"),),
    )


def money(random: Random) -> tuple[Phrase, Phrase]:
    """45 Swiss francs and CHF45.00"""
    number, currency = cldr_phrases.drawn_number(random), random.choice(cldr_phrases.CURRENCIES)
    form = partial(format_currency, number, currency)
    return (
        lambda locale: (Piece(form(locale=locale, format_type="name", currency_digits=False), "currency"),),
        lambda locale: (Piece(form(locale=locale), "currency"),),
    )


def share(random: Random) -> tuple[Phrase, Phrase]:
    """45 percent and 45%"""
    number = Decimal(random.randint(1, 100))
    return (
        lambda locale: (Piece(format_unit(number, "concentr-percent", "long", locale=locale), "percent"),),
        lambda locale: (Piece(format_percent(number / 100, locale=locale), "percent"),),
    )


FORMS = (date, weekday, measure, money, share)
"""What can be said in both forms; each docstring is an example."""
