"""What a search adds to the probabilities of the frames for what a hypothesis writes: a language model, a word list."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

Prefix = tuple[int, ...]
"""The classes that have been written so far; 0, the blank, is none of them."""


class Guide(Protocol):
    """What each class is worth after a prefix."""

    def __call__(self, prefixes: Sequence[Prefix], /) -> list[np.ndarray]:
        """For each prefix what its next class adds to its score, (C,) in nats; at 0 what its end adds.

        Minus infinity forbids. A prefix comes after the one that it continues.
        """
        ...


def unguided(prefixes: Sequence[Prefix], classes: int) -> list[np.ndarray]:
    """What a search adds that knows nothing but the frames."""
    return [np.zeros(classes)] * len(prefixes)
