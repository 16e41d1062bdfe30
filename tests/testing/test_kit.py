"""The kit finds nothing in our own parts, and names the contract that a broken one breaks."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seq2seq.data.corpora.builtin.synthetic import Copying
from seq2seq.data.corpora.corpus import Corpus
from seq2seq.data.corpora.tables import Tsv
from seq2seq.data.rows import Row
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Words
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.accuracy import ExactMatch, MacroF1
from seq2seq.metrics.base import Metric, Prediction
from seq2seq.metrics.bleu import Bleu, Chrf
from seq2seq.models.attention import Additive, Attention, Dot, LocalP, MultiHeadAdditive
from seq2seq.models.cells import GRU, LSTM, Cell, CellState, LayerNormLSTM, MinGRU
from seq2seq.tasks.translation import Translation
from seq2seq.testing import check_attention, check_cell, check_corpus, check_metric, check_task, check_tokenizer
from tests.support import PAIRS, learnt, small
from tests.tasks.counting import Counting


@pytest.mark.parametrize("cell", [GRU(), LSTM(), LayerNormLSTM(), MinGRU()], ids=repr)
def test_our_cells(cell: Cell) -> None:
    check_cell(cell)


@pytest.mark.parametrize("attention", [Dot("sparsemax"), Additive(coverage=True), LocalP(2), MultiHeadAdditive()])
def test_our_attentions(attention: Attention) -> None:
    check_attention(attention)


def test_our_tokenizers_metrics_and_corpora(tmp_path: Path) -> None:
    check_tokenizer(Words())
    check_tokenizer(Characters())
    check_tokenizer(Vectors(), ["1 2\t3 4", "5 6"])
    for metric in (ExactMatch(), Bleu(), Chrf(), MacroF1()):
        check_metric(metric)
    check_corpus(Copying(train=5, validation=2, test=2))
    (tmp_path / "train.tsv").write_text("a\tb\nc\td\n")
    check_corpus(Tsv(), str(tmp_path))


def test_our_tasks(tokenizers: Tokenizers) -> None:
    check_task(small(Translation, tokenizers), PAIRS[:4])
    rows = [("a b a", "2"), ("b", "0"), ("a b c d", "1")]
    check_task(Counting(learnt(rows, Words(), Vectors()), hidden_size=8, embedding_size=4), rows)


class Leaky(Cell):
    """A cell that keeps its contract, from which the broken ones differ in one place."""

    def create(self, input_size: int) -> None:
        self.maps = nn.ModuleList(nn.Linear(input_size + self.hidden_size, self.hidden_size) for _ in range(2))

    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        hidden = state[0] if mask is None else state[0] * mask
        return (0.5 * state[0] + 0.5 * torch.tanh(self.maps[direction](torch.cat((inputs, hidden), -1))),)


class OneDirection(Leaky):
    """Its second map learns only where there are two directions."""

    def create(self, input_size: int) -> None:
        self.maps = nn.ModuleList(
            nn.Linear(input_size + self.hidden_size, self.hidden_size) for _ in range(self.directions)
        )


class Deaf(OneDirection):
    def step(self, inputs: Tensor, state: CellState, direction: int = 0, mask: Tensor | None = None) -> CellState:
        return super().step(inputs, state, direction)


class Fast(OneDirection):
    def run(self, inputs: Tensor, state: CellState, direction: int, mask: Tensor | None) -> CellState:
        return (super().run(inputs, state, direction, mask)[0] * 1.001,)


class Padded(OneDirection):
    def forward(self, inputs: Tensor, state: Any = None, lengths: Any = None, masks: Any = None) -> Any:
        outputs, last = super().forward(inputs, state, None, masks)
        return outputs, last


class Forgetful(OneDirection):
    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()


def test_a_good_cell_of_ones_own() -> None:
    check_cell(OneDirection())


@pytest.mark.parametrize(
    ("cell", "contract"),
    [
        (Leaky(), r"Leaky .*finite gradient.*maps\.1"),
        (Deaf(), "Deaf .*mask acts"),
        (Fast(), "Fast .*step equals sequence"),
        (Padded(), "Padded .*padding"),
        (Forgetful(), "Forgetful .*rate"),
    ],
)
def test_a_broken_cell(cell: Cell, contract: str) -> None:
    with pytest.raises(AssertionError, match=contract) as raised:
        check_cell(cell)
    assert "\n" not in str(raised.value)


class Leaning(Dot):
    def weights(self, queries: Tensor, memory: Any, coverage: Tensor | None) -> Tensor:
        return self.scores(queries, memory.keys, coverage).softmax(-1)


class Neighbours(Dot):
    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        return super().scores(queries, keys - keys.mean(0, keepdim=True).square())


@pytest.mark.parametrize(("attention", "contract"), [(Leaning(), "padding"), (Neighbours(), "padding|neighbours")])
def test_a_broken_attention(attention: Attention, contract: str) -> None:
    with pytest.raises(AssertionError, match=rf"{type(attention).__name__} .*{contract}"):
        check_attention(attention)


class Lower(Words):
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return super().encode([text.lower() for text in texts])


class Amnesia(Words):
    def restore(self, state: bytes) -> None:
        super().restore(b'["x"]')


class Marked(Words):
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[2, *ids] for ids in super().encode(texts)]


class Untrained(Words):
    def train(self, texts: Iterable[str]) -> None:
        super().train(["a"])


@pytest.mark.parametrize(
    ("tokenizer", "contract"),
    [(Lower(), "is the text"), (Amnesia(), "restore"), (Marked(), "ids of text"), (Untrained(), "is the text")],
)
def test_a_broken_tokenizer(tokenizer: Words, contract: str) -> None:
    with pytest.raises(AssertionError, match=rf"{type(tokenizer).__name__} .*{contract}"):
        check_tokenizer(tokenizer, ["The cat", "a dog"])


class Ranked(ExactMatch):
    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        return super().statistics(rows) * np.arange(1, len(rows) + 1)[:, None]


class Flat(ExactMatch):
    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        return super().statistics(rows)[:, 0]


class Backwards(ExactMatch):
    higher_is_better = False


class Nameless(ExactMatch):
    name = ""


@pytest.mark.parametrize(
    ("metric", "contract"),
    [(Ranked(), "order|counts add"), (Flat(), r"\(N, K\)"), (Backwards(), "higher_is_better"), (Nameless(), "name")],
)
def test_a_broken_metric(metric: Metric, contract: str) -> None:
    with pytest.raises(AssertionError, match=rf"{type(metric).__name__} .*{contract}"):
        check_metric(metric)


class Nothing(Corpus):
    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        yield from ()


class Tuples(Corpus):
    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        yield ("a", "b", 1)  # type: ignore[misc]


class Shuffled(Corpus):
    calls = 0

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        self.calls += 1
        yield Row(f"a {self.calls}", "b", 1)


@pytest.mark.parametrize(
    ("corpus", "contract"), [(Nothing(), "has rows"), (Tuples(), r"Row\("), (Shuffled(), "the same rows")]
)
def test_a_broken_corpus(corpus: Corpus, contract: str) -> None:
    with pytest.raises(AssertionError, match=rf"{type(corpus).__name__} .*{contract}"):
        check_corpus(corpus)


class Mean(Counting):
    def loss(self, batch: Any) -> Tensor:
        return super().loss(batch) / len(batch.rows)


class Short(Counting):
    def predict(self, batch: Any, decoding: Any) -> list[list[Hypothesis]]:
        return super().predict(batch, decoding)[:1]


@pytest.mark.parametrize(("kind", "contract"), [(Mean, "sum over rows"), (Short, "1 for 3 rows")])
def test_a_broken_task(kind: type[Counting], contract: str) -> None:
    rows = [("a b a", "2"), ("b", "0"), ("a b c d", "1")]
    with pytest.raises(AssertionError, match=rf"{kind.__name__} .*{contract}"):
        check_task(kind(learnt(rows, Words(), Vectors()), hidden_size=8, embedding_size=4), rows)


def test_what_is_not_written_is_named() -> None:
    class Half(Cell):
        def create(self, input_size: int) -> None: ...

    class Uncounted(Metric):
        name = "uncounted"

    with pytest.raises(InputError, match=r"Uncounted lacks statistics, value, .*Metric"):
        check_metric(Uncounted())
    with pytest.raises(TypeError, match="step"):
        Half()  # type: ignore[abstract]
