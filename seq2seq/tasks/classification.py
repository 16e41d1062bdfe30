"""Classification: one label for each source, or several (many-to-one)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import SPECIAL, UNK
from seq2seq.data.tokenizers.units import Labels
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.accuracy import Accuracy, ExactMatch, MacroF1, MicroF1
from seq2seq.metrics.base import Metric, distinct
from seq2seq.metrics.calibration import CalibrationError
from seq2seq.models.cells import CellState
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.encoder import Encoder, EncoderOptions
from seq2seq.models.recurrent import Stack
from seq2seq.models.word_embedding import WordOptions
from seq2seq.pinned_copy import to_device, to_host
from seq2seq.tasks.base import RecurrentTask, Task, Validated
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.label_metrics import told_apart
from seq2seq.tasks.source_embedding import load_vectors, readable, reader_of
from seq2seq.tasks.token_rows import TokenRows, of_embedding, of_linear


@dataclass(eq=False, repr=False)
class Classification(RecurrentTask):
    """An RNN compresses the source into a fixed vector, a linear map gives the probability of each label.

    Args:
        encoder: what the encoder does otherwise; its pooling (Last, Mean, Max, Attentive) makes the fixed vector.
        words: how spelling becomes part of a word's vector, with data.tokenizer Spelled.
        multi_label: whether a source may have any number of labels, each of which is then a question of its own.
        label_smoothing: share of probability spread over all labels (Szegedy et al. 2016).
        metrics: scores of a split, the first of which selects the best checkpoint (Accuracy, MacroF1, MicroF1,
            ExactMatch, CalibrationError); null for accuracy, macro-F1 and calibration error or, of several labels,
            macro-F1, micro-F1 and exact match.
    """

    row_format = RowFormat(target_ends=False, labels=True, per_row=True, single_token_target=True)

    encoder: EncoderOptions = EncoderOptions()
    words: WordOptions = WordOptions()
    multi_label: bool = False
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.row_format = self.row_format._replace(single_token_target=not self.multi_label)
        if self.multi_label:
            self.metrics = distinct([metric.of_sets() for metric in self.metrics or ()])
        source, target = self.tokenizers
        self.metrics = told_apart(self.metrics or (), target, single=not self.multi_label)
        reader = reader_of(source, self.embedding_size, self.encoder.feature_size, self.words)
        self.reader = Encoder(reader, Stack.of(self), self.encoder)
        self.last_dropout = Dropout(self.dropout)
        self.output = nn.Linear(self.reader.size, len(target) - SPECIAL)

    def usual_metrics(self) -> list[Metric]:
        if self.multi_label:
            return [MacroF1(sets=True), MicroF1(), ExactMatch(sets=True)]
        return [Accuracy(), MacroF1(), CalibrationError()]

    def refuse_wrong_settings(self) -> None:
        check_range("model.label_smoothing", self.label_smoothing, 0, 1)
        target = self.tokenizers.target
        if not isinstance(target, Labels):
            raise InputError(f"data.target_tokenizer is {type(target).__name__}; a classification needs Labels")
        if target.classes:
            raise InputError("the targets have a class of the sentence and labels of its tokens; choose task Tagging, "
                             "or set data.corpus.sentence to null")  # fmt: skip
        if len(target.vocabulary) < 2 and not self.multi_label:
            only = f"every training row has the label {target.vocabulary[0]!r}"
            raise InputError(f"{only}; there is nothing to tell apart, check data.corpus")
        if self.multi_label and self.label_smoothing:
            raise InputError("model.label_smoothing is for one label a row; set it to 0, or model.multi_label to false")

    def token_rows(self) -> dict[str, TokenRows]:
        source, target = self.tokenizers
        rows = of_embedding("reader.embedding", self.reader.embedding, source)
        return rows | of_linear("output", target.row_names[0][SPECIAL:])

    def initialise(self) -> None:
        load_vectors(self.reader.embedding, self.tokenizers.source)

    @property
    def searches(self) -> bool:
        return False

    @property
    def predicts_once(self) -> bool:
        return self.multi_label

    def logits(self, batch: Batch) -> Tensor:
        """(B, C), in at least 32 bits."""
        noise = Noise(batch.seed, batch.row_keys)
        vector = self.reader(readable(batch, self.tokenizers.source), batch.source_lengths, noise).vector
        logits: Tensor = self.output(self.last_dropout(vector.unsqueeze(1), noise).squeeze(1))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def fixed_vector(self, batch: Batch) -> Tensor:
        vector: Tensor = self.reader(readable(batch, self.tokenizers.source), batch.source_lengths).vector
        return vector

    def loss(self, batch: Batch) -> Tensor:
        return self.loss_of(self.logits(batch), batch, self.label_smoothing)

    @property
    def without_distributions(self) -> str:
        return ""

    def distributions(self, batch: Batch) -> list[Tensor]:
        return self.distributions_of(self.logits(batch), batch)

    def loss_and_distributions(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        logits = self.logits(batch)
        return self.loss_of(logits, batch, self.label_smoothing), self.distributions_of(logits, batch)

    def distributions_of(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """Of logits (B, C) those of the rows' labels, of several labels that of each question, yes and no."""
        if self.multi_label:
            return [functional.logsigmoid(torch.stack((logits, -logits), -1)).flatten(0, 1)]
        real = to_device((batch.target_lengths > 0).nonzero().squeeze(1), logits.device)
        return [logits.log_softmax(-1).index_select(0, real)]

    def validation_loss(self, batch: Batch) -> Tensor:
        return self.loss_of(self.logits(batch), batch, 0.0)

    def loss_of(self, logits: Tensor, batch: Batch, smoothing: float) -> Tensor:
        """The loss of logits (B, C)."""
        labels = batch.target - SPECIAL
        if self.multi_label:
            targets = logits.new_zeros(len(logits), 1 + logits.shape[1])  # in front a column of what is no label
            targets = targets.scatter_(1, labels.clamp(min=-1) + 1, 1.0)[:, 1:]
            return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        real = to_device((batch.target_lengths > 0).nonzero().squeeze(1), logits.device)
        logits, labels = logits.index_select(0, real), labels.index_select(0, real)[:, 0].clamp(min=0)
        return functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with without_gradients():
            return self.chosen(self.logits(batch), decoding)

    def score_targets(self, batch: Batch, state: CellState) -> tuple[list[list[float]], CellState]:
        """Of one label its own, of several that of the whole choice."""
        with without_gradients():
            logits, labels = self.logits(batch), batch.target - SPECIAL
            if self.multi_label:
                chosen = (labels.unsqueeze(-1) == torch.arange(logits.shape[1], device=labels.device)).any(1)
                scores = functional.logsigmoid(torch.where(chosen, logits, -logits)).sum(1)
            else:
                scores = logits.log_softmax(-1).gather(1, labels.clamp(min=0)).squeeze(1)
            unknown = (batch.target == UNK).any(1)
            return [[score] for score in scores.masked_fill(unknown, -torch.inf).tolist()], state

    def predict_and_measure(self, batch: Batch, state: CellState, decoding: Decoding) -> Validated:
        with without_gradients():
            logits = self.logits(batch)
            return Validated(self.chosen(logits, decoding), None, state, self.loss_of(logits, batch, 0.0))

    @property
    def mixes(self) -> bool:
        return True

    def predict_together(self, members: Sequence[Task], batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with without_gradients():
            logits = torch.stack([cast(Classification, member).logits(batch) for member in members])
            if self.multi_label:
                yes, no = (functional.logsigmoid(one).logsumexp(0) for one in (logits, -logits))
                return self.chosen(yes - no, decoding)
            return self.chosen(logits.log_softmax(-1).logsumexp(0), decoding)

    def chosen(self, logits: Tensor, decoding: Decoding) -> list[list[Hypothesis]]:
        """The likeliest labels of each row of logits (B, C)."""
        if self.multi_label:
            return [[several(row)] for row in to_host(logits)[0]]
        log_probs, order = logits.log_softmax(-1).topk(min(decoding.beam_size, logits.shape[1]), dim=-1)
        return [
            [Hypothesis([SPECIAL + label], score, [score]) for label, score in zip(labels, scores, strict=True)]
            for labels, scores in zip(*(column.tolist() for column in to_host(order, log_probs)), strict=True)
        ]


def several(logits: Tensor) -> Hypothesis:
    """The labels of a row, those likelier than not, and the log-probability of the whole choice; logits (C,)."""
    chosen = (logits > 0).nonzero()[:, 0]
    sure = functional.logsigmoid(logits.abs())
    return Hypothesis((chosen + SPECIAL).tolist(), float(sure.sum()), sure[chosen].tolist())
