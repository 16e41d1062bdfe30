"""Task: a network that knows its loss, its predictions and what a checkpoint must hold to make it again."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from seq2seq.data.batch import Batch
from seq2seq.data.tokenizers import Tokenizer, Tokenizers
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import check_range
from seq2seq.metrics.base import Metric
from seq2seq.parts import Part, build, plain


@final
@dataclass(frozen=True)
class Decoding(Part):
    """How a task searches for its output.

    Args:
        beam_size: hypotheses kept for each source; 1 is greedy search.
        length_penalty: hypotheses are ranked by log-probability / length ** length_penalty.
        max_length_ratio: the most target tokens for each source token (10 more are always allowed).
        rows: hypotheses of all sources computed at once; more are faster and need more memory.
    """

    beam_size: int = 5
    length_penalty: float = 1.0
    max_length_ratio: float = 2.0
    rows: int = 256

    def __post_init__(self) -> None:
        check_range("decoding.beam_size", self.beam_size, 1)
        check_range("decoding.rows", self.rows, 1)
        check_range("decoding.max_length_ratio", self.max_length_ratio, 0, 1000)
        check_range("decoding.length_penalty", self.length_penalty, 0, 10)

    @property
    def sources(self) -> int:
        """Sources decoded at once."""
        return max(1, self.rows // self.beam_size)

    def limits(self, source_lengths: Tensor) -> Tensor:
        """(B,) source lengths to (B,) the most target tokens, the end included."""
        return (source_lengths * self.max_length_ratio).long() + 10


class Task(nn.Module, Part):
    """A network with its tokenizers. Subclasses write `loss` and `predict`.

    Every argument of `__init__` but the tokenizers is kept in an attribute of the same name.
    """

    metrics: Sequence[Metric] = ()
    """Scores of a split; the first one selects the best checkpoint, higher is better."""

    def __init__(self, tokenizers: Tokenizers) -> None:
        super().__init__()
        self.tokenizers = tokenizers
        self.decoding = Decoding()
        """How to search unless told otherwise; part of the checkpoint, not of the network."""

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

    def text(self, hypothesis: Hypothesis) -> str:
        """A hypothesis as one line of text."""
        return self.tokenizers.target.decode(hypothesis.tokens)

    def specification(self) -> dict[str, Any]:
        names = [name for name in inspect.signature(type(self)).parameters if name != "tokenizers"]
        arguments = {name: plain(getattr(self, name)) for name in names}
        return {"class_path": f"{type(self).__module__}.{type(self).__qualname__}", "init_args": arguments}

    def parameter_counts(self) -> dict[str, int]:
        """Parameters of each part and in all; shared ones count once."""
        counts = {name: sum(p.numel() for p in part.parameters()) for name, part in self.named_children()}
        counts = {name: count for name, count in counts.items() if count}
        return counts | {"total": sum(p.numel() for p in self.parameters())}


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
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
