"""Adversarial training: a source's vectors moved the way that harms most shall be told all the same."""

import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.errors import InputError
from seq2seq.models.encoder import Encoder
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.tagging import Tagging

TINY = 1e-12
"""The least length of a gradient that has a direction."""


def check(task: Task, length: float) -> None:
    """Refuse a length above 0 for a task without one encoder of its sources."""
    if not isinstance(task, (Classification, Tagging)):
        raise InputError(f"optimizer.adversarial is {length}, but it is for Classification and Tagging, not "
                         f"{type(task).__name__}; set it to 0")  # fmt: skip


def loss(task: Task, batch: Batch, length: float) -> Tensor:
    """The mean of the loss and of that of moved sources (Miyato et al. 2017, eq. 5).

    All vectors (S, E) of a source together are moved by `length` along the gradient of its loss, which is taken for a
    constant; both passes have the same dropout masks.
    """
    reader: Encoder = task.reader  # type: ignore[assignment]
    seen: list[Tensor] = []

    def kept(vectors: Tensor) -> Tensor:
        seen.append(vectors.requires_grad_())  # those of a frozen table have no gradient by themselves
        return vectors

    with reader.through(kept):
        usual = task.loss(batch)
    (slope,) = torch.autograd.grad(usual, seen, retain_graph=True)
    norms = slope.flatten(1).norm(dim=1).clamp(min=TINY)
    change = length * slope / norms.view(-1, 1, 1)
    with reader.through(lambda vectors: vectors + change):
        return (usual + task.loss(batch)) / 2
