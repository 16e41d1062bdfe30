"""Search of a fixed size, as a graph can hold it: the same results as `decoding`, without rows that leave.

The step of these searches takes the last tokens (B, K), the number t of the step and the state as a tuple of tensors.
B sources, K hypotheses of each, V tokens; N is the most tokens of any prediction. `room` (K, N) only says how many
hypotheses and tokens there may be.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from seq2seq.decoding.beam import NEVER, Beam, complete, follow
from seq2seq.decoding.constraints import LEAST
from seq2seq.decoding.hypotheses import divisor

SMALL = 64
"""Tokens of a vocabulary that may have twice the hypotheses or fewer."""

Tensors = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, Tensors], tuple[Tensor, Tensors]]
"""Tokens (B, K), t () and the state to log-probabilities (B, K, V) in nats and the next state."""


def loop(going: Callable[..., Tensor], body: Callable[..., Tensors], first: Tensors) -> Tensors:
    """What a body makes of tensors for as long as they are `going`."""
    result: Tensors = tuple(torch.while_loop(going, body, first))  # type: ignore[no-untyped-call]
    return result


class Carried(NamedTuple):
    """A state before the first step, of one hypothesis for each source."""

    tensors: Tensors
    dimensions: Sequence[int]
    """Of each tensor the one that counts hypotheses."""

    def repeated(self, times: int) -> Tensors:
        """Each hypothesis several times."""
        pairs = zip(self.tensors, self.dimensions, strict=True)
        shapes = ((tensor, dim, (*tensor.shape[: dim + 1], times, *tensor.shape[dim + 1 :])) for tensor, dim in pairs)
        return tuple(one.unsqueeze(dim + 1).expand(shape).flatten(dim, dim + 1).clone() for one, dim, shape in shapes)

    def selected(self, tensors: Tensors, rows: Tensor) -> Tensors:
        """The hypotheses (N,) of a later state."""
        return tuple(one.index_select(dim, rows) for one, dim in zip(tensors, self.dimensions, strict=True))


class Found(NamedTuple):
    """What a search found, the best hypotheses first."""

    tokens: Tensor
    """(B, K, N)"""
    lengths: Tensor
    """(B, K) of tokens, the end included."""
    scores: Tensor
    """(B, K) what search ranks by; minus infinity where there is no hypothesis."""
    token_scores: Tensor
    """(B, K, N) log-probability of each token in nats."""


class Rules(NamedTuple):
    """What a hypothesis must keep to."""

    limits: Tensor
    """(B,) the most tokens, the end included."""
    least: Tensor
    """(B,) or (1,) tokens before it may end."""
    end: int
    no_repeat: int = 0
    """No n-gram of this n occurs twice; 0 allows all."""

    def candidates(self, log_probs: Tensor, tokens: Tensor, time: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """What may follow, (B, K, count + 1) log-probabilities and tokens: the best others, then the end.

        The arguments are those of `apply`. Only the best are looked at: each pass over a vocabulary takes its time.
        """
        free = log_probs[..., self.end : self.end + 1]
        ending = free.masked_fill((self.least > time).view(-1, 1, 1), NEVER)
        if self.no_repeat:
            log_probs = log_probs.masked_fill(self.again(tokens, time, log_probs.shape[-1]), NEVER)
        best, token = most_likely(log_probs, count)
        best = best.masked_fill(token == self.end, NEVER)
        stuck = torch.maximum(best.amax(-1, keepdim=True), ending) == NEVER
        ending = torch.where(stuck, free.clamp(min=LEAST), ending)
        forced = (self.limits <= time + 1).view(-1, 1, 1)
        ending = torch.where(forced, ending.clamp(min=LEAST), ending)
        ends = torch.full_like(token[..., :1], self.end)
        return torch.cat((best.masked_fill(forced, NEVER), ending), -1), torch.cat((token, ends), -1)

    def apply(self, log_probs: Tensor, tokens: Tensor, time: Tensor) -> Tensor:
        """As `Constraints.forbid`: log_probs (B, K, V), tokens (B, K, N), of which `time` () have been chosen."""
        ends = torch.arange(log_probs.shape[-1]) == self.end
        free = log_probs[..., self.end : self.end + 1]
        early = (self.least > time).view(-1, 1, 1)
        allowed = log_probs.masked_fill(early & ends, NEVER)
        if self.no_repeat:
            allowed = allowed.masked_fill(self.again(tokens, time, log_probs.shape[-1]), NEVER)
            ending = free.masked_fill(early, NEVER)
            allowed = torch.where(ends, ending, allowed)
        stuck = allowed.amax(-1, keepdim=True) == NEVER
        return torch.where(stuck & ends, free.clamp(min=LEAST), allowed)

    def again(self, tokens: Tensor, time: Tensor, vocabulary: int) -> Tensor:
        """(B, K, V) true where a token would repeat an n-gram."""
        n, places = self.no_repeat, torch.arange(tokens.shape[-1])
        same = (places < time - n + 1).expand(tokens.shape)  # windows that end before `time`
        for offset in range(n - 1):
            last = tokens.index_select(-1, (time - n + 1 + offset).clamp(min=0).view(1))  # (B, K, 1)
            shifted = tokens.index_select(-1, (places + offset).clamp(max=places[-1]))
            same = same & (shifted == last)
        following = tokens.index_select(-1, (places + n - 1).clamp(max=places[-1]))
        counts = torch.zeros(*tokens.shape[:2], vocabulary).scatter_add(-1, following, same.to(torch.float32))
        return counts > 0


def beam_search(
    step: Step,
    state: Carried,
    rules: Rules,
    begin: Tensor,
    room: Tensor,
    length_penalty: Tensor,
    length_offset: float = 0.0,
) -> Found:
    """As `decoding.beam.beam_search` or, of one hypothesis, `decoding.greedy.greedy`. begin (B,): the first token."""
    sources, (size, longest), end = rules.limits.shape[0], room.shape, rules.end
    penalty = cast(float, length_penalty)  # the same arithmetic
    at_limit = divisor(rules.limits.to(torch.float32), penalty, length_offset)
    candidates, places = torch.arange(2 * size), torch.arange(longest)
    later = (candidates > 0) & (candidates[-1] == 1)  # greedy search knows one candidate

    def body(time: Tensor, *carried: Tensor) -> Tensors:
        beam, before = Beam(*carried[:8]), carried[8:]
        log_probs, after = step(beam.last, time, before)  # (B, K, V)
        best, token = rules.candidates(log_probs, beam.tokens, time, 2 * size + 1)
        totals, index = (beam.totals.unsqueeze(-1) + best).flatten(1).topk(2 * size, -1)  # (B, 2K)
        totals = totals.masked_fill(later, NEVER)
        parent, token = index // (2 * size + 2), token.flatten(1).gather(1, index)
        here = places == time
        tokens = torch.where(here, token.unsqueeze(-1), follow(beam.tokens, parent))
        scores = torch.where(here, best.flatten(1).gather(1, index).unsqueeze(-1), follow(beam.scores, parent))
        ended, length = token == end, (time + 1).to(torch.float32)  # an integer's power would be one too
        divided = divisor(length, penalty, length_offset)
        ranks = torch.cat((beam.done_ranks, totals.masked_fill(~ended, NEVER) / divided), 1)
        ranks, order = ranks.topk(size, -1)
        lengths = torch.cat((beam.done_lengths, torch.zeros_like(token) + time + 1), 1).gather(1, order)
        done_tokens = follow(torch.cat((beam.done_tokens, tokens), 1), order)
        done_scores = follow(torch.cat((beam.done_scores, scores), 1), order)
        alive, order = totals.masked_fill(ended, NEVER).topk(size, -1)
        rows = (torch.arange(sources).unsqueeze(1) * size + parent.gather(1, order)).flatten()
        kept = (follow(tokens, order), follow(scores, order))
        new = Beam(token.gather(1, order), alive, *kept, ranks, lengths, done_tokens, done_scores)
        over = complete(new, divided, at_limit)  # type: ignore[arg-type]
        new = new._replace(totals=alive.masked_fill(over.unsqueeze(1), NEVER))
        return (time + 1, *(one.clone() for one in (*new, *state.selected(after, rows))))

    def going(time: Tensor, *carried: Tensor) -> Tensor:
        return (carried[1] > NEVER).any()

    first = (torch.zeros((), dtype=torch.long), *first_beam(begin, size, longest, end), *state.repeated(size))
    last = loop(going, body, first)
    return Found(last[7], last[6], last[5], last[8])


def most_likely(log_probs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best `count` of log_probs (B, K, V) and their tokens; of a small V the missing ones have no chance."""
    vocabulary = log_probs.shape[-1]
    if vocabulary < SMALL:
        nothing = torch.full((*log_probs.shape[:2], count), NEVER)
        log_probs = torch.cat((log_probs, nothing), -1)
    best, token = log_probs.topk(count, -1)
    return best, token.clamp(max=vocabulary - 1)


