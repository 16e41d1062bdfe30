"""cuDNN's recurrent layers and CUDA's fused cells, with the rules that the CPU lacks.

Backward of a layer that ran in evaluation mode, a state that is not contiguous, and mixed dtypes are refused
(aten/src/ATen/native/cudnn/RNN.cpp); under autocast the layers run in float16, whatever autocast's dtype is
(aten/src/ATen/cudnn/AutocastRNN.cpp). Rounding inside a layer is not modelled.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from tests.cuda.counts import now
from tests.cuda.device import HANDLERS, Cuda, on_host

KINDS = ("lstm", "gru", "rnn_tanh", "rnn_relu")
REAL = {kind: getattr(torch._VF, kind) for kind in KINDS}  # type: ignore[attr-defined]
HALVES = (torch.half, torch.bfloat16)


class Call(torch.autograd.Function):
    """One call of a layer: done by torch's own on the CPU."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, kind: str, sizes: Tensor | None, flags: Sequence[Any], states: int, *tensors: Cuda
    ) -> tuple[Cuda, ...]:
        """tensors: data, `states` of the state, weights; flags: has_biases, layers, dropout, train, ..."""
        ctx.half, ctx.train = tensors[0].dtype == torch.half, flags[3]
        dtype = torch.float32 if ctx.half else tensors[0].dtype
        hosts = [tensor.host.detach().to(dtype).requires_grad_() for tensor in tensors]
        data, state, weights = hosts[0], hosts[1 : 1 + states], hosts[1 + states :]
        given: Any = state if kind == "lstm" else state[0]
        with _disable_current_modes(), torch.enable_grad(), torch.autocast("cpu", enabled=False):
            arguments = (data, given, weights) if sizes is None else (data, sizes, given, weights)
            ctx.results = REAL[kind](*arguments, *flags)
        ctx.hosts = hosts
        note("forward", kind, tensors[0].dtype)
        return tuple(Cuda(one.detach().half() if ctx.half else one.detach().clone()) for one in ctx.results)

    @staticmethod
    def backward(ctx: Any, *gradients: Cuda | None) -> tuple[Any, ...]:  # type: ignore[override]
        if not ctx.train:
            raise RuntimeError("cudnn RNN backward can only be called in training mode")
        note("backward", "", torch.half if ctx.half else ctx.hosts[0].dtype)
        pairs = [(one, given) for one, given in zip(ctx.results, gradients, strict=True) if given is not None]
        with _disable_current_modes():
            slopes = torch.autograd.grad(
                [one for one, _ in pairs],
                ctx.hosts,
                [given.host.to(one.dtype) for one, given in pairs],
                retain_graph=True,  # a real card keeps what a second time needs, too
                allow_unused=True,
            )
        return (None,) * 4 + tuple(None if one is None else Cuda(one.half() if ctx.half else one) for one in slopes)


def note(direction: str, kind: str, dtype: torch.dtype) -> None:
    """Count a call."""
    now().cudnn.append((direction, kind, str(dtype).removeprefix("torch.")))
    now().launch(f"cudnn {direction}")
    if dtype == torch.float:
        now().tf32["cudnn", torch.backends.cudnn.rnn.fp32_precision == "tf32"] += 1


def layer(kind: str) -> Any:
    """The function of torch._VF that runs a layer."""

    def call(*args: Any) -> Any:
        packed = not isinstance(
            args[3], bool
        )  # (data, sizes, hx, weights, has_biases, ...) or (data, hx, weights, ...)
        sizes = args[1] if packed else None
        data, state, weights, *flags = (args[0], *args[2:]) if packed else args
        if not isinstance(data, Cuda):
            return REAL[kind](*args)
        states = list(state) if isinstance(state, (list, tuple)) else [state]
        tensors = [data, *states, *weights]
        if not all(isinstance(tensor, Cuda) for tensor in tensors):
            raise RuntimeError("Input and hidden and parameter tensors are not at the same device")
        if torch.is_autocast_enabled("cuda"):
            now().launch("cudnn weights cast and laid out", 1 + len(weights))
            tensors = [tensor.half() for tensor in tensors]
        refuse(tensors, len(states))
        return Call.apply(kind, sizes, flags, len(states), *tensors)

    return call


def refuse(tensors: Sequence[Tensor], states: int) -> None:
    """Raise where cuDNN does."""
    for state in tensors[1 : 1 + states]:
        if not state.is_contiguous():
            raise RuntimeError(f"rnn: hx is not contiguous (shape {tuple(state.shape)}, strides {state.stride()})")
    if len({tensor.dtype for tensor in tensors}) > 1:
        raise RuntimeError(f"cudnn rnn: dtypes {[str(tensor.dtype) for tensor in tensors]}")


def exact(tensor: Tensor) -> Tensor:
    """As the kernels compute: halves in 32 bits."""
    return tensor.float() if tensor.dtype in HALVES else tensor


