"""Search where each step writes any number of classes, each of which the later ones know (Graves 2012).

Classes are numbers from 0, of which 0 is the blank: it ends a step.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from seq2seq.decoding.ctc import NEVER, added
from seq2seq.decoding.guide import Guide, Prefix, unguided
from seq2seq.decoding.hypotheses import without_gradients
from seq2seq.pinned_copy import to_device, to_host

SPARE, EACH = 10, 2
"""Classes that a row may have in any case, and for each step besides."""

W = TypeVar("W", bound="WrittenState")


class WrittenState(Protocol):
    """What N hypotheses have written, as a network sees it."""

    def select(self: W, rows: Tensor, /) -> W:
        """The given hypotheses (N',)."""
        ...

    def where(self: W, kept: Tensor, other: W, /) -> W:
        """These where kept (N,) is true, others elsewhere."""
        ...


class WritingNetwork(Protocol[W]):
    """What the search needs of a network."""

    def first(self, count: int, /) -> W:
        """Of hypotheses that have written nothing."""
        ...

    def after(self, classes: Tensor, written: W, /) -> W:
        """After one more class (N,)."""
        ...

    def log_probs(self, rows: Tensor, times: Tensor, written: W, /) -> Tensor:
        """(N, C) in nats for hypotheses of rows (N,) in their steps (N,)."""
        ...


class Living(NamedTuple):
    """A hypothesis in the middle of its row."""

    row: int
    prefix: Prefix
    log_prob: float
    """Of all ways to write it that are known."""
    extra: float
    """What a guide has added."""
    parent: int
    """The number of the hypothesis that it continues."""


def most(time: int) -> int:
    """Classes that may have been written when the step number `time` ends, so that every search does."""
    return SPARE + EACH * (time + 1)


@without_gradients()
def search(
    network: WritingNetwork[W], steps: Sequence[int], beam_size: int, device: torch.device, guide: Guide | None = None
) -> list[list[tuple[Prefix, float]]]:
    """The best outputs of rows with so many steps, best first, each with what the guide has added.

    Hypotheses advance together, by a class or by a step, so that all ways to have written the same meet (Saon et al.
    2020, alg. 3). Those that end take their place among the `beam_size` best like the others; a row is over when none
    lives, or as many have ended and none that lives can enter. A beam of one takes the likeliest at every node.
    """
    found: list[dict[Prefix, tuple[float, float]]] = [{} for _ in steps]
    living = [Living(row, (), 0.0, 0.0, row) for row in range(len(steps))]
    written, walked = network.first(len(steps)), 0
    while living:
        rows, times = (
            to_device(torch.tensor(numbers), device)
            for numbers in ([one.row for one in living], [walked - len(one.prefix) for one in living])
        )
        [values] = to_host(network.log_probs(rows, times, written).double())
        grown = advanced(living, values.numpy(), steps, beam_size, walked, guide, found)
        walked += 1
        if grown:
            written = after(network, grown, living, written, device)
        living = grown
    return [ordered(ended, beam_size) for ended in found]


def after(
    network: WritingNetwork[W], grown: Sequence[Living], living: Sequence[Living], written: W, device: torch.device
) -> W:
    """What the hypotheses that live on have written."""
    parents = to_device(torch.tensor([one.parent for one in grown]), device)
    stays = [one.prefix == living[one.parent].prefix for one in grown]
    before = written.select(parents)
    if all(stays):
        return before
    last = to_device(torch.tensor([one.prefix[-1] if one.prefix else 0 for one in grown]), device)
    return before.where(to_device(torch.tensor(stays), device), network.after(last, before))


def advanced(
    living: Sequence[Living],
    values: np.ndarray,
    steps: Sequence[int],
    beam_size: int,
    walked: int,
    guide: Guide | None,
    found: list[dict[Prefix, tuple[float, float]]],
) -> list[Living]:
    """The hypotheses that live on after one more class or step of values (N, C); those that end go to `found`."""
    prefixes = [one.prefix for one in living]
    worth = unguided(prefixes, values.shape[1]) if guide is None else guide(prefixes)
    candidates: dict[int, dict[tuple[Prefix, bool], Living]] = {}
    here: dict[int, set[Prefix]] = {}
    for one in living:
        here.setdefault(one.row, set()).add(one.prefix)
    for number, (one, frame, more) in enumerate(zip(living, values, worth, strict=True)):
        own, time = candidates.setdefault(one.row, {}), walked - len(one.prefix)
        ends = time + 1 == steps[one.row]
        into(own, one, number, None, float(frame[0]), float(more[0]) if ends else 0.0, ends)
        if len(one.prefix) >= most(time):
            continue
        best = 1 + np.argsort(-(frame[1:] + more[1:]), kind="stable")[:beam_size]
        known = (prefix[-1] for prefix in here[one.row] if prefix and prefix[:-1] == one.prefix)
        for next_class in {*best.tolist(), *known}:
            into(own, one, number, next_class, float(frame[next_class]), float(more[next_class]), False)
    result: list[Living] = []
    for row, own in candidates.items():
        best_first = sorted(own.items(), key=lambda item: (-item[1].log_prob - item[1].extra, item[0]))[:beam_size]
        possible = [(ended, one) for (_, ended), one in best_first if one.log_prob + one.extra > NEVER]
        found[row] |= {one.prefix: (one.log_prob, one.extra) for ended, one in possible if ended}
        left = [one for ended, one in possible if not ended]
        result += [] if is_over(found[row], left, beam_size) else left
    return result


def into(
    candidates: dict[tuple[Prefix, bool], Living],
    one: Living,
    number: int,
    next_class: int | None,
    log_prob: float,
    extra: float,
    ends: bool,
) -> None:
    """Add a hypothesis that writes a class, or nothing, to the candidates, where ways to write the same are summed."""
    prefix = one.prefix if next_class is None else (*one.prefix, next_class)
    total, other = one.log_prob + log_prob, candidates.get((prefix, ends))
    if other is not None:
        candidates[prefix, ends] = other._replace(log_prob=added(other.log_prob, total))
    elif total > NEVER:
        candidates[prefix, ends] = Living(one.row, prefix, total, one.extra + extra, number)


def is_over(ended: dict[Prefix, tuple[float, float]], living: Sequence[Living], beam_size: int) -> bool:
    """Whether nothing that lives can enter a full list: all of it together is less than what is there."""
    if len(ended) < beam_size:
        return not living
    total = NEVER
    for one in living:
        total = added(total, one.log_prob + one.extra)
    return total <= sorted(map(sum, ended.values()))[-beam_size]


def ordered(ended: dict[Prefix, tuple[float, float]], beam_size: int) -> list[tuple[Prefix, float]]:
    """The best of them, best first, with what the guide has added."""
    best = sorted(ended, key=lambda prefix: (-sum(ended[prefix]), prefix))[:beam_size]
    return [(prefix, ended[prefix][1]) for prefix in best]
