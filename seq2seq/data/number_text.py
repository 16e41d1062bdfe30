"""Sequences of real vectors: audio features, rows of pixels, readings of sensors, values of a time series.

A row's text holds them too: steps between tabs, the numbers of a step between blanks. So vectors come through every
reader, are held out by hash, kept, shown and predicted from a line of standard input like any other text. Numbers are
written with as many digits as tell them apart in 32 bits, or in 64 bits where 32 do not hold them.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from seq2seq.errors import InputError

STEP, NUMBER = "\t", " "
"""What stands between the steps of a text, and between the numbers of a step."""

SHOWN = 8
"""How many numbers of a text people see."""

DIGITS = 6
"""Decimal places of a predicted number, counted in the largest power of ten that is not above the deviation."""

LARGEST = -3.4e38, 3.4e38
"""What 32 bits hold."""


def parsed(text: str, width: int | None) -> np.ndarray:
    """The vectors (steps, width) of a text; width: how many numbers each must have, None for any.

    Raises InputError for what is no number, for NaN and infinity, for steps of different widths and where nothing is.
    """
    words = text.split()
    if not words:
        raise InputError("there are no numbers where a sequence of vectors is expected; fill or drop the row")
    steps = text.split(STEP)
    width = width or len(steps[0].split())
    try:
        flat = np.array(words, dtype=np.float64)
    except ValueError as problem:
        raise InputError(f"{first_wrong(steps)}; a step holds numbers between blanks, tabs divide steps") from problem
    counts = [len(step.split()) for step in steps]
    if any(count != width for count in counts):
        place, count = next((place, count) for place, count in enumerate(counts, 1) if count != width)
        raise unequal(place, count, width)
    if not np.isfinite(flat).all():
        raise infinite(flat.reshape(len(steps), -1))
    return flat.reshape(-1, width)


def unequal(place: int, count: int, width: int) -> InputError:
    """A step of another width than the others; place counts from 1."""
    return InputError(
        f"step {place} has {count} number{'s' * (count != 1)} where {width} {'are' if width != 1 else 'is'} expected; "
        "every step needs as many"
    )


def infinite(values: np.ndarray) -> InputError:
    """Some of the vectors (steps, width) are not finite."""
    place = int(np.flatnonzero(~np.isfinite(values).all(1))[0]) + 1
    return InputError(f"step {place} holds a value that is not finite (NaN or infinity); mend or drop the row")


def first_wrong(steps: Sequence[str]) -> str:
    """What is no number, and where."""
    for place, step in enumerate(steps, 1):
        for word in step.split():
            try:
                float(word)
            except ValueError:
                return f"step {place} holds {word!r}, which is no number"
    return "the text holds what is no number"


def text_of_array(values: np.ndarray) -> str:
    """Steps (T,), (T, D) or (T, ...) of whole or real numbers as text, from which the same numbers are read."""
    if values.dtype.kind not in "iuf" or not values.ndim:
        raise InputError(f"{values.dtype} of shape {values.shape} is no sequence of numbers; write integers or floats")
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
    kinds = {type(one) for step in steps for one in step}
    if str in kinds or not kinds & {int, float}:
        return None
    for place, step in enumerate(steps, 1):
        if len(step) != len(steps[0]):
            raise unequal(place, len(step), len(steps[0]))
        for one in step:
            if type(one) not in (int, float):
                raise InputError(f"step {place} holds {one!r}, which is no number; mend or drop the row")
    try:
        return text_of_array(np.array(steps, dtype=np.float64))
    except OverflowError as problem:
        raise InputError(f"a number is too large ({problem}); mend or drop the row") from problem


def flattened(step: object) -> list[object]:
    """A number as a list of one, a list of lists as one list."""
    inner = step if isinstance(step, list) else [step]
    while any(isinstance(one, list) for one in inner):
        inner = list(chain.from_iterable(one if isinstance(one, list) else [one] for one in inner))
    return inner


def written(values: np.ndarray) -> str:
    """Vectors (steps, width) as text, with the fewest digits that tell each number from all others of its kind."""
    if values.dtype.kind == "f" and (values == np.trunc(values)).all() and np.abs(values).max() < 1 << 53:
        values = values.astype(np.int64)
    return STEP.join(map(NUMBER.join, values.astype(str).tolist()))
