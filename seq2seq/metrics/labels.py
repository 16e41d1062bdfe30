"""The labels of a row: its text, split."""

from collections.abc import Sequence
from typing import NamedTuple

from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction

DIVIDER = "￨"
"""Between the columns of a label, NOUN￨NN￨Number=Sing."""


CLASS_MARK = "\N{DOUBLE VERTICAL LINE}"
"""Between the class of a sentence and the labels of its tokens, where a row has both."""


class RowLabels(NamedTuple):
    """The labels of a row."""

    predicted: Sequence[str]
    reference: Sequence[str]


def labels_of(row: Prediction, separator: str | None) -> RowLabels:
    """Both texts, split at `separator`; None means tabs where the reference has one, else whitespace.

    A class of the sentence is not among them.
    """
    texts = [text.rpartition(CLASS_MARK)[2].removeprefix(" ") for text in (row.prediction, row.reference)]
    mark = separator or ("\t" if "\t" in texts[1] else None)
    return RowLabels(*(tuple(label for label in text.split(mark) if label) for text in texts))


def classes_of(row: Prediction) -> RowLabels:
    """The class of the sentence on both sides; nothing where there is none."""
    sides = (text.partition(CLASS_MARK) for text in (row.prediction, row.reference))
    return RowLabels(*([name.strip()] if mark else [] for name, mark, _ in sides))


def in_column(labels: RowLabels, column: int, row: int) -> RowLabels:
    """One column of labels, counted from 1; a prediction that lacks it has an empty label."""
    columns = [[label.split(DIVIDER) for label in side] for side in labels]
    for label, parts in zip(labels.reference, columns[1], strict=True):
        if len(parts) < column:
            raise InputError(
                f"row {row}: the label {label!r} has {len(parts)} column{'s' * (len(parts) != 1)} between {DIVIDER}, "
                f"but column is {column}; choose a column from 1 to {len(parts)}, or null for whole labels"
            )
    return RowLabels(*([parts[column - 1] if len(parts) >= column else "" for parts in side] for side in columns))


def described(separator: str | None) -> str:
    """For a signature."""
    return "separator:" + ("tab-or-blank" if separator is None else repr(separator)[1:-1])


def check_separator(separator: str | None) -> None:
    """Refuse an empty separator."""
    if separator == "":
        raise InputError("separator is empty; give the character between labels, or null for tabs or whitespace")
