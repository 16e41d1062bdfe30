"""Labels for a stream of tokens that need not end: one step of the network for each, in memory that does not grow."""

import contextlib
import json
import math
import os
import select
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import torch
from torch import Tensor

from seq2seq.data.cache import checksum_of
from seq2seq.data.lines import decode_line
from seq2seq.data.tokenizers.base import PAD
from seq2seq.data.tokenizers.factored import TokenFeatures
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Separated
from seq2seq.errors import InputError
from seq2seq.models.cells import CellState
from seq2seq.models.embedding import Reader
from seq2seq.models.tagger import AutoregressiveTagger, Crf, TaggerState
from seq2seq.runs import checkpoint, safe_load
from seq2seq.tasks.base import Task, as_tensor
from seq2seq.tasks.tagging import Tagging

LONGEST = 1 << 20
"""Bytes of the longest token that is read."""

CHUNK = 1 << 16
"""Bytes read at once."""

WAIT = 0.2
"""Seconds between two looks at whether the process shall stop."""


class Labelled(NamedTuple):
    """A token that has its label."""

    token: str
    label: str
    probability: float


class TagStream:
    """A tagger in the middle of a sentence: the states of its layers and the tokens that wait for their label."""

    def __init__(self, task: Tagging) -> None:
        """task: one that `refuse_unfit` accepts."""
        self.task = task.eval()
        self.encoder, self.labeller = task.reader, task.labeller
        self.waiting: deque[str] = deque()
        self.state: CellState | None = None
        self.decoder: CellState | None = None
        self.before = PAD
        self.read = 0
        """Steps of this sentence so far."""

    @property
    def separator(self) -> str:
        """What stands between tokens."""
        source = self.task.tokenizers.source
        if not isinstance(source, (Spelled, Separated, TokenFeatures)):
            raise InputError(f"--stream reads words, but this run reads {type(source).__name__}; leave --stream out")
        return source.separator

    @property
    def mark(self) -> str:
        """What tells one model from another."""
        sums = [float(one.detach().double().sum()) for one in self.task.parameters()]
        return checksum_of(json.dumps([self.task.specification(), sums]).encode())

    @torch.inference_mode()
    def push(self, token: str) -> list[Labelled]:
        """Read a token; what can be labelled now: the one that stands `lookahead` tokens before."""
        ids = self.task.tokenizers.source.encode([token])[0]
        device = next(self.task.parameters()).device
        source = torch.tensor([ids], device=device)
        vectors, _ = cast(Reader, self.encoder.embedding).read(source, torch.tensor([len(ids)]), None)
        self.waiting.append(token)
        return self.step(vectors[:, 0])

    @torch.inference_mode()
    def end(self) -> list[Labelled]:
        """The sentence is over: what still waits is labelled, and the next token begins a new one."""
        found: list[Labelled] = []
        size = cast(Reader, self.encoder.embedding).size
        while self.waiting:
            found += self.step(next(self.task.parameters()).new_zeros(1, size))
        self.state = self.decoder = None
        self.before, self.read = PAD, 0
        return found

    def step(self, vector: Tensor) -> list[Labelled]:
        """One step of the encoder on a vector (1, E)."""
        recurrent = self.encoder.recurrent
        if self.state is None:
            tensors, zeros = self.task.cell.states, vector.new_zeros(recurrent.layers, 1, recurrent.hidden_size)
            self.state = tuple(recurrent.first) if len(recurrent.first) else (zeros,) * tensors
        hidden, self.state = recurrent.step(vector, self.state)
        self.read += 1
        if self.read <= self.task.lookahead:
            return []
        token = self.waiting.popleft()
        label, log_prob = self.label(hidden)
        return [Labelled(token, self.task.tokenizers.target.decode([label]), math.exp(log_prob))]

    def label(self, hidden: Tensor) -> tuple[int, float]:
        """The id of the label of a state (1, H), and its log-probability."""
        labeller = self.labeller
        if isinstance(labeller, AutoregressiveTagger):
            first = labeller.start(hidden.unsqueeze(1))
            state = first if self.decoder is None else TaggerState(first.states, self.decoder, 0)
            log_probs, after = labeller.step(torch.tensor([[self.before]], device=hidden.device), state)
            self.decoder = after.recurrent
            best, chosen = log_probs[0, 0].max(-1)
            self.before = int(chosen)
            return self.before, float(best)
        begins = self.read == self.task.lookahead + 1
        self.before, log_prob = labeller.next_label(hidden, None if begins else self.before)
        return self.before, log_prob

    def content(self) -> dict[str, Any]:
        """All that is needed to go on, as tensors and JSON."""
        plain = {"waiting": list(self.waiting), "before": self.before, "read": self.read}
        return {"plain": json.dumps(plain), "state": self.state or (), "decoder": self.decoder or ()}

    def restore(self, content: dict[str, Any]) -> None:
        """Go on where `content` was taken."""
        plain = json.loads(content["plain"])
        self.waiting, self.before, self.read = deque(plain["waiting"]), plain["before"], plain["read"]
        self.state, self.decoder = (tuple(content[name]) or None for name in ("state", "decoder"))


