"""Does a file write the words of a stream as its run writes them, at the same steps?"""

import math

import numpy as np

from seq2seq.data.batching.split import Split
from seq2seq.errors import InputError
from seq2seq.exporting.running import Exported
from seq2seq.tasks.base import Task
from seq2seq.tasks.transcription import Transcription
from seq2seq.tasks.word_stream import HeardWord
from seq2seq_runtime import description, tokenizers
from seq2seq_runtime.tokenizers import Vectors
from seq2seq_runtime.transcribing import PAUSE, Listening, made

ROWS = 50
"""Rows that are compared: a step at a time takes long."""


def compare(task: Task, file: Exported, split: Split, entry: str) -> str | None:
    """One line about the first rows of a split, each as a stream; InputError where words or their times differ.

    entry: what the file says of itself. None for what has no stream.
    """
    of = description.read(entry)
    if not isinstance(task, Transcription) or of.hearing is None or not of.hearing.streams:
        return None
    source, target = (None if one is None else tokenizers.made(one) for one in (of.source, of.target))
    if not isinstance(source, Vectors) or target is None:
        return None
    transcriber = made(of.hearing, file.network, source, target)
    count = min(ROWS, len(split))
    for row in range(count):
        frames, listening = source.numbers_of(split.texts.source[row]), Listening(transcriber, source, target)
        theirs = [*listening.push_frames(frames), *listening.end()]
        ours = [listening.timed([word])[0] for word in words_of(task, frames, math.ceil(PAUSE / listening.seconds))]
        if ours != theirs:
            raise InputError(f"nothing was written: of row {row} as a stream the file would write other words than the "
                             "run")  # fmt: skip
    return f"streams: the words and times of {count:,} of {count:,} rows are those of predict --stream"


def words_of(task: Transcription, frames: np.ndarray, pause: int) -> list[HeardWord]:
    """The words of frames (S, D), a step at a time."""
    stream = task.word_stream(pause)
    groups = (frames[start : start + stream.group] for start in range(0, len(frames), stream.group))
    return [*(word for group in groups for word in stream.push(group)), *stream.end()]
