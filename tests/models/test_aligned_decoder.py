"""The latent alignment: sums over all alignments, and the same numbers step by step."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from seq2seq.errors import InputError
from seq2seq.models.aligned_decoder import LEAVE, SKIP, AlignedDecoder, PlaceScores, joined
from seq2seq.models.attention import Monotonic
from seq2seq.models.cells import LSTM, real_positions
from seq2seq.models.decoder import Decoder, DecoderOptions, SourceMemory, State
from seq2seq.models.embedding import Embedding
from seq2seq.models.recurrent import Stack

V, H, S, T = 6, 8, 4, 3
IDS = torch.tensor([[3, 4, 5, 3], [5, 3, 0, 0]])
PADDING = IDS == 0
READ = torch.tensor([[1, 3, 4], [1, 5, 2]])
LABELS = torch.tensor([[3, 4, 2], [5, 2, 0]])


def decoder_and_state(copy: bool) -> tuple[AlignedDecoder, State]:
    torch.manual_seed(0)
    options = DecoderOptions(copy=copy)
    decoder = AlignedDecoder(Embedding([V], 5, 1, 0), V, Stack(LSTM(), H), options, 7, Monotonic(9)).double().eval()
    torch.nn.init.normal_(decoder.output.layer.weight)
    memory = decoder.alignment.memory(torch.randn(2, S, 7).double(), PADDING)
    state = decoder.start((torch.randn(1, 2, H).double(),) * 2, SourceMemory(IDS, None, None, memory))
    return decoder, state


@torch.no_grad()
def by_enumeration(decoder: AlignedDecoder, state: State, row: int, labels: list[int]) -> float:
    """The probability of labels of a row as the sum over all monotonic alignments, one product after the other."""
    length = int((~PADDING[row]).sum())
    asked = decoder(READ, state).features
    logits = decoder.output.layer(joined(asked, state.source.memory.keys))[row]  # (T, S, V + 3)
    total = 0.0
    for places in itertools.combinations_with_replacement(range(length), len(labels)):
        product, before = 1.0, 0
        for step, (place, label) in enumerate(zip(places, labels, strict=True)):
            leave = float(logits[step, before, LEAVE].sigmoid()) if before + 1 < length else 0.0
            product *= leave if place > before else 1 - leave
            for skipped in range(before + 1, place):
                product *= float(logits[step, skipped, SKIP].sigmoid())
            if place > before and place + 1 < length:
                product *= float(1 - logits[step, place, SKIP].sigmoid())
            chances = logits[step, place, : decoder.tokens].softmax(-1)
            own = float(chances[label])
            if decoder.options.copy and int(IDS[row, place]) == label:
                own += float(chances[-1])
            product, before = product * own, place
        total += product
    return total


@pytest.mark.parametrize("copy", [False, True])
@torch.no_grad()
def test_the_loss_sums_over_all_alignments(copy: bool) -> None:
    decoder, state = decoder_and_state(copy)
    outputs = decoder(READ, state)
    for lengths in ([3, 2], [1, 1]):
        real = real_positions(torch.tensor(lengths), LABELS)
        found = float(decoder.loss(outputs, state.source, LABELS, real, 0.0))
        wanted = [
            by_enumeration(decoder, state, row, LABELS[row, :length].tolist()) for row, length in enumerate(lengths)
        ]
        assert found == pytest.approx(-sum(map(math.log, wanted)), rel=1e-6)


@pytest.mark.parametrize("copy", [False, True])
@torch.no_grad()
def test_a_step_repeats_teacher_forcing_and_is_a_distribution(copy: bool) -> None:
    decoder, state = decoder_and_state(copy)
    outputs, source = decoder(READ, state), state.source
    whole = decoder.log_probs(outputs, source)
    for time in range(T):
        log_probs, state = decoder.step(READ[:, time : time + 1], state)
        torch.testing.assert_close(log_probs[:, 0], whole[:, time], rtol=1e-5, atol=1e-5, check_dtype=False)
        torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 1), check_dtype=False)
    every = real_positions(torch.tensor([3, 3]), LABELS)
    others = torch.tensor([[5, 0, 1], [4, 3, 5]])
    for labels in (LABELS, others):
        wanted = whole.gather(-1, labels.unsqueeze(-1)).flatten()
        torch.testing.assert_close(decoder.label_log_probs(outputs, source, labels, every), wanted, check_dtype=False)
    assert outputs.weights is not None
    torch.testing.assert_close(outputs.weights.sum(-1), torch.ones(2, T), check_dtype=False)
    assert outputs.weights[1, :, 2:].abs().max() == 0, "nothing is written at padding"


@torch.no_grad()
def test_where_tokens_are_written_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, state = decoder_and_state(True)
    calls, scored = [], decoder.scored
    monkeypatch.setattr(decoder, "scored", lambda *given: calls.append(1) or scored(*given))
    outputs = decoder(READ, state)
    decoder.label_log_probs(outputs, state.source, LABELS, real_positions(torch.tensor([3, 2]), LABELS))
    assert len(calls) == 2, "for the tokens that were read, and for the labels"


@torch.no_grad()
def test_hypotheses_are_kept_with_their_places() -> None:
    decoder, state = decoder_and_state(True)
    _, state = decoder.step(torch.tensor([[1], [1]]), state)
    state = state.select(torch.tensor([[0, 0], [1, 1]]))
    several, after = decoder.step(torch.tensor([[3, 4], [5, 3]]), state)
    last, _ = decoder.step(torch.tensor([[4, 3], [2, 5]]), after.select(torch.tensor([[1, 0], [3, 2]])))
    for row, tokens in ((0, [[3, 3], [4, 4]]), (1, [[5, 5], [3, 2]])):
        for place, (one, two) in enumerate(tokens):
            alone = decoder_and_state(True)[1]
            for token in (1, one):
                log_probs, alone = decoder.step(torch.full((2, 1), token), alone)
            torch.testing.assert_close(several[row, place], log_probs[row, 0])
            log_probs, _ = decoder.step(torch.full((2, 1), two), alone)
            torch.testing.assert_close(last[row, 1 - place], log_probs[row, 0])


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_gradients_are_those_of_the_sums(copy: bool, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seq2seq.models.aligned_decoder.CHUNK", chunk)
    decoder, state = decoder_and_state(copy)
    memory, layer = state.source.memory, decoder.output.layer
    assert memory is not None

    def scores(asked: Tensor, keys: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = PlaceScores.apply(asked, keys, weight, bias, IDS, LABELS, copy)  # type: ignore[no-untyped-call]
        return found

    given = decoder(READ, state).features, memory.keys, layer.weight, layer.bias
    assert torch.autograd.gradcheck(scores, [one.detach().requires_grad_() for one in given])


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="Translation"):
        Decoder(Embedding([V], 5, 1, 0), V, Stack(LSTM(), H), DecoderOptions(), 7, Monotonic())
