"""Does a program without this project make the same ids and texts? `seq2seq_runtime` is such a program."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from seq2seq.data.batching.split import Split
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.tasks.base import Task
from seq2seq.tasks.forecasting import MEDIAN
from seq2seq_runtime import description, tokenizers
from seq2seq_runtime.description import TokenizerState
from seq2seq_runtime.problems import FileError, RequestError
from seq2seq_runtime.tokenizers import Tokenizer, Vectors


def compare(task: Task, entry: str, split: Split, best: Sequence[tuple[int, Hypothesis]]) -> str:
    """One line about the texts of rows; InputError where they are read or written otherwise.

    entry: what the file says of itself; best: predictions of rows of the split. A tokenizer of somebody's own is left
    out: whoever reads such a file brings it along.
    """
    try:
        of = description.read(entry)
        states = [one for one in (of.source, of.target) if one is not None]
        own = [kind for one in states for kind in kinds(one) if kind not in tokenizers.KINDS]
        if own:
            return f"texts: seq2seq_runtime does not know the tokenizer {own[0]}; give it ids"
        source, target = (None if one is None else tokenizers.made(one) for one in (of.source, of.target))
    except FileError as problem:
        raise InputError(f"nothing was written: the file would say what cannot be read: {problem}") from problem
    if source is not None:
        refuse((row for row, _ in best if not same_ids(source, split, row)), "read the source")
    if target is not None:
        refuse((row for row, one in best if written(target, one) != task.text(one)), "write the prediction")
    return f"texts: {len(best):,} of {len(best):,} rows are read and written alike by seq2seq_runtime"


def kinds(of: TokenizerState) -> Iterator[str]:
    """The classes of a tokenizer and of those inside it."""
    yield of.kind
    todo: list[Any] = [of.settings.values]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            if "class_path" in value:
                yield value["class_path"]
            todo += value.values()
        elif isinstance(value, list):
            todo += value


def same_ids(tokenizer: Tokenizer, split: Split, row: int) -> bool:
    """Whether the source of a row becomes the ids, or the vectors, that the network reads."""
    ours = np.asarray(split.source.flat[split.source.starts[row] : split.source.starts[row + 1]])
    try:
        if isinstance(tokenizer, Vectors):
            return np.array_equal(ours, tokenizer.vectors(split.texts.source[row]))
        return bool(ours.tolist() == tokenizer.encode(split.texts.source[row]))
    except RequestError:
        return False


def written(tokenizer: Tokenizer, one: Hypothesis) -> str:
    """A prediction as text."""
    if isinstance(tokenizer, Vectors) and one.values is not None:
        return tokenizer.numbers(np.array(one.values[f"{MEDIAN:g}"]))
    return tokenizer.decode(one.tokens)


def refuse(rows: Iterable[int], what: str) -> None:
    """Raise InputError if there is a row."""
    for row in rows:
        raise InputError(f"nothing was written: seq2seq_runtime would {what} of row {row} otherwise than this project")
