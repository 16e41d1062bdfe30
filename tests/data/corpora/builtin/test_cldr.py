"""The CLDR corpus: its pieces add up to what Babel says in one call, and each word's field is true."""

import datetime
import inspect
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from random import Random

import pytest
from babel import Locale
from babel.dates import (
    format_date,
    format_interval,
    format_skeleton,
    format_time,
    format_timedelta,
    get_date_format,
    get_day_names,
    get_month_names,
    get_time_format,
)
from babel.numbers import format_currency

from seq2seq.data.corpora.builtin import cldr, cldr_phrases
from seq2seq.data.corpora.builtin.cldr import PhrasePair
from seq2seq.data.corpora.builtin.cldr_phrases import KINDS, relative
from seq2seq.data.corpora.builtin.cldr_pieces import (
    FIELDS,
    Phrase,
    Piece,
    Pieces,
    Word,
    dated,
    fill,
    listed,
    locale_named,
    text_of,
    words,
)
from seq2seq.data.corpora.builtin.generated import split_of
from tests.support import python

PAIRS = [("en", "de"), ("de", "en"), ("fr", "tr"), ("ja", "en"), ("ar", "ru"), ("hi", "pl"), ("th", "zh"), ("he", "fi")]
FEW = {"train": 160, "validation": 20, "test": 20}

DAY = datetime.date(2021, 3, 9)
TIME = datetime.time(14, 5)

Rows = dict[str, list[PhrasePair]]


def generate(source: str = "en", target: str = "de", counts: Mapping[str, int] = FEW, seed: int = 1) -> Rows:
    return cldr.generate(source, target, counts, seed)


def sides(rows: Rows) -> list[tuple[str, list[str], list[str]]]:
    """Text, words and fields of every source and target."""
    every = [side for split in rows.values() for row in split for side in row]
    return [(text_of(side), [word.text for word in side], [word.field for word in side]) for side in every]


def sources(rows: Sequence[PhrasePair]) -> list[str]:
    return [text_of(row.source) for row in rows]


def text(pieces: tuple[Piece, ...]) -> str:
    return " ".join(word.text for word in words(pieces))


def plain(said: str) -> str:
    """Babel's own answer with its spaces and marks of direction made plain, by other means than the module's."""
    shown = "".join(letter for letter in said if unicodedata.category(letter) != "Cf")
    return " ".join(shown.split())


def in_another_process(program: str) -> object:
    said: object = json.loads(python("-c", program, check=True).stdout)
    return said


def test_the_same_rows_in_every_process_whatever_locales_came_before() -> None:
    # Hebrew and Frisian spoil Japanese in Babel itself (issue 1234): read them here, and not in the other process.
    for spoiler in ("he", "fy"):
        generate(spoiler, spoiler, {"train": 50})
    program = f"import json; from seq2seq.data.corpora.builtin.cldr import generate; print(json.dumps(generate('ja', 'fr', {FEW})))"
    assert json.loads(json.dumps(generate("ja", "fr", FEW))) == in_another_process(program)


def test_seeds_differ() -> None:
    first, second = generate(seed=1), generate(seed=2)
    same = {*sources(first["train"])} & {*sources(second["train"])}
    assert len(same) < 0.2 * FEW["train"]


def test_counts_are_met_and_no_source_occurs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cldr_phrases, "KINDS", (cldr_phrases.weekday,) * 3
    )  # so few phrases that most draws have been seen
    made = generate()
    assert {name: len(rows) for name, rows in made.items()} == FEW
    every = [source for rows in made.values() for source in sources(rows)]
    assert len(set(every)) == len(every)


def test_a_source_belongs_to_one_split_whatever_the_seed_and_counts() -> None:
    for seed in (1, 2):
        for name, rows in generate(counts={"train": 30, "validation": 60, "test": 45}, seed=seed).items():
            assert {split_of(source) for source in sources(rows)} == {name}


def test_more_rows_only_append() -> None:
    few, more = generate(), generate(counts={"train": 200, "validation": 20, "test": 40})
    for name in few:
        assert more[name][: len(few[name])] == few[name]


def test_pairs_of_one_source_locale_say_the_same() -> None:
    german, french = generate("en", "de", FEW)["test"], generate("en", "fr", FEW)["test"]
    assert sources(german) == sources(french)
    assert [row.target for row in german] != [row.target for row in french]


def test_a_split_left_out_is_not_made() -> None:
    assert {name: len(rows) for name, rows in generate(counts={"test": 3}).items()} == {"test": 3}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_words_are_the_text_and_each_has_a_field(source: str, target: str) -> None:
    for said, parts, fields in sides(generate(source, target, FEW)):
        assert parts
        assert said == " ".join(parts)
        assert said.split() == parts
        assert len(parts) == len(fields)
        assert set(fields) <= set(FIELDS)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_only_white_or_invisible_character_is_the_space(source: str, target: str) -> None:
    joiners = "\u200c\u200d"
    for said, _, _ in sides(generate(source, target, FEW)):
        odd = [c for c in said if unicodedata.category(c) in ("Cc", "Cf", "Zs", "Zl", "Zp") and c not in " " + joiners]
        assert not odd, (said, odd)


