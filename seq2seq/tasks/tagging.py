"""Tagging: one label for each token (synchronous many-to-many)."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, SPECIAL, Tokenizer, Tokenizers
from seq2seq.data.tokenizers.factored import FIRST, TokenFeatures
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Labels, Separated
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.accuracy import Accuracy, MacroF1
from seq2seq.metrics.base import Metric
from seq2seq.models.cells import LSTM, Cell
from seq2seq.models.encoder import Encoder, EncoderOptions, Encoding
from seq2seq.models.recurrent import Stack
from seq2seq.models.tagger import AutoregressiveTagger, ColumnTagger, LabelColumn, Softmax, Tagger, TaggerState
from seq2seq.models.word_embedding import WordOptions
from seq2seq.tasks.base import Task, check_numbers, noise_of
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.source_embedding import load_vectors, reader_of


class Tagging(Task):
    """An RNN over the tokens, and a label for each of its states (Huang et al. 2015; Lample et al. 2016)."""

    row_format: ClassVar[RowFormat] = RowFormat(source_end=False, target_ends=False, aligned=True, labels=True)

    def __init__(
        self,
        tokenizers: Tokenizers,
        cell: Cell = LSTM(),
        embedding_size: int = 128,
        hidden_size: int = 256,
        layers: int = 1,
        encoder: EncoderOptions = EncoderOptions(),
        words: WordOptions = WordOptions(),
        tagger: Tagger = Softmax(),
        lookahead: int = 0,
        dropout: float = 0.3,
        locked_dropout: bool = False,
        recurrent_dropout: float = 0.0,
        residual_from: int | None = None,
        metrics: list[Metric] | None = None,
    ) -> None:
        """The network and its loss.

        Args:
            tokenizers: how tokens and labels become ids; given by the data.
            cell: the recurrence (RNN, GRU, LSTM, LayerNormLSTM, MinGRU, MinLSTM).
            embedding_size: length of a word's own vector.
            hidden_size: units of each layer, both directions together.
            layers: recurrent layers.
            encoder: what the encoder does otherwise.
            words: how spelling becomes part of a word's vector, with data.tokenizer Spelled.
            tagger: how states become labels (Softmax, Crf, AutoregressiveTagger).
            lookahead: tokens that are read before one is labelled, with encoder.bidirectional false, for streams.
            dropout: share of units zeroed on embeddings, between layers and before the output.
            locked_dropout: zero the same units at every step of a row (Gal and Ghahramani 2016).
            recurrent_dropout: share of units of the state zeroed on their way into the recurrence, always locked.
            residual_from: from this layer on, counted from 1, the input of a layer is added to its output.
            metrics: scores of a split, the first of which selects the best checkpoint (Accuracy, SpanF1, MacroF1,
                CalibrationError); null for accuracy and macro-F1.
        """
        super().__init__(tokenizers)
        self.cell, self.embedding_size, self.hidden_size, self.layers = cell, embedding_size, hidden_size, layers
        self.encoder, self.words, self.tagger, self.lookahead = encoder, words, tagger, lookahead
        self.dropout, self.locked_dropout, self.recurrent_dropout = dropout, locked_dropout, recurrent_dropout
        self.residual_from = residual_from
        self.metrics = metrics or [Accuracy(), MacroF1()]
        self.refuse_wrong_settings()
        size = encoder.hidden_size or hidden_size
        stack = Stack(cell, size, layers, dropout, locked_dropout, recurrent_dropout, residual_from)
        reader = reader_of(tokenizers.source, embedding_size, encoder.feature_size, words)
        self.reader = Encoder(reader, stack, encoder, lookahead)
        self.labeller = cast(
            ColumnTagger | AutoregressiveTagger, tagger.build(size, columns_of(tokenizers.target), stack)
        )

    def refuse_wrong_settings(self) -> None:
        """Raise InputError for settings out of their range or that do not go together."""
        check_numbers(self)
        check_range("model.lookahead", self.lookahead, 0)
        if self.lookahead and (self.encoder.bidirectional or self.encoder.reverse):
            raise InputError(
                "model.lookahead is for an encoder that reads forwards only; set model.encoder.bidirectional and "
                "reverse to false, or model.lookahead to 0"
            )
        source = self.tokenizers.source
        if not isinstance(source, (Spelled, Separated, TokenFeatures)) and source.width is None:
            raise InputError(
                f"data.tokenizer is {type(source).__name__}, whose tokens are not those that are labelled; choose "
                "Spelled or Words"
            )

    def initialise(self) -> None:
        load_vectors(self.reader.embedding, self.tokenizers.source)

    @property
    def searches(self) -> bool:
        return isinstance(self.labeller, AutoregressiveTagger)

    def states(self, batch: Batch) -> tuple[Encoding, Tensor]:
        """What the encoder has found, and the number of tokens of each row (B,), on the CPU."""
        encoding: Encoding = self.reader(batch.source, batch.source_lengths, noise_of(batch))
        if isinstance(self.tokenizers.source, Spelled):
            words = self.tokenizers.source.sections.words
            return encoding, ((batch.source < words) & (batch.source != PAD)).sum(1).cpu()
        return encoding, batch.source_lengths

    def loss(self, batch: Batch) -> Tensor:
        encoding, _ = self.states(batch)
        states = encoding.states[:, : batch.target.shape[1]]
        return self.labeller.loss(states, batch.target, batch.target_lengths, noise_of(batch))

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with torch.inference_mode():
            encoding, lengths = self.states(batch)
            if isinstance(self.labeller, AutoregressiveTagger):
                return self.searched(self.labeller, encoding.states, lengths, batch, decoding)
            found = self.labeller.tag(encoding.states, lengths, decoding.beam_size)
        columns = zip(found.ids.tolist(), found.scores.tolist(), found.tokens.tolist(), lengths.tolist(), strict=True)
        return [
            [
                Hypothesis(one[:length], score / max(length, 1) ** decoding.length_penalty, sure[:length])
                for one, score, sure in zip(ids, scores, tokens, strict=True)
                if score > -torch.inf
            ]
            for ids, scores, tokens, length in columns
        ]

    def searched(
        self, decoder: AutoregressiveTagger, states: Tensor, lengths: Tensor, batch: Batch, decoding: Decoding
    ) -> list[list[Hypothesis]]:
        """The best sequences of as many labels as there are tokens; an end that costs nothing follows the last."""

        def step(before: Tensor, state: TaggerState) -> tuple[Tensor, TaggerState]:
            log_probs, state = decoder.step(before.masked_fill(before == BOS, PAD), state)
            log_probs[..., EOS] = 0.0
            return log_probs, state

        limits, penalty = (lengths + 1).to(states.device), decoding.length_penalty
        found = self.search(step, decoder.start(states), limits, batch.row_keys, decoding, Constraints(limits - 1))
        sure = [[one._replace(token_scores=one.token_scores[:-1]) for one in row] for row in found]  # not the end's
        return [
            [one._replace(score=sum(one.token_scores) / max(len(one.tokens), 1) ** penalty) for one in row]
            for row in sure
        ]

    def text(self, hypothesis: Hypothesis) -> str:
        return self.tokenizers.target.decode(hypothesis.tokens)


def columns_of(tokenizer: Tokenizer) -> list[LabelColumn]:
    """The labels of each column of a target."""
    if isinstance(tokenizer, Labels):
        return [LabelColumn(tokenizer.vocabulary, SPECIAL)]
    if isinstance(tokenizer, TokenFeatures) and isinstance(tokenizer.text, Labels):
        return [
            LabelColumn(tokenizer.text.vocabulary, SPECIAL),
            *(LabelColumn(names, FIRST) for names in tokenizer.names),
        ]
    raise InputError(
        f"data.target_tokenizer is {type(tokenizer).__name__}; choose Labels, or for several columns TokenFeatures "
        "with text Labels"
    )
