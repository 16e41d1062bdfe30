"""Words that must appear in a hypothesis, and words that must not."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple

import torch
from torch import Tensor

from seq2seq.decoding.beam import NEVER, Beam, finish, follow
from seq2seq.decoding.constraints import LEAST
from seq2seq.decoding.hypotheses import S, StepFunction


class PhraseBanks(NamedTuple):
    """Sequences of tokens that each hypothesis must hold: beam search with a bank for each number of tokens met.

    Post and Vilar 2018 with the selection of Hu et al. 2019: the best of each bank live on, then the second best of
    each, until there are K. What a phrase wants is looked at beside the likeliest continuations of a hypothesis.
    """

    tokens: Sequence[Sequence[int]]
    """All different."""

    def met(self, tokens: Tensor) -> Tensor:
        """(B, N, C) tokens of each phrase that hypotheses (B, N, t) hold: all, or those of a beginning at their end."""
        columns = []
        for phrase in self.tokens:
            size, wanted = len(phrase), tokens.new_tensor(phrase)
            padded = torch.nn.functional.pad(tokens, (size, 0), value=-1)
            count = tokens.new_zeros(tokens.shape[:2])
            for some in range(1, size):
                count = count.masked_fill((padded[..., -some:] == wanted[:some]).all(-1), some)
            columns.append(count.masked_fill((padded.unfold(-1, size, 1) == wanted).all(-1).any(-1), size))
        return torch.stack(columns, dim=-1)

    def wanted(self, met: Tensor) -> Tensor:
        """(B, K, C) the next token of each phrase of which so much is met; -1 for none."""
        longest = max(map(len, self.tokens))
        table = met.new_tensor([[*phrase, *[-1] * (longest + 1 - len(phrase))] for phrase in self.tokens])
        return table.expand(*met.shape[:2], -1, -1).gather(-1, met.unsqueeze(-1)).squeeze(-1)

    def advance(
        self,
        beam: Beam,
        log_probs: Tensor,
        forced: Tensor | None,
        length: int,
        end: int,
        divided: float,
        bonus: Tensor | None = None,
    ) -> tuple[Beam, Tensor]:
        """One step, as `beam.advance`; a hypothesis ends when it has all phrases, or where its limit forces it to."""
        size, goal = log_probs.shape[1], sum(map(len, self.tokens))
        met = self.met(beam.tokens)
        ending = log_probs[..., end].masked_fill(met.sum(-1) < goal, NEVER)
        if forced is not None:
            ending = torch.where(forced.unsqueeze(1), ending.clamp(min=LEAST), ending)
            log_probs = log_probs.masked_fill(forced.view(-1, 1, 1), NEVER)
        log_probs = torch.cat((log_probs[..., :end], ending.unsqueeze(-1), log_probs[..., end + 1 :]), dim=-1)
        token, each = self.candidates(log_probs, self.wanted(met))  # (B, K, M)
        totals = (beam.totals.unsqueeze(-1) + each).flatten(1)  # (B, K M)
        parent = torch.arange(totals.shape[1], device=totals.device).expand_as(totals) // token.shape[-1]
        token, each = token.flatten(1), each.flatten(1)
        tokens = torch.cat((follow(beam.tokens, parent), token.unsqueeze(-1)), dim=-1)
        scores = torch.cat((follow(beam.scores, parent), each.unsqueeze(-1)), dim=-1)
        ends = token == end
        ranks = totals.masked_fill(~ends, NEVER) / divided
        if bonus is not None:
            ranks = ranks + bonus.gather(1, parent)
        ended = finish(beam, ranks, tokens, scores, length)
        order = banked(totals.masked_fill(ends, NEVER), self.met(tokens).sum(-1), size)
        rows = torch.arange(len(totals), device=order.device).unsqueeze(1) * size + parent.gather(1, order)
        living = ended._replace(
            last=token.gather(1, order),
            totals=totals.masked_fill(ends, NEVER).gather(1, order),
            tokens=follow(tokens, order),
            scores=follow(scores, order),
        )
        return living, rows

    def candidates(self, log_probs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest 2 K continuations of each hypothesis, with those that phrases want: (B, K, M), each once."""
        best, token = log_probs.topk(min(2 * log_probs.shape[1], log_probs.shape[-1]), dim=-1)
        scores = log_probs.gather(-1, wanted.clamp(min=0))
        same = wanted.unsqueeze(-1) == wanted.unsqueeze(-2)
        again = same.tril(-1).any(-1) | (wanted.unsqueeze(-1) == token.unsqueeze(-2)).any(-1)
        scores = scores.masked_fill(again | (wanted < 0), NEVER)
        return torch.cat((token, wanted.clamp(min=0)), dim=-1), torch.cat((best, scores), dim=-1)


