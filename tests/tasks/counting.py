"""A task of one file outside the package: how often a source says `a`, by regression (many-to-one, a number)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.metrics.base import Metric
from seq2seq.metrics.forecast_errors import MeanAbsoluteError
from seq2seq.models.dropout import Noise
from seq2seq.models.encoder import Encoder, EncoderOptions
from seq2seq.models.recurrent import Stack
from seq2seq.models.word_embedding import WordOptions
from seq2seq.tasks.base import RecurrentTask
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.source_embedding import reader_of


@dataclass(eq=False, repr=False)
class Counting(RecurrentTask):
    """An RNN compresses the source into a fixed vector, a linear map makes a number of it.

    Args:
        encoder: what the encoder does otherwise.
    """

    row_format = RowFormat(target_ends=False, fixed_target_length=True)
    searches = False

    dropout: float = 0.0
    encoder: EncoderOptions = EncoderOptions()

    def __post_init__(self) -> None:
        super().__post_init__()
        words = reader_of(self.tokenizers.source, self.embedding_size, self.encoder.feature_size, WordOptions())
        self.reader = Encoder(words, Stack.of(self), self.encoder)
        self.output = nn.Linear(self.reader.size, 1)

    def usual_metrics(self) -> list[Metric]:
        return [MeanAbsoluteError()]

    def fixed_vector(self, batch: Batch) -> Tensor:
        return self.reader(batch.source, batch.source_lengths, Noise(batch.seed, batch.row_keys)).vector

    def loss(self, batch: Batch) -> Tensor:
        real = batch.target_lengths > 0
        return (self.output(self.fixed_vector(batch)) - batch.target[..., 0])[real].square().sum()

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with torch.inference_mode():
            numbers = self.output(self.fixed_vector(batch)).tolist()
        return [[Hypothesis([], 0.0, [], {"mean": [number]})] for number in numbers]

    def text(self, hypothesis: Hypothesis) -> str:
        return self.tokenizers.target.decode(hypothesis.values["mean"])
