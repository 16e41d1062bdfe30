"""Algorithms that move the parameters against their gradient: torch's own, with the settings that matter."""

from collections.abc import Iterable
from typing import final

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from seq2seq.configurable import Part
from seq2seq.errors import InputError, check_range


class Algorithm(Part):
    """How gradients become a change of the parameters."""

    @property
    def copies(self) -> int:
        """Numbers that are kept for each parameter from one step to the next."""
        return 0

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        """Torch's optimiser of these parameters."""
        raise TypeError(f"{type(self).__name__} does not say how it optimises")


def check(**values: tuple[float, float]) -> None:
    """Refuse a negative setting, or one that is not below its limit: name=(value, limit)."""
    for name, (value, below) in values.items():
        check_range(f"optimizer.algorithm.{name}", value, 0, below)


INFINITE = float("inf")


@final
class AdamW(Algorithm):
    """Mean and spread of each gradient, decoupled weight decay (Loshchilov and Hutter 2019)."""

    def __init__(
        self, weight_decay: float = 0.0, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        """Settings; two numbers are kept for each parameter.

        Args:
            weight_decay: decoupled decay of all parameters per step, times the rate.
            beta1: decay of the mean of the gradient.
            beta2: decay of the mean of its square.
            epsilon: added to the root of the mean square.
        """
        check(weight_decay=(weight_decay, INFINITE), beta1=(beta1, 1), beta2=(beta2, 1), epsilon=(epsilon, INFINITE))
        self.weight_decay, self.beta1, self.beta2, self.epsilon = weight_decay, beta1, beta2, epsilon

    @property
    def copies(self) -> int:
        return 2

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(parameters, learning_rate, betas, self.epsilon, self.weight_decay, fused=True)


@final
class Adam(Algorithm):
    """Mean and spread of each gradient (Kingma and Ba 2015)."""

    def __init__(
        self, weight_decay: float = 0.0, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        """Settings; two numbers are kept for each parameter.

        Args:
            weight_decay: times the parameter, added to its gradient.
            beta1: decay of the mean of the gradient.
            beta2: decay of the mean of its square.
            epsilon: added to the root of the mean square.
        """
        check(weight_decay=(weight_decay, INFINITE), beta1=(beta1, 1), beta2=(beta2, 1), epsilon=(epsilon, INFINITE))
        self.weight_decay, self.beta1, self.beta2, self.epsilon = weight_decay, beta1, beta2, epsilon

    @property
    def copies(self) -> int:
        return 2

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(parameters, learning_rate, betas, self.epsilon, self.weight_decay, fused=True)


@final
class SGD(Algorithm):
    """The gradient itself, with momentum if wanted (Sutskever et al. 2013); learning rates of 0.1 to 1 are usual."""

    def __init__(self, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> None:
        """Settings; one number is kept for each parameter with momentum, else none.

        Args:
            momentum: decay of the sum of past gradients; 0 for the gradient alone.
            nesterov: look ahead along the momentum.
            weight_decay: times the parameter, added to its gradient.
        """
        check(momentum=(momentum, 1), weight_decay=(weight_decay, INFINITE))
        if nesterov and not momentum:
            raise InputError("optimizer.algorithm.nesterov needs optimizer.algorithm.momentum above 0, such as 0.9")
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay

    @property
    def copies(self) -> int:
        return int(self.momentum > 0)

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        momentum, decay = self.momentum, self.weight_decay
        return torch.optim.SGD(parameters, learning_rate, momentum, 0, decay, self.nesterov, fused=True)


@final
class Adafactor(Algorithm):
    """Keeps sums of rows and columns of the squared gradients only (Shazeer and Stern 2018): saves memory.

    The learning rate is relative to a parameter's root mean square (sec. 8); 0.01 is usual.
    """

    def __init__(self, beta2_decay: float = -0.8, threshold: float = 1.0, weight_decay: float = 0.0) -> None:
        """Settings; next to nothing is kept for a matrix.

        Args:
            beta2_decay: the mean of the squared gradient decays by 1 - step ** beta2_decay (sec. 7.2).
            threshold: the largest root mean square of an update, before the rate (sec. 6).
            weight_decay: decoupled decay of all parameters per step, times the rate.
        """
        if beta2_decay > 0:
            raise InputError(f"optimizer.algorithm.beta2_decay is {beta2_decay}; it must be at most 0")
        if threshold < 1:
            raise InputError(f"optimizer.algorithm.threshold is {threshold}; it must be at least 1")
        check(weight_decay=(weight_decay, INFINITE))
        self.beta2_decay, self.threshold, self.weight_decay = beta2_decay, threshold, weight_decay

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        return torch.optim.Adafactor(
            parameters, learning_rate, self.beta2_decay, d=self.threshold, weight_decay=self.weight_decay, foreach=False
        )


@final
class Adagrad(Algorithm):
    """Divides by the root of the sum of all squared gradients (Duchi et al. 2011), as See et al. 2017 trained."""

    def __init__(self, first_sum: float = 0.0, weight_decay: float = 0.0) -> None:
        """Settings; one number is kept for each parameter.

        Args:
            first_sum: what the sum of squares begins with; See et al. 2017 took 0.1 and a learning rate of 0.15.
            weight_decay: times the parameter, added to its gradient.
        """
        check(first_sum=(first_sum, INFINITE), weight_decay=(weight_decay, INFINITE))
        self.first_sum, self.weight_decay = first_sum, weight_decay

    @property
    def copies(self) -> int:
        return 1

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        return torch.optim.Adagrad(
            parameters, learning_rate, weight_decay=self.weight_decay, initial_accumulator_value=self.first_sum
        )


@final
class Adadelta(Algorithm):
    """Updates in the parameter's own unit (Zeiler 2012), as Bahdanau et al. 2015 trained; the learning rate is 1."""

    def __init__(self, rho: float = 0.95, stabiliser: float = 1e-6, weight_decay: float = 0.0) -> None:
        """Settings; two numbers are kept for each parameter.

        Args:
            rho: decay of the mean squares of gradients and of updates.
            stabiliser: added to both mean squares.
            weight_decay: times the parameter, added to its gradient.
        """
        check(rho=(rho, 1), stabiliser=(stabiliser, INFINITE), weight_decay=(weight_decay, INFINITE))
        self.rho, self.stabiliser, self.weight_decay = rho, stabiliser, weight_decay

    @property
    def copies(self) -> int:
        return 2

    def optimizer(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        return torch.optim.Adadelta(parameters, learning_rate, self.rho, self.stabiliser, self.weight_decay)