def first_beam(begin: Tensor, size: int, longest: int, end: int) -> Beam:
    """One living hypothesis, the empty one, for each of the first tokens (B,)."""
    sources = begin.shape[0]
    none = torch.zeros(sources, size, longest)
    return Beam(
        last=begin.unsqueeze(1).expand(sources, size).clone(),
        totals=torch.where(torch.arange(size) == 0, 0.0, NEVER).expand(sources, size).clone(),
        tokens=torch.full((sources, size, longest), end),
        scores=none,
        done_ranks=torch.full((sources, size), NEVER),
        done_lengths=torch.zeros(sources, size, dtype=torch.long),
        done_tokens=torch.full((sources, size, longest), end),
        done_scores=none.clone(),
    )


class Chances(NamedTuple):
    """From what tokens are drawn, as `Draw` says."""

    numbers: Tensor
    """(B, K, N) random numbers from 0 to 1."""
    temperature: Tensor
    """()"""
    top_k: Tensor
    """() only so many of the most likely tokens; V or more for all."""
    top_p: Tensor
    """() only the fewest most likely ones with this probability; 2 for all."""

    def drawn(self, log_probs: Tensor, numbers: Tensor) -> Tensor:
        """As `decoding.sampling.drawn`: one token (B, K) of log_probs (B, K, V)."""
        vocabulary = log_probs.shape[-1]
        ranked, order = (log_probs / self.temperature).topk(vocabulary, -1)
        shares = ranked.softmax(-1)
        shares = shares.masked_fill(torch.arange(vocabulary) >= self.top_k, 0)
        shares = shares.masked_fill((shares.cumsum(-1) - shares) >= self.top_p, 0)
        sums = shares.cumsum(-1)
        chosen = (sums <= (numbers * sums[..., -1]).unsqueeze(-1)).sum(-1, keepdim=True)
        last = (shares > 0).sum(-1, keepdim=True) - 1
        return order.gather(-1, torch.minimum(chosen, last)).squeeze(-1)


