"""Word vectors: every format gives the same numbers; damage is named."""

import gzip
import struct
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from seq2seq.data import word_vectors as module
from seq2seq.data.word_vectors import WordVectors, coverage
from seq2seq.errors import InputError

SIZE = 4
WORDS = ["the", "Größe", "日本", "-1.5", "U+00A0\u00a0here", "the", "Paris", "ab"]
VALUES = np.random.default_rng(0).normal(size=(len(WORDS), SIZE)).astype(np.float32)
Write = Callable[[Path, Sequence[str], np.ndarray], Path]


def lines(words: Iterable[str], values: np.ndarray, end: str = "\n") -> str:
    return "".join(
        f"{word} {' '.join(repr(float(one)) for one in row)}{end}" for word, row in zip(words, values, strict=True)
    )


def glove(folder: Path, words: Sequence[str], values: np.ndarray) -> Path:
    path = folder / "glove.txt"
    path.write_text(lines(words, values), encoding="utf-8", newline="")
    return path


def word2vec_text(folder: Path, words: Sequence[str], values: np.ndarray) -> Path:
    path = folder / "vectors.txt"
    header = f"{len(words)} {values.shape[1]}\n"
    path.write_text(header + lines(words, values, " \n"), encoding="utf-8", newline="")  # the C tool ends in a space
    return path


def fasttext_text(folder: Path, words: Sequence[str], values: np.ndarray) -> Path:
    path = folder / "crawl.vec"
    header = f"{len(words)} {values.shape[1]}\r\n"
    path.write_text(header + lines(words, values, "\r\n"), encoding="utf-8", newline="")
    return path


def zipped_text(folder: Path, words: Sequence[str], values: np.ndarray) -> Path:
    path = folder / "glove.txt.gz"
    path.write_bytes(gzip.compress(lines(words, values).encode()))
    return path


def binary_bytes(words: Iterable[str], values: np.ndarray, end: bytes = b"\n") -> bytes:
    """As word2vec's own tool; gensim writes nothing behind a vector."""
    rows = (word.encode() + b" " + row.astype("<f4").tobytes() + end for word, row in zip(words, values, strict=True))
    return b"%d %d\n" % values.shape + b"".join(rows)


def word2vec_binary(folder: Path, words: Sequence[str], values: np.ndarray) -> Path:
    path = folder / "vectors.bin"
    path.write_bytes(binary_bytes(words, values))
    return path


def gensim_binary(folder: Path, words: Sequence[str], values: np.ndarray) -> Path:
    path = folder / "vectors.bin.gz"
    path.write_bytes(gzip.compress(binary_bytes(words, values, b"")))
    return path


FORMATS = [glove, word2vec_text, fasttext_text, zipped_text, word2vec_binary, gensim_binary]
every_format = pytest.mark.parametrize("write", FORMATS, ids=lambda one: one.__name__)


@every_format
def test_every_format_gives_the_vectors(write: Write, tmp_path: Path) -> None:
    opened = WordVectors.open(write(tmp_path, WORDS, VALUES))
    assert opened.size == SIZE
    assert opened.words() == WORDS
    assert opened.words(3) == WORDS[:3]
    assert opened.words(0) == []
    values, found = opened.find(["ab", "nowhere", "Größe", "the", "日本", "U+00A0\u00a0here", "-1.5", "ab", "\udc80"])
    assert values.dtype == np.float32
    assert found.tolist() == [True, False, True, True, True, True, True, True, False]
    expected = VALUES[[7, 0, 1, 0, 2, 4, 3, 7, 0]] * found[:, None]  # of equal words, the first
    assert values.tolist() == expected.tolist()


@every_format
def test_lowercase_only_where_nothing_else_fits(write: Write, tmp_path: Path) -> None:
    opened = WordVectors.open(write(tmp_path, ["the", "The", "paris", "GRÖSSE"], VALUES[:4]))
    wanted = ["The", "THE", "Paris", "größe", "the"]
    values, found = opened.find(wanted, lowercase=True)
    assert found.tolist() == [True, True, True, False, True]
    assert values[[0, 1, 2, 4]].tolist() == VALUES[[1, 0, 2, 0]].tolist()
    assert opened.find(wanted)[1].tolist() == [True, False, False, False, True]


@every_format
def test_no_word_is_wanted(write: Write, tmp_path: Path) -> None:
    values, found = WordVectors.open(write(tmp_path, WORDS, VALUES)).find([])
    assert values.shape == (0, SIZE)
    assert found.shape == (0,)


