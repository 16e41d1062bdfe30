"""Which rows a run was trained on, and how its splits were made: no row once trained on is ever scored as test.

A checkpoint keeps a 32-bit checksum of each training row. Rows of another split may equal training rows by nature, as
"Thank you." does in every split of many corpora, so a split is refused for more of them than the run's own had.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from seq2seq.data.rows import CHUNK, Texts
from seq2seq.errors import InputError

KEPT = 1 << 22
"""Checksums at most, the smallest ones; of larger corpora only the rows whose checksum is as small are compared."""

NATURAL = 0.01
"""The share of a split's text that may equal training rows in any corpus."""


class TrainedRows(NamedTuple):
    """What a checkpoint remembers of the rows that it was trained on."""

    sums: np.ndarray
    """(N,) checksums of the training rows, each once, in order; 32 bits without sign."""
    low: float
    """The training rows are those whose source has this hash or a larger one, as a share of all hashes."""
    high: float
    """Those with this hash or a larger one are no training rows."""
    contents: Mapping[str, str]
    """Checksums of the validation and test rows of this training."""
    natural: Mapping[str, float]
    """The share of their text that is training rows as well."""

    def add(self, sums: np.ndarray) -> "TrainedRows":
        """The same with more training rows."""
        return self._replace(sums=np.union1d(self.sums, sums)[:KEPT])

    def before(self, earlier: "TrainedRows") -> "TrainedRows":
        """These rows and those that an earlier part of the training has seen."""
        low, high = min(self.low, earlier.low), max(self.high, earlier.high)
        return self.add(earlier.sums)._replace(low=low, high=high)

    def among(self, sums: np.ndarray) -> np.ndarray:
        """Which of some rows (n,) were trained on."""
        return np.isin(sums, self.sums)

    def share(self, sources: Sequence[str], targets: Sequence[str]) -> tuple[float, np.ndarray]:
        """The share of the text of some rows that was trained on, and which rows those are."""
        sums = row_sums(sources, targets)
        lengths = np.array([len(one) + len(other) + 1 for one, other in zip(sources, targets, strict=True)])
        if len(self.sums) == KEPT:
            lengths[sums > self.sums[-1]] = 0  # nothing is known of these
        seen = self.among(sums)
        return float(lengths[seen].sum() / max(1, lengths.sum())), np.flatnonzero(seen)

    def allowed(self, split: str) -> float:
        """The share of a split's text that may equal training rows."""
        natural = self.natural.get(split, 0.0)
        return max(NATURAL, min(2 * natural, (1 + natural) / 2))

    def refuse_held_out(self, split: str, low: float, high: float, path: str | None) -> None:
        """Raise InputError for a split held out of training rows that were trained on; low, high: of their hashes."""
        if max(self.low, low) >= min(self.high, high):
            return
        raise InputError(
            f"there is no {split} split in data.path {path}, and some training rows that data.holdout would take for "
            f"it were trained on in this run; bring the {split} file back, name it with data.corpus.files, or set "
            "data.holdout as it was"
        )

    def refuse(self, split: str, texts: Texts) -> int:
        """Raise InputError for rows of a split that were trained on; how many are, where they are so by nature."""
        if texts.content and texts.content == self.contents.get(split):
            return 0
        share, rows = self.share(texts.source, texts.target)
        if share > self.allowed(split):
            raise InputError(
                f"{len(rows):,} of {len(texts.source):,} rows of the {split} split are rows that this run was trained "
                f"on, the first at {texts.location(int(rows[0]))}; give rows that it has not seen, or score them as "
                "what they are with --split train"
            )
        return len(rows)

    @property
    def described(self) -> dict[str, Any]:
        """All but the checksums, as plain values."""
        return {name: value for name, value in self._asdict().items() if name != "sums"}


def trained_rows(low: float, high: float, train: Texts, others: Mapping[str, Texts]) -> TrainedRows:
    """The record of a training that begins; others: its validation and test rows."""
    sums = np.unique(row_sums(train.source, train.target))[:KEPT]
    contents = {name: texts.content for name, texts in others.items()}
    record = TrainedRows(sums, low, high, contents, {})
    natural = {name: record.share(texts.source, texts.target)[0] for name, texts in others.items()}
    return record._replace(natural=natural)


def row_sums(sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """(rows,) a checksum of each row, 32 bits without sign, the same in every process."""
    pairs, parts = zip(sources, targets, strict=True), [np.empty(0, np.uint32)]
    while chunk := list(islice(pairs, CHUNK)):
        texts = (f"{source}\0{target}".encode("utf-8", "surrogatepass") for source, target in chunk)
        parts.append(np.fromiter(map(crc32, texts), np.uint32, len(chunk)))
    return np.concatenate(parts)


def restored(described: Any, sums: np.ndarray) -> TrainedRows:
    """What `described` and the checksums were made of; InputError where they are damaged."""
    try:
        low, high = float(described["low"]), float(described["high"])
        contents = {str(name): str(value) for name, value in described["contents"].items()}
        natural = {str(name): float(value) for name, value in described["natural"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise InputError(f"the checkpoint's record of its training rows is damaged: {problem!r}") from problem
    return TrainedRows(sums, low, high, contents, natural)
