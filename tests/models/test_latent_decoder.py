"""Latent alignments: the likeliest source tokens predict one by one, and the sum is a distribution."""

from typing import Any

import pytest
import torch

from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.units import Characters
from seq2seq.errors import InputError
from seq2seq.models import attention as attentions
from seq2seq.models.cells import real_positions
from seq2seq.models.decoder import DecoderOptions, StepOutputs
from seq2seq.models.latent_decoder import LatentDecoder
from seq2seq.tasks.translation import Translation
from tests.models.networks import PAIRS, task_of
from tests.support import batch_of

COUNT = 2


@pytest.fixture(scope="module")
def letters() -> Tokenizers:
    """One vocabulary for both sides."""
    tokenizer = Characters()
    tokenizer.train([text for pair in PAIRS for text in pair])
    return Tokenizers(tokenizer, tokenizer)


def latent(letters: Tokenizers, count: int = COUNT, copy: bool = False) -> Translation:
    options = DecoderOptions(latent_alignments=count, copy=copy)
    return task_of(letters, attention=attentions.General(), decoder=options).double().eval()


@torch.no_grad()
def test_probabilities_are_the_sum_over_the_alternatives(letters: Tokenizers) -> None:
    task, batch = latent(letters), batch_of(PAIRS, letters)
    decoder, state = task.network.decoder, task.encode(batch)
    outputs, found = decoder(batch.target[:, :-1], state), task(batch).exp()
    weights, values = outputs.weights, state.source.memory.values
    hidden = decoder.recurrent(decoder.embedding(batch.target[:, :-1]), state.recurrent)[0]
    for row, pair in enumerate(PAIRS):
        for time in range(len(pair[1])):
            paid = weights[row, time]
            best = paid.argsort(descending=True)[:COUNT].tolist()
            contexts = [(float(paid[position]), values[row, position]) for position in best]
            contexts.append((max(1 - sum(share for share, _ in contexts), 1e-6), paid @ values[row]))
            total, whole = torch.zeros_like(found[row, time]), sum(share for share, _ in contexts)
            for share, context in contexts:
                seen = torch.tanh(decoder.readout.map(torch.cat([context, hidden[row, time]])))
                total += share / whole * decoder.output.layer(seen).softmax(-1)
            torch.testing.assert_close(found[row, time], total)


@pytest.mark.parametrize("copy", [False, True])
def test_losses_and_scores_are_those_of_the_probabilities(letters: Tokenizers, copy: bool) -> None:
    task, batch = latent(letters, copy=copy), batch_of(PAIRS, letters)
    found, labels = task(batch), batch.target[:, 1:]
    torch.testing.assert_close(found.exp().sum(-1), torch.ones_like(found[..., 0]))
    real = real_positions(batch.target_lengths - 1, labels)
    each = found.gather(-1, labels.unsqueeze(-1)).flatten()[real]
    torch.testing.assert_close(task.loss(batch), -each.sum())
    outputs, source = task.outputs(batch)
    torch.testing.assert_close(task.network.decoder.label_log_probs(outputs, source, labels, real), each)


@pytest.mark.parametrize("copy", [False, True])
@torch.no_grad()
def test_a_prediction_comes_from_the_tokens_that_made_it_likely(letters: Tokenizers, copy: bool) -> None:
    """Bayes: what a token would predict alone, times its weight, by the sum."""
    task, batch = latent(letters, 9, copy=copy), batch_of(PAIRS, letters)
    outputs, source = task.outputs(batch)
    decoder, labels = task.network.decoder, batch.target[:, 1:]
    found = decoder.looked_at(outputs, source, labels)
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]))
    positions = outputs.weights.argsort(-1, descending=True)
    for row in range(len(PAIRS)):
        for time in range(len(PAIRS[row][1])):
            label, joint = int(labels[row, time]), torch.zeros_like(found[row, time])
            gate = outputs.gate[row, time].sigmoid() if copy else 1.0
            for number, position in enumerate(positions[row, time].tolist()):
                own = decoder.output.log_probs(outputs.features[row, time, number])[label].exp()
                copied = (1 - gate) * (source.ids[row, position] == label)
                joint[position] = outputs.weights[row, time, position] * (gate * own + copied)
            torch.testing.assert_close(found[row, time], joint / joint.sum(), atol=2e-6, rtol=1e-5)


def test_more_alternatives_than_source_tokens_change_nothing(letters: Tokenizers) -> None:
    """Those that are not there have no probability."""
    batch = batch_of(PAIRS, letters)
    longest = batch.source.shape[1]
    torch.testing.assert_close(latent(letters, longest + 5)(batch), latent(letters, longest)(batch))


def test_attention_learns_from_what_each_token_predicts(letters: Tokenizers) -> None:
    """The gradient by the weights reaches the scores, not only through the mean."""
    task, batch = latent(letters, 9), batch_of(PAIRS, letters)
    task.loss(batch).backward()
    assert task.network.decoder.attention.map.weight.grad.norm() > 1e-3


def test_r_drop_is_one_sweep(letters: Tokenizers) -> None:
    """Equal passes are no distance apart: the loss is that of one."""
    task, batch = latent(letters), batch_of(PAIRS, letters)
    torch.testing.assert_close(task.loss_of_two(batch, batch, 1.5), task.loss(batch))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"attention": None}, "attention null"),
        ({"attention": attentions.Monotonic()}, "Monotonic"),
        ({"attention": attentions.MultiHeadAdditive(2)}, "MultiHeadAdditive"),
        ({"output": "entmax15"}, "entmax15"),
        ({"decoder": DecoderOptions(latent_alignments=1, input_feeding=True)}, "input_feeding"),
        ({"decoder": DecoderOptions(latent_alignments=1, attend_from="before")}, "attend_from before"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(letters: Tokenizers, settings: dict[str, Any], named: str) -> None:
    usual = {"attention": attentions.Dot(), "decoder": DecoderOptions(latent_alignments=1)}
    with pytest.raises(InputError, match=named):
        task_of(letters, **{**usual, **settings})


@torch.no_grad()
def test_a_source_token_is_read_alone(letters: Tokenizers) -> None:
    """With one alternative and all attention on one token, the context is its state."""
    task = latent(letters, 1)
    decoder, state = task.network.decoder, task.encode(batch_of(PAIRS, letters))
    assert isinstance(decoder, LatentDecoder)
    weights = torch.zeros(len(PAIRS), 1, state.source.ids.shape[1], dtype=torch.double)
    weights[:, :, 0] = 1
    context, _ = decoder.attention.read(weights, state.source.memory)
    embedded, hidden = torch.zeros(len(PAIRS), 1, 6).double(), state.recurrent[0][-1].unsqueeze(1)
    features = decoder.outputs(StepOutputs(embedded, hidden, context, weights), state).features
    torch.testing.assert_close(features[:, :, 0], features[:, :, 1])
