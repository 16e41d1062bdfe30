"""Text to ids and back. PAD, UNK, BOS and EOS are 0 to 3 everywhere."""

import base64
import json
import logging
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from seq2seq.configurable import Part
from seq2seq.errors import InputError

if TYPE_CHECKING:  # torch, which it imports, takes its time
    from seq2seq.data.ragged import Ragged


PAD, UNK, BOS, EOS = range(4)

SPECIAL = 4
"""The number of ids before those of the vocabulary."""

MARKS = {PAD: "<pad>", BOS: "<s>", EOS: "</s>"}
"""How the ids that are no text are shown among tokens."""

log = logging.getLogger(__name__)


class Tokenizer(Part):
    """Text to ids and back. Trained on the training split only; its state travels inside the checkpoint."""

    writes: ClassVar[tuple[str, ...]] = ("train", "encode", "decode", "__len__", "state", "restore")
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

    def unknown_values(self, text: str) -> list[str]:
        """What a text says in closed sets, such as its language, that no training row says."""
        return []

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, on one line."""
        raise TypeError(f"{type(self).__name__} does not say how to decode")

    # Texts that are read and written bit by bit.

    @property
    def boundary(self) -> str:
        """What ends a part of a text whose ids follow from that part alone; empty where each character is one."""
        raise InputError(
            f"data.tokenizer {type(self).__name__} needs a whole source, and --stream reads word by word; train with "
            "Words, Characters or SentencePiece with model_type bpe"
        )

    def encode_part(self, part: str) -> list[int]:
        """The ids of a part between boundaries: all parts one after the other have those of the text."""
        return self.encode([part])[0]

    def settled(self, text: str) -> str:
        """The beginning of a decoded text that stays whatever id comes next."""
        raise InputError(
            f"what {type(self).__name__} has written may change with its next token, so --stream cannot show it; train "
            "with Words, Characters or SentencePiece as data.target_tokenizer"
        )

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each id by itself as people look at it, the end as </s>."""
        return [MARKS[number] if number in MARKS else self.decode([number]) for number in ids]

    def written(self) -> list[str]:
        """What each id of the vocabulary adds to a text; nothing where it is no text."""
        raise InputError(f"{type(self).__name__} does not say what each token writes; choose Words or SentencePiece")

    @property
    def files(self) -> list[Path]:
        """What is read besides the texts when the vocabulary is learnt."""
        return []

    @property
    def samples(self) -> bool:
        """Whether a text has several segmentations, so that training draws a new one each time."""
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

    @property
    def row_names(self) -> list[list[Hashable]]:
        """What the rows of the tables of vectors stand for: tokens, then the values of each feature.

        By these names the rows of two vocabularies are matched; ids that are no text are named by their number.
        """
        if self.width is not None:
            return []
        return [[*range(SPECIAL), *self.pieces(range(SPECIAL, len(self)))]]

    def units(self, ids: "Ragged") -> np.ndarray:
        """(rows,) how many tokens each row has for a task that labels tokens."""
        return ids.lengths

    @property
    def unwritable(self) -> np.ndarray:
        """The ids that are no text and never to be predicted, in order; made anew at each call."""
        return np.array([PAD, UNK, BOS])

    def unknown_among(self, ids: np.ndarray) -> np.ndarray:
        """Whether each of some ids (n,) stands for something that training lacked."""
        unknown: np.ndarray = ids == UNK
        return unknown

    def extent(self) -> str:
        """What a text is made of, for a line about the data."""
        return f"vocabulary of {self.sizes[0]:,}"

    def length(self, text: str) -> int:
        """How long a text is for people: its words, separated by spaces."""
        return len(text.split())

    def shown(self, text: str) -> str:
        """A text as examples show it."""
        return text

    @property
    def state(self) -> bytes:
        """What `restore` needs."""
        raise TypeError(f"{type(self).__name__} does not say what it has learnt")

    def restore(self, state: bytes) -> None:
        """Load the learnt state."""
        raise TypeError(f"{type(self).__name__} does not say how to restore")


class Tokenizers(NamedTuple):
    """The tokenizers of both sides; the same object twice when the vocabulary is shared."""

    source: Tokenizer
    target: Tokenizer


def one_line(text: str) -> str:
    """The text with spaces for its line breaks."""
    return " ".join(text.splitlines())


def no_text() -> InputError:
    """There is nothing to learn a vocabulary from."""
    return InputError("the training text is empty, so there is no vocabulary to learn; check data.corpus and data.path")


def damaged(tokenizer: Tokenizer, problem: object) -> InputError:
    """A corrupt tokenizer state."""
    return InputError(f"the stored {type(tokenizer).__name__} model is damaged: {problem}; is the checkpoint complete?")


def strings(tokenizer: Tokenizer, state: bytes) -> list[str]:
    """The strings that a state lists in JSON."""
    try:
        values = json.loads(state)
    except (ValueError, RecursionError) as problem:
        raise damaged(tokenizer, problem) from problem
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise damaged(tokenizer, "it is not a list of strings")
    return values


def pack(states: Iterable[bytes]) -> bytes:
    """Several states as one."""
    return json.dumps([base64.b64encode(state).decode() for state in states]).encode()


def unpack(tokenizer: Tokenizer, state: bytes, count: int) -> list[bytes]:
    """The states that `pack` has joined."""
    states = strings(tokenizer, state)
    if len(states) != count:
        raise damaged(tokenizer, f"it holds {len(states)} states, but {count} are expected")
    try:
        return [base64.b64decode(text, validate=True) for text in states]
    except ValueError as problem:
        raise damaged(tokenizer, problem) from problem


def check_separator(separator: str, name: str = "separator") -> None:
    """Refuse what cannot stand between two words of a line."""
    if len(separator) != 1 or one_line(separator) != separator:
        raise InputError(f"data.tokenizer.{name} is {separator!r}; it must be one character that does not end a line")
