"""Translation while its source arrives: one process reads tokens and writes those that wait-k lets it write."""

import codecs
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import BinaryIO

import torch
from torch import Tensor

from seq2seq.data.lines import STANDARD_INPUT, decode_line, without_mark
from seq2seq.data.tokenizers.base import BOS, EOS, Tokenizer
from seq2seq.decoding.constraints import LEAST
from seq2seq.decoding.greedy import greedy
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.errors import InputError
from seq2seq.models.simultaneous import ReadingState
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation

LONGEST = 1 << 20
"""Bytes of the longest word that is read."""

CHUNK = 1 << 16
"""Bytes read at once."""

log = logging.getLogger(__name__)


def check(task: Translation, decoding: Decoding) -> None:
    """Raise InputError for what cannot be written before the source has ended."""
    if task.waits(decoding) is None:
        raise InputError(
            "--stream writes while it reads; set decoding.wait_k, best to the model.wait_k of the training"
        )
    wanted = Decoding(beam_size=1).specification()["init_args"]
    for name in ("beam_size", "temperature", "prefix", "include", "avoid", "risk", "replace_unknown"):
        if (value := getattr(decoding, name)) != wanted[name]:
            raise InputError(
                f"--stream takes back no token that is written, and decoding.{name} is {value!r}; set it to "
                f"{wanted[name]!r}"
            )


def follow(task: Translation, decoding: Decoding, longest: int, source: BinaryIO, sink: BinaryIO) -> None:
    """A line out for each line in, whose tokens are written as soon as they are known.

    longest: tokens of a source, its end included; what exceeds them is cut.
    """
    check(task, decoding)
    tokenizers = task.tokenizers
    tokenizers.target.settled("")  # refused before anything is read

    def write(text: str) -> None:
        sink.write(text.encode())
        sink.flush()

    lines = ArrivingLines(source.fileno(), tokenizers.source.boundary)
    for parts in lines:
        if parts is not None:
            translate(task, decoding, longest, ids_of(tokenizers.source, parts, longest), write)
        write("\n")
        lines.skip()


def ids_of(tokenizer: Tokenizer, parts: Iterable[str], longest: int) -> Iterator[int]:
    """The ids of a source as its parts arrive, at most so many, the last one its end."""
    ids = (number for part in parts for number in tokenizer.encode_part(part))
    yield from islice(ids, longest - 1)
    if next(ids, None) is not None:
        log.warning("cut a source to data.max_length %d tokens", longest)
    yield EOS


@without_gradients()
def translate(
    task: Translation, decoding: Decoding, longest: int, ids: Iterator[int], write: Callable[[str], None]
) -> Hypothesis:
    """Greedy search over ids as they arrive: each step waits for what it has to read.

    It is the search of a source that is there already, except that its limit is known when the source has ended: where
    fewer tokens might allow no more, it waits for further ones.
    """
    device, target = task.unwritable.device, task.tokenizers.target
    wait = task.waits(decoding) or 1
    known, chosen, written = list(islice(ids, wait)), list[int](), ""

    def limit(tokens: int) -> int:
        return int(task.limits(torch.tensor([tokens]), decoding))

    def show(text: str) -> None:
        nonlocal written
        write(text[len(written) :])
        written = text

    def source() -> tuple[Tensor, Tensor]:
        return torch.tensor([known], device=device), torch.tensor([len(known)], device=device)

    def step(tokens: Tensor, state: ReadingState) -> tuple[Tensor, ReadingState]:
        if (last := int(tokens)) != BOS:
            chosen.append(last)
        if EOS in chosen:  # on an accelerator a search looks seldom whether it is over; nothing is read for it
            return torch.zeros(1, 1, len(target), device=device), state
        if chosen:
            show(max(written, target.settled(target.decode(chosen)), key=len))
        while known[-1] != EOS and (len(known) < state.due or limit(len(known)) <= len(chosen) + 1):
            known.append(next(ids))
        there, lengths = source()
        log_probs, state = task.step(tokens, state._replace(source=there, lengths=lengths))
        if known[-1] == EOS and limit(len(known)) <= len(chosen) + 1:
            ending = log_probs[..., EOS].clamp(min=LEAST)
            log_probs = torch.full_like(log_probs, -torch.inf)
            log_probs[..., EOS] = ending
        return log_probs, state

    most = torch.tensor([limit(longest)], device=device)
    penalty = decoding.length_penalty, decoding.rules(most), decoding.length_offset
    [[found]] = greedy(step, task.start_reading(*source(), wait), most, BOS, EOS, *penalty)
    show(task.text(found))
    return found


class ArrivingLines:
    """The lines of a stream as they arrive, each as the parts between boundaries; None for one of blanks alone."""

    def __init__(self, descriptor: int, boundary: str) -> None:
        """boundary: what ends a part; empty where each character is one."""
        self.descriptor, self.boundary = descriptor, boundary
        self.number = 1
        """Of the line."""
        self.events = self.read()
        self.inside = False
        """Whether a line has begun whose end has not been read."""

    def __iter__(self) -> Iterator[Iterator[str] | None]:
        for part in self.events:
            self.inside, first = True, list[str]()
            while part is not None and not part.strip():
                first.append(part)
                part = next(self.events)
            if part is None:
                self.inside = False
                yield None
            else:
                yield chain([*first, part], self.rest())

    def rest(self) -> Iterator[str]:
        """The parts of the line that have not been taken."""
        while self.inside:
            part = next(self.events)
            if part is None:
                self.inside = False
            else:
                yield part

    def skip(self) -> None:
        """Go to the next line."""
        for _ in self.rest():
            pass

    def read(self) -> Iterator[str | None]:
        """The parts, and None at the end of each line."""
        pending, begun, new = b"", False, True
        while data := os.read(self.descriptor, CHUNK):
            pending += data
            if new and len(pending) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(pending):
                continue  # it may become a byte order mark
            pending, new = without_mark(pending, STANDARD_INPUT) if new else pending, False
            *ended, pending = pending.split(b"\n")
            for line in ended:
                yield from self.parts(self.text(line, end=True))
                yield None
                self.number, begun = self.number + 1, False
            complete, pending = self.complete(pending)
            begun = begun or bool(complete)
            yield from complete
            if len(pending) > LONGEST:
                where = f"{STANDARD_INPUT}:{self.number}"
                raise InputError(f"{where}: a word of more than {LONGEST:,} bytes; is this a text file?")
        if pending or begun:
            yield from self.parts(self.text(pending, end=True))
            yield None

    def complete(self, data: bytes) -> tuple[list[str], bytes]:
        """The parts of an unfinished line that nothing can change, and what follows them."""
        if self.boundary:
            *parts, pending = data.split(self.boundary.encode())
            return [self.text(part) for part in parts], pending
        kept = data.removesuffix(b"\r")  # it may belong to the end of the line
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            text = decoder.decode(kept)
        except UnicodeDecodeError:
            text = self.text(kept)
        pending = decoder.getstate()[0] + data[len(kept) :]
        return list(text), pending

    def parts(self, text: str) -> list[str]:
        """The parts of the rest of a line."""
        return text.split(self.boundary) if self.boundary else list(text)

    def text(self, data: bytes, end: bool = False) -> str:
        """Bytes as text, at the end of a line without its carriage return."""
        return decode_line(data, STANDARD_INPUT, self.number, end=not end)
