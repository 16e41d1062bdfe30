"""Units from a list: characters, words, labels."""

import json
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Literal

import numpy as np

from seq2seq.data.lines import CLASS_MARK
from seq2seq.data.tokenizers.base import SPECIAL, UNK, Tokenizer, check_separator, damaged, no_text, one_line, strings
from seq2seq.errors import InputError, check_range

if TYPE_CHECKING:
    from seq2seq.data.ragged import Ragged


class TokenIds(dict[str, int]):
    """Units and their ids; whatever is missing is UNK."""

    def __missing__(self, unit: str) -> int:
        return UNK


class Listed(Tokenizer):
    """Text as units from a list; subclasses say what a unit is and which ones are kept, in which order."""

    writes = ("split", "join")
    unknown = "<unk>"
    """How UNK is shown."""
    _units: tuple[str, ...] = ()
    _ids: TokenIds = TokenIds()

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The units in the order of their ids, the first of which is 4."""
        return self._units

    @property
    def row_names(self) -> list[list[Hashable]]:
        return [[*range(SPECIAL), *self._units]]

    def split(self, text: str) -> Iterable[str]:
        """The units of a text."""
        raise TypeError(f"{type(self).__name__} does not say what its units are")

    def join(self, units: Iterable[str]) -> str:
        """The text of units."""
        raise TypeError(f"{type(self).__name__} does not say how to join its units")

    def choose(self, counts: "Counter[str]") -> list[str]:
        """The vocabulary, given how often units occur: all of them by code point."""
        return sorted(counts)

    def train(self, texts: Iterable[str]) -> None:
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self.split(text))
        if not counts:
            raise no_text()
        self._number(self.choose(counts))

    def _number(self, units: Sequence[str]) -> None:
        self._units = tuple(units)
        self._ids = TokenIds(zip(units, range(SPECIAL, SPECIAL + len(units)), strict=True))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        find = self._ids.__getitem__
        return [list(map(find, self.split(text))) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        shown = (number for number in ids if number == UNK or number >= SPECIAL)
        return one_line(self.join(self.unknown if number == UNK else self._units[number - SPECIAL] for number in shown))

    def written(self) -> list[str]:
        between = self.join(["", ""])
        return [*[""] * SPECIAL, *(between + unit for unit in self._units)]

    def __len__(self) -> int:
        return SPECIAL + len(self._units)

    @property
    def state(self) -> bytes:
        return json.dumps(self._units).encode()

    def restore(self, state: bytes) -> None:
        self._number(strings(self, state))
        if not self._units or len(self._ids) < len(self._units):
            raise damaged(self, "it must list units, each of them once")


class Characters(Listed):
    """One id for each code point; without `normalization` a text of known characters comes back as it was."""

    unknown = "\ufffd"

    def __init__(self, normalization: Literal["NFC", "NFD", "NFKC", "NFKD"] | None = None) -> None:
        """normalization: Unicode form of the characters; NFD and NFKD split accents off, and predictions join them."""
        self.normalization = normalization

    def split(self, text: str) -> str:
        return unicodedata.normalize(self.normalization, text) if self.normalization else text

    def join(self, units: Iterable[str]) -> str:
        text = "".join(units)
        return unicodedata.normalize("NFC", text) if self.normalization else text  # composes NFKD to NFKC, too

    @property
    def boundary(self) -> str:
        self._refuse_composing()
        return ""

    def settled(self, text: str) -> str:
        self._refuse_composing()
        return text

    def _refuse_composing(self) -> None:
        if self.normalization:
            raise InputError(
                f"--stream goes character by character, and normalization {self.normalization} of Characters joins "
                "them with those that follow; train with data.tokenizer.normalization null"
            )


class Separated(Listed):
    """Units between separators; known ones between single separators come back as they were."""

    separator: str

    def split(self, text: str) -> Iterable[str]:
        return filter(None, text.split(self.separator))

    def join(self, units: Iterable[str]) -> str:
        return self.separator.join(units)

    def filled(self, ids: Sequence[int], words: Iterable[str]) -> str:
        """As `decode`, with one of the words in place of each unknown one."""
        left = iter(words)
        shown = (number for number in ids if number == UNK or number >= SPECIAL)
        units = (next(left) if number == UNK else self._units[number - SPECIAL] for number in shown)
        return one_line(self.join(units))

    @property
    def boundary(self) -> str:
        return self.separator

    def settled(self, text: str) -> str:
        return text

    def share_once(self, texts: Iterable[str]) -> float:
        """Share of the units of a text that occur in it once: about that of unseen ones in another (Good 1953)."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self.split(text))
        return sum(times == 1 for times in counts.values()) / max(1, counts.total())

    def train(self, texts: Iterable[str]) -> None:
        """Learn the list; texts most of which hold tabs are sentences of tokens, which a space would not separate."""
        rows = tabs = 0

        def counted() -> Iterator[str]:
            nonlocal rows, tabs
            for text in texts:
                rows, tabs = rows + 1, tabs + ("\t" in text)
                yield text

        super().train(counted())
        if self.separator != "\t" and 2 * tabs > rows:
            remedy = f'set the separator of {type(self).__name__} to a tab, "\\t"'
            raise InputError(f"{tabs} of {rows} texts have tabs between their tokens; {remedy}")


