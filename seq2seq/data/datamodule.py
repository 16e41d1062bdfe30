"""Corpus, tokenizers and batches of a run."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from torch.utils.data import DataLoader
from tqdm import tqdm

from seq2seq.configurable import Part, build
from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.batching.plan import LARGEST, Plan, TrainingSampler, consecutive, evaluation_batches
from seq2seq.data.batching.running_text import BpttStreams
from seq2seq.data.batching.split import (
    Evaluation,
    Loader,
    Split,
    Step,
    TrainingSteps,
    encode,
    fitting,
    refuse_wrong_lengths,
)
from seq2seq.data.batching.streaming import BEGINNING, StreamedSteps, StreamPosition, Windows
from seq2seq.data.cache import Cache, checksum, code_of
from seq2seq.data.corpora.builtin.cldr_tasks import Cldr
from seq2seq.data.corpora.corpus import HOLDOUT, SPLITS, Corpus, SplitSelection, least_holdout, load, select_split
from seq2seq.data.rows import Row, Texts, in_memory
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.errors import InputError, check_range

log = logging.getLogger(__name__)

VERSION = 1
"""Of what is kept about vocabularies; a new one leaves the old ones unused."""

SIDES = Tokenizers._fields
"""source and target."""

VOCABULARY_ROWS = 200_000
"""Rows of a streamed corpus from which the vocabularies are learnt."""


class DataModule(Part):
    """Everything about the data of a run."""

    def __init__(
        self,
        corpus: Corpus | None = None,
        path: str | None = None,
        holdout: float = HOLDOUT,
        max_rows: dict[str, int] | None = None,
        tokenizer: Tokenizer = SentencePiece(),
        target_tokenizer: Tokenizer | None = None,
        shared_vocabulary: bool = False,
        batch_tokens: int | None = None,
        device_tokens: int | Literal["auto"] | None = None,
        lanes: int = 32,
        segment: int = 128,
        window: int | None = None,
        max_length: int = 512,
        cut_sources: bool = False,
        workers: int = 0,
        cache: str | None = None,
    ) -> None:
        """All that a run reads and how it is batched.

        Args:
            corpus: where rows come from; null for Cldr.
            path: a local folder or file to read instead of the corpus's default location.
            holdout: share of the training rows, mostly chosen by hash of the source, for each split that the corpus
                lacks.
            max_rows: the most rows of train, validation and test, of a mixture those of each corpus.
            tokenizer: how text becomes ids.
            target_tokenizer: the same for the target, where it differs.
            shared_vocabulary: one vocabulary for source and target instead of one for each.
            batch_tokens: padded tokens, source and target together, of one optimiser step over all devices; null for
                4096 or, of fewer than half a million, a 128th of the training tokens, at least 256 and a row.
            device_tokens: padded tokens that one device holds at once, into which a step is cut; auto for as many as
                fit into its memory, null for the whole share of a device.
            lanes: of running text (model.running), the BPTT streams that are read side by side, one row of each step.
            segment: of running text, the tokens of a stream that a step reads, and its gradient goes back through.
            window: rows pooled at once from a corpus that is streamed instead of read before training; null to read it.
            max_length: tokens; longer training rows are left out with a warning, longer sources to predict are cut.
            cut_sources: cut longer training sources too instead of leaving their rows out (See et al. 2017, sec. 5).
            workers: processes that prepare batches; 0 prepares them in the training process.
            cache: folder for prepared data; null for $SEQ2SEQ_CACHE, else ~/.cache/seq2seq.
        """
        check_range("data.max_length", max_length, 3)
        check_range("data.lanes", lanes, 1)
        check_range("data.segment", segment, 1)
        check_range("data.workers", workers, 0)
        check_range("data.holdout", holdout, 0, 0.5)
        for name, value in (("batch_tokens", batch_tokens), ("device_tokens", device_tokens), ("window", window)):
            if isinstance(value, int):
                check_range(f"data.{name}", value, 2)
        for split, rows in (max_rows or {}).items():
            if split not in SPLITS:
                raise InputError(f"data.max_rows names {split!r}; it maps {', '.join(SPLITS)} to numbers")
            check_range(f"data.max_rows.{split}", rows, 1)
        if window is not None and device_tokens == "auto":
            raise InputError("data.device_tokens auto must know the longest row; with data.window give a number")
        least = min(batch_tokens or LARGEST, device_tokens if isinstance(device_tokens, int) else 1 << 62)
        if window is not None and 2 * max_length > least:
            raise InputError(
                f"a streamed row may have {2 * max_length} tokens, twice data.max_length, more than {least} as "
                "data.batch_tokens or data.device_tokens says; lower the former or raise the latter"
            )
        if shared_vocabulary and target_tokenizer is not None:
            raise InputError("data.shared_vocabulary excludes data.target_tokenizer; drop one of them")
        self.corpus, self.path, self.holdout, self.max_rows = corpus or Cldr(), path, holdout, max_rows
        self.tokenizer, self.target_tokenizer = tokenizer, target_tokenizer
        self.shared_vocabulary, self.batch_tokens, self.device_tokens = shared_vocabulary, batch_tokens, device_tokens
        self.window, self.max_length, self.workers, self.cache = window, max_length, workers, cache
        self.cut_sources, self.lanes, self.segment = cut_sources, lanes, segment

    def texts(self, split: str) -> Texts:
        """The raw rows of a split, of a streamed corpus its first rows; an empty split is an error."""
        wanted = self.selection(split)
        if split == "train" and self.window is not None:
            rows = self.corpus.streamed(wanted, self.path, [0, 0]).take(VOCABULARY_ROWS)
            return in_memory(Row(row["source"], row["target"], number) for number, row in enumerate(rows, 1))
        texts = load(self.corpus, wanted, self.path, Cache(self.cache))
        if not len(texts.source):
            held = wanted.split != split or not wanted.everything
            raise InputError(
                f"the {split} split is empty; {self.remedy() if held else 'check data.corpus and data.path'}"
            )
        return texts

    def recorded(self, split: str, texts: Texts, rows: Sequence[int]) -> dict[int, np.ndarray]:
        """The samples of some rows of a split, where its sources are frames of sound that can be heard."""
        try:
            return dict(self.corpus.recorded(split, texts, rows))
        except InputError as problem:
            log.warning("no sound for the report: %s", problem)
            return {}

    def remedy(self) -> str:
        """What to do where a split that is held out is empty, or all rows are held out."""
        files = "name files of each split in data.corpus"
        every = load(self.corpus, SplitSelection("train"), self.path, Cache(self.cache))
        if self.corpus.held_out != Corpus.held_out or not len(every.source):
            return f"raise data.holdout, or {files}"
        rows = list(zip(every.source, every.target, strict=True))
        needed = least_holdout(self.corpus, self.path, rows, self.held_out())
        found = f"data.holdout goes by the source, and the {len(rows):,} training rows have {len(set(every.source)):,}"
        if needed is None:
            return f"{found}; {files}"
        return f"{found}; set data.holdout to {needed:g}, or {files}"

    def whole_file(self, split: str) -> Texts:
        """All rows of the file data.path, which is this split and no other."""
        corpus = self.corpus.of_one_file()
        if corpus is None:
            return self.texts(split)
        wanted = SplitSelection("train", limit=(self.max_rows or {}).get(split))
        texts = load(corpus, wanted, self.path, Cache(self.cache))
        if not len(texts.source):
            raise InputError(f"data.path {self.path} holds no rows")
        return texts

    def selection(self, split: str) -> SplitSelection:
        """Which rows of the corpus make up a split."""
        return select_split(self.corpus, split, self.path, self.holdout, (self.max_rows or {}).get(split))

    def held_out(self) -> list[str]:
        """The splits that the corpus lacks, which are held out from its training rows."""
        return [split for split in ("validation", "test") if not self.corpus.has(split, self.path)]

    @property
    def kinds(self) -> Tokenizers:
        """How source and target shall become ids, before they learn anything."""
        return Tokenizers(self.tokenizer, self.tokenizer if self.target_tokenizer is None else self.target_tokenizer)

    def train_tokenizers(self, texts: Texts) -> Tokenizers:
        """Learn both vocabularies from the training split, or take those learnt from the same texts before."""
        if self.shared_vocabulary:
            shared = self._train(self.tokenizer, texts, ["source", "target"])
            return Tokenizers(shared, shared)
        return Tokenizers(*(self._train(kind, texts, [side]) for kind, side in zip(self.kinds, SIDES, strict=True)))

    def restore_tokenizers(self, states: Sequence[bytes]) -> Tokenizers:
        """The tokenizers of source and target as trained."""
        if self.shared_vocabulary:
            shared = restored(self.tokenizer, states[0])
            return Tokenizers(shared, shared)
        return Tokenizers(*(restored(kind, state) for kind, state in zip(self.kinds, states, strict=True)))

    def _train(self, kind: Tokenizer, texts: Texts, sides: Sequence[str]) -> Tokenizer:
        tokenizer, columns = build(Tokenizer, kind.specification()), [getattr(texts, side) for side in sides]
        name = "both" if len(sides) > 1 else sides[0]

        def train() -> None:
            with (
                locating([tokenizer] * len(columns), columns, texts),
                tqdm(desc=f"learning the vocabulary ({name})", bar_format="{desc} ...", leave=False, disable=None),
            ):
                tokenizer.train(chain.from_iterable(columns))

        def learn(folder: Path) -> None:
            train()
            (folder / "state").write_bytes(tokenizer.state)

        if not texts.content:
            train()
            return tokenizer
        files = [checksum(file) for file in kind.files]
        key = [VERSION, texts.content, name, kind.specification(), code_of(kind), files]
        return restored(kind, (Cache(self.cache).folder("vocabulary", key, learn) / "state").read_bytes())

    def encode(self, texts: Texts, tokenizers: Tokenizers, name: str, row_format: RowFormat | None = None) -> Split:
        """Ids of all rows of the split called `name`, for a task with `row_format`, None for that of a translation.

        Sources to predict that will be cut are counted in a warning, and so are labels that can never be predicted.
        """
        split = self.encode_unchecked(texts, tokenizers, row_format)
        refuse_wrong_lengths(split, tokenizers)
        if name != "train":
            split.warn_of_cuts()
            if split.row_format.labels:
                warn_of_labels(split, tokenizers.target, name)
        return split

    def encode_unchecked(self, texts: Texts, tokenizers: Tokenizers, row_format: RowFormat | None = None) -> Split:
        """The same, whether or not a task can use the rows."""
        cache = Cache(self.cache)
        with locating(tokenizers, texts[:2], texts):
            source, target = (
                encode(column, texts.content, tokenizer, cache, side)
                for column, tokenizer, side in zip(texts[:2], tokenizers, SIDES, strict=True)
            )
        return Split(texts, source, target, self.max_length, fitting(row_format, tokenizers), self.cut_sources)

    def running_plan(self, train: Split, seed: int) -> BpttStreams:
        """The optimiser steps over a training split of running text, which is cut into BPTT streams."""
        if self.device_tokens == "auto" or self.window is not None or self.kinds.target.samples:
            raise InputError(
                "model.running needs a number or null as data.device_tokens, no data.window and no sampling of subwords"
            )
        if self.device_tokens is not None and self.device_tokens <= self.segment:
            raise InputError(
                f"a segment has {self.segment + 1} tokens with the one before it, more than data.device_tokens "
                f"{self.device_tokens}; raise it or lower data.segment"
            )
        return BpttStreams(train.texts, train.target, self.lanes, self.segment, seed)

    def plan(self, train: Split, seed: int) -> Plan | BpttStreams:
        """The optimiser steps over the training split; rows too long for it are left out with a warning."""
        if train.row_format.consecutive:
            return self.running_plan(train, seed)
        first, second = train.grouping_lengths()
        fits = train.fits()
        kept = None if fits.all() else np.flatnonzero(fits)
        if kept is not None:
            if not len(kept):
                raise InputError(f"no training row fits into data.max_length {self.max_length}; raise it")
            counts = len(fits) - len(kept), len(fits), self.max_length, int(train.bounded_lengths().max())
            log.warning(
                "left out %d of %d training rows longer than data.max_length %d; the longest has %d tokens", *counts
            )
        if isinstance(self.device_tokens, int):
            longest = int((first + second)[fits].max())
            if longest > self.device_tokens:
                raise InputError(
                    f"a single row has {longest} tokens, more than data.device_tokens {self.device_tokens}; "
                    "raise data.device_tokens or lower data.max_length"
                )
        return Plan(first, second, self.batch_tokens, seed, kept, self._repetitions(train.texts, fits))

    def _repetitions(self, texts: Texts, fits: np.ndarray) -> list[tuple[int, float]]:
        """Rows of each corpus of a mixture, and how often an epoch of as many rows as there are holds each."""
        ends = np.cumsum([0, *texts.corpora])
        rows = [int(fits[a:b].sum()) for a, b in pairwise(ends)]
        shares = self.corpus.proportions(rows)
        if shares is None:
            return []
        times = [share * sum(rows) / max(1, count) for count, share in zip(rows, shares, strict=True)]
        once = all(abs(repeated - 1) < 1e-9 for repeated, count in zip(times, rows, strict=True) if count)
        return [] if once else list(zip(rows, times, strict=True))

    def training_steps(
        self,
        split: Split | BpttStreams,
        tokenizers: Tokenizers,
        plan: Plan | BpttStreams,
        position: Callable[[], int],
        rank: int = 0,
        world_size: int = 1,
        device_tokens: int | None = None,
    ) -> "DataLoader[Step]":
        """One device's micro-batches of each optimiser step; position: optimiser steps taken so far."""
        drawn = (tokenizers, plan.seed) if any(tokenizer.samples for tokenizer in tokenizers) else None
        dataset, sampler = TrainingSteps(split, drawn, rank, world_size, device_tokens), TrainingSampler(plan, position)
        return Loader(dataset, batch_size=None, sampler=sampler, num_workers=self.workers)

    def streamed_steps(
        self,
        tokenizers: Tokenizers,
        seed: int,
        position: StreamPosition | None,
        rank: int = 0,
        world_size: int = 1,
        device_tokens: int | None = None,
        row_format: RowFormat | None = None,
    ) -> StreamedSteps:
        """The same of a corpus that is streamed; position: after the last step, None at the beginning."""
        if self.window is None:
            raise TypeError("a corpus is streamed only if there is a data.window")
        stream = partial(self.corpus.streamed, self.selection("train"), self.path)
        windows = Windows(stream, tokenizers, self.window, self.max_length, seed, position or BEGINNING)
        device = (rank, world_size, device_tokens)
        return StreamedSteps(windows, self.workers, self.batch_tokens or LARGEST, *device, row_format, self.cut_sources)

    def evaluation_batches(self, split: Split, rows: int, rank: int = 0, world_size: int = 1) -> "DataLoader[Batch]":
        """One device's share of a split, `rows` at once; of running text all of it on the first device, in order."""
        if split.row_format.consecutive:
            batches = consecutive(len(split), rows, rank)
        else:
            batches = evaluation_batches(split.source_lengths(), rows, rank, world_size)
        return Loader(Evaluation(split, batches), batch_size=None, num_workers=self.workers)


