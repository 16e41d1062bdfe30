"""python bad_numbers.py KIND ARGUMENTS: train as `seq2seq.train` does, where some losses are no numbers or too large.

KIND is where: `nan`, `infinite` and `gradient` in the steps 3 and 4 of the last process, `memory` in every large batch,
`none` nowhere.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seq2seq import train
from seq2seq.data.batching.batch import Batch
from seq2seq.tasks.translation import Translation

STEPS = (2, 3)
"""Of those with bad numbers, from 0."""

LARGE = 3
"""Rows that no device of these tests holds at once."""

Loss = Callable[[Translation, Batch], Tensor]


class Poisoned(torch.autograd.Function):
    """The same number, whose gradient is none."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * float("nan")


def changed(kind: str, loss: Loss, here: bool = True) -> Loss:
    """A loss with what `kind` says, on the process that is here."""

    def bad(self: Translation, batch: Batch) -> Tensor:
        if kind == "memory" and self.training and here and len(batch.rows) > LARGE:
            raise torch.OutOfMemoryError("too large for this test")
        value = loss(self, batch)
        if not here or kind in ("memory", "none") or batch.step not in STEPS or not self.training:
            return value
        if kind == "gradient":
            return Poisoned.apply(value)
        return value + float("inf") if kind == "infinite" else value * float("nan")

    return bad


if __name__ == "__main__":
    Translation.loss = changed(sys.argv[1], Translation.loss, int(os.environ.get("LOCAL_RANK", "0")) == 1)
    train.main(sys.argv[2:])
