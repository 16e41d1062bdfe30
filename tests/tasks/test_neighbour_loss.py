"""The loss of telling the words beside a state: what it sums, what states have read, and where it is refused."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import PAD, UNK, Tokenizer
from seq2seq.data.tokenizers.factored import TokenFeatures
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Labels, Words
from seq2seq.errors import InputError
from seq2seq.models import neighbours
from seq2seq.models.encoder import EncoderOptions
from seq2seq.tasks.neighbour_loss import words_of
from seq2seq.tasks.tagging import Tagging
from tests import support

SENTENCES = [("red dogs run", "A N V"), ("dogs", "N"), ("a red cat sleeps well", "D A N V R"), ("well", "R")] * 2
TABBED = [(text.replace(" ", "\t"), labels.replace(" ", "\t")) for text, labels in SENTENCES]
FORWARDS = EncoderOptions(bidirectional=False)


def tiny(source: Tokenizer | None = None, **settings: Any) -> Tagging:
    tokenizers = support.learnt(TABBED, Spelled() if source is None else source, Labels("\t"))
    return support.small(Tagging, tokenizers, **({"dropout": 0.0, "neighbour_weight": 1.0} | settings)).eval()


def batch_of(task: Tagging, rows: list[tuple[str, str]] = TABBED) -> Batch:
    return support.batch_of(rows, task.tokenizers, row_format=task.row_format)


def net_of(task: Tagging) -> neighbours.Neighbours:
    assert task.neighbours.told is not None
    return task.neighbours.told


def told_one_by_one(task: Tagging, batch: Batch, backwards: bool, ahead: int) -> Tensor:
    """The same, word by word."""
    states = task.states(batch)[0].states
    loss, told = torch.zeros(()), net_of(task)
    for row, (text, _) in enumerate(TABBED):
        words = cast(Spelled, task.tokenizers.source).own_ids(text)
        for position in range(len(words)):
            sides = [(0, states[row, position, : told.units], position + ahead)]
            sides += [(1, states[row, position, told.units :], position - 1)] if backwards else []
            for side, state, other in sides:
                if 0 <= other < len(words):
                    logits = told.maps[side](told.hidden[side](state).tanh())
                    loss = loss - logits.log_softmax(-1)[words[other]]
    return loss


@pytest.mark.parametrize(
    ("settings", "backwards", "ahead"),
    [({}, True, 1), ({"encoder": FORWARDS, "layers": 2}, False, 1), ({"encoder": FORWARDS, "lookahead": 2}, False, 3)],
)
def test_each_word_is_told_from_the_states_beside_it(settings: Any, backwards: bool, ahead: int) -> None:
    task = tiny(**settings)
    batch = batch_of(task)
    without = task.validation_loss(batch)
    expected = told_one_by_one(task, batch, backwards, ahead)
    assert (task.loss(batch) - without).item() == pytest.approx(expected.item(), rel=1e-5)
    task.neighbours.weight = 0.25
    assert (task.loss(batch) - without).item() == pytest.approx(expected.item() / 4, rel=1e-4)


def test_a_batch_is_the_sum_of_its_rows() -> None:
    task = tiny()
    rows = [task.loss(batch_of(task, [row])).item() for row in TABBED]
    assert task.loss(batch_of(task)).item() == pytest.approx(sum(rows), rel=1e-5)


@pytest.mark.parametrize("side", [0, 1])
def test_no_state_has_read_what_it_tells(side: int) -> None:
    """A word that is changed changes no state that should tell it."""
    task = tiny()
    first, second = (batch_of(task, [(text, "A\tN\tV")]) for text in ("red\tdogs\trun", "red\tcat\trun"))
    units = net_of(task).units
    states = [task.states(batch)[0].states[0, 2 * side] for batch in (first, second)]
    halves = [one[units:] if side else one[:units] for one in states]
    assert torch.allclose(halves[0], halves[1], atol=1e-6)
    assert not torch.allclose(states[0], states[1], atol=1e-3)


def test_rare_words_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "WORDS", 6)
    told = net_of(tiny())
    states, logits = torch.randn(1, 2, 2 * told.units), torch.zeros(())
    for number in (6, 9):
        words = torch.tensor([[5, number]])
        loss = told(states, words, None)
        sides = [told.maps[side](told.hidden[side](states[0, side, side * told.units : (side + 1) * told.units]).tanh())
                 for side in (0, 1)]  # fmt: skip
        logits = functional.cross_entropy(torch.stack(sides), torch.tensor([UNK, 5]), reduction="sum")
        assert loss.item() == pytest.approx(logits.item(), rel=1e-5)


@pytest.mark.parametrize("source", [Spelled(letters=False), Words(separator="\t")])
def test_words_by_themselves_are_found_in_a_batch(source: Tokenizer) -> None:
    task = tiny(source=source)
    batch = batch_of(task)
    lists = words_of(batch, task.tokenizers.source, batch.target.shape[1]).tolist()
    plain = support.learnt(TABBED, Words(separator="\t"), Labels("\t")).source
    assert [[one for one in row if one != PAD] for row in lists] == plain.encode([text for text, _ in TABBED])


def test_without_weight_nothing_is_there() -> None:
    task = tiny(neighbour_weight=0.0)
    assert not list(task.neighbours.parameters())
    assert task.loss(batch_of(task)).item() == task.validation_loss(batch_of(task)).item()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 2}, r"model\.layers"),
        ({"encoder": EncoderOptions(bidirectional=False, reverse=True)}, r"model\.encoder\.reverse"),
        ({"neighbour_weight": -1.0}, r"model\.neighbour_weight"),
    ],
)
def test_what_cannot_be_told_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(**settings)


def test_tokens_with_features_are_no_words() -> None:
    rows = [(text.replace("\t", "\uffe8x\t") + "\uffe8x", labels) for text, labels in TABBED]
    tokenizers = support.learnt(rows, TokenFeatures(Words(separator="\t"), 1), Labels("\t"))
    with pytest.raises(InputError, match="TokenFeatures"):
        support.small(Tagging, tokenizers, neighbour_weight=0.1)
