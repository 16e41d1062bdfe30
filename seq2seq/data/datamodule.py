"""Corpus, tokenizers and batches behind one door."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from seq2seq.data.batch import Batch, Ragged
from seq2seq.data.batching import Plan, Slice, TrainingSampler, evaluation_batches
from seq2seq.data.sources import Cldr, Corpus, Texts
from seq2seq.data.tokenizers import BOS, EOS, PAD, SentencePiece, Tokenizer, Tokenizers
from seq2seq.errors import InputError, check_range
from seq2seq.parts import Part, build

log = logging.getLogger(__name__)


class Split(NamedTuple):
    """A split as texts and as ids."""

    texts: Texts
    source: Ragged
    """Each row ended by EOS."""
    target: Ragged
    """Each row from BOS to EOS."""

    def batch(self, rows: np.ndarray, step_tokens: int = 0, counts: bool = True) -> Batch:
        """The given rows, padded. With `counts` false all targets are padding, so that they weigh nothing."""
        source, source_lengths = self.source.pad(rows, PAD)
        target, target_lengths = self.target.pad(rows, PAD)
        target = target if counts else torch.full_like(target, PAD)
        return Batch(torch.from_numpy(rows), source, source_lengths, target, target_lengths, step_tokens)


class Training(Dataset[Batch]):
    """Slices of the plan to batches."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, share: Slice) -> Batch:
        return self.split.batch(share.rows, share.step_tokens, share.counts)


class Evaluation(Dataset[Batch]):
    """Numbered batches of an evaluation split."""

    def __init__(self, split: Split, batches: list[np.ndarray]) -> None:
        self.split, self.batches = split, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.split.batch(self.batches[index])


class DataModule(Part):
    """Everything about the data of a run."""

    def __init__(
        self,
        corpus: Corpus = Cldr(),
        path: str | None = None,
        tokenizer: Tokenizer = SentencePiece(),
        shared_vocabulary: bool = False,
        batch_tokens: int = 4096,
        max_length: int = 512,
        workers: int = 0,
    ) -> None:
        """All that a run reads and how it is batched.

        Args:
            corpus: where rows come from.
            path: a local folder to read instead of the corpus's default place.
            tokenizer: how text becomes ids.
            shared_vocabulary: one vocabulary for source and target instead of one for each.
            batch_tokens: padded tokens, source and target together, of one optimiser step over all devices.
            max_length: tokens; longer training rows are left out with a warning, longer sources to predict are cut.
            workers: processes that prepare batches; 0 prepares them in the training process.
        """
        check_range("data.batch_tokens", batch_tokens, 2)
        check_range("data.max_length", max_length, 3)
        check_range("data.workers", workers, 0)
        self.corpus, self.path, self.tokenizer, self.shared_vocabulary = corpus, path, tokenizer, shared_vocabulary
        self.batch_tokens, self.max_length, self.workers = batch_tokens, max_length, workers

    def texts(self, split: str) -> Texts:
        """The raw rows of a split; an empty one is an error."""
        texts = self.corpus.load(split, self.path)
        if not len(texts.source):
            raise InputError(f"the {split} split is empty; check data.corpus and data.path")
        return texts

    def train_tokenizers(self, texts: Texts) -> Tokenizers:
        """Learn both vocabularies from the training split."""
        if self.shared_vocabulary:
            shared = self._train([*texts.source, *texts.target])
            return Tokenizers(shared, shared)
        return Tokenizers(self._train(texts.source), self._train(texts.target))

    def restore_tokenizers(self, states: Sequence[bytes]) -> Tokenizers:
        """The tokenizers of source and target as trained."""
        restored = []
        for state in states[:1] if self.shared_vocabulary else states:
            tokenizer = build(Tokenizer, self.tokenizer.specification())
            tokenizer.restore(state)
            restored.append(tokenizer)
        return Tokenizers(restored[0], restored[-1])

    def _train(self, texts: Sequence[str]) -> Tokenizer:
        tokenizer = build(Tokenizer, self.tokenizer.specification())
        tokenizer.train(texts)
        return tokenizer

    def encode(self, texts: Texts, tokenizers: Tokenizers, training: bool = False) -> Split:
        """Ids of all rows. Rows too long for training are left out, sources too long to predict are cut; both said."""
        source = [[*ids, EOS] for ids in tokenizers.source.encode(texts.source)]
        target = [[BOS, *ids, EOS] for ids in tokenizers.target.encode(texts.target)]
        if training:
            fits = [
                len(a) <= self.max_length and len(b) <= self.max_length for a, b in zip(source, target, strict=True)
            ]
            if not all(fits):
                log.warning("left out %d of %d training rows longer than data.max_length", fits.count(False), len(fits))
            keep = [row for row, fit in enumerate(fits) if fit]
            if not keep:
                raise InputError(f"no training row fits into data.max_length {self.max_length}; raise it")
            texts = Texts([texts.source[row] for row in keep], [texts.target[row] for row in keep])
            return Split(texts, Ragged([source[row] for row in keep]), Ragged([target[row] for row in keep]))
        return Split(texts, Ragged(cut(source, self.max_length)), Ragged(target))

    def training_batches(
        self, split: Split, plan: Plan, position: Callable[[], int], rank: int = 0, world_size: int = 1
    ) -> "DataLoader[Batch]":
        """One device's batches, one for each optimiser step; position: optimiser steps taken so far."""
        return self._loader(Training(split), TrainingSampler(plan, position, rank, world_size))

    def evaluation_batches(self, split: Split, rows: int, rank: int = 0, world_size: int = 1) -> "DataLoader[Batch]":
        """One device's share of a split, `rows` at once."""
        return self._loader(Evaluation(split, evaluation_batches(split.source.lengths, rows, rank, world_size)), None)

    def _loader(self, dataset: Dataset[Batch], sampler: TrainingSampler | None) -> "DataLoader[Batch]":
        return DataLoader(dataset, batch_size=None, sampler=sampler, num_workers=self.workers)


def cut(source: list[list[int]], max_length: int) -> list[list[int]]:
    """Sources of at most max_length tokens; what is cut is counted in a warning."""
    long = sum(len(ids) > max_length for ids in source)
    if long:
        log.warning("cut %d of %d sources to data.max_length %d tokens", long, len(source), max_length)
    return [ids if len(ids) <= max_length else [*ids[: max_length - 1], EOS] for ids in source]
