"""Training on a corpus that is never read whole: windows of rows, each planned like a small split.

A window is the next rows of the stream, whoever reads it, so the rows of an optimiser step are the same on
any number of devices and workers. Every device reads the whole stream and encodes all of it, its workers taking
turns; what it saves is the other devices' training.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from seq2seq.data.batching.batch import RowFormat
from seq2seq.data.batching.plan import Plan
from seq2seq.data.batching.split import Loader, Split, Step, TrainingSteps, draw, fitting, refuse_wrong_lengths
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.trained_rows import row_sums
from seq2seq.errors import InputError

log = logging.getLogger(__name__)

READ = 1000
"""Rows that are asked of the stream at once, or somewhat fewer."""

Stream = Callable[[Sequence[int]], Any]
"""The seed and epoch that shuffle shards to the rows, a `datasets.IterableDataset`."""

StreamPosition = dict[str, Any]
"""Where training stands in a stream: plain values that a checkpoint stores."""

BEGINNING: StreamPosition = {"epoch": 0, "window": 0, "row": 0, "stream": None, "step": 0}
"""Before the first step. `row` counts the rows of the epoch before the window, `step` the window's steps taken."""


class Window(NamedTuple):
    """The next rows of the stream, encoded."""

    position: StreamPosition
    """Where it begins."""
    source: Ragged
    target: Ragged
    sums: np.ndarray
    """(rows,) checksums of the rows."""


class Windows(IterableDataset[Window]):
    """Windows from a position in the stream on, without end. Each worker encodes every n-th."""

    def __init__(
        self, stream: Stream, tokenizers: Tokenizers, rows: int, longest: int, seed: int, position: StreamPosition
    ) -> None:
        """rows: those of a window; longest: tokens of a row; seed: of the order of shards and of subword sampling."""
        self.stream, self.tokenizers, self.rows, self.longest = stream, tokenizers, rows, longest
        self.seed, self.position = seed, position

    def __iter__(self) -> Iterator[Window]:
        worker = get_worker_info()
        mine, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number, (position, texts) in enumerate(self.pooled()):
            if number % workers == mine:
                yield self.encode(position, texts)

    def pooled(self) -> Iterator[tuple[StreamPosition, list[tuple[str, str]]]]:
        """The texts of each window and where it begins."""
        texts: list[tuple[str, str]]
        read = -(-self.rows // -(-self.rows // READ))  # windows are a whole number of these
        epoch, window, row, state = (self.position[name] for name in ("epoch", "window", "row", "stream"))
        while True:
            stream = self.stream([self.seed, epoch])
            if state is not None:
                stream.load_state_dict(state)
            position = {"epoch": epoch, "window": window, "row": row, "stream": state or stream.state_dict()}
            texts = []
            for batch in stream.iter(batch_size=read):
                texts += zip(batch["source"], batch["target"], strict=True)
                if len(texts) >= self.rows:
                    yield position, texts
                    window, row = window + 1, row + len(texts)
                    position, texts = {**position, "window": window, "row": row, "stream": stream.state_dict()}, []
            if texts:
                yield position, texts
                window, row = window + 1, row + len(texts)
            if not row:
                raise InputError("the train split is empty; check data.corpus and data.path")
            epoch, row, state = epoch + 1, 0, None

    def encode(self, position: StreamPosition, texts: Sequence[tuple[str, str]]) -> Window:
        """The ids of a window's rows."""
        columns, sides = list(zip(*texts, strict=True)), []
        for side, (tokenizer, column) in enumerate(zip(self.tokenizers, columns, strict=True)):
            ids = tokenizer.encode(column)
            if tokenizer.samples:
                keys = [[self.seed, position["epoch"], position["row"] + row, side] for row in range(len(column))]
                ids = draw(tokenizer, column, ids, keys, self.longest)
            sides.append(Ragged.of(ids))
        return Window(position, sides[0], sides[1], row_sums(columns[0], columns[1]))


class StreamedSteps:
    """One device's micro-batches of each optimiser step, from a position in the stream on, without end."""

    def __init__(
        self,
        windows: Windows,
        workers: int,
        batch_tokens: int,
        rank: int = 0,
        devices: int = 1,
        device_tokens: int | None = None,
        row_format: RowFormat | None = None,
        cut: bool = False,
    ) -> None:
        """batch_tokens: padded tokens of a step; device_tokens: of a micro-batch; row_format: of the task.

        cut: whether rows with sources that are too long are trained on.
        """
        self.cut = cut
        self.row_format = fitting(row_format, windows.tokenizers)
        self.windows, self.workers, self.batch_tokens = windows, workers, batch_tokens
        self.rank, self.devices, self.device_tokens = rank, devices, device_tokens
        self.left_out = self.warned_of = 0
        self.sums: list[np.ndarray] = []

    def sums_read(self) -> np.ndarray:
        """Checksums of the rows of all windows that have been begun since this was asked last."""
        self.sums, sums = [], self.sums
        return np.concatenate([np.empty(0, np.uint32), *sums])

    def __iter__(self) -> Iterator[Step]:
        start = self.windows.position["step"]
        for window in Loader(self.windows, batch_size=None, num_workers=self.workers):
            self.sums.append(window.sums)
            yield from self.steps(window, start)
            start = 0

    def steps(self, window: Window, start: int) -> Iterator[Step]:
        """The steps of a window, without those taken before."""
        split = Split(Texts((), ()), window.source, window.target, self.windows.longest, self.row_format, self.cut)
        refuse_wrong_lengths(split, self.windows.tokenizers)
        fits = split.fits()
        self.warn_of_left_out(int((~fits).sum()))
        if not fits.any():
            return
        key = np.random.SeedSequence([self.windows.seed, window.position["window"]]).generate_state(1)[0]
        plan = Plan(*split.grouping_lengths(), self.batch_tokens, int(key), np.flatnonzero(fits))
        training = TrainingSteps(split, None, self.rank, self.devices, self.device_tokens)
        for number in range(start, len(plan)):
            yield training[plan.step(number)]._replace(position={**window.position, "step": number + 1})

    def warn_of_left_out(self, more: int) -> None:
        """Count rows that are too long; warn when there are twice as many as at the last warning."""
        self.left_out += more
        if self.left_out > 2 * self.warned_of:
            log.warning("left out %d training rows longer than data.max_length so far", self.left_out)
            self.warned_of = self.left_out
