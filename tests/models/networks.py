"""Networks of every combination of parts, for the tests of models."""

from typing import Any

import torch
from hypothesis import strategies as st

from seq2seq.data.tokenizers.base import PAD, Tokenizers
from seq2seq.models import attention as attentions
from seq2seq.models import fixed_vector as vectors
from seq2seq.models.cells import GRU, LSTM, RNN, Cell, LayerNormLSTM, MinGRU, MinLSTM
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.scheduled_sampling import ScheduledSampling
from seq2seq.tasks.translation import Translation

PAIRS = [("abc", "cba"), ("ddabcab", "ba"), ("b", "cccdab"), ("cadb", "abcd")]
CELLS: list[Cell] = [RNN(), RNN("relu"), GRU(), LSTM(), LayerNormLSTM(), MinGRU(), MinLSTM()]
ATTENTIONS = [
    attentions.Dot(),
    attentions.ScaledDot(normalizer="entmax15"),
    attentions.General(normalizer="sparsemax"),
    attentions.Additive(5),
    attentions.Additive(5, coverage=True),
    attentions.Location(longest=9),
    attentions.LocalP(window=2),
    attentions.MultiHeadAdditive(heads=2),
]


def task_of(letters: Tokenizers, **more: Any) -> Translation:
    sizes = {"embedding_size": 6, "hidden_size": 8, "dropout": 0.0}
    torch.manual_seed(3)
    task = Translation(letters, **{**sizes, **more})
    with torch.no_grad():  # far from the start, so that nothing agrees by accident
        for parameter in task.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        task.network.encoder.embedding.weight[PAD].zero_()
        task.network.decoder.embedding.weight[PAD].zero_()
    return task


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    """Settings that go together."""
    attention = draw(st.sampled_from([None, *ATTENTIONS]))
    layers, below = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    context = draw(st.booleans())
    bridge = draw(st.sampled_from([vectors.Linear(), vectors.Copy(), vectors.Zeros(), vectors.Learned()]))
    if isinstance(bridge, vectors.Copy):
        below = layers
    if not bridge.uses_source and attention is None:
        context = True
    pooling = draw(st.sampled_from([vectors.Last(), vectors.Mean(), vectors.Max(), vectors.Attentive()]))
    if not (bridge.uses_source or context):
        pooling = vectors.Last()
    modes = ["top"] if attention is None else ["top", "before"] + ["bottom"] * (layers > 1)
    mode = draw(st.sampled_from(modes))
    cell = draw(st.sampled_from(CELLS))
    copy = attention is not None and draw(st.booleans())
    output = "softmax" if copy else draw(st.sampled_from(["softmax", "sparsemax", "entmax15"]))
    feeding = attention is not None and mode == "top" and draw(st.booleans())
    divided = mode == "top" and not feeding and output == "softmax" and attention is not None
    divided = divided and not isinstance(attention, attentions.MultiHeadAdditive)
    sizes = isinstance(attention, (attentions.Dot, attentions.ScaledDot)) or isinstance(bridge, vectors.Copy)
    recurrent = 0.0 if isinstance(cell, (MinGRU, MinLSTM)) else draw(st.sampled_from([0.0, 0.3]))
    return {
        "cell": cell,
        "layers": below,
        "attention": attention,
        "bridge": bridge,
        "dropout": 0.2,
        "locked_dropout": draw(st.booleans()),
        "recurrent_dropout": recurrent,
        "residual_from": draw(st.sampled_from([None, 2])) if min(layers, below) > 1 else None,
        "output": output,
        "coverage_loss": draw(st.sampled_from([0.0, 1.0])) if attention is not None else 0.0,
        "scheduled_sampling": draw(st.sampled_from([None, ScheduledSampling("linear", 2.0)])),
        "encoder": EncoderOptions(
            bidirectional=draw(st.booleans()),
            hidden_size=None if sizes else draw(st.sampled_from([None, 12])),
            reverse=draw(st.booleans()),
            pooling=pooling,
            learned_first_state=draw(st.booleans()),
        ),
        "decoder": DecoderOptions(
            layers=layers,
            context_every_step=context,
            attend_from=mode,
            input_feeding=feeding,
            latent_alignments=draw(st.sampled_from([0, 2])) if divided else 0,
            copy=copy,
            readout=draw(st.sampled_from([None, "tanh", "maxout", "linear"])),
            tied_output=draw(st.booleans()),
            tied_embeddings=draw(st.booleans()),
        ),
    }
