"""Greedy search: the most likely token at each step."""

import torch
from torch import Tensor

from seq2seq.decoding.constraints import LEAST, Constraints
from seq2seq.decoding.hypotheses import Hypothesis, S, StepFunction, finished


@torch.inference_mode()
def greedy(
    step: StepFunction[S],
    state: S,
    limits: Tensor,
    begin: int,
    end: int,
    length_penalty: float = 1.0,
    rules: Constraints | None = None,
) -> list[list[Hypothesis]]:
    """One hypothesis for each source, which keeps to the rules.

    limits (B,): the most tokens of each, its end included; the end is forced there. Finished rows leave the batch.
    """
    count, longest = len(limits), int(limits.max()) if len(limits) else 0
    tokens = torch.full((count, longest), end, device=limits.device)
    scores = torch.zeros(count, longest, device=limits.device)
    alive = torch.arange(count, device=limits.device)
    last = torch.full((count, 1), begin, device=limits.device)
    for position in range(longest):
        log_probs, state = step(last, state)  # (alive, 1, V)
        if rules is not None:
            log_probs = rules.forbid(log_probs, tokens[alive, :position].unsqueeze(1), alive, end)
        best, last = log_probs.squeeze(1).max(-1, keepdim=True)  # (alive, 1)
        forced = (limits[alive] == position + 1).unsqueeze(1)
        last = last.masked_fill(forced, end)
        tokens[alive, position] = last.squeeze(1)
        scores[alive, position] = torch.where(forced, log_probs[..., end].clamp(min=LEAST), best).squeeze(1)
        going = (last.squeeze(1) != end).nonzero()  # (still alive, 1)
        if len(going) < len(alive):
            if not len(going):
                break
            alive, last, state = alive[going[:, 0]], last[going[:, 0]], state.select(going)
    return [[finished(*row, end, length_penalty)] for row in zip(tokens.tolist(), scores.tolist(), strict=True)]
