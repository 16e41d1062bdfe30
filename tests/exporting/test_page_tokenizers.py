"""The tokenizers of the page say what ours say, of any text."""

import gzip
import json
import random
import shutil
import subprocess
import unicodedata
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sentencepiece import SentencePieceTrainer

from seq2seq.data.corpora.builtin.cldr_tasks import Cldr
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.factored import RowFeatures, TokenFeatures
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.errors import InputError
from seq2seq.exporting.description import of_tokenizer
from tests.support import TEXTS, trained

RUNNER = Path(__file__).with_name("tokenize.mjs")
PARTS = ["the", "cat", "Katze", "saß", " ", "  ", "\t", "▁", "▅", "\x00", "\uf8f0", "\uf8f5", "ab", "<s>", "</s>", "<unk>",
         "￨", "語", "😀", "é", "e\u0301", "ﬁ", "\u3000", "\xa0", "½", "\x85", "\u2028", "Ａ", "ǅ", "9", ".", "-", "ß", "İ",
         "\u200d", "한", "<0x41>", "\r", "\ufeff", "x" * 40]  # fmt: skip


class Case(NamedTuple):
    """A tokenizer, texts to read, and ids to write."""

    tokenizer: Tokenizer
    texts: Sequence[str]
    ids: Sequence[Any]


def random_texts(count: int, seed: int = 1) -> list[str]:
    """Texts of any letters, many of which mean something to somebody."""
    draw = random.Random(seed)
    letters = [chr(code) for code in range(0x20, 0x3000) if unicodedata.category(chr(code)) != "Cn"]  # of any version
    return ["".join(draw.choice(PARTS) if draw.random() < 0.7 else draw.choice(letters) for _ in range(draw.randint(0, 12)))
            for _ in range(count)]  # fmt: skip


def random_ids(size: int, count: int, seed: int = 2) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(size) for _ in range(draw.randint(0, 9))] for _ in range(count)]


def encoded(tokenizer: Tokenizer, text: str) -> Any:
    """Its ids; None where it is refused."""
    try:
        tokenizer.check(text)  # the page reads sources
        [found] = tokenizer.encode([text])
    except InputError:
        return None
    return found if isinstance(found, list) else found.tolist()  # type: ignore[unreachable]


