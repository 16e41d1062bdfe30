"""Task: a network that knows its loss, its predictions and what a checkpoint must hold to make it again."""

import inspect
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq.configurable import Part, build, plain, stored_name
from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import BOS, EOS, Tokenizer, Tokenizers
from seq2seq.decoding import length_bound
from seq2seq.decoding.beam import beam_search
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.diverse import ranked
from seq2seq.decoding.greedy import greedy
from seq2seq.decoding.hypotheses import Hypothesis, S, StepFunction
from seq2seq.decoding.length_bound import LengthBound
from seq2seq.decoding.sampling import sample
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.base import Metric, distinct
from seq2seq.models.cells import LSTM, Cell, CellState, picked, real_positions
from seq2seq.models.dropout import number_dropouts
from seq2seq.models.encoder_decoder import EncoderDecoder
from seq2seq.models.network_part import NetworkPart
from seq2seq.tasks import least_risk, length_limits, unknown_words, words
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.label_stream import LabelStream
from seq2seq.tasks.posteriors import Posteriors
from seq2seq.tasks.token_rows import TokenRows


class Validated(NamedTuple):
    """What a validation learns of a batch."""

    hypotheses: list[list[Hypothesis]]
    reference_scores: list[list[float]] | None
    state: CellState
    """As in `predict_and_score`."""
    loss: Tensor | float
    """`validation_loss`, summed; a tensor is read at the end of the split, so that no batch waits for it."""


