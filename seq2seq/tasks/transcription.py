"""Transcription: frames to a shorter text in the same order, without knowing which frames write what."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import SPECIAL, UNK
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.decoding.ctc import search
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.base import Metric
from seq2seq.metrics.edit_distance import CharacterErrorRate, WordErrorRate
from seq2seq.models.cells import CellState
from seq2seq.models.ctc import BLANK, FIRST, UNKNOWN, ctc_losses
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.encoder import Encoder, EncoderOptions
from seq2seq.models.frames import Frames, Masking, steps_of
from seq2seq.models.perturbation import Perturbation, Perturbed
from seq2seq.models.recurrent import Stack
from seq2seq.pinned_copy import to_device, to_host
from seq2seq.tasks.base import RecurrentTask, Validated
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.posteriors import Posteriors
from seq2seq.tasks.token_rows import TokenRows, of_linear
from seq2seq.tasks.word_stream import WordStream, refuse_whole

UNK_NAME = "<unk>"
"""How the class of what training lacks is shown."""

UNSUPPORTED = ("groups", "min_length", "prefix", "no_repeat_ngram", "include", "avoid", "temperature", "risk")
"""Settings of decoding that belong to a search token by token."""


@dataclass(eq=False, repr=False)
class Transcription(RecurrentTask):
    """An RNN over frames, each of which writes a token or nothing (CTC, Graves et al. 2006).

    Sources are vectors (data.tokenizer Vectors), targets any text that is shorter. A beam of one takes the best path, a
    larger one searches prefixes. Predictions are ranked by their log-probability, over all their paths; decoding's
    length_penalty plays no part but in the score that is shown.

    Args:
        embedding_size: length of what the encoder reads of stacked frames.
        encoder: what the encoder does otherwise.
        stacking: neighbouring frames that become one step of the network; each step writes at most one token.
        lookahead: steps that are read before one writes, with encoder.bidirectional false, for streams.
        masking: what training hides of the frames (SpecAugment, Park et al. 2019).
        perturbation: what training changes of them: speed, voice, microphone, noise.
        centre_rows: subtract from each row the mean of its frames, of speaker and microphone; no streams then.
        metrics: scores of a split, the first of which selects the best checkpoint (WordErrorRate, CharacterErrorRate,
            SequenceErrorRate, SymbolErrorRate, ExactMatch); null for WordErrorRate, CharacterErrorRate and ExactMatch.
    """

    row_format = RowFormat(source_end=False, target_ends=False, frames=1)

    encoder: EncoderOptions = EncoderOptions()
    stacking: int = 3
    lookahead: int = 0
    masking: Masking = Masking()
    perturbation: Perturbation = Perturbation()
    centre_rows: bool = False
    unwritable: Tensor = field(init=False)
    """Classes that are no text, never predicted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.row_format = self.row_format._replace(frames=self.stacking)
        source, target = self.tokenizers
        if source.width is None:
            raise InputError(f"data.tokenizer is {type(source).__name__}; a transcription reads frames, choose Vectors")
        frames = Frames(source.width, self.embedding_size, self.stacking, self.masking, self.centre_rows)
        vectors = cast(Vectors, source)
        self.perturbed = Perturbed(self.perturbation, vectors.mean, vectors.deviation)
        self.reader = Encoder(frames, Stack.of(self), self.encoder, self.lookahead)
        self.last_dropout = Dropout(self.dropout, self.locked_dropout)
        self.output = nn.Linear(self.reader.size, len(target) - SPECIAL + FIRST)
        never = target.unwritable[target.unwritable >= SPECIAL] - SPECIAL + FIRST
        self.register_buffer("unwritable", torch.from_numpy(np.append(never, UNKNOWN)), persistent=False)

    def usual_metrics(self) -> list[Metric]:
        return [WordErrorRate(), CharacterErrorRate(), ExactMatch()]

    def refuse_wrong_settings(self) -> None:
        check_range("model.stacking", self.stacking, 1, 100)
        check_range("model.lookahead", self.lookahead, 0, 1000)
        if self.lookahead and self.encoder.bidirectional:
            raise InputError(
                "model.lookahead is for an encoder that reads forwards only; set model.encoder.bidirectional to false, "
                "or model.lookahead to 0"
            )
        target = self.tokenizers.target
        if target.width is not None or len(target.sizes) > 1:
            raise InputError(
                f"data.target_tokenizer is {type(target).__name__}; a transcription writes text, choose Characters, "
                "Words or SentencePiece"
            )
        if self.encoder.reverse:
            raise InputError("model.encoder.reverse would write the text backwards; set it to false")

    def token_rows(self) -> dict[str, TokenRows]:
        return of_linear("output", ["blank", UNK, *self.tokenizers.target.row_names[0][SPECIAL:]])

    def log_probs(self, batch: Batch) -> Tensor:
        """(B, T, C) of each class at each step, in nats and at least 32 bits."""
        noise = Noise(batch.seed, batch.row_keys)
        states = self.reader(batch.source, batch.source_lengths, noise).states
        logits: Tensor = self.output(self.last_dropout(states, noise))
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)

    def fixed_vector(self, batch: Batch) -> Tensor:
        vector: Tensor = self.reader(batch.source, batch.source_lengths).vector
        return vector

    def loss(self, batch: Batch) -> Tensor:
        """Sum over rows of minus the log-probability of the target, which the learner divides by target tokens."""
        if self.training and self.perturbation:
            least = 2 * batch.target_lengths * self.stacking  # equal neighbours need a step between them
            noise = Noise(batch.seed, batch.row_keys)
            source, lengths = self.perturbed(batch.source, batch.source_lengths, least, noise)
            batch = batch._replace(source=source, source_lengths=lengths)
        return self.loss_of(self.log_probs(batch), batch)

    def loss_of(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """The loss of log-probabilities (B, T, C); a row without a target is the stand-in of an empty micro-batch."""
        real = (batch.target_lengths > 0).nonzero().squeeze(1)
        if not len(real):
            return log_probs.sum() * 0.0
        losses = self.losses(log_probs, batch).index_select(0, to_device(real, log_probs.device))
        return losses.sum()

    def losses(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """(B,) minus the log-probability of each target."""
        steps = steps_of(batch.source_lengths, self.stacking).clamp(min=1)
        return ctc_losses(log_probs, steps, classes_of(batch.target), batch.target_lengths)

    def check_decoding(self, decoding: Decoding) -> None:
        usual = Decoding()
        for name in UNSUPPORTED:
            if (value := getattr(decoding, name)) != getattr(usual, name):
                raise InputError(
                    f"decoding.{name} is {value!r}, but a transcription chooses no token after another; leave it out"
                )
        super().check_decoding(decoding)

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with without_gradients():
            return self.found(self.log_probs(batch), batch, decoding)

    def word_stream(self, pause: int) -> WordStream:
        """What writes words for frames that need not end; pause: steps without a token after which a word is over."""
        refuse_whole(self.encoder.bidirectional, self.centre_rows)
        return WordStream(self.tokenizers, self.reader, self.output, self.unwritable, pause)

    def posteriors(self, batch: Batch) -> list[Posteriors]:
        with without_gradients():
            [log_probs] = to_host(self.log_probs(batch))
        steps = steps_of(batch.source_lengths, self.stacking).clamp(min=1).tolist()
        names = ["", UNK_NAME, *map(str, self.tokenizers.target.row_names[0][SPECIAL:])]
        result = []
        for row, count in zip(log_probs, steps, strict=True):
            path = row[:count].index_fill(-1, self.unwritable.cpu(), -torch.inf).argmax(-1).tolist()
            stream = WordStream(self.tokenizers, self.reader, self.output, self.unwritable, count)
            words = [word for place, number in enumerate(path) for word in stream.written(number, place)]
            result.append(Posteriors(names, row[:count].exp().numpy(), [*words, *stream.ended()]))
        return result

    def score_targets(self, batch: Batch, state: CellState) -> tuple[list[list[float]], CellState]:
        """Of the whole target: its tokens have no probabilities of their own."""
        with without_gradients():
            scores = -self.losses(self.log_probs(batch), batch)
            unknown = (batch.target == UNK).any(1)
            return [[score] for score in scores.masked_fill(unknown, -torch.inf).tolist()], state

    def predict_and_measure(self, batch: Batch, state: CellState, decoding: Decoding) -> Validated:
        with without_gradients():
            log_probs = self.log_probs(batch)
            return Validated(self.found(log_probs, batch, decoding), None, state, self.loss_of(log_probs, batch))

    def found(self, log_probs: Tensor, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        """The best hypotheses of each row, with their probabilities over all paths."""
        [frames] = to_host(log_probs.index_fill(-1, self.unwritable, -torch.inf))
        steps = steps_of(batch.source_lengths, self.stacking).clamp(min=1)
        arrays = (row[:count].double().numpy() for row, count in zip(frames, steps.tolist(), strict=True))
        texts = [search(array, decoding.beam_size) if np.isfinite(array[:, BLANK]).all() else [] for array in arrays]
        classes = [torch.tensor(text, dtype=torch.long) for several in texts for text in several]
        if not classes:
            return [[] for _ in texts]
        rows = torch.tensor([row for row, several in enumerate(texts) for _ in several])
        padded = torch.nn.utils.rnn.pad_sequence([*classes, torch.ones(1, dtype=torch.long)], batch_first=True)[:-1]
        lengths = torch.tensor([len(text) for text in classes])
        losses = ctc_losses(frames[rows], steps[rows], padded.clamp(min=UNKNOWN), lengths)
        scores = iter((-losses).tolist())
        return [
            sorted((hypothesis(text, next(scores), decoding) for text in several), key=lambda one: -one.token_scores[0])
            for several in texts
        ]


def hypothesis(classes: tuple[int, ...], log_prob: float, decoding: Decoding) -> Hypothesis:
    """A text with its log-probability, which it has as a whole."""
    tokens = [number + SPECIAL - FIRST for number in classes]
    return Hypothesis(tokens, log_prob / decoding.divisor(len(tokens)), [log_prob])


def classes_of(target: Tensor) -> Tensor:
    """Ids (B, U) to classes: the blank, an unknown token, the vocabulary."""
    return torch.where(target == UNK, UNKNOWN, target - SPECIAL + FIRST).clamp(min=UNKNOWN)
