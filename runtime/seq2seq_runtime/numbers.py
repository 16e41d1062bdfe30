"""Vectors as text: steps between tabs, the numbers of a step between spaces, covariates behind a bar."""

from typing import NamedTuple

import numpy as np

from seq2seq_runtime.problems import RequestError

DIGITS = 6
"""Decimal places of a predicted number, counted in the largest power of ten that is not above the deviation."""

BAR = "|"
"""What separates the numbers of a series from those of its covariates."""


class StepParts(NamedTuple):
    """How many numbers of a step are what, in this order; and of how many steps to come the future ones are known."""

    series: int
    past: int
    future: int
    ahead: int


def parsed(text: str, width: int) -> np.ndarray:
    """The vectors (steps, width) of a text."""
    steps = [step.split() for step in text.split("\t")]
    for number, step in enumerate(steps, 1):
        if len(step) != width:
            raise RequestError(f"step {number} has {len(step)} numbers, and {width} are expected in every step")
    try:
        values = np.array(steps, dtype=np.float64)
    except ValueError as problem:
        raise RequestError(f"it holds what is no number ({problem}); spaces separate numbers, tabs steps") from problem
    if not np.isfinite(values).all():
        raise RequestError("it holds a value that is not finite (NaN or infinity)")
    return values


def parsed_parts(text: str, parts: StepParts) -> np.ndarray:
    """The vectors (steps, width) of a text with covariates, NaN for what a step to come lacks."""
    steps = [step.split(BAR) for step in text.split("\t")]
    known, after = len(steps) - parts.ahead, parts.past + parts.future
    if known < 1:
        raise RequestError(
            f"it has {len(steps)} steps, and {parts.ahead} to come are expected after those of the series"
        )
    words: list[str] = []
    for number, step in enumerate(steps, 1):
        series, others = ([*side.split()] for side in step) if len(step) == 2 else ([], [])
        wanted = (parts.series, after) if number <= known else (0, parts.future)
        if len(step) != 2 or (len(series), len(others)) != wanted:
            raise RequestError(
                f"step {number} must have {wanted[0]} numbers, one {BAR} and {wanted[1]} more, as {known} steps of the "
                f"series and {parts.ahead} to come have them"
            )
        words.append(" ".join(series + ["0"] * (parts.series + parts.past) + others if not series else series + others))
    values = parsed("\t".join(words), parts.series + after)
    values[known:, : parts.series + parts.past] = np.nan
    return values


def rounded(values: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Numbers without the digits that 32 bits do not hold."""
    units = 10.0 ** np.maximum(DIGITS - np.floor(np.log10(deviation)), 0)
    result: np.ndarray = np.round(values * units) / units + 0.0  # no minus before a zero
    return result


def written(values: np.ndarray) -> str:
    """Vectors (steps, width) as text, with the fewest digits that tell each number from all others."""
    if (values == np.trunc(values)).all() and np.abs(values).max(initial=0) < 1 << 53:
        values = values.astype(np.int64)
    return "\t".join(map(" ".join, values.astype(str).tolist()))
