"""Words for frames that need not end: one step of the network for each group of them, in memory that does not grow."""

import json
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq.data.tokenizers.base import SPECIAL, Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Separated
from seq2seq.decoding.transducer import most
from seq2seq.errors import InputError
from seq2seq.models.cells import CellState, at_least_32_bits
from seq2seq.models.ctc import BLANK, FIRST
from seq2seq.models.encoder import Encoder
from seq2seq.models.frames import Frames, less_running_mean
from seq2seq.models.transducer import Transducer, WrittenTokens, class_log_probs

LONGEST = 100
"""Tokens of a word, after which another one begins."""

NUMBERS = ("read", "frames", "before", "first", "last")
"""What a stream that is resumed must know, besides words and tensors."""


class HeardWord(NamedTuple):
    """A word that nothing can change any more, and the steps that wrote it."""

    first: int
    last: int
    text: str


class StepClasses:
    """The classes that one step after the other writes: of a transducer what it has written is its state."""

    def __init__(self, output: nn.Module, unwritable: Tensor, writer: Transducer | None) -> None:
        """output: from a step's state, or from what joins it with the tokens, to classes; unwritable: never chosen."""
        self.output, self.unwritable, self.writer = output, unwritable, writer
        self.count = 0
        """Tokens so far."""
        with torch.inference_mode():
            self.written = None if writer is None else writer.first(1)

    def of(self, hidden: Tensor, place: int) -> list[int]:
        """The classes of the step number `place`, whose state is hidden (1, H), with a blank after each token."""
        if self.writer is None or self.written is None:
            return [int(self.output(hidden).index_fill(-1, self.unwritable, -torch.inf).argmax())]
        frames, result = self.writer.from_frames(hidden), list[int]()
        while self.count < most(place):
            scores = class_log_probs(self.output, frames, self.written.vector)
            best = scores.index_fill(-1, self.unwritable, -torch.inf).argmax(-1)
            if (number := int(best)) == BLANK:
                break
            self.written, self.count = self.writer.step(best, self.written.recurrent), self.count + 1
            result += [number, BLANK]
        return result or [BLANK]

    def shares(self, hidden: Tensor) -> Tensor:
        """(C,) the probability of each class as the first that a step writes, whose state is hidden (1, H)."""
        if self.writer is None or self.written is None:
            return at_least_32_bits(self.output(hidden)).softmax(-1)[0]
        return class_log_probs(self.output, self.writer.from_frames(hidden), self.written.vector).exp()[0]

    def content(self) -> dict[str, Any]:
        """All that is needed to resume, as tensors."""
        return {} if self.written is None else {"written": (self.written.vector, *self.written.recurrent)}

    def restore(self, content: dict[str, Any], count: int) -> None:
        """Resume where `content` was taken, after so many tokens."""
        self.count = count
        if self.written is not None:
            vector, *recurrent = (one.to(self.unwritable.device) for one in content["written"])
            self.written = WrittenTokens(vector, tuple(recurrent))


class WordStream:
    """A network in the middle of its frames: the states of its layers, and the word that is being written.

    It takes the best path. A word ends where the next one begins, and after `pause` steps that write nothing.
    """

    def __init__(self, tokenizers: Tokenizers, encoder: Encoder, classes: StepClasses, pause: int) -> None:
        """encoder: one that reads forwards."""
        tokenizers.target.settled("")  # refused before anything is read
        self.target = tokenizers.target
        self.source = cast(Vectors, tokenizers.source)
        self.encoder, self.classes, self.pause = encoder.eval(), classes, pause
        self.device = classes.unwritable.device
        self.state: CellState | None = None
        self.read = 0
        """Steps so far, those after the end included."""
        self.frames, self.total = 0, torch.zeros(1, self.source.width, device=self.device)
        """Frames so far and, where a running mean is subtracted, their sum (1, D)."""
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
        values = torch.from_numpy(self.source.normalised(frames)).to(self.device).unsqueeze(0)
        reader = cast(Frames, self.encoder.embedding)
        if reader.running:
            values, self.total = less_running_mean(values, reader.running, self.total, self.frames)
            self.frames += len(frames)
        vectors, _ = reader.read_centred(values, torch.tensor([len(frames)]), None)
        return self.step(vectors[:, 0])

    @torch.inference_mode()
    def end(self) -> list[HeardWord]:
        """The frames are over: what the steps write that still wait, and the last word."""
        size, result = cast(Frames, self.encoder.embedding).size, list[HeardWord]()
        for _ in range(min(self.read, self.encoder.lookahead)):
            result += self.step(torch.zeros(1, size, device=self.device))
        return result + self.ended()

    def step(self, vector: Tensor) -> list[HeardWord]:
        """One step of the encoder on a vector (1, E)."""
        recurrent = self.encoder.recurrent
        hidden, self.state = recurrent.step(vector, self.state or recurrent.first_state(1, vector))
        self.read += 1
        place = self.read - self.encoder.lookahead - 1
        if place < 0:
            return []
        return [word for number in self.classes.of(hidden, place) for word in self.written(number, place)]

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
        plain = {name: getattr(self, name) for name in (*NUMBERS, "word")} | {"count": self.classes.count}
        state = {"state": self.state or (), "total": self.total}
        return {"plain": json.dumps(plain), **state, **self.classes.content()}

    def restore(self, content: dict[str, Any]) -> None:
        """Resume where `content` was taken."""
        plain = json.loads(content["plain"])
        for name in NUMBERS:
            setattr(self, name, int(plain.get(name, 0)))
        self.word = list(map(int, plain["word"]))
        self.state = tuple(one.to(self.device) for one in content["state"]) or None
        self.total = content.get("total", self.total).to(self.device)
        self.classes.restore(content, int(plain.get("count", 0)))


def refuse_whole(bidirectional: bool, centred: bool) -> None:
    """Raise InputError for a network that must have read all before it writes."""
    if bidirectional:
        raise InputError(
            "--stream needs an encoder that reads forwards only; train with --model.encoder.bidirectional false, and "
            "--model.lookahead K to see K more steps before one writes"
        )
    if centred:
        raise InputError(
            "model.centre_rows subtracts the mean of a whole row, which a stream has not; train without it, "
            "or with model.centre_running instead"
        )
