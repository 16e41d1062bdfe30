"""Frames to texts: what a network over frames says of whole rows, and of a stream whose end nobody knows."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from seq2seq_runtime import ctc, transducer
from seq2seq_runtime.ctc import BLANK, Prefix
from seq2seq_runtime.description import SPECIAL, Hearing
from seq2seq_runtime.problems import FileError, RequestError
from seq2seq_runtime.sound import HOP
from seq2seq_runtime.tokenizers import Separated, Tokenizer, Vectors
from seq2seq_runtime.transducer import Writer
from seq2seq_runtime.wav_stream import FrameGroups, WavStream, checked

FIRST = 2
"""The class of the first token of the vocabulary; before it come the blank and what training lacks."""

LONGEST = 100
"""Tokens of a word, after which another one begins."""

PAUSE = 0.5
"""Seconds without a token after which a word is over."""

AT_ONCE = 500
"""Steps of a stream that are computed at once, where so many wait."""

Arrays = dict[str, np.ndarray]


class FramesNetwork(Protocol):
    """Named arrays to named arrays."""

    def run(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by their names."""
        ...


class Transcriber:
    """The network of a file, and the search over what it says."""

    def __init__(self, of: Hearing, network: FramesNetwork, width: int, classes: int) -> None:
        """width: numbers of a frame; classes: how many a step has."""
        self.of, self.network, self.width, self.classes = of, network, width, classes
        self.writer = None if of.written is None else Writer(self.ask_writer, of.written.joint, of.written.states)

    @property
    def inputs(self) -> set[str]:
        """The names of what such a network reads."""
        own = {"source", "lengths", *carried(self.of)} | ({"before"} if self.of.forwards else set())
        return own if self.writer is None else own | {*self.writer.idle()}

    def first(self, rows: int) -> Arrays:
        """What is carried from step to step, before the first one."""
        if not self.of.forwards:
            return {}
        states = {f"state_{place}": (layers, rows, units) for place, (layers, units) in enumerate(self.of.states)}
        shapes = states | ({"total": (rows, self.width)} if self.of.running else {})
        zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        return zeros | {"before": np.zeros(rows, np.int64)}

    def stacked(self, rows: Sequence[np.ndarray], steps: int) -> Arrays:
        """Frames of rows (S, D) as so many steps of the network."""
        group = self.of.stacking
        source = np.zeros((len(rows), steps * group, self.width), np.float32)
        for place, row in enumerate(rows):
            source[place, : len(row)] = row
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        return {"source": source.reshape(len(rows), steps, group * self.width), "lengths": lengths}

    def ask_writer(self, given: Arrays) -> Mapping[str, np.ndarray]:
        """Run the part that knows what has been written; a step of nothing is read beside it."""
        assert self.writer is not None
        nothing = self.stacked([np.zeros((1, self.width))], 1) | self.first(1)
        return self.network.run(nothing | self.writer.idle() | given)

    def run(self, given: Arrays) -> tuple[np.ndarray, Arrays]:
        """What each step says (B, T, C or J), and what is carried on."""
        found = self.network.run(given if self.writer is None else given | self.writer.idle())
        name, size = ("log_probs", self.classes) if self.writer is None else ("frames", self.writer.joint)
        said, shape = found.get(name), (*given["source"].shape[:2], size)
        if not isinstance(said, np.ndarray) or said.shape != shape or said.dtype.kind != "f":
            raise FileError(f"it gives no {name} of the shape {shape}, as its description says it would")
        after = {name: found.get(f"{name}_after") for name in carried(self.of)}
        if any(not isinstance(one, np.ndarray) or one.shape != given[name].shape for name, one in after.items()):
            raise FileError(f"it does not give what it carries on: {', '.join(after)}")
        return said, {name: np.asarray(one, np.float32) for name, one in after.items()}

    def steps(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the steps of normalised frames (S, D) of each row say: log-probabilities (T, C) in nats or, of a
        transducer, what is joined with the tokens written (T, J)."""
        steps = [max(1, -(-len(row) // self.of.stacking)) for row in rows]
        ahead = self.of.lookahead if self.of.forwards else 0
        found, _ = self.run(self.stacked(rows, max(steps) + ahead) | self.first(len(rows)))
        return [row[ahead : ahead + count] for row, count in zip(found, steps, strict=True)]

    def found(self, steps: Sequence[np.ndarray], beam_size: int) -> list[list[tuple[Prefix, float]]]:
        """Token ids, and log-probability, of the best texts for the steps of each row; none where one has no number."""
        real = [bool(np.isfinite(row[:, BLANK] if self.writer is None else row).all()) for row in steps]
        rows = [row for row, one in zip(steps, real, strict=True) if one]
        if self.writer is None:
            each = iter([ctc.search(row.astype(np.float64), beam_size) for row in rows])
        else:
            each = iter(transducer.search(self.writer, rows, beam_size) if rows else [])
        found = (next(each) if one else [] for one in real)
        return [[(tuple(one + SPECIAL - FIRST for one in text), score) for text, score in row] for row in found]

    def choosing(self) -> "Choosing":
        """What takes the likeliest classes of a stream's steps."""
        return BestPath() if self.writer is None else transducer.Following(self.writer)


class Choosing(Protocol):
    """Steps to classes."""

    def of(self, steps: np.ndarray, first: int) -> list[tuple[int, int]]:
        """Classes of steps, and the number of the step; the first has the number `first`."""
        ...


class BestPath:
    """The likeliest class of each step, which hangs on nothing else."""

    def of(self, steps: np.ndarray, first: int) -> list[tuple[int, int]]:
        """As `Choosing`."""
        return list(zip(steps.argmax(-1).tolist(), range(first, first + len(steps)), strict=True))


def made(of: Hearing, network: FramesNetwork, source: Tokenizer | None, target: Tokenizer) -> Transcriber:
    """The network between two tokenizers; FileError for tokenizers that do not fit."""
    if not isinstance(source, Vectors) or isinstance(target, Vectors):
        raise FileError("a Transcription reads Vectors and writes tokens")
    width = len(source.mean)
    if of.sound is not None and of.sound.width != width:
        raise FileError(f"its frames have {of.sound.width} numbers, and its network reads {width}")
    return Transcriber(of, network, width, target.size - SPECIAL + FIRST)


def carried(of: Hearing) -> list[str]:
    """What a network that reads forwards carries from step to step."""
    return [f"state_{place}" for place in range(len(of.states))] + ["total"] * bool(of.running) if of.forwards else []


class HeardWord(NamedTuple):
    """A word of a stream that nothing can change any more."""

    begin: float
    """Seconds at which its first token is written, and its last one ends."""
    end: float
    text: str


class Listening:
    """A network in the middle of a sound: what arrives in pieces becomes words, in memory that does not grow.

    It takes the best path. A word ends where the next one begins, and after half a second in which nothing is written.
    """

    def __init__(self, transcriber: Transcriber, source: Vectors, target: Tokenizer) -> None:
        of = transcriber.of
        if not of.streams:
            raise RequestError(
                "this file reads whole sounds; export a run with model.encoder.bidirectional false, without "
                "model.centre_rows and data.corpus.deltas"
            )
        self.transcriber, self.source, self.of = transcriber, source, of
        self.carried = transcriber.first(1)
        self.waiting: list[np.ndarray] = []
        """Frames that make no whole step yet."""
        self.groups = None if of.sound is None else FrameGroups(of.sound, of.stacking)
        self.bytes = None if of.sound is None else WavStream(of.sound.rate)
        self.read = 0
        """Steps so far, those after the end included."""
        self.ended = False
        self.seconds = HOP * of.stacking
        self.choosing = transcriber.choosing()
        self.words = Words(target, math.ceil(PAUSE / self.seconds))

    def push(self, sound: bytes | bytearray | memoryview | np.ndarray) -> list[HeardWord]:
        """The words that are known after more of the sound.

        sound: samples (N,) from -1 to 1 at the rate of the model; or the bytes of a WAV of any rate, or of 16-bit
        samples of one channel without a header.
        """
        if self.groups is None or self.bytes is None:
            raise RequestError("the frames of this file are not those of sound; give them to push_frames")
        self.refuse_ended()
        if isinstance(sound, (bytes, bytearray, memoryview)):
            return self.steps(self.groups.push(self.bytes.push(bytes(sound))))
        return self.steps(self.groups.push(checked(np.asarray(sound))))

    def push_frames(self, frames: np.ndarray) -> list[HeardWord]:
        """The same of frames (N, D) as they were before the training normalised them."""
        self.refuse_ended()
        frames = np.asarray(frames, np.float64)
        if frames.ndim != 2 or frames.shape[1] != self.transcriber.width or not np.isfinite(frames).all():
            raise RequestError(f"frames must be rows of {self.transcriber.width} finite numbers")
        waiting = np.concatenate((*self.waiting, frames))
        count, group = len(waiting) // self.of.stacking, self.of.stacking
        self.waiting = [waiting[count * group :]]
        return self.steps([waiting[place * group : (place + 1) * group] for place in range(count)])

    def end(self) -> list[HeardWord]:
        """The sound is over: what is still to be written of it."""
        self.refuse_ended()
        rest: list[np.ndarray] = []
        if self.groups is not None and self.bytes is not None:
            if self.bytes.pending or self.bytes.seen:
                rest = self.groups.push(self.bytes.end())
            rest += self.groups.end()
        rest += [frames for frames in self.waiting if len(frames)]
        self.ended = True
        words = self.steps(rest)
        if not self.read:
            raise RequestError("no sound came")
        if self.of.lookahead:
            nothing = np.zeros((0, self.transcriber.width))
            words += self.compute([nothing] * min(self.read, self.of.lookahead))
        return words + self.timed(self.words.ended())

    def refuse_ended(self) -> None:
        """Raise RequestError for more after the end."""
        if self.ended:
            raise RequestError("this sound has ended; listen anew")

    def steps(self, groups: Sequence[np.ndarray]) -> list[HeardWord]:
        """The words that groups of frames complete."""
        result: list[HeardWord] = []
        for start in range(0, len(groups), AT_ONCE):
            result += self.compute([self.source.normalised(one) for one in groups[start : start + AT_ONCE]])
        return result

    def compute(self, groups: Sequence[np.ndarray]) -> list[HeardWord]:
        """One call of the network for normalised groups, only the last of which may be smaller."""
        given = self.transcriber.stacked([np.concatenate(groups)], len(groups))
        said, after = self.transcriber.run(given | self.carried)
        self.carried = after | {"before": self.carried["before"] + given["lengths"]}
        place, self.read = self.read - self.of.lookahead, self.read + len(groups)
        chosen = self.choosing.of(said[0, max(0, -place) :], max(0, place))
        return self.timed([word for number, step in chosen for word in self.words.written(number, step)])

    def timed(self, words: Sequence[tuple[int, int, str]]) -> list[HeardWord]:
        """Steps as seconds."""
        return [HeardWord(self.seconds * first, self.seconds * (last + 1), text) for first, last, text in words]


class Words:
    """Classes of steps as they come to words, each with its first and last step."""

    def __init__(self, target: Tokenizer, pause: int) -> None:
        """pause: steps without a token after which a word is over."""
        self.target, self.pause = target, pause
        self.separator = target.separator if isinstance(target, Separated) else " "
        self.before = BLANK
        self.word: list[int] = []
        """Tokens of the word that is being written."""
        self.first = self.last = 0

    def written(self, number: int, place: int) -> list[tuple[int, int, str]]:
        """The words that are complete after the class of a step."""
        before, self.before = self.before, number
        if number == before != BLANK:
            self.last = place
            return []
        result: list[tuple[int, int, str]] = []
        if self.word and (isinstance(self.target, Separated) or place - self.last > self.pause):
            result += self.ended()
        if number == BLANK:
            return result
        token = number + SPECIAL - FIRST
        *complete, rest = self.target.decode([*self.word, token]).split(self.separator)
        if complete or len(self.word) == LONGEST:
            complete = complete or [self.target.decode(self.word)]
            result += [(self.first, self.last if self.word else place, text) for text in complete if text]
            self.word = []
        if rest:
            self.first = self.first if self.word else place
            self.word.append(token)
        self.last = place
        return result

    def ended(self) -> list[tuple[int, int, str]]:
        """The word that was being written, where there is one."""
        word, self.word = self.word, []
        return [(self.first, self.last, text)] if word and (text := self.target.decode(word).strip()) else []
