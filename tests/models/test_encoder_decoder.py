"""The whole network: every combination of its parts builds, learns, decodes, and computes what its equations say."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import BOS, PAD, Tokenizers
from seq2seq.data.tokenizers.units import Characters
from seq2seq.errors import InputError
from seq2seq.models import attention as attentions
from seq2seq.models import fixed_vector as vectors
from seq2seq.models.cells import LSTM, MinGRU, turned
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.dropout import Dropout, Noise, number_of
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.output import Output, mixed
from seq2seq.models.scheduled_sampling import NUMBER, ScheduledSampling, drawn
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation, repeated
from tests.models.networks import PAIRS, networks, task_of
from tests.support import batch_of


@pytest.fixture(scope="module")
def letters() -> Tokenizers:
    """One vocabulary for both sides."""
    tokenizer = Characters()
    tokenizer.train([text for pair in PAIRS for text in pair])
    return Tokenizers(tokenizer, tokenizer)


@settings(max_examples=60, deadline=None)
@given(chosen=networks())
def test_any_network_learns_decodes_and_takes_steps_as_it_reads_whole(
    letters: Tokenizers, chosen: dict[str, Any]
) -> None:
    check_network(letters, chosen)


def check_network(letters: Tokenizers, chosen: dict[str, Any]) -> None:
    task, batch = task_of(letters, **chosen), batch_of(PAIRS, letters)._replace(step=1)
    task.train()
    task.loss(batch).backward()
    wrong = [n for n, p in task.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert wrong == []
    task.eval()
    for beam_size in (1, 3):
        assert all(found for found in task.predict(batch, Decoding(beam_size, max_length_ratio=0.5)))
    assert_mixed_precision(task, batch)
    task.double()
    assert_steps_agree(task, batch)
    assert_rows_are_alone(task, batch, letters)


@pytest.mark.parametrize("copy", [False, True])
def test_a_latent_alignment_learns_decodes_and_takes_steps_as_it_reads_whole(letters: Tokenizers, copy: bool) -> None:
    decoder = DecoderOptions(copy=copy, layers=2)
    check_network(letters, {"attention": attentions.Monotonic(7), "decoder": decoder, "bridge": vectors.Linear()})


def assert_mixed_precision(task: Translation, batch: Batch) -> None:
    """Under autocast it learns and decodes, and log-probabilities keep their 32 bits."""
    exact = task(batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss, found = task.loss(batch), task(batch)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.exp(), exact.exp(), atol=0.3, rtol=0)
        for beam_size in (1, 3):
            assert all(found for found in task.predict(batch, Decoding(beam_size, max_length_ratio=0.5)))
    loss.backward()


def assert_steps_agree(task: Translation, batch: Batch) -> None:
    """Log-probabilities step by step are those of the whole target."""
    whole, state = task(batch), task.encode(batch)
    for time in range(batch.target.shape[1] - 1):
        log_probs, state = task.network.decoder.step(batch.target[:, time : time + 1], state)
        torch.testing.assert_close(log_probs[:, 0], whole[:, time])


def assert_rows_are_alone(task: Translation, batch: Batch, letters: Tokenizers) -> None:
    """Neither neighbours nor padding nor the order of rows enter a row's log-probabilities."""
    whole = task(batch)
    for row, pair in enumerate(PAIRS):
        alone = task(batch_of([pair], letters))[0]
        torch.testing.assert_close(whole[row, : len(alone)], alone)


MODES = [
    {"attend_from": "top"},
    {"attend_from": "top", "input_feeding": True},
    {"attend_from": "before"},
    {"attend_from": "bottom"},
]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("locked", [False, True])
def test_masks_are_those_of_the_whole_sequence(letters: Tokenizers, mode: dict[str, Any], locked: bool) -> None:
    """With dropout on, feeding the reference through the step-by-step road gives the loss of the fast one."""
    settings = {"attention": attentions.Additive(), "layers": 2, "dropout": 0.4, "locked_dropout": locked}
    task = task_of(letters, decoder=DecoderOptions(**mode), **settings).double().train()
    batch = batch_of(PAIRS, letters)._replace(seed=5)
    noise, decoder = Noise(5, batch.row_keys), task.network.decoder
    tokens, state = batch.target[:, :-1], task.encode(batch)
    usual = decoder(tokens, state, noise).features
    never = torch.zeros(tokens.shape, dtype=torch.bool)
    torch.testing.assert_close(decoder(tokens, state, noise, never).features, usual)
    single = task.encode(batch_of(PAIRS[1:2], letters)._replace(seed=5, row_keys=batch.row_keys[1:2]))
    alone = decoder(tokens[1:2], single, Noise(5, batch.row_keys[1:2])).features
    torch.testing.assert_close(usual[1:2], alone)
    assert not usual.allclose(decoder(tokens, state, Noise(6, batch.row_keys)).features)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("copy", [False, True])
