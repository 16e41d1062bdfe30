"""Sampling: tokens drawn with their probability, sharpened by a temperature, from the most likely ones only."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq.decoding.constraints import LEAST, Constraints
from seq2seq.decoding.hypotheses import Hypothesis, S, StepFunction, finished, steps_between_checks, without_gradients
from seq2seq.pinned_copy import to_device, to_host


class Draw(NamedTuple):
    """From what tokens are drawn."""

    temperature: float = 1.0
    """Log-probabilities are divided by it; below 1 likely tokens become likelier."""
    top_k: int | None = None
    """Only the k most likely (Fan et al. 2018, sec. 5.1)."""
    top_p: float | None = None
    """Only the fewest most likely ones that together have this probability (Holtzman et al. 2020, sec. 3.1)."""
    seed: int = 1
    """Of the random numbers; each row has its own."""


@without_gradients()
def sample(
    step: StepFunction[S],
    state: S,
    limits: Tensor,
    begin: int,
    end: int,
    count: int,
    draw: Draw,
    row_keys: Tensor,
    rules: Constraints | None = None,
) -> list[list[Hypothesis]]:
    """`count` hypotheses for each source, in the order in which they are drawn.

    limits (B,): the most tokens of each, its end included; the end is forced there. row_keys (B,): numbers that tell
    the rows apart: what is drawn for a row depends on the seed and its key alone, not on its neighbours, nor on how
    many are drawn after it. A hypothesis's scores are the network's own log-probabilities.
    """
    if not len(limits):
        return []
    sources, longest, every = len(limits), int(limits.max()), steps_between_checks(limits.device)
    numbers = to_device(uniform(draw.seed, row_keys, count, longest), limits.device)  # (B, K, longest)
    rows = torch.arange(sources, device=limits.device)
    state = state.select(rows.unsqueeze(1).expand(-1, count))
    tokens = torch.full((sources, count, longest), end, device=limits.device)
    scores = torch.zeros(sources, count, longest, device=limits.device)
    last = torch.full((sources, count), begin, device=limits.device)
    going = torch.ones(sources, count, dtype=torch.bool, device=limits.device)
    for position in range(longest):
        log_probs, state = step(last, state)  # (B, K, V)
        allowed = log_probs if rules is None else rules.forbid(log_probs, tokens[..., :position], rows, end)
        last = drawn(allowed, numbers[..., position], draw)
        last = torch.where(going & (limits.unsqueeze(1) > position + 1), last, end)
        tokens[..., position] = last
        scores[..., position] = log_probs.gather(-1, last.unsqueeze(-1)).squeeze(-1).clamp(min=LEAST) * going
        going &= last != end
        if (position + 1) % every == 0 and not bool(going.any()):
            break
    tokens, scores = to_host(tokens, scores)
    return [[finished(*one, end) for one in zip(*both, strict=True)]
            for both in zip(tokens.tolist(), scores.tolist(), strict=True)]  # fmt: skip


def drawn(log_probs: Tensor, numbers: Tensor, draw: Draw) -> Tensor:
    """One token (B, K) of log_probs (B, K, V) for random numbers (B, K) from 0 to 1."""
    ranked, order = (log_probs / draw.temperature).sort(dim=-1, descending=True, stable=True)
    shares = ranked.softmax(-1)
    if draw.top_k is not None:
        shares[..., draw.top_k :] = 0
    if draw.top_p is not None:  # a token stays if those before it have less than that
        shares.masked_fill_((shares.cumsum(-1) - shares) >= draw.top_p, 0)
    sums = shares.cumsum(-1)
    chosen = (sums <= (numbers * sums[..., -1]).unsqueeze(-1)).sum(-1, keepdim=True)
    last = (shares > 0).sum(-1, keepdim=True) - 1
    tokens: Tensor = order.gather(-1, torch.minimum(chosen, last)).squeeze(-1)
    return tokens


def uniform(seed: int, row_keys: Tensor, count: int, steps: int) -> Tensor:
    """(B, count, steps) random numbers from 0 to 1, those of a row by the seed and its key alone."""
    numbers = [[np.random.default_rng([seed, key, which]).random(steps) for which in range(count)]
                for key in row_keys.tolist()]  # fmt: skip
    return torch.from_numpy(np.array(numbers, dtype=np.float32).reshape(len(row_keys), count, steps))