def gates(by_input: Tensor, by_hidden: Tensor, biases: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    """Both products with their biases."""
    found = [
        exact(product) if bias is None else exact(product) + exact(bias)
        for product, bias in zip((by_input, by_hidden), biases, strict=True)
    ]
    return found[0], found[1]


def on_device(*tensors: Tensor | None, dtype: torch.dtype) -> tuple[Cuda | None, ...]:
    """Results in the arguments' dtype."""
    return tuple(None if tensor is None else Cuda(tensor.to(dtype)) for tensor in tensors)


def lstm_cell(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """_thnn_fused_lstm_cell: next hidden and cell state, and the gates for the backward."""
    now().launch("fused lstm cell")
    dtype = same_dtype(args)
    by_input, by_hidden, cell, *biases = on_host((*args, None, None)[:5])
    total = sum(gates(by_input, by_hidden, biases))
    into, forget, new, out = total.chunk(4, 1)  # type: ignore[union-attr]
    into, forget, new, out = into.sigmoid(), forget.sigmoid(), new.tanh(), out.sigmoid()
    after = forget * exact(cell) + into * new
    return on_device(out * after.tanh(), after, torch.cat((into, forget, new, out), 1), dtype=dtype)


def lstm_cell_backward(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """_thnn_fused_lstm_cell_backward_impl."""
    now().launch("fused lstm cell backward")
    dtype = args[4].dtype
    of_hidden, of_cell, before, after, kept = (None if one is None else exact(one) for one in on_host(tuple(args[:5])))
    into, forget, new, out = kept.chunk(4, 1)
    squashed = after.tanh()
    of_hidden = torch.zeros_like(after) if of_hidden is None else of_hidden
    slope = of_hidden * out * (1 - squashed**2) + (0 if of_cell is None else of_cell)
    products = torch.cat(
        (
            slope * new * into * (1 - into),
            slope * before * forget * (1 - forget),
            slope * into * (1 - new**2),
            of_hidden * squashed * out * (1 - out),
        ),
        1,
    )
    if args[5]:
        now().launch("sum")
    return on_device(products, slope * forget, products.sum(0) if args[5] else None, dtype=dtype)


def gru_cell(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """_thnn_fused_gru_cell: the next state and what the backward needs."""
    now().launch("fused gru cell")
    dtype = same_dtype(args)
    by_input, by_hidden, hidden, *biases = on_host((*args, None, None)[:5])
    first, second = gates(by_input, by_hidden, biases)
    inputs, hiddens = first.chunk(3, 1), second.chunk(3, 1)
    reset, update = ((inputs[gate] + hiddens[gate]).sigmoid() for gate in (0, 1))
    new = (inputs[2] + reset * hiddens[2]).tanh()
    before = exact(hidden)
    kept = torch.cat((reset, update, new, before, hiddens[2]), 1)
    return on_device(new + update * (before - new), kept, dtype=dtype)


def gru_cell_backward(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """_thnn_fused_gru_cell_backward."""
    now().launch("fused gru cell backward")
    dtype = args[1].dtype
    slope, kept = (exact(one) for one in on_host(tuple(args[:2])))
    reset, update, new, before, by_hidden = kept.chunk(5, 1)
    of_update = slope * (before - new) * update * (1 - update)
    of_new = slope * (1 - update) * (1 - new**2)
    of_reset = of_new * by_hidden * reset * (1 - reset)
    of_input, of_hidden = (torch.cat((of_reset, of_update, last), 1) for last in (of_new, of_new * reset))
    biases = (of_input.sum(0), of_hidden.sum(0)) if args[2] else (None, None)
    return on_device(of_input, of_hidden, slope * update, *biases, dtype=dtype)


def same_dtype(args: Sequence[Any]) -> torch.dtype:
    """That of all three products and states."""
    dtypes = {tensor.dtype for tensor in args[:3]}
    if len(dtypes) > 1:
        raise RuntimeError(f"fused cell: expected one dtype, found {sorted(map(str, dtypes))}")
    return dtypes.pop()  # type: ignore[no-any-return]


def pack(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """_pack_padded_sequence: lengths must be on the CPU; one slice for each length, then they are joined."""
    if isinstance(args[1], Cuda):
        raise RuntimeError("'lengths' argument should be a 1D CPU int64 tensor, but got 1D cuda:0 Long tensor")
    now().launch("pack", len(set(args[1].tolist())) + 1)
    data, sizes = func(args[0].host, *args[1:])
    return Cuda(data), sizes


def pack_backward(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """_pack_padded_sequence_backward."""
    now().launch("pack backward", len(args[2]) + 1)
    return Cuda(func(*on_host(tuple(args))))


HANDLERS.update(
    _thnn_fused_lstm_cell=lstm_cell,
    _thnn_fused_lstm_cell_backward_impl=lstm_cell_backward,
    _thnn_fused_gru_cell=gru_cell,
    _thnn_fused_gru_cell_backward=gru_cell_backward,
    _pack_padded_sequence=pack,
    _pack_padded_sequence_backward=pack_backward,
)


def install() -> None:
    """Put the layers in the place of torch's."""
    for kind in KINDS:
        setattr(torch._VF, kind, layer(kind))
