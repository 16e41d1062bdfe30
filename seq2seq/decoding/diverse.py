"""Diverse beam search: groups of hypotheses that avoid what the groups before them choose (Vijayakumar et al. 2016)."""

from typing import NamedTuple

import torch
from torch import Tensor

from seq2seq.decoding.beam import NEVER, Beam, advance
from seq2seq.decoding.hypotheses import Hypothesis


class Diversity(NamedTuple):
    """How a beam is divided."""

    groups: int
    """G, of K / G living and as many finished hypotheses each."""
    strength: float
    """Lambda, in nats: what a token loses for each hypothesis of an earlier group that takes it at the same step."""

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
        """One step, as `beam.advance`, group after group (algorithm 1 there, with Hamming diversity).

        The penalty only chooses: totals and scores stay log-probabilities. The end is no word and has no penalty.
        """
        sources, size, vocabulary = log_probs.shape
        each, source = size // self.groups, torch.arange(sources, device=log_probs.device).unsqueeze(1)
        taken, parts, rows = log_probs.new_zeros(sources, vocabulary), [], []
        for first in range(0, size, each):
            own = slice(first, first + each)
            group = Beam(*(tensor[:, own] for tensor in beam))
            if length == 1:  # each begins with an empty hypothesis
                group = group._replace(totals=beam.totals[:, :each])
            held = log_probs[:, own] - self.strength * taken.unsqueeze(1)
            grown, chosen = advance(group, held, forced, length, end, divided, None if bonus is None else bonus[:, own])
            parent, alive = chosen - each * source, grown.totals > NEVER
            true = log_probs[:, own].flatten(1).gather(1, parent * vocabulary + grown.last)
            totals = (group.totals.gather(1, parent) + true).masked_fill(~alive, NEVER)
            scores = torch.cat((grown.scores[..., :-1], true.unsqueeze(-1)), dim=-1)
            parts.append(grown._replace(totals=totals, scores=scores))
            rows.append(size * source + first + parent)
            taken = taken.scatter_add(1, grown.last, alive.to(taken.dtype))
            taken[:, end] = 0
        return Beam(*(torch.cat(column, dim=1) for column in zip(*parts, strict=True))), torch.cat(rows, dim=1)


def ranked(found: list[Hypothesis]) -> list[Hypothesis]:
    """The hypotheses of all groups, best first, each once."""
    ordered = sorted(found, key=lambda one: -one.score)
    return list({tuple(one.tokens): one for one in reversed(ordered)}.values())[::-1]