def test_selected_hypotheses_continue_as_if_alone(letters: Tokenizers, mode: dict[str, Any], copy: bool) -> None:
    options = DecoderOptions(copy=copy, context_every_step=True, **mode)
    task = task_of(letters, attention=attentions.Additive(coverage=True), layers=2, decoder=options).eval()
    decoder, state = task.network.decoder, task.encode(batch_of(PAIRS[:3], letters))
    wide = state.select(torch.arange(3).unsqueeze(1).expand(-1, 2))  # two hypotheses for each source
    _, wide = decoder.step(torch.tensor([[4, 5], [6, 7], [5, 4]]), wide)
    kept = wide.select(torch.tensor([[1, 0], [5, 5]]))  # source 1 leaves, source 2 keeps its second twice
    found, _ = decoder.step(torch.tensor([[4, 5], [6, 7]]), kept)
    for source, hypothesis, token, first in ((0, 0, 4, 5), (0, 1, 5, 4), (2, 0, 6, 4), (2, 1, 7, 4)):
        _, alone = decoder.step(torch.tensor([[first]]), state.select(torch.tensor([[source]])))
        expected, _ = decoder.step(torch.tensor([[token]]), alone)
        torch.testing.assert_close(found[0 if source == 0 else 1, hypothesis], expected[0, 0])


def test_copying_is_the_mixture_of_the_paper(letters: Tokenizers) -> None:
    task = task_of(letters, attention=attentions.Additive(), decoder=DecoderOptions(copy=True)).double().eval()
    batch = batch_of(PAIRS, letters)
    decoder, state = task.network.decoder, task.encode(batch)
    outputs = decoder(batch.target[:, :-1], state)
    gate, generated = outputs.gate.sigmoid(), decoder.output.log_probs(outputs.features).exp()
    found = task(batch).exp()
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]))
    for row in range(len(PAIRS)):
        for time in range(batch.target.shape[1] - 1):
            expected = gate[row, time] * generated[row, time]
            for position, token in enumerate(batch.source[row].tolist()):
                expected[token] += (1 - gate[row, time]) * outputs.weights[row, time, position]
            torch.testing.assert_close(found[row, time], expected)
    labels = batch.target[:, 1:]
    real = labels != PAD
    loss = -found.log().gather(-1, labels.unsqueeze(-1)).squeeze(-1)[real].sum()
    torch.testing.assert_close(task.loss(batch), loss)


def test_a_copied_token_needs_no_vocabulary() -> None:
    never = torch.full((3,), -torch.inf, dtype=torch.double)
    torch.testing.assert_close(
        mixed(never, torch.zeros(3).double(), torch.full((3,), 0.5)).exp(), torch.full((3,), 0.25).double()
    )


def test_the_loss_of_looking_again(letters: Tokenizers) -> None:
    weights = torch.rand(2, 4, 5).double()
    expected = torch.zeros(2, 4).double()
    for row in range(2):
        covered = torch.zeros(5).double()
        for time in range(4):
            expected[row, time] = torch.minimum(weights[row, time], covered).sum()
            covered = covered + weights[row, time]
    torch.testing.assert_close(repeated(weights), expected)
    plain, more = (task_of(letters, attention=attentions.Dot(), coverage_loss=c).double() for c in (0.0, 2.0))
    batch = batch_of(PAIRS, letters)
    found = plain.network.decoder(batch.target[:, :-1], plain.encode(batch))
    again = repeated(found.weights)[batch.target[:, 1:] != PAD].sum()
    torch.testing.assert_close(more.loss(batch), plain.loss(batch) + 2.0 * again)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_reading_only_its_own_tokens_is_greedy_search(letters: Tokenizers, mode: dict[str, Any]) -> None:
    task = task_of(letters, attention=attentions.Additive(), layers=2, decoder=DecoderOptions(**mode)).double().eval()
    batch = batch_of(PAIRS, letters)
    decoder, state = task.network.decoder, task.encode(batch)
    always = torch.ones(batch.target.shape[0], batch.target.shape[1] - 1, dtype=torch.bool)
    outputs = decoder(batch.target[:, :-1], state, None, always)
    found, last = decoder.log_probs(outputs, state.source), torch.full((len(PAIRS), 1), BOS)
    for time in range(found.shape[1]):
        log_probs, state = decoder.step(last, state)
        torch.testing.assert_close(found[:, time], log_probs[:, 0])
        last = log_probs.argmax(-1)


