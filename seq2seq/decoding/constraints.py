"""Constraints: which tokens a hypothesis may not take next."""

from typing import NamedTuple

import torch
from torch import Tensor

LEAST = -1e4
"""The log-probability in nats of an end that nothing but a limit or a constraint brings about, at the least."""


class Constraints(NamedTuple):
    """What the search must keep to besides the limits."""

    least: Tensor
    """(B,) tokens before a hypothesis of each source may end."""
    no_repeat: int = 0
    """No n-gram of this n occurs twice in a hypothesis; 0 allows all (Paulus et al. 2018, sec. 2.5)."""
    before: tuple[int, ...] = ()
    """Tokens that stand before each hypothesis, whose n-grams count too."""

    def forbid(self, log_probs: Tensor, tokens: Tensor, sources: Tensor, end: int) -> Tensor:
        """log_probs (N, K, V) with minus infinity for what may not follow tokens (N, K, t), of the sources (N,).

        Where that would be everything, the hypothesis may end.
        """
        early = self.least[sources] > tokens.shape[-1]
        ending = log_probs[..., end].masked_fill(early.unsqueeze(1), -torch.inf)
        size, free = self.no_repeat, log_probs[..., end]
        if size and self.before:
            tokens = torch.cat((tokens.new_tensor(self.before).expand(*tokens.shape[:2], -1), tokens), dim=-1)
        if size and tokens.shape[-1] >= size:
            again = repeated(tokens, size)
            nothing = log_probs.shape[-1]  # a column for windows that do not match: how many do is never asked
            ending_so = tokens[..., size - 1 :].masked_fill(~again, nothing)
            log_probs = torch.nn.functional.pad(log_probs, (0, 1)).scatter_(-1, ending_so, -torch.inf)[..., :nothing]
        allowed = torch.cat((log_probs[..., :end], ending.unsqueeze(-1), log_probs[..., end + 1 :]), dim=-1)
        stuck = allowed.amax(-1) == -torch.inf
        allowed[..., end] = torch.where(stuck, free.clamp(min=LEAST), ending)
        return allowed


def repeated(tokens: Tensor, size: int) -> Tensor:
    """(N, K, t - size + 1), true where the first size - 1 tokens of a window are those that (N, K, t) ends with."""
    windows = tokens.unfold(-1, size, 1)  # (N, K, windows, size)
    last = tokens[..., tokens.shape[-1] - size + 1 :].unsqueeze(-2)
    again: Tensor = (windows[..., :-1] == last).all(-1)
    return again
