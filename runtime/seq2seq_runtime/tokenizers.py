"""Texts to ids and back, as the tokenizers of seq2seq do it; `made` builds each from what a file holds of it."""

import base64
import json
import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any, ClassVar

import numpy as np

from seq2seq_runtime.description import PADDING, SPECIAL, UNKNOWN, TokenizerState
from seq2seq_runtime.fields import Fields
from seq2seq_runtime.numbers import StepParts, parsed, parsed_parts, rounded, written
from seq2seq_runtime.problems import FileError, RequestError
from seq2seq_runtime.spelling import Spelling

FIRST = 2
"""The number of a feature's first value; 0 is none, 1 one that training lacks."""


class Tokenizer:
    """Text to ids and back."""

    sizes: tuple[int, ...] = (SPECIAL,)
    """Of the vocabulary and of each feature."""

    @property
    def size(self) -> int:
        """How many ids there are."""
        return math.prod(self.sizes)

    def encode(self, text: str) -> list[int]:
        """Ids without beginning and end; RequestError for a text that has none."""
        raise FileError(f"a {type(self).__name__} makes no ids")

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, on one line."""
        raise FileError(f"a {type(self).__name__} makes no text")


class Listed(Tokenizer):
    """Units from a list."""

    unknown = "<unk>"

    def __init__(self, of: Fields, state: bytes) -> None:
        self.units = strings(state)
        self.sizes = (SPECIAL + len(self.units),)
        self.ids = {unit: number for number, unit in enumerate(self.units, SPECIAL)}
        if not self.units or len(self.ids) < len(self.units):
            raise FileError("a tokenizer must list units, each of them once")

    def split(self, text: str) -> Sequence[str]:
        """The units of a text."""
        raise FileError(f"a {type(self).__name__} splits no text")

    def join(self, units: Sequence[str]) -> str:
        """The text of units."""
        raise FileError(f"a {type(self).__name__} makes no text")

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(unit, UNKNOWN) for unit in self.split(text)]

    def decode(self, ids: Sequence[int]) -> str:
        shown = [number for number in ids if number == UNKNOWN or number >= SPECIAL]
        return one_line(self.join([self.unknown if one == UNKNOWN else self.units[one - SPECIAL] for one in shown]))


class Characters(Listed):
    """One id for each code point."""

    unknown = "\ufffd"

    def __init__(self, of: Fields, state: bytes) -> None:
        super().__init__(of, state)
        self.form: Any = of.text("normalization") if of.has("normalization") else None
        if self.form not in (None, "NFC", "NFD", "NFKC", "NFKD"):
            raise of.wrong("normalization", "NFC, NFD, NFKC, NFKD or null")

    def split(self, text: str) -> Sequence[str]:
        return unicodedata.normalize(self.form, text) if self.form else text

    def join(self, units: Sequence[str]) -> str:
        text = "".join(units)
        return unicodedata.normalize("NFC", text) if self.form else text


class Separated(Listed):
    """Units between separators: words, or labels."""

    def __init__(self, of: Fields, state: bytes) -> None:
        super().__init__(of, state)
        self.separator = of.letter("separator")

    def split(self, text: str) -> Sequence[str]:
        return [unit for unit in text.split(self.separator) if unit]

    def join(self, units: Sequence[str]) -> str:
        return self.separator.join(units)


class Labels(Separated):
    """Labels of tokens and, where there are classes of sentences, one before them."""

    mark = "\N{DOUBLE VERTICAL LINE}"

    def __init__(self, of: Fields, state: bytes) -> None:
        self.classes: list[str] = []
        if state.lstrip().startswith(b"{"):
            stored = Fields(parsed_json(state), of.name)
            self.classes, state = stored.strings("classes"), json.dumps(stored.strings("labels")).encode()
            if not self.classes or len({*self.classes}) < len(self.classes):
                raise FileError("a tokenizer must list classes, each of them once")
        super().__init__(of, state)
        self.first_class = self.sizes[0]
        self.sizes = (self.first_class + len(self.classes),)

    def decode(self, ids: Sequence[int]) -> str:
        name, labels = self.parted(ids)
        if name is None:
            return super().decode(ids)
        return f"{name} {self.mark} {super().decode(labels)}" if len(labels) else name

    def parted(self, ids: Sequence[int]) -> tuple[str | None, Sequence[int]]:
        """The class of a sentence, None without one, and the ids of its labels."""
        if not self.classes or not len(ids):
            return None, ids
        first = ids[0] - self.first_class
        if any(one >= self.first_class for one in ids[1:]):
            raise FileError("it writes a class of the sentence where a label is expected")
        return one_line(self.classes[first]) if first >= 0 else super().decode(ids[:1]), ids[1:]


class NoSource(Tokenizer):
    """No ids at all."""

    def __init__(self, of: Fields, state: bytes) -> None:
        pass

    def encode(self, text: str) -> list[int]:
        return []

    def decode(self, ids: Sequence[int]) -> str:
        return ""


class SentencePiece(Tokenizer):
    """Subwords. Private letters stand for some that the library would drop, in models whose piece 1 is U+F8F5."""

    reserved: ClassVar = re.compile("[\u2581\u2585\x00\uf8f0-\uf8f7]")
    hidden: ClassVar = {"\u2581": "\uf8f1", "\u2585": "\uf8f2", "\x00": "\uf8f3"}
    escape = "\uf8f0"
    written: ClassVar = re.compile("\uf8f0([\uf8f8-\uf8ff])|([\uf8f1-\uf8f3])")
    shown: ClassVar = {letter: other for other, letter in hidden.items()}

    def __init__(self, of: Fields, state: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        try:
            self.model: Any = SentencePieceProcessor(model_proto=state)
            self.sizes = (int(self.model.get_piece_size()),)
            self.whole = self.model.id_to_piece(UNKNOWN) == "\uf8f5"
        except (RuntimeError, IndexError) as problem:
            raise FileError(f"its SentencePiece model is damaged: {problem!s:.80}") from problem

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.model.encode(self.reserved.sub(self.replaced, text) if self.whole else text)
        return ids

    def replaced(self, match: "re.Match[str]") -> str:
        """What stands for a letter that means something to the library."""
        return self.hidden.get(match[0]) or self.escape + chr(ord(match[0]) + 8)

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.model.decode(list(ids))
        if self.whole:
            text = self.written.sub(lambda one: chr(ord(one[1]) - 8) if one[1] else self.shown[one[2]], text)
        return one_line(text)


class Columns(Tokenizer):
    """Columns between tabs, each with a tokenizer and ids of its own."""

    def __init__(self, of: Fields, state: bytes) -> None:
        parts = of.value("parts")
        if not isinstance(parts, list) or not parts:
            raise of.wrong("parts", "a list of tokenizers")
        each = zip(parts, unpacked(state, len(parts)), strict=True)
        self.parts = [part(Fields(one, f"{of.name}: 'parts'"), own) for one, own in each]
        self.between = of.value("single") == "between"
        first = self.between or of.value("single") == "first"
        self.alone = 0 if first else len(parts) - 1
        self.single = first or of.flag("single")
        self.starts = list(accumulate((one.size - SPECIAL for one in self.parts), initial=SPECIAL))
        self.sizes = (self.starts[-1],)

    def encode(self, text: str) -> list[int]:
        row = text.split("\t")
        if len(row) != len(self.parts):
            raise RequestError(f"{text!r:.60} has {len(row)} columns between tabs, and {len(self.parts)} are expected")
        own = [
            [number + start - SPECIAL if number >= SPECIAL else number for number in one.encode(column)]
            for one, start, column in zip(self.parts, self.starts, row, strict=False)
        ]
        return list(chain(*(own[1:] if self.between else []), *own))

    def decode(self, ids: Sequence[int]) -> str:
        columns: list[list[int]] = [[] for _ in self.parts]
        own = range(self.starts[self.alone], self.starts[self.alone + 1])
        lone = self.single and all(number < SPECIAL or number in own for number in ids)
        index = self.alone if lone else 0
        if self.between and not lone:  # without the copy before the first column
            ids = ids[next((position for position, number in enumerate(ids) if number in own), 0) :]
        for number in ids:
            index = bisect_right(self.starts, number) - 1 if number >= SPECIAL else index
            columns[index].append(number - self.starts[index] + SPECIAL if number >= SPECIAL else number)
        texts = [one.decode(column) for one, column in zip(self.parts, columns, strict=True)]
        return texts[self.alone] if lone else "\t".join(text.replace("\t", " ") for text in texts)


class Features(Tokenizer):
    """Tokens that carry features: an id is token + V * (f1 + F1 * (f2 ...))."""

    def __init__(self, of: Fields, state: bytes) -> None:
        self.count = of.whole("features", 1, 1000)
        text, *lists = unpacked(state, 1 + self.count)
        self.text = part(of.inner("text"), text)
        self.names = [strings(values) for values in lists]
        self.numbers = [{name: number for number, name in enumerate(values, FIRST)} for values in self.names]
        self.sizes = (*self.text.sizes, *(FIRST + len(values) for values in self.names))

    def shift(self, values: Sequence[str]) -> int:
        """What is added to the id of a token with these features."""
        code = 0
        for numbers, value in zip(reversed(self.numbers), reversed(values), strict=True):
            code = code * (FIRST + len(numbers)) + numbers.get(value, UNKNOWN)
        return code * self.text.size

    def values(self, number: int) -> list[str]:
        """The features of an id, as they are shown."""
        code, shown = number // self.text.size, []
        for names in self.names:
            code, value = divmod(code, FIRST + len(names))
            shown.append(one_line(names[value - FIRST]) if value >= FIRST else "<unk>" * (value == UNKNOWN))
        return shown


class RowFeatures(Features):
    """Columns between tabs, features of the row, and then its text."""

    def __init__(self, of: Fields, state: bytes) -> None:
        super().__init__(of, state)
        self.tabs = isinstance(self.text, Columns) or getattr(self.text, "separator", None) == "\t"

    def encode(self, text: str) -> list[int]:
        *values, alone = text.split("\t", self.count)
        if len(values) < self.count or ("\t" in alone and not self.tabs):
            raise RequestError(
                f"{text!r:.60} has {text.count(chr(9)) + 1} columns between tabs, and {self.count + 1} are expected"
            )
        more = self.shift(values)
        return [number + more for number in self.text.encode(alone)]

    def decode(self, ids: Sequence[int]) -> str:
        size = self.text.size
        first = next((number for number in ids if number >= size), PADDING)
        text = self.text.decode([number % size for number in ids])
        return "\t".join([*self.values(first), text if self.tabs else text.replace("\t", " ")])


class TokenFeatures(Features):
    """Words with features of their own: Hund￨NOUN￨Nom."""

    text: Separated

    def __init__(self, of: Fields, state: bytes) -> None:
        super().__init__(of, state)
        if not isinstance(self.text, Separated):
            raise of.wrong("text", "Words or Labels")
        self.divider, self.separator = of.letter("divider"), self.text.separator

    def encode(self, text: str) -> list[int]:
        return [self.id(token) for token in self.text.split(text)]

    def id(self, token: str) -> int:
        """Of a word with its features."""
        word, *values = token.split(self.divider)
        if len(values) != self.count or not word:
            raise RequestError(
                f"the token {token!r:.60} must be a word with {self.count} features, each after a {self.divider!r}"
            )
        return self.text.ids.get(word, UNKNOWN) + self.shift(values)

    def decode(self, ids: Sequence[int]) -> str:
        size = self.text.size
        shown = [number for number in ids if number % size == UNKNOWN or number % size >= SPECIAL]
        return self.text.join(
            [self.divider.join([self.text.decode([number % size]), *self.values(number)]) for number in shown]
        )


class Spelled(Tokenizer):
    """Words as rows of ids; `ids` of `spelling` has those of one."""

    def __init__(self, of: Fields, state: bytes) -> None:
        words, tables = two(state)
        self.words = part(of.inner("words"), words.encode())
        affixes = of.whole("affixes", 0, 8)
        if not isinstance(self.words, Separated) or len(tables) != 3 + 2 * affixes:
            raise FileError(f"{of.name}: a Spelled tokenizer needs Words, and {3 + 2 * affixes} lists")
        self.separator = self.words.separator
        extra, *others = tables
        known = {word: number for number, word in enumerate(extra, self.words.size)} | self.words.ids
        longest = of.whole("longest", 2) if of.flag("letters") else None
        size = self.words.size + len(extra)
        self.spelling = Spelling(known, size, others, affixes, longest)
        self.sizes = (self.spelling.starts[-1],)

    def split(self, text: str) -> Sequence[str]:
        """The words of a text."""
        return self.words.split(text) if isinstance(self.words, Separated) else []

    def encode(self, text: str) -> list[int]:
        return [number for word in self.split(text) for number in self.spelling.ids(word)]


class Vectors(Tokenizer):
    """Texts of numbers to vectors, each number with mean 0 and deviation 1 over the training rows."""

    def __init__(self, of: Fields, state: bytes) -> None:
        learnt = Fields(parsed_json(state), of.name)
        self.mean = np.array(learnt.numbers("mean"))
        self.deviation = np.array(learnt.numbers("deviation", low=5e-324))
        if not len(self.mean) or self.mean.shape != self.deviation.shape:
            raise learnt.wrong("deviation", "as many numbers as in 'mean'")
        self.sizes = (len(self.mean),)
        self.parts: StepParts | None = None
        if learnt.has("parts"):
            counts = learnt.value("parts")
            if not isinstance(counts, list) or len(counts) != len(StepParts._fields):
                raise learnt.wrong("parts", "a list of four whole numbers")
            each = Fields(dict(enumerate(counts)), f"{of.name}: 'parts'")
            self.parts = StepParts(*(each.whole(place) for place in each.values))
            if not self.parts.series or sum(self.parts[:3]) != len(self.mean):
                raise learnt.wrong("parts", f"parts of {len(self.mean)} numbers")

    def vectors(self, text: str) -> np.ndarray:
        """(steps, width), normalised."""
        return self.normalised(self.numbers_of(text))

    def numbers_of(self, text: str) -> np.ndarray:
        """(steps, width), as they stand there; NaN for those of a step to come that it lacks."""
        return parsed(text, len(self.mean)) if self.parts is None else parsed_parts(text, self.parts)

    def normalised(self, values: np.ndarray) -> np.ndarray:
        """Numbers (steps, width) as the network reads them: the mean for those that a step to come lacks."""
        result: np.ndarray = (values - self.mean) / self.deviation
        return (result if self.parts is None else np.nan_to_num(result)).astype(np.float32)

    def numbers(self, values: np.ndarray) -> str:
        """The text of normalised vectors (steps, width)."""
        plain = values.astype(np.float64).reshape(-1, len(self.mean)) * self.deviation + self.mean
        return written(rounded(plain, self.deviation))


KINDS: dict[str, Callable[[Fields, bytes], Tokenizer]] = {
    "SentencePiece": SentencePiece,
    "Characters": Characters,
    "Words": Separated,
    "Labels": Labels,
    "Columns": Columns,
    "RowFeatures": RowFeatures,
    "TokenFeatures": TokenFeatures,
    "Spelled": Spelled,
    "Vectors": Vectors,
    "NoSource": NoSource,
}


def made(of: TokenizerState) -> Tokenizer:
    """A tokenizer; FileError for one that is unknown, damaged or of another size than the file says."""
    tokenizer = kind(of.kind)(of.settings, of.state)
    if tokenizer.sizes != of.sizes:
        raise FileError(f"its tokenizer {of.kind} has the sizes {tokenizer.sizes}, but the file says {of.sizes}")
    return tokenizer


def kind(name: str) -> Callable[[Fields, bytes], Tokenizer]:
    """The class of this name."""
    if name not in KINDS:
        raise FileError(f"its tokenizer {name!r:.40} is unknown; known: {', '.join(KINDS)}")
    return KINDS[name]


def part(of: Fields, state: bytes) -> Tokenizer:
    """A tokenizer within another's settings."""
    return kind(of.text("class_path"))(of.inner("init_args"), state)