class Task(nn.Module, Part):
    """A network with its tokenizers. Subclasses write `loss` and `predict`; the other methods have defaults.

    Every argument of `__init__` but the tokenizers is kept in an attribute of the same name.
    """

    writes: ClassVar[tuple[str, ...]] = ("loss", "predict")
    row_format: RowFormat = RowFormat()
    """What stands around the sequences of a row."""

    metrics: Sequence[Metric] = ()
    """Scores of a split; the first one selects the best checkpoint."""

    def __init__(self, tokenizers: Tokenizers) -> None:
        super().__init__()
        self.tokenizers = tokenizers
        self.decoding = Decoding()
        """How to search by default; part of the checkpoint, not of the network."""
        self.length_bound: LengthBound | None = None
        """The most target tokens as training has learnt it, where nothing in `decoding` says otherwise."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Settings are no part of the network, even where they are a module that has not been built."""
        if isinstance(value, NetworkPart) and not value.is_built:
            object.__setattr__(self, name, value)
            return
        super().__setattr__(name, value)
        if isinstance(value, nn.Module):
            number_dropouts(value, name)

    def initialise(self) -> None:
        """Called once, before a new training: loads pre-trained vectors, for example."""

    def token_rows(self) -> dict[str, TokenRows]:
        """Of each parameter with a row for each token, feature or label what these are, for another vocabulary."""
        raise InputError(f"{type(self).__name__} has no token_rows() and fits no other vocabulary; keep the parent's")

    # The loss.

    def loss(self, batch: Batch) -> Tensor:
        """Sum over the batch's real target tokens, in nats."""
        raise TypeError(f"{type(self).__name__} does not define its loss")

    def validation_loss(self, batch: Batch) -> Tensor:
        """`loss` without what belongs to training alone, such as smoothing; in nats where `loss_is_likelihood`."""
        return self.loss(batch)

    @property
    def loss_is_likelihood(self) -> bool:
        """Whether `validation_loss` is minus a log-probability, so that it makes a perplexity."""
        return True

    def forward(self, batch: Batch) -> Tensor:
        """Log-probabilities (B, T - 1, V) in nats of the batch's target, each token given those before it."""
        raise TypeError(f"{type(self).__name__} does not define the probability of a token")

    @property
    def without_distributions(self) -> str:
        """Why `distributions` cannot be compared with those of another pass, for a message; empty if they can."""
        return f"a {type(self).__name__} gives no probabilities of tokens to compare"

    @property
    def without_distance(self) -> str:
        """Why nothing can be drawn towards other distributions than its own, for a message; empty if it can."""
        return self.without_distributions

    def distributions(self, batch: Batch) -> list[Tensor]:
        """Log-probabilities (N, V) in nats of what the loss is a sum over: of each kind of token or label."""
        return [picked(self.forward(batch), real_positions(batch.target_lengths - 1, batch.target[:, 1:]))]

    def loss_and_distributions(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """What `loss` and `distributions` return; a subclass may compute both at once."""
        return self.loss(batch), self.distributions(batch)

    def first_state(self, streams: int) -> CellState:
        """The recurrent state (L, streams, H) before consecutive rows; nothing where each row stands alone."""
        return ()

    def loss_and_state(self, batch: Batch, state: CellState) -> tuple[Tensor, CellState]:
        """The loss of rows that continue from a state, tensors (L, B, H), and the state after them."""
        return self.loss(batch), state

    # Predictions.

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        """The best hypotheses of each row, best first."""
        raise TypeError(f"{type(self).__name__} does not define its predictions")

    def predict_and_score(
        self, batch: Batch, state: CellState, decoding: Decoding
    ) -> tuple[list[list[Hypothesis]], list[list[float]] | None, CellState]:
        """`predict`, with the log-probability in nats of each token of each reference where metrics want it.

        state: after the rows before, where rows are consecutive; returned is the one after these.
        """
        return self.predict(batch, decoding), None, state

    def score_targets(self, batch: Batch, state: CellState) -> tuple[list[list[float]], CellState]:
        """The log-probability in nats of each token of each target, its end included; state: as in `predict_and_score`.

        What has no probability, such as a label that training lacks, has minus infinity.
        """
        raise InputError(
            f"this run is a {type(self).__name__}, which gives its targets no probability; score what it predicts "
            "with python -m seq2seq.evaluate"
        )

    def predict_and_measure(self, batch: Batch, state: CellState, decoding: Decoding) -> Validated:
        """`predict_and_score` with `validation_loss`; a subclass may read the sources once for both."""
        hypotheses, scores, state = self.predict_and_score(batch, state, decoding)
        if scores is not None:
            return Validated(hypotheses, scores, state, -math.fsum(score for row in scores for score in row))
        with torch.no_grad():
            return Validated(hypotheses, None, state, self.validation_loss(batch))

    def limits(self, source_lengths: Tensor, decoding: Decoding) -> Tensor:
        """(B,) source tokens, on the CPU, to (B,) the most target tokens, the end included, where targets have one."""
        return length_limits.limits(source_lengths, self.row_format, self.length_bound, decoding)

    def limit_in_words(self, decoding: Decoding) -> str:
        """What `limits` follows, and where that comes from."""
        return length_limits.in_words(self.row_format, self.length_bound, decoding)

    def check_decoding(self, decoding: Decoding) -> None:
        """Raise InputError for what this task cannot do."""
        for name in ("prefix", "include", "avoid", "risk"):
            if (value := getattr(decoding, name)) and not self.searches:
                kind = type(self).__name__
                raise InputError(f"decoding.{name} is {value!r}, but this {kind} does not search; leave it out")
        if decoding.include or decoding.avoid:
            words.check(decoding, self.tokenizers.target, self.row_format)
        for name in ("lm", "words", "token_bonus"):
            if (value := getattr(decoding, name)) and not self.is_guided:
                kind = type(self).__name__
                raise InputError(f"decoding.{name} is {value!r}, but this is a {kind}, no Transcription; leave it out")
        if decoding.coverage_penalty and not self.attends:
            raise InputError(
                f"decoding.coverage_penalty is {decoding.coverage_penalty}, but nothing here attends to a source; set "
                "it to 0, or train a translation with model.attention"
            )
        unknown_words.check(decoding, self.tokenizers, self.attends)
        if decoding.wait_k is not None and type(self).waits is Task.waits:
            kind = type(self).__name__
            raise InputError(
                f"decoding.wait_k is {decoding.wait_k}, but this {kind} does not read while it writes; set it to null"
            )

    def waits(self, decoding: Decoding) -> int | None:
        """Source tokens that are read before the first target token is chosen; None for all of them."""
        return None

    @property
    def attends(self) -> bool:
        """Whether the search knows where attention looks."""
        return False

    @property
    def is_guided(self) -> bool:
        """Whether a language model or a word list can guide the search."""
        return False

    @property
    def predicts_once(self) -> bool:
        """Whether a row has one prediction, however many are asked for."""
        return False

    @property
    def searches(self) -> bool:
        """Whether a larger beam can improve the best hypothesis; elsewhere the beam has the size of the n-best list."""
        return True

    @property
    def has_no_source(self) -> bool:
        """Whether the input is a prompt instead of a source: the beginning of the prediction, which may be empty."""
        return False

    def generate_from_prompts(
        self, prompts: Sequence[str], first_row: int, state: CellState, decoding: Decoding, share: slice = slice(None)
    ) -> tuple[list[list[Hypothesis]], CellState]:
        """The hypotheses of each prompt where there is no source, and the state after them.

        first_row: the number of the first prompt, on which random draws depend; state: as in `predict_and_score`;
        share: which batches to decode, unless states are carried; the prompts of the others get no hypotheses.
        """
        raise TypeError(f"{type(self).__name__} reads sources, not prompts")

    def label_stream(self) -> LabelStream:
        """What labels the tokens of a source that need not end, by tasks that label tokens."""
        raise InputError(f"--stream labels tokens, but this run is a {type(self).__name__}; leave --stream out")

    def text(self, hypothesis: Hypothesis) -> str:
        """A hypothesis as one line of text."""
        return self.tokenizers.target.decode(hypothesis.tokens)

    def quantile_texts(self, hypothesis: Hypothesis) -> dict[str, str] | None:
        """The forecast of each quantile as text, by tasks that make several."""
        return None

    def is_blank(self, text: str) -> bool:
        """Whether a source has nothing but whitespace, from which nothing follows; a token may be a U+00A0."""
        return not text.strip(" \t\r\n" if self.row_format.aligned else None)

    @property
    def baseline_season(self) -> int | None:
        """Steps of a season, by tasks that forecast what they read, for baselines that need no model."""
        return None

    def check(self, text: str) -> None:
        """Raise InputError if nothing can be predicted from a source."""
        self.tokenizers.source.check(text)

    # Analysis.

    @property
    def encoder_decoder(self) -> EncoderDecoder | None:
        """The network whose exposure bias, attention and gradient flow are analysed; None for none."""
        return None

    def fixed_vector(self, batch: Batch) -> Tensor | None:
        """The vectors (B, H) to which the sources are compressed, for probes; None where there are none."""
        return None

    def posteriors(self, batch: Batch) -> list[Posteriors]:
        """What the network believes at each step of each row, by tasks that write along their frames; for reports."""
        return []

    # Search.

    def start_of_search(self, batch: Batch, decoding: Decoding) -> tuple[StepFunction[Any], Any]:
        """One step of the search, and the state before the first, by tasks of which several can predict together."""
        raise TypeError(f"a {type(self).__name__} predicts alone")

    @property
    def mixes(self) -> bool:
        """Whether `predict_together` takes the mean of the probabilities of several such tasks."""
        return False

    def predict_together(self, members: Sequence["Task"], batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        """The best hypotheses by the mean of the members' probabilities, by tasks that do not search."""
        raise TypeError(f"a {type(self).__name__} predicts alone")

    def search(
        self,
        step: StepFunction[S],
        state: S,
        limits: Tensor,
        row_keys: Tensor,
        decoding: Decoding,
        rules: Constraints | None = None,
        bonus: Callable[[S], Tensor] | None = None,
    ) -> list[list[Hypothesis]]:
        """The best hypotheses of each source, or drawn ones. limits (B,); row_keys (B,) tell the rows apart.

        rules: None for those of `decoding`; bonus: as in `beam_search`.
        """
        if decoding.avoid:
            watched = words.avoiding(step, state, limits, decoding, self.tokenizers.target, bonus)
            return self.search(*watched[:2], limits, row_keys, replace(decoding, avoid=None), rules, watched[2])
        if decoding.prefix:
            return self.search_after_prefix(step, state, limits, row_keys, decoding, bonus)
        ends, penalty, offset = (BOS, EOS), decoding.length_penalty, decoding.length_offset
        rules = rules or decoding.rules(limits)
        if decoding.temperature is not None:
            found = sample(step, state, limits, *ends, decoding.beam_size, decoding.draw(), row_keys, rules)
        elif decoding.beam_size == 1:
            found = greedy(step, state, limits, *ends, penalty, rules, offset)
        else:
            grow = words.growing(decoding, self.tokenizers.target) or decoding.growing()
            found = beam_search(step, state, limits, *ends, decoding.beam_size, penalty, rules, offset, bonus, grow)
            found = [ranked(row) for row in found] if decoding.groups > 1 else found
        if decoding.risk is not None:
            found = [least_risk.ranked(row, self.text, decoding.risk) for row in found]
        if not self.row_format.target_ends:  # labels have the length of their source
            return found
        pairs = zip(found, limits.tolist(), strict=True)
        return [[item._replace(at_limit=len(item.tokens) + 1 >= most) for item in row] for row, most in pairs]

    @torch.inference_mode()
    def search_after_prefix(
        self,
        step: StepFunction[S],
        state: S,
        limits: Tensor,
        row_keys: Tensor,
        decoding: Decoding,
        bonus: Callable[[S], Tensor] | None = None,
    ) -> list[list[Hypothesis]]:
        """What `search` finds after the tokens of decoding.prefix, with these before it."""
        prefix = self.prefix_tokens(decoding.prefix)
        for token in [BOS, *prefix[:-1]]:
            _, state = step(torch.full((len(limits), 1), token, device=limits.device), state)

        def after(tokens: Tensor, state: S) -> tuple[Tensor, S]:
            return step(tokens.masked_fill(tokens == BOS, prefix[-1]), state)

        rules = decoding.rules(limits, prefix)
        result = self.search(after, state, limits, row_keys, replace(decoding, prefix=""), rules, bonus)
        return [[item._replace(tokens=[*prefix, *item.tokens]) for item in row] for row in result]

    def prefix_tokens(self, prefix: str) -> list[int]:
        """The tokens of a text that predictions begin with, all of which the training targets must have."""
        target = self.tokenizers.target
        ids = target.encode([prefix])[0]
        if not ids or target.unknown_among(np.array(ids)).any():
            raise InputError(f"no training target has all the tokens of {prefix!r}; begin with another text")
        return ids

    # Description.

    def specification(self) -> dict[str, Any]:
        names = [name for name in inspect.signature(type(self)).parameters if name != "tokenizers"]
        arguments = {name: plain(getattr(self, name)) for name in names}
        return {"class_path": stored_name(type(self)), "init_args": arguments}

    def parameter_counts(self) -> dict[str, int]:
        """Parameters of each part and in all; shared ones count once."""
        children = dict(self.named_children())
        network = next(iter(children.values())) if len(children) == 1 else self
        counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
        counts = {name: count for name, count in counts.items() if count}
        return counts | {"total": sum(p.numel() for p in self.parameters())}


@dataclass(eq=False, repr=False)
class RecurrentTask(Task):
    """A task whose network is made of recurrent layers: the settings that all of them share.

    A subclass is a dataclass too. It adds its own settings, repeats those whose default differs, and builds its
    network in `__post_init__`.

    Args:
        tokenizers: how texts become ids; given by the data.
        cell: the recurrence (RNN, GRU, LSTM, LayerNormLSTM, MinGRU, MinLSTM).
        embedding_size: length of a token's vector.
        hidden_size: units of each layer; a bidirectional encoder gives each direction one half.
        layers: recurrent layers, of an encoder and of a decoder alike.
        dropout: share of units zeroed on embeddings, between layers and before the output.
        locked_dropout: zero the same units at every step of a row (Gal and Ghahramani 2016).
        recurrent_dropout: share of units of the state zeroed on their way into the recurrence, always locked.
        residual_from: from this layer on, counted from 1, the input of a layer is added to its output.
        metrics: scores of a split, the first of which selects the best checkpoint; null for the usual ones.
    """

    writes: ClassVar[tuple[str, ...]] = ("usual_metrics",)
    tokenizers: Tokenizers
    cell: Cell = LSTM()
    embedding_size: int = 128
    hidden_size: int = 256
    layers: int = 1
    dropout: float = 0.3
    locked_dropout: bool = False
    recurrent_dropout: float = 0.0
    residual_from: int | None = None
    metrics: list[Metric] | None = None  # type: ignore[assignment]  # a list from `__post_init__` on

    def __post_init__(self) -> None:
        super().__init__(self.tokenizers)
        for name in ("embedding_size", "hidden_size", "layers"):
            check_range(f"model.{name}", getattr(self, name), 1)
        for name in ("dropout", "recurrent_dropout"):
            check_range(f"model.{name}", getattr(self, name), 0, 1)
        self.refuse_wrong_settings()
        self.metrics = distinct(self.metrics or self.usual_metrics())

    def refuse_wrong_settings(self) -> None:
        """Raise InputError for settings out of range or that contradict each other or the tokenizers."""

    def usual_metrics(self) -> list[Metric]:
        """The metrics where the settings name none."""
        raise TypeError(f"{type(self).__name__} does not name its metrics")


def pack_task(task: Task) -> dict[str, Any]:
    """What a checkpoint stores beside the parameters, tensors and JSON from which `unpack_task` makes an equal task."""
    source, target = task.tokenizers
    tokenizers = (source,) if source is target else (source, target)
    return {
        "task": json.dumps(task.specification()),
        "decoding": json.dumps(task.decoding.specification()),
        "length_bound": json.dumps(task.length_bound),
        "tokenizers": json.dumps([tokenizer.specification() for tokenizer in tokenizers]),
        "tokenizer_states": [as_tensor(tokenizer.state) for tokenizer in tokenizers],
    }


def unpack_task(packed: dict[str, Any]) -> Task:
    """The task that `pack_task` described, with fresh parameters."""
    tokenizers = []
    for specification, state in zip(json.loads(packed["tokenizers"]), packed["tokenizer_states"], strict=True):
        tokenizer = build(Tokenizer, specification)
        tokenizer.restore(state.numpy().tobytes())
        tokenizers.append(tokenizer)
    task = build(Task, json.loads(packed["task"]), tokenizers=Tokenizers(tokenizers[0], tokenizers[-1]))
    task.decoding = build(Decoding, json.loads(packed["decoding"]))
    task.length_bound = length_bound.read(json.loads(packed.get("length_bound", "null")))
    return task


def as_tensor(data: bytes) -> Tensor:
    """(length,) bytes."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
