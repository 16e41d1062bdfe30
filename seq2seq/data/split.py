"""Split: rows as texts and as ids, and the batches made of them."""

import logging
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from seq2seq.data.batch import Batch, Ragged
from seq2seq.data.batching import Rows, pieces
from seq2seq.data.cache import Cache, checksum_of, code_of
from seq2seq.data.rows import CHUNK, Texts
from seq2seq.data.tokenizers import BOS, EOS, PAD, Tokenizer, Tokenizers

log = logging.getLogger(__name__)

VERSION = 1
"""Of what is kept about ids; a new one leaves the old ones unused."""


class Split:
    """The rows of a split. Sources longer than `longest` tokens are cut when they are put into a batch."""

    def __init__(self, texts: Texts, source: Ragged, target: Ragged, longest: int) -> None:
        """source, target: ids without beginning and end; longest: source tokens, the end included."""
        self.texts, self.source, self.target, self.longest = texts, source, target, longest

    def __len__(self) -> int:
        return len(self.source)

    def source_lengths(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(B,) tokens with the end, as the encoder reads them."""
        return np.minimum(self.source.lengths[rows] + 1, self.longest)

    def target_lengths(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(B,) tokens with beginning and end."""
        lengths: np.ndarray = self.target.lengths[rows] + 2
        return lengths

    def fits(self) -> np.ndarray:
        """(rows,) whether a row is short enough to train on."""
        fits: np.ndarray = (self.source.lengths < self.longest) & (self.target_lengths() <= self.longest)
        return fits

    def warn_of_cuts(self) -> None:
        """Say how many sources are too long to be read whole."""
        long = int((self.source.lengths >= self.longest).sum())
        if long:
            log.warning("cut %d of %d sources to data.max_length %d tokens", long, len(self), self.longest)

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """(B, 2) tokens of source and target."""
        return np.stack((self.source_lengths(rows), self.target_lengths(rows)), axis=1)

    def batch(self, rows: np.ndarray, places: np.ndarray | None = None, step_tokens: int = 0) -> Batch:
        """The given rows, padded."""
        source, source_lengths = self.source.pad(rows, PAD, last=EOS, longest=self.longest)
        target, target_lengths = self.target.pad(rows, PAD, first=BOS, last=EOS)
        keys = torch.from_numpy(rows if places is None else places)
        return Batch(torch.from_numpy(rows), keys, source, source_lengths, target, target_lengths, step_tokens)

    def drawn(self, rows: Rows, tokenizers: Tokenizers, seed: int) -> "Split":
        """The rows of a step alone, segmented at random; one that would get too long keeps its best segmentation."""
        sides = []
        for side, tokenizer in enumerate(tokenizers):
            ids, texts = (self.source, self.target)[side], self.texts[side]
            best = [ids.flat[ids.starts[row] : ids.starts[row + 1]].tolist() for row in rows.numbers.tolist()]
            if tokenizer.samples:
                keys = [[seed, rows.epoch, place, side] for place in rows.places.tolist()]
                best = draw(tokenizer, [texts[row] for row in rows.numbers.tolist()], best, keys, self.longest)
            sides.append(Ragged.of(best))
        return Split(self.texts, sides[0], sides[1], self.longest)


def draw(
    tokenizer: Tokenizer, texts: Sequence[str], best: list[list[int]], keys: Iterable[list[int]], longest: int
) -> list[list[int]]:
    """A segmentation of each text, drawn by its key [seed, epoch, place, side] alone; `best` where it gets too long."""
    ways = (tokenizer.sample(text, np.random.default_rng(key)) for text, key in zip(texts, keys, strict=True))
    return [way if len(way) + 2 <= longest else one for way, one in zip(ways, best, strict=True)]


class Step(NamedTuple):
    """What one device trains on in an optimiser step."""

    batches: list[Batch]
    """Micro-batches; every device has as many."""
    place: dict[str, Any] | None = None
    """Where a streamed corpus stands after this step; None where the number of steps says it."""


class Training(Dataset[Step]):
    """The rows of a step to one device's micro-batches."""

    def __init__(
        self, split: Split, drawn: tuple[Tokenizers, int] | None, rank: int, devices: int, device_tokens: int | None
    ) -> None:
        """drawn: tokenizers and seed, where subwords are drawn anew in each epoch; device_tokens: of a micro-batch."""
        self.split, self.drawn = split, drawn
        self.rank, self.devices, self.device_tokens = rank, devices, device_tokens

    def __getitem__(self, rows: Rows) -> Step:
        split, numbers = self.split, rows.numbers
        if self.drawn is not None:  # all rows of the step, because their number of tokens divides its loss
            split, numbers = split.drawn(rows, *self.drawn), np.arange(len(numbers))
        lengths = split.lengths(numbers)
        tokens = int(lengths[:, 1].sum()) - len(numbers)  # the beginning token is not predicted
        mine = pieces(lengths, self.device_tokens, self.devices)[self.rank :: self.devices]
        return Step([self.piece(split, rows, numbers, slice(*ends), tokens) for ends in mine])

    def piece(self, split: Split, rows: Rows, numbers: np.ndarray, part: slice, tokens: int) -> Batch:
        """A micro-batch; an empty one becomes a row whose targets are padding, so that it weighs nothing."""
        empty = part.start == part.stop
        part = slice(0, 1) if empty else part
        batch = split.batch(numbers[part], rows.places[part], tokens)
        batch = batch._replace(rows=torch.from_numpy(rows.numbers[part]))
        return batch._replace(target=torch.full_like(batch.target, PAD)) if empty else batch


class Evaluation(Dataset[Batch]):
    """Numbered batches of an evaluation split."""

    def __init__(self, split: Split, batches: list[np.ndarray]) -> None:
        self.split, self.batches = split, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.split.batch(self.batches[index])


def encode(texts: Sequence[str], content: str, tokenizer: Tokenizer, cache: Cache, name: str) -> Ragged:
    """Ids of all texts, kept on the disk under their content, the tokenizer's, and the version of this.

    content: a checksum of the texts; empty keeps nothing. name: shown beside the progress.
    """
    if not content:
        return Ragged.of([ids for chunk in encoded_chunks(texts, tokenizer, name) for ids in chunk])
    versions = [VERSION, metadata.version("sentencepiece"), unicodedata.unidata_version, *code_of(tokenizer)]
    key = [versions, content, name, tokenizer.specification(), checksum_of(tokenizer.state)]
    folder = cache.folder("ids", key, lambda folder: write(texts, tokenizer, folder, name))
    kind = np.min_scalar_type(len(tokenizer) - 1)
    ids = folder / "ids.bin"
    flat = np.memmap(ids, dtype=kind, mode="r") if ids.stat().st_size else np.empty(0, dtype=kind)
    return Ragged(flat, np.load(folder / "starts.npy", mmap_mode="r"))


def write(texts: Sequence[str], tokenizer: Tokenizer, folder: Path, name: str) -> None:
    """All ids one after the other, and where each row begins."""
    kind, lengths = np.min_scalar_type(len(tokenizer) - 1), []
    with open(folder / "ids.bin", "wb") as file:
        for chunk in encoded_chunks(texts, tokenizer, name):
            ids = Ragged.of(chunk)
            lengths.append(ids.lengths)
            ids.flat.astype(kind).tofile(file)
    np.save(folder / "starts.npy", np.concatenate(([0], np.cumsum(np.concatenate(lengths), dtype=np.int64))))


def encoded_chunks(texts: Sequence[str], tokenizer: Tokenizer, name: str) -> Iterator[list[list[int]]]:
    """Ids of some rows at a time, with a progress bar where there is a terminal."""
    with tqdm(total=len(texts), desc=f"encoding {name}", unit="row", leave=False, disable=None, delay=1) as bar:
        for start in range(0, len(texts), CHUNK):
            ids = tokenizer.encode(texts[start : start + CHUNK])
            bar.update(len(ids))
            yield ids