def warn_of_labels(split: Split, tokenizer: Tokenizer, name: str) -> None:
    """Warn of labels of a split that the training rows lack."""
    unknown = np.flatnonzero(tokenizer.unknown_among(split.target.flat))
    if len(unknown):
        row = int(np.searchsorted(split.target.starts, unknown[0], side="right")) - 1
        log.warning(
            "%d of %d %s labels never occur in training, the first at %s; they count as wrong",
            len(unknown), len(split.target.flat), name, split.texts.location(row),
        )  # fmt: skip


@contextlib.contextmanager
def locating(tokenizers: Sequence[Tokenizer], columns: Sequence[Sequence[str]], texts: Texts) -> Iterator[None]:
    """Inside, a row that cannot be encoded is named by its file and line; it is looked for after the failure only."""
    try:
        yield
    except InputError:
        for tokenizer, column in zip(tokenizers, columns, strict=True):
            for row, text in enumerate(column):
                try:
                    tokenizer.check(text)
                except InputError as problem:
                    raise InputError(f"{texts.location(row)}: {problem}") from problem
        raise


def restored(kind: Tokenizer, state: bytes) -> Tokenizer:
    """A tokenizer as trained."""
    tokenizer = build(Tokenizer, kind.specification())
    tokenizer.restore(state)
    return tokenizer