def test_own_tokens_depend_on_step_and_row_alone(letters: Tokenizers) -> None:
    keys = torch.tensor([5, 3, 900])
    whole = drawn(0.3, Noise(7, keys), 2000)
    assert whole[1:2, :11].equal(drawn(0.3, Noise(7, keys[1:2]), 11))
    assert whole.float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not whole.equal(drawn(0.3, Noise(8, keys), 2000))
    task = task_of(letters, scheduled_sampling=ScheduledSampling("linear", 4.0, 0.25))
    batch, noise = batch_of(PAIRS, letters), Noise(7, torch.arange(len(PAIRS)))
    assert task.train().own_tokens(batch, noise) is None, "the first step reads the reference"
    assert task.own_tokens(batch._replace(step=2), noise) is not None
    assert task.eval().own_tokens(batch._replace(step=2), noise) is None


def test_schedules_of_sampling_follow_the_paper() -> None:
    for step in (0, 3, 50):
        assert ScheduledSampling("linear", 20.0, 0.1).reference_share(step) == max(0.1, 1 - step / 20)
        assert ScheduledSampling("exponential", 20.0, 0.0).reference_share(step) == math.exp(-step / 20)
        sigmoid = ScheduledSampling("inverse_sigmoid", 20.0, 0.0).reference_share(step)
        assert sigmoid == pytest.approx(20 / (20 + math.exp(step / 20)))
    assert ScheduledSampling(least=0.0).reference_share(10**9) == pytest.approx(0.0)


@pytest.mark.parametrize("normalizer", ["softmax", "sparsemax", "entmax15"])
def test_gradients_of_the_output(normalizer: Any) -> None:
    output = Output(4, 7, normalizer).double()
    features, labels = torch.randn(5, 4, dtype=torch.double, requires_grad=True), torch.tensor([0, 3, 6, 3, 1])
    assert torch.autograd.gradcheck(lambda given: output.loss(given, labels, 0.0), features)
    probabilities = output.log_probs(features).exp()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(5).double())
    assert (probabilities < 1e-20).any() == (normalizer != "softmax")
    if normalizer == "softmax":
        found = output.label_log_probs(features, labels)
        torch.testing.assert_close(found, output.log_probs(features).gather(-1, labels.unsqueeze(-1)).squeeze(-1))
        assert torch.autograd.gradcheck(lambda given: output.label_log_probs(given, labels), features)


