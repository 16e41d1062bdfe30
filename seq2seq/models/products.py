"""Matrix products on processors: in 32 bits by the faster of torch's two libraries, and whether bfloat16 is fast.

torch multiplies in 32 bits by MKL, which on processors of AMD leaves AVX-512 alone. oneDNN, by which torch multiplies
in bfloat16 and runs its recurrent layers, uses what there is and takes half the time there.
"""

import functools
import os
import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seq2seq.models.exported import exporting

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
# oneDNN keeps the code that it has made for as many shapes of its operands, 1,024 if it is not told. Batches have new
# shapes all the time: half a gigabyte is kept after 300 of a small network in bfloat16, and hardly ever used again.

LEAST_ROWS = 8
"""Rows from which on a product is worth the call."""


@functools.cache
def mkl_is_slow() -> bool:
    """Whether this processor is AMD's, torch has both libraries, and knows how to call oneDNN by itself."""
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return both and vendor() == "AuthenticAMD" and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def vendor() -> str:
    """Who made the processor, in its own words."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return names[0] if names else platform.processor().rpartition(" ")[2]


def suits(left: Tensor) -> bool:
    """Whether products of rows (..., K) are faster by oneDNN."""
    if (
        exporting() or not mkl_is_slow() or torch.is_autocast_enabled("cpu")
    ):  # torch cannot follow what asks for the maker
        return False
    plain = left.dtype is torch.float32 and left.device.type == "cpu"
    return plain and left.numel() >= max(1, LEAST_ROWS * left.shape[-1])  # rows of nothing have a product too


def by_onednn(left: Tensor) -> bool:
    """Whether products of rows (..., K) may go there: its call knows nothing of gradients."""
    return not torch.is_grad_enabled() and suits(left)


def product(left: Tensor, right: Tensor) -> Tensor:
    """(N, K) times (K, M)."""
    if by_onednn(left):
        found: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
        return found
    return left @ right


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(..., K) by a matrix (M, K), and a bias (M,)."""
    if not suits(inputs):
        return functional.linear(inputs, weight, bias)
    if torch.is_grad_enabled():
        with_gradients: Tensor = LinearMap.apply(inputs, weight, bias)  # type: ignore[no-untyped-call]
        return with_gradients
    found: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return found


class LinearMap(torch.autograd.Function):
    """`linear` where gradients are wanted."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.biased = bias is not None
        return linear(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Any:
        inputs, weight = ctx.saved_tensors
        rows, slopes = inputs.flatten(0, -2), slope.flatten(0, -2)
        by_inputs = product(slopes, weight).view_as(inputs) if ctx.needs_input_grad[0] else None
        by_weight = product(slopes.t(), rows) if ctx.needs_input_grad[1] else None
        return by_inputs, by_weight, slopes.sum(0) if ctx.biased else None


def mapped(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What a linear layer, or its replacement in 8 bits, makes of inputs (..., K)."""
    if type(layer) is nn.Linear:
        return linear(inputs, layer.weight, layer.bias)
    found: Tensor = layer(inputs)
    return found


def lacks_bfloat16(device: torch.device) -> bool:
    """Whether it is a processor without arithmetic in bfloat16, where torch's LSTM fails instead of being slow."""
    # Where oneDNN is missing, torch has a loop of its own that knows bfloat16.
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def slow_bfloat16(device: torch.device) -> bool:
    """Whether it is a processor that has no instructions for products in bfloat16: AVX-512 alone only imitates them."""
    if device.type != "cpu" or lacks_bfloat16(device):
        return device.type == "cpu"
    own = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    return platform.machine() in ("x86_64", "AMD64") and not any(has() for has in own)
