"""Averages of the parameters over the steps of a training, which often predict better than any one step's."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from seq2seq.runs import checkpoint


class MovingAverage:
    """Exponential moving average of a module's parameters (Polyak and Juditsky 1992).

    After step t it is sum_i decay^(t - i) parameters_i / sum_i decay^(t - i), so that the first values, drawn at
    random, have no part in it (Kingma and Ba 2015, sec. 7.2).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.values: dict[str, Tensor] = {}
        """Of each parameter by name; empty before the first step."""

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after an optimiser step, counted from 1."""
        weight = (1 - self.decay) / (1 - self.decay**step)
        for name, parameter in self.module.named_parameters():
            if name in self.values:
                self.values[name].lerp_(parameter, weight)
            else:
                self.values[name] = parameter.clone()

    def to(self, device: torch.device) -> None:
        """Keep the values on `device`."""
        self.values = {name: value.to(device) for name, value in self.values.items()}

    @torch.no_grad()
    def swap(self) -> None:
        """Put the average where the parameters are, and the parameters where the average is, to the bit."""
        for name, parameter in self.module.named_parameters():
            if name in self.values:
                before = parameter.clone()
                parameter.copy_(self.values[name])
                self.values[name].copy_(before)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module has the averaged parameters."""
        self.swap()
        try:
            yield
        finally:
            self.swap()


def mean(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of what the checkpoints hold, by name (Vaswani et al. 2017, sec. 6.1); one at a time is in memory."""
    total: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    for path in paths:
        for name, value in checkpoint.read(path)["state_dict"].items():
            kinds[name] = value.dtype
            total[name] = total[name] + value.double() if name in total else value.double()
    return {name: (value / len(paths)).to(kinds[name]) for name, value in total.items()}
