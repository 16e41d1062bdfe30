"""Beam search with length penalty, for all sources of a batch at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seq2seq.decoding.best import best_continuations
from seq2seq.decoding.constraints import LEAST, Constraints
from seq2seq.decoding.hypotheses import Hypothesis, S, StepFunction, divisor, steps_between_checks, without_gradients
from seq2seq.pinned_copy import to_device, to_host

NEVER = -torch.inf


class Beam(NamedTuple):
    """The K living and the K best finished hypotheses of each of B sources; t tokens have been chosen."""

    last: Tensor
    """(B, K) the token chosen last."""
    totals: Tensor
    """(B, K) sum of log-probabilities; minus infinity where no hypothesis lives."""
    tokens: Tensor
    """(B, K, t)."""
    scores: Tensor
    """(B, K, t) log-probability of each token."""
    done_ranks: Tensor
    """(B, K) penalised scores of the finished, best first; minus infinity for those still missing."""
    done_lengths: Tensor
    """(B, K) tokens of the finished, their end included."""
    done_tokens: Tensor
    """(B, K, longest)."""
    done_scores: Tensor
    """(B, K, longest)."""

    def pick(self, sources: Tensor) -> "Beam":
        """The given sources (B',)."""
        return Beam(*(tensor[sources] for tensor in self))


@without_gradients()
def beam_search(
    step: StepFunction[S],
    state: S,
    limits: Tensor,
    begin: int,
    end: int,
    beam_size: int,
    length_penalty: float = 1.0,
    rules: Constraints | None = None,
    length_offset: float = 0.0,
    bonus: Callable[[S], Tensor] | None = None,
    grow: "Advance | None" = None,
) -> list[list[Hypothesis]]:
    """The best hypotheses of each source, best first, at most `beam_size`, that keep to the rules.

    limits (B,): the most tokens of each, its end included; the end is forced there. Hypotheses are ranked by
    log-probability / length ** length_penalty (length with the end; see `divisor` for length_offset). bonus: of a state
    what is added where a hypothesis ends (B, K), zero or less. At each step the best 2 K continuations are ranked;
    those that end leave, K others live on. A source is done, and leaves the batch, when K hypotheses have ended and the
    best of them ranks no lower than the best living one does now, or when none that lives can enter a full list any
    more. grow: what takes the place of `advance`, by searches that choose otherwise who lives on.
    """
    known, device, every = limits.tolist(), limits.device, steps_between_checks(limits.device)
    if not known:
        return []
    longest, here = max(known), list(range(len(known)))
    beam = first_beam(limits, longest, begin, beam_size)
    ended: list[tuple[list[int], Beam]] = []
    sources = torch.arange(len(known), device=device)
    state = state.select(sources.unsqueeze(1).expand(-1, beam_size))
    for position in range(longest):
        log_probs, state = step(beam.last, state)  # (B, K, V)
        if rules is not None:
            log_probs = rules.forbid(log_probs, beam.tokens, sources, end)
        forced = limits[sources] <= position + 1 if min(known) <= position + 1 else None
        added = None if bonus is None else bonus(state)
        divided = divisor(position + 1, length_penalty, length_offset)
        beam, rows = (grow or advance)(beam, log_probs, forced, position + 1, end, divided, added)
        over = complete(beam, divided, divisor(limits[sources], length_penalty, length_offset))
        beam = beam._replace(totals=beam.totals.masked_fill(over.unsqueeze(1), NEVER))  # done, whenever that is checked
        done = over.tolist() if (position + 1) % every == 0 else []
        if done and all(done):
            break
        if any(done):
            leave = [row for row, is_over in enumerate(done) if is_over]
            stay = [row for row, is_over in enumerate(done) if not is_over]
            ended.append(([here[row] for row in leave], beam.pick(to_device(torch.tensor(leave), device))))
            here, staying = [here[row] for row in stay], to_device(torch.tensor(stay), device)
            beam, sources, rows = beam.pick(staying), sources[staying], rows[staying]
        state = state.select(rows)
    return collect([*ended, (here, beam)])


def first_beam(limits: Tensor, longest: int, begin: int, size: int) -> Beam:
    """One living hypothesis, the empty one, for each source; longest: the most tokens of any."""
    count, device = len(limits), limits.device
    totals = torch.full((count, size), NEVER, device=device)
    totals[:, 0] = 0.0
    none = torch.zeros(count, size, 0, device=device)
    return Beam(
        last=torch.full((count, size), begin, device=device),
        totals=totals,
        tokens=none.long(),
        scores=none,
        done_ranks=torch.full((count, size), NEVER, device=device),
        done_lengths=torch.zeros(count, size, dtype=torch.long, device=device),
        done_tokens=torch.zeros(count, size, longest, dtype=torch.long, device=device),
        done_scores=torch.zeros(count, size, longest, device=device),
    )


def advance(
    beam: Beam,
    log_probs: Tensor,
    forced: Tensor | None,
    length: int,
    end: int,
    divided: float,
    bonus: Tensor | None = None,
) -> tuple[Beam, Tensor]:
    """One step: the next beam, and for each living hypothesis the number (B, K) of the one that it continues.

    log_probs (B, K, V); forced (B,) is true where this token must be the end, None where it is nowhere. divided: what
    log-probabilities of hypotheses that end are divided by; bonus (B, K): what is added to them then.
    """
    sources, size, _ = log_probs.shape
    if forced is not None:
        ending = log_probs[..., end]
        ending = torch.where(forced.unsqueeze(1), ending.clamp(min=LEAST), ending)
        log_probs = log_probs.masked_fill(forced.view(-1, 1, 1), NEVER)
        log_probs[..., end] = ending
    totals, parent, token, chosen = best_continuations(beam.totals, log_probs, 2 * size)  # (B, 2K) each
    tokens = torch.cat((follow(beam.tokens, parent), token.unsqueeze(-1)), dim=-1)  # (B, 2K, t + 1)
    scores = torch.cat((follow(beam.scores, parent), chosen.unsqueeze(-1)), dim=-1)
    ends = token == end
    ranks = totals.masked_fill(~ends, NEVER) / divided
    if bonus is not None:
        ranks = ranks + bonus.gather(1, parent)
    ended = finish(beam, ranks, tokens, scores, length)
    alive, order = totals.masked_fill(ends, NEVER).topk(size, dim=-1)  # (B, K)
    rows = torch.arange(sources, device=order.device).unsqueeze(1) * size + parent.gather(1, order)
    living = ended._replace(
        last=token.gather(1, order), totals=alive, tokens=follow(tokens, order), scores=follow(scores, order)
    )
    return living, rows


def finish(beam: Beam, new: Tensor, tokens: Tensor, scores: Tensor, length: int) -> Beam:
    """Merge what has just ended (ranks (B, N), minus infinity where it has not) into the K best finished."""
    if new.device.type == "cpu" and not bool((new > NEVER).any()):  # elsewhere the question costs more
        return beam
    room = beam.done_tokens.shape[-1] - length
    ranks = torch.cat((beam.done_ranks, new), dim=1)
    lengths = torch.cat((beam.done_lengths, torch.full_like(new, length, dtype=torch.long)), dim=1)
    all_tokens = torch.cat((beam.done_tokens, torch.nn.functional.pad(tokens, (0, room))), dim=1)
    all_scores = torch.cat((beam.done_scores, torch.nn.functional.pad(scores, (0, room))), dim=1)
    ranks, order = ranks.topk(beam.done_ranks.shape[1], dim=-1)
    return beam._replace(
        done_ranks=ranks,
        done_lengths=lengths.gather(1, order),
        done_tokens=follow(all_tokens, order),
        done_scores=follow(all_scores, order),
    )


def complete(beam: Beam, now: float, at_limit: Tensor) -> Tensor:
    """(B,) true where the search is over; now, at_limit (B,): what log-probabilities are divided by, and at the end."""
    living, first, last = beam.totals.amax(-1), beam.done_ranks.amax(-1), beam.done_ranks.amin(-1)
    settled = (last > NEVER) & (living / now <= first)
    hopeless = living / at_limit <= last  # true also where nothing lives
    over: Tensor = settled | hopeless
    return over


Advance = Callable[[Beam, Tensor, Tensor | None, int, int, float, Tensor | None], tuple[Beam, Tensor]]
"""What `advance` is."""


def follow(history: Tensor, order: Tensor) -> Tensor:
    """history (B, K, t) reordered by order (B, N): (B, N, t)."""
    return history.gather(1, order.unsqueeze(-1).expand(-1, -1, history.shape[-1]))


def collect(ended: list[tuple[list[int], Beam]]) -> list[list[Hypothesis]]:
    """The finished hypotheses of beams, each with the numbers of its sources, in the order of all sources."""
    order = [source for sources, _ in ended for source in sources]
    names = ("done_ranks", "done_lengths", "done_tokens", "done_scores")
    together = to_host(*(torch.cat([getattr(beam, name) for _, beam in ended]) for name in names))
    results: list[list[Hypothesis]] = [[] for _ in order]
    for source, *rows in zip(order, *(column.tolist() for column in together), strict=True):
        results[source] = [
            Hypothesis(tokens[: length - 1], rank, scores[:length])
            for rank, length, tokens, scores in zip(*rows, strict=True)
            if rank > NEVER
        ]
    return results
