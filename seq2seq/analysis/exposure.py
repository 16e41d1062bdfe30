"""Exposure bias: how likely references are with teacher forcing and after the network's own predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seq2seq.analysis.attention_statistics import POSITIONS, ratio, reported_positions


class Exposure:
    """Gathers the loss of references with teacher forcing and free running, batch after batch.

    Bengio et al. 2015 and Ranzato et al. 2016 call the difference between what a decoder reads in training and in use
    exposure bias. A row counts at the positions that both its reference and its prediction have, the end included.
    """

    def __init__(self, rows: int) -> None:
        """rows: how many there will be, R."""
        self.steps = np.zeros(rows, dtype=np.int64)
        self.forced, self.free = np.zeros((rows, POSITIONS)), np.zeros((rows, POSITIONS))
        self.totals = np.zeros((rows, 2))

    def add(self, indices: np.ndarray, forced: Tensor, free: Tensor, steps: Tensor) -> None:
        """A batch.

        indices (B,): its rows, from 0; forced, free (B, T): nats of their references with teacher forcing and after
        the predictions, zero beyond the steps (B,) that count.
        """
        kept = min(POSITIONS, forced.shape[1])
        self.steps[indices] = steps.numpy()
        self.forced[indices, :kept], self.free[indices, :kept] = forced[:, :kept].numpy(), free[:, :kept].numpy()
        self.totals[indices] = torch.stack((forced.sum(1), free.sum(1)), dim=1).numpy()

    def results(self, scores: Sequence[Sequence[float]], prefix: int) -> dict[str, Any]:
        """Everything, for results.json.

        scores: log-probabilities in nats of the tokens that each row predicted, without the first `prefix` ones.
        """
        (forced, free), tokens = self.totals.sum(0).tolist(), int(self.steps.sum())
        return {
            "rows": len(self.steps),
            "tokens": tokens,
            "reference": ratio(forced, tokens),
            "reference_after_own": ratio(free, tokens),
            "gap": ratio(free - forced, tokens),
            "by_position": [self.at(position, scores, prefix) for position in range(reported_positions(self.steps))],
        }

    def at(self, position: int, scores: Sequence[Sequence[float]], prefix: int) -> dict[str, Any]:
        """The means in nats at one position, counted from 0."""
        kept, index = self.steps > position, position - prefix
        predicted = [scores[row] for row in np.flatnonzero(kept).tolist()]
        own = [-row[index] for row in predicted if 0 <= index < len(row)]
        return {
            "position": position + 1,
            "rows": int(kept.sum()),
            "reference": float(self.forced[kept, position].mean()),
            "own": ratio(float(np.sum(own)), len(own)),
            "reference_after_own": float(self.free[kept, position].mean()),
        }