def test_no_code_of_cldr_shows_through() -> None:
    for source, target in PAIRS:
        for said, _, _ in sides(generate(source, target, FEW)):
            assert not [code for code in (*cldr_phrases.UNITS, "¤", "{") if code in said], said


def test_every_kind_of_phrase_and_every_field_of_english_occurs() -> None:
    said = {word.field for kind in KINDS for word in words(kind(Random(0))(locale_named("en")))}
    functions = inspect.getmembers(cldr_phrases, inspect.isfunction)
    defined = {function for _, function in functions if list(inspect.signature(function).parameters) == ["random"]}
    assert set(KINDS) == defined - {
        cldr_phrases.utterance,
        cldr_phrases.drawn_number,
        cldr_phrases.drawn_day,
        cldr_phrases._clock,
    }
    assert said >= {"weekday", "day", "month", "year", "hour", "number", "unit", "currency", "territory", "language"}
    made = {field for _, _, fields in sides(generate()) for field in fields}
    assert made == set(FIELDS) - {"era", "minute"}  # English and German write neither as a word of its own


@pytest.mark.parametrize("name", ["en", "de", "fr", "ru", "ar"])
def test_weekdays_months_territories_and_languages_are_of_the_locale(name: str) -> None:
    locale = locale_named(name)
    widths = [(width, context) for width in ("wide", "abbreviated") for context in ("format", "stand-alone")]
    days = {get_day_names(width, context, locale)[i] for width, context in widths for i in range(7)}  # type: ignore[arg-type]
    months = {get_month_names(width, context, locale)[i] for width, context in widths for i in range(1, 13)}  # type: ignore[arg-type]
    legal = {
        "weekday": days,
        "month": months,
        "territory": {part for territory in locale.territories.values() for part in territory.split()},
        "language": {part for language in locale.languages.values() for part in language.split()},
    }
    checked = set()
    for _, parts, fields in sides(generate(name, name, FEW)):
        for part, field in zip(parts, fields, strict=True):
            if field in legal:
                # A comma may follow; Arabic glues its "and" in front.
                forms = {part, part.rstrip(",،")}
                forms |= {form.removeprefix("و") for form in forms}
                assert forms & legal[field], (part, field)
                checked.add(field)
    assert checked == set(legal)


def test_fields_of_an_utterance() -> None:
    def fields(kind: Callable[[Random], Phrase], locale: str) -> list[str]:
        return [word.field for word in words(kind(Random(3))(locale_named(locale)))]

    assert fields(cldr_phrases.full_date, "en") == ["weekday", "month", "day", "year"]
    assert fields(cldr_phrases.full_date, "de") == ["weekday", "day", "month", "year"]
    assert fields(cldr_phrases.full_date, "ja") == ["weekday"]  # one word of four pieces takes the most specific field
    assert fields(cldr_phrases.percentage, "en") == ["percent"]
    assert fields(cldr_phrases.percentage, "de") == ["number", "percent"]
    assert fields(cldr_phrases.time_of_day, "en") == ["hour", "period"]
    assert fields(cldr_phrases.time_of_day, "fr_CA") == ["hour", "literal", "minute"]
    assert fields(cldr_phrases.price, "en") == ["currency"]
    assert fields(cldr_phrases.price, "de") == ["number", "currency"]


def test_digits_stand_only_where_a_field_has_numbers() -> None:
    numeric = {"day", "year", "hour", "quarter", "number", "currency", "percent"}
    for said, parts, fields in sides(generate("en", "de", FEW)):
        for part, field in zip(parts, fields, strict=True):
            assert field in numeric or not any(letter.isdigit() for letter in part), (said, part, field)
            assert field not in ("day", "year", "hour", "number") or any(letter.isdigit() for letter in part), (
                said,
                part,
            )


@pytest.mark.parametrize("name", ["en", "de", "fr", "tr", "ja", "ar", "ru", "hi", "pl", "th", "fi"])
def test_pieces_add_up_to_what_babel_says(name: str) -> None:
    locale = locale_named(name)
    for skeleton in ("yMMMd", "MMMEd", "MMMMd", "yMMMM", "yQQQQ"):
        assert text(cldr_phrases._by_skeleton(DAY, skeleton)(locale)) == plain(
            format_skeleton(skeleton, DAY, locale=locale)
        )
    full = get_date_format("full", locale)
    assert text(dated(DAY, str(full), locale)) == plain(format_date(DAY, "full", locale))
    short = get_time_format("short", locale)
    assert text(dated(TIME, str(short), locale)) == plain(format_time(TIME, "short", locale=locale))
    for count in (1, 2, 5, 21, 30):
        for delta in (datetime.timedelta(hours=count), -datetime.timedelta(hours=count)):
            said = format_timedelta(delta, "hour", threshold=1e9, add_direction=True, locale=locale)
            assert text(relative(count if delta > -delta else -count, "hour", locale)) == plain(said)


