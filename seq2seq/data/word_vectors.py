"""Pre-trained word vectors in files of word2vec, GloVe and fastText, read without holding a file in memory.

D is the length of a vector. Only the vectors of the words that are asked for are kept. In text files, only their
numbers are looked at; every line must have as many as the others.
"""

import codecs
import contextlib
import gzip
import mmap
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from seq2seq.data.corpora.lines import raw_lines
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
LETTER = re.compile(rb"[^\x80-\xbf][\x80-\xbf]*", re.DOTALL)
"""The bytes of a letter in UTF-8."""

MAGIC = struct.pack("<i", 793712314)
"""With what fastText's models begin."""

SETTINGS, COUNTS, WORD, MATRIX = (struct.Struct(form) for form in ("<14id", "<3i2q", "<qb", "<?qq"))
"""What stands in fastText's models at the beginning, before the words, behind each word, and before the vectors."""

SUPERVISED, SENTENCE_END = 3, b"</s>"
"""The kind of fastText's models that classify texts, and the word that has no n-grams."""


class Entry(NamedTuple):
    """One word of a file."""

    number: int
    """Of its line, or of the word itself, counted from 1."""
    word: bytes
    raw: bytes
    """Its vector as the file has it; empty in fastText's models."""


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
        if head.startswith(MAGIC):
            return SubwordVectors.of(path)
        line, _, rest = head.partition(b"\n")
        header = HEADER.fullmatch(line)
        if header:
            count, size = (int(number) for number in header.groups())
        else:
            count, size = None, numbers_at_end(line)
        if not size or not (header or textual(head[:SAMPLE])):
            raise InputError(
                f"{path} holds no word vectors: a line is a word and its numbers, but the first is {line[:40]!r}; the "
                "formats are those of word2vec (text and binary), GloVe and fastText (.vec and .bin)"
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
        """An entry's place, for a message."""
        return f"{self.path}: word {entry.number}"

    def words(self, limit: int | None = None) -> list[str]:
        """The first `limit` words, or all, in the order of the file, which mostly is that of their frequency."""
        # Some bytes in word2vec's own files are no UTF-8: words cut off within a letter. Nobody can mend them.
        return [entry.word.decode("utf-8", "replace") for entry in islice(self.entries(), limit)]

    def find(self, words: Sequence[str], lowercase: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of words, (N, D) float32, zero where there is none, and which have one, (N,) bool.

        lowercase: a word that the file lacks gets the vector of the same word in lower case. The first of equal words
        counts. Text is read once, at most to the last word that is needed.
        """
        keys = [key_of(word) for word in words]
        others = [key_of(word.lower()) for word in words] if lowercase else keys
        index = {key: place for place, key in enumerate(dict.fromkeys((*keys, *others)))}
        table, seen = self._read(index)
        places = np.array([index[key] for key in keys], dtype=np.int64)
        instead = np.array([index[key] for key in others], dtype=np.int64)
        places = np.where(seen[places], places, instead)
        return table[places], seen[places]

    def _read(self, index: Mapping[bytes, int]) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of all words in `index` by their places, and which the file has."""
        table, seen = np.zeros((len(index), self.size), dtype=np.float32), np.zeros(len(index), dtype=bool)
        left = len(index)
        for entry in self.entries() if left else ():
            place = index.get(entry.word)
            if place is None or seen[place]:
                continue
            table[place] = self._finite(entry)
            seen[place] = True
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
        found = number - first + 1
        if self.count not in (None, found):
            raise InputError(f"{self.path}: its header says {self.count} words, but it has {found}; is the file whole?")

    def _entry(self, number: int, line: bytes) -> Entry:
        """The last D fields are the vector: a few words of GloVe's hold blanks."""
        blanks = line.count(b" ")
        word, _, raw = line.partition(b" ")
        if blanks > self.size:
            word = line.rsplit(b" ", self.size)[0]
            raw = line[len(word) + 1 :]
        extra = word.rsplit(b" ", 1)[1:]
        if blanks < self.size or (extra and NUMBER.fullmatch(extra[0])):
            told = "the first line has" if self.count is None else "the header says"
            raise InputError(
                f"{self.path}:{number}: {blanks} values, but {told} {self.size}; mend or remove the line, or is the "
                "file not whole?"
            )
        return Entry(number, word, raw)

    def vector(self, entry: Entry) -> np.ndarray:
        try:
            with np.errstate(over="ignore"):  # becomes infinity, which is refused
                vector = np.array([float(value) for value in entry.raw.split()], dtype=np.float32)
        except ValueError as problem:
            raise InputError(f"{self.where(entry)}: {problem}; mend or remove the line") from problem
        if len(vector) != self.size:
            raise InputError(f"{self.where(entry)}: two blanks between values; write one")
        return vector

    def where(self, entry: Entry) -> str:
        return f"{self.path}:{entry.number}"


class BinaryVectors(WordVectors):
    """word2vec's binary format: a header (words, D), then each word, a blank, and D numbers of 32 bits."""

    def __init__(self, path: Path, size: int, count: int) -> None:
        """count: the words that the header promises."""
        super().__init__(path, size)
        self.count = count

    def entries(self) -> Iterator[Entry]:
        width = 4 * self.size
        with opened(self.path) as file:
            file.readline()
            buffer, place = b"", 0
            for number in range(1, self.count + 1):
                while (blank := buffer.find(b" ", place)) < 0 or len(buffer) < blank + 1 + width:
                    more = file.read(CHUNK)
                    if not more or len(buffer) - place > LONGEST + width:
                        raise InputError(
                            f"{self.path}: no word and {self.size} numbers where word {number} of {self.count} should "
                            "be; is the file whole?"
                        )
                    buffer, place = buffer[place:] + more, 0
                end = blank + 1 + width
                yield Entry(number, buffer[place:blank].lstrip(b"\n"), buffer[blank + 1 : end])
                place = end

    def vector(self, entry: Entry) -> np.ndarray:
        return np.frombuffer(entry.raw, dtype="<f4")


class Model(NamedTuple):
    """What a model of fastText says about itself."""

    size: int
    """Numbers of a vector, D."""
    words: int
    entries: int
    """Words, and labels behind them."""
    buckets: int
    """Vectors of n-grams, which share them by their hashes."""
    shortest: int
    longest: int
    """Letters of an n-gram."""


class SubwordVectors(WordVectors):
    """A model of fastText: a word's vector is the mean of its own and of those of its n-grams of letters.

    Bojanowski et al. 2017, sec. 3.2, computed as `getWordVector` of the library does. A word that the model lacks has
    the mean of its n-grams, so that it is found too.
    """

    def __init__(self, path: Path, model: Model, matrix: np.ndarray) -> None:
        """matrix: (words + buckets, D)."""
        super().__init__(path, model.size)
        self.model, self.matrix = model, matrix

    @staticmethod
    def of(path: Path) -> "SubwordVectors":
        """The vectors of a file, which stay there until they are asked for."""
        if path.suffix == ".gz":
            raise InputError(f"{path} is a model of fastText, whose vectors are read here and there; gunzip it first")
        with mapped(path) as data:
            try:
                model = described(path, data)
                start = vectors_start(path, data, model)
            except struct.error as problem:
                raise damaged(path, f"it ends within its words, after {len(data)} bytes") from problem
            rows = model.words + model.buckets
            if len(data) < start + 4 * rows * model.size:
                raise damaged(path, f"{rows} vectors of {model.size} numbers need more than its {len(data)} bytes")
        return SubwordVectors(path, model, np.memmap(path, "<f4", "r", start, (rows, model.size)))

    def entries(self) -> Iterator[Entry]:
        with mapped(self.path) as data:
            for number, (word, _) in enumerate(dictionary(data, self.model.words), 1):
                yield Entry(number, word, b"")

    def vector(self, entry: Entry) -> np.ndarray:
        """Of a word, which is none of the model's if its number is 0."""
        vector: np.ndarray = np.asarray(self.matrix[self._rows(entry)]).mean(0)
        return vector

    def find(self, words: Sequence[str], lowercase: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """As elsewhere; after that, an unknown word is composed of its n-grams, if the model has any."""
        table, found = super().find(words, lowercase)
        for place in np.flatnonzero(~found).tolist():
            entry = Entry(0, key_of(words[place]), b"")
            if self._rows(entry):
                table[place], found[place] = self._finite(entry), True
        return table, found

    def _rows(self, entry: Entry) -> list[int]:
        """The rows of the matrix that make up a word."""
        own, model = ([entry.number - 1] if entry.number else []), self.model
        if not model.buckets or entry.word == SENTENCE_END:
            return own
        return own + [model.words + value % model.buckets for value in hashes(entry.word, model)]


def hashes(word: bytes, model: Model) -> Iterator[int]:
    """Those of all n-grams of a word between its ends < and >, by fastText's variant of FNV-1a in 32 bits."""
    letters = LETTER.findall(b"<" + word + b">")
    for first in range(len(letters)):
        value = 2166136261
        for last in range(first, min(first + model.longest, len(letters))):
            for byte in letters[last]:  # as a signed char, which C++ extends with ones
                value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
            lone_end = first == last and (first == 0 or last == len(letters) - 1)
            if last - first + 1 >= model.shortest and not lone_end:
                yield value


def described(path: Path, data: mmap.mmap) -> Model:
    """What stands before the words of a model."""
    _, version, size, *_, kind, buckets, shortest, longest, _, _ = SETTINGS.unpack_from(data)
    entries, words, _, _, pruned = COUNTS.unpack_from(data, SETTINGS.size)
    if version not in (11, 12) or size < 1 or buckets < 0 or not 0 <= words <= entries:
        raise damaged(path, f"version {version}, {words} words, {size} numbers in a vector")
    if pruned > 0:
        raise quantized(path)
    if version == 11 and kind == SUPERVISED:
        longest = 0  # trained without n-grams, whatever it says
    return Model(size, words, entries, buckets, shortest, longest)


def dictionary(data: mmap.mmap, count: int) -> Iterator[tuple[bytes, int]]:
    """The first words of a model, each with the place behind it."""
    place = SETTINGS.size + COUNTS.size
    for _ in range(count):
        end = data.find(b"\0", place)
        if end < 0:
            raise struct.error("a word without an end")
        word, place = data[place:end], end + 1 + WORD.size
        yield word, place


def vectors_start(path: Path, data: mmap.mmap, model: Model) -> int:
    """Where the vectors of a model begin."""
    place = SETTINGS.size + COUNTS.size
    for _, place in dictionary(data, model.entries):  # noqa: B007
        pass
    packed, rows, columns = MATRIX.unpack_from(data, place)
    if packed:
        raise quantized(path)
    if (rows, columns) != (model.words + model.buckets, model.size):
        raise damaged(path, f"{rows} vectors of {columns} numbers do not fit {model}")
    return place + MATRIX.size


def quantized(path: Path) -> InputError:
    """A model whose vectors are codes."""
    return InputError(f"{path} is a quantized model of fastText; give the .bin file that it was made from")


def damaged(path: Path, wrong: str) -> InputError:
    """A model that is not as fastText writes it."""
    return InputError(f"{path} is a damaged model of fastText ({wrong}); is the file whole? Download it again")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked if it is gzipped."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            yield cast(IO[bytes], file)
    except (OSError, EOFError, zlib.error) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise InputError(f"{path} cannot be read: {reason}; is the file there, and whole?") from problem


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """A file's bytes, of which only those that are looked at are read."""
    with opened(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


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
    return next((place for place, field in enumerate(reversed(fields)) if not NUMBER.fullmatch(field)), len(fields))


def key_of(word: str) -> bytes:
    """A word as files write it; half a surrogate pair is in none of them."""
    return word.encode("utf-8", "surrogatepass")


def coverage(found: np.ndarray, path: str | Path) -> str:
    """How many words have a vector, in one line."""
    share = 100 * found.mean() if len(found) else 0.0
    return f"vectors: {int(found.sum()):,} of {len(found):,} words ({share:.1f} %) found in {Path(path).name}"
