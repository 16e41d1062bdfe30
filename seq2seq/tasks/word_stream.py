"""Words for frames that need not end: one step of the network for each group of them, in memory that does not grow."""

import json
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq.data.tokenizers.base import SPECIAL, Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Separated
from seq2seq.errors import InputError
from seq2seq.models.cells import CellState
from seq2seq.models.ctc import BLANK, FIRST
from seq2seq.models.encoder import Encoder
from seq2seq.models.frames import Frames

LONGEST = 100
"""Tokens of a word, after which another one begins."""


class HeardWord(NamedTuple):
    """A word that nothing can change any more, and the steps that wrote it."""

    first: int
    last: int
    text: str


class WordStream:
    """A network with CTC in the middle of its frames: the states of its layers, and the word that is being written.

    It takes the best path. A word ends where the next one begins, and after `pause` steps that write nothing.
    """

    def __init__(
        self, tokenizers: Tokenizers, encoder: Encoder, output: nn.Module, unwritable: Tensor, pause: int
    ) -> None:
        """encoder: one that reads forwards; unwritable: classes that are no text."""
        tokenizers.target.settled("")  # refused before anything is read
        self.target = tokenizers.target
        self.source = cast(Vectors, tokenizers.source)
        self.encoder, self.output, self.unwritable = encoder.eval(), output, unwritable
        self.pause = pause
        self.state: CellState | None = None
        self.read = 0
        """Steps so far, those after the end included."""
        self.before = BLANK
        """The class of the step before."""
        self.word: list[int] = []
        """Tokens of the word that is being written."""
        self.first = self.last = 0
        """The steps that wrote its first and its last token."""

    @property
    def group(self) -> int:
        """Frames of a step."""
        return cast(Frames, self.encoder.embedding).stacking

    @torch.inference_mode()
    def push(self, frames: np.ndarray) -> list[HeardWord]:
        """Read the frames of a step (group, D), the last ones of a stream may be fewer; the words that are complete."""
        values = torch.from_numpy(self.source.normalised(frames)).to(self.unwritable.device)
        reader = cast(Frames, self.encoder.embedding)
        vectors, _ = reader.read(values.unsqueeze(0), torch.tensor([len(values)]), None)
        return self.step(vectors[:, 0])

    @torch.inference_mode()
    def end(self) -> list[HeardWord]:
        """The frames are over: what the steps write that still wait, and the last word."""
        size, result = cast(Frames, self.encoder.embedding).size, list[HeardWord]()
        for _ in range(min(self.read, self.encoder.lookahead)):
            result += self.step(torch.zeros(1, size, device=self.unwritable.device))
        return result + self.ended()

    def step(self, vector: Tensor) -> list[HeardWord]:
        """One step of the encoder on a vector (1, E)."""
        recurrent = self.encoder.recurrent
        hidden, self.state = recurrent.step(vector, self.state or recurrent.first_state(1, vector))
        self.read += 1
        place = self.read - self.encoder.lookahead - 1
        if place < 0:
            return []
        scores = self.output(hidden).index_fill(-1, self.unwritable, -torch.inf)
        return self.written(int(scores.argmax()), place)

    def written(self, number: int, place: int) -> list[HeardWord]:
        """The words that are complete after the class of a step."""
        before, self.before = self.before, number
        if number == before != BLANK:
            self.last = place
            return []
        result = list[HeardWord]()
        if self.word and (isinstance(self.target, Separated) or place - self.last > self.pause):
            result += self.ended()
        if number == BLANK:
            return result
        token = number + SPECIAL - FIRST
        *complete, rest = self.target.decode([*self.word, token]).split(self.target.boundary or " ")
        if complete or len(self.word) == LONGEST:
            complete = complete or [self.target.decode(self.word)]
            result += [HeardWord(self.first, self.last if self.word else place, text) for text in complete if text]
            self.word = []
        if rest:
            self.first = self.first if self.word else place
            self.word.append(token)
        self.last = place
        return result

    def ended(self) -> list[HeardWord]:
        """The word that was being written, where there is one."""
        word, self.word = self.word, []
        return [HeardWord(self.first, self.last, text)] if word and (text := self.target.decode(word).strip()) else []

    def content(self) -> dict[str, Any]:
        """All that is needed to resume, as tensors and JSON."""
        plain = {name: getattr(self, name) for name in ("read", "before", "word", "first", "last")}
        return {"plain": json.dumps(plain), "state": self.state or ()}

    def restore(self, content: dict[str, Any]) -> None:
        """Resume where `content` was taken."""
        plain = json.loads(content["plain"])
        self.read, self.before, self.first, self.last = (
            int(plain[name]) for name in ("read", "before", "first", "last")
        )
        self.word = list(map(int, plain["word"]))
        self.state = tuple(one.to(self.unwritable.device) for one in content["state"]) or None


def refuse_whole(bidirectional: bool, centred: bool) -> None:
    """Raise InputError for a network that must have read all before it writes."""
    if bidirectional:
        raise InputError(
            "--stream needs an encoder that reads forwards only; train with --model.encoder.bidirectional false, and "
            "--model.lookahead K to see K more steps before one writes"
        )
    if centred:
        raise InputError(
            "model.centre_rows subtracts the mean of a whole row, which a stream has not; train without it"
        )