class StopFlag:
    """Whether this process has been told to stop; handlers only set the flag."""

    def __init__(self) -> None:
        self.told = False

    def tell(self, number: int, frame: object) -> None:
        """The handler of a signal."""
        self.told = True


@contextlib.contextmanager
def stopping() -> Iterator[StopFlag]:
    """Inside, SIGTERM and SIGINT end the input instead of the process."""
    stopped = StopFlag()
    before = {number: signal.signal(number, stopped.tell) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def refuse_unfit(task: Task) -> Tagging:
    """The task, unless its labels cannot be given while a sentence goes on: then InputError is raised."""
    if not isinstance(task, Tagging):
        raise InputError(f"--stream labels tokens, but this run is a {type(task).__name__}; leave --stream out")
    if task.encoder.bidirectional or task.encoder.reverse:
        raise InputError(
            "--stream needs an encoder that reads forwards only; train with --model.encoder.bidirectional false, and "
            "--model.lookahead K to see K more tokens before each label"
        )
    if isinstance(task.tagger, Crf):
        raise InputError(
            "--stream cannot wait for the end as a Crf must; train with --model.tagger Softmax or AutoregressiveTagger"
        )
    return task


def follow(task: Task, source: BinaryIO, sink: BinaryIO, state: Path | None) -> None:
    """Label what arrives: tokens between separators or on lines of their own, an empty line ends a sentence.

    Of each token a line with the token, its label and the label's probability is written as soon as it is known. state:
    where the stream stands is read from this file, if it is there, and written to it when the input ends or this
    process is told to stop by SIGTERM or SIGINT; without it the last sentence ends there.
    """
    stream = TagStream(refuse_unfit(task))

    def write(found: Sequence[Labelled], end: bool = False) -> None:
        lines = [f"{one.token}\t{one.label}\t{one.probability:.4f}\n" for one in found]
        sink.write("".join([*lines, "\n" * end]).encode())
        sink.flush()

    with stopping() as stopped:
        incoming = Incoming(source, stream.separator, stopped)
        if state is not None and state.is_file():
            content = stored(state, stream.mark)
            stream.restore(content)
            incoming.rest, incoming.fresh = content["rest"].numpy().tobytes(), content["fresh"]
        for token in incoming:
            write(stream.push(token) if token else stream.end(), not token)
    if state is None:
        write(stream.end())
    else:
        rest = {"rest": as_tensor(incoming.rest), "fresh": incoming.fresh}
        checkpoint.write({"stream": stream.content() | rest, "mark": stream.mark}, state)


def stored(state: Path, mark: str) -> dict[str, Any]:
    """What another stream of the same model has left in a file."""
    try:
        content = safe_load.load(state)
        found, before = content["stream"], content["mark"]
    except Exception as problem:  # torch raises a dozen kinds for a file that is none of its own
        raise InputError(f"--state {state} holds no state of a stream: {checkpoint.first_line(problem)}") from problem
    if before != mark:
        raise InputError(f"--state {state} belongs to another model; name another file, or remove it to begin anew")
    return dict(found)


class Incoming:
    """The tokens of a stream as they arrive; an empty text where a sentence ends."""

    def __init__(self, source: BinaryIO, separator: str, stopped: StopFlag) -> None:
        self.descriptor, self.separator, self.stopped = source.fileno(), separator, stopped
        self.rest = b""
        """What has come of the next token."""
        self.fresh = True
        """Whether the line has had no token yet."""
        self.number = 1
        """Of the line."""

    def __iter__(self) -> Iterator[str]:
        while not self.stopped.told:
            if not select.select([self.descriptor], [], [], WAIT)[0] or self.stopped.told:
                continue
            data = os.read(self.descriptor, CHUNK)
            *lines, self.rest = (self.rest + data).split(b"\n")
            for line in lines:
                yield from self.line(line)
            if not data:
                whole, self.rest = self.rest, b""
                yield from self.line(whole) if whole else ()
                return
            *words, self.rest = self.rest.split(self.separator.encode())  # of a line that goes on, what is complete
            for word in filter(None, words):
                self.fresh = False
                yield decode_line(word, "standard input", self.number)
            if len(self.rest) > LONGEST:
                where = f"standard input:{self.number}"
                raise InputError(f"{where}: a token of more than {LONGEST:,} bytes; is this a text file?")

    def line(self, line: bytes) -> Iterator[str]:
        """What is left of a line; an empty text if it never held a token."""
        words = list(filter(None, decode_line(line, "standard input", self.number).split(self.separator)))
        yield from words if words or not self.fresh else [""]
        self.fresh, self.number = True, self.number + 1
