"""Text comes back from its ids as it went in, wherever a tokenizer promises so; special symbols are nothing special."""

import functools
import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.data.tokenizers.base import UNK, Tokenizer
from seq2seq.data.tokenizers.sentence_piece import NAMES, SentencePiece, escaped, unescaped
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.errors import InputError
from tests.support import TEXTS, reborn, trained

STRANGE = [
    "<s> car  runs </s>", "the▁fox", "▅▅ x\x00y", "  outer  ", "<unk> <pad> a", "".join(map(chr, range(0xF8F0, 0xF900))),
    "tab\there", "\ufeffbom e\u0301 Ａ ﬁ", " ", "\u3000", "a" * 70,
]  # fmt: skip
PIECES = "abc ▁▅\x00<>/spadun\t\ue000" + "".join(map(chr, range(0xF8F0, 0xF900)))

lines = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=40
)
known_lines = st.text(st.sampled_from(PIECES), max_size=30)


@functools.cache
def learnt(kind: str) -> Tokenizer:
    """A tokenizer that has learnt every letter of PIECES, as a checkpoint holds it."""
    tokenizers: dict[str, Tokenizer] = {
        "unigram": SentencePiece(200),
        "bpe": SentencePiece(200, "bpe"),
        "unigram with bytes": SentencePiece(600, byte_fallback=True),
        "bpe with bytes": SentencePiece(600, "bpe", byte_fallback=True),
        "characters": Characters(),
    }
    return reborn(trained(tokenizers[kind], [*STRANGE, *TEXTS, PIECES, *PIECES] * 3))


def returned(tokenizer: Tokenizer, text: str) -> str:
    return tokenizer.decode(tokenizer.encode([text])[0])


@pytest.mark.parametrize("kind", ["unigram with bytes", "bpe with bytes"])
@settings(deadline=None)
@given(text=lines)
def test_bytes_keep_every_text(kind: str, text: str) -> None:
    assert returned(learnt(kind), text) == text


@pytest.mark.parametrize("kind", ["unigram", "bpe", "characters"])
@settings(deadline=None)
@given(text=known_lines)
def test_known_characters_keep_every_text(kind: str, text: str) -> None:
    assert returned(learnt(kind), text) == text


@settings(deadline=None)
@given(text=lines)
def test_escaping_is_undone(text: str) -> None:
    assert unescaped(escaped(text)) == text
    assert not set(escaped(text)) & {"▁", "▅", "\x00", *NAMES.values()}


@given(words=st.lists(st.sampled_from(["a", "<unk>", "</s>", "▁", "x>y"]), min_size=1))
def test_words_and_labels_keep_words_between_single_separators(words: list[str]) -> None:
    for tokenizer in (Words(), Labels("\t")):
        text = tokenizer.separator.join(words)
        assert returned(trained(tokenizer, [text]), text) == text


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_sampled_segmentation_keeps_the_text(kind: str) -> None:
    tokenizer = trained(SentencePiece(200, kind, sampling=0.5), [*STRANGE, *TEXTS] * 3)  # type: ignore[arg-type]
    draw = np.random.default_rng(3)
    for text in [*STRANGE, *TEXTS, ""] * 5:
        assert tokenizer.decode(tokenizer.sample(text, draw)) == text


@pytest.mark.parametrize("text", STRANGE)
def test_nothing_that_is_learnt_from_is_unknown(text: str) -> None:
    for kind in ("unigram", "bpe"):
        assert UNK not in learnt(kind).encode([text])[0]
    assert learnt("unigram").pieces([0, 1, 2, 3]) == ["<pad>", "<unk>", "<s>", "</s>"]


@pytest.mark.slow
def test_a_long_line_is_learnt_from() -> None:
    """The library drops lines of more than a megabyte: all but the ends of this one."""
    tokenizer = trained(SentencePiece(100), ["x y " * 300_000 + "q", "z"])
    assert returned(tokenizer, "q z y x") == "q z y x"


def characters(count: int) -> Iterator[str]:
    draw = random.Random(1)
    for start in range(0, count, 20):
        yield "".join(chr(0x4E00 + start + draw.randrange(20)) for _ in range(20)) + "".join(
            chr(0x4E00 + number) for number in range(start, start + 20)
        )


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_more_characters_than_pieces_are_refused_with_the_number(kind: str) -> None:
    with pytest.raises(InputError, match=r"vocabulary_size is 100\b.*\b4\d\d\b.*byte_fallback") as caught:
        trained(SentencePiece(100, kind), characters(400))  # type: ignore[arg-type]
    assert ".cc" not in str(caught.value)


def test_an_older_model_squeezes_blanks_as_before() -> None:
    """One as the library makes it by itself, and with the names of special tokens that it gives."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 3), model_writer=model, vocab_size=60, hard_vocab_limit=False, minloglevel=2,
        normalization_rule_name="identity", pad_id=0, unk_id=1, bos_id=2, eos_id=3,
    )  # fmt: skip
    old = SentencePiece(60)
    old.restore(model.getvalue())
    plain = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    text = "the  cat▁sat "
    assert old.encode([text]) == [plain.encode(text)]
    assert old.decode(plain.encode(text)) == "the cat sat"
    assert old.pieces(plain.encode(text)) == plain.encode(text, out_type=str)
