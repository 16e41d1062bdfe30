"""A part of somebody else that breaks its contract is refused in one line that names it, where it is first used."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seq2seq import train
from seq2seq.configurable import build
from seq2seq.data.batching.split import encode
from seq2seq.data.cache import Cache
from seq2seq.data.corpora.corpus import Corpus
from seq2seq.data.rows import Row, in_memory
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Words
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.base import Metric, Prediction
from seq2seq.models.attention import Attention, Dot
from seq2seq.models.cells import Cell, CellState
from seq2seq.tasks.translation import Translation
from seq2seq.training.tried_metrics import try_all
from tests.support import REVERSAL, learnt, small, split_of, trained
from tests.tasks.counting import Counting


class HalfCell(Cell):
    def create(self, input_size: int) -> None: ...


class WideCell(HalfCell):
    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        return (torch.cat((state[0], state[0]), -1),)


class BareCell(HalfCell):
    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        return state[0]  # type: ignore[return-value]


class CrashingCell(HalfCell):
    def create(self, input_size: int) -> None:
        self.map = nn.Linear(input_size + 1, self.hidden_size)

    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        return (self.map(inputs),)


class TurnedAttention(Dot):
    def weights(self, queries: Tensor, memory: Any, coverage: Tensor | None) -> Tensor:
        return super().weights(queries, memory, coverage)[..., :1]


class Uncounted(Metric):
    name = "uncounted"


class FlatMetric(ExactMatch):
    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        return super().statistics(rows)[:, 0]


class NamelessMetric(ExactMatch):
    name = ""


class RowlessCorpus(Corpus):
    """Says nothing of rows."""


class EmptyCorpus(Corpus):
    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        yield from ()


class TupleCorpus(Corpus):
    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        yield ("a", "b", 1)  # type: ignore[misc]


class Skipping(Words):
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return super().encode(texts)[1:]


class Beyond(Words):
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[number + 300 for number in ids] for ids in super().encode(texts)]


class VectorLoss(Counting):
    def loss(self, batch: Any) -> Tensor:
        return super().loss(batch).expand(2)


class Silent(Counting):
    def predict(self, batch: Any, decoding: Any) -> list[list[Hypothesis]]:
        return []


class Unscored(Counting):
    usual_metrics = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (lambda: WideCell().build(4, 8, False), r"WideCell .*step has \[\(2, 16\)\], not \[\(2, 8\)\]"),
        (lambda: BareCell().build(4, 8, True), "BareCell .*step"),
        (lambda: CrashingCell().build(4, 8, False), "CrashingCell .*step"),
        (lambda: TurnedAttention().build(8, 8), r"TurnedAttention .*weights \(B, T, S\)"),
        (lambda: build(Metric, Uncounted().specification()), "Uncounted lacks statistics, value"),
        (lambda: in_memory(TupleCorpus().rows("train", None)), r"Row\(source, target, line\), not \('a', 'b', 1\)"),
        (lambda: encode(["a", "b"], "", trained(Skipping()), Cache(None), "x"), "Skipping.encode makes 1 rows .* of 2"),
        (lambda: encode(["a", "b"], "", trained(Beyond()), Cache(None), "x"), "Beyond.encode makes ids from"),
    ],
)
def test_what_breaks_its_contract_is_named(broken: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError, match=named) as raised:
        broken()
    assert "docs/extending.md" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        (["--model.cell", "tests.test_contracts.HalfCell"], "HalfCell lacks step, .*Cell"),
        (["--model.metrics", "[tests.test_contracts.Uncounted]"], "Uncounted lacks statistics, value, .*Metric"),
        (["--data.corpus", "tests.test_contracts.RowlessCorpus"], "RowlessCorpus lacks rows, .*Corpus"),
        (["--data.corpus", "tests.test_contracts.EmptyCorpus"], "train split is empty"),
        (["--model.metrics", "[tests.test_contracts.NamelessMetric]"], "NamelessMetric lacks its `name`"),
    ],
)
def test_a_training_refuses_it_at_once(option: list[str], named: str, tmp_path: Any) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(REVERSAL)
    with pytest.raises(InputError, match=named):
        train.main(["--config", str(config), "--run", str(tmp_path / "run"), *option])


ROWS = [("a b a", "2"), ("b", "0"), ("a b c d", "1")]


def test_a_task_and_a_metric_are_tried_before_training() -> None:
    tokenizers = learnt(ROWS, Words(), Vectors())
    for kind, named in ((VectorLoss, r"VectorLoss\.loss.*\(2,\)"), (Silent, "Silent.predict gives 0 lists")):
        task = kind(tokenizers, hidden_size=8, embedding_size=4)
        with pytest.raises(InputError, match=named):
            try_all(task, split_of(ROWS, tokenizers, task.row_format))
    words = learnt(ROWS, Words(), Words())
    task = small(Translation, words, metrics=[FlatMetric()])
    with pytest.raises(InputError, match=r"exact_match must be numbers \(N, K\)"):
        try_all(task, split_of(ROWS, words))


def test_our_own_attention_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attention, "wrong_shapes", lambda *_: pytest.fail("tried"))
    Dot().build(8, 8)
