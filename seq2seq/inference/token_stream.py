"""Labels for an endless stream of tokens: one step of the network for each token, in constant memory."""

import contextlib
import json
import os
import select
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from seq2seq.data.cache import checksum_of
from seq2seq.data.lines import STANDARD_INPUT, decode_line, without_mark
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint, safe_load
from seq2seq.tasks.base import Task, as_tensor
from seq2seq.tasks.label_stream import Labelled

LONGEST = 1 << 20
"""Bytes of the longest token that is read."""

CHUNK = 1 << 16
"""Bytes read at once."""

WAIT = 0.2
"""Seconds between two looks at whether the process shall stop."""


class StopFlag:
    """Whether a signal asks this process to stop; its handler only sets the flag."""

    def __init__(self) -> None:
        self.is_set = False

    def receive(self, number: int, frame: object) -> None:
        """The handler of a signal."""
        self.is_set = True


@contextlib.contextmanager
def stopping() -> Iterator[StopFlag]:
    """Inside, SIGTERM and SIGINT end the input instead of the process."""
    stopped = StopFlag()
    before = {number: signal.signal(number, stopped.receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(task: Task, source: BinaryIO, sink: BinaryIO, state: Path | None) -> None:
    """Label what arrives: tokens between separators or on lines of their own, an empty line ends a sentence.

    Of each token a line with the token, its label and the label's probability is written as soon as it is known. state:
    the state of the stream is read from this file, if it is there, and written to it when the input ends or this
    process receives SIGTERM or SIGINT; without it the last sentence ends there.
    """
    stream, mark = task.label_stream(), mark_of(task)

    def write(labelled: Sequence[Labelled], end: bool = False) -> None:
        lines = [f"{token}\t{label}\t{probability:.4f}\n" for token, label, probability in labelled]
        sink.write("".join([*lines, "\n" * end]).encode())
        sink.flush()

    with stopping() as stopped:
        incoming = Incoming(source, stream.separator, stopped)
        if state is not None and state.is_file():
            content = stored(state, mark)
            stream.restore(content)
            incoming.rest, incoming.fresh = content["rest"].numpy().tobytes(), content["fresh"]
        for token in incoming:
            write(stream.push(token) if token else stream.end(), not token)
    if state is None:
        write(stream.end())
    else:
        rest = {"rest": as_tensor(incoming.rest), "fresh": incoming.fresh}
        checkpoint.write({"stream": stream.content() | rest, "mark": mark}, state)


def mark_of(task: Task) -> str:
    """What tells one model from another."""
    sums = [float(parameter.detach().cpu().double().sum()) for parameter in task.parameters()]
    return checksum_of(json.dumps([task.specification(), sums]).encode())


def stored(state: Path, mark: str) -> dict[str, Any]:
    """What another stream of the same model has left in a file."""
    try:
        content = safe_load.load(state)
        stream, before = content["stream"], content["mark"]
    except Exception as problem:  # torch raises a dozen kinds for a file that it did not write
        raise InputError(f"--state {state} holds no state of a stream: {checkpoint.first_line(problem)}") from problem
    if before != mark:
        raise InputError(f"--state {state} belongs to another model; name another file, or remove it to begin anew")
    return dict(stream)


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
        self.new = True
        """Whether nothing has come yet."""

    def __iter__(self) -> Iterator[str]:
        while not self.stopped.is_set:
            if not select.select([self.descriptor], [], [], WAIT)[0] or self.stopped.is_set:
                continue
            data = os.read(self.descriptor, CHUNK)
            if self.new and data:
                data, self.new = without_mark(data, STANDARD_INPUT), False
            *lines, self.rest = (self.rest + data).split(b"\n")
            for line in lines:
                yield from self.line(line)
            if not data:
                whole, self.rest = self.rest, b""
                yield from self.line(whole) if whole else ()
                return
            *words, self.rest = self.rest.split(self.separator.encode())  # the complete tokens of an unfinished line
            for word in filter(None, words):
                self.fresh = False
                yield decode_line(word, STANDARD_INPUT, self.number)
            if len(self.rest) > LONGEST:
                where = f"{STANDARD_INPUT}:{self.number}"
                raise InputError(f"{where}: a token of more than {LONGEST:,} bytes; is this a text file?")

    def line(self, line: bytes) -> Iterator[str]:
        """What is left of a line; an empty text if it never held a token."""
        words = list(filter(None, decode_line(line, STANDARD_INPUT, self.number).split(self.separator)))
        yield from words if words or not self.fresh else [""]
        self.fresh, self.number = True, self.number + 1
