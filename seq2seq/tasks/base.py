"""Task: a network that knows its loss, its predictions and what a checkpoint must hold to make it again."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq.configurable import Part, build, plain, stored_name
from seq2seq.data.batching.batch import Batch, RowFormat
from seq2seq.data.tokenizers.base import BOS, EOS, Tokenizer, Tokenizers
from seq2seq.decoding.beam import beam_search
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.greedy import greedy
from seq2seq.decoding.hypotheses import Hypothesis, S, StepFunction
from seq2seq.decoding.sampling import sample
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.base import Metric
from seq2seq.models.cells import CellState
from seq2seq.models.dropout import Noise
from seq2seq.models.network_part import NetworkPart
from seq2seq.tasks.decoding_options import Decoding


class Task(nn.Module, Part):
    """A network with its tokenizers. Subclasses write `loss` and `predict`.

    Every argument of `__init__` but the tokenizers is kept in an attribute of the same name.
    """

    row_format: ClassVar[RowFormat] = RowFormat()
    """What stands around the sequences of a row."""

    running: bool = False
    """Whether the rows are one text, so that a state is carried from row to row."""

    metrics: Sequence[Metric] = ()
    """Scores of a split; the first one selects the best checkpoint."""

    def __init__(self, tokenizers: Tokenizers) -> None:
        super().__init__()
        self.tokenizers = tokenizers
        self.decoding = Decoding()
        """How to search unless told otherwise; part of the checkpoint, not of the network."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Settings are no part of the network, even where they are a module that has not been built."""
        if isinstance(value, NetworkPart) and not value.is_built:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def initialise(self) -> None:
        """What is done once, before a new training: load vectors, say."""

    def loss(self, batch: Batch) -> Tensor:
        """Sum over the batch's real target tokens, in nats."""
        raise TypeError(f"{type(self).__name__} does not say what its loss is")

    def forward(self, batch: Batch) -> Tensor:
        """Log-probabilities (B, T - 1, V) in nats of the batch's target, each token given those before it."""
        raise TypeError(f"{type(self).__name__} does not say how likely each token is")

    def loss_and_log_probs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What `loss` and `forward` return; a subclass may find both at once."""
        return self.loss(batch), self.forward(batch)

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        """The best hypotheses of each row, best first."""
        raise TypeError(f"{type(self).__name__} does not say how to predict")

    def search(
        self,
        step: StepFunction[S],
        state: S,
        limits: Tensor,
        row_keys: Tensor,
        decoding: Decoding,
        rules: Constraints | None = None,
    ) -> list[list[Hypothesis]]:
        """The best hypotheses of each source, or drawn ones. limits (B,); row_keys (B,) tell the rows apart.

        rules: None for those that `decoding` says.
        """
        if decoding.prefix:
            return self.continued(step, state, limits, row_keys, decoding)
        ends, penalty = (BOS, EOS), decoding.length_penalty
        rules = rules or decoding.rules(limits)
        if decoding.temperature is not None:
            return sample(step, state, limits, *ends, decoding.beam_size, decoding.draw(), row_keys, rules)
        if decoding.beam_size == 1:
            return greedy(step, state, limits, *ends, penalty, rules)
        return beam_search(step, state, limits, *ends, decoding.beam_size, penalty, rules)

    def continued(
        self, step: StepFunction[S], state: S, limits: Tensor, row_keys: Tensor, decoding: Decoding
    ) -> list[list[Hypothesis]]:
        """What `search` finds after the tokens of decoding.prefix, and these before it."""
        given = self.opening(decoding.prefix)
        for token in [BOS, *given[:-1]]:
            _, state = step(torch.full((len(limits), 1), token, device=limits.device), state)

        def after(tokens: Tensor, state: S) -> tuple[Tensor, S]:
            return step(tokens.masked_fill(tokens == BOS, given[-1]), state)

        found = self.search(after, state, limits, row_keys, replace(decoding, prefix=""))
        return [[one._replace(tokens=[*given, *one.tokens]) for one in row] for row in found]

    def opening(self, prefix: str) -> list[int]:
        """The tokens of a text that predictions begin with; what training lacks cannot be gone on from."""
        target = self.tokenizers.target
        ids = target.encode([prefix])[0]
        if not ids or target.unknown_among(np.array(ids)).any():
            raise InputError(f"no training target has all the tokens of {prefix!r}; begin with another text")
        return ids

    @property
    def continues(self) -> bool:
        """Whether a source is no source, but the beginning of the prediction, which may be empty."""
        return False

    @property
    def searches(self) -> bool:
        """Whether more hypotheses make a better best one; where they do not, no more are made than are asked for."""
        return True

    def followed(
        self, batch: Batch, state: CellState | None, decoding: Decoding
    ) -> tuple[list[list[Hypothesis]], list[list[float]] | None, CellState | None]:
        """What is predicted for rows, what is said of their references, and the state after them.

        state: after the row before, of running text; None at its beginning and where rows have nothing to do with
        each other.
        """
        return self.predict(batch, decoding), self.reference_scores(batch), None

    def reference_scores(self, batch: Batch) -> list[list[float]] | None:
        """The log-probability in nats of each token of each reference, by tasks whose metrics ask for it."""
        return None

    def text(self, hypothesis: Hypothesis) -> str:
        """A hypothesis as one line of text."""
        return self.tokenizers.target.decode(hypothesis.tokens)

    def quantile_texts(self, hypothesis: Hypothesis) -> dict[str, str] | None:
        """The forecast of each quantile as text, by tasks that make several."""
        return None

    def check(self, text: str) -> None:
        """Raise InputError if nothing can be predicted from a source."""
        self.tokenizers.source.check(text)

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


def check_numbers(task: Task, *shares: str) -> None:
    """Raise InputError for sizes below 1, and for dropouts and other `shares` that are none."""
    for name in ("embedding_size", "hidden_size", "layers"):
        check_range(f"model.{name}", getattr(task, name), 1)
    for name in ("dropout", "recurrent_dropout", *shares):
        check_range(f"model.{name}", getattr(task, name), 0, 1)


def noise_of(batch: Batch) -> Noise:
    """What the dropout masks of a batch depend on."""
    return Noise(batch.seed, batch.row_keys)


def pack_task(task: Task) -> dict[str, Any]:
    """Everything that makes a task again, as tensors and JSON: what a checkpoint stores beside the parameters."""
    source, target = task.tokenizers
    shared = source is target
    return {
        "task": json.dumps(task.specification()),
        "decoding": json.dumps(task.decoding.specification()),
        "tokenizers": json.dumps([one.specification() for one in ((source,) if shared else (source, target))]),
        "tokenizer_states": [as_tensor(one.state) for one in ((source,) if shared else (source, target))],
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
    return task


def as_tensor(data: bytes) -> Tensor:
    """(length,) bytes."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
