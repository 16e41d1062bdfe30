"""Features of rows and tokens: one id holds a token and its features, and search never writes what means nothing."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from seq2seq.data.batching.batch import RowFormat
from seq2seq.data.checks import checks
from seq2seq.data.checks.findings import Encoded, rows_with_unknown
from seq2seq.data.datamodule import DataModule
from seq2seq.data.ragged import Ragged
from seq2seq.data.tokenizers import factored
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, UNK, Tokenizer, Tokenizers
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.factored import RowFeatures, TokenFeatures
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.errors import InputError
from tests.support import PAIRS, TEXTS, damage, key, python, reborn, split_of, trained

ROWS = [f"{language}\tnews\t{text}" for pair in PAIRS for language, text in zip(("en", "de"), pair, strict=True)]
ROWS += ["de\ttalk\tein Vogel", "fr\ttalk\tein Vogel"]
TOKENS = ["der￨DET￨Nom Hund￨NOUN￨Nom", "den￨DET￨Acc Hund￨NOUN￨Acc sehen￨VERB￨", ""]
LEARNT: dict[str, Any] = {
    "pieces": trained(RowFeatures(SentencePiece(100, "bpe"), 2), ROWS),
    "characters": trained(RowFeatures(Characters()), ["de\tab", "en\tba", "\tc"]),
    "columns": trained(RowFeatures(Columns([Labels(";"), Characters()])), ["de\tN;PL\tab", "en\tV\tc"]),
    "sentences": trained(RowFeatures(Words(separator="\t")), ["de\tViệt Nam\tđẹp", "en\tđẹp"]),
    "tokens": trained(TokenFeatures(Words(), 2), TOKENS),
    "both": trained(RowFeatures(TokenFeatures(Words(separator="\t"), 1, "/")), ["de\tder/DET\tHund/NOUN", "en\ta/DET"]),
}
SOME = {
    "pieces": ROWS,
    "characters": ["de\tab", "en\tba", "\tc"],
    "columns": ["de\tN;PL\tab", "en\tV\tba"],
    "sentences": ["de\tViệt Nam\tđẹp", "en\tđẹp"],
    "tokens": TOKENS,
    "both": ["de\tder/DET\tHund/NOUN", "en\tder/NOUN"],
}
named = pytest.mark.parametrize("name", LEARNT)
quick = settings(max_examples=80, deadline=None)
VALUE = st.text("ab ;\u2581é", max_size=3)
WORD = st.text("abé￨|", min_size=1, max_size=3)


def digits(number: int, sizes: tuple[int, ...]) -> list[int]:
    """Token and features of an id."""
    found = []
    for size in sizes:
        found.append(number % size)
        number //= size
    assert number == 0
    return found


# What ids mean


@named
def test_sizes_and_length(name: str) -> None:
    tokenizer = LEARNT[name]
    assert len(tokenizer) == math.prod(tokenizer.sizes)
    assert tokenizer.sizes[: len(tokenizer.text.sizes)] == tokenizer.text.sizes
    assert {number for ids in tokenizer.encode(SOME[name]) for number in ids} <= set(range(len(tokenizer)))


def test_sizes_are_those_of_the_data() -> None:
    assert LEARNT["pieces"].sizes[1:] == (2 + 3, 2 + 2), "three languages, two genres"
    assert LEARNT["tokens"].sizes == (4 + 4, 2 + 3, 2 + 3), "no case is a value as well"
    assert LEARNT["both"].sizes == (4 + 3, 2 + 2, 2 + 2), "those of the tokens come first"
    assert trained(Words()).sizes == (len(trained(Words())),)


def test_ids_of_a_row() -> None:
    tokenizer = LEARNT["pieces"]
    size = tokenizer.sizes[0]
    for row, ids in zip(ROWS, tokenizer.encode(ROWS), strict=True):
        language, genre, text = row.split("\t")
        place = ["de", "en", "fr"].index(language) + 2, ["news", "talk"].index(genre) + 2
        assert [number % size for number in ids] == tokenizer.text.encode([text])[0]
        assert {number // size for number in ids} == {place[0] + 5 * place[1]}
        assert all(digits(number, tokenizer.sizes)[1:] == list(place) for number in ids)
    assert tokenizer.encode([]) == []
    assert tokenizer.encode(["de\tnews\t"]) == [[]]


def test_ids_of_tokens() -> None:
    tokenizer = LEARNT["tokens"]
    kinds, cases = ["DET", "NOUN", "VERB"], ["", "Acc", "Nom"]
    for text, ids in zip(TOKENS, tokenizer.encode(TOKENS), strict=True):
        parts = [token.split("￨") for token in text.split()]
        words = tokenizer.text.encode([" ".join(word for word, _, _ in parts)])[0]
        expected = [word + 8 * (kinds.index(kind) + 2 + 5 * (cases.index(case) + 2)) for word, (_, kind, case)
                    in zip(words, parts, strict=True)]  # fmt: skip
        assert ids == expected
    assert len(tokenizer.encode(TOKENS)[1]) == 3


@named
def test_special_ids_are_as_everywhere(name: str) -> None:
    tokenizer = LEARNT[name]
    empty = tokenizer.decode([])
    assert not empty.strip("\t"), "neither text nor features"
    for number in (PAD, UNK, BOS, EOS):
        assert digits(number, tokenizer.sizes) == [number] + [0] * (len(tokenizer.sizes) - 1)
    assert tokenizer.decode([PAD, BOS, EOS]) == empty
    ids = tokenizer.encode(SOME[name][:1])[0]
    assert tokenizer.decode([BOS, *ids, EOS, PAD]) == SOME[name][0]


# Back to text


@named
def test_texts_come_back(name: str) -> None:
    tokenizer = LEARNT[name]
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(SOME[name])] == SOME[name]


@quick
@given(data=st.data(), count=st.integers(1, 3))
def test_rows_come_back(data: st.DataObject, count: int) -> None:
    columns = [VALUE] * count + [st.text("ab \u2028é", min_size=1, max_size=5)]
    rows = data.draw(st.lists(st.tuples(*columns).map("\t".join), min_size=1, max_size=6))
    tokenizer = trained(RowFeatures(Characters(), count), rows)
    parts = [
        trained(Labels(), [row.split("\t")[place].replace(" ", "_") + "." for row in rows]) for place in range(count)
    ]
    assert tokenizer.sizes[1:] == tuple(len(part) - 2 for part in parts), "as many values as there are, two besides"
    for row, ids in zip(rows, tokenizer.encode(rows), strict=True):
        *values, text = row.split("\t")
        assert tokenizer.decode(ids) == "\t".join([*values, " ".join(text.splitlines())])
        assert [digits(number, tokenizer.sizes)[0] for number in ids] == tokenizer.text.encode([text])[0]


@quick
@given(data=st.data(), count=st.integers(1, 3), separator=st.sampled_from(" \t"), divider=st.sampled_from("￨|/"))
def test_tokens_come_back(data: st.DataObject, count: int, separator: str, divider: str) -> None:
    part = WORD.map(lambda word: word.replace(divider, "."))
    token = st.tuples(part, *[part | st.just("")] * count).map(divider.join)
    texts = data.draw(st.lists(st.lists(token, max_size=4).map(separator.join), min_size=1, max_size=5))
    tokenizer = TokenFeatures(Words(separator=separator), count, divider)
    tokenizer.train([*texts, divider.join(["x"] * (count + 1))])
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        assert tokenizer.decode(ids) == text
        assert len(ids) == len([one for one in text.split(separator) if one])


def test_a_predicted_tab_does_not_make_a_column() -> None:
    tokenizer = trained(RowFeatures(SentencePiece(380, "bpe", byte_fallback=True)), [f"de\t{text}" for text in TEXTS])
    tab = [number + tokenizer.shift(("de",)) for number in tokenizer.text.encode(["a\tb"])[0]]
    assert tokenizer.decode(tab) == "de\ta b"


def test_a_prediction_is_one_line() -> None:
    tokenizer = trained(RowFeatures(Characters()), ["d\u2028e\ta\rb"])
    assert tokenizer.decode(tokenizer.encode(["d\u2028e\ta\rb"])[0]) == "d e\ta b"
    tokenizer = trained(TokenFeatures(Words()), ["a\u2028b￨X\rY"])
    assert tokenizer.decode(tokenizer.encode(["a\u2028b￨X\rY"])[0]) == "a b￨X Y"


# What training has not seen


def test_an_unseen_value_is_unknown() -> None:
    tokenizer = LEARNT["characters"]
    ids = tokenizer.encode(["xx\tab"])[0]
    assert [digits(number, tokenizer.sizes)[1] for number in ids] == [1, 1]
    assert tokenizer.decode(ids) == "<unk>\tab"
    ids = LEARNT["tokens"].encode(["Hund￨X￨Acc"])[0]
    assert digits(ids[0], LEARNT["tokens"].sizes)[1:] == [1, 3]
    assert LEARNT["tokens"].decode(ids) == "Hund￨<unk>￨Acc"


def test_an_unseen_token_keeps_its_features() -> None:
    tokenizer = LEARNT["characters"]
    assert [digits(number, tokenizer.sizes) for number in tokenizer.encode(["en\tax"])[0]] == [[4, 4], [UNK, 4]]
    assert tokenizer.decode(tokenizer.encode(["en\txa"])[0]) == "en\t\ufffda"
    assert LEARNT["tokens"].decode(LEARNT["tokens"].encode(["Kuh￨NOUN￨Nom"])[0]) == "<unk>￨NOUN￨Nom"
    assert LEARNT["both"].decode(LEARNT["both"].encode(["en\tx/DET\ta/X"])[0]) == "en\t<unk>/DET\ta/<unk>"


def test_what_is_unknown_is_counted() -> None:
    rows = ["de\tab", "en\txb", "xx\ta"]
    tokenizer = LEARNT["characters"]
    ids = Ragged.of(tokenizer.encode(rows))
    assert tokenizer.unknown_among(ids.flat).tolist() == [False, False, True, False, True]
    assert rows_with_unknown(ids, tokenizer).tolist() == [1, 2]
    assert checks.unknown_rate(ids, tokenizer) == 2 / 5
    plain = Ragged.of([[4, UNK], [5]])
    assert checks.unknown_rate(plain, trained(Words())) == 1 / 3
    assert rows_with_unknown(plain, trained(Words())).tolist() == [0]
    assert LEARNT["both"].unknown_among(np.array(LEARNT["both"].encode(["en\tx/DET\ta/X\ta/DET"])[0])).tolist() == [
        True,
        True,
        False,
    ]


# What is never predicted


@named
def test_only_what_has_a_meaning_is_written(name: str) -> None:
    tokenizer = LEARNT[name]
    expected = []
    for number in range(len(tokenizer)):
        token, *values = digits(number, tokenizer.sizes)
        end, ordinary = token == EOS and not any(values), token > EOS and min(values) >= 2
        if not (end or ordinary):
            expected.append(number)
    assert tokenizer.unwritable.tolist() == expected
    assert not set(expected) & {
        number for ids in tokenizer.encode(SOME[name]) for number in ids if number % tokenizer.sizes[0] != UNK
    }
    assert {PAD, UNK, BOS} <= set(expected)


def test_other_tokenizers_write_all_but_three_ids() -> None:
    for tokenizer in (trained(Words()), trained(SentencePiece(60)), trained(Columns([Words()]))):
        assert tokenizer.unwritable.tolist() == [PAD, UNK, BOS]


# Rows that are wrong


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pieces", "de\tein Vogel", r" 2 .* 3 .*data\.tokenizer\.features"),
        ("pieces", "", r"'' .* 1 .* 3 "),
        ("pieces", "de\tnews\tein\tVogel", r" 4 .* 3 "),
        ("columns", "de\tN", r"'N' .* 1 .* 2 "),
        ("sentences", "de", r"'de' .* 1 .* 2 "),
        ("tokens", "der￨DET￨Nom Hund￨NOUN", r"'Hund￨NOUN' .* 1 .*'￨'.* 2 "),
        ("tokens", "der￨DET￨Nom￨X", r"'der￨DET￨Nom￨X' .* 3 "),
        ("tokens", "Hund", r"'Hund' .* 0 "),
        ("tokens", "a￨b￨c ￨DET￨Nom", r"'￨DET￨Nom' "),
        ("both", "de\tder", r"'der' .* 0 "),
    ],
)
def test_a_row_that_does_not_fit_is_named(name: str, text: str, message: str) -> None:
    tokenizer = LEARNT[name]
    for call in (
        lambda: tokenizer.encode([*SOME[name], text]),
        lambda: tokenizer.check(text),
        lambda: tokenizer.sample(text, key(0)),
        lambda: reborn(tokenizer).train([*SOME[name], text]),
    ):
        with pytest.raises(InputError, match=message):
            call()


@named
def test_a_row_that_fits_passes_the_check(name: str) -> None:
    for text in SOME[name]:
        LEARNT[name].check(text)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RowFeatures(Words(), 0), r"data\.tokenizer\.features is 0"),
        (lambda: TokenFeatures(Words(), 0), r"data\.tokenizer\.features is 0"),
        (lambda: RowFeatures(RowFeatures(Words())), r"raise data\.tokenizer\.features"),
        (lambda: TokenFeatures(SentencePiece()), "need Words or Labels"),  # type: ignore[arg-type]
        (lambda: TokenFeatures(Words(), divider=" "), r"data\.tokenizer\.divider is ' '"),
        (lambda: TokenFeatures(Words(), divider="||"), r"data\.tokenizer\.divider is '\|\|'"),
        (lambda: TokenFeatures(Words(), divider="\n"), r"data\.tokenizer\.divider"),
    ],
)  # fmt: skip
def test_settings_are_checked(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    "tokenizer", [RowFeatures(Words()), RowFeatures(SentencePiece()), TokenFeatures(Words())], ids=str
)
@pytest.mark.parametrize("empty", [True, False])
def test_nothing_to_learn_from(tokenizer: Tokenizer, empty: bool) -> None:
    blank = "de\t " if isinstance(tokenizer, RowFeatures) else "  "
    with pytest.raises(InputError, match=r"empty.*data\.corpus"):
        tokenizer.train([] if empty else [blank])


def test_more_ids_than_can_be_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Ragged.of([[factored.MOST - 1]]).flat.tolist() == [factored.MOST - 1]
    with pytest.raises(OverflowError):
        Ragged.of([[factored.MOST]])
    rows = ["a\tb\tc", "b\tc\tc", "a\td\tc"]
    monkeypatch.setattr(factored, "MOST", 5 * 4 * 5)
    assert len(trained(RowFeatures(Characters(), 2), rows)) == 5 * 4 * 5
    monkeypatch.setattr(factored, "MOST", 5 * 4 * 5 - 1)
    with pytest.raises(InputError, match=r"5 x 4 x 5 .*2\^31"):
        trained(RowFeatures(Characters(), 2), rows)


# What a checkpoint keeps


@named
def test_the_state_is_all_that_was_learnt(name: str) -> None:
    tokenizer = LEARNT[name]
    again = reborn(tokenizer)
    texts = SOME[name] + [text.replace("de", "xx") for text in SOME[name]]
    assert (again.encode(texts), again.sizes, again.state) == (
        tokenizer.encode(texts),
        tokenizer.sizes,
        tokenizer.state,
    )
    assert [again.decode(ids) for ids in again.encode(texts)] == [tokenizer.decode(ids) for ids in again.encode(texts)]
    assert again.unwritable.tolist() == tokenizer.unwritable.tolist()
    assert again.specification() == tokenizer.specification()


@named
def test_a_damaged_state_is_an_input_error(name: str) -> None:
    state = LEARNT[name].state
    parts = json.loads(state)
    text, *lists = parts
    worse = [[text, *lists[:-1]], [*parts, lists[0]], [text[1:], *lists], ["", *lists], [text, *["?"] * len(lists)]]
    worse += [
        [text, *[wrong] * len(lists)]
        for wrong in (lists[0][:4], "W10=", "WyJhIiwgImEiXQ==", "WzFd", "é", "!" + lists[0])
    ]
    for damaged in [*damage(state), *(json.dumps(one).encode() for one in worse)]:
        fresh = reborn(LEARNT[name])
        with pytest.raises(InputError, match=r"damaged") as problem:
            fresh.restore(damaged)
        assert "damaged" in str(problem.value)


# Random segmentations


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_samples_are_those_of_the_text(kind: Any) -> None:
    tokenizer = trained(RowFeatures(SentencePiece(100, kind, sampling=0.3), 2), ROWS)
    assert tokenizer.samples
    assert not LEARNT["pieces"].samples
    assert not LEARNT["tokens"].samples
    row = "de\ttalk\tein Mann rennt schnell"
    drawn = [tokenizer.sample(row, key(number)) for number in range(20)]
    assert drawn == [reborn(tokenizer).sample(row, key(number)) for number in range(20)]
    assert len(set(map(tuple, drawn))) > 5
    assert {tokenizer.decode(ids) for ids in drawn} == {row}
    for number, ids in enumerate(drawn):
        assert [one % tokenizer.sizes[0] for one in ids] == tokenizer.text.sample("ein Mann rennt schnell", key(number))
        assert {tuple(digits(one, tokenizer.sizes)[1:]) for one in ids} == {(2, 3)}


@named
def test_a_sample_without_sampling_is_encode(name: str) -> None:
    for text in SOME[name]:
        assert LEARNT[name].sample(text, key(0)) == LEARNT[name].encode([text])[0]


# From a corpus to batches


LANGUAGES = """
data:
  corpus:
    class_path: Mixture
    init_args:
      names: [ice, lit]
      corpora:
        - {class_path: Tsv, init_args: {files: {train: ice, validation: ice_dev, test: ice_dev}}}
        - {class_path: Tsv, init_args: {files: {train: lit, validation: lit_dev, test: lit_dev}}}
  tokenizer: {class_path: RowFeatures, init_args: {text: Characters}}
  target_tokenizer: {class_path: TokenFeatures, init_args: {text: Words, divider: "/"}}
