"""Starting from a run: its vocabularies and parameters become those of a new training."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.batching.split import Split
from seq2seq.data.cache import checksum
from seq2seq.data.datamodule import DataModule, restored
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.tasks.token_rows import TokenRows, carry

SHOWN = 5
"""Names of parameters in a message."""


class Record(NamedTuple):
    """What a run has of its parent, for the checkpoint, results.json and the report."""

    checkpoint: str
    sha256: str
    step: int | None
    """The parent's optimiser steps."""
    carried: dict[str, str]
    """Of parameters over another vocabulary: how many rows are the parent's."""
    new: list[str]
    """Parameters that were made anew."""
    left: list[str]
    """Those of the parent that have no place here."""


class Start(NamedTuple):
    """How a training begins with the parameters of another run."""

    run: str
    partly: bool
    new_vocabulary: bool


class Parent:
    """The run that a training starts from."""

    def __init__(self, start: Start) -> None:
        self.start, self.path = start, checkpoint.find(start.run)
        content = checkpoint.read(self.path)
        self.content = checksum(self.path)
        self.task = checkpoint.restore(content, self.path)
        self.trained = checkpoint.trained_rows(content)
        step = content.get("global_step")
        self.step = step if isinstance(step, int) else None

    def vocabularies(self, data: DataModule, texts: Texts) -> Tokenizers:
        """Its own ones, or those that are learnt from the rows of this run where it asks for others."""
        source, target = self.task.tokenizers
        shared = data.shared_vocabulary == (source is target)
        names, pairs = ("data.tokenizer", "data.target_tokenizer"), zip(data.kinds, (source, target), strict=True)
        same = [shared and own.specification() == theirs.specification() for own, theirs in pairs]
        if self.start.new_vocabulary:
            return data.train_tokenizers(texts)
        if all(same):
            return data.restore_tokenizers([source.state, target.state])
        if not self.start.partly:
            what = names[same.index(False)] if shared else "data.shared_vocabulary"
            raise InputError(
                f"{what} is not that of the parent {self.path}; leave it out to have the parent's tokens, or learn "
                "others from these rows with --start_from_new_vocabulary true"
            )
        learnt = data.train_tokenizers(texts)
        theirs = (restored(kind, old.state) if kept else new
                  for kind, old, new, kept in zip(data.kinds, (source, target), learnt, same, strict=True))  # fmt: skip
        return Tokenizers(*theirs) if shared and source is not target else learnt

    def refuse_trained(self, validation: Texts, test: Texts) -> None:
        """Raise InputError for test rows that the parent was trained on; say how many of validation were."""
        if self.trained is None:
            return
        known = self.trained.contents
        if validation.content != known.get("validation"):
            share, rows = self.trained.share(validation.source, validation.target)
            if share > self.trained.allowed("validation"):
                print(
                    f"{len(rows):,} of {len(validation.source):,} validation rows are rows that the parent was trained "
                    "on: the choice of the best checkpoint favours it",
                    file=sys.stderr,
                )
        if test.content == known.get("test") != "":
            return
        share, rows = self.trained.share(test.source, test.target)
        if share > self.trained.allowed("test"):
            raise InputError(
                f"{len(rows):,} of {len(test.source):,} test rows are rows that the parent {self.path} was trained on, "
                f"the first at {test.location(int(rows[0]))}; give others, or split data.path as the parent did "
                "(data.holdout)"
            )

    @torch.no_grad()
    def give(self, task: Task) -> Record:
        """Put its parameters into a fresh task; what has no counterpart stays fresh, where that is allowed."""
        own, given = task.state_dict(), self.task.state_dict()
        tables = self.tables(task)
        carried: dict[str, str] = {}
        new = [name for name in own if name not in given or not self.fits(own[name], given[name], tables.get(name))]
        left = [name for name in given if name not in own]
        self.refuse_other_network([*new, *left], own, given)
        if new or tables:
            task.initialise()  # pre-trained vectors of what is new
        for name in own.keys() - set(new):
            if name in tables:
                carried[name] = f"{carry(own[name], given[name], tables[name])} of {len(own[name])} rows"
            else:
                own[name].copy_(given[name])
        return Record(str(self.path), self.content, self.step, carried, sorted(new), sorted(left))

    def tables(self, task: Task) -> dict[str, tuple[TokenRows, TokenRows]]:
        """What the rows of the task's parameters and of its own stand for; nothing if the vocabularies are equal."""
        pairs = zip(task.tokenizers, self.task.tokenizers, strict=True)
        if all(type(new) is type(old) and new.state == old.state for new, old in pairs):
            return {}
        if not (self.start.partly or self.start.new_vocabulary):
            raise InputError(
                f"the vocabulary of this training is not that of the parent {self.path}; carry over what both have "
                "with --start_from_new_vocabulary true"
            )
        own, given = task.token_rows(), self.task.token_rows()
        return {name: (rows, given[name]) for name, rows in own.items() if name in given and rows != given[name]}

    def fits(self, own: Tensor, given: Tensor, rows: tuple[TokenRows, TokenRows] | None) -> bool:
        """Whether a parameter can be taken over, or the rows of it that both vocabularies have."""
        if rows is None:
            return own.shape == given.shape and own.dtype == given.dtype
        counted = (len(own), len(given)) == (len(rows[0].names), len(rows[1].names))
        alike = rows[0].square or own.shape[1:] == given.shape[1:]
        return self.start.new_vocabulary and counted and alike and own.dtype == given.dtype

    def refuse_other_network(self, names: Sequence[str], own: dict[str, Tensor], given: dict[str, Tensor]) -> None:
        """Raise InputError for parameters that do not fit, unless they may be made anew."""
        if not names or self.start.partly:
            return
        name = names[0]
        here, there = (tuple(state[name].shape) if name in state else "missing" for state in (own, given))
        raise InputError(
            f"the network is not that of the parent {self.path}: {shown([name])} is {here} and was {there}, and "
            f"{len(names) - 1} more differ; leave model.* out to have the parent's, or make these anew with "
            "--start_from_partly true"
        )


