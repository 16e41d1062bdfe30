"""Split: rows as texts and as ids, and the batches made of them."""

import logging
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.batching.plan import Rows, pieces
from seq2seq.data.cache import Cache, checksum_of, code_of
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import CHUNK, Texts
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, Tokenizer, Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.errors import InputError

log = logging.getLogger(__name__)

VERSION = 1
"""Of what is kept about ids; a new one leaves the old ones unused."""


class Split:
    """The rows of a split. Sources longer than `longest` tokens are cut when they are put into a batch."""

    def __init__(
        self,
        texts: Texts,
        source: Ragged,
        target: Ragged,
        longest: int,
        row_format: RowFormat | None = None,
        cut: bool = False,
    ) -> None:
        """source, target: ids without beginning and end; longest: source tokens, the end included.

        row_format: of the task; None for that of a translation. cut: whether rows with longer sources are trained on.
        """
        self.texts, self.source, self.target, self.longest = texts, source, target, longest
        self.row_format, self.cut = row_format or RowFormat(), cut
        self.source_end = EOS if self.row_format.source_end else None
        self.most = 1 << 30 if self.row_format.aligned else longest  # every token gets its label

    def __len__(self) -> int:
        return len(self.source)

    def source_lengths(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(B,) tokens with the end, as the encoder reads them."""
        lengths: np.ndarray = np.minimum(self.whole_lengths(rows), self.most)
        return lengths

    def whole_lengths(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The same before they are cut."""
        lengths: np.ndarray = self.source.lengths[rows] + (self.source_end is not None)
        return lengths

    def target_lengths(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(B,) tokens with beginning and end."""
        lengths: np.ndarray = self.target.lengths[rows] + 2 * self.row_format.target_ends
        return lengths

    def fits(self) -> np.ndarray:
        """(rows,) whether a row is short enough to train on."""
        fits: np.ndarray = self.bounded_lengths() <= self.longest
        return fits

    def bounded_lengths(self) -> np.ndarray:
        """(rows,) tokens of the side of a training row that must be short enough: the longer one, or the target."""
        return self.target_lengths() if self.cut else np.maximum(self.target_lengths(), self.whole_lengths())

    def warn_of_cuts(self) -> None:
        """Warn of sources that are too long to be read whole."""
        lengths = self.whole_lengths()
        if long := int((lengths > self.most).sum()):
            counts = long, len(self), self.longest, int(lengths.max())
            log.warning("cut %d of %d sources to data.max_length %d tokens; the longest has %d", *counts)

    def grouping_lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(rows,) twice, the length by which rows go together first: the steps of the recurrence.

        Of labelled tokens these are the labels: a word that is spelled has many ids and is one step.
        """
        source, target = self.source_lengths(), self.target_lengths()
        return (target, source) if self.row_format.aligned else (source, target)

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """(B, 2) tokens of source and target."""
        return np.stack((self.source_lengths(rows), self.target_lengths(rows)), axis=1)

    def batch(self, rows: np.ndarray, row_keys: np.ndarray | None = None, step_tokens: int = 0) -> Batch:
        """The given rows, padded."""
        ends = None, self.source_end
        source, source_lengths = self.source.pad(rows, PAD, *ends, self.most, self.row_format.keep_last_steps)
        first, last = (BOS, EOS) if self.row_format.target_ends else (None, None)
        target, target_lengths = self.target.pad(rows, PAD, first, last)
        keys = torch.from_numpy(rows if row_keys is None else row_keys)
        return Batch(torch.from_numpy(rows), keys, source, source_lengths, target, target_lengths, step_tokens)

    def batch_with_texts(self, rows: np.ndarray) -> Batch:
        """The given rows, with the texts of their sources."""
        return self.batch(rows)._replace(texts=[self.texts.source[row] for row in rows.tolist()])

    def drawn(self, rows: Rows, tokenizers: Tokenizers, seed: int) -> "Split":
        """The rows of a step alone, segmented at random; one that would get too long keeps its best segmentation."""
        sides = []
        for side, tokenizer in enumerate(tokenizers):
            ids, texts = (self.source, self.target)[side], self.texts[side]
            best = [ids.flat[ids.starts[row] : ids.starts[row + 1]] for row in rows.numbers.tolist()]
            if not tokenizer.samples:
                sides.append(Ragged.of(best))
                continue
            keys = [[seed, rows.epoch, key, side] for key in rows.row_keys.tolist()]
            chosen, known = [texts[row] for row in rows.numbers.tolist()], [row.tolist() for row in best]
            sides.append(Ragged.of(draw(tokenizer, chosen, known, keys, self.longest)))
        return Split(self.texts, sides[0], sides[1], self.longest, self.row_format, self.cut)


def refuse_wrong_lengths(split: Split, tokenizers: Tokenizers) -> None:
    """Raise InputError where a row lacks the labels or steps of the row format: one for each token, one, or all."""
    if split.row_format.fixed_target_length:
        refuse_other_lengths(split, tokenizers.target)
    if split.row_format.filled_target:
        refuse_empty_targets(split)
    if split.row_format.frames:
        refuse_long_targets(split)
    if not split.row_format.aligned and not split.row_format.single_token_target:
        return
    tokens, labels = tokens_and_labels(split, tokenizers)
    wrong = np.flatnonzero(tokens != labels)
    if len(wrong):
        row = int(wrong[0])
        more = f" (and {len(wrong) - 1} more rows)" * (len(wrong) > 1)
        if split.row_format.single_token_target:
            raise InputError(
                f"{split.texts.location(row)}: {labels[row]} labels{more} where a row has one; fix it, set the "
                "separator of data.target_tokenizer to a tab if labels hold spaces, or set model.multi_label true"
            )
        raise InputError(
            f"{split.texts.location(row)}: {tokens[row]} tokens but {labels[row]} labels{more}; give each token one "
            "label, or check the separators of data.tokenizer and data.target_tokenizer"
        )


def tokens_and_labels(split: Split, tokenizers: Tokenizers) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) how many labels each row must have for its row format, and how many it has."""
    labels = tokenizers.target.units(split.target)
    tokens = tokenizers.source.units(split.source) if split.row_format.aligned else np.ones_like(labels)
    return tokens, labels


def refuse_other_lengths(split: Split, tokenizer: Tokenizer) -> None:
    """Raise InputError where a target has fewer or more steps than the longest one of training."""
    steps = tokenizer.steps[1] if isinstance(tokenizer, Vectors) else 0
    wrong = np.flatnonzero(split.target.lengths != steps)
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{split.texts.location(row)}: a target of {split.target.lengths[row]} steps, but the longest of training "
            f"has {steps}, and all must have as many; fix or drop the row"
        )


def refuse_empty_targets(split: Split) -> None:
    """Raise InputError where a row has no target."""
    empty = np.flatnonzero(split.target.lengths == 0)
    if len(empty):
        more = f" (and {len(empty) - 1} more rows)" * (len(empty) > 1)
        where = split.texts.location(int(empty[0]))
        raise InputError(f"{where}: the target is empty{more}; give the text, or drop the row")


def refuse_long_targets(split: Split) -> None:
    """Raise InputError where a target needs more steps than its frames make."""
    flat, starts, lengths = split.target.flat, split.target.starts, split.target.lengths
    repeated = np.zeros(len(flat) + 1, dtype=np.int64)  # before each token, neighbours that are equal
    repeated[2:] = np.cumsum(flat[1:] == flat[:-1]) if len(flat) > 1 else 0
    first, last = np.minimum(starts[:-1] + 1, starts[1:]), starts[1:]
    needed = lengths + repeated[last] - repeated[first]
    steps = -(-split.source_lengths() // split.row_format.frames)
    wrong = np.flatnonzero(needed > steps)
    if not len(wrong):
        return
    row, more = int(wrong[0]), f" (and {len(wrong) - 1} more rows)" * (len(wrong) > 1)
    raise InputError(
        f"{split.texts.location(row)}: a target of {lengths[row]} tokens, which need {needed[row]} steps, but "
        f"{split.whole_lengths()[row]} frames make {steps[row]}{more}; lower model.stacking "
        f"({split.row_format.frames}), raise data.max_length ({split.longest}) if frames are cut, or drop the row"
    )


def fitting(row_format: RowFormat | None, tokenizers: Tokenizers) -> RowFormat:
    """A task's row format with these tokenizers; None is that of a translation."""
    row_format = row_format or RowFormat()
    return row_format._replace(source_end=row_format.source_end and tokenizers.source.ends)


def draw(
    tokenizer: Tokenizer, texts: Sequence[str], best: list[list[int]], keys: Iterable[list[int]], longest: int
) -> list[list[int]]:
    """A segmentation of each text, drawn by its key [seed, epoch, row key, side] alone; else `best` if too long."""
    ways = (tokenizer.sample(text, np.random.default_rng(key)) for text, key in zip(texts, keys, strict=True))
    return [way if len(way) + 2 <= longest else known for way, known in zip(ways, best, strict=True)]


class RowSource(Protocol):
    """What rows of a step are taken from."""

    row_format: RowFormat

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """(B, 2) tokens of source and target."""
        ...

    def batch(self, rows: np.ndarray, row_keys: np.ndarray | None = None, step_tokens: int = 0) -> Batch:
        """The given rows, padded."""
        ...


class Step(NamedTuple):
    """What one device trains on in an optimiser step."""

    batches: list[Batch]
    """Micro-batches; every device has as many."""
    position: dict[str, Any] | None = None
    """Of a streamed corpus after this step; None where the number of steps says it."""


class TrainingSteps(Dataset[Step]):
    """The rows of a step to one device's micro-batches."""

    def __init__(
        self, split: RowSource, drawn: tuple[Tokenizers, int] | None, rank: int, devices: int, device_tokens: int | None
    ) -> None:
        """drawn: tokenizers and seed, where subwords are drawn anew in each epoch; device_tokens: of a micro-batch."""
        self.split, self.drawn = split, drawn
        self.rank, self.devices, self.device_tokens = rank, devices, device_tokens

    def __getitem__(self, rows: Rows) -> Step:
        split, numbers = self.split, rows.numbers
        # Running text is never drawn. All rows of the step, because their number of tokens divides its loss.
        if self.drawn is not None and isinstance(split, Split):
            split, numbers = split.drawn(rows, *self.drawn), np.arange(len(numbers))
        lengths = split.lengths(numbers)
        tokens = split.row_format.loss_denominator(lengths[:, 1])
        mine = pieces(lengths, self.device_tokens, self.devices)[self.rank :: self.devices]
        return Step([self.piece(split, rows, numbers, slice(*ends), tokens) for ends in mine])

    def piece(self, split: RowSource, rows: Rows, numbers: np.ndarray, part: slice, tokens: int) -> Batch:
        """A micro-batch; an empty one becomes a row whose targets are padding, so that it weighs nothing."""
        empty = part.start == part.stop
        part = slice(0, 1) if empty else part
        batch = split.batch(numbers[part], rows.row_keys[part], tokens)
        batch = batch._replace(rows=torch.from_numpy(rows.numbers[part]))
        if not empty:
            return batch
        return batch._replace(
            target=torch.full_like(batch.target, PAD), target_lengths=torch.zeros_like(batch.target_lengths)
        )


class Evaluation(Dataset[Batch]):
    """Numbered batches of an evaluation split."""

    def __init__(self, split: Split, batches: list[np.ndarray]) -> None:
        self.split, self.batches = split, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.split.batch_with_texts(self.batches[index])


class Loader(DataLoader[Any]):
    """Torch's loader without its warning of more workers than cores: on one core it would refuse any worker."""

    def check_worker_number_rationality(self) -> None:
        """The user has chosen `data.workers`."""


def encode(texts: Sequence[str], content: str, tokenizer: Tokenizer, cache: Cache, name: str) -> Ragged:
    """Ids of all texts, kept on the disk under their content, the tokenizer's, and the version of this.

    content: a checksum of the texts; empty keeps nothing. name: shown beside the progress.
    """
    if not content:
        return within(Ragged.of([ids for chunk in encoded_chunks(texts, tokenizer, name) for ids in chunk]), tokenizer)
    versions = [VERSION, metadata.version("sentencepiece"), unicodedata.unidata_version, *code_of(tokenizer)]
    key = [versions, content, name, tokenizer.specification(), checksum_of(tokenizer.state)]
    folder = cache.folder("ids", key, lambda folder: write(texts, tokenizer, folder, name))
    kind, ids = kind_of(tokenizer), folder / "ids.bin"
    flat = np.memmap(ids, dtype=kind, mode="r") if ids.stat().st_size else np.empty(0, dtype=kind)
    if tokenizer.width is not None:
        flat = flat.reshape(-1, tokenizer.width)
    return Ragged(flat, np.load(folder / "starts.npy", mmap_mode="r"))


def kind_of(tokenizer: Tokenizer) -> np.dtype[Any]:
    """In what ids are kept on the disk, or the numbers of vectors."""
    return np.dtype(np.float32) if tokenizer.width is not None else np.min_scalar_type(len(tokenizer) - 1)


def write(texts: Sequence[str], tokenizer: Tokenizer, folder: Path, name: str) -> None:
    """All ids one after the other, and where each row begins."""
    kind, lengths = kind_of(tokenizer), []
    with open(folder / "ids.bin", "wb") as file:
        for chunk in encoded_chunks(texts, tokenizer, name):
            ids = within(Ragged.of(chunk), tokenizer)
            lengths.append(ids.lengths)
            ids.flat.astype(kind).tofile(file)
    np.save(folder / "starts.npy", np.concatenate(([0], np.cumsum(np.concatenate(lengths), dtype=np.int64))))


def within(ids: Ragged, tokenizer: Tokenizer) -> Ragged:
    """The ids; InputError for one outside the vocabulary, which the disk and the network would take for another."""
    if tokenizer.width is None and len(ids.flat):
        lowest, highest = int(ids.flat.min()), int(ids.flat.max())
        if lowest < 0 or highest >= len(tokenizer):
            raise InputError(f"{type(tokenizer).__qualname__}.encode makes ids from {lowest} to {highest}, and its "
                             f"vocabulary has {len(tokenizer)}: docs/extending.md")  # fmt: skip
    return ids


def encoded_chunks(texts: Sequence[str], tokenizer: Tokenizer, name: str) -> Iterator[Sequence[Sequence[int]]]:
    """Ids of some rows at a time, with a progress bar where there is a terminal."""
    with tqdm(total=len(texts), desc=f"encoding {name}", unit="row", leave=False, disable=None, delay=1) as bar:
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            ids = tokenizer.encode(chunk)
            if len(ids) != len(chunk):
                raise InputError(f"{type(tokenizer).__qualname__}.encode makes {len(ids)} rows of ids of {len(chunk)} "
                                 "texts, and must make one of each: docs/extending.md")  # fmt: skip
            bar.update(len(ids))
            yield ids
