"""Tagging: one label for each token (synchronous many-to-many)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, SPECIAL, UNK, Tokenizer
from seq2seq.data.tokenizers.factored import FIRST, TokenFeatures
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Labels, Separated
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.hypotheses import Hypothesis, per_row, without_gradients
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.accuracy import Accuracy, ExactMatch, MacroF1, SentenceAccuracy
from seq2seq.metrics.base import Metric
from seq2seq.models.cells import CellState, at_least_32_bits, picked, real_positions
from seq2seq.models.dropout import Dropout, Noise
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
from seq2seq.tasks.base import RecurrentTask, Task, Validated
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.label_metrics import told_apart
from seq2seq.tasks.label_stream import Labeller, LabelStream
from seq2seq.tasks.neighbour_loss import NeighbourLoss
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
        sentence_weight: of the class of the sentence in the loss, where the data has one beside the labels of its
            tokens (data.corpus.sentence); a label weighs 1. The class is told from the encoder's fixed vector, in one
            network with the labels (Liu and Lane 2016).
        neighbour_weight: in the loss, of telling the next word from the states that read forwards and the previous one
            from those that read backwards (Rei 2017); a label weighs 1.
        metrics: scores of a split, the first of which selects the best checkpoint (Accuracy, SpanF1, SegmentF1,
            MacroF1, CalibrationError, SentenceAccuracy, ExactMatch); null for accuracy and macro-F1, and with a class
            of the sentence its accuracy and the share of rows all of which is right.
    """

    row_format = RowFormat(source_end=False, target_ends=False, aligned=True, labels=True)

    encoder: EncoderOptions = EncoderOptions()
    words: WordOptions = WordOptions()
    tagger: Tagger = Softmax()
    lookahead: int = 0
    sentence_weight: float = 1.0
    neighbour_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        source, target = self.tokenizers
        self.metrics = told_apart(self.metrics or (), target)
        size = self.encoder.hidden_size or self.hidden_size
        stack = Stack.of(self)._replace(hidden_size=size)
        reader = reader_of(source, self.embedding_size, self.encoder.feature_size, self.words)
        self.reader = Encoder(reader, stack, self.encoder, self.lookahead)
        self.neighbours = NeighbourLoss(source, self.reader, self.neighbour_weight, self.dropout)
        self.labeller = cast(Labeller, self.tagger.build(size, columns_of(target), stack))
        self.sentence: SentenceClass | None = None
        if classes_of(target):
            self.sentence = SentenceClass(self.reader.size, len(classes_of(target)), cast(Labels, target).first_class,
                                          self.dropout)  # fmt: skip

    def usual_metrics(self) -> list[Metric]:
        usual: list[Metric] = [Accuracy(), MacroF1()]
        return [*usual, SentenceAccuracy(), ExactMatch()] if classes_of(self.tokenizers.target) else usual

    def refuse_wrong_settings(self) -> None:
        check_range("model.lookahead", self.lookahead, 0)
        check_range("model.sentence_weight", self.sentence_weight, 0)
        check_range("model.neighbour_weight", self.neighbour_weight, 0)
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
        rows |= self.neighbours.token_rows("neighbours")
        labels = [names[column.first : column.first + len(column.labels)]
                  for names, column in zip(target.row_names, columns_of(target), strict=True)]  # fmt: skip
        if self.sentence is not None:
            rows |= of_linear("sentence.map", list(classes_of(target)))
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
        encoding = self.states(batch)[0]
        loss: Tensor = self.loss_of(encoding, batch, self.sentence_weight) + self.neighbours(encoding, batch)
        return loss

    @property
    def without_distributions(self) -> str:
        if isinstance(self.labeller, ColumnTagger) and not self.labeller.learned:
            return ""
        return f"only model.tagger Softmax gives each label a probability, and it is {type(self.tagger).__name__}"

    def distributions(self, batch: Batch) -> list[Tensor]:
        return self.distributions_of(self.states(batch)[0], batch)

    def loss_and_distributions(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        encoding = self.states(batch)[0]
        loss = self.loss_of(encoding, batch, self.sentence_weight) + self.neighbours(encoding, batch)
        return loss, self.distributions_of(encoding, batch)

    def distributions_of(self, encoding: Encoding, batch: Batch) -> list[Tensor]:
        """Log-probabilities (N, C) in nats of each column of the labels, and of the classes of the sentences."""
        (labels, lengths), noise = self.labels(batch), Noise(batch.seed, batch.row_keys)
        states, real = encoding.states[:, : labels.shape[1]], real_positions(lengths, labels)
        emissions = cast(ColumnTagger, self.labeller).emissions(states, noise)
        found = [picked(one.log_softmax(-1), real) for one in emissions]
        if self.sentence is not None:
            rows = to_device((batch.target_lengths > 0).nonzero().squeeze(1), labels.device)
            found.append(self.sentence(encoding.vector, noise).index_select(0, rows))
        return found

    def validation_loss(self, batch: Batch) -> Tensor:
        return self.loss_of(self.states(batch)[0], batch)

    def loss_of(self, encoding: Encoding, batch: Batch, sentence_weight: float = 1.0) -> Tensor:
        """The loss of sources that have been encoded."""
        labels, lengths = self.labels(batch)
        noise = Noise(batch.seed, batch.row_keys)
        loss: Tensor = self.labeller.loss(encoding.states[:, : labels.shape[1]], labels, lengths, noise)
        if self.sentence is None:
            return loss
        real = to_device(batch.target_lengths > 0, labels.device)
        scores = self.sentence(encoding.vector, noise).gather(1, self.sentence.index(batch.target[:, :1])).squeeze(1)
        of_class: Tensor = (scores * real).sum()
        return loss - sentence_weight * of_class

    def labels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The labels (B, S) of the tokens, without the class of the sentence, and how many (B,), on the CPU."""
        if self.sentence is None:
            return batch.target, batch.target_lengths
        return batch.target[:, 1:], (batch.target_lengths - 1).clamp(min=0)

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with without_gradients():
            return self.tagged(*self.states(batch), batch, decoding)

    def score_targets(self, batch: Batch, state: CellState) -> tuple[list[list[float]], CellState]:
        with without_gradients():
            encoding, (labels, lengths) = self.states(batch)[0], self.labels(batch)
            log_probs: Tensor = self.labeller.log_probs(encoding.states[:, : labels.shape[1]], labels, lengths)
            if self.sentence is not None:
                known = batch.target[:, :1] != UNK
                own = self.sentence(encoding.vector).gather(1, self.sentence.index(batch.target[:, :1]))
                log_probs = torch.cat((own.masked_fill(~known, -torch.inf), log_probs), dim=1)
                lengths = batch.target_lengths
            return per_row(picked(log_probs, real_positions(lengths, log_probs)), lengths), state

    def predict_and_measure(self, batch: Batch, state: CellState, decoding: Decoding) -> Validated:
        with without_gradients():
            encoding, lengths = self.states(batch)
            loss = self.loss_of(encoding, batch)
            return Validated(self.tagged(encoding, lengths, batch, decoding), None, state, loss)

    def tagged(self, encoding: Encoding, lengths: Tensor, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        """The best labels of sources that have been encoded, with as many tokens as `lengths` (B,) says."""
        if self.sentence is None:
            return self.labelled(encoding, lengths, batch, decoding)
        with without_gradients():
            log_probs = self.sentence(encoding.vector)
        rows = self.labelled(encoding, lengths, batch, decoding)
        scores, classes = to_host(*log_probs.topk(min(decoding.beam_size, log_probs.shape[1])))
        best = zip(rows, scores.tolist(), classes.tolist(), strict=True)
        return [self.sentence.beside(labels, own, numbers, decoding) for labels, own, numbers in best]

    def labelled(self, encoding: Encoding, lengths: Tensor, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        """The best labels of the tokens."""
        with without_gradients():
            if isinstance(self.labeller, AutoregressiveTagger):
                return self.searched(self.labeller, encoding.states, lengths, batch, decoding)
            return self.rows(self.labeller.tag(encoding.states, lengths, decoding.beam_size), lengths, decoding)

    @property
    def mixes(self) -> bool:
        return isinstance(self.labeller, ColumnTagger) and self.sentence is None

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

    def check_decoding(self, decoding: Decoding) -> None:
        super().check_decoding(decoding)
        if self.sentence is not None and decoding.prefix:
            raise InputError(f"decoding.prefix is {decoding.prefix!r}, but this run begins with a class of the "
                             "sentence; leave it out")  # fmt: skip

    def label_stream(self) -> LabelStream:
        if self.sentence is not None:
            raise InputError(
                "--stream labels tokens before their sentence has ended, and this run tells its class too; leave "
                "--stream out, or train with data.corpus.sentence null"
            )
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


class SentenceClass(nn.Module):
    """A fixed vector to the class of its sentence."""

    def __init__(self, size: int, classes: int, first: int, dropout: float) -> None:
        """size: of the vector, H; first: the id of the first class."""
        super().__init__()
        self.first = first
        self.last_dropout = Dropout(dropout)
        self.map = nn.Linear(size, classes)

    def forward(self, vector: Tensor, noise: Noise | None = None) -> Tensor:
        """Vectors (B, H) to log-probabilities (B, C) in nats."""
        seen = self.last_dropout(vector.unsqueeze(1), noise).squeeze(1)
        log_probs: Tensor = at_least_32_bits(self.map(seen)).log_softmax(-1)
        return log_probs

    def index(self, ids: Tensor) -> Tensor:
        """The numbers of classes by their ids; of an unknown one any."""
        return (ids - self.first).clamp(min=0)

    def beside(
        self, labels: list[Hypothesis], scores: list[float], classes: list[int], decoding: Decoding
    ) -> list[Hypothesis]:
        """The best pairs of a class and labels; scores: log-probabilities of the likeliest classes."""
        pairs = []
        for one in labels:
            total, count = one.score * decoding.divisor(len(one.tokens)), len(one.tokens) + 1
            for score, number in zip(scores, classes, strict=True):
                tokens, each = [self.first + number, *one.tokens], [score, *one.token_scores]
                pairs.append(one._replace(tokens=tokens, token_scores=each,
                                          score=(total + score) / decoding.divisor(count)))  # fmt: skip
        return sorted(pairs, key=lambda one: -one.score)[: decoding.beam_size]


def classes_of(tokenizer: Tokenizer) -> Sequence[str]:
    """The classes of sentences that a target has beside the labels of tokens."""
    return tokenizer.classes if isinstance(tokenizer, Labels) else ()


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
