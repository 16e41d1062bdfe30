"""Words of a sound while it arrives: one process reads a pipe and writes each word as soon as it is known."""

import json
import logging
import math
import os
import select
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from seq2seq.data.corpora.corpus import Corpus
from seq2seq.data.sound import HOP, WINDOW, SoundFrames
from seq2seq.data.wav_stream import FrameGroups, WavStream
from seq2seq.errors import InputError
from seq2seq.inference.token_stream import WAIT, mark_of, stopping, stored
from seq2seq.runs import checkpoint
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.transcription import Transcription
from seq2seq.tasks.word_stream import HeardWord

log = logging.getLogger(__name__)

CHUNK = 1 << 14
"""Bytes read at once: a tenth of a second of the fastest usual sound."""

PAUSE = 0.5
"""Seconds without a token after which a word is over."""

STALL = 10.0
"""Seconds without sound that are told."""

SILENT = 10.0
"""Seconds of zeros that are told."""


def check(decoding: Decoding) -> None:
    """Raise InputError for what could take back what it has written."""
    if decoding.beam_size != 1:
        raise InputError(
            f"--stream takes back no word, and decoding.beam_size is {decoding.beam_size}; set --decoding.beam_size 1"
        )
    for name in ("lm", "words", "token_bonus"):
        if value := getattr(decoding, name):
            raise InputError(f"decoding.{name} is {value!r}, which needs a search; leave it out of a --stream")


def frames_of(corpus: Corpus) -> SoundFrames:
    """What a frame is in the training of a run."""
    if corpus.sound is None:
        raise InputError(
            f"--stream makes frames of sound, but data.corpus was {type(corpus).__name__}, whose frames came from "
            "elsewhere; predict whole rows without --stream"
        )
    if corpus.sound.deltas:
        raise InputError(
            f"data.corpus.deltas is {corpus.sound.deltas}: changes over time look at frames that a stream has still to "
            "bring; train with 0"
        )
    return corpus.sound


class Listening:
    """From bytes to lines of words, and the time that it takes."""

    def __init__(self, task: Transcription, sound: SoundFrames) -> None:
        self.seconds = HOP * task.stacking
        """Of a step."""
        self.sound = WavStream(sound.rate)
        self.words = task.word_stream(math.ceil(PAUSE / self.seconds))
        self.groups = FrameGroups(sound, self.words.group)
        self.working = self.slowest = 0.0
        """Seconds of computing, all together and of the slowest step."""
        self.heard = 0
        """Samples at the rate of training, in this process."""
        self.zeros = 0
        """The last of them that are 0."""
        self.reach = (task.lookahead + 1) * self.seconds - HOP + WINDOW
        """Seconds of sound, from the beginning of a step on, that are needed for what it writes."""

    def push(self, data: bytes) -> list[str]:
        """The lines of the words that are known after more bytes."""
        begun = time.perf_counter()
        samples = self.sound.push(data)
        self.heard += len(samples)
        filled = samples.nonzero()[0]
        self.tell_of_silence(len(samples) - 1 - int(filled[-1]) if len(filled) else self.zeros + len(samples))
        result = list[HeardWord]()
        self.working += time.perf_counter() - begun
        for frames in self.groups.push(samples):
            begun = time.perf_counter()
            result += self.words.push(frames)
            taken = time.perf_counter() - begun
            self.working, self.slowest = self.working + taken, max(self.slowest, taken)
        return self.lines(result)

    def end(self) -> list[str]:
        """The lines of what is left."""
        begun, rest = time.perf_counter(), self.sound.end()
        self.heard += len(rest)
        result = list[HeardWord]()
        for frames in [*self.groups.push(rest), *self.groups.end()]:
            result += self.words.push(frames)
        result += self.words.end()
        self.working += time.perf_counter() - begun
        return self.lines(result)

    def tell_of_silence(self, zeros: int) -> None:
        """Say once when nothing but zeros has come for long."""
        limit = SILENT * self.sound.rate
        if self.zeros < limit <= zeros:
            log.warning("%.0f seconds of digital silence; is the microphone muted?", zeros / self.sound.rate)
        self.zeros = zeros

    def lines(self, words: list[HeardWord]) -> list[str]:
        """Begin and end in seconds, and the word."""
        return [f"{self.seconds * one.first:.2f}\t{self.seconds * (one.last + 1):.2f}\t{one.text}\n" for one in words]

    def summary(self) -> str:
        """What the stream took."""
        seconds = self.heard / self.sound.rate
        if not seconds:
            return "no sound came"
        return (
            f"{seconds:.1f} seconds of sound, {self.working:.2f} of computing: real-time factor "
            f"{self.working / seconds:.4f}; a step writes {1000 * self.reach:.0f} ms after the beginning of "
            f"its sound, and the time to compute it, at most {1000 * self.slowest:.1f} ms"
        )

    def content(self) -> dict[str, Any]:
        """All that is needed to resume, as tensors and JSON."""
        groups = {"waiting": self.groups.waiting.tolist(), "made": self.groups.made}
        return {"sound": json.dumps({"arriving": self.sound.content(), "groups": groups}), **self.words.content()}

    def restore(self, content: dict[str, Any], state: Path) -> None:
        """Resume where `content` was taken, which was kept in the file `state`."""
        try:
            plain = json.loads(content["sound"])
            self.sound.restore(plain["arriving"])
            self.groups.waiting = np.array(plain["groups"]["waiting"], dtype=np.float64)
            self.groups.made = int(plain["groups"]["made"])
            self.words.restore(content)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise InputError(f"--state {state} holds no state of a stream of sound; name another file") from problem


def follow(
    task: Transcription, decoding: Decoding, corpus: Corpus, source: BinaryIO, sink: BinaryIO, state: Path | None
) -> None:
    """Write a line for each word of the sound that arrives, with its begin and end in seconds, as soon as it is known.

    state: as of `token_stream.follow`. What the stream took is told on standard error.
    """
    check(decoding)
    listening, mark = Listening(task, frames_of(corpus)), mark_of(task)

    def write(lines: list[str]) -> None:
        if lines:
            sink.write("".join(lines).encode())
            sink.flush()

    with stopping() as stopped:
        if state is not None and state.is_file():
            listening.restore(stored(state, mark), state)
        waited = 0.0
        while not stopped.is_set:
            if not select.select([source], [], [], WAIT)[0]:
                waited += WAIT
                if waited - WAIT < STALL <= waited:
                    log.warning("no sound has come for %.0f seconds; waiting (Ctrl-C ends the stream)", waited)
                continue
            if not (data := os.read(source.fileno(), CHUNK)):
                break
            waited = 0.0
            write(listening.push(data))
    if state is None:
        write(listening.end())
    else:
        checkpoint.write({"stream": listening.content(), "mark": mark}, state)
    print(listening.summary(), file=sys.stderr)
