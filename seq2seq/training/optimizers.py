"""Algorithms that move the parameters against their gradient: torch's own, with the settings that matter.

Not torch's classes themselves: these have checked ranges, the papers' names, the fused kernels as default, and a name
in checkpoints that does not depend on torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from seq2seq.configurable import Part
from seq2seq.errors import InputError, check_range


class Algorithm(Part):
    """How gradients become a change of the parameters."""

    writes = ("optimizer",)

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        """Torch's optimiser of these parameters."""
        raise TypeError(f"{type(self).__name__} does not define its optimiser")

    @property
    def copies(self) -> int:
        """Numbers that are kept for each parameter from one step to the next, counted on a small matrix."""
        matrix = Parameter(torch.zeros(64, 64))
        matrix.grad = torch.zeros_like(matrix)
        optimizer = self.optimizer([matrix], 1.0)
        optimizer.step()
        state = [
            value for kept in optimizer.state.values() for value in kept.values() if isinstance(value, torch.Tensor)
        ]
        return round(sum(value.numel() for value in state) / matrix.numel())

    def check(self, *names: str, below: float = float("inf")) -> None:
        """Refuse a setting that is negative or not below its limit."""
        for name in names:
            check_range(f"optimizer.algorithm.{name}", getattr(self, name), 0, below)


@dataclass(frozen=True, repr=False)
class AdamW(Algorithm):
    """Mean and spread of each gradient, decoupled weight decay (Loshchilov and Hutter 2019).

    Args:
        weight_decay: decoupled decay of all parameters per step, times the rate.
        beta1: decay of the mean of the gradient.
        beta2: decay of the mean of its square.
        epsilon: added to the root of the mean square.
    """

    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        self.check("weight_decay", "epsilon")
        self.check("beta1", "beta2", below=1)

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(parameters, learning_rate, betas, self.epsilon, self.weight_decay, fused=True)


@final
class Adam(AdamW):
    """Mean and spread of each gradient (Kingma and Ba 2015).

    Args:
        weight_decay: times the parameter, added to its gradient.
    """

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(parameters, learning_rate, betas, self.epsilon, self.weight_decay, fused=True)


@final
@dataclass(frozen=True, repr=False)
class SGD(Algorithm):
    """The gradient itself, with momentum if wanted (Sutskever et al. 2013); learning rates of 0.1 to 1 are usual.

    Args:
        momentum: decay of the sum of past gradients; 0 for the gradient alone.
        nesterov: look ahead along the momentum.
        weight_decay: times the parameter, added to its gradient.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self.check("momentum", below=1)
        self.check("weight_decay")
        if self.nesterov and not self.momentum:
            raise InputError("optimizer.algorithm.nesterov needs optimizer.algorithm.momentum above 0, such as 0.9")

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        momentum, decay = self.momentum, self.weight_decay
        return torch.optim.SGD(parameters, learning_rate, momentum, 0, decay, self.nesterov, fused=True)


@final
@dataclass(frozen=True, repr=False)
class Adafactor(Algorithm):
    """Keeps sums of rows and columns of the squared gradients only (Shazeer and Stern 2018): saves memory.

    The learning rate is relative to a parameter's root mean square (sec. 8); 0.01 is usual. On a GPU each step waits
    twice for every parameter, one or two milliseconds together.

    Args:
        beta2_decay: the mean of the squared gradient decays by 1 - step ** beta2_decay (sec. 7.2).
        threshold: the largest root mean square of an update, before the rate (sec. 6).
        weight_decay: decoupled decay of all parameters per step, times the rate.
    """

    beta2_decay: float = -0.8
    threshold: float = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self.check("weight_decay")
        if self.beta2_decay > 0:
            raise InputError(f"optimizer.algorithm.beta2_decay is {self.beta2_decay}; it must be at most 0")
        check_range("optimizer.algorithm.threshold", self.threshold, 1)

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        return torch.optim.Adafactor(
            parameters, learning_rate, self.beta2_decay, d=self.threshold, weight_decay=self.weight_decay, foreach=False
        )


@final
@dataclass(frozen=True, repr=False)
class Adagrad(Algorithm):
    """Divides by the root of the sum of all squared gradients (Duchi et al. 2011), as See et al. 2017 trained.

    Args:
        first_sum: what the sum of squares begins with; See et al. 2017 took 0.1 and a learning rate of 0.15.
        weight_decay: times the parameter, added to its gradient.
    """

    first_sum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self.check("first_sum", "weight_decay")

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        return torch.optim.Adagrad(
            parameters, learning_rate, weight_decay=self.weight_decay, initial_accumulator_value=self.first_sum
        )


@final
@dataclass(frozen=True, repr=False)
class Adadelta(Algorithm):
    """Updates in the parameter's own unit (Zeiler 2012), as Bahdanau et al. 2015 trained; the learning rate is 1.

    Args:
        rho: decay of the mean squares of gradients and of updates.
        stabiliser: added to both mean squares.
        weight_decay: times the parameter, added to its gradient.
    """

    rho: float = 0.95
    stabiliser: float = 1e-6
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self.check("rho", below=1)
        self.check("stabiliser", "weight_decay")

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        return torch.optim.Adadelta(parameters, learning_rate, self.rho, self.stabiliser, self.weight_decay)
