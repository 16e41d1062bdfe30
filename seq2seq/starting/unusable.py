"""What only looks like data for a task: refused with what to do, before a configuration would mislead."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from seq2seq.errors import InputError
from seq2seq.starting.columns import THOUSANDS, Column

FEWEST = 10
"""Rows, from which validation and test can be held out at all."""

BARS = " ||| "
"""What some tools put between two texts of a line."""


def refuse_lines(file: Path, filled: Sequence[str]) -> None:
    """Lines that hold two texts, several labels or words with their tags, whatever else they look like."""
    if sum(line.count(BARS) == 1 for line in filled) > 0.95 * len(filled):
        raise InputError(f"{file}: {BARS.strip()} stands between two texts; put a tab there, e.g. with "
                         r"sed 's/ ||| /\t/'")  # fmt: skip
    several = next((line for line in filled if line.startswith("__label__") and " __label__" in line), None)
    if several is not None:
        raise InputError(f"{file}: several labels on a line ({several[:40]} ...); write JSON lines, "
                         '{"text": ..., "labels": [...]}')  # fmt: skip
    for mark in "/_":
        words = [word for line in filled for word in line.split()]
        tags = Counter(word.rpartition(mark)[2] for word in words if re.fullmatch(rf".+{mark}[A-Z][\w.$-]*", word))
        if len(filled) > 1 and tags.total() > 0.9 * len(words) and len(tags) <= max(60, len(words) // 20):
            raise InputError(f"{file}: words have tags behind {mark} ({words[0]}); write a word and its tag on each "
                             rf"line, e.g. with sed 's/$/\n/; s/ /\n/g' | sed 's,\(.*\){mark},\1\t,'")  # fmt: skip


def refuse_token_rows(file: Path, columns: Sequence[Column]) -> None:
    """A table whose rows are the tokens of sentences, which a column tells."""
    marks = [one for one in columns if not one.dated and tells_sentences(one)]
    single = [one for one in columns if not (one.lists or one.numeric or one.dated) and 0.95 < one.words < 1.05]
    single = sorted((one for one in single if one not in marks), key=lambda one: len(one.counts))
    if marks and single and any(one.few for one in columns if one not in (single[-1], *marks)):
        raise InputError(f"{file}: each row is a token of a sentence ({marks[0]}); write a token, a tab and its label "
                         "on each line, an empty line after each sentence, into a file ending in .conll")  # fmt: skip


def tells_sentences(column: Column) -> bool:
    """Whether it numbers a sentence at its first token only, or at each of its tokens."""
    filled = [text for text in column.texts if text.strip()]
    if not all(any(map(str.isdigit, text)) for text in filled):  # words have forms one below the other, too
        return False
    if len(filled) < len(column.texts):
        return 3 <= len(filled) == len(set(filled)) and 3 * len(filled) <= len(column.texts)
    runs = 1 + sum(one != other for one, other in pairwise(filled))
    return 3 <= runs == len(column.counts) and 3 * runs <= len(filled)


def refuse_numbers(file: Path, columns: Sequence[Column]) -> None:
    """Numbers that are written so that they are read as text."""
    for one in columns:
        if not one.numeric and one.all_match(THOUSANDS):
            raise InputError(f"{file}: {one} holds numbers with commas between thousands ({max(one.texts, key=len)}); "
                             "write them without")  # fmt: skip


def refuse_few(file: Path, rows: int, splits: int) -> None:
    """So few rows that none can be held out."""
    if rows < FEWEST and splits < 3:
        raise InputError(f"{file}: {rows} rows, too few to hold some out; give {FEWEST} or more, or files called "
                         "train, validation and test")  # fmt: skip


def refuse_target(file: Path, target: Column, label: bool) -> None:
    """A target with empty values or, where it is not a label, real numbers, which no task predicts from a text."""
    empty = sum(not text.strip() for text in target.texts)
    if label and empty:
        raise InputError(f"{file}: {empty:,} of {len(target.texts):,} rows have no {target}; fill or remove them")
    if not label and target.numeric and any("." in text for text in target.texts):
        raise InputError(f"{file}: {target} holds numbers, and no task predicts a number from a text; write classes, "
                         "or choose another column with --target NAME")  # fmt: skip
