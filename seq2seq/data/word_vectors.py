"""Pre-trained word vectors in files of word2vec and GloVe, and text of fastText, read without holding a file in memory.

D is the length of a vector. Only the vectors of the words that are asked for are kept. In text files, only their
numbers are looked at; every line must have as many as the others.
"""

import codecs
import contextlib
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from seq2seq.data.lines import raw_lines
from seq2seq.errors import InputError

HEAD, SAMPLE = 1 << 16, 1 << 12
"""Bytes of a file that show which format it has, and those that show whether it is text."""

CHUNK, LONGEST = 1 << 20, 1 << 12
"""Bytes of a binary file that are read at once, and those of its longest word."""

WIDEST = 1 << 14
"""Numbers of the longest vector that is believed: a header alone must not take memory."""

HEADER = re.compile(rb"(\d{1,18}) (\d{1,18})\s*")
NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")

FASTTEXT = (793712314).to_bytes(4, "little")
"""With what fastText's own models begin."""


class Entry(NamedTuple):
    """One word of a file."""

    number: int
    """Of its line, or of the word itself, counted from 1."""
    word: bytes
    raw: bytes
    """Its vector as the file has it."""


class WordVectors:
    """The words of a file and their vectors."""

    def __init__(self, path: Path, size: int) -> None:
        """size: numbers of a vector, D."""
        self.path, self.size = path, size

    @staticmethod
    def open(path: str | Path) -> "WordVectors":
        """The vectors of a file, whose contents tell its format; text and word2vec's binary may be gzipped."""
        path = Path(path)
        with opened(path) as file:
            head = file.read(HEAD)
        if not head:
            raise InputError(f"{path} is empty; download the vectors again")
        if head.startswith(FASTTEXT):
            raise InputError(f"{path} is a binary model of fastText; save its vectors as text (.vec)")
        line, _, rest = head.partition(b"\n")
        header = HEADER.fullmatch(line)
        if header:
            count, size = (int(number) for number in header.groups())
        else:
            count, size = None, numbers_at_end(line)
        if not size or not (header or textual(head[:SAMPLE])):
            raise InputError(
                f"{path} holds no word vectors: a line is a word and its numbers, but the first is {line[:40]!r}; the "
                "formats are those of word2vec (text and binary), GloVe and fastText (.vec)"
            )
        if size > WIDEST:
            raise InputError(f"{path} says that its vectors have {size} numbers, more than {WIDEST}; is it damaged?")
        if count is None or textual(rest[:SAMPLE]):
            return TextVectors(path, size, count)
        return BinaryVectors(path, size, count)

    def entries(self) -> Iterator[Entry]:
        """All words, in the order of the file."""
        raise TypeError(f"{type(self).__name__} does not say how to read its words")

    def vector(self, entry: Entry) -> np.ndarray:
        """The vector of a word, (D,) float32."""
        raise TypeError(f"{type(self).__name__} does not say how to read a vector")

    def where(self, entry: Entry) -> str:
        """An entry's location, for a message."""
        return f"{self.path}: word {entry.number}"

    def words(self, limit: int | None = None) -> list[str]:
        """The first `limit` words, or all, in the order of the file, which mostly is that of their frequency."""
        # Some bytes in word2vec's own files are no UTF-8: words cut off within a letter.
        return [entry.word.decode("utf-8", "replace") for entry in islice(self.entries(), limit)]

    def find(self, words: Sequence[str], lowercase: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of words, (N, D) float32, zero where there is none, and which have one, (N,) bool.

        lowercase: a word that the file lacks gets the vector of the same word in lower case. The first of equal words
        counts. Text is read once, at most to the last word that is needed.
        """
        keys = [key_of(word) for word in words]
        others = [key_of(word.lower()) for word in words] if lowercase else keys
        index = {key: row for row, key in enumerate(dict.fromkeys((*keys, *others)))}
        table, seen = self._read(index)
        rows = np.array([index[key] for key in keys], dtype=np.int64)
        instead = np.array([index[key] for key in others], dtype=np.int64)
        rows = np.where(seen[rows], rows, instead)
        return table[rows], seen[rows]

    def _read(self, index: Mapping[bytes, int]) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of all words in the rows that `index` gives them, and which the file has."""
        table, seen = np.zeros((len(index), self.size), dtype=np.float32), np.zeros(len(index), dtype=bool)
        left = len(index)
        for entry in self.entries() if left else ():
            row = index.get(entry.word)
            if row is None or seen[row]:
                continue
            table[row] = self._finite(entry)
            seen[row] = True
            left -= 1
            if not left:
                break
        return table, seen

    def _finite(self, entry: Entry) -> np.ndarray:
        vector = self.vector(entry)
        if not np.isfinite(vector).all():
            word = entry.word.decode("utf-8", "replace")
            raise InputError(f"{self.where(entry)}: the vector of {word!r} holds NaN or infinity; remove this word")
        return vector


class TextVectors(WordVectors):
    """Lines of a word and its numbers; word2vec and fastText write a header (words, D), GloVe does not."""

    def __init__(self, path: Path, size: int, count: int | None) -> None:
        """count: the words that the header promises, None without one."""
        super().__init__(path, size)
        self.count = count

    def entries(self) -> Iterator[Entry]:
        number, first = 0, 1 if self.count is None else 2
        for number, line in enumerate(raw_lines(self.path), 1):
            if number >= first:
                yield self._entry(number, line.rstrip(b" \r\n"))
        count = number - first + 1
        if self.count not in (None, count):
            raise InputError(f"{self.path}: its header says {self.count} words, but it has {count}; is it complete?")

    def _entry(self, number: int, line: bytes) -> Entry:
        """The last D fields are the vector: a few words of GloVe's hold spaces."""
        values = line.count(b" ")
        word, _, raw = line.partition(b" ")
        if values > self.size:
            word = line.rsplit(b" ", self.size)[0]
            raw = line[len(word) + 1 :]
        extra = word.rsplit(b" ", 1)[1:]
        if values < self.size or (extra and NUMBER.fullmatch(extra[0])):
            promise = "the first line has" if self.count is None else "the header says"
            raise InputError(
                f"{self.path}:{number}: {values} values, but {promise} {self.size}; fix or remove the line, or is the "
                "file not whole?"
            )
        return Entry(number, word, raw)

    def vector(self, entry: Entry) -> np.ndarray:
        try:
            with np.errstate(over="ignore"):  # becomes infinity, which is refused
                vector = np.array([float(value) for value in entry.raw.split()], dtype=np.float32)
        except ValueError as problem:
            raise InputError(f"{self.where(entry)}: {problem}; fix or remove the line") from problem
        if len(vector) != self.size:
            raise InputError(f"{self.where(entry)}: two spaces between values; write one")
        return vector

    def where(self, entry: Entry) -> str:
        return f"{self.path}:{entry.number}"


class BinaryVectors(WordVectors):
    """word2vec's binary format: a header (words, D), then each word, a space, and D numbers of 32 bits."""

    def __init__(self, path: Path, size: int, count: int) -> None:
        """count: the words that the header promises."""
        super().__init__(path, size)
        self.count = count

    def entries(self) -> Iterator[Entry]:
        width = 4 * self.size
        with opened(self.path) as file:
            file.readline()
            buffer, position = b"", 0
            for number in range(1, self.count + 1):
                while (space := buffer.find(b" ", position)) < 0 or len(buffer) < space + 1 + width:
                    more = file.read(CHUNK)
                    if not more or len(buffer) - position > LONGEST + width:
                        raise InputError(
                            f"{self.path}: no word and {self.size} numbers where word {number} of {self.count} should "
                            "be; is the file whole?"
                        )
                    buffer, position = buffer[position:] + more, 0
                end = space + 1 + width
                yield Entry(number, buffer[position:space].lstrip(b"\n"), buffer[space + 1 : end])
                position = end

    def vector(self, entry: Entry) -> np.ndarray:
        return np.frombuffer(entry.raw, dtype="<f4")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked if it is gzipped."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            yield cast(IO[bytes], file)
    except (OSError, EOFError, zlib.error) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise InputError(f"{path} cannot be read: {reason}; is the file there, and whole?") from problem


def textual(sample: bytes) -> bool:
    """Whether bytes are the beginning of text; in some other encoding than UTF-8 most of them must be numbers."""
    if CONTROL.search(sample):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # which may end within a letter
    except UnicodeDecodeError:
        return 2 * len(sample.translate(None, b"0123456789+-.eE \r\n")) < len(sample)
    return True


def numbers_at_end(line: bytes) -> int:
    """How many of the fields behind the first are numbers, counted from the end."""
    fields = line.split()[1:]
    return next((count for count, field in enumerate(reversed(fields)) if not NUMBER.fullmatch(field)), len(fields))


def key_of(word: str) -> bytes:
    """A word as files write it; half a surrogate pair is in none of them."""
    return word.encode("utf-8", "surrogatepass")


def coverage(found: np.ndarray, path: str | Path) -> str:
    """How many words have a vector, in one line."""
    share = 100 * found.mean() if len(found) else 0.0
    return f"vectors: {int(found.sum()):,} of {len(found):,} words ({share:.1f} %) found in {Path(path).name}"
