"""How far a translation that is written while its source is read lags behind it."""

from collections.abc import Sequence

import numpy as np

from seq2seq.data.batching.split import Split
from seq2seq.metrics.base import Prediction
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding


def delay(
    task: Task, split: Split, predictions: Sequence[Prediction], decoding: Decoding
) -> dict[str, float | int] | None:
    """The delay of a split's predictions under wait-k, means over its rows; None where sources are read first."""
    wait = task.waits(decoding)
    if wait is None or not predictions:
        return None
    before = len(task.prefix_tokens(decoding.prefix)) if decoding.prefix else 0
    written = [before + len(row.token_scores) for row in predictions]
    each = [delays(wait, *lengths) for lengths in zip(split.source_lengths().tolist(), written, strict=True)]
    lagging, proportion = np.mean(each, axis=0).tolist()
    return {"wait_k": wait, "average_lagging": lagging, "average_proportion": proportion, "rows": len(each)}


def delays(wait: int, source: int, target: int) -> tuple[float, float]:
    """Average lagging (Ma et al. 2019, sec. 4.2) and average proportion (Cho and Esipova 2016) of one row.

    g(t) = min(t + wait - 1, source) tokens have been read when token t is chosen. source, target: tokens, ends counted.
    Lagging is a mean over the tokens up to the first that has the whole source before it, or over all.
    """
    steps = np.arange(target)
    read = np.minimum(steps + wait, source)
    counted = min(target, max(1, source - wait + 1))
    lagging = (read - steps * source / target)[:counted].mean()
    return float(lagging), float(read.mean() / source)