def banked(totals: Tensor, banks: Tensor, size: int) -> Tensor:
    """(B, size) of N candidates with totals and banks (B, N): the best of each bank, then the second best, ..."""
    order = totals.argsort(dim=-1, descending=True, stable=True)
    totals, banks = totals.gather(1, order), banks.gather(1, order)
    same = banks.unsqueeze(-1) == banks.unsqueeze(-2)
    place = same.tril(-1).sum(-1)  # how many of its bank are better
    key = place * (banks.amax() + 1) - banks
    key = key.masked_fill(totals == NEVER, torch.iinfo(key.dtype).max)
    chosen = key.argsort(dim=-1, stable=True)[:, :size]
    return order.gather(1, chosen)


class Spotted(NamedTuple):
    """A text that must not appear, as an automaton over tokens (Knuth et al. 1977)."""

    after: Tensor
    """(n, V) how much of it is there after a token, by how much of it there was before."""
    completes: Tensor
    """(n, V) whether it is complete within that token."""
    first: int
    """How much of it is there at the beginning of a text."""


def spotted(pattern: str, parts: Sequence[str], device: torch.device) -> Spotted:
    """The automaton of a text for tokens that write these parts; a text begins as if a blank stood before it."""
    size, letters = len(pattern), set(pattern)
    falls = [0] * (size + 1)  # the longest beginning that also ends there, without being all of it
    for place in range(1, size):
        fall = falls[place]
        while fall and pattern[place] != pattern[fall]:
            fall = falls[fall]
        falls[place + 1] = fall + (pattern[place] == pattern[fall])

    def run(seen: int, text: str) -> tuple[int, bool]:
        complete = False
        for letter in text:
            while seen and (seen == size or pattern[seen] != letter):
                seen = falls[seen]
            seen += pattern[seen] == letter
            complete |= seen == size
        return (0 if complete else seen), complete

    nothing = (0, False)
    found = [
        [run(seen, part) if letters & set(part) else nothing if part else (seen, False) for part in parts]
        for seen in range(size)
    ]
    after, completes = (torch.tensor([[one[side] for one in row] for row in found], device=device) for side in (0, 1))
    return Spotted(after, completes, run(0, " ")[0])


class AvoidingState(Generic[S]):
    """A state of the network, with how much of each text to avoid is there."""

    def __init__(self, inner: S, seen: Tensor) -> None:
        """seen: (B, K, P)."""
        self.inner, self.seen = inner, seen

    def select(self, rows: Tensor) -> "AvoidingState[S]":
        """Keep, repeat or reorder hypotheses: rows (B', K') of hypothesis numbers, each row those of one source."""
        return AvoidingState(self.inner.select(rows), self.seen.flatten(0, 1)[rows])


def avoiding(
    step: StepFunction[S], state: S, count: int, texts: Sequence[Spotted], begin: int, end: int
) -> tuple[Callable[[Tensor, AvoidingState[S]], tuple[Tensor, AvoidingState[S]]], AvoidingState[S]]:
    """The same step without the tokens that would complete a text, and its first state, for `count` sources (B).

    Where that would leave nothing, the hypothesis may end, as a last resort.
    """

    def watched(tokens: Tensor, state: AvoidingState[S]) -> tuple[Tensor, AvoidingState[S]]:
        log_probs, inner = step(tokens, state.inner)
        columns, forbidden = [], torch.zeros_like(log_probs, dtype=torch.bool)
        for text, seen in zip(texts, state.seen.unbind(-1), strict=True):
            now = torch.where(tokens == begin, seen, text.after[seen, tokens])
            forbidden |= text.completes[now]
            columns.append(now)
        log_probs = log_probs.masked_fill(forbidden, NEVER)
        stuck = log_probs.amax(-1) == NEVER
        log_probs[..., end] = log_probs[..., end].masked_fill(stuck, LEAST)
        return log_probs, AvoidingState(inner, torch.stack(columns, dim=-1))

    first = torch.tensor([text.first for text in texts], device=texts[0].after.device)
    return watched, AvoidingState(state, first.expand(count, 1, -1))
