"""Classification: one label for each source, or several (many-to-one)."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import SPECIAL, Tokenizers
from seq2seq.data.tokenizers.units import Labels
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.accuracy import Accuracy, ExactMatch, MacroF1, MicroF1
from seq2seq.metrics.base import Metric
from seq2seq.metrics.calibration import CalibrationError
from seq2seq.models.cells import LSTM, Cell
from seq2seq.models.dropout import Dropout
from seq2seq.models.encoder import Encoder, EncoderOptions
from seq2seq.models.recurrent import Stack
from seq2seq.models.word_embedding import WordOptions
from seq2seq.tasks.base import Task, check_numbers, noise_of
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.source_embedding import load_vectors, reader_of

PLACE = 2000
"""The number of the last dropout."""


class Classification(Task):
    """An RNN compresses the source into a fixed vector, a linear map says what it is."""

    row_format: ClassVar[RowFormat] = RowFormat(target_ends=False, labels=True, per_row=True, single_token_target=True)

    def __init__(
        self,
        tokenizers: Tokenizers,
        cell: Cell = LSTM(),
        embedding_size: int = 128,
        hidden_size: int = 256,
        layers: int = 1,
        encoder: EncoderOptions = EncoderOptions(),
        words: WordOptions = WordOptions(),
        multi_label: bool = False,
        dropout: float = 0.3,
        locked_dropout: bool = False,
        recurrent_dropout: float = 0.0,
        residual_from: int | None = None,
        label_smoothing: float = 0.0,
        metrics: list[Metric] | None = None,
    ) -> None:
        """The network and its loss.

        Args:
            tokenizers: how texts and labels become ids; given by the data.
            cell: the recurrence (RNN, GRU, LSTM, LayerNormLSTM, MinGRU, MinLSTM).
            embedding_size: length of a token's vector.
            hidden_size: units of each layer, both directions together.
            layers: recurrent layers.
            encoder: what the encoder does otherwise; its pooling (Last, Mean, Max, Attentive) makes the fixed vector.
            words: how spelling becomes part of a word's vector, with data.tokenizer Spelled.
            multi_label: whether a source may have any number of labels, each of which is then a question of its own.
            dropout: share of units zeroed on embeddings, between layers and before the output.
            locked_dropout: zero the same units at every step of a row (Gal and Ghahramani 2016).
            recurrent_dropout: share of units of the state zeroed on their way into the recurrence, always locked.
            residual_from: from this layer on, counted from 1, the input of a layer is added to its output.
            label_smoothing: share of probability spread over all labels (Szegedy et al. 2016).
            metrics: scores of a split, the first of which selects the best checkpoint (Accuracy, MacroF1, MicroF1,
                ExactMatch, CalibrationError); null for accuracy, macro-F1 and calibration error or, of several
                labels, macro-F1, micro-F1 and exact match.
        """
        super().__init__(tokenizers)
        self.cell, self.embedding_size, self.hidden_size, self.layers = cell, embedding_size, hidden_size, layers
        self.encoder, self.words, self.multi_label = encoder, words, multi_label
        self.dropout, self.locked_dropout, self.recurrent_dropout = dropout, locked_dropout, recurrent_dropout
        self.residual_from, self.label_smoothing = residual_from, label_smoothing
        several: list[Metric] = [MacroF1(sets=True), MicroF1(), ExactMatch()]
        self.metrics = metrics or (several if multi_label else [Accuracy(), MacroF1(), CalibrationError()])
        self.row_format = self.row_format._replace(single_token_target=not multi_label)  # type: ignore[misc]
        self.refuse_wrong_settings()
        size = encoder.hidden_size or hidden_size
        stack = Stack(cell, size, layers, dropout, locked_dropout, recurrent_dropout, residual_from)
        reader = reader_of(tokenizers.source, embedding_size, encoder.feature_size, words)
        self.reader = Encoder(reader, stack, encoder)
        self.last_dropout = Dropout(dropout, PLACE)
        self.output = nn.Linear(size, len(tokenizers.target) - SPECIAL)

    def refuse_wrong_settings(self) -> None:
        """Raise InputError for settings out of their range, and for labels that cannot be told apart."""
        check_numbers(self, "label_smoothing")
        target = self.tokenizers.target
        if not isinstance(target, Labels):
            raise InputError(f"data.target_tokenizer is {type(target).__name__}; a classification needs Labels")
        if len(target.vocabulary) < 2 and not self.multi_label:
            only = f"every training row has the label {target.vocabulary[0]!r}"
            raise InputError(f"{only}; there is nothing to tell apart, check data.corpus")
        if self.multi_label and self.label_smoothing:
            raise InputError("model.label_smoothing is for one label a row; set it to 0, or model.multi_label to false")

    def initialise(self) -> None:
        load_vectors(self.reader.embedding, self.tokenizers.source)

    @property
    def searches(self) -> bool:
        return False

    def logits(self, batch: Batch) -> Tensor:
        """(B, C), in at least 32 bits."""
        noise = noise_of(batch)
        vector = self.reader(batch.source, batch.source_lengths, noise).vector
        found: Tensor = self.output(self.last_dropout(vector.unsqueeze(1), noise).squeeze(1))
        return found.to(torch.promote_types(found.dtype, torch.float32))

    def loss(self, batch: Batch) -> Tensor:
        logits, labels = self.logits(batch), batch.target - SPECIAL
        if self.multi_label:
            wanted = torch.zeros_like(logits)
            rows, places = (labels >= 0).nonzero(as_tuple=True)
            wanted[rows, labels[rows, places]] = 1.0
            return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        real = (batch.target_lengths > 0).to(logits.device)
        return functional.cross_entropy(
            logits[real], labels[real, 0].clamp(min=0), reduction="sum", label_smoothing=self.label_smoothing
        )

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with torch.inference_mode():
            logits = self.logits(batch)
        if self.multi_label:
            return [[several(row)] for row in logits]
        log_probs, order = logits.log_softmax(-1).topk(min(decoding.beam_size, logits.shape[1]), dim=-1)
        return [
            [Hypothesis([SPECIAL + label], score, [score]) for label, score in zip(labels, scores, strict=True)]
            for labels, scores in zip(order.tolist(), log_probs.tolist(), strict=True)
        ]


def several(logits: Tensor) -> Hypothesis:
    """The labels of a row, those likelier than not, and the log-probability of the whole choice; logits (C,)."""
    chosen = (logits > 0).nonzero()[:, 0]
    sure = functional.logsigmoid(logits.abs())
    return Hypothesis((chosen + SPECIAL).tolist(), float(sure.sum()), sure[chosen].tolist())
