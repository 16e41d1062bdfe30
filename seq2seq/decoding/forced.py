"""Forced decoding: given tokens through the step of a search, and which tokens were the most likely at each place."""

from typing import NamedTuple

import torch
from torch import Tensor

from seq2seq.decoding.hypotheses import S, StepFunction, without_gradients


class Forced(NamedTuple):
    """What the steps say of the tokens of B sources."""

    chosen: Tensor
    """(B, T) log-probability in nats of each token given those before it."""
    likely: Tensor
    """(B, T, N) the most likely tokens there, best first."""
    scores: Tensor
    """(B, T, N) their log-probabilities."""


@without_gradients()
def forced(step: StepFunction[S], state: S, tokens: Tensor, begin: int, count: int) -> Forced:
    """tokens (B, T), from the first to the end and whatever follows; count: N, of all there are at most."""
    last, columns = torch.full_like(tokens[:, :1], begin), []
    for now in torch.split(tokens, 1, dim=1):
        log_probs, state = step(last, state)  # (B, 1, V)
        best = log_probs.topk(min(count, log_probs.shape[-1]), dim=-1)
        columns.append((log_probs.gather(-1, now.unsqueeze(-1)).squeeze(-1), best.indices, best.values))
        last = now
    return Forced(*(torch.cat(column, dim=1) for column in zip(*columns, strict=True)))