@pytest.mark.parametrize("write", [word2vec_binary, gensim_binary], ids=lambda one: one.__name__)
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_binary_vectors_across_chunks(
    write: Write, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    opened = WordVectors.open(write(tmp_path, ["a" if word == "日本" else "b" for word in WORDS], VALUES))
    assert opened.find(["a", "b"])[0].tolist() == VALUES[[2, 0]].tolist()


def test_words_with_spaces(tmp_path: Path) -> None:
    opened = WordVectors.open(glove(tmp_path, ["x", "at name@domain.com", ". . .", "y"], VALUES[:4]))
    assert opened.words() == ["x", "at name@domain.com", ". . .", "y"]
    assert opened.find([". . .", "at"])[1].tolist() == [True, False]
    assert opened.find([". . ."])[0].tolist() == VALUES[2:3].tolist()


def test_other_encodings(tmp_path: Path) -> None:
    """Words that are no UTF-8 do not stop anything, as there are some in word2vec's own files."""
    path = tmp_path / "vectors.txt"
    for header in (b"2 4\n", b""):
        path.write_bytes(header + "über 0.25 1 2 3\nplain -0.5 1 2 3\n".encode("latin-1"))
        opened = WordVectors.open(path)
        assert opened.words() == ["\ufffdber", "plain"]
        assert opened.find(["plain"])[0].tolist() == [[-0.5, 1, 2, 3]]


def test_text_and_binary_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tenths = np.full((2, 3), 0.1, dtype=np.float32)  # whose bytes are no control characters
    assert (
        WordVectors.open(word2vec_binary(tmp_path, ["a", "b"], tenths)).find(["b"])[0].tolist() == tenths[:1].tolist()
    )
    path = word2vec_text(tmp_path, ["größenordnungsmäßig", "日本語日本語"], tenths)
    for size in range(1, 40):  # also where the sample ends within a letter
        monkeypatch.setattr(module, "SAMPLE", size)
        assert WordVectors.open(path).find(["日本語日本語"])[1].all()


def test_text_is_read_only_as_far_as_needed(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("a 1 2\nb 3 4\nc broken line\nd\n")
    opened = WordVectors.open(path)
    assert opened.find(["b", "a"])[0].tolist() == [[3, 4], [1, 2]]
    with pytest.raises(InputError, match=r"glove\.txt:4: 0 values"):
        opened.find(["d"])


BAD_TEXT = {
    "a 1 2 3\nb 1 2\n": "bad.txt:2: 2 values.* 3",
    "a 1 2 3\nb 1 2 3 4\n": "bad.txt:2: 4 values.* 3",
    "a 1 2 3\n\nb 1 2 3\n": "bad.txt:2: 0 values",
    "2 3\na 1 2 3\nb 1 2 3 4\n": "bad.txt:3: 4 values.* 3",
    "2 3\na 1 2 3\nb 1 two 3\n": "bad.txt:3: .*'two'",
    "2 3\na 1 2 3\nb 1 nan 3\n": "bad.txt:3: .*'b' .*NaN",
    "2 3\na 1 2 3\nb 1 1e39 3\n": "bad.txt:3: .*'b' .*NaN",
    "2 3\na 1 2 3\nb 1  3\n": "bad.txt:3: ",
    "3 3\na 1 2 3\nc 1 2 3\n": "bad.txt: .* 3 words.* 2",
    "1 3\na 1 2 3\nc 1 2 3\n": "bad.txt: .* 1 words.* 2",
    "2 3\n": "bad.txt: .* 2 words.* 0",
}


@pytest.mark.parametrize("text", BAD_TEXT)
def test_bad_text_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=BAD_TEXT[text]) as raised:
        WordVectors.open(path).find(["b", "z"])
    assert "\n" not in str(raised.value)


GOOD = binary_bytes(["ab", "cd"], VALUES[:2])
BAD_BYTES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "bad.bin .*empty"),
    "text": (b"Dear reader,\nhow are you?\n", "bad.bin .*b'Dear reader,'.*GloVe"),
    "no numbers": (b"word\n", "bad.bin .*word2vec.*GloVe"),
    "bytes": (bytes(range(256)), "bad.bin .*word2vec.*GloVe"),
    "bytes and numbers": (b"\x00\x01 5 6\n\x02 7 8\n", "bad.bin .*word2vec.*GloVe"),
    "no size": (b"5 0\nab\ncd\n", "bad.bin .*word2vec.*GloVe"),
    "cut vector": (GOOD[:-3], "bad.bin: .*4 numbers.*word 2 of 2"),
    "cut word": (GOOD[: len(GOOD) // 2 + 4], "bad.bin: .*word 2 of 2"),
    "binary nan": (b"1 2\nab " + struct.pack("<2f", 1, np.nan), "bad.bin: word 1: .*'ab' .*NaN"),
    "fastText": (struct.pack("<14i", 793712314, 12, *[4] * 12), "bad.bin .*fastText.*[.]vec"),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_bad_binary_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.bin"
    data, message = BAD_BYTES[name]
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as raised:
        WordVectors.open(path).find(["ab", "z"])
    assert "\n" not in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.txt .*No such file"):
        WordVectors.open(tmp_path / "none.txt")
    with pytest.raises(InputError, match="Is a directory"):
        WordVectors.open(tmp_path)
    for name, data in (("cut.txt.gz", lines(WORDS * 9000, np.tile(VALUES, (9000, 1))).encode()), ("cut.bin.gz", GOOD)):
        path = tmp_path / name
        path.write_bytes(gzip.compress(data, 1)[:-9])
        with pytest.raises(InputError, match=r"cut.*gz.*cannot be read"):
            WordVectors.open(path).find(["z"])


@pytest.mark.parametrize("write", [glove, word2vec_binary], ids=lambda one: one.__name__)
def test_a_large_file_needs_little_memory(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 1 << 16)
    count = 40_000
    path = write(tmp_path, [f"word{number}" for number in range(count)], np.ones((count, 2), dtype=np.float32))
    tracemalloc.start()
    try:
        _, found = WordVectors.open(path).find([f"word{count - 1}", "z"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.tolist() == [True, False]
    assert peak < 1 << 19, "bytes; the words alone take three times as many"


def test_coverage_is_one_line() -> None:
    found = np.arange(20_002) < 18_345
    assert coverage(found, "/data/glove.txt") == "vectors: 18,345 of 20,002 words (91.7 %) found in glove.txt"
    assert coverage(found[:0], Path("a.vec")) == "vectors: 0 of 0 words (0.0 %) found in a.vec"
