"""What a network without alignment believes at each step of its frames, to be looked at."""

from typing import NamedTuple

import numpy as np

from seq2seq.tasks.word_stream import HeardWord


class Posteriors(NamedTuple):
    """The probabilities of a row's steps."""

    names: list[str]
    """Of the C classes; that which writes nothing has none."""
    shares: np.ndarray
    """(T, C) probabilities."""
    words: list[HeardWord]
    """Of the best path, with the steps that write them."""
