"""Several corpora in one."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.data.corpora.corpus import Corpus, SplitSelection
from seq2seq.data.lines import JOINER
from seq2seq.data.rows import Row
from seq2seq.errors import InputError


class Mixture(Corpus):
    """Several corpora in one, each as much of an epoch as its weight says."""

    def __init__(
        self,
        corpora: list[Corpus],
        shares: list[float] | None = None,
        temperature: float = 1.0,
        names: list[str] | None = None,
    ) -> None:
        """corpora: any, all of the folder data.path. shares: how much of the training each one is, in proportion.

        temperature: without shares, proportional to rows ** (1 / temperature): 1 for as many as there are, more for
        more of the small ones (Arivazhagan et al. 2019, sec. 4.2). names: put before each source of a corpus, with a
        tab, such as its language.
        """
        if not corpora:
            raise InputError("data.corpus.corpora is empty; name at least one corpus")
        for name, values in (("shares", shares), ("names", names)):
            if values is not None and len(values) != len(corpora):
                raise InputError(f"data.corpus.{name} has {len(values)} entries for {len(corpora)} corpora")
        if shares is not None and not min(shares) > 0:
            raise InputError(f"data.corpus.shares is {shares}; each must be above 0")
        if not temperature > 0:
            raise InputError(f"data.corpus.temperature is {temperature}; it must be above 0")
        self.corpora, self.shares, self.temperature, self.names = corpora, shares, temperature, names

    def has(self, split: str, path: str | None) -> bool:
        return all(corpus.has(split, path) for corpus in self.corpora)

    def of_one_file(self) -> Corpus | None:
        raise InputError(
            "data.path is a file, but a Mixture is of several corpora; give a folder, or the data.corpus of that file"
        )

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        return self.selected_rows(SplitSelection(split), path)

    def selected_rows(self, wanted: SplitSelection, path: str | None) -> Iterator[Row]:
        for number, corpus in enumerate(self.corpora):
            prefix = "" if self.names is None else self.names[number] + JOINER
            for row in corpus.selected_rows(wanted, path):  # a source is held out for all names
                yield row._replace(source=prefix + row.source, corpus=number)

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        each = [corpus.stored(split, path) for corpus in self.corpora]
        return None if any(files is None for files in each) else [file for files in each for file in files or ()]

    def streamed(self, wanted: SplitSelection, path: str | None, order: Sequence[int]) -> Any:
        import datasets

        if self.shares is None and len(self.corpora) > 1:
            raise InputError("a mixture that is streamed needs data.corpus.shares: its rows have not been counted")
        parts = [corpus.streamed(wanted, path, order) for corpus in self.corpora]
        if self.names is not None:
            prefixes = [{"prefix": name + JOINER} for name in self.names]
            parts = [part.map(with_prefix, fn_kwargs=prefix) for part, prefix in zip(parts, prefixes, strict=True)]
        shares = self.proportions([1] * len(parts))
        seed = int(np.random.SeedSequence(list(order)).generate_state(1)[0])
        return datasets.interleave_datasets(parts, shares, seed=seed, stopping_strategy="all_exhausted")

    def proportions(self, rows: Sequence[int]) -> list[float] | None:
        wanted = [count ** (1 / self.temperature) for count in rows]
        if self.shares is not None:
            wanted = [share if count else 0.0 for share, count in zip(self.shares, rows, strict=False)]
        return [weight / sum(wanted) for weight in wanted]


def with_prefix(row: dict[str, str], prefix: str) -> dict[str, str]:
    """A row whose source begins with `prefix`."""
    return {"source": prefix + row["source"], "target": row["target"]}
