"""Greedy search: the most likely token at each step."""

import torch
from torch import Tensor

from seq2seq.decoding.best import best_token
from seq2seq.decoding.constraints import LEAST, Constraints
from seq2seq.decoding.hypotheses import Hypothesis, S, StepFunction, finished, steps_between_checks, without_gradients
from seq2seq.pinned_copy import to_host

STAYING = 0.9
"""Share of the rows above which all of them stay: to let some leave copies what attention looks at."""


@without_gradients()
def greedy(
    step: StepFunction[S],
    state: S,
    limits: Tensor,
    begin: int,
    end: int,
    length_penalty: float = 1.0,
    rules: Constraints | None = None,
    length_offset: float = 0.0,
) -> list[list[Hypothesis]]:
    """One hypothesis for each source, which keeps to the rules.

    limits (B,): the most tokens of each, its end included; the end is forced there. Finished rows leave the batch when
    they are looked for, and some have gathered; what is chosen after an end is never read.
    """
    count, known, every = len(limits), set(limits.tolist()), steps_between_checks(limits.device)
    longest = max(known, default=0)
    tokens = torch.full((count, longest), end, device=limits.device)
    scores = torch.zeros(count, longest, device=limits.device)
    alive = torch.arange(count, device=limits.device)
    last = torch.full((count, 1), begin, device=limits.device)
    rows: Tensor | slice = slice(None)
    """`alive`; a slice, which copies nothing, while that is all of them."""
    left = 0
    """The step when rows have left."""
    for position in range(longest):
        log_probs, state = step(last, state)  # (alive, 1, V)
        if rules is not None:
            log_probs = rules.forbid(log_probs, tokens[alive, :position].unsqueeze(1), alive, end)
        best, last = best_token(log_probs.squeeze(1))  # (alive, 1)
        if position + 1 in known:
            forced = (limits[alive] == position + 1).unsqueeze(1)
            last, best = last.masked_fill(forced, end), torch.where(forced, log_probs[..., end].clamp(min=LEAST), best)
        tokens[rows, position], scores[rows, position] = last.squeeze(1), best.squeeze(1)
        if (position + 1) % every == 0:
            going = (tokens[rows, left : position + 1] != end).all(1).nonzero()  # (still alive, 1)
            if not len(going):
                break
            if len(going) <= STAYING * len(alive):
                left = position + 1
                rows = alive = alive[going[:, 0]]
                last, state = last[going[:, 0]], state.select(going)
    tokens, scores = to_host(tokens, scores)
    chosen_rows = zip(tokens.tolist(), scores.tolist(), strict=True)
    return [[finished(*row, end, length_penalty, length_offset)] for row in chosen_rows]
