"""Limits on the length of predictions: what training targets need, what settings say, and which rows are cut."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.batching.batch import RowFormat
from seq2seq.data.batching.split import Split
from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.decoding.length_bound import HEAD_ROOM, LengthBound, learn
from seq2seq.tasks.decoding_options import Decoding

DRAWN = 2.0
"""The head room where training draws its segmentations, which are longer than the best one."""

LONGEST = 200
"""Tokens of a text without a source, its end not counted, in runs that have learnt no bound."""


def learnt(split: Split, target: Tokenizer) -> LengthBound | None:
    """What all training targets need, by their source as the network sees it; None where no end token ends them.

    Only rows that are trained on count; lines of running text up to data.max_length.
    """
    row_format = split.row_format
    if not row_format.target_ends:
        return None
    kept = np.ones(len(split), dtype=bool) if row_format.consecutive else split.fits()
    sources, targets = split.source_lengths()[kept], with_end(split)[kept]
    if row_format.conditions:
        sources = np.zeros_like(sources)
    return learn(sources, np.minimum(targets, split.longest), DRAWN if target.samples else HEAD_ROOM)


def limits(source_lengths: Tensor, row_format: RowFormat, bound: LengthBound | None, decoding: Decoding) -> Tensor:
    """(B,) source tokens, on the CPU, to (B,) the most target tokens, the end included.

    From a condition nothing follows for the length of a text.
    """
    if row_format.conditions:
        bound = bound or LengthBound(0.0, LONGEST + 1)
        return replace(decoding, max_length_ratio=None).limits(torch.zeros_like(source_lengths), bound)
    return decoding.limits(source_lengths, bound)


def in_words(row_format: RowFormat, bound: LengthBound | None, decoding: Decoding) -> str:
    """What `limits` follows, and where that comes from."""
    if not row_format.conditions:
        return decoding.limit_in_words(bound)
    if decoding.max_length is None and bound is None:
        return f"{LONGEST} tokens"
    return replace(decoding, max_length_ratio=None).limit_in_words(bound)


def with_end(split: Split) -> np.ndarray:
    """(rows,) tokens of each target with its end, as limits count them."""
    lengths: np.ndarray = split.target_lengths() - 1
    return lengths


def longer(split: Split, bound: LengthBound | None, decoding: Decoding) -> np.ndarray:
    """(rows,) whether a reference is longer than predictions may be; false for all where no end token ends them."""
    if not split.row_format.target_ends:
        return np.zeros(len(split), dtype=bool)
    sources = torch.from_numpy(split.source_lengths().astype(np.int64))
    cut: np.ndarray = with_end(split) > limits(sources, split.row_format, bound, decoding).numpy()
    return cut


def remedy(decoding: Decoding) -> str:
    """The setting that would lengthen predictions."""
    names = [name for name in ("max_length_ratio", "max_length") if getattr(decoding, name) is not None]
    if not names:
        return "set decoding.max_length to a larger number"
    return f"raise decoding.{' and decoding.'.join(names)}, or set to null for what the training targets need"