def sample(step: Step, state: Carried, rules: Rules, begin: Tensor, chances: Chances) -> Found:
    """As `decoding.sampling.sample`."""
    sources, size, longest = chances.numbers.shape
    places, end = torch.arange(longest), rules.end

    def body(time: Tensor, last: Tensor, going: Tensor, tokens: Tensor, scores: Tensor, *before: Tensor) -> Tensors:
        log_probs, after = step(last, time, before)
        allowed = rules.apply(log_probs, tokens, time)
        token = chances.drawn(allowed, chances.numbers.index_select(2, time.view(1)).squeeze(2))
        token = torch.where(going & (rules.limits.unsqueeze(1) > time + 1), token, end)
        score = log_probs.gather(-1, token.unsqueeze(-1)).squeeze(-1).clamp(min=LEAST) * going
        here = places == time
        tokens = torch.where(here, token.unsqueeze(-1), tokens)
        scores = torch.where(here, score.unsqueeze(-1), scores)
        return (time + 1, token, going & (token != end), tokens, scores, *(one.clone() for one in after))

    def unfinished(time: Tensor, last: Tensor, going: Tensor, *others: Tensor) -> Tensor:
        return going.any()

    _, _, _, tokens, scores, *_ = loop(
        unfinished,
        body,
        (
            torch.zeros((), dtype=torch.long),
            begin.unsqueeze(1).expand(sources, size).clone(),
            torch.ones(sources, size, dtype=torch.bool),
            torch.full((sources, size, longest), end),
            torch.zeros(sources, size, longest),
            *state.repeated(size),
        ),
    )
    lengths = (tokens != end).sum(-1) + 1
    return Found(tokens, lengths, scores.sum(-1) / lengths, scores)
