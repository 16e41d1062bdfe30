"""Translation: any text to any text (asynchronous many-to-many)."""

import torch
from torch import Tensor

from seq2seq.data.batch import Batch
from seq2seq.data.tokenizers import BOS, EOS, PAD, UNK, Tokenizers
from seq2seq.decoding.beam import beam_search
from seq2seq.decoding.greedy import greedy
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import check_range
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.base import Metric
from seq2seq.metrics.bleu import Bleu, Chrf
from seq2seq.models.attention import Attention
from seq2seq.models.bridge import Bridge, Copy
from seq2seq.models.cells import LSTM, Cell
from seq2seq.models.decoder import Decoder, State
from seq2seq.models.dropout import Noise
from seq2seq.models.encoder import Encoder
from seq2seq.models.loss import vocabulary_loss
from seq2seq.tasks.base import Decoding, Task


class Translation(Task):
    """An RNN encoder compresses the source into a fixed vector; an RNN decoder unfolds it (Sutskever et al. 2014)."""

    def __init__(
        self,
        tokenizers: Tokenizers,
        cell: Cell = LSTM(),
        embedding_size: int = 256,
        hidden_size: int = 512,
        layers: int = 1,
        bidirectional: bool = True,
        reverse_source: bool = False,
        bridge: Bridge = Copy(),
        context_every_step: bool = False,
        attention: Attention | None = None,
        tied_output: bool = False,
        dropout: float = 0.2,
        label_smoothing: float = 0.0,
        metrics: list[Metric] | None = None,
    ) -> None:
        """The network and its loss.

        Args:
            tokenizers: how texts become ids; given by the data.
            cell: the recurrence of encoder and decoder (RNN, GRU, LSTM).
            embedding_size: length of a token's vector.
            hidden_size: units of each layer; a bidirectional encoder gives each direction one half.
            layers: recurrent layers of encoder and of decoder.
            bidirectional: read the source in both directions.
            reverse_source: feed the source last word first (Sutskever et al. 2014, sec. 3.3).
            bridge: how the fixed vector becomes the decoder's first state (Copy, Linear, Zeros).
            context_every_step: feed the fixed vector to each decoder step and to the output (Cho et al. 2014).
            attention: what the decoder may look at besides (Dot, General, Additive); null for none.
            tied_output: use the target embedding as output matrix too.
            dropout: share of units zeroed on embeddings, between layers and before the output.
            label_smoothing: share of probability spread over the vocabulary (Szegedy et al. 2016).
            metrics: scores of a split, the first of which selects the best checkpoint (Bleu, Chrf, ExactMatch); null
                for these three.
        """
        super().__init__(tokenizers)
        self.metrics = metrics or [Bleu(), Chrf(), ExactMatch()]
        self.cell, self.embedding_size, self.hidden_size, self.layers = cell, embedding_size, hidden_size, layers
        self.bidirectional, self.reverse_source, self.bridge = bidirectional, reverse_source, bridge
        self.context_every_step, self.attention, self.tied_output = context_every_step, attention, tied_output
        self.dropout, self.label_smoothing = dropout, label_smoothing
        for name, value in (("embedding_size", embedding_size), ("hidden_size", hidden_size), ("layers", layers)):
            check_range(f"model.{name}", value, 1)
        check_range("model.dropout", dropout, 0, 1)
        check_range("model.label_smoothing", label_smoothing, 0, 1)
        self.encoder = Encoder(
            len(tokenizers.source),
            embedding_size,
            hidden_size,
            cell,
            layers,
            bidirectional,
            reverse_source,
            dropout,
            PAD,
        )
        self.bridge_module = bridge.module(cell.states, hidden_size)
        self.decoder = Decoder(
            len(tokenizers.target),
            embedding_size,
            hidden_size,
            cell,
            layers,
            attention,
            context_every_step,
            tied_output,
            dropout,
            PAD,
        )

    def encode(self, batch: Batch) -> State:
        """The decoder's first state: the fixed vector, and the memory if there is attention."""
        memory, final = self.encoder(batch.source, batch.source_lengths, noise_of(batch))
        return self.decoder.start(self.bridge_module(final), final[0][-1], memory, batch.source == PAD)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, T - 1, V) of the batch's target, each token given those before it."""
        features = self.decoder(batch.target[:, :-1], self.encode(batch), noise_of(batch))
        logits: Tensor = self.decoder.output(features)
        return logits

    def loss(self, batch: Batch) -> Tensor:
        features = self.decoder(batch.target[:, :-1], self.encode(batch), noise_of(batch))
        labels = batch.target[:, 1:]
        real = labels != PAD
        output = self.decoder.output  # padding never reaches the vocabulary product
        return vocabulary_loss(features[real], output.weight, output.bias, labels[real], self.label_smoothing)

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with torch.inference_mode():
            state = self.encode(batch)
        limits = decoding.limits(batch.source_lengths).to(batch.source.device)
        if decoding.beam_size == 1:
            return greedy(self.step, state, limits, BOS, EOS, decoding.length_penalty)
        return beam_search(self.step, state, limits, BOS, EOS, decoding.beam_size, decoding.length_penalty)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of the search; tokens that are no text are never chosen."""
        log_probs, state = self.decoder.step(tokens, state)
        log_probs[..., [PAD, UNK, BOS]] = -torch.inf
        return log_probs, state


def noise_of(batch: Batch) -> Noise:
    """What the dropout masks of a batch depend on."""
    return Noise(batch.seed, batch.places)
