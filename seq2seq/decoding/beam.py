"""Beam search with length penalty, for all sources of a batch at once."""

from typing import NamedTuple

import torch
from torch import Tensor

from seq2seq.decoding.constraints import LEAST, Constraints
from seq2seq.decoding.hypotheses import Hypothesis, S, StepFunction

NEVER = -torch.inf

CHECK_EVERY = {"cpu": 1}
"""Steps between two checks of which sources are done, by device: a check makes an accelerator wait. Others: 8."""


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


@torch.inference_mode()
def beam_search(
    step: StepFunction[S],
    state: S,
    limits: Tensor,
    begin: int,
    end: int,
    beam_size: int,
    length_penalty: float = 1.0,
    rules: Constraints | None = None,
) -> list[list[Hypothesis]]:
    """The best hypotheses of each source, best first, at most `beam_size`, that keep to the rules.

    limits (B,): the most tokens of each, its end included; the end is forced there. Hypotheses are ranked by
    log-probability / length ** length_penalty (length with the end). At each step the best 2 K continuations are
    ranked; those that end leave, K others live on. A source is done, and leaves the batch, when K hypotheses have
    ended and the best of them ranks no lower than the best living one does now, or when none that lives can enter a
    full list any more.
    """
    count, device = len(limits), limits.device
    if not count:
        return []
    every = CHECK_EVERY.get(device.type, 8)
    beam = first_beam(limits, begin, beam_size)
    results: list[list[Hypothesis]] = [[] for _ in range(count)]
    sources = torch.arange(count, device=device)
    state = state.select(sources.unsqueeze(1).expand(-1, beam_size))
    for position in range(int(limits.max())):
        log_probs, state = step(beam.last, state)  # (B, K, V)
        if rules is not None:
            log_probs = rules.forbid(log_probs, beam.tokens, sources, end)
        forced = limits[sources] <= position + 1
        beam, rows = advance(beam, log_probs, forced, position + 1, end, length_penalty)
        over = complete(beam, limits[sources], position + 1, length_penalty)
        beam = beam._replace(totals=beam.totals.masked_fill(over.unsqueeze(1), NEVER))  # done, whenever that is checked
        if (position + 1) % every == 0 and bool(over.any()):
            collect(beam.pick(over.nonzero()[:, 0]), sources[over].tolist(), results)
            if bool(over.all()):
                return results
            stay = (~over).nonzero()[:, 0]
            beam, sources, rows = beam.pick(stay), sources[stay], rows[stay]
        state = state.select(rows)
    collect(beam, sources.tolist(), results)
    return results


def first_beam(limits: Tensor, begin: int, size: int) -> Beam:
    """One living hypothesis, the empty one, for each source."""
    count, longest, device = len(limits), int(limits.max()), limits.device
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
    beam: Beam, log_probs: Tensor, forced: Tensor, length: int, end: int, length_penalty: float
) -> tuple[Beam, Tensor]:
    """One step: the next beam, and for each living hypothesis the number (B, K) of the one that it continues.

    log_probs (B, K, V); forced (B,) is true where this token must be the end.
    """
    sources, size, vocabulary = log_probs.shape
    if bool(forced.any()):
        ending = log_probs[..., end]
        ending = torch.where(forced.unsqueeze(1), ending.clamp(min=LEAST), ending)
        log_probs = log_probs.masked_fill(forced.view(-1, 1, 1), NEVER)
        log_probs[..., end] = ending
    each = min(2 * size, vocabulary)
    best, token = log_probs.topk(each, dim=-1)  # (B, K, 2K): no continuation beyond a row's 2K can matter
    totals, index = (beam.totals.unsqueeze(-1) + best).flatten(1).topk(min(2 * size, size * each), dim=-1)  # (B, 2K)
    parent, token = index // each, token.flatten(1).gather(1, index)
    tokens = torch.cat((follow(beam.tokens, parent), token.unsqueeze(-1)), dim=-1)  # (B, 2K, t + 1)
    scores = torch.cat((follow(beam.scores, parent), best.flatten(1).gather(1, index).unsqueeze(-1)), dim=-1)
    ends = token == end
    ended = finish(beam, totals.masked_fill(~ends, NEVER), tokens, scores, length, length_penalty)
    alive, order = totals.masked_fill(ends, NEVER).topk(size, dim=-1)  # (B, K)
    rows = torch.arange(sources, device=order.device).unsqueeze(1) * size + parent.gather(1, order)
    living = ended._replace(
        last=token.gather(1, order), totals=alive, tokens=follow(tokens, order), scores=follow(scores, order)
    )
    return living, rows


def finish(beam: Beam, totals: Tensor, tokens: Tensor, scores: Tensor, length: int, length_penalty: float) -> Beam:
    """Merge what has just ended (totals (B, 2K), minus infinity where it has not) into the K best finished."""
    if not bool((totals > NEVER).any()):
        return beam
    room = beam.done_tokens.shape[-1] - length
    ranks = torch.cat((beam.done_ranks, totals / length**length_penalty), dim=1)
    lengths = torch.cat((beam.done_lengths, torch.full_like(totals, length, dtype=torch.long)), dim=1)
    all_tokens = torch.cat((beam.done_tokens, torch.nn.functional.pad(tokens, (0, room))), dim=1)
    all_scores = torch.cat((beam.done_scores, torch.nn.functional.pad(scores, (0, room))), dim=1)
    ranks, order = ranks.topk(beam.done_ranks.shape[1], dim=-1)
    return beam._replace(
        done_ranks=ranks,
        done_lengths=lengths.gather(1, order),
        done_tokens=follow(all_tokens, order),
        done_scores=follow(all_scores, order),
    )


def complete(beam: Beam, limits: Tensor, length: int, length_penalty: float) -> Tensor:
    """(B,) true where the search is over; `length` tokens have been chosen, `limits` (B,) may be."""
    living, first, last = beam.totals[:, 0], beam.done_ranks[:, 0], beam.done_ranks[:, -1]
    settled = (last > NEVER) & (living / length**length_penalty <= first)
    hopeless = living / limits**length_penalty <= last  # true also where nothing lives
    over: Tensor = settled | hopeless
    return over


def follow(history: Tensor, order: Tensor) -> Tensor:
    """history (B, K, t) reordered by order (B, N): (B, N, t)."""
    return history.gather(1, order.unsqueeze(-1).expand(-1, -1, history.shape[-1]))


def collect(beam: Beam, sources: list[int], results: list[list[Hypothesis]]) -> None:
    """Write the finished hypotheses of a beam into `results`, at the indices `sources`."""
    columns = (beam.done_ranks, beam.done_lengths, beam.done_tokens, beam.done_scores)
    for source, *rows in zip(sources, *(column.tolist() for column in columns), strict=True):
        results[source] = [
            Hypothesis(tokens[: length - 1], rank, scores[:length])
            for rank, length, tokens, scores in zip(*rows, strict=True)
            if rank > NEVER
        ]
