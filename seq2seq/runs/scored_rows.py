"""Which rows a command scores, and that none of them was trained on."""

import contextlib
import sys
from pathlib import Path
from typing import Any

from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.data.trained_rows import TrainedRows, trained_rows
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint


def refuse_trained(trained: TrainedRows | None, data: DataModule, split: str, texts: Texts) -> None:
    """Raise InputError for rows of a split that were trained on; nothing is refused without a record of them."""
    if trained is None or trained.contents.get(split) == texts.content != "":
        return
    wanted = data.selection(split)
    if wanted.split != split:
        trained.refuse_held_out(split, wanted.low, wanted.high, data.path)
    say_natural(trained.refuse(split, texts), len(texts.source), split)


def say_natural(rows: int, count: int, split: str) -> None:
    """Say that some rows were trained on, as few as may be so by nature."""
    if rows:
        print(f"{rows:,} of {count:,} rows of the {split} split are training rows too", file=sys.stderr)


def rows_to_score(data: DataModule, split: str, trained: TrainedRows | None, asked_for: bool) -> Texts:
    """The rows of a split, none of them trained on unless it is train.

    asked_for: whether data.path was given to be scored. A file is then the whole split, unless this run held the split
    out of that very file.
    """
    if not asked_for or data.path is None or not Path(data.path).is_file():
        texts = data.texts(split)
        if split != "train":
            refuse_trained(trained, data, split, texts)
        return texts
    if trained is not None and split != "train":
        held_out = held_out_rows(data, split)
        if held_out is not None and held_out.content == trained.contents.get(split):
            return held_out
    texts = data.whole_file(split)
    if trained is not None and split != "train":
        say_natural(trained.refuse(split, texts), len(texts.source), split)
    return texts


def held_out_rows(data: DataModule, split: str) -> Texts | None:
    """The rows of a split of one file that has all of them; None where it has none."""
    try:
        return data.texts(split)
    except InputError:
        return None


def trained_on(content: dict[str, Any], path: Path, split: str) -> TrainedRows | None:
    """Which rows a checkpoint was trained on.

    An older one kept their checksum only, so they are read again; None, and a line, where others are in their place.
    """
    trained = checkpoint.trained_rows(content)
    if trained is not None or split == "train":
        return trained
    data, train = checkpoint.data_of(content, path), None
    known = checkpoint.stored(content, "content")
    with contextlib.suppress(InputError):
        train = data.texts("train")
    if train is None or not known or train.content != known:
        say_unknown(path, split)
        return None
    selected = data.selection("train")
    return trained_rows(selected.low, selected.high, train, {})


def say_unknown(path: Path, split: str) -> None:
    """Say that nothing tells which rows a checkpoint was trained on."""
    print(
        f"{path} is of a version that kept no record of its training rows, and they are not to be found: rows of the "
        f"{split} split that it was trained on would not be noticed",
        file=sys.stderr,
    )
