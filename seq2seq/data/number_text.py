"""Sequences of real vectors: audio features, rows of pixels, readings of sensors, values of a time series.

A row's text holds them too: steps separated by tabs, the numbers of a step by spaces. So vectors come through every
reader, are held out by hash, kept, shown and predicted from a line of standard input like any other text. Numbers are
written with as many digits as tell them apart in 32 bits, or in 64 bits where 32 do not hold them.

Covariates of a series stand behind a bar: `12 | 3 1` is a step of one number of the series and two of others. The last
steps may lack the series: `| 1` holds what is known of the future, the last numbers of a step.
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from seq2seq.errors import InputError

STEP, NUMBER = "\t", " "
"""What separates the steps of a text, and the numbers of a step."""

BAR = "|"
"""What separates the numbers of a series from those of its covariates."""

SHOWN = 8
"""How many numbers of a text people see."""

DIGITS = 6
"""Decimal places of a predicted number, counted in the largest power of ten that is not above the deviation."""

LARGEST = -3.4e38, 3.4e38
"""What 32 bits hold."""


def parsed(text: str, width: int | None) -> np.ndarray:
    """The vectors (steps, width) of a text; width: how many numbers each must have, None for any.

    Raises InputError for what is not a number, for NaN and infinity, for steps of different widths and an empty text.
    """
    words = text.split()
    if not words:
        raise InputError("there are no numbers where a sequence of vectors is expected; fill or drop the row")
    steps = text.split(STEP)
    width = width or len(steps[0].split())
    try:
        if "_" in text:  # Python reads 1_003 as 1003
            raise ValueError("a number holds no underscore")
        flat = np.array(words, dtype=np.float64)
    except ValueError as problem:
        raise InputError(f"{first_wrong(steps)}; separate numbers by spaces, steps by tabs") from problem
    counts = [len(step.split()) for step in steps]
    if any(count != width for count in counts):
        step, count = next((step, count) for step, count in enumerate(counts, 1) if count != width)
        raise unequal(step, count, width)
    if not np.isfinite(flat).all():
        raise infinite(flat.reshape(len(steps), -1))
    return flat.reshape(-1, width)


class StepParts(NamedTuple):
    """How many numbers of a step are what, in this order; and of how many steps to come the future ones are known."""

    series: int
    past: int
    """Covariates that are known up to now."""
    future: int
    """Covariates that are known in advance."""
    ahead: int
    """Steps at the end of a text that hold these alone."""

    def expected(self) -> str:
        """What a text must look like."""
        after = self.past + self.future
        return (
            f"{self.series} number{'s' * (self.series != 1)}, {BAR} and {after} covariate{'s' * (after != 1)}"
            + f", and at the end {self.ahead} steps of {BAR} and {self.future}" * bool(self.ahead)
        )


def parsed_parts(text: str, parts: StepParts | None) -> tuple[np.ndarray, StepParts]:
    """The vectors (steps, width) of a text with covariates, NaN for what a step to come lacks, and their parts.

    parts: those that it must have; None for any. Raises InputError as `parsed` does.
    """
    steps = [step.split(BAR) for step in text.split(STEP)]
    wrong = next((number for number, step in enumerate(steps, 1) if len(step) != 2), None)
    if wrong is not None:
        raise InputError(
            f"step {wrong} has {len(steps[wrong - 1]) - 1} {BAR} where one is expected; write the numbers of the "
            f"series before it and those of the covariates after it"
        )
    series, others = ([step[side].split() for step in steps] for side in (0, 1))
    ahead = next((count for count, words in enumerate(reversed(series)) if words), len(steps))
    known, future = len(steps) - ahead, len(others[-1]) if ahead else 0
    if parts is None and known:
        parts = StepParts(len(series[0]), len(others[0]) - future, future, ahead)
    if parts is None or not known or ahead != parts.ahead or min(parts) < 0 or (ahead and not future):
        expected = "steps of the series first" if parts is None else f"steps of {parts.expected()}"
        raise InputError(f"{known} steps of the series and {ahead} without it, where {expected} are expected")
    for number, counts in enumerate(zip(map(len, series), map(len, others), strict=True), 1):
        wanted = (parts.series, parts.past + parts.future) if number <= known else (0, parts.future)
        if counts != wanted:
            raise InputError(
                f"step {number} has {counts[0]} number{'s' * (counts[0] != 1)} before the {BAR} and {counts[1]} after "
                f"it, where {wanted[0]} and {wanted[1]} are expected; every step needs as many"
            )
    unknown = ["0"] * (parts.series + parts.past)
    words = [own + other if own else unknown + other for own, other in zip(series, others, strict=True)]
    values = parsed(STEP.join(map(NUMBER.join, words)), None)
    values[known:, : len(unknown)] = np.nan
    return values, parts


def unequal(step: int, count: int, width: int) -> InputError:
    """A step of another width than the others; step counts from 1."""
    return InputError(
        f"step {step} has {count} number{'s' * (count != 1)} where {width} {'are' if width != 1 else 'is'} expected; "
        "every step needs as many"
    )


def infinite(values: np.ndarray) -> InputError:
    """Some of the vectors (steps, width) are not finite."""
    step = int(np.flatnonzero(~np.isfinite(values).all(1))[0]) + 1
    return InputError(f"step {step} holds a value that is not finite (NaN or infinity); fix or drop the row")


def first_wrong(steps: Sequence[str]) -> str:
    """What is not a number, and where."""
    for number, step in enumerate(steps, 1):
        for word in step.split():
            try:
                float(word.replace("_", "?"))
            except ValueError:
                return f"step {number} holds {word!r}, which is not a number"
    return "the text holds what is not a number"


def text_of_array(values: np.ndarray) -> str:
    """Steps (T,), (T, D) or (T, ...) of whole or real numbers as text, from which the same numbers are read."""
    if values.dtype.kind not in "iuf" or not values.ndim:
        raise InputError(f"{values.dtype} of shape {values.shape} is not a sequence of numbers; write numbers")
    if not values.size:
        raise InputError("there are no numbers where a sequence of vectors is expected; fill or drop the row")
    steps = values.reshape(len(values), -1)
    if not np.isfinite(steps).all():
        raise infinite(steps)
    if steps.dtype.kind == "f":
        steps = steps.astype(np.float64)
        narrow = np.clip(steps, *LARGEST).astype(np.float32)
        steps = narrow if (narrow == steps).all() else steps
    return written(steps)


def text_of_list(values: Sequence[object]) -> str | None:
    """Numbers, or lists of numbers (of lists ...), one for each step, as text; None where there are texts, or none."""
    steps = [flattened(step) for step in values]
    kinds = {type(item) for step in steps for item in step}
    if str in kinds or not kinds & {int, float}:
        return None
    for number, step in enumerate(steps, 1):
        if len(step) != len(steps[0]):
            raise unequal(number, len(step), len(steps[0]))
        for item in step:
            if type(item) not in (int, float):
                raise InputError(f"step {number} holds {item!r}, which is not a number; fix or drop the row")
    try:
        return text_of_array(np.array(steps, dtype=np.float64))
    except OverflowError as problem:
        raise InputError(f"a number is too large ({problem}); fix or drop the row") from problem


def flattened(step: object) -> list[object]:
    """A number as a list of one, a list of lists as one list."""
    inner = step if isinstance(step, list) else [step]
    while any(isinstance(item, list) for item in inner):
        inner = list(chain.from_iterable(item if isinstance(item, list) else [item] for item in inner))
    return inner


def written(values: np.ndarray) -> str:
    """Vectors (steps, width) as text, with the fewest digits that tell each number from all others of its kind."""
    if values.dtype.kind == "f" and (values == np.trunc(values)).all() and np.abs(values).max() < 1 << 53:
        values = values.astype(np.int64)
    return STEP.join(map(NUMBER.join, values.astype(str).tolist()))
