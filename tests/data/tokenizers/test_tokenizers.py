"""Text to ids and back, random segmentations, and what a checkpoint keeps of a tokenizer."""

import gzip
import itertools
import json
import logging
import math
import pickle
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seq2seq.configurable import Part, build
from seq2seq.data.tokenizers import subword_sampling
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, UNK, Tokenizer, Tokenizers
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.sentence_piece import SentencePiece, fitting_size, spread
from seq2seq.data.tokenizers.subword_sampling import SPACE
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.errors import InputError
from tests.support import TEXTS, damage, key, python, reborn, trained

KINDS: list[Literal["unigram", "bpe"]] = ["unigram", "bpe"]
CERTAIN: dict[str, float] = {"unigram": 1e9, "bpe": 1e-300}
"""Settings with which the best segmentation is drawn always."""
ANY = st.text(st.sampled_from("  \t\n\r\u2581\u2585\u2028\0abeinrst<>é😀") | st.characters(exclude_categories=["Cs"]))
quick = settings(max_examples=80, deadline=None)


def squeezed(text: str) -> str:
    return " ".join(text.replace(SPACE, " ").split())


MODELS = {
    (kind, fallback): trained(SentencePiece(380 if fallback else 120, kind, fallback, CERTAIN[kind]))
    for kind in KINDS
    for fallback in (False, True)
}
LEARNT = {
    "unigram": MODELS["unigram", True],
    "bpe": MODELS["bpe", False],
    "characters": trained(Characters("NFD")),
    "words": trained(Words()),
    "labels": trained(Labels()),
    "columns": trained(Columns([Labels(), Characters()]), ["a b\txyz", "b\tzä"]),
}


def with_sampling(tokenizer: SentencePiece, sampling: float) -> SentencePiece:
    other = SentencePiece(tokenizer.vocabulary_size, tokenizer.model_type, tokenizer.byte_fallback, sampling)
    other.restore(tokenizer.state)
    return other


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_and_reduction(kind: Literal["unigram", "bpe"], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tokenizer = trained(SentencePiece(8000, kind))
    assert f"vocabulary reduced from 8000 to {len(tokenizer)} pieces" in caplog.text
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(TEXTS)] == TEXTS


def test_a_vocabulary_fits_its_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tokenizer = trained(SentencePiece(), TEXTS)
        wide = trained(SentencePiece(), ["".join(map(chr, range(0x4E00, 0x4E00 + 300)))] * 3)
    assert not caplog.messages, "nobody asked for more pieces than there are"
    assert len(tokenizer) <= fitting_size(TEXTS) == 256
    assert len(wide) > 300, "every character has a piece"
    words = ["a translated sentence of some forty signs."] * 20
    assert [fitting_size(words * times) for times in (1, 10, 100, 1000, 10_000)] == [256, 280, 2000, 4200, 8000]


def test_a_single_text_is_one_of_the_last_column() -> None:
    tokenizer = trained(Columns([Labels(separator=";"), Characters()], single=True), ["V;PST\twalk", "walked", "N\tox"])
    both, alone, unknown = tokenizer.encode(["V;PST\twalk", "walked", "zox"])
    assert both[2:] == alone[:4], "a letter has one id on both sides, so that it can be copied"
    assert tokenizer.decode(alone) == "walked"
    assert tokenizer.decode(both) == "V;PST\twalk"
    assert tokenizer.decode(unknown)[1:] == "ox"
    assert reborn(tokenizer).encode(["walked"]) == [alone]
    with pytest.raises(InputError, match="3 columns"):
        tokenizer.encode(["a\tb\tc"])
    with pytest.raises(InputError, match="1 columns"):
        trained(Columns([Labels(), Characters()]), ["V\twalk"]).encode(["walk"])


