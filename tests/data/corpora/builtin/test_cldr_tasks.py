"""Other questions about the generated phrases: their rows, and that no split knows those of another."""

from collections import Counter
from decimal import Decimal

import pytest
from babel.dates import format_date
from babel.numbers import format_currency

from seq2seq.data.corpora.builtin import cldr
from seq2seq.data.corpora.builtin.cldr_phrases import drawn_day, drawn_number
from seq2seq.data.corpora.builtin.cldr_pieces import FIELDS, locale_named, text_of
from seq2seq.data.corpora.builtin.cldr_tasks import (
    FORMS,
    Cldr,
    Fields,
    Languages,
    Localised,
    Phrases,
    ShortForms,
    date,
    money,
)
from seq2seq.errors import InputError

SPLITS = ("train", "validation", "test")
FEW = {"train": 60, "validation": 12, "test": 12}
CORPORA = [Cldr(**FEW), Fields(**FEW), Languages(["de", "en", "fr"], **FEW), ShortForms(**FEW)]
every = pytest.mark.parametrize("corpus", CORPORA, ids=lambda corpus: type(corpus).__name__)


def pairs(corpus: Localised, split: str) -> list[tuple[str, str]]:
    return [(row.source, row.target) for row in corpus.rows(split, None)]


@every
def test_no_split_has_a_source_of_another(corpus: Localised) -> None:
    sources = {split: [source for source, _ in pairs(corpus, split)] for split in SPLITS}
    assert {split: len(found) for split, found in sources.items()} == FEW
    for one in SPLITS:
        others = {source for split in SPLITS if split != one for source in sources[split]}
        assert not set(sources[one]) & others


@every
def test_more_rows_only_append(corpus: Localised) -> None:
    settings = {**corpus.specification()["init_args"], "train": 90}
    assert pairs(type(corpus)(**settings), "train")[:60] == pairs(corpus, "train")


@every
def test_all_splits_are_drawn_once(corpus: Localised, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, drawn = type(corpus)(**corpus.specification()["init_args"]), []
    made = type(fresh).pairs
    monkeypatch.setattr(type(fresh), "pairs", lambda self, counts: drawn.append(1) or made(self, counts))
    for split in (*SPLITS, *SPLITS):
        pairs(fresh, split)
    assert drawn == [1]


@every
def test_what_is_refused(corpus: Localised) -> None:
    with pytest.raises(InputError, match=rf"{type(corpus).__name__} .*data\.path"):
        next(corpus.rows("train", "somewhere"))


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.corpus\.test is -1"):
        Fields(test=-1)


def test_an_unknown_locale() -> None:
    with pytest.raises(InputError, match=r"'xx'.*data\.corpus"):
        pairs(Fields("xx", **FEW), "train")


def test_each_word_has_its_field() -> None:
    for (source, target), row in zip(
        pairs(Fields(**FEW), "train"), cldr.generate("en", "en", FEW)["train"], strict=True
    ):
        words, fields = source.split("\t"), target.split("\t")
        assert " ".join(words) == text_of(row.source)
        assert len(words) == len(fields)
        assert set(fields) <= set(FIELDS)


def test_languages_say_the_same_things_equally_often() -> None:
    found = pairs(Languages(["de", "en", "fr"], **FEW), "train")
    assert Counter(locale for _, locale in found) == {"de": 20, "en": 20, "fr": 20}
    english = [text_of(row.source) for row in cldr.generate("en", "en", {"train": 20})["train"]]
    assert [phrase for phrase, locale in found if locale == "en"] == english
    assert pairs(Phrases(["de", "en", "fr"], **FEW), "train") == [(locale, phrase) for phrase, locale in found]


class Same:
    """Random numbers of which every draw is the same."""

    def randrange(self, count: int) -> int:
        return count // 2

    def random(self) -> float:
        return 0.1

    def randint(self, low: int, high: int) -> int:
        return low + 3

    def choice(self, some: tuple[str, ...]) -> str:
        return some[3]


def test_both_forms_are_babels() -> None:
    random, locale = Same(), locale_named("en")
    long, short = ("".join(piece.text for piece in say(locale)) for say in date(random))  # type: ignore[arg-type]
    day = drawn_day(random)  # type: ignore[arg-type]
    assert (long, short) == (format_date(day, "full", "en"), format_date(day, "short", "en"))
    long, short = ("".join(piece.text for piece in say(locale)) for say in money(random))  # type: ignore[arg-type]
    number = drawn_number(random)  # type: ignore[arg-type]
    assert number == Decimal(4)
    assert short == format_currency(number, "CHF", locale="en")
    assert long == "4 Swiss francs"


def test_short_forms_are_shorter() -> None:
    found = pairs(ShortForms(train=300, validation=1, test=1), "train")
    assert sum(len(short) < len(long) for long, short in found) > 290
    assert all(kind.__doc__ for kind in FORMS), "each is an example"