"""


@pytest.fixture
def module(tmp_path: Path) -> DataModule:
    """Words of two languages and their sounds, each with a feature."""
    for name, rows in (
        ("ice", ["ab\tA/1 B/2", "ba\tB/1 A/2"] * 4),
        ("lit", ["aa\tA/1 A/1"] * 4),
        ("ice_dev", ["ab\tA/1 B/2"]),
        ("lit_dev", ["xb\tA/3 B/2"]),
    ):
        (tmp_path / f"{name}.tsv").write_text("".join(f"{row}\n" for row in rows))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(DataModule, "data")
    settings = yaml.safe_load(LANGUAGES)["data"] | {"path": str(tmp_path)}
    found: DataModule = parser.instantiate(parser.parse_object({"data": settings})).data
    return found


def test_batches_of_a_corpus_of_two_languages(module: DataModule) -> None:
    texts = module.texts("train")
    tokenizers = module.train_tokenizers(texts)
    assert tokenizers.source.sizes == (4 + 2, 2 + 2)
    assert tokenizers.target.sizes == (4 + 2, 2 + 2)
    split = module.encode(texts, tokenizers, "train")
    batch = split.batch(np.arange(len(split)))
    token, language = batch.source % 6, batch.source // 6
    assert token[:, -1].tolist() == [EOS] * 12
    assert (language[:, :2] == np.array([[2]] * 8 + [[3]] * 4)).all()
    assert (language[:, 2:] == 0).all()
    assert (batch.source_lengths == 3).all(), "the language is no token of its own"
    assert (batch.target[:, 0] == BOS).all()
    assert (batch.target[:, -1] == EOS).all()
    assert [tokenizers.target.decode(row[1:-1]) for row in batch.target.tolist()] == list(texts.target)
    again = module.encode(texts, tokenizers, "train")  # from the disk
    assert (np.asarray(again.source.flat) == np.asarray(split.source.flat)).all()


def test_lint_sees_unknown_tokens_and_features(module: DataModule) -> None:
    tokenizers = module.train_tokenizers(module.texts("train"))
    split = module.encode(module.texts("validation"), tokenizers, "validation")
    found = checks.unknown(Encoded("validation", split, tokenizers))
    assert [(one.rows, one.text[:5]) for one in found] == [(1, "25.0%"), (1, "25.0%")]


def test_a_wrong_row_of_a_corpus_is_named(module: DataModule) -> None:
    place = Path(str(module.path)) / "lit.tsv"
    place.write_text("aa\tA/1 A/1\nab\tA/1 B\n")
    with pytest.raises(InputError, match=r"lit\.tsv:2: .*'B'.* 0 "):
        module.train_tokenizers(module.texts("train"))


def test_each_word_with_features_has_a_label() -> None:
    tokenizers = Tokenizers(LEARNT["tokens"], trained(Labels(), ["X Y Z"]))
    split = split_of([(TOKENS[0], "X Y"), (TOKENS[1], "X Y"), (TOKENS[1], "X Y Z")], tokenizers)
    split.row_format = RowFormat(aligned=True)
    [finding] = checks.misaligned(Encoded("train", split, tokenizers))
    assert finding.rows == 1
    assert finding.examples[0].excerpt.startswith("3 words, 2 labels")


@pytest.mark.parametrize("first", ["seq2seq.data.tokenizers.factored", "seq2seq.data.tokenizers.base"])
def test_the_names_are_known_whatever_is_imported_first(first: str) -> None:
    stored = json.dumps(LEARNT["both"].specification())
    program = (
        f"import json, {first}; from seq2seq.data.tokenizers import Tokenizer; from seq2seq.configurable import build; "
        f"print(build(Tokenizer, json.loads({stored!r})))"
    )
    done = python("-c", program, check=True)
    assert done.stdout.strip() == repr(LEARNT["both"])


@pytest.mark.data
def test_ten_languages_in_one_network(data_folder: Path) -> None:
    rows = []
    for file in sorted((data_folder / "g2p-sigmorphon2020").glob("*_train.tsv")):
        with open(file, encoding="utf-8") as lines:
            rows += [f"{file.name[:3]}\t{line.split(chr(9))[0]}" for line in itertools.islice(lines, 500)]
    tokenizer = trained(RowFeatures(Characters()), rows)
    assert tokenizer.sizes == (len(tokenizer.text), 2 + 10)
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(rows)] == rows
