"""Running text: one stream of tokens, cut into parallel lanes that are read segment by segment.

The rows of a split, each with its end token, follow each other. Lane j is the j-th part of that stream, and optimiser
step k of an epoch reads the k-th segment of every lane: whoever carries a state from segment to segment has read the
lane from its beginning (truncated back-propagation through time, Williams and Peng 1990).
"""

import numpy as np
import torch

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.batching.plan import Rows
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import EOS, PAD
from seq2seq.errors import InputError


class Lanes:
    """A split of running text: its rows are segments, segment k of lane j is number k * lanes + j."""

    def __init__(self, texts: Texts, target: Ragged, lanes: int, segment: int, seed: int = 0) -> None:
        """target: ids of the rows; lanes: how many; segment: tokens to predict in each, the last one may be shorter."""
        self.texts, self.lanes, self.segment, self.seed = texts, lanes, segment, seed
        self.row_format = RowFormat(source_end=False)
        self.stream = joined(target)
        self.tokens = len(self.stream) - 1
        """Those to predict in an epoch; lanes have as many, some of them one more."""
        if self.tokens < lanes:
            raise InputError(f"the training text has {self.tokens} tokens, too few for data.lanes {lanes}")

    def __len__(self) -> int:
        """Optimiser steps in an epoch, as of a `Plan`."""
        return -(-self.tokens // (self.lanes * self.segment))

    @property
    def kept(self) -> np.ndarray:
        """The numbers of all segments."""
        return np.arange(len(self) * self.lanes)

    def step(self, step: int) -> Rows:
        """The segments of an optimiser step, counted from the start of training; row_keys are lanes."""
        epoch, place = divmod(step, len(self))
        lanes = np.arange(self.lanes)
        return Rows(epoch, place * self.lanes + lanes, lanes)

    def bounds(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where segments begin and end, as indices of the tokens to predict."""
        place, lane = np.divmod(numbers, self.lanes)
        end = (lane + 1) * self.tokens // self.lanes
        start = np.minimum(lane * self.tokens // self.lanes + place * self.segment, end)
        return start, np.minimum(start + self.segment, end)

    def lengths(self, numbers: np.ndarray) -> np.ndarray:
        """(B, 2) tokens of source and target; a segment begins with the token before it, which is given."""
        start, end = self.bounds(numbers)
        return np.stack((np.zeros_like(start), end - start + 1), axis=1)

    def batch(self, numbers: np.ndarray, row_keys: np.ndarray | None = None, step_tokens: int = 0) -> Batch:
        """The given segments, padded."""
        start, end = self.bounds(numbers)
        lengths = end - start + 1
        steps = np.arange(int(lengths.max(initial=2)))  # a lane that has ended reads padding
        inside = steps < lengths[:, None]
        at = np.minimum(start[:, None] + steps, self.tokens)
        target = torch.from_numpy(np.where(inside, self.stream[at], PAD).astype(np.int64))
        nothing = torch.zeros(len(numbers), 0, dtype=torch.long)
        keys = torch.from_numpy(numbers if row_keys is None else row_keys)
        none = torch.zeros(len(numbers), dtype=torch.long)
        return Batch(torch.from_numpy(numbers), keys, nothing, none, target, torch.from_numpy(lengths), step_tokens)


def joined(rows: Ragged) -> np.ndarray:
    """All rows in one, an end before the first and after each."""
    stream = np.full(len(rows.flat) + len(rows) + 1, EOS, dtype=np.int32)
    before = np.repeat(np.arange(1, len(rows) + 1), rows.lengths)  # ends that stand before each token
    stream[np.arange(len(rows.flat)) + before] = rows.flat
    return stream
