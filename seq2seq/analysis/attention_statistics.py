"""Statistics of the attention: its entropy, its coverage of the source, the source tokens that it passes over."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seq2seq.models.cells import at_least_32_bits, inside

POSITIONS = 60
"""Target positions that are reported, at most."""

FEWEST = 20
"""Rows behind a position, or one in twenty of all where that is less."""

UNATTENDED = 0.1
"""A source token is unattended if its weights over all steps sum to less."""

WIDTH = 80
"""Tokens of either side that are shown, at most."""

SHOWN = 20
"""Undertranslated rows that are shown, at most."""


class AttentionStatistics:
    """Gathers attention weights, batch after batch; rows are numbered from 0 in the order of the results."""

    def __init__(self, rows: int) -> None:
        """rows: how many there will be, R."""
        self.steps = np.zeros(rows, dtype=np.int64)
        """Target tokens of each row, the end included."""
        self.entropy = np.zeros((rows, POSITIONS))
        """In nats, of the first steps."""
        self.totals = np.zeros((rows, 3))
        """Sums over all steps: the entropies, the normalised entropies, and how many steps have one."""
        self.received: list[np.ndarray] = [np.zeros(0)] * rows
        """(S,) sums over all steps of the weights of each source token, without the end mark."""

    def add(self, indices: np.ndarray, weights: Tensor, steps: Tensor, lengths: Tensor, tokens: Tensor) -> None:
        """A batch.

        indices (B,): its rows; weights (B, T, S) in the order of the source; steps (B,) that are not padding; lengths
        (B,) source tokens that can be attended to; tokens (B,) the same without the end mark.
        """
        weights = weights.cpu()
        real = inside(steps, weights)
        entropy = entropies(weights).masked_fill(~real, 0.0).double()  # (B, T)
        most = lengths.clamp(min=1).double().log().unsqueeze(1)
        normalised = torch.where(most > 0, entropy / most.clamp(min=1e-9), 0.0)
        kept = min(POSITIONS, entropy.shape[1])
        self.steps[indices] = steps.numpy()
        self.entropy[indices, :kept] = entropy[:, :kept].numpy()
        counted = steps * (lengths > 1)
        self.totals[indices] = torch.stack((entropy.sum(1), normalised.sum(1), counted.double()), dim=1).numpy()
        sums = received(weights, real).numpy()
        for index, row, count in zip(indices.tolist(), sums, tokens.tolist(), strict=True):
            self.received[index] = row[:count]

    def results(self, rows: np.ndarray, tokens_of: Callable[[int], list[str]], wrong: np.ndarray) -> dict[str, Any]:
        """Everything, for results.json.

        rows (R,): row numbers; tokens_of: the source tokens of a row number; wrong (R,): whether a prediction differs
        from its reference, for one that does not leaves nothing out.
        """
        entropy, normalised, counted = self.totals.sum(0).tolist()
        return {
            "rows": len(rows),
            "entropy": ratio(entropy, float(self.steps.sum())),
            "entropy_share": ratio(normalised, counted),
            **coverage(self.received),
            "under": undertranslated_rows(
                [sums if differs else np.ones(0) for sums, differs in zip(self.received, wrong, strict=True)],
                rows,
                tokens_of,
            ),
            "entropy_by_position": [
                {
                    "position": position + 1,
                    "rows": int(kept.sum()),
                    "entropy": float(self.entropy[kept, position].mean()),
                }
                for position in range(reported_positions(self.steps))
                if (kept := self.steps > position).any()
            ],
        }


def reported_positions(steps: np.ndarray) -> int:
    """How many positions have enough rows; steps (R,) of each row."""
    enough = max(1, min(FEWEST, math.ceil(len(steps) / 20)))
    return 0 if len(steps) < enough else min(POSITIONS, int(np.sort(steps)[-enough]))


def ratio(above: float, below: float) -> float | None:
    """A mean from its sum and count; None of nothing."""
    return above / below if below else None


def entropies(weights: Tensor) -> Tensor:
    """Weights (B, T, S) to the entropy in nats (B, T) of each step; weights that sum to less than one are scaled up."""
    weights = at_least_32_bits(weights)
    total = weights.sum(-1, keepdim=True)
    entropy: Tensor = torch.special.entr(weights / total.clamp(min=torch.finfo(weights.dtype).tiny)).sum(-1)
    return entropy


def received(weights: Tensor, real: Tensor) -> Tensor:
    """Weights (B, T, S) to their sums (B, S) over the steps that are not padding, real (B, T)."""
    return weights.double().masked_fill(~real.unsqueeze(-1), 0.0).sum(1)


def coverage(sums: Sequence[np.ndarray]) -> dict[str, float | None]:
    """The mean of min(1, sum) over all source tokens, and the percentage of unattended ones.

    sums: (S,) of each row. An attention that spreads its weights as Tu et al. 2016, sec. 3 wish covers each token once.
    """
    flat = np.concatenate([*sums, np.zeros(0)])
    if not len(flat):
        return {"coverage": None, "never_attended": None}
    unattended = 100 * float((flat < UNATTENDED).mean())
    return {"coverage": float(np.minimum(1.0, flat).mean()), "never_attended": unattended}


def undertranslated_rows(
    sums: Sequence[np.ndarray], rows: Sequence[int] | np.ndarray, tokens_of: Callable[[int], list[str]]
) -> list[dict[str, Any]]:
    """The rows with the largest shares of unattended source tokens, and these tokens.

    sums: (S,) of each row; rows: their numbers; tokens_of: the source tokens of a row number.
    """
    shares = [float((row < UNATTENDED).mean()) if len(row) else 0.0 for row in sums]
    order = sorted((index for index, share in enumerate(shares) if share), key=lambda index: -shares[index])
    results = []
    for index in order[:SHOWN]:
        row, missed = int(rows[index]), (sums[index] < UNATTENDED).tolist()
        tokens = [token for token, unattended in zip(tokens_of(row), missed, strict=False) if unattended]
        results.append({"id": row, "tokens": tokens[:WIDTH], "share": shares[index]})
    return results


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
    order = torch.where(steps <= last, last - steps, steps)  # (B, S)
    return weights.gather(2, order.unsqueeze(1).expand_as(weights))
