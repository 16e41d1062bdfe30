"""Memory over time: how far back a loss reaches into the encoder, and what stands in its way.

Three things about a network and a batch (`memory_over_time`): the norm of dLoss/dh_t at each step of the encoder
(Pascanu et al. 2013, sec. 2), the share of saturated gates (Karpathy et al. 2015, sec. 4.2), and the effective rank
of the fixed vectors (Roy and Vetterli 2007). Training does not notice: no parameter's gradient is touched and no
random number drawn.
"""

import math
from typing import Any, NamedTuple

import torch

from seq2seq.data.batch import Batch
from seq2seq.tasks.translation import Translation

LOW, HIGH = 0.1, 0.9
"""A gate is shut below the one and open above the other (Karpathy et al. 2015, sec. 4.2)."""

ROWS = 64
"""Rows of the validation split that are looked at during training."""

DIRECTIONS = ("forward", "backward")


class MemoryDiagnostics(NamedTuple):
    """What `memory_over_time` finds."""

    gradient_norm: dict[str, list[float]]
    """For each direction of the top layer, by tokens read after it (0: the last one read), the mean over the rows of
    the norm of dLoss/dh_t, where Loss is the row's own, summed over its target tokens, in nats."""
    cell_gradient_norm: dict[str, list[float]]
    """The same of dLoss/dc_t, where a cell has a second state; empty elsewhere."""
    rows: list[int]
    """How many rows had so many tokens, and so entered those means."""
    saturation: dict[str, tuple[float, float]]
    """For each gate of all layers the shares below 0.1 and above 0.9; of a tanh RNN, which has none, the shares of
    units below -0.9 and above 0.9, under the name hidden."""
    effective_rank: float
    """Of the fixed vectors, from 1 to the smaller of `size` and the number of rows less one."""
    size: int
    """Units of the fixed vector."""

    def plain(self) -> dict[str, Any]:
        """As JSON with four significant digits; what is no number becomes null."""
        told: dict[str, Any] = rounded(self._asdict())
        return told


def rounded(value: Any) -> Any:
    """Numbers with four significant digits, in lists and dicts too."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


def memory_over_time(task: Translation, batch: Batch) -> MemoryDiagnostics:
    """Looks at the encoder while it reads a batch, without dropout; works inside inference mode and autocast too."""
    encoder, device = task.network.encoder, next(task.parameters()).device
    was_training, vectors = task.training, []
    hook = encoder.register_forward_hook(lambda module, inputs, encoding: vectors.append(encoding.vector))
    task.eval()
    try:
        with plain_arithmetic(device), watched(encoder) as layers:
            loss = task.loss(copied(batch).to(device))
            top = layers[-1]
            wanted = [tensor for run in top.runs for step in run for tensor in step]
            found = torch.autograd.grad(loss, wanted, allow_unused=True)
    finally:
        hook.remove()
        task.train(was_training)
    norms = iter(norm_of(gradient, tensor) for gradient, tensor in zip(found, wanted, strict=True))