def test_a_single_text_may_be_one_of_the_first_column() -> None:
    rows = ["walk\tV;PST", "walked", "ox\tN"]
    tokenizer = trained(Columns([Characters(), Labels(separator=";")], single="first"), rows)
    both, alone, empty = tokenizer.encode(["walk\tV;PST", "walked", ""])
    assert both[:4] == alone[:4], "a letter has one id on both sides, so that it can be copied"
    assert empty == []
    assert [tokenizer.decode(ids) for ids in (alone, both, both[-2:])] == ["walked", "walk\tV;PST", "\tV;PST"]
    assert reborn(tokenizer).encode(["walked"]) == [alone]
    assert tokenizer.unknown_values("walked") == [], "letters are no values"
    tokenizer.check("walk\tV;PST")
    with pytest.raises(InputError, match="2 columns"):
        tokenizer.check("walk")
    assert tokenizer.unknown_values("walk\tV;FUT") == ["V;FUT"]


def test_the_first_column_may_be_read_between_two_copies_of_the_others() -> None:
    rows = ["walk\tV;PST\ten", "walked", "ox\tN\tde"]
    tokenizer = trained(Columns([Characters(), Labels(separator=";"), Labels()], single="between"), rows)
    once = trained(Columns([Characters(), Labels(separator=";"), Labels()], single="first"), rows)
    both, alone, empty = tokenizer.encode(["walk\tV;PST\ten", "walked", ""])
    [expected] = once.encode(["walk\tV;PST\ten"])
    assert both == [*expected[4:], *expected], "features, lemma, features; the same ids on both sides"
    assert len(tokenizer) == len(once)
    assert alone == once.encode(["walked"])[0], "a target is read as it is"
    assert empty == []
    assert [tokenizer.decode(ids) for ids in (alone, both)] == ["walked", "walk\tV;PST\ten"]
    assert reborn(tokenizer).encode(["walk\tV;PST\ten"]) == [both]
    assert tokenizer.sample("walk\tV;PST\ten", key(1)) == both


def test_text_is_not_normalised() -> None:
    texts = ["ﬁne … ½ ①", "Ⅷ ™ Å"] * 5
    tokenizer = trained(SentencePiece(60, "bpe"), texts)
    assert tokenizer.decode(tokenizer.encode(texts)[0]) == texts[0]


def test_too_small_a_vocabulary_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"vocabulary_size is 5\b.*\b37\b"):
        SentencePiece(5).train(TEXTS)
    with pytest.raises(InputError, match=r"vocabulary_size is 260"):
        SentencePiece(260, byte_fallback=True)


