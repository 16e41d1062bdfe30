"""Text to ids and back. PAD, UNK, BOS and EOS are 0 to 3 everywhere."""

import base64
import io
import json
import logging
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from seq2seq.configurable import Part
from seq2seq.data.tokenizers.subword_sampling import Dropout, Regularisation
from seq2seq.errors import InputError, check_range

if TYPE_CHECKING:  # torch, which it imports, takes its time
    from seq2seq.data.batching.batch import Ragged

PAD, UNK, BOS, EOS = range(4)
SPECIAL = 4
"""How many ids stand before those of the vocabulary."""

MARKS = {PAD: "<pad>", BOS: "<s>", EOS: "</s>"}
"""How the ids that are no text are shown among tokens."""

log = logging.getLogger(__name__)

LEARNT_FROM = 200_000
"""Texts that suffice to learn subwords."""


class Tokenizer(Part):
    """Text to ids and back. Trained on the training split only; its state travels inside the checkpoint."""

    width: int | None = None
    """Of a tokenizer that makes vectors instead of ids, the numbers of each; see `Vectors`."""

    ends: bool = True
    """Whether an end token may follow a source."""

    def train(self, texts: Iterable[str]) -> None:
        """Learn the vocabulary."""
        raise TypeError(f"{type(self).__name__} does not say how to train")

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without beginning and end."""
        raise TypeError(f"{type(self).__name__} does not say how to encode")

    def check(self, text: str) -> None:
        """Raise InputError if a text cannot be encoded."""

    def checker(self) -> Callable[[str], None]:
        """`check` for the texts of a split in order, where what one holds may depend on those before."""
        return self.check

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, on one line."""
        raise TypeError(f"{type(self).__name__} does not say how to decode")

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each id by itself as people look at it, the end as </s>."""
        return [MARKS[number] if number in MARKS else self.decode([number]) for number in ids]

    @property
    def files(self) -> list[Path]:
        """What is read besides the texts when the vocabulary is learnt."""
        return []

    @property
    def samples(self) -> bool:
        """True if a text has several segmentations, so that training draws a new one each time."""
        return False

    def sample(self, text: str, random: np.random.Generator) -> list[int]:
        """Ids of one segmentation of a text, drawn from `random` alone."""
        return self.encode([text])[0]

    def __len__(self) -> int:
        """Size of the vocabulary, special tokens included; with features the product of `sizes`."""
        raise TypeError(f"{type(self).__name__} does not say how large its vocabulary is")

    @property
    def sizes(self) -> tuple[int, ...]:
        """(V, F1, F2, ...): how many tokens there are and, of each feature that they carry, how many values.

        An id is token + V * (f1 + F1 * (f2 + ...)). PAD, UNK, BOS and EOS themselves have feature 0 of each.
        """
        return (len(self),)

    def units(self, ids: "Ragged") -> np.ndarray:
        """(rows,) how many tokens each row has for a task that labels tokens."""
        return ids.lengths

    @property
    def unwritable(self) -> np.ndarray:
        """The ids that are no text and never to be predicted, in order; made anew at each call."""
        return np.array([PAD, UNK, BOS])

    def unknown_among(self, ids: np.ndarray) -> np.ndarray:
        """Whether each of some ids (n,) stands for something that training lacked."""
        found: np.ndarray = ids == UNK
        return found

    def extent(self) -> str:
        """What a text is made of, for a line about the data."""
        return f"vocabulary of {self.sizes[0]:,}"

    def length(self, text: str) -> int:
        """How long a text is for people: its blank-separated words."""
        return len(text.split())

    def shown(self, text: str) -> str:
        """A text as examples show it."""
        return text

    @property
    def state(self) -> bytes:
        """What `restore` needs."""
        raise TypeError(f"{type(self).__name__} does not say what it has learnt")

    def restore(self, state: bytes) -> None:
        """Be as trained."""
        raise TypeError(f"{type(self).__name__} does not say how to restore")


class Tokenizers(NamedTuple):
    """The tokenizers of both sides; the same object twice when the vocabulary is shared."""

    source: Tokenizer
    target: Tokenizer


def one_line(text: str) -> str:
    """The text with blanks for its line breaks."""
    return " ".join(text.splitlines())


def no_text() -> InputError:
    """There is nothing to learn a vocabulary from."""
    return InputError("the training text is empty, so there is no vocabulary to learn; check data.corpus and data.path")


def damaged(tokenizer: Tokenizer, problem: object) -> InputError:
    """A state that is none."""
    return InputError(f"the stored {type(tokenizer).__name__} model is damaged: {problem}; is the checkpoint complete?")


def spread(texts: Iterable[str], enough: int) -> list[str]:
    """All texts or, of more than twice `enough`, every second, fourth, eighth ... so that `enough` are left."""
    chosen: list[str] = []
    stride = 1
    for number, text in enumerate(texts):
        if number % stride == 0:
            chosen.append(text)
        if len(chosen) > 2 * enough:
            chosen, stride = chosen[::2], 2 * stride
    return chosen


class SentencePiece(Tokenizer):
    """Subwords learnt from raw text (Kudo and Richardson 2018); the text itself is not normalised.

    Of a large corpus 200,000 to 400,000 texts, evenly spread, are learnt from: more change little and take minutes.
    """

    def __init__(
        self,
        vocabulary_size: int = 8000,
        model_type: Literal["unigram", "bpe"] = "unigram",
        byte_fallback: bool = False,
        sampling: float | None = None,
    ) -> None:
        """How the subwords are learnt.

        Args:
            vocabulary_size: pieces, special tokens included; reduced, with a warning, when the text supports fewer.
            model_type: how pieces are found: the most probable (unigram) or the most frequent pairs (bpe).
            byte_fallback: write characters never seen as bytes, 256 pieces more, instead of as unknown.
            sampling: train on random segmentations, for unigram drawn with probability^sampling (Kudo 2018, sec. 3,
                takes 0.1 to 0.5), for bpe each merge is skipped with this probability (Provilkov et al. 2020 take 0.1).
        """
        check_range("data.tokenizer.vocabulary_size", vocabulary_size, SPECIAL + 1)
        if byte_fallback and vocabulary_size <= SPECIAL + 256:
            raise InputError(
                f"data.tokenizer.vocabulary_size is {vocabulary_size}; with byte_fallback it must exceed 260, "
                "the 256 bytes and 4 special tokens"
            )
        if sampling is not None:
            check_range("data.tokenizer.sampling", sampling, 0, 1 if model_type == "bpe" else float("inf"))
        if sampling == 0:
            raise InputError("data.tokenizer.sampling is 0; leave it out (null) to always segment in the same way")
        self.vocabulary_size, self.model_type = vocabulary_size, model_type
        self.byte_fallback, self.sampling = byte_fallback, sampling
        self._model: Any = None
        self._sampler: Dropout | Regularisation | None = None

    def train(self, texts: Iterable[str]) -> None:
        texts = spread(texts, LEARNT_FROM)
        if not any(text.strip(" ") for text in texts):
            raise no_text()
        size, state = self.vocabulary_size, b""
        while not state:
            try:
                state = self._learn(texts, size)
            except RuntimeError as problem:
                supported = re.search(r"value <= (\d+)", str(problem))
                if not supported or int(supported[1]) >= size:
                    raise InputError(f"SentencePiece cannot learn {size} pieces from this text: {problem}") from problem
                size = int(supported[1])
        self.restore(state)
        if len(self) < self.vocabulary_size:
            log.warning(
                "vocabulary reduced from %d to %d pieces: the text supports no more", self.vocabulary_size, len(self)
            )

    def _learn(self, texts: Sequence[str], size: int) -> bytes:
        from sentencepiece import SentencePieceTrainer

        model = io.BytesIO()
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            model_type=self.model_type,
            byte_fallback=self.byte_fallback,
            character_coverage=1.0,
            normalization_rule_name="identity",
            hard_vocab_limit=False,
            num_threads=2,  # the result depends on it, so it does not follow the machine
            minloglevel=2,
            max_sentence_length=1 << 20,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
        )
        return model.getvalue()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._model.encode(list(texts))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return one_line(self._model.decode(list(ids)))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each piece, with ▁ where a word begins."""
        found: list[str] = self._model.id_to_piece(list(ids))
        return found

    @property
    def samples(self) -> bool:
        return self.sampling is not None

    def sample(self, text: str, random: np.random.Generator) -> list[int]:
        return self._sampler.sample(text, random) if self._sampler else super().sample(text, random)

    def __len__(self) -> int:
        return int(self._model.get_piece_size())

    @property
    def state(self) -> bytes:
        proto: bytes = self._model.serialized_model_proto()
        return proto

    def restore(self, state: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        if not state:
            raise damaged(self, "it is empty")
        try:
            self._model = SentencePieceProcessor(model_proto=state)
        except RuntimeError as problem:
            raise damaged(self, problem) from problem
        if self.sampling is not None:
            kind = Dropout if self.model_type == "bpe" else Regularisation
            self._sampler = kind(self._model, self.sampling)


class Known(dict[str, int]):
    """Units and their ids; whatever is missing is UNK."""

    def __missing__(self, unit: str) -> int:
        return UNK


class Listed(Tokenizer):
    """Text as units from a list; subclasses say what a unit is and which ones are kept, in which order."""

    unknown = "<unk>"
    """How UNK is shown."""
    _units: tuple[str, ...] = ()
    _ids: Known = Known()

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The units in the order of their ids, the first of which is 4."""
        return self._units

    def split(self, text: str) -> Iterable[str]:
        """The units of a text."""
        raise TypeError(f"{type(self).__name__} does not say what its units are")

    def join(self, units: Iterable[str]) -> str:
        """The text of units."""
        raise TypeError(f"{type(self).__name__} does not say how to join its units")

    def choose(self, counts: "Counter[str]") -> list[str]:
        """The vocabulary for units that occur so often: all of them by code point."""
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
        self._ids = Known(zip(units, range(SPECIAL, SPECIAL + len(units)), strict=True))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        find = self._ids.__getitem__
        return [list(map(find, self.split(text))) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        shown = (number for number in ids if number == UNK or number >= SPECIAL)
        return one_line(self.join(self.unknown if number == UNK else self._units[number - SPECIAL] for number in shown))

    def __len__(self) -> int:
        return SPECIAL + len(self._units)

    @property
    def state(self) -> bytes:
        return json.dumps(self._units).encode()

    def restore(self, state: bytes) -> None:
        self._number(strings(self, state))
        if not self._units or len(self._ids) < len(self._units):
            raise damaged(self, "it must list units, each of them once")


def strings(tokenizer: Tokenizer, state: bytes) -> list[str]:
    """The strings that a state lists in JSON."""
    try:
        found = json.loads(state)
    except (ValueError, RecursionError) as problem:
        raise damaged(tokenizer, problem) from problem
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise damaged(tokenizer, "it is no list of strings")
    return found


class Characters(Listed):
    """One id for each code point."""

    unknown = "\ufffd"

    def __init__(self, normalization: Literal["NFC", "NFD", "NFKC", "NFKD"] | None = None) -> None:
        """normalization: Unicode form of the characters; NFD and NFKD split accents off, and predictions join them."""
        self.normalization = normalization

    def split(self, text: str) -> str:
        return unicodedata.normalize(self.normalization, text) if self.normalization else text

    def join(self, units: Iterable[str]) -> str:
        text = "".join(units)
        return unicodedata.normalize("NFC", text) if self.normalization else text  # composes NFKD to NFKC, too


class Separated(Listed):
    """Units between separators."""

    separator: str

    def split(self, text: str) -> Iterable[str]:
        return filter(None, text.split(self.separator))

    def join(self, units: Iterable[str]) -> str:
        return self.separator.join(units)

    def train(self, texts: Iterable[str]) -> None:
        """Learn the list; texts most of which hold tabs are sentences of tokens, which a blank would not divide."""
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


class Nothing(Tokenizer):
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
            separator: the character between words; a tab allows words that hold blanks.
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
    """A closed set of labels between separators; all are kept."""

    def __init__(self, separator: str = " ") -> None:
        """separator: the character between labels."""
        check_separator(separator)
        self.separator = separator


def check_separator(separator: str, name: str = "separator") -> None:
    """Refuse what cannot stand between two words of a line."""
    if len(separator) != 1 or one_line(separator) != separator:
        raise InputError(f"data.tokenizer.{name} is {separator!r}; it must be one character that does not end a line")


class Columns(Tokenizer):
    """Columns between tabs, each with a tokenizer and ids of its own: a language and a word, features and a lemma."""

    def __init__(self, parts: list[Tokenizer]) -> None:
        """parts: the tokenizer of each column, from left to right."""
        if not parts:
            raise InputError("data.tokenizer.parts is empty; name a tokenizer for each column")
        for part in parts:
            if part.width is not None:
                raise InputError(f"data.tokenizer.parts holds {part!r}, but columns have tokens; choose another one")
            if isinstance(part, Columns) or (isinstance(part, (Words, Labels)) and part.separator == "\t"):
                raise InputError(
                    f"data.tokenizer.parts holds {part!r}, but no column holds a tab; choose another separator"
                )
        self.parts = parts

    def train(self, texts: Iterable[str]) -> None:
        columns = self._columns(texts)
        for place, (part, column) in enumerate(zip(self.parts, columns, strict=True), start=1):
            try:
                part.train(column)
            except InputError as problem:
                raise InputError(f"column {place}: {problem}") from problem

    def check(self, text: str) -> None:
        self._row(text)

    def _columns(self, texts: Iterable[str]) -> list[list[str]]:
        rows = [self._row(text) for text in texts]
        return [[row[place] for row in rows] for place in range(len(self.parts))]

    def _row(self, text: str) -> list[str]:
        row = text.split("\t")
        if len(row) != len(self.parts):
            raise InputError(
                f"{text!r} has {len(row)} columns between tabs, but {len(self.parts)} are expected: "
                "one for each of data.tokenizer.parts"
            )
        return row

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        columns = [part.encode(column) for part, column in zip(self.parts, self._columns(texts), strict=True)]
        return [self._numbered(row) for row in zip(*columns, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """Columns between tabs; an unknown belongs to the column of what stands before it."""
        columns: list[list[int]] = [[] for _ in self.parts]
        starts, place = self._starts, 0
        for number in ids:
            place = bisect_right(starts, number) - 1 if number >= SPECIAL else place
            columns[place].append(number - starts[place] + SPECIAL if number >= SPECIAL else number)
        texts = [part.decode(column) for part, column in zip(self.parts, columns, strict=True)]
        return "\t".join(text.replace("\t", " ") for text in texts)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each id by itself, as the tokenizer of its column shows it."""
        starts = self._starts
        places = [max(0, bisect_right(starts, number) - 1) for number in ids]
        own = [
            number - starts[place] + SPECIAL if number >= SPECIAL else number
            for number, place in zip(ids, places, strict=True)
        ]
        return [self.parts[place].pieces([number])[0] for number, place in zip(own, places, strict=True)]

    @property
    def _starts(self) -> list[int]:
        """The first id of each part, and the size of the vocabulary."""
        return list(accumulate((len(part) - SPECIAL for part in self.parts), initial=SPECIAL))

    def _numbered(self, row: Iterable[list[int]]) -> list[int]:
        """Ids of the parts as ids of the whole."""
        shifts = [start - SPECIAL for start in self._starts]
        return [
            number + shift if number >= SPECIAL else number
            for ids, shift in zip(row, shifts, strict=False)
            for number in ids
        ]

    @property
    def samples(self) -> bool:
        return any(part.samples for part in self.parts)

    def sample(self, text: str, random: np.random.Generator) -> list[int]:
        return self._numbered([part.sample(one, random) for part, one in zip(self.parts, self._row(text), strict=True)])

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def state(self) -> bytes:
        return json.dumps([base64.b64encode(part.state).decode() for part in self.parts]).encode()

    def restore(self, state: bytes) -> None:
        states = strings(self, state)
        if len(states) != len(self.parts):
            raise damaged(self, f"it holds {len(states)} columns, but {len(self.parts)} are expected")
        for part, text in zip(self.parts, states, strict=True):
            try:
                part.restore(base64.b64decode(text, validate=True))
            except ValueError as problem:  # an InputError is one, too
                raise damaged(self, problem) from problem
