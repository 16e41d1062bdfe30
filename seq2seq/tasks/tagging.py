"""Tagging: one label for each token (synchronous many-to-many)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, SPECIAL, UNK, Tokenizer
from seq2seq.data.tokenizers.factored import FIRST, TokenFeatures
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Labels, Separated
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.accuracy import Accuracy, MacroF1
from seq2seq.metrics.base import Metric
from seq2seq.models.cells import CellState, picked, real_positions
from seq2seq.models.dropout import Noise
from seq2seq.models.encoder import Encoder, EncoderOptions, Encoding
from seq2seq.models.recurrent import Stack
from seq2seq.models.tagger import (
    AutoregressiveTagger,
    ColumnTagger,
    Crf,
    LabelColumn,
    Softmax,
    Tagged,
    Tagger,
    TaggerState,
)
from seq2seq.models.word_embedding import WordOptions
from seq2seq.pinned_copy import to_device, to_host
from seq2seq.tasks.base import RecurrentTask, Task, Validated, per_row
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.label_stream import Labeller, LabelStream
from seq2seq.tasks.source_embedding import load_vectors, readable, reader_of
from seq2seq.tasks.token_rows import TokenRows, of_embedding, of_linear

WORDS = (Spelled, Separated, TokenFeatures)
"""Tokenizers whose tokens are what is labelled."""


@dataclass(eq=False, repr=False)
class Tagging(RecurrentTask):
    """An RNN over the tokens, and a label for each of its states (Huang et al. 2015; Lample et al. 2016).

    Args:
        encoder: what the encoder does otherwise.
        words: how spelling becomes part of a word's vector, with data.tokenizer Spelled.
        tagger: how states become labels (Softmax, Crf, AutoregressiveTagger).
        lookahead: tokens that are read before one is labelled, with encoder.bidirectional false, for streams.
        metrics: scores of a split, the first of which selects the best checkpoint (Accuracy, SpanF1, MacroF1,
            CalibrationError); null for accuracy and macro-F1.
    """

    row_format = RowFormat(source_end=False, target_ends=False, aligned=True, labels=True)

    encoder: EncoderOptions = EncoderOptions()
    words: WordOptions = WordOptions()
    tagger: Tagger = Softmax()
    lookahead: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        source, target = self.tokenizers
        size = self.encoder.hidden_size or self.hidden_size
        stack = Stack.of(self)._replace(hidden_size=size)
        reader = reader_of(source, self.embedding_size, self.encoder.feature_size, self.words)
        self.reader = Encoder(reader, stack, self.encoder, self.lookahead)
        self.labeller = cast(Labeller, self.tagger.build(size, columns_of(target), stack))

    def usual_metrics(self) -> list[Metric]:
        return [Accuracy(), MacroF1()]

    def refuse_wrong_settings(self) -> None:
        check_range("model.lookahead", self.lookahead, 0)
        if self.lookahead and (self.encoder.bidirectional or self.encoder.reverse):
            raise InputError(
                "model.lookahead is for an encoder that reads forwards only; set model.encoder.bidirectional and "
                "reverse to false, or model.lookahead to 0"
            )
        source = self.tokenizers.source
        if not isinstance(source, WORDS) and source.width is None:
            raise InputError(
                f"data.tokenizer is {type(source).__name__}, whose tokens are not those that are labelled; choose "
                "Spelled or Words"
            )

    def check(self, text: str) -> None:
        """Refuse words between spaces where tabs separate tokens, too: the whole line would get one label."""
        super().check(text)
        tokens = self.tokenizers.source
        tokens = tokens.words if isinstance(tokens, Spelled) else tokens
        if (
            getattr(tokens, "separator", "") != "\t"
            or "\t" in text
            or len(words := list(filter(None, text.split(" ")))) < 2
        ):
            return
        if UNK in tokens.encode([text])[0]:  # Vietnamese words, for one, may hold a space
            raise InputError(
                f"{len(words)} words between spaces, but tabs separate the tokens of this run, so that all "
                "would get one label; put tabs between tokens, e.g. with tr ' ' '\\t'"
            )

    def token_rows(self) -> dict[str, TokenRows]:
        source, target = self.tokenizers
        rows = of_embedding("reader.embedding", self.reader.embedding, source)
        labels = [names[column.first :] for names, column in zip(target.row_names, columns_of(target), strict=True)]
        if isinstance(self.labeller, ColumnTagger):
            for index, names in enumerate(labels):
                rows |= of_linear(f"labeller.maps.{index}", names)
                field = f"labeller.fields.{index}"
                rows |= {f"{field}.{end}": TokenRows(names) for end in ("start", "end")}
                rows[f"{field}.transitions"] = TokenRows(names, square=True)
        elif isinstance(self.labeller, AutoregressiveTagger):
            rows |= of_linear("labeller.map", labels[0])
            rows |= of_embedding("labeller.embedding", self.labeller.embedding, target)
        else:
            return super().token_rows()
        return rows

    def initialise(self) -> None:
        load_vectors(self.reader.embedding, self.tokenizers.source)

    @property
    def searches(self) -> bool:
        return isinstance(self.labeller, AutoregressiveTagger)

    def states(self, batch: Batch) -> tuple[Encoding, Tensor]:
        """The encoder's result, and the number of tokens of each row (B,), on the CPU."""
        source = readable(batch, self.tokenizers.source)
        encoding: Encoding = self.reader(source, batch.source_lengths, Noise(batch.seed, batch.row_keys))
        if isinstance(self.tokenizers.source, Spelled):
            words = self.tokenizers.source.sections.words
            return encoding, ((source < words) & (source != PAD)).sum(1).cpu()
        return encoding, batch.source_lengths

    def loss(self, batch: Batch) -> Tensor:
        return self.loss_of(self.states(batch)[0], batch)

    def loss_of(self, encoding: Encoding, batch: Batch) -> Tensor:
        """The loss of sources that have been encoded."""
        states = encoding.states[:, : batch.target.shape[1]]
        return self.labeller.loss(states, batch.target, batch.target_lengths, Noise(batch.seed, batch.row_keys))

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with without_gradients():
            return self.tagged(*self.states(batch), batch, decoding)

    def score_targets(self, batch: Batch, state: CellState) -> tuple[list[list[float]], CellState]:
        with without_gradients():
            states, lengths = self.states(batch)[0].states[:, : batch.target.shape[1]], batch.target_lengths
            log_probs: Tensor = self.labeller.log_probs(states, batch.target, lengths)
            return per_row(picked(log_probs, real_positions(lengths, log_probs)), lengths), state

    def predict_and_measure(self, batch: Batch, state: CellState, decoding: Decoding) -> Validated:
        with without_gradients():
            encoding, lengths = self.states(batch)
            loss = self.loss_of(encoding, batch)
            return Validated(self.tagged(encoding, lengths, batch, decoding), None, state, loss)

    def tagged(self, encoding: Encoding, lengths: Tensor, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        """The best labels of sources that have been encoded, with as many tokens as `lengths` (B,) says."""
        with without_gradients():
            if isinstance(self.labeller, AutoregressiveTagger):
                return self.searched(self.labeller, encoding.states, lengths, batch, decoding)
            return self.rows(self.labeller.tag(encoding.states, lengths, decoding.beam_size), lengths, decoding)

    @property
    def mixes(self) -> bool:
        return isinstance(self.labeller, ColumnTagger)

    def predict_together(self, members: Sequence[Task], batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with without_gradients():
            each, lengths = [], batch.source_lengths
            for member in cast(Sequence[Tagging], members):
                encoding, lengths = member.states(batch)
                each.append(cast(ColumnTagger, member.labeller).probabilities(encoding.states, lengths))
            means = [torch.stack(column).mean(0) for column in zip(*each, strict=True)]
            tagged = cast(ColumnTagger, self.labeller).tag_by(means, lengths, decoding.beam_size)
            return self.rows(tagged, lengths, decoding)

    def rows(self, tagged: Tagged, lengths: Tensor, decoding: Decoding) -> list[list[Hypothesis]]:
        """The labels of each row, of as many tokens as `lengths` (B,) says."""
        divided = decoding.divisor
        rows = zip(*(column.tolist() for column in (*to_host(*tagged), lengths)), strict=True)
        return [
            [
                Hypothesis(labels[:length], score / divided(length), log_probs[:length])
                for labels, score, log_probs in zip(ids, scores, tokens, strict=True)
                if score > -torch.inf
            ]
            for ids, scores, tokens, length in rows
        ]

    def searched(
        self, decoder: AutoregressiveTagger, states: Tensor, lengths: Tensor, batch: Batch, decoding: Decoding
    ) -> list[list[Hypothesis]]:
        """The best sequences of as many labels as there are tokens; an end that costs nothing follows the last."""

        prefix = self.prefix_tokens(decoding.prefix) if decoding.prefix else []
        decoding = replace(decoding, prefix="")

        def step(before: Tensor, state: TaggerState) -> tuple[Tensor, TaggerState]:
            place = state.time
            log_probs, state = decoder.step(before.masked_fill(before == BOS, PAD), state)
            if place < len(prefix):
                others = torch.arange(log_probs.shape[-1], device=log_probs.device) != prefix[place]
                log_probs = log_probs.masked_fill(others, -torch.inf)
            log_probs[..., EOS] = 0.0
            return log_probs, state

        limits = to_device(lengths + 1, states.device)
        result = self.search(step, decoder.start(states), limits, batch.row_keys, decoding, Constraints(limits - 1))

        def without_end(item: Hypothesis) -> Hypothesis:
            scores = item.token_scores[:-1]
            score = sum(scores) / decoding.divisor(len(item.tokens))
            return item._replace(token_scores=scores, score=score, at_limit=None)

        return [[without_end(item) for item in row] for row in result]

    def label_stream(self) -> LabelStream:
        if self.encoder.bidirectional or self.encoder.reverse:
            raise InputError(
                "--stream needs an encoder that reads forwards only; train with --model.encoder.bidirectional false, "
                "and --model.lookahead K to see K more tokens before each label"
            )
        if isinstance(self.tagger, Crf):
            raise InputError(
                "--stream labels each token at once, but a Crf waits for the end of the sentence; train with "
                "--model.tagger Softmax or AutoregressiveTagger"
            )
        source = self.tokenizers.source
        if not isinstance(source, WORDS):
            raise InputError(f"--stream reads words, but this run reads {type(source).__name__}; leave --stream out")
        return LabelStream(self.tokenizers, source.separator, self.reader, self.labeller)


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
