"""The best of many scores, found block by block: the best few lie in the blocks whose maxima are the best few."""

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 64
"""Scores of a block: a processor finds their maximum as fast as it reads them, but not where the maximum is."""

LEAST = 1024
"""Scores of a row from which that is faster."""


class Continuations(NamedTuple):
    """The N best of all continuations of each of B sources, best first, each (B, N)."""

    totals: Tensor
    parents: Tensor
    """Which of the K hypotheses is continued."""
    tokens: Tensor
    scores: Tensor
    """Log-probability of the token alone."""


def best_continuations(totals: Tensor, log_probs: Tensor, count: int) -> Continuations:
    """The `count` best sums of totals (B, K) and log_probs (B, K, V)."""
    size, vocabulary = log_probs.shape[1:]
    if log_probs.device.type != "cpu" or vocabulary < max(LEAST, BLOCK * count):
        best, token = log_probs.topk(min(count, vocabulary), dim=-1)  # no continuation beyond a row's can matter
        sums, index = (totals.unsqueeze(-1) + best).flatten(1).topk(min(count, size * best.shape[-1]), dim=-1)
        parent = index // best.shape[-1]
        return Continuations(sums, parent, *(of.flatten(1).gather(1, index) for of in (token, best)))
    blocks = vocabulary // BLOCK
    cut = torch.unflatten(log_probs[..., : blocks * BLOCK], -1, (blocks, BLOCK))  # (B, K, blocks, BLOCK)
    maxima = (cut.amax(-1) + totals.unsqueeze(-1)).flatten(1)
    index = maxima.topk(count, dim=-1, sorted=False)[1]  # (B, N) numbers of blocks
    parent, block = index // blocks, index % blocks
    source = torch.arange(len(totals)).unsqueeze(1)
    scores, rest = cut[source, parent, block].flatten(1), log_probs[..., blocks * BLOCK :]
    tokens = (block.unsqueeze(-1) * BLOCK + torch.arange(BLOCK)).flatten(1)
    parents = parent.repeat_interleave(BLOCK, 1)
    if left := rest.shape[-1]:
        scores = torch.cat((scores, rest.flatten(1)), 1)
        last = torch.arange(blocks * BLOCK, vocabulary).repeat(size).expand(len(totals), -1)
        tokens = torch.cat((tokens, last), 1)
        parents = torch.cat((parents, torch.arange(size).repeat_interleave(left).expand(len(totals), -1)), 1)
    sums, place = (totals.gather(1, parents) + scores).topk(count, dim=-1)
    return Continuations(sums, *(of.gather(1, place) for of in (parents, tokens, scores)))


def best_token(log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """The highest of log_probs (N, V) and where it is, the first of equals, each (N, 1)."""
    blocks = log_probs.shape[1] // BLOCK
    if log_probs.device.type != "cpu" or log_probs.shape[1] < LEAST or len(log_probs) < 4:
        return log_probs.max(-1, keepdim=True)
    cut = torch.unflatten(log_probs[:, : blocks * BLOCK], -1, (blocks, BLOCK))
    block = cut.amax(-1).argmax(-1)  # (N,)
    best, place = cut[torch.arange(len(block)), block].max(-1, keepdim=True)
    token = block.unsqueeze(1) * BLOCK + place
    if blocks * BLOCK < log_probs.shape[1]:
        last, after = log_probs[:, blocks * BLOCK :].max(-1, keepdim=True)
        token, best = torch.where(last > best, after + blocks * BLOCK, token), torch.maximum(best, last)
    return best, token
