"""Vectors as text: steps between tabs, the numbers of a step between spaces."""

import numpy as np

from seq2seq_runtime.problems import RequestError

DIGITS = 6
"""Decimal places of a predicted number, counted in the largest power of ten that is not above the deviation."""


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