def say(record: Record, frozen: Sequence[str]) -> None:
    """One line about what a training starts from."""
    parts = [f"starting from {record.checkpoint}"]
    if record.carried:
        parts.append("rows carried over: " + ", ".join(f"{shown([name])} {of}" for name, of in record.carried.items()))
    if record.new:
        parts.append(f"made anew: {shown(record.new)}")
    if record.left:
        parts.append(f"left out of the parent's: {shown(record.left)}")
    if frozen:
        parts.append(f"frozen: {', '.join(frozen)}")
    print("; ".join(parts), file=sys.stderr)


def say_unknown(train: Split, tokenizers: Tokenizers) -> None:
    """One line about tokens of the training rows that the vocabularies, which are the parent's, lack."""
    found = []
    for side, tokenizer, ids in zip(Tokenizers._fields, tokenizers, (train.source, train.target), strict=True):
        flat = np.asarray(ids.flat)
        count = 0 if tokenizer.width is not None else int(tokenizer.unknown_among(flat).sum())
        if count:
            found.append(f"{count:,} of {len(flat):,} {side} tokens")
    if found:
        print(
            f"unknown to the parent: {' and '.join(found)} of the training rows; "
            "--start_from_new_vocabulary true learns them",
            file=sys.stderr,
        )


def shown(names: Sequence[str]) -> str:
    """Parameters by the names that people see."""
    return ", ".join(name.removeprefix("network.") for name in names)


def read_parent(start: Start, run: Path) -> Parent:
    """The run to start from, which must not be the run itself."""
    parent = Parent(start)
    if run.resolve() in parent.path.resolve().parents:
        raise InputError(f"--start_from {parent.path} is in the run directory itself; choose another --run")
    return parent
