"""Search where each step writes any number of classes, each of which the later ones know, as seq2seq does it.

Classes are numbers from 0, of which 0 is the blank: it ends a step (Graves 2012). J numbers join a step with what has
been written, N hypotheses are computed together.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from seq2seq_runtime.ctc import BLANK, NEVER, Prefix, added
from seq2seq_runtime.problems import FileError

SPARE, EACH = 10, 2
"""Classes that a row may have in any case, and for each step besides."""

AHEAD = 16
"""Steps of a stream that are looked at together, until one of them writes."""

AT_ONCE = 2048
"""Pairs of a step and a prefix whose probabilities are computed together."""

Arrays = dict[str, np.ndarray]


def most(time: int) -> int:
    """Classes that may have been written when the step number `time` ends."""
    return SPARE + EACH * (time + 1)


class WrittenTokens(NamedTuple):
    """What N hypotheses have written, as the network sees it."""

    vector: np.ndarray
    """(N, J)"""
    states: tuple[np.ndarray, ...]
    """(L, N, H) each."""

    def select(self, rows: np.ndarray) -> "WrittenTokens":
        """The given hypotheses."""
        return WrittenTokens(self.vector[rows], tuple(one[:, rows] for one in self.states))

    def where(self, kept: np.ndarray, other: "WrittenTokens") -> "WrittenTokens":
        """These where kept (N,) is true, others elsewhere."""
        pairs = zip(self.states, other.states, strict=True)
        states = tuple(np.where(kept[:, None], one, another) for one, another in pairs)
        return WrittenTokens(np.where(kept[:, None], self.vector, other.vector), states)


class Writer:
    """The part of a network that knows what has been written, and what joins it with a step."""

    def __init__(
        self, run: Callable[[Arrays], Mapping[str, np.ndarray]], joint: int, states: Sequence[tuple[int, int]]
    ) -> None:
        """run: the network; joint: J; states: layers and units of each tensor."""
        self.run, self.joint, self.shapes = run, joint, states

    def idle(self) -> Arrays:
        """What it reads where nothing is asked of it."""
        nothing = self.carried([np.zeros((layers, 1, units), np.float32) for layers, units in self.shapes])
        return {"classes": np.zeros(1, np.int64), "joined": np.zeros((1, self.joint), np.float32), **nothing}

    def carried(self, states: Sequence[np.ndarray]) -> Arrays:
        """States by their names."""
        return {f"written_{place}": one for place, one in enumerate(states)}

    def first(self, count: int) -> WrittenTokens:
        """Of hypotheses that have written nothing."""
        zeros = [np.zeros((layers, count, units), np.float32) for layers, units in self.shapes]
        return self.after(np.full(count, BLANK), zeros)

    def after(self, classes: np.ndarray, states: Sequence[np.ndarray]) -> WrittenTokens:
        """After one more class (N,)."""
        found = self.run(self.carried(states) | {"classes": classes.astype(np.int64)})
        vector = self.checked(found, "vector", (len(classes), self.joint))
        after = [self.checked(found, f"written_{place}_after", one.shape) for place, one in enumerate(states)]
        return WrittenTokens(vector, tuple(after))

    def log_probs(self, joined: np.ndarray) -> np.ndarray:
        """(N, C) in nats for the sums (N, J) of a step and of what has been written."""
        found = self.run({"joined": joined.astype(np.float32)})
        return self.checked(found, "log_probs", (len(joined), None)).astype(np.float64)

    @staticmethod
    def checked(found: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """An output of this shape; FileError for another one."""
        value = found.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim != len(shape):
            raise FileError(f"it gives no {name}, as its description says it would")
        if any(size is not None and size != there for size, there in zip(shape, value.shape, strict=True)):
            raise FileError(f"its {name} have the shape {value.shape}, and {shape} is expected")
        return value


class Living(NamedTuple):
    """A hypothesis in the middle of its row."""

    row: int
    prefix: Prefix
    log_prob: float
    """Of all ways to write it that are known."""
    parent: int
    """The number of the hypothesis that it continues."""


def search(writer: Writer, steps: Sequence[np.ndarray], beam_size: int) -> list[list[tuple[Prefix, float]]]:
    """The best outputs of rows of steps (T, J), best first, with their log-probability over all ways to write them.

    Hypotheses advance together, by a class or by a step, so that all ways to have written the same meet (Saon et al.
    2020, alg. 3). A beam of one takes the likeliest at every node.
    """
    found: list[dict[Prefix, float]] = [{} for _ in steps]
    living = [Living(row, (), 0.0, row) for row in range(len(steps))]
    written, walked = writer.first(len(steps)), 0
    while living:
        frames = np.stack([steps[one.row][walked - len(one.prefix)] for one in living])
        values = writer.log_probs(frames + written.vector)
        grown = advanced(living, values, [len(row) for row in steps], beam_size, walked, found)
        walked += 1
        if grown:
            written = following(writer, grown, living, written)
        living = grown
    best = [sorted(ended, key=lambda prefix: (-ended[prefix], prefix))[:beam_size] for ended in found]
    each = (zip(texts, text_log_probs(writer, row, texts), strict=True) for texts, row in zip(best, steps, strict=True))
    return [sorted(row, key=lambda one: -one[1]) for row in each]


def following(
    writer: Writer, grown: Sequence[Living], living: Sequence[Living], written: WrittenTokens
) -> WrittenTokens:
    """What the hypotheses that live on have written."""
    before = written.select(np.array([one.parent for one in grown]))
    stays = np.array([one.prefix == living[one.parent].prefix for one in grown])
    if stays.all():
        return before
    last = np.array([one.prefix[-1] if one.prefix else BLANK for one in grown])
    return before.where(stays, writer.after(last, before.states))


def advanced(
    living: Sequence[Living],
    values: np.ndarray,
    steps: Sequence[int],
    beam_size: int,
    walked: int,
    found: list[dict[Prefix, float]],
) -> list[Living]:
    """The hypotheses that live on after one more class or step of values (N, C); those that end go to `found`."""
    candidates: dict[int, dict[tuple[Prefix, bool], Living]] = {}
    here: dict[int, set[Prefix]] = {}
    for one in living:
        here.setdefault(one.row, set()).add(one.prefix)
    for number, (one, frame) in enumerate(zip(living, values, strict=True)):
        own, time = candidates.setdefault(one.row, {}), walked - len(one.prefix)
        into(own, one, number, None, float(frame[BLANK]), time + 1 == steps[one.row])
        if len(one.prefix) >= most(time):
            continue
        best = 1 + np.argsort(-frame[1:], kind="stable")[:beam_size]
        known = (prefix[-1] for prefix in here[one.row] if prefix and prefix[:-1] == one.prefix)
        for next_class in {*best.tolist(), *known}:
            into(own, one, number, next_class, float(frame[next_class]), False)
    result: list[Living] = []
    for row, own in candidates.items():
        best_first = sorted(own.items(), key=lambda item: (-item[1].log_prob, item[0]))[:beam_size]
        found[row] |= {one.prefix: one.log_prob for (_, ended), one in best_first if ended}
        left = [one for (_, ended), one in best_first if not ended]
        result += [] if is_over(found[row], left, beam_size) else left
    return result


def into(
    candidates: dict[tuple[Prefix, bool], Living],
    one: Living,
    number: int,
    next_class: int | None,
    log_prob: float,
    ends: bool,
) -> None:
    """Add a hypothesis that writes a class, or nothing, to the candidates, where ways to write the same are summed."""
    prefix = one.prefix if next_class is None else (*one.prefix, next_class)
    total, other = one.log_prob + log_prob, candidates.get((prefix, ends))
    if other is not None:
        candidates[prefix, ends] = other._replace(log_prob=added(other.log_prob, total))
    elif total > NEVER:
        candidates[prefix, ends] = Living(one.row, prefix, total, number)


def is_over(ended: Mapping[Prefix, float], living: Sequence[Living], beam_size: int) -> bool:
    """Whether nothing that lives can enter a full list: all of it together is less than what is there."""
    if len(ended) < beam_size:
        return not living
    total = NEVER
    for one in living:
        total = added(total, one.log_prob)
    return total <= sorted(ended.values())[-beam_size]


def text_log_probs(writer: Writer, steps: np.ndarray, texts: Sequence[Prefix]) -> list[float]:
    """The log-probability of each text over all ways to place its classes among the steps (T, J) (eq. 16 to 18)."""
    if not texts:
        return []
    written = [writer.first(len(texts))]
    for place in range(max(map(len, texts))):
        classes = np.array([text[place] if place < len(text) else BLANK for text in texts])
        written.append(writer.after(classes, written[-1].states))
    vectors = np.stack([one.vector for one in written], 1)  # (K, U + 1, J)
    return [lattice(writer, steps, vectors[row, : len(text) + 1], text) for row, text in enumerate(texts)]


def lattice(writer: Writer, steps: np.ndarray, vectors: np.ndarray, text: Prefix) -> float:
    """The sum over all paths through steps (T, J) and prefixes (U + 1, J)."""
    count = len(vectors)
    joined = (steps[:, None] + vectors).reshape(-1, writer.joint)
    parts = [writer.log_probs(joined[start : start + AT_ONCE]) for start in range(0, len(joined), AT_ONCE)]
    following = np.tile([*text, BLANK], len(steps))
    numbers = np.arange(AT_ONCE)
    blanks = np.concatenate([part[:, BLANK] for part in parts]).reshape(-1, count).tolist()
    nexts = [part[numbers[: len(part)], following[AT_ONCE * at :][: len(part)]] for at, part in enumerate(parts)]
    writes = np.concatenate(nexts).reshape(-1, count).tolist()
    sums = [0.0] + [NEVER] * (count - 1)
    for blank, write in zip(blanks, writes, strict=True):
        for place in range(1, count):
            sums[place] = added(sums[place], sums[place - 1] + write[place - 1])
        sums = [total + one for total, one in zip(sums, blank, strict=True)]
    return float(sums[-1])


class Following:
    """The classes that one step after the other writes: the likeliest at each node."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.count, self.written = writer, 0, writer.first(1)

    def of(self, steps: np.ndarray, first: int) -> list[tuple[int, int]]:
        """The classes of steps (T, J), with a blank after each token, and the step's number; the first has `first`."""
        result: list[tuple[int, int]] = []
        at, wrote = 0, False
        while at < len(steps):
            best = [BLANK]
            if self.count < most(first + at):
                ahead = steps[at : at + AHEAD] + self.written.vector
                best = self.writer.log_probs(ahead).argmax(-1).tolist()
            for number in best:
                if number != BLANK:
                    result += [(number, first + at), (BLANK, first + at)]
                    self.written = self.writer.after(np.array([number]), self.written.states)
                    self.count, wrote = self.count + 1, True
                    break
                result += [] if wrote else [(BLANK, first + at)]
                at, wrote = at + 1, False
        return result