def assert_same(cases: Sequence[Case]) -> None:
    """Both worlds read and write alike."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH")
    given = [{"described": of_tokenizer(one.tokenizer), "texts": one.texts, "ids": one.ids} for one in cases]
    page = files("seq2seq.exporting").joinpath("page/tokenizers.js")
    done = subprocess.run([node, RUNNER, str(page)], input=json.dumps(given).encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    for case, theirs in zip(cases, json.loads(done.stdout), strict=True):
        ours = [encoded(case.tokenizer, text) for text in case.texts]
        wrong = [row for row, pair in enumerate(zip(ours, theirs["encoded"], strict=True)) if pair[0] != pair[1]]
        assert not wrong, (case.tokenizer, case.texts[wrong[0]], ours[wrong[0]], theirs["encoded"][wrong[0]])
        ours = [case.tokenizer.decode(ids) for ids in case.ids]
        wrong = [row for row, pair in enumerate(zip(ours, theirs["decoded"], strict=True)) if pair[0] != pair[1]]
        assert not wrong, (case.tokenizer, case.ids[wrong[0]], ours[wrong[0]], theirs["decoded"][wrong[0]])


def of_texts(tokenizer: Tokenizer, training: Sequence[str], texts: Sequence[str]) -> Case:
    trained(tokenizer, training)
    ids = [] if isinstance(tokenizer, Spelled) else random_ids(len(tokenizer), 50)
    return Case(tokenizer, [*training, *texts], ids)


def every_kind(count: int) -> list[Case]:
    """All tokenizers but SentencePiece."""
    texts = random_texts(count)
    pairs = [f"{text}\t{other}" for text, other in zip(TEXTS, TEXTS[::-1], strict=True)]
    rows = [f"{'en' if row % 2 else 'de'}\t{text}" for row, text in enumerate(TEXTS)]
    factored = [" ".join(f"{word}￨{len(word)}￨{word[0]}" for word in text.split()) for text in TEXTS]
    columns = [f"{one}\t{other}" for one, other in zip(texts, texts[::-1], strict=True)]
    numbers = [f"{row} {row / 7}\t{-row * 1e5} 1e-7\t3 4" for row in range(9)]
    kinds = [(Characters(form), TEXTS, texts) for form in (None, "NFC", "NFD", "NFKC", "NFKD")]
    return [
        *(of_texts(*one) for one in kinds),  # type: ignore[arg-type]
        of_texts(Words(minimum_count=2), TEXTS, texts),
        of_texts(
            Labels("\t"), [text.replace(" ", "\t") for text in TEXTS], [text for text in texts if "‖" not in text]
        ),  # no class before labels
        of_texts(Columns([Words(), Characters()]), pairs, columns),
        of_texts(Columns([Words(), Characters()], single=True), [*pairs, *TEXTS], [*texts, *columns]),
        of_texts(Columns([Words(), Characters()], single="first"), [*pairs, *TEXTS], [*texts, *columns]),
        of_texts(Columns([Words(), Characters()], single="between"), [*pairs, *TEXTS], [*texts, *columns]),
        of_texts(RowFeatures(Characters()), rows, [*texts, *columns]),
        of_texts(RowFeatures(Words(separator="\t"), 2), [f"a\tb\t{text}" for text in TEXTS], texts),
        of_texts(RowFeatures(SentencePiece(60)), rows, [f"de\t{text}" for text in texts]),
        of_texts(TokenFeatures(Words(), 2), factored, [*factored, *texts]),
        of_texts(Spelled(Words()), TEXTS, texts),
        of_texts(Spelled(affixes=2, longest=5), [text.replace(" ", "\t") for text in TEXTS], texts),
        of_texts(Spelled(Words(minimum_count=2), letters=False), TEXTS, texts),
        Case(trained(Vectors(), numbers), [*numbers, "1 2 3", "", "1 nan", "a b", " 1\xa02 "], vector_ids()),
        Case(trained(Vectors(normalise=False), ["1", "2", "30"]), ["4"], [[[1.0], [2.0]], [[2.5]], [[1e17]], [[3e-7]]]),
    ]


def vector_ids() -> list[Any]:
    draw = random.Random(3)
    return [[[draw.gauss(0, 1), draw.gauss(0, 3)] for _ in range(4)] for _ in range(50)]


def repeated(tokenizer: SentencePiece) -> list[str]:
    """Texts of one piece several times, which can be cut in ways that are equally good."""
    pieces = [piece.strip() for piece in tokenizer.written() if piece.strip()]
    letters = sorted({letter for piece in pieces for letter in piece})
    return [one * times for one in [*pieces, *letters] for times in (2, 3, 5)]


def normalising(rule: str) -> SentencePiece:
    """A model with a normalisation map and squeezed blanks, as older checkpoints have them."""
    import io

    model = io.BytesIO()
    SentencePieceTrainer.train(sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=80, hard_vocab_limit=False,
                               normalization_rule_name=rule, pad_id=0, unk_id=1, bos_id=2, eos_id=3, minloglevel=2)  # fmt: skip
    tokenizer = SentencePiece()
    tokenizer.restore(model.getvalue())
    return tokenizer


def every_model(texts: Sequence[str]) -> list[Case]:
    """SentencePiece in all its forms."""
    kinds = [(model, fallback) for model in ("unigram", "bpe") for fallback in (False, True)]
    found = []
    for model, fallback in kinds:
        size = 70 + 270 * fallback
        tokenizer = trained(SentencePiece(size, model, fallback), [*TEXTS, "ab ab  abab"])  # type: ignore[arg-type]
        found.append(Case(tokenizer, [*texts, *repeated(tokenizer)], random_ids(len(tokenizer), 300)))
    for rule in ("identity", "nmt_nfkc_cf"):
        tokenizer = normalising(rule)
        found.append(Case(tokenizer, texts, random_ids(len(tokenizer), 300)))
    return found


def test_every_tokenizer() -> None:
    models = [
        trained(SentencePiece(340, "unigram", True)),
        trained(SentencePiece(90, "bpe")),
        normalising("nmt_nfkc_cf"),
    ]
    pieces = [Case(one, [*random_texts(120), *repeated(one)], random_ids(len(one), 100)) for one in models]
    assert_same([*every_kind(30), *pieces])


@pytest.mark.slow
def test_sentence_pieces_of_ten_thousand_texts() -> None:
    assert_same(every_model(random_texts(10_000, 7)))
    assert_same(every_kind(2_000))


@pytest.mark.slow
def test_sentence_pieces_of_the_demo() -> None:
    lines = DataModule(Cldr(train=10_000, validation=1, test=1)).texts("train")
    cases = [(trained(SentencePiece(900), side[:5000]), side) for side in (lines.source, lines.target)]
    assert_same([Case(one, list(side), random_ids(len(one), 1000)) for one, side in cases])


@pytest.mark.data
@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_sentence_pieces_of_real_lines(model: Any, data_folder: Path) -> None:
    packed = (data_folder / "multi30k-en-de" / "train.de.gz").read_bytes()
    lines = gzip.decompress(packed).decode().split("\n")
    tokenizer = trained(SentencePiece(4000, model), lines[:6000])
    assert_same([Case(tokenizer, lines[-10_000:], random_ids(len(tokenizer), 1000))])
