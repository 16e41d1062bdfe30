"""Transcription: frames to a shorter text in the same order, without knowing which frames write what."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, SPECIAL, UNK
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.decoding import ctc, transducer
from seq2seq.decoding.guide import Prefix
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.base import Metric
from seq2seq.metrics.edit_distance import CharacterErrorRate, WordErrorRate
from seq2seq.models.attention import Attention
from seq2seq.models.cells import CellState, at_least_32_bits
from seq2seq.models.ctc import BLANK, FIRST, UNKNOWN, ctc_losses
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.encoder import Encoder, EncoderOptions
from seq2seq.models.frames import Frames, Masking, steps_of
from seq2seq.models.perturbation import Perturbation, Perturbed
from seq2seq.models.recurrent import Stack
from seq2seq.models.speller import Speller
from seq2seq.models.transducer import Transducer, WrittenTokens, class_log_probs, transducer_losses
from seq2seq.pinned_copy import to_device, to_host
from seq2seq.tasks import fusion
from seq2seq.tasks.base import RecurrentTask, Validated
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.posteriors import Posteriors
from seq2seq.tasks.token_rows import TokenRows, of_embedding, of_linear, of_output
from seq2seq.tasks.word_stream import HeardWord, StepClasses, WordStream, refuse_whole

UNK_NAME = "<unk>"
"""How the class of what training lacks is shown."""

UNSUPPORTED = ("groups", "min_length", "prefix", "no_repeat_ngram", "include", "avoid", "temperature", "risk")
"""Settings of decoding that belong to a search token by token."""


@dataclass(eq=False, repr=False)
class Transcription(RecurrentTask):
    """An RNN over frames, each of which writes a token or nothing (CTC, Graves et al. 2006), or any number of them.

    Sources are vectors (data.tokenizer Vectors), targets any text that is shorter. A beam of one takes the best path, a
    larger one searches prefixes. Predictions are ranked by their log-probability, over all their paths; decoding's
    length_penalty plays no part but in the score that is shown.

    Args:
        embedding_size: length of what the encoder reads of stacked frames.
        encoder: what the encoder does otherwise.
        alignment: what a step's tokens hang on besides the frames: Transducer for all tokens before them (Graves 2012);
            null for nothing, each step writing at most one token (CTC).
        attention: of a decoder beside, which knows a text as a whole and ranks what the search has found (joint CTC and
            attention, Watanabe et al. 2017): Additive and the like; null for none.
        attention_weight: share of that decoder in the loss and in the score; the rest is that of the alignment.
        stacking: neighbouring frames that become one step of the network.
        lookahead: steps that are read before one writes, with encoder.bidirectional false, for streams.
        masking: what training hides of the frames (SpecAugment, Park et al. 2019).
        perturbation: what training changes of them: speed, voice, microphone, noise.
        centre_rows: subtract from each row the mean of its frames, of speaker and microphone; no streams then.
        centre_running: subtract from each frame the mean of those up to it and of so many more, which have the mean of
            training: for streams of other voices; 0 for nothing.
        metrics: scores of a split, the first of which selects the best checkpoint (WordErrorRate, CharacterErrorRate,
            SequenceErrorRate, SymbolErrorRate, ExactMatch); null for WordErrorRate, CharacterErrorRate and ExactMatch.
    """

    row_format = RowFormat(source_end=False, target_ends=False, frames=1, filled_target=True)

    encoder: EncoderOptions = EncoderOptions()
    alignment: Transducer | None = None
    attention: Attention | None = None
    attention_weight: float = 0.5
    stacking: int = 3
    lookahead: int = 0
    masking: Masking = Masking()
    perturbation: Perturbation = Perturbation()
    centre_rows: bool = False
    centre_running: int = 0
    unwritable: Tensor = field(init=False)
    """Classes that are no text, never predicted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # What knows the tokens before it may write as many as it likes at a step.
        self.row_format = self.row_format._replace(frames=self.stacking if self.alignment is None else 0)
        source, target = self.tokenizers
        if source.width is None:
            raise InputError(f"data.tokenizer is {type(source).__name__}; a transcription reads frames, choose Vectors")
        own = self.stacking, self.masking, self.centre_rows, self.centre_running
        frames = Frames(source.width, self.embedding_size, *own)
        vectors = cast(Vectors, source)
        self.perturbed = Perturbed(self.perturbation, vectors.mean, vectors.deviation)
        self.reader = Encoder(frames, Stack.of(self), self.encoder, self.lookahead)
        self.last_dropout = Dropout(self.dropout, self.locked_dropout)
        size, classes = self.reader.size, len(target) - SPECIAL + FIRST
        self.writer: Transducer | None = None
        if self.alignment is not None:
            self.writer = self.alignment.build(size, classes, Stack.of(self))
            size = self.alignment.joint_size
        self.output = nn.Linear(size, classes)
        self.speller: Speller | None = None
        if self.attention is not None:
            marks, own_stack = (PAD, BOS, EOS), Stack.of(self)
            self.speller = Speller(self.reader.size, self.embedding_size, own_stack, self.attention, len(target), marks)
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
        check_range("model.attention_weight", self.attention_weight, 0, 1)
        check_range("model.centre_running", self.centre_running, 0)
        if self.centre_rows and self.centre_running:
            raise InputError(
                f"model.centre_rows and model.centre_running {self.centre_running} both subtract a mean; drop one"
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
        names = ["blank", UNK, *self.tokenizers.target.row_names[0][SPECIAL:]]
        before = {} if self.writer is None else {"writer.embedding.weight": TokenRows(names)}
        if self.speller is not None:
            before |= of_embedding("speller.decoder.embedding", self.speller.decoder.embedding, self.tokenizers.target)
            before |= of_output("speller.decoder.output.layer", self.tokenizers.target)
        return of_linear("output", names) | before

    def states(self, batch: Batch) -> Tensor:
        """(B, T, H) of each step of the frames."""
        noise = Noise(batch.seed, batch.row_keys)
        states = self.reader.states(batch.source, batch.source_lengths, noise)
        dropped: Tensor = self.last_dropout(states, noise)
        return dropped

    def steps(self, batch: Batch) -> Tensor:
        """(B,) how many there are of each row, on the CPU."""
        return steps_of(batch.source_lengths, self.stacking).clamp(min=1)

    def log_probs(self, states: Tensor) -> Tensor:
        """(B, T, C) of each class at each step, where it hangs on the frames alone, in nats and at least 32 bits."""
        return at_least_32_bits(self.output(states)).log_softmax(-1)

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
        return self.loss_of(self.states(batch), batch)

    def loss_of(self, states: Tensor, batch: Batch) -> Tensor:
        """The loss of states (B, T, H); a row without a target is the stand-in of an empty micro-batch."""
        losses = self.losses(states, batch)
        real = (batch.target_lengths > 0).nonzero().squeeze(1)
        if not len(real):
            return losses.sum() * 0.0
        return losses.index_select(0, to_device(real, losses.device)).sum()

    def losses(self, states: Tensor, batch: Batch) -> Tensor:
        """(B,) minus the log-probability of each target."""
        classes, lengths, steps = classes_of(batch.target), batch.target_lengths, self.steps(batch)
        noise = Noise(batch.seed, batch.row_keys)
        if self.writer is None:
            losses = ctc_losses(self.log_probs(states), steps, classes, lengths)
        else:
            written, frames = self.writer.written(classes, noise), self.writer.from_frames(states)
            losses = transducer_losses(self.output, frames, written, steps, classes, lengths)
        return self.with_attention(losses, states, steps, batch.target, lengths, noise)

    def with_attention(
        self, losses: Tensor, states: Tensor, steps: Tensor, target: Tensor, lengths: Tensor, noise: Noise | None
    ) -> Tensor:
        """Losses (B,) of targets (B, U), ids without ends, with the share of an attention decoder if there is one."""
        if self.speller is None:
            return losses
        spelled = self.speller.losses(states, steps, target, lengths, noise)
        return (1 - self.attention_weight) * losses.to(spelled.device) + self.attention_weight * spelled

    @property
    def loss_is_likelihood(self) -> bool:
        return self.speller is None

    @property
    def is_guided(self) -> bool:
        return True

    def check_decoding(self, decoding: Decoding) -> None:
        usual = Decoding()
        for name in UNSUPPORTED:
            if (value := getattr(decoding, name)) != getattr(usual, name):
                raise InputError(
                    f"decoding.{name} is {value!r}, but a transcription chooses no token after another; leave it out"
                )
        super().check_decoding(decoding)
        fusion.check(decoding, self.tokenizers.target)

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        with without_gradients():
            return self.found(self.states(batch), batch, decoding)

    def word_stream(self, pause: int) -> WordStream:
        """What writes words for frames that need not end; pause: steps without a token after which a word is over."""
        refuse_whole(self.encoder.bidirectional, self.centre_rows)
        classes = StepClasses(self.output, self.unwritable, self.writer)
        return WordStream(self.tokenizers, self.reader, classes, pause)

    def posteriors(self, batch: Batch) -> list[Posteriors]:
        names = ["", UNK_NAME, *map(str, self.tokenizers.target.row_names[0][SPECIAL:])]
        with without_gradients():
            rows = zip(self.states(batch), self.steps(batch).tolist(), strict=True)
            return [self.posteriors_of(states[:count], names) for states, count in rows]

    def posteriors_of(self, states: Tensor, names: list[str]) -> Posteriors:
        """Of one row's steps (T, H), along the best path."""
        classes = StepClasses(self.output, self.unwritable, self.writer)
        stream = WordStream(self.tokenizers, self.reader, classes, len(states))
        shares, words = list[Tensor](), list[HeardWord]()
        for place, hidden in enumerate(torch.split(states, 1)):
            shares.append(classes.shares(hidden))
            words += [word for number in classes.of(hidden, place) for word in stream.written(number, place)]
        return Posteriors(names, torch.stack(shares).float().cpu().numpy(), [*words, *stream.ended()])

    def score_targets(self, batch: Batch, state: CellState) -> tuple[list[list[float]], CellState]:
        """Of the whole target: its tokens have no probabilities of their own."""
        with without_gradients():
            scores = -self.losses(self.states(batch), batch)
            unknown = (batch.target == UNK).any(1)
            return [[score] for score in scores.masked_fill(unknown, -torch.inf).tolist()], state

    def predict_and_measure(self, batch: Batch, state: CellState, decoding: Decoding) -> Validated:
        with without_gradients():
            states = self.states(batch)
            return Validated(self.found(states, batch, decoding), None, state, self.loss_of(states, batch))

    def found(self, states: Tensor, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        """The best hypotheses of each row, with their probabilities over all paths."""
        steps = self.steps(batch)
        guide = fusion.guide_of(decoding, self.tokenizers.target, states.device)
        if self.writer is None:
            [frames] = to_host(self.log_probs(states).index_fill(-1, self.unwritable, -torch.inf))
            arrays = (row[:count].double().numpy() for row, count in zip(frames, steps.tolist(), strict=True))
            texts = [
                ctc.search(array, decoding.beam_size, guide) if np.isfinite(array[:, BLANK]).all() else []
                for array in arrays
            ]
        else:
            frames = self.writer.from_frames(states)
            network = Writing(self.writer, self.output, self.unwritable, frames)
            texts = transducer.search(network, steps.tolist(), decoding.beam_size, states.device, guide)
        if guide is not None:  # which may forbid all that the beam has found, but never the empty text
            nothing: list[tuple[Prefix, float]] = [((), float(guide([()])[0][0]))]
            finite = states.isfinite().flatten(1).all(1).tolist()
            texts = [several or (nothing if real else []) for several, real in zip(texts, finite, strict=True)]
        scores = iter(self.text_log_probs(frames, states, steps, texts))
        return [ranked([(text, next(scores), extra) for text, extra in several], decoding) for several in texts]

    def text_log_probs(
        self, frames: Tensor, states: Tensor, steps: Tensor, texts: Sequence[Sequence[tuple[Prefix, float]]]
    ) -> list[float]:
        """The log-probability of each text of each row, over all its paths, one after the other.

        frames (B, T, C) log-probabilities or, of a transducer, (B, T, J); states (B, T, H). Where there is an attention
        decoder, the weighted mean of both.
        """
        rows = torch.tensor([row for row, several in enumerate(texts) for _ in several], dtype=torch.long)
        if not len(rows):
            return []
        classes = [torch.tensor(text, dtype=torch.long) for several in texts for text, _ in several]
        padded = nn.utils.rnn.pad_sequence([*classes, torch.ones(1, dtype=torch.long)], batch_first=True)[:-1]
        padded, lengths = padded.clamp(min=UNKNOWN), torch.tensor([len(text) for text in classes])
        own, padded = (to_device(one, frames.device) for one in (rows, padded))
        if self.writer is None:
            losses = ctc_losses(frames[own], steps[rows], padded, lengths)
        else:
            written = self.writer.written(padded, None)
            losses = transducer_losses(self.output, frames[own], written, steps[rows], padded, lengths)
        if self.speller is not None:
            target, own = (to_device(one, states.device) for one in (padded + SPECIAL - FIRST, rows))
            losses = self.with_attention(losses, states[own], steps[rows], target, lengths, None)
        result: list[float] = (-losses).tolist()
        return result


def ranked(found: Sequence[tuple[Prefix, float, float]], decoding: Decoding) -> list[Hypothesis]:
    """Texts with their log-probabilities, which they have as a whole, and what a guide adds, the best one first."""
    result = []
    for classes, log_prob, extra in sorted(found, key=lambda one: -one[1] - one[2]):
        tokens = [number + SPECIAL - FIRST for number in classes]
        result.append(Hypothesis(tokens, (log_prob + extra) / decoding.divisor(len(tokens)), [log_prob]))
    return result


class Writing(NamedTuple):
    """A transducer at the frames of a batch, as its search sees it."""

    writer: Transducer
    output: nn.Module
    unwritable: Tensor
    frames: Tensor
    """(B, T, J)."""

    def first(self, count: int) -> WrittenTokens:
        """Of hypotheses that have written nothing."""
        return self.writer.first(count)

    def after(self, classes: Tensor, written: WrittenTokens) -> WrittenTokens:
        """After one more class (N,)."""
        return self.writer.step(classes, written.recurrent)

    def log_probs(self, rows: Tensor, times: Tensor, written: WrittenTokens) -> Tensor:
        """(N, C) in nats for hypotheses of rows (N,) in their steps (N,)."""
        found = class_log_probs(self.output, self.frames[rows, times], written.vector)
        return found.index_fill(-1, self.unwritable, -torch.inf)


def classes_of(target: Tensor) -> Tensor:
    """Ids (B, U) to classes: the blank, an unknown token, the vocabulary."""
    return torch.where(target == UNK, UNKNOWN, target - SPECIAL + FIRST).clamp(min=UNKNOWN)