@pytest.mark.parametrize("name", ["en", "de", "ja", "tr", "hi"])
def test_an_interval_is_babels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cldr_phrases, "drawn_day", lambda random: DAY)
    random = Random(4)
    copy = Random(4)
    first = DAY.replace(day=copy.randint(1, 24))
    last = first + datetime.timedelta(days=copy.randint(1, 4))
    expected = format_interval(first, last, "MMMd", locale=name)
    assert text(cldr_phrases.days_of_month(random)(locale_named(name))) == plain(expected)


def test_plurals_and_direction() -> None:
    english, russian, arabic = (
        locale_named("en"),
        locale_named("ru"),
        locale_named("ar"),
    )
    assert words(relative(1, "day", english)) == [("in", "direction"), ("1", "number"), ("day", "unit")]
    assert words(relative(-3, "day", english)) == [("3", "number"), ("days", "unit"), ("ago", "direction")]
    assert [words(relative(n, "day", russian))[2].text for n in (1, 2, 5, 21)] == ["день", "дня", "дней", "день"]
    assert text(cldr_phrases.measured(Decimal(1), "length-foot", english)) == "1 foot"
    assert (
        words(cldr_phrases.measured(Decimal(2), "duration-year", arabic))[0].field == "unit"
    )  # a dual: no number is written
    # Babel has no long Japanese form and answers "5 duration-day".
    assert text(cldr_phrases.measured(Decimal(5), "duration-day", locale_named("ja"))) == "5 日"


def test_an_amount_of_money_is_babels() -> None:
    for seed in range(20):
        random, copy = Random(seed), Random(seed)
        number, currency = cldr_phrases.drawn_number(copy), copy.choice(cldr_phrases.CURRENCIES)
        said = format_currency(number, currency, locale="de", format_type="name", currency_digits=False)
        found = words(cldr_phrases.money(random)(locale_named("de")))
        assert " ".join(word.text for word in found) == plain(said)
        assert [word.field for word in found] == ["number"] + ["currency"] * (len(found) - 1)


def test_words_cut_at_every_space_and_drop_marks() -> None:
    pieces = (Piece("\u200f5\u00a0", "number"), Piece("kilo\u00adgrams\u202f", "unit"), Piece(" ,\u2009", "literal"))
    assert words(pieces) == [Word("5", "number"), Word("kilograms", "unit"), Word(",", "literal")]


def test_a_word_of_several_pieces_takes_the_most_specific_field() -> None:
    assert words((Piece("3", "day"), Piece(". ", "literal"), Piece("Tag", "unit"), Piece(",", "connector"))) == [
        Word("3.", "day"),
        Word("Tag,", "unit"),
    ]


def test_fill_obeys_the_order_of_the_pattern() -> None:
    time, day = (Piece("12:30", "hour"),), (Piece("Monday", "weekday"),)
    assert text(fill("{1} at {0}", [time, day], "literal")) == "Monday at 12:30"


def test_a_list_is_joined_as_in_the_locale() -> None:
    def names(locale: Locale) -> Pieces:
        return (Piece("A", "territory"),)

    assert text(listed([names] * 3, "standard")(locale_named("en"))) == "A, A, and A"
    assert text(listed([names] * 3, "or")(locale_named("de"))) == "A, A oder A"


def test_a_list_never_repeats_a_name() -> None:
    for seed in range(300):
        for kind in (cldr_phrases.territories, cldr_phrases.languages):
            pieces = kind(Random(seed))(locale_named("en"))
            names = [piece.text for piece in pieces if piece.field != "connector"]
            assert len(set(names)) == len(names) > 1


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cldr_phrases, "KINDS", (cldr_phrases.weekday,) * 3)
    monkeypatch.setattr(cldr, "PATIENCE", 500)
    with pytest.raises(ValueError, match=r" of 5000 test"):
        generate(counts={"test": 5000})


@pytest.mark.parametrize("name", ["xx", "", "english", "e n"])
def test_an_unknown_locale_is_refused_with_the_way_to_list_them(name: str) -> None:
    for pair in ((name, "de"), ("en", name)):
        with pytest.raises(ValueError, match=r"'.*locale_identifiers\(\)"):
            generate(*pair)


def test_a_locale_with_a_hyphen_is_known() -> None:
    assert str(locale_named("pt-BR")) == "pt_BR"
    assert generate("pt-BR", "zh_Hant", {"test": 1}) == generate("pt_BR", "zh-Hant", {"test": 1})
