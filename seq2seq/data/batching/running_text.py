"""Running text: one sequence of tokens, cut into parallel BPTT streams that are read segment by segment.

The rows of a split, each with its end token, follow one another. Stream j is the j-th part of that sequence, and
optimiser step k of an epoch reads the k-th segment of every stream: whoever carries a state from segment to segment has
read the stream from its beginning (truncated back-propagation through time, Williams and Peng 1990).
"""

import numpy as np
import torch

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.batching.plan import Rows
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import EOS, PAD
from seq2seq.errors import InputError


class BpttStreams:
    """A split of running text: its rows are segments, segment k of stream j is number k * streams + j."""

    def __init__(self, texts: Texts, target: Ragged, streams: int, segment: int, seed: int = 0) -> None:
        """target: ids of the rows; streams: how many; segment: tokens to predict in each, the last may be shorter."""
        self.texts, self.streams, self.segment, self.seed = texts, streams, segment, seed
        self.row_format = RowFormat(source_end=False)
        self.flat = joined(target)
        self.tokens = len(self.flat) - 1
        """Those to predict in an epoch; streams have as many, some of them one more."""
        self.batch_tokens = streams * (segment + 1)
        """Of a step, the token before each segment included."""
        if self.tokens < streams:
            raise InputError(f"the training text has {self.tokens} tokens, too few for data.lanes {streams}")

    def __len__(self) -> int:
        """Optimiser steps in an epoch, as of a `Plan`."""
        return -(-self.tokens // (self.streams * self.segment))

    @property
    def kept(self) -> np.ndarray:
        """The numbers of all segments."""
        return np.arange(len(self) * self.streams)

    def step(self, step: int) -> Rows:
        """The segments of an optimiser step, counted from the start of training; row_keys are stream numbers."""
        epoch, number = divmod(step, len(self))
        streams = np.arange(self.streams)
        return Rows(epoch, number * self.streams + streams, streams)

    def bounds(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where segments begin and end, as indices of the tokens to predict."""
        number, stream = np.divmod(numbers, self.streams)
        end = (stream + 1) * self.tokens // self.streams
        start = np.minimum(stream * self.tokens // self.streams + number * self.segment, end)
        return start, np.minimum(start + self.segment, end)

    def lengths(self, numbers: np.ndarray) -> np.ndarray:
        """(B, 2) tokens of source and target; a segment begins with the token before it, which is given."""
        start, end = self.bounds(numbers)
        return np.stack((np.zeros_like(start), end - start + 1), axis=1)

    def batch(self, numbers: np.ndarray, row_keys: np.ndarray | None = None, step_tokens: int = 0) -> Batch:
        """The given segments, padded."""
        start, end = self.bounds(numbers)
        lengths = end - start + 1
        steps = np.arange(int(lengths.max(initial=2)))  # a stream that has ended reads padding
        inside = steps < lengths[:, None]
        indices = np.minimum(start[:, None] + steps, self.tokens)
        target = torch.from_numpy(np.where(inside, self.flat[indices], PAD).astype(np.int64))
        source = torch.zeros(len(numbers), 0, dtype=torch.long)
        source_lengths = torch.zeros(len(numbers), dtype=torch.long)
        rows, keys = torch.from_numpy(numbers), torch.from_numpy(numbers if row_keys is None else row_keys)
        return Batch(rows, keys, source, source_lengths, target, torch.from_numpy(lengths), step_tokens)


def joined(rows: Ragged) -> np.ndarray:
    """All rows in one, an end before the first and after each."""
    flat = np.full(len(rows.flat) + len(rows) + 1, EOS, dtype=np.int32)
    before = np.repeat(np.arange(1, len(rows) + 1), rows.lengths)  # ends that stand before each token
    flat[np.arange(len(rows.flat)) + before] = rows.flat
    return flat