def one_line(text: str) -> str:
    """The text with spaces for its line breaks."""
    return " ".join(text.splitlines())


def parsed_json(state: bytes) -> Any:
    """A state that is JSON."""
    try:
        return json.loads(state)
    except (ValueError, RecursionError) as problem:
        raise FileError(f"the state of a tokenizer is no JSON: {problem!s:.80}") from problem


def strings(state: bytes) -> list[str]:
    """A state that is a list of strings."""
    return Fields({"state": parsed_json(state)}, "a tokenizer").strings("state")


def unpacked(state: bytes, count: int) -> list[bytes]:
    """A state that is a list of so many others in base64."""
    states = strings(state)
    if len(states) != count:
        raise FileError(f"a tokenizer holds {len(states)} states, and {count} are expected")
    try:
        return [base64.b64decode(text, validate=True) for text in states]
    except ValueError as problem:
        raise FileError(f"the state of a tokenizer is no base64: {problem}") from problem


def two(state: bytes) -> tuple[str, list[list[str]]]:
    """A state that is a string and a list of lists of strings."""
    values = parsed_json(state)
    if not isinstance(values, list) or len(values) != 2 or not isinstance(values[1], list):
        raise FileError("the state of a tokenizer Spelled is no pair")
    lists = Fields(dict(enumerate(values[1])), "a tokenizer Spelled")
    return Fields({"words": values[0]}, lists.name).text("words"), [lists.strings(place) for place in lists.values]
