"""How probable given targets are: every row by its network, nothing searched."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from seq2seq.data.batching.split import Split, fitting, refuse_wrong_lengths
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.inference.predict_texts import batches
from seq2seq.metrics.likelihood import perplexity_of
from seq2seq.models.cells import CellState
from seq2seq.tasks.base import Task


class ScoredTarget(NamedTuple):
    """A target with its probability."""

    tokens: list[str]
    """As people look at them, the end as </s>; where a target is one choice, its text."""
    log_probs: list[float]
    """Of each, in nats, given the source and those before it; minus infinity where it is impossible."""

    @property
    def log_prob(self) -> float:
        """Of the whole target."""
        return math.fsum(self.log_probs)


class Total(NamedTuple):
    """What several targets come to."""

    targets: int = 0
    tokens: int = 0
    log_prob: float = 0.0

    def plus(self, one: ScoredTarget) -> "Total":
        """With another target."""
        return Total(self.targets + 1, self.tokens + len(one.log_probs), self.log_prob + one.log_prob)

    def __str__(self) -> str:
        perplexity = perplexity_of(-self.log_prob / self.tokens) if self.tokens else math.nan
        kinds = f"{self.targets} targets, {self.tokens} tokens"
        return f"{kinds}: log-probability {self.log_prob:.4f} nats, perplexity {perplexity:.4f}"


def score(
    task: Task, texts: Texts, device: torch.device, max_length: int, state: CellState
) -> tuple[list[ScoredTarget], CellState]:
    """Each row of texts; of running text with the state before the first, and that after the last.

    Longer sources are cut to max_length tokens. InputError for rows that the task cannot have, with their location.
    """
    source, target = (Ragged.of(kind.encode(side)) for kind, side in zip(task.tokenizers, texts[:2], strict=True))
    split = Split(texts, source, target, max_length, fitting(task.row_format, task.tokenizers))
    refuse_wrong_lengths(split, task.tokenizers)
    split.warn_of_cuts()
    scores: dict[int, list[float]] = {}
    for batch in batches(split, task.decoding.greedy(), device):
        found, state = task.score_targets(batch, state)
        scores |= zip(batch.rows.tolist(), found, strict=True)
    return list(shown(task, split, texts.target, [scores[row] for row in range(len(split))])), state


def shown(task: Task, split: Split, texts: Sequence[str], scores: Sequence[list[float]]) -> Iterator[ScoredTarget]:
    """Scores with the tokens that they belong to."""
    ends = ["</s>"] * task.row_format.target_ends
    for row, (text, own) in enumerate(zip(texts, scores, strict=True)):
        ids = split.target.flat[split.target.starts[row] : split.target.starts[row + 1]].tolist()
        tokens = [*task.tokenizers.target.pieces(ids), *ends]
        yield ScoredTarget(tokens if len(tokens) == len(own) else [text], own)