@pytest.mark.parametrize("pooling", [vectors.Mean(), vectors.Max(), vectors.Attentive()], ids=repr)
def test_pooling_is_over_a_rows_own_states(pooling: vectors.Pooling) -> None:
    pool = pooling.build(4).double()
    states, padding = torch.randn(2, 5, 4).double(), torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 2:] = True
    final = (torch.randn(3, 2, 4).double(), torch.randn(3, 2, 4).double())
    vector, handed = pool(states, padding, final)
    alone = states[1, :2]
    if isinstance(pooling, vectors.Attentive):
        weights = (pool.map(alone).tanh() @ pool.vector.weight[0]).softmax(0)
        expected = weights @ alone
    else:
        expected = alone.mean(0) if isinstance(pooling, vectors.Mean) else alone.amax(0)
    torch.testing.assert_close(vector[1], expected)
    for tensor in handed:
        torch.testing.assert_close(tensor, vector.expand(3, 2, 4))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"bridge": vectors.Zeros()}, "model.bridge Zeros"),
    ({"bridge": vectors.Learned(), "attention": attentions.Additive(), "encoder": EncoderOptions(pooling=vectors.Max())},
     "encoder.pooling Max"),
    ({"decoder": DecoderOptions(attend_from="before")}, "decoder.attend_from before .*attention"),
    ({"decoder": DecoderOptions(input_feeding=True)}, "decoder.input_feeding .*attention"),
    ({"decoder": DecoderOptions(copy=True)}, "decoder.copy .*attention"),
    ({"decoder": DecoderOptions(copy=True), "attention": attentions.Dot(), "output": "entmax15"}, "decoder.copy .*entmax15"),
    ({"decoder": DecoderOptions(copy=True), "attention": attentions.Dot(), "label_smoothing": 0.1}, "model.label_smoothing.*decoder.copy"),
    ({"output": "sparsemax", "label_smoothing": 0.1}, "model.label_smoothing.*sparsemax"),
    ({"coverage_loss": 1.0}, "model.coverage_loss.*attention"),
    ({"attention": attentions.Dot(), "decoder": DecoderOptions(attend_from="bottom")}, "decoder.attend_from bottom .*model.layers"),
    ({"attention": attentions.Dot(), "decoder": DecoderOptions(attend_from="before", input_feeding=True)}, "decoder.input_feeding .*attend_from top.*before"),
    ({"attention": attentions.Dot(), "encoder": EncoderOptions(hidden_size=6), "bridge": vectors.Linear()}, "Dot.*8.*6"),
    ({"encoder": EncoderOptions(hidden_size=6)}, "model.bridge Copy .*1 x 6.*1 x 8"),
    ({"decoder": DecoderOptions(layers=2)}, "model.bridge Copy .*1 x 8.*2 x 8"),
    ({"decoder": DecoderOptions(tied_output=True, readout="none")}, "decoder.tied_output .*6.*8"),
    ({"decoder": DecoderOptions(features=True)}, "decoder.features .*data.tokenizer"),
    ({"residual_from": 1}, "model.residual_from 1"),
    ({"cell": MinGRU(), "recurrent_dropout": 0.2}, "model.recurrent_dropout.*0.2.*MinGRU"),
    ({"recurrent_dropout": 1.0}, "recurrent_dropout is 1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("chosen", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_does_not_go_together_is_refused(letters: Tokenizers, chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        task_of(letters, **chosen)


@pytest.mark.parametrize("option", ["copy", "tied_embeddings"])
def test_two_vocabularies_are_not_one(letters: Tokenizers, option: str) -> None:
    other = Characters()
    other.train(["abcd"])
    with pytest.raises(InputError, match=f"decoder.{option} .*data.shared_vocabulary"):
        task_of(Tokenizers(letters.source, other), attention=attentions.Dot(), decoder=DecoderOptions(**{option: True}))


def numbers(task: Task) -> dict[str, int | None]:
    """Of each dropout of a task."""
    return {name: module.number for name, module in task.named_modules() if isinstance(module, Dropout)}


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_two_dropouts_of_a_task_share_a_number(letters: Tokenizers, mode: dict[str, Any]) -> None:
    small = numbers(task_of(letters))
    large = numbers(task_of(letters, attention=attentions.Additive(), layers=3, decoder=DecoderOptions(**mode)))
    assert len(large) > len(small) > 4
    assert len({*large.values(), NUMBER}) == len(large) + 1
    assert all(number == number_of(name) for name, number in large.items())
    assert small.items() <= large.items(), "another part changes no mask"


def test_settings_are_no_part_of_the_network(letters: Tokenizers) -> None:
    task = task_of(letters, attention=attentions.Dot())
    assert [name for name, _ in task.named_children()] == ["network"]
    assert task.specification()["init_args"]["cell"] == LSTM().specification()


def test_three_ways_tied_is_one_table(letters: Tokenizers) -> None:
    options = DecoderOptions(tied_output=True, tied_embeddings=True)
    task = task_of(letters, decoder=options)
    table = task.network.encoder.embedding.weight
    assert task.network.decoder.embedding.weight is table
    assert task.network.decoder.output.layer.weight is table
    separate = task_of(letters, decoder=DecoderOptions(tied_output=True))
    difference = separate.parameter_counts()["total"] - task.parameter_counts()["total"]
    assert difference == table.numel()


def test_copying_sees_the_ids_beside_the_states(letters: Tokenizers) -> None:
    batch = batch_of(PAIRS[:4], letters)
    for reverse in (True, False):
        task = task_of(
            letters,
            attention=attentions.Additive(),
            encoder=EncoderOptions(reverse=reverse),
            decoder=DecoderOptions(copy=True),
        )
        beside = turned(batch.source, batch.source_lengths) if reverse else batch.source
        assert task.encode(batch).source.ids.equal(beside)
