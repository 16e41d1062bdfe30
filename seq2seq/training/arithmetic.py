"""What the arithmetic of GPUs asks of a training: gradients that float16 can hold, sums that repeat."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seq2seq.inference.device import tf32

MEAN_OVER = 256
"""Tokens: gradients go backward as those of a mean over so many. float16 holds them: not too small, as those of a mean
over a large step are (its smallest normal number is 6e-5), nor too large (65,504), as those of a sum would be."""


def gradient_scale(device: torch.device, precision: str, step_tokens: int) -> float:
    """What the loss is multiplied by before the backward pass, and gradients are divided by after: a power of two.

    Under autocast torch's cuDNN layers compute in float16 even if all else is in bfloat16. Powers of two round nothing.
    """
    if device.type != "cuda" or precision != "bf16-mixed":
        return 1.0
    return float(1 << max(0, (step_tokens // MEAN_OVER).bit_length() - 1))


def unscale(parameters: Iterable[nn.Parameter], scale: float) -> None:
    """Divide the gradients."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if scale != 1 and gradients:
        torch._foreach_mul_(gradients, 1 / scale)


@contextlib.contextmanager
def arithmetic(device: torch.device, rounded: bool, deterministic: bool) -> Iterator[None]:
    """Inside, a GPU computes as the options of the trainer say (trainer.tf32, trainer.deterministic)."""
    on_gpu = device.type == "cuda"
    with tf32(rounded and on_gpu), RepeatableSums() if deterministic and on_gpu else contextlib.nullcontext():
        yield


def described(device: torch.device, precision: str, rounded: bool) -> str:
    """The arithmetic of a training, for the run card."""
    if device.type != "cuda":
        return precision
    texts = [precision, f"32-bit products in {'TF32' if rounded else 'full'}"]
    if precision == "bf16-mixed":
        texts.append(f"recurrent layers in {recurrent_dtype(device)}, gradients of a mean over {MEAN_OVER} tokens")
    return "; ".join(texts)


def recurrent_dtype(device: torch.device) -> str:
    """What torch's recurrent layers compute in under autocast in bfloat16."""
    layer, inputs = nn.LSTM(8, 8, device=device), torch.zeros(1, 1, 8, device=device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        return str(layer(inputs)[0].dtype).removeprefix("torch.")


class RepeatableSums(TorchFunctionMode):
    """Inside, cumulative sums of floats on a GPU, which torch refuses under deterministic algorithms, are additions."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (torch.cumsum, Tensor.cumsum) and args[0].is_cuda and args[0].is_floating_point():
            return cumulative(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def cumulative(values: Tensor, dim: int) -> Tensor:
    """Sums up to each place of a dimension, doubling the distance in each pass (Hillis and Steele 1986)."""
    size, distance = values.shape[dim], 1
    while distance < size:
        further = values.narrow(dim, distance, size - distance) + values.narrow(dim, 0, size - distance)
        values = torch.cat((values.narrow(dim, 0, distance), further), dim)
        distance *= 2
    return values
