"""Where a decoder looks while it writes: how widely, what it passes over, and all of it for some rows."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seq2seq.models.cells import inside

POSITIONS = 60
"""Target positions that are told, at most."""

FEWEST = 20
"""Rows behind a position, or one in twenty of all where that is less."""

HARDLY = 0.1
"""A source token whose weights over all steps sum to less is passed over."""

WIDTH = 80
"""Tokens of either side that are shown, at most."""

UNDER = 20
"""Rows that pass over most of their source and are shown, at most."""


class Attended:
    """Gathers what the weights of an attention say of rows, batch after batch; what is told is in the rows' order."""

    def __init__(self, rows: int) -> None:
        """rows: how many there will be, R."""
        self.steps = np.zeros(rows, dtype=np.int64)
        """Target tokens of each row, the end included."""
        self.entropy = np.zeros((rows, POSITIONS))
        """In nats, of the first steps."""
        self.totals = np.zeros((rows, 3))
        """Over all steps: the entropies, their shares of the largest, and how many steps have such a share."""
        self.received: list[np.ndarray] = [np.zeros(0)] * rows
        """(S,) sums of the weights of each source token of a row over all steps, without the end mark."""

    def add(self, places: np.ndarray, weights: Tensor, steps: Tensor, lengths: Tensor, tokens: Tensor) -> None:
        """A batch.

        places (B,): its rows, from 0; weights (B, T, S) in the order of the source; steps (B,) that are real; lengths
        (B,) source tokens that can be looked at; tokens (B,) the same without the end mark.
        """
        weights = weights.cpu()
        real = inside(steps, weights)
        found = entropies(weights).masked_fill(~real, 0.0).double()  # (B, T)
        most = lengths.clamp(min=1).double().log().unsqueeze(1)
        share = torch.where(most > 0, found / most.clamp(min=1e-9), 0.0)
        told = min(POSITIONS, found.shape[1])
        self.steps[places] = steps.numpy()
        self.entropy[places, :told] = found[:, :told].numpy()
        counted = steps * (lengths > 1)
        self.totals[places] = torch.stack((found.sum(1), share.sum(1), counted.double()), dim=1).numpy()
        sums = received(weights, real).numpy()
        for place, row, count in zip(places.tolist(), sums, tokens.tolist(), strict=True):
            self.received[place] = row[:count]

    def plain(self, rows: np.ndarray, tokens_of: Callable[[int], list[str]]) -> dict[str, Any]:
        """All that was gathered; rows (R,) numbers of the rows, tokens_of: the source tokens of one."""
        entropy, share, counted = self.totals.sum(0).tolist()
        positions = range(reached(self.steps))
        return {
            "rows": len(rows),
            "entropy": ratio(entropy, float(self.steps.sum())),
            "entropy_share": ratio(share, counted),
            **coverage(self.received),
            "under": under(self.received, rows, tokens_of),
            "entropy_by_position": [
                {"position": place + 1, "rows": int(kept.sum()), "entropy": float(self.entropy[kept, place].mean())}
                for place in positions
                if (kept := self.steps > place).any()
            ],
        }


def reached(steps: np.ndarray) -> int:
    """How many positions have enough rows to be told; steps (R,) of each row."""
    enough = max(1, min(FEWEST, math.ceil(len(steps) / 20)))
    longest = np.sort(steps)[::-1]
    return 0 if len(steps) < enough else min(POSITIONS, int(longest[enough - 1]))


def ratio(above: float, below: float) -> float | None:
    """A mean from its sum and count; None of nothing."""
    return above / below if below else None


def entropies(weights: Tensor) -> Tensor:
    """Weights (B, T, S) to the entropy in nats (B, T) of each step; weights that sum to less than one are scaled up."""
    weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
    total = weights.sum(-1, keepdim=True)
    found: Tensor = torch.special.entr(weights / total.clamp(min=torch.finfo(weights.dtype).tiny)).sum(-1)
    return found


def received(weights: Tensor, real: Tensor) -> Tensor:
    """Weights (B, T, S) to their sums (B, S) over the steps that are real, (B, T)."""
    return weights.double().masked_fill(~real.unsqueeze(-1), 0.0).sum(1)


def coverage(sums: Sequence[np.ndarray]) -> dict[str, float | None]:
    """The mean of min(1, sum) over all source tokens, and the percentage of those that are passed over.

    sums: (S,) of each row. An attention that spreads its weights as Tu et al. 2016, sec. 3 wish covers each token once.
    """
    flat = np.concatenate([*sums, np.zeros(0)])
    if not len(flat):
        return {"coverage": None, "never_attended": None}
    return {
        "coverage": float(np.minimum(1.0, flat).mean()),
        "never_attended": 100 * float((flat < HARDLY).mean()),
    }


def under(
    sums: Sequence[np.ndarray], rows: Sequence[int] | np.ndarray, tokens_of: Callable[[int], list[str]]
) -> list[dict[str, Any]]:
    """The rows with the largest share of source tokens that are passed over, and these tokens.

    sums: (S,) of each row; rows: their numbers; tokens_of: the source tokens of a row.
    """
    shares = [float((row < HARDLY).mean()) if len(row) else 0.0 for row in sums]
    order = sorted((place for place, share in enumerate(shares) if share), key=lambda place: -shares[place])
    found = []
    for place in order[:UNDER]:
        row, missed = int(rows[place]), (sums[place] < HARDLY).tolist()
        tokens = [token for token, passed in zip(tokens_of(row), missed, strict=False) if passed]
        found.append({"id": row, "tokens": tokens[:WIDTH], "share": shares[place]})
    return found


def alignment(row: int, source: list[str], target: list[str], weights: Tensor) -> dict[str, Any]:
    """All weights of a row in percent; weights (T, S) or more on either side."""
    source, target = source[:WIDTH], target[:WIDTH]
    shown = weights[: len(target), : len(source)].cpu().double()
    whole = (100 * shown).round().long().tolist() if bool(shown.isfinite().all()) else None
    return {"id": row, "source": source, "target": target, "weights": whole}


def in_text_order(weights: Tensor, lengths: Tensor) -> Tensor:
    """Weights (B, T, S) of sources that are read from their end, lengths (B,), in the order of their texts."""
    steps = torch.arange(weights.shape[2], device=weights.device)
    last = lengths.to(weights.device).unsqueeze(1) - 1
    places = torch.where(steps <= last, last - steps, steps)  # (B, S)
    return weights.gather(2, places.unsqueeze(1).expand_as(weights))
