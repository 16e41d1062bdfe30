"""Linear-chain conditional random field: which sequence of tags fits best, given a score of each tag at each step.

s(y) = start(y_1) + sum of emissions(t, y_t) + sum of transitions(y_t, y_{t+1}) + end(y_n), p(y) = exp s(y) / Z, where Z
sums over all allowed sequences (Lafferty et al. 2001, eq. 1; Lample et al. 2016, sec. 2.2). C is the number of tags;
the first `length` steps of a row are its own, and whatever stands behind them never matters.
"""

import math
import re
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from seq2seq.errors import InputError, check_range
from seq2seq.models.cells import at_least_32_bits, inside, turned
from seq2seq.models.exported import Tensors, exporting, over_time
from seq2seq.pinned_copy import to_device

SPAN = re.compile("([BIESLU])(?:-(.+))?")
"""A label that begins a span, is inside, or ends it; S and U are whole spans, L ends like E.

As in `data/schemes.py`, which a network may not import.
"""


class ConditionalRandomField(nn.Module):
    """Scores of neighbouring tags, and of the first and the last one, beside the emissions that a network computes."""

    start_allowed: Tensor
    end_allowed: Tensor
    allowed: Tensor

    def __init__(
        self,
        tags: int,
        start_allowed: Tensor | None = None,
        end_allowed: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> None:
        """Masks that `constraints` derives from labels; None allows everything.

        Args:
            tags: how many, C.
            start_allowed: (C,) which may be first.
            end_allowed: (C,) which may be last.
            allowed: (C, C) whether tag j may follow tag i.
        """
        super().__init__()
        check_range("tags", tags, 1)
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.start = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))
        shapes = {"start_allowed": (tags,), "end_allowed": (tags,), "allowed": (tags, tags)}
        masks = (start_allowed, end_allowed, allowed)
        for (name, shape), mask in zip(shapes.items(), masks, strict=True):
            mask = torch.ones(shape, dtype=torch.bool) if mask is None else mask
            if mask.shape != shape or mask.dtype != torch.bool:
                raise InputError(f"{name} is {mask.dtype} {tuple(mask.shape)}; {tags} tags need torch.bool {shape}")
            self.register_buffer(name, mask, persistent=False)  # follows from the labels, which are stored already

    def rules(self) -> "ConditionalRandomField":
        """The same constraints without scores."""
        masks = self.start_allowed, self.end_allowed, self.allowed
        return ConditionalRandomField(len(self.start), *masks).to(self.start.device)

    def log_partition(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """log Z in nats, (B,), of emissions (B, T, C) and lengths (B,): zero without a step, -inf if none is allowed.

        Lample et al. 2016, eq. 1, by the forward algorithm.
        """
        emissions, present = prepared(emissions, lengths)
        start, end, transitions = self.scores(-math.inf)
        totals = log_sum(arriving(emissions, start, transitions) + emissions + end)  # (B, T), had the row ended here
        return at_end(totals, present)

    def score(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """s(y) in nats, (B,), of tags (B, T); -inf where they break the constraints."""
        return self.free_score(emissions, tags, lengths).masked_fill(self.broken(tags, lengths), -math.inf)

    def loss(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """-log p(tags), in nats, summed over the rows: emissions (B, T, C), tags (B, T), lengths (B,) to one number.

        The candidates of a row are all allowed sequences and its reference. So a reference that breaks the constraints
        has a probability as well: it competes with the allowed sequences, and what is forbidden in it counts zero.
        """
        score = self.free_score(emissions, tags, lengths)
        besides = score.masked_fill(~self.broken(tags, lengths), -math.inf)
        return (torch.logaddexp(self.log_partition(emissions, lengths), besides) - score).sum()

    def log_probs(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """log p of each tag given those before it, (B, T), in nats: their sum over a row is log p(tags).

        A beginning has the probability of all sequences that go on from it; -inf from where the constraints are broken.
        """
        log_partition = self.log_partition(emissions, lengths)
        emissions, present = prepared(emissions, lengths)
        start, end, transitions = self.scores(-math.inf)
        later = turned(arriving(turned(emissions, lengths), end, transitions.t()), lengths)  # (B, T, C)
        own = (emissions.gather(2, tags.unsqueeze(2)).squeeze(2)).clone()
        own[:, :1] += start[tags[:, :1]]
        own[:, 1:] += transitions[tags[:, :-1], tags[:, 1:]]
        joint = own.masked_fill(~present, 0.0).cumsum(1) + later.gather(2, tags.unsqueeze(2)).squeeze(2)
        before = torch.cat((log_partition.unsqueeze(1), joint[:, :-1]), dim=1)
        return (joint - before).masked_fill(joint == -math.inf, -math.inf).masked_fill(~present, 0.0)

    def free_score(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """s(y) in nats, (B,), in which what is forbidden counts zero: no parameter may learn to excuse it."""
        emissions, present = prepared(emissions, lengths)
        first, last, pairs = boundaries(present)
        start, end, transitions = self.scores(0.0)
        tags = tags.masked_fill(~present, 0)
        ends = torch.where(first, start[tags], 0) + torch.where(last, end[tags], 0)
        steps = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)  # zero where padded
        between = transitions.flatten()[tags[:, :-1] * len(start) + tags[:, 1:]]
        return (steps + ends).sum(1) + torch.where(pairs, between, 0).sum(1)

    def broken(self, tags: Tensor, lengths: Tensor) -> Tensor:
        """Which of the tags (B, T) break the constraints, (B,)."""
        present = inside(lengths, tags)
        first, last, pairs = boundaries(present)
        tags = tags.masked_fill(~present, 0)
        wrong = (first & ~self.start_allowed[tags]) | (last & ~self.end_allowed[tags])
        return wrong.any(1) | (pairs & ~self.allowed[tags[:, :-1], tags[:, 1:]]).any(1)

    @torch.no_grad()
    def best(self, emissions: Tensor, lengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The `count` (K) best sequences: tags (B, K, T) and log-probabilities (B, K) in nats, best first.

        A row of n steps that has fewer allowed sequences gets -inf and zeros for those that are missing; tags are zero
        where padded. Viterbi with K hypotheses for each last tag (Seshadri and Sundberg 1994, parallel algorithm).
        """
        check_range("count", count, 1)
        log_partition = self.log_partition(emissions, lengths)
        emissions, present = prepared(emissions, lengths)
        start, end, transitions = self.scores(-math.inf)
        if exporting():
            return scanned_best(emissions, present, start, end, transitions, log_partition)
        rows, steps, tags = emissions.shape
        scores = emissions.new_full((rows, tags, count), -math.inf)  # of the best sequences with this last tag
        scores[:, :, 0] = start + emissions[:, 0] if steps else start
        pointers = []  # to the tag before and its rank
        for time in range(1, steps):
            candidates = (scores.unsqueeze(1) + transitions.t().unsqueeze(2)).flatten(2)  # (B, C, C K)
            new, pointer = largest(candidates, count)
            new += emissions[:, time].unsqueeze(2)
            scores = torch.where(present[:, time, None, None], new, scores)
            pointers.append(pointer.flatten(1))
        log_probs, end_index = largest((scores + end.unsqueeze(1)).flatten(1), count)  # (B, K)
        log_probs = log_probs - log_partition.unsqueeze(1)
        empty = torch.full_like(log_probs[:1], -math.inf)  # all that has no step
        empty[:, 0] = 0.0
        log_probs = torch.where((to_device(lengths, log_probs.device) == 0).unsqueeze(1), empty, log_probs)
        log_probs = log_probs.masked_fill((log_partition == -math.inf).unsqueeze(1), -math.inf)  # nothing is allowed
        paths = traced(end_index, pointers, present, count)
        return paths.masked_fill((log_probs == -math.inf).unsqueeze(2), 0), log_probs

    @torch.no_grad()
    def marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """The probability of each tag at each step, (B, T, C): zero where padded, or where nothing is allowed.

        Forward-backward: what arrives from the left, the emission, and what arrives from the right.
        """
        emissions, present = prepared(emissions, lengths)
        start, end, transitions = self.scores(-math.inf)
        left = arriving(emissions, start, transitions) + emissions
        right = turned(arriving(turned(emissions, lengths), end, transitions.t()), lengths)
        totals = (left + right).masked_fill(~present.unsqueeze(2), -math.inf)
        return totals.softmax(-1).masked_fill((totals == -math.inf).all(-1, keepdim=True), 0.0)

    def scores(self, forbidden: float) -> tuple[Tensor, Tensor, Tensor]:
        """Start (C,), end (C,) and transitions (C, C) in single precision or better, with `forbidden` for what is."""
        pairs = ((self.start, self.start_allowed), (self.end, self.end_allowed), (self.transitions, self.allowed))
        start, end, transitions = (at_least_32_bits(values).masked_fill(~mask, forbidden) for values, mask in pairs)
        return start, end, transitions


def prepared(emissions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Emissions (B, T, C) in 32 bits or better, zero where padded, and where they are not, (B, T)."""
    present = inside(lengths, emissions)
    return at_least_32_bits(emissions).masked_fill(~present.unsqueeze(2), 0.0), present


def boundaries(present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First and last steps (B, T) and neighbouring pairs (B, T - 1) of what is present (B, T)."""
    nothing = torch.zeros_like(present[:, :1])
    before, after = torch.cat((nothing, present[:, :-1]), 1), torch.cat((present[:, 1:], nothing), 1)
    steps = present.shape[1]
    return present & ~before[:, :steps], present & ~after[:, :steps], present[:, 1:]


def log_sum(values: Tensor) -> Tensor:
    """log sum exp over the last dimension; where all are -inf it is -inf too, with gradients of zero instead of NaN."""
    top = values.detach().amax(-1, keepdim=True).clamp(min=torch.finfo(values.dtype).min)
    total = (values - top).exp().sum(-1)
    nothing = total == 0
    return (total.masked_fill(nothing, 1.0).log() + top.squeeze(-1)).masked_fill(nothing, -math.inf)


def arriving(emissions: Tensor, start: Tensor, transitions: Tensor) -> Tensor:
    """log sum exp of the scores of all beginnings that end just before each tag of each step, (B, T, C)."""
    sums, back = [start.expand(emissions.shape[0], -1)], transitions.t().contiguous()
    if exporting():

        def step(before: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
            return (log_sum((before[0] + now[0]).unsqueeze(1) + back),), before

        return over_time(step, (sums[0],), (emissions,))[1][0]
    for emission in emissions[:, :-1].unbind(1):
        sums.append(log_sum((sums[-1] + emission).unsqueeze(1) + back))  # (B, C to, C from)
    return torch.stack(sums, 1)[:, : emissions.shape[1]]


def at_end(totals: Tensor, present: Tensor) -> Tensor:
    """(B, T) at each row's own last step, (B,); zero for a row without steps."""
    return nn.functional.pad(totals, (1, 0)).gather(1, present.sum(1, keepdim=True)).squeeze(1)


def scanned_best(
    emissions: Tensor, present: Tensor, start: Tensor, end: Tensor, transitions: Tensor, log_partition: Tensor
) -> tuple[Tensor, Tensor]:
    """The best sequence, as `best` finds it, in a network that is being exported: tags (B, 1, T), log-probability."""
    first, own = boundaries(present)[0], torch.arange(emissions.shape[2])

    def ahead(before: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        emission, here, begins = now[0], now[1].unsqueeze(1), now[2].unsqueeze(1)
        best, pointer = (before[0].unsqueeze(1) + transitions.t()).max(-1)
        scores = torch.where(begins, start + emission, torch.where(here, best + emission, before[0]))
        return (scores,), (torch.where(here & ~begins, pointer, own),)

    def back(after: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        return (now[0].gather(1, after[0]),), after

    (scores,), (pointers,) = over_time(ahead, (torch.zeros_like(emissions[:, 0]),), (emissions, present, first))
    score, tag = (scores + end).max(-1, keepdim=True)
    _, (path,) = over_time(back, (tag,), (pointers.flip(1),))
    log_probs = (score - log_partition.unsqueeze(1)).masked_fill((log_partition == -math.inf).unsqueeze(1), -math.inf)
    return path.flip(1).squeeze(2).masked_fill(~present, 0).unsqueeze(1), log_probs


def largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest numbers of the last dimension, in order, and their indices."""
    result = values.topk(count) if count > 1 else values.max(-1, keepdim=True)  # much faster than the top 1
    return result.values, result.indices


def traced(index: Tensor, pointers: Sequence[Tensor], present: Tensor, count: int) -> Tensor:
    """The tags (B, K, T) that lead to the ends `index` (B, K), each a tag times K plus a rank; zero where padded."""
    paths = index.new_zeros(*index.shape, present.shape[1])
    for time in range(present.shape[1] - 1, -1, -1):
        here = present[:, time, None]
        paths[:, :, time] = torch.where(here, index // count, 0)
        if time:
            index = torch.where(here, pointers[time - 1].gather(1, index), index)
    return paths


def constraints(labels: Sequence[str], scheme: Literal["BIO", "BIOES"]) -> tuple[Tensor, Tensor, Tensor]:
    """Masks of the labels: which may be first (C,), which last (C,), and whether label j may follow label i (C, C).

    I-x and E-x continue B-x or I-x; in BIOES these must be continued. O, S-x and B-x stand between spans. Labels that
    are not of this form are unrestricted.
    """
    if scheme not in ("BIO", "BIOES"):
        raise InputError(f"the scheme of the labels is {scheme!r}; it must be BIO or BIOES")
    matches = [SPAN.fullmatch(label) for label in labels]
    prefixes = [match[1] if match else label for label, match in zip(labels, matches, strict=True)]
    opening = torch.tensor([prefix in ("B", "I") for prefix in prefixes])
    continuing = torch.tensor([prefix in ("I", "E", "L") for prefix in prefixes])
    free = torch.tensor([match is None and label != "O" for label, match in zip(labels, matches, strict=True)])
    kinds = [match[2] if match else None for match in matches]
    same = torch.tensor([[kind == other for other in kinds] for kind in kinds])
    joined = opening.unsqueeze(1) & continuing & same
    wrong = continuing & ~joined
    if scheme == "BIOES":
        wrong = wrong | (opening.unsqueeze(1) & ~joined)
    allowed = ~wrong | free | free.unsqueeze(1)
    return ~continuing, ~opening if scheme == "BIOES" else torch.ones_like(opening), allowed
