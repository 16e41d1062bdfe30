"""Wait-k: a step sees what has been read and nothing else, with teacher forcing and in any search."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import BOS, EOS, Tokenizers
from seq2seq.data.tokenizers.units import Characters
from seq2seq.errors import InputError
from seq2seq.exporting.graphs import graph_of
from seq2seq.models import attention as attentions
from seq2seq.models import simultaneous
from seq2seq.models.cells import GRU, MinLSTM
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Copy, Learned, Zeros
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from tests.models.networks import PAIRS, task_of
from tests.support import batch_of

FORWARDS: dict[str, Any] = {"encoder": EncoderOptions(bidirectional=False), "bridge": Zeros()}
KINDS: list[dict[str, Any]] = [
    {"attention": attentions.Dot()},
    {"attention": attentions.LocalP(window=2), "cell": GRU(), "layers": 2, "bridge": Learned()},
    {"attention": attentions.MultiHeadAdditive(heads=2), "decoder": DecoderOptions(attend_from="before")},
    {"attention": attentions.Additive(coverage=True), "decoder": DecoderOptions(copy=True, input_feeding=True)},
    {
        "attention": attentions.Location(longest=5),
        "decoder": DecoderOptions(attend_from="bottom"),
        "layers": 2,
        "cell": MinLSTM(),
        "encoder": EncoderOptions(bidirectional=False, learned_first_state=True),
    },
]


@pytest.fixture(scope="module")
def letters() -> Tokenizers:
    tokenizer = Characters()
    tokenizer.train([text for pair in PAIRS for text in pair])
    return Tokenizers(tokenizer, tokenizer)


def reading(letters: Tokenizers, kind: dict[str, Any], wait: int | None) -> Translation:
    return task_of(letters, **{**FORWARDS, **kind, "wait_k": wait}).double().eval()


def by_hand(task: Translation, batch: Batch, row: int, wait: int) -> torch.Tensor:
    """The log-probabilities (T, V) of a row: at each step its source is cut and encoded anew by an ordinary network."""
    length, rows = int(batch.source_lengths[row]), []
    state = None
    for time in range(int(batch.target_lengths[row]) - 1):
        read = min(wait + time, length)
        cut = task.network.encode(batch.source[row : row + 1, :read], torch.tensor([read]))
        if state is None:
            state = cut
        elif state.coverage is not None:
            more = read - state.coverage.shape[1]
            state = state._replace(coverage=functional.pad(state.coverage, (0, more)))
        state = state._replace(source=cut.source)
        log_probs, state = task.network.decoder.step(batch.target[row : row + 1, time : time + 1], state)
        rows.append(log_probs[0, 0])
    return torch.stack(rows)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind["attention"]).__name__)
@pytest.mark.parametrize("wait", [pytest.param(1, marks=pytest.mark.slow), 3])
@torch.no_grad()
def test_a_step_sees_what_has_been_read(letters: Tokenizers, kind: dict[str, Any], wait: int) -> None:
    whole, task = reading(letters, kind, None), reading(letters, kind, wait)
    assert all(one.equal(other) for one, other in zip(whole.parameters(), task.parameters(), strict=True))
    batch = batch_of(PAIRS, letters)
    forced = task(batch)
    state = task.start_reading(batch.source, batch.source_lengths, wait)
    steps = []
    for time in range(batch.target.shape[1] - 1):
        log_probs, state = simultaneous.step(task.network, batch.target[:, time : time + 1], state)
        steps.append(log_probs[:, 0])
    for row in range(len(PAIRS)):
        expected = by_hand(whole, batch, row, wait)
        torch.testing.assert_close(forced[row, : len(expected)], expected)
        torch.testing.assert_close(torch.stack(steps, 1)[row, : len(expected)], expected)
    own = torch.zeros(batch.target[:, 1:].shape, dtype=torch.bool)  # the road of scheduled sampling
    state = task.encode(batch)
    outputs = task.network.decoder(batch.target[:, :-1], state, None, own)
    torch.testing.assert_close(task.network.decoder.log_probs(outputs, state.source), forced)


@pytest.mark.parametrize("kind", KINDS[:4], ids=lambda kind: type(kind["attention"]).__name__)
@pytest.mark.parametrize("beam_size", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_search_finds_what_teacher_forcing_says(letters: Tokenizers, kind: dict[str, Any], beam_size: int) -> None:
    """Whichever hypotheses continue, and whichever sources have left the batch."""
    task, batch = reading(letters, kind, 2).float(), batch_of(PAIRS, letters)
    decoding = Decoding(beam_size, max_length_ratio=0.5)
    found = task.predict(batch, decoding)
    for row, hypotheses in enumerate(found):
        assert [one.tokens for one in task.predict(batch.part(slice(row, row + 1)), decoding)[0]] == [
            one.tokens for one in hypotheses
        ]
        for one in hypotheses:
            target = torch.tensor([[BOS, *one.tokens, EOS]])
            alone = batch.part(slice(row, row + 1))._replace(
                target=target, target_lengths=torch.tensor([target.shape[1]])
            )
            assert one.token_scores == pytest.approx(task.score_targets(alone, ())[0][0], abs=1e-4)


@torch.no_grad()
def test_sources_that_are_left_are_read_on(letters: Tokenizers) -> None:
    """Two hypotheses of each; the first source leaves while the others are still being read."""
    task = reading(letters, KINDS[3], 1)
    batch = batch_of(PAIRS[:3], letters)
    state = task.start_reading(batch.source, batch.source_lengths, 1)
    state = state.select(torch.arange(3).unsqueeze(1).expand(-1, 2))
    _, state = simultaneous.step(task.network, torch.tensor([[4, 5], [6, 7], [5, 4]]), state)
    state = state.select(torch.tensor([[3, 2], [5, 5]]))
    for tokens in ([[4, 5], [6, 7]], [[7, 7], [5, 6]]):
        found, state = simultaneous.step(task.network, torch.tensor(tokens), state)
    for place, (source, read) in enumerate(((1, [7, 4, 7]), (1, [6, 5, 7]), (2, [4, 6, 5]), (2, [4, 7, 6]))):
        alone = task.start_reading(*(one[source : source + 1] for one in (batch.source, batch.source_lengths)), 1)
        for token in read:
            expected, alone = simultaneous.step(task.network, torch.tensor([[token]]), alone)
        torch.testing.assert_close(found[place // 2, place % 2], expected[0, 0])


def test_the_policy_of_the_search_may_differ_from_that_of_the_training(letters: Tokenizers) -> None:
    batch, decoding = batch_of(PAIRS, letters), Decoding(1, max_length=8)
    whole, two, nine = (reading(letters, KINDS[0], wait).float() for wait in (None, 2, 9))
    found = {
        (name, wait): [
            (row[0].tokens, round(row[0].score, 4)) for row in task.predict(batch, replace(decoding, wait_k=wait))
        ]
        for name, task in (("whole", whole), ("two", two), ("nine", nine))
        for wait in (None, 2, 9)
    }
    assert found["whole", None] == found["nine", None] == found["two", 9] == found["whole", 9]
    assert found["two", None] == found["whole", 2] == found["nine", 2] != found["whole", None]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"attention": None}, "attention"),
        ({"encoder": EncoderOptions()}, r"model\.encoder\.bidirectional"),
        ({"encoder": EncoderOptions(bidirectional=False, reverse=True)}, r"model\.encoder\.reverse"),
        ({"bridge": Copy()}, r"model\.bridge Copy.* Zeros"),
        ({"decoder": DecoderOptions(context_every_step=True)}, r"model\.decoder\.context_every_step"),
    ],
)
def test_what_needs_the_whole_source_is_refused(letters: Tokenizers, changed: dict[str, Any], message: str) -> None:
    settings = {**FORWARDS, "attention": attentions.Dot(), **changed}
    if settings["attention"] is None:
        settings["bridge"] = Copy()
    with pytest.raises(InputError, match=f"model.wait_k 3 .*{message}"):
        task_of(letters, **settings, wait_k=3)
    with pytest.raises(InputError, match=f"decoding.wait_k 2 .*{message}"):
        task_of(letters, **settings).check_decoding(Decoding(wait_k=2))


def test_wait_k_goes_with_no_coverage_penalty_and_is_a_number(letters: Tokenizers) -> None:
    with pytest.raises(InputError, match=r"decoding\.coverage_penalty is 0\.2.* 2"):
        reading(letters, KINDS[0], 2).check_decoding(Decoding(coverage_penalty=0.2))
    with pytest.raises(InputError, match=r"decoding\.wait_k"):
        Decoding(wait_k=0)
    with pytest.raises(InputError, match=r"model\.wait_k"):
        reading(letters, KINDS[0], 0)
    with pytest.raises(InputError, match=r"model\.wait_k is 2"):
        graph_of(reading(letters, KINDS[0], 2), Decoding())
    with pytest.raises(TypeError):
        task = reading(letters, KINDS[0], 2)
        task.network.decoder.step(torch.tensor([[BOS]]), task.encode(batch_of(PAIRS[:1], letters)))