def test_a_prediction_is_one_line(tokenizers: Tokenizers, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizers.target

    class Broken:
        def decode(self, ids: list[int]) -> str:
            return "a\nb\u2028c\rd"

    monkeypatch.setattr(tokenizer, "_model", Broken())
    assert tokenizer.decode([4]) == "a b c d"


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(text=ANY)
def test_bytes_stand_for_any_text(kind: str, text: str) -> None:
    tokenizer = MODELS[kind, True]
    ids = tokenizer.encode([text])[0]
    assert UNK not in ids
    assert squeezed(tokenizer.decode(ids)) == squeezed(text)


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@quick
@given(text=ANY)
@example(text="\u2581b")
@example(text="a\u2581\u2581b  \u2581 c\u2581")
@example(text="  \n\té😀\u2585\U0001f600 x ")
@example(text="<s> <unk> <0x41> <pad>")
def test_the_best_sample_is_encode(kind: str, fallback: bool, text: str) -> None:
    tokenizer = MODELS[kind, fallback]
    assert tokenizer.samples
    assert tokenizer.sample(text, key(0)) == tokenizer.encode([text])[0]


def test_equally_good_segmentations_do_not_replace_the_best() -> None:
    tokenizer = trained(SentencePiece(10, sampling=CERTAIN["unigram"]), ["aab baa caa"] * 5)
    words = ["a" * length for length in range(2, 12)]
    segmentations = tokenizer._model.nbest_encode_as_ids("aaa", 64)
    assert any(sorted(one) == sorted(segmentations[0]) for one in segmentations[1:]), "aa a and a aa"
    for word, ids in zip(words, tokenizer.encode(words), strict=True):
        assert {tuple(tokenizer.sample(word, key(number))) for number in range(10)} == {tuple(ids)}


@pytest.mark.data
@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_sample_of_real_sentences(kind: Literal["unigram", "bpe"], fallback: bool, data_folder: Path) -> None:
    with gzip.open(data_folder / "multi30k-en-de" / "train.de.gz", "rt", encoding="utf-8") as file:
        texts = [line.rstrip("\n") for line in itertools.islice(file, 2000)]
    tokenizer = trained(SentencePiece(2000, kind, fallback, CERTAIN[kind]), texts[:1000])
    random = key(0)
    assert [tokenizer.sample(text, random) for text in texts] == tokenizer.encode(texts)


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize(("kind", "sampling"), [("unigram", 0.1), ("bpe", 0.5)])
@quick
@given(text=ANY, number=st.integers(0, 2**64 - 1))
def test_a_sample_says_the_same_text(kind: str, sampling: float, fallback: bool, text: str, number: int) -> None:
    tokenizer = with_sampling(MODELS[kind, fallback], sampling)
    ids = tokenizer.sample(text, key(number))
    assert tokenizer.decode(ids) == tokenizer.decode(tokenizer.encode([text])[0])


@pytest.mark.parametrize(("kind", "sampling"), [("unigram", 0.1), ("bpe", 0.3)])
def test_a_sample_hangs_on_the_generator_alone(kind: str, sampling: float) -> None:
    first, second = (with_sampling(MODELS[kind, False], sampling) for _ in range(2))
    random = key(9)
    for text in TEXTS:
        second.sample(text, random)  # neither what was drawn before nor the cache matters
    text = "ein Mann rennt schnell in einem roten Auto"
    drawn = [first.sample(text, key(number)) for number in range(20)]
    assert drawn == [second.sample(text, key(number)) for number in range(20)]
    assert len(set(map(tuple, drawn))) > 5
    assert first.encode([text]) == MODELS[kind, False].encode([text])


def unigram_probabilities(tokenizer: SentencePiece, word: str, alpha: float) -> dict[tuple[int, ...], float]:
    """Probability^alpha of every segmentation, by trying all of them."""
    model = tokenizer._model
    weights = {}
    for cuts in itertools.product([False, True], repeat=len(word)):
        pieces = "".join(letter + "\n" * cut for letter, cut in zip(SPACE + word, [*cuts, False], strict=True))
        ids = tuple(map(model.piece_to_id, pieces.split("\n")))
        if UNK not in ids:
            weights[ids] = math.exp(alpha * sum(map(model.get_score, ids)))
    return {ids: weight / sum(weights.values()) for ids, weight in weights.items()}


def bpe_probabilities(tokenizer: SentencePiece, word: str, dropout: float) -> dict[tuple[int, ...], float]:
    """Provilkov et al. 2020, algorithm 1, with all that can happen followed to its end."""
    model = tokenizer._model
    found: Counter[tuple[int, ...]] = Counter()

    def go_on(pieces: list[str], probability: float) -> None:
        pairs = [(first + second, place) for place, (first, second) in enumerate(itertools.pairwise(pieces))]
        merges = [(-model.get_score(model.piece_to_id(pair)), place, pair) for pair, place in pairs]
        for _, place, pair in sorted(merge for merge in merges if model.piece_to_id(merge[2]) != UNK):
            go_on([*pieces[:place], pair, *pieces[place + 2 :]], probability * (1 - dropout))
            probability *= dropout
        found[tuple(map(model.piece_to_id, pieces))] += probability

    go_on([SPACE, *word], 1.0)
    return dict(found)


@pytest.mark.parametrize("words", ["einen", "Manner", "rer ein", "in a in"])
@pytest.mark.parametrize("sampling", [0.2, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_probabilities_of_the_paper(kind: str, sampling: float, words: str) -> None:
    tokenizer, draws, random = with_sampling(MODELS[kind, False], sampling), 2000, key(1)
    exact = unigram_probabilities if kind == "unigram" else bpe_probabilities
    alone = [exact(tokenizer, word, sampling).items() for word in words.split()]
    expected: dict[tuple[int, ...], float] = {}
    for choice in itertools.product(*alone):  # words are independent of each other
        expected[tuple(itertools.chain(*(ids for ids, _ in choice)))] = math.prod(one for _, one in choice)
    drawn = Counter(tuple(tokenizer.sample(words, random)) for _ in range(draws))
    assert len(expected) > 3
    assert set(drawn) <= set(expected)
    for ids, probability in expected.items():
        deviation = math.sqrt(probability * (1 - probability) / draws)
        assert abs(drawn[ids] / draws - probability) <= 5 * deviation + 1e-9


@pytest.mark.parametrize(("kind", "sampling"), [("unigram", 0.2), ("bpe", 0.3)])
def test_a_full_cache_changes_nothing(kind: str, sampling: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = with_sampling(MODELS[kind, True], sampling)
    expected = [tokenizer.sample(text, key(1)) for text in TEXTS]
    monkeypatch.setattr(subword_sampling, "CACHED", 3)
    tokenizer = with_sampling(tokenizer, sampling)
    assert [tokenizer.sample(text, key(1)) for text in TEXTS] == expected
    assert len(tokenizer._sampler._cache) <= 3  # type: ignore[union-attr]


@pytest.mark.parametrize(("kind", "sampling"), [("unigram", 0.2), ("bpe", 0.3)])
def test_tokenizers_travel_to_other_processes(kind: str, sampling: float) -> None:
    tokenizer = with_sampling(MODELS[kind, False], sampling)
    state, size = tokenizer.state, len(pickle.dumps(tokenizer))
    expected = [tokenizer.sample(text, key(1)) for text in TEXTS]
    assert tokenizer.state == state
    travelled = pickle.dumps(tokenizer)
    assert len(travelled) == size, "caches stay at home"
    assert [pickle.loads(travelled).sample(text, key(1)) for text in TEXTS[:3]] == expected[:3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampling", [0.0, -0.1, math.nan])
def test_sampling_is_checked(kind: Literal["unigram", "bpe"], sampling: float) -> None:
    with pytest.raises(InputError, match=r"tokenizer\.sampling is"):
        SentencePiece(model_type=kind, sampling=sampling)


def test_dropout_of_everything_is_refused() -> None:
    with pytest.raises(InputError, match="below 1"):
        SentencePiece(model_type="bpe", sampling=1.0)
    assert SentencePiece(sampling=1.0).samples
    assert not SentencePiece().samples


@pytest.mark.parametrize("form", [None, "NFC", "NFD", "NFKC", "NFKD"])
@quick
@given(texts=st.lists(ANY, min_size=1, max_size=3))
def test_characters_come_back(form: Literal["NFC", "NFD", "NFKC", "NFKD"] | None, texts: list[str]) -> None:
    tokenizer = trained(Characters(form), ["a", *texts])
    composed = {None: None, "NFC": "NFC", "NFD": "NFC", "NFKC": "NFKC", "NFKD": "NFKC"}[form]
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        assert len(ids) == len(unicodedata.normalize(form, text) if form else text)
        assert tokenizer.decode(ids) == " ".join(
            (unicodedata.normalize(composed, text) if composed else text).splitlines()
        )


def test_characters_are_sorted_by_code_point() -> None:
    tokenizer = trained(Characters(), ["cb", "a😀", "ä"])
    assert tokenizer.encode(["abcä😀x"]) == [[4, 5, 6, 7, 8, UNK]]
    assert len(tokenizer) == 9
    assert tokenizer.decode([PAD, BOS, 5, UNK, 4, EOS]) == "b\ufffda"
    assert len(trained(Characters("NFD"), ["ä"])) == 6
    assert tokenizer.sample("abx", key(0)) == [4, 5, UNK]
    assert not tokenizer.samples


def test_words_by_frequency_then_code_point() -> None:
    tokenizer = trained(Words(), ["c b  c", " d b a", ""])
    assert tokenizer.encode(["b c a d  e "]) == [[4, 5, 6, 7, UNK]]
    assert tokenizer.decode([BOS, 4, UNK, 6, EOS]) == "b <unk> a"
    assert len(trained(Words(max_size=6), ["b c c a b d"])) == 6
    assert len(trained(Words(minimum_count=2), ["b c c a b d"])) == 6
    with pytest.raises(InputError, match=r" 3 .*data\.tokenizer\.minimum_count"):
        Words(minimum_count=3).train(["b c c"])


def test_words_between_tabs_hold_blanks() -> None:
    tokenizer = trained(Words(separator="\t"), ["Việt Nam\tđẹp\t\tquá"])
    ids = tokenizer.encode(["đẹp\tViệt Nam"])[0]
    assert len(ids) == 2
    assert tokenizer.decode(ids) == "đẹp\tViệt Nam"


@pytest.mark.parametrize("separator", ["", "ab", "\n", "\u2028"])
@pytest.mark.parametrize("kind", [Words, Labels])
def test_separators_are_one_character(kind: type[Words] | type[Labels], separator: str) -> None:
    with pytest.raises(InputError, match=r"tokenizer\.separator is"):
        kind(separator=separator)


def test_labels_are_kept_all() -> None:
    tokenizer = trained(Labels(";"), ["V;PST", "N;PL", "V;PST"])
    assert tokenizer.encode(["N;PL;PST;V;X"]) == [[4, 5, 6, 7, UNK]]
    assert tokenizer.decode([7, 6]) == "V;PST"


ROWS = ["V;PST\tgehen", "V;PRS\tsehen", "N;PL\tHaus"]


def test_columns_number_their_parts_one_after_the_other() -> None:
    tokenizer = trained(Columns([Labels(";"), Characters()]), ROWS)
    labels, characters = (
        trained(part, [row.split("\t")[k] for row in ROWS]) for k, part in enumerate([Labels(";"), Characters()])
    )
    assert len(tokenizer) == 4 + (len(labels) - 4) + (len(characters) - 4)
    shift = len(labels) - 4
    assert tokenizer.encode(ROWS) == [
        labels.encode([row.split("\t")[0]])[0]
        + [number + shift for number in characters.encode([row.split("\t")[1]])[0]]
        for row in ROWS
    ]
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(ROWS)] == ROWS
    assert tokenizer.encode([]) == []
    assert tokenizer.encode(["X\tgX"])[0] == [UNK, 4 + shift + sorted(set("gehensehenHaus")).index("g"), UNK]
    assert tokenizer.decode([BOS, *tokenizer.encode(["V\t"])[0], EOS]) == "V\t"
    assert tokenizer.decode([]) == "\t"


@quick
@given(data=st.data())
def test_columns_come_back(data: st.DataObject) -> None:
    column = st.text("ab \u2028", max_size=5)
    rows = data.draw(st.lists(st.tuples(column, column, column).map("\t".join), max_size=5))
    tokenizer = trained(
        Columns([Characters(), Characters("NFD"), Characters()]), ["a\ta\ta", "b \u2028\tb \u2028\tb \u2028", *rows]
    )
    for row, ids in zip(rows, tokenizer.encode(rows), strict=True):
        assert tokenizer.decode(ids) == "\t".join(" ".join(one.splitlines()) for one in row.split("\t"))


@pytest.mark.parametrize("row", ["gehen", "V\tgehen\t", ""])
def test_a_row_of_other_columns_is_named(row: str) -> None:
    tokenizer = LEARNT["columns"]
    message = rf"{row!r} has {row.count(chr(9)) + 1} columns between tabs, but 2 are expected".replace("\\", "\\\\")
    with pytest.raises(InputError, match=message):
        tokenizer.encode(["a\tx", row])
    with pytest.raises(InputError, match=message):
        tokenizer.sample(row, key(0))
    with pytest.raises(InputError, match=message):
        Columns([Labels(), Characters()]).train([row])


def test_no_column_holds_a_tab() -> None:
    for part in (Words(separator="\t"), Labels("\t"), Columns([Labels()])):
        with pytest.raises(InputError, match=r"data\.tokenizer\.parts holds"):
            Columns([Characters(), part])
    with pytest.raises(InputError, match=r"data\.tokenizer\.parts "):
        Columns([])
    with pytest.raises(InputError, match=r"column 2: .*data\.corpus"):
        Columns([Labels(), Characters()]).train(["a\t"])


def test_columns_sample_their_parts() -> None:
    tokenizer = Columns([Labels(), SentencePiece(100, "bpe", sampling=0.3)])
    tokenizer.train([f"{side}\t{text}" for side, text in zip(itertools.cycle(["en", "de"]), TEXTS, strict=False)])
    assert tokenizer.samples
    assert not LEARNT["columns"].samples
    row = "de\tein Mann rennt schnell"
    drawn = [tokenizer.sample(row, key(number)) for number in range(20)]
    assert drawn == [reborn(tokenizer).sample(row, key(number)) for number in range(20)]
    assert len(set(map(tuple, drawn))) > 5
    assert {tokenizer.decode(ids) for ids in drawn} == {row}


def test_a_predicted_tab_does_not_make_a_column() -> None:
    tokenizer = Columns([SentencePiece(380, "bpe", byte_fallback=True), Labels()])
    tokenizer.train([f"{text}\tde" for text in TEXTS])
    tab = tokenizer.parts[0].encode(["a\tb"])[0]
    assert tokenizer.decode([*tab, len(tokenizer) - 1]) == "a b\tde"


@pytest.mark.parametrize("name", LEARNT)
def test_the_state_is_all_that_was_learnt(name: str) -> None:
    tokenizer = LEARNT[name]
    again = reborn(tokenizer)
    texts = ["a b\txyz", "b a\tzQ"] if name == "columns" else ["der Mann x", "zäQ", ""]
    assert isinstance(tokenizer.state, bytes)
    assert (again.encode(texts), len(again), again.state) == (tokenizer.encode(texts), len(tokenizer), tokenizer.state)
    ids = tokenizer.encode(texts[:1])[0]
    assert again.decode(ids) == tokenizer.decode(ids)


@pytest.mark.parametrize("name", LEARNT)
def test_a_damaged_state_is_an_input_error(name: str) -> None:
    for state in damage(LEARNT[name].state):
        fresh = build(Tokenizer, LEARNT[name].specification())
        with pytest.raises(InputError, match="damaged"):
            fresh.restore(state)


@pytest.mark.parametrize("texts", [[], ["", "  "]])
@pytest.mark.parametrize("tokenizer", [SentencePiece(), Words(), Labels(), Columns([Words()])], ids=str)
def test_nothing_to_learn_from(tokenizer: Tokenizer, texts: list[str]) -> None:
    with pytest.raises(InputError, match=r"empty.*data\.corpus"):
        tokenizer.train(texts)
    with pytest.raises(InputError, match=r"empty.*data\.corpus"):
        Characters().train([""])


class Box(Part):
    """A part with parts in every kind of argument."""

    def __init__(self, one: Part, some: list[Part], pair: tuple[Part, int], named: dict[str, Any]) -> None:
        self.one, self.some, self.pair, self.named = one, some, pair, named


def test_parts_inside_lists_and_dicts_survive() -> None:
    box = Box(Words(9), [Labels(";"), Columns([Characters("NFD")])], (Words(8), 3), {"a": [Labels()], "b": {"c": 1}})
    stored = json.loads(json.dumps(box.specification()))
    again = build(Part, stored)
    assert isinstance(again, Box)
    assert again.specification() == stored
    assert [type(one) for one in again.some] == [Labels, Columns]
    assert again.some[1].parts[0].normalization == "NFD"  # type: ignore[attr-defined]
    assert [type(one) for one in again.pair] == [Words, int]
    assert isinstance(again.named["a"][0], Labels)
    assert again.named["b"] == {"c": 1}


@pytest.mark.parametrize("wanted", ["os.system", "seq2seq.data.tokenizers.base.Absent", "seq2seq.errors.InputError"])
def test_unknown_parts_inside_lists_are_refused(wanted: str) -> None:
    stored = Columns([Labels()]).specification()
    stored["init_args"]["parts"][0] = {"class_path": wanted, "init_args": {}}
    with pytest.raises(InputError, match=f"{wanted} is no known Part"):
        build(Tokenizer, stored)


def test_tokenizers_load_without_torch() -> None:
    command = "import sys, seq2seq.data.tokenizers; sys.exit('torch' in sys.modules)"
    assert python("-c", command).returncode == 0


@given(st.integers(0, 300), st.integers(1, 40))
def test_what_is_learnt_from_is_spread_over_all_texts(count: int, enough: int) -> None:
    chosen = [int(text) for text in spread(map(str, range(count)), enough)]
    assert min(count, enough) <= len(chosen) <= max(2 * enough, 1)
    assert len({after - before for before, after in pairwise(chosen)}) <= 1
    assert not chosen or count - chosen[-1] <= max(1, 2 * count // enough)