class NoSource(Tokenizer):
    """No ids at all, whatever the text: for sources that a task shall not read."""

    ends = False

    def train(self, texts: Iterable[str]) -> None:
        """There is nothing to learn."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[] for _ in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return ""

    def __len__(self) -> int:
        return SPECIAL

    def extent(self) -> str:
        return "sources that are not read"

    @property
    def state(self) -> bytes:
        return b"nothing"

    def restore(self, state: bytes) -> None:
        """Nothing was learnt."""


class Words(Separated):
    """Whatever stands between separators."""

    def __init__(self, max_size: int = 50_000, minimum_count: int = 1, separator: str = " ") -> None:
        """Which words are kept.

        Args:
            max_size: words at most, special tokens included; the most frequent ones are kept.
            minimum_count: rarer words are unknown.
            separator: the character between words; a tab allows words that hold spaces.
        """
        check_range("data.tokenizer.max_size", max_size, SPECIAL + 1)
        check_range("data.tokenizer.minimum_count", minimum_count, 1)
        check_separator(separator)
        self.max_size, self.minimum_count, self.separator = max_size, minimum_count, separator

    def choose(self, counts: "Counter[str]") -> list[str]:
        frequent = [word for word in counts if counts[word] >= self.minimum_count]
        if not frequent:
            raise InputError(f"no word occurs {self.minimum_count} times; lower data.tokenizer.minimum_count")
        return sorted(frequent, key=lambda word: (-counts[word], word))[: self.max_size - SPECIAL]


class Labels(Separated):
    """A closed set of labels between separators; all are kept.

    Where a class of the sentence stands before the labels of its tokens (`corpus.sentence`), classes are a closed set
    of their own: the first id of a text is that of its class.
    """

    def __init__(self, separator: str = " ") -> None:
        """separator: the character between labels."""
        check_separator(separator)
        self.separator = separator
        self.classes: tuple[str, ...] = ()
        """Of sentences; their ids follow those of the labels."""
        self._class_ids = TokenIds()

    @property
    def row_names(self) -> list[list[Hashable]]:
        return [[*range(SPECIAL), *self._units, *self.classes]]

    @property
    def splits_at_whitespace(self) -> bool:
        """Whether whitespace stands between labels and never inside one."""
        return self.separator.isspace() and not any(" " in label for label in self._units)

    @property
    def first_class(self) -> int:
        """The id of the first class."""
        return SPECIAL + len(self._units)

    def train(self, texts: Iterable[str]) -> None:
        classes: set[str] = set()
        rows = 0

        def labels() -> Iterator[str]:
            nonlocal rows
            for text in texts:
                rows += 1
                name, labels = parted(text)
                if rows > 1 and (name is None) is bool(classes):
                    raise without_class(text)
                classes.update([] if name is None else [name])
                yield labels

        super().train(labels())
        self._number_classes(sorted(classes))

    def _number_classes(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        numbers = range(self.first_class, self.first_class + len(classes))
        self._class_ids = TokenIds(zip(classes, numbers, strict=True))

    def split(self, text: str) -> Iterable[str]:
        name, labels = parted(text)
        return chain([] if name is None else [name], super().split(labels))

    def check(self, text: str) -> None:
        if (parted(text)[0] is None) is bool(self.classes):
            raise without_class(text)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not self.classes:
            if any(CLASS_MARK in text for text in texts):
                raise without_class(next(text for text in texts if CLASS_MARK in text))
            return super().encode(texts)
        for text in texts:
            self.check(text)
        pairs = [parted(text) for text in texts]
        labels = super().encode([labels for _, labels in pairs])
        return [[self._class_ids[str(name)], *ids] for (name, _), ids in zip(pairs, labels, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        if not self.classes or not len(ids):
            return super().decode(ids)
        first = ids[0] - self.first_class
        name = self.classes[first] if first >= 0 else super().decode(ids[:1])
        return one_line(name) if len(ids) == 1 else f"{one_line(name)} {CLASS_MARK} {super().decode(ids[1:])}"

    def units(self, ids: "Ragged") -> np.ndarray:
        return ids.lengths - bool(self.classes)

    def __len__(self) -> int:
        return self.first_class + len(self.classes)

    @property
    def state(self) -> bytes:
        if not self.classes:
            return super().state
        return json.dumps({"labels": self._units, "classes": self.classes}).encode()

    def restore(self, state: bytes) -> None:
        if not state.lstrip().startswith(b"{"):
            super().restore(state)
            self._number_classes(())
            return
        try:
            stored = json.loads(state)
            labels, classes = (json.dumps(stored[name]).encode() for name in ("labels", "classes"))
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            raise damaged(self, problem) from problem
        super().restore(labels)
        self._number_classes(strings(self, classes))
        if not self.classes or len(self._class_ids) < len(self.classes):
            raise damaged(self, "it must list classes, each of them once")


def parted(text: str) -> tuple[str | None, str]:
    """The class of a sentence, None without one, and the labels of its tokens."""
    name, mark, labels = text.partition(CLASS_MARK)
    return (name.strip(" "), labels.removeprefix(" ")) if mark else (None, text)


def without_class(text: str) -> InputError:
    """Some rows have a class of the sentence, others do not."""
    there = "a" if CLASS_MARK in text else "no"
    return InputError(
        f"{text!r:.60} has {there} class before {CLASS_MARK}, unlike the first training row; give all rows a class, or "
        "none (data.corpus.sentence)"
    )
