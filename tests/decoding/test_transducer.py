"""Search of a transducer against all outputs of tiny networks, whose next class hangs on all that was written."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from seq2seq.decoding import transducer
from seq2seq.decoding.transducer import search

CLASSES = 3
CPU = torch.device("cpu")
Prefix = tuple[int, ...]


class Histories(NamedTuple):
    """What hypotheses have written, as itself."""

    texts: list[Prefix]

    def select(self, rows: Tensor) -> "Histories":
        return Histories([self.texts[row] for row in rows.tolist()])

    def where(self, kept: Tensor, other: "Histories") -> "Histories":
        return Histories([a if keep else b for keep, a, b in zip(kept.tolist(), self.texts, other.texts, strict=True)])


class Table:
    """Log-probabilities drawn for each row, step and text."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def of(self, row: int, time: int, text: Prefix) -> np.ndarray:
        random = np.random.default_rng([self.seed, row, time, *text])
        values = random.normal(size=CLASSES) * 1.5 + [1, 0, 0]  # few tokens for each step
        result: np.ndarray = values - np.log(np.exp(values).sum())
        return result

    def first(self, count: int) -> Histories:
        return Histories([()] * count)

    def after(self, classes: Tensor, written: Histories) -> Histories:
        return Histories([(*text, number) for text, number in zip(written.texts, classes.tolist(), strict=True)])

    def log_probs(self, rows: Tensor, times: Tensor, written: Histories) -> Tensor:
        triples = zip(rows.tolist(), times.tolist(), written.texts, strict=True)
        return torch.from_numpy(np.stack([self.of(*triple) for triple in triples]))

    def text(self, row: int, steps: int, text: Prefix) -> float:
        """The log-probability of a text over all alignments that keep to the limit."""
        sums = np.full((steps, len(text) + 1), -np.inf)
        for time, written in itertools.product(range(steps), range(len(text) + 1)):
            arriving = [0.0] if time == written == 0 else []
            if time:
                arriving.append(sums[time - 1, written] + self.of(row, time - 1, text[:written])[0])
            if written and written - 1 < transducer.most(time):
                before = text[: written - 1]
                arriving.append(sums[time, written - 1] + self.of(row, time, before)[text[written - 1]])
            sums[time, written] = np.logaddexp.reduce(arriving)
        return float(sums[-1, -1] + self.of(row, steps - 1, text)[0])


STEPS = [3, 1, 2]


def texts(longest: int) -> list[Prefix]:
    return [text for size in range(longest + 1) for text in itertools.product(range(1, CLASSES), repeat=size)]


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_that_holds_all_is_exhaustive(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transducer, "most", lambda time: time + 1)
    table = Table(seed)
    found = search(table, STEPS, 400, CPU)
    for row, steps in enumerate(STEPS):
        scores = {text: table.text(row, steps, text) for text in texts(steps)}
        assert [text for text, _ in found[row]] == sorted(scores, key=lambda text: -scores[text])


@pytest.mark.parametrize("seed", range(4))
def test_a_guide_adds_to_each_token_and_to_the_end(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transducer, "most", lambda time: time + 1)
    table, model = Table(seed), Table(seed + 100)

    def guide(prefixes: object) -> list[np.ndarray]:
        values = [model.of(0, 0, prefix) for prefix in prefixes]  # type: ignore[attr-defined]
        for value, prefix in zip(values, prefixes, strict=True):  # type: ignore[call-overload]
            if prefix[-1:] == (1,):
                value[1] = -np.inf  # never twice
        return values

    def worth(text: Prefix) -> float:
        [*tokens, end] = (guide([text[:size]])[0] for size in range(len(text) + 1))
        return float(sum(values[number] for values, number in zip(tokens, text, strict=True)) + end[0])

    found = search(table, STEPS, 400, CPU, guide)
    for row, steps in enumerate(STEPS):
        allowed = [text for text in texts(steps) if (1, 1) not in itertools.pairwise(text)]
        scores = {text: table.text(row, steps, text) + worth(text) for text in allowed}
        assert [text for text, _ in found[row]] == sorted(scores, key=lambda text: -scores[text])
        assert all(np.isclose(extra, worth(text)) for text, extra in found[row])


@pytest.mark.parametrize("seed", range(8))
def test_a_beam_of_one_takes_the_likeliest_at_every_node(seed: int) -> None:
    table = Table(seed)
    [[(found, _)], *others] = search(table, [5, 4], 1, CPU)
    time, text = 0, list[int]()
    while time < 5:
        best = int(table.of(0, time, tuple(text)).argmax())
        time, text = (time, [*text, best]) if best and len(text) < transducer.most(time) else (time + 1, text)
    assert found == tuple(text)
    assert len(others) == 1


def test_rows_do_not_know_each_other_and_a_wider_beam_finds_no_worse() -> None:
    for seed in range(6):
        table = Table(seed)
        narrow, wide = (search(table, STEPS, size, CPU) for size in (2, 5))
        for row, steps in enumerate(STEPS):
            assert table.text(row, steps, wide[row][0][0]) >= table.text(row, steps, narrow[row][0][0]) - 1e-9
        assert search(table, STEPS[:1], 5, CPU) == wide[:1]


def test_what_is_not_finite_has_no_text() -> None:
    class Broken(Table):
        def log_probs(self, rows: Tensor, times: Tensor, written: Histories) -> Tensor:
            return super().log_probs(rows, times, written) * torch.nan

    assert search(Broken(1), [2], 3, CPU) == [[]]
