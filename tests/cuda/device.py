"""A pretended CUDA device: its tensors say cuda:0, their numbers lie on the CPU, and CUDA's rules hold.

A wrapper subclass and a dispatch mode. What is refused: operands on different devices, what has no deterministic
algorithm under `torch.use_deterministic_algorithms`, numpy. What is counted: launches, waits of the host, copies
(`counts`). What is not modelled: which dtypes a kernel knows, memory formats, streams, the size of the memory.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from tests.cuda.counts import now

CUDA = torch.device("cuda", 0)

VIEWS = set(
    "view _unsafe_view expand permute transpose t select slice unsqueeze squeeze detach alias as_strided split "
    "split_with_sizes unbind unfold diagonal _reshape_alias narrow lift_fresh view_as_real view_as_complex "
    "empty empty_like new_empty empty_strided new_empty_strided".split()
)
"""What launches nothing."""

INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
"""Operations whose indices may lie on the CPU."""

DYNAMIC = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"}
"""Operations whose result has a size that only the device knows, so that the host waits for it."""

TO_HOST = {"_local_scalar_dense", "item", "is_nonzero", "equal"}
"""Operations that answer with a number of Python."""

NO_SCALARS = {"index_select", "gather", "scatter", "scatter_", "cat", "stack", "mm", "addmm", "bmm", "embedding"}
"""Operations that take no scalar of the CPU among tensors of the device."""

NONDETERMINISTIC = {
    "_ctc_loss_backward": "ctc_loss_backward_gpu",
    "_embedding_bag_backward": "_embedding_bag_dense_backward_cuda",
    "adaptive_max_pool2d_backward": "adaptive_max_pool2d_backward_cuda",
    "_adaptive_avg_pool2d_backward": "adaptive_avg_pool2d_backward_cuda",
    "avg_pool3d_backward": "avg_pool3d_backward_cuda",
    "grid_sampler_2d_backward": "grid_sampler_2d_backward_cuda",
    "histc": "_histc_cuda",
    "kthvalue": "kthvalue CUDA",
    "nll_loss2d_forward": "nll_loss2d_forward_out_cuda_template",
    "put": "put_",
    "put_": "put_",
    "reflection_pad1d_backward": "reflection_pad1d_backward_out_cuda",
    "upsample_linear1d_backward": "upsample_linear1d_backward_out_cuda",
}
"""Operations without a deterministic algorithm on CUDA, and what torch calls them."""

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "addmv", "mv", "dot", "addbmm", "_addmm_activation"}
"""Operations of cuBLAS, which is deterministic only with a workspace of a fixed size."""

WORKSPACES = (":4096:8", ":16:8")


class Cuda(Tensor):
    """A tensor of the pretended device."""

    host: Tensor
    """Its numbers."""

    @staticmethod
    def __new__(cls, host: Tensor) -> "Cuda":
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined,no-any-return]
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            layout=host.layout,
            device=CUDA,
        )

    def __init__(self, host: Tensor) -> None:
        self.host = host

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})  # outside the mode: threads of autograd

    def __repr__(self, *, tensor_contents: None = None) -> str:
        return f"Cuda({self.host!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.host.__reduce_ex__(protocol)  # as read back with map_location="cpu"

    def tolist(self) -> Any:
        wait("tolist")
        return self.host.tolist()

    def numpy(self, *arguments: Any, **named: Any) -> NoReturn:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it to host memory")

    __array__ = numpy


class Device(TorchDispatchMode):
    """Inside, cuda:0 is the pretended device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


@contextlib.contextmanager
def pretending() -> Iterator[None]:
    """Inside, cuda:0 is the pretended device."""
    torch._C._set_only_lift_cpu_tensors(True)
    with Device():
        yield


def wait(reason: str) -> None:
    """The host waits until all that was launched is done, and a number comes back."""
    now().wait(reason)
    now().launch("copy to the host")


def on_host(tree: Any) -> Any:
    """The same arguments with the numbers of the device's tensors."""
    return tree_map_only(Cuda, lambda tensor: tensor.host, tree)


def run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Do an operation as CUDA would."""
    name: str = func.overloadpacket.__name__
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        # of an inference tensor, which nobody else takes apart
        with Device():
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
    leaves = tree_leaves((args, kwargs))
    own = [leaf for leaf in leaves if isinstance(leaf, Cuda)]
    device = None if kwargs.get("device") is None else torch.device(kwargs["device"])
    if not own and (device is None or device.type != "cuda"):
        return func(*args, **kwargs)
    if handler := HANDLERS.get(name):
        return handler(func, args, kwargs)
    refuse_other_devices(func, name, args, leaves)
    if torch.are_deterministic_algorithms_enabled():
        refuse_nondeterministic(name, args, kwargs)
    count(name, args)
    plain = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    if device is not None:
        plain["device"] = torch.device("cpu")
    known = {id(tensor.host): tensor for tensor in own}  # operations in place return their argument
    result = func(*on_host(tuple(args)), **on_host(plain))
    return tree_map_only(Tensor, lambda tensor: known[id(tensor)] if id(tensor) in known else wrapped(tensor), result)


def wrapped(host: Tensor) -> Cuda:
    """A tensor of the device; in inference mode an inference tensor only where its numbers are one."""
    with torch.inference_mode(host.is_inference()):
        return Cuda(host)


def count(name: str, args: Sequence[Any]) -> None:
    """Note what an operation launches and waits for."""
    if name in INDEXING and any(
        isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1] or ()
    ):
        wait("index by a mask")
    if name in DYNAMIC:
        wait(name)
    if name in PRODUCTS and args[0].dtype == torch.float:
        now().tf32["matmul", torch.backends.cuda.matmul.fp32_precision == "tf32"] += 1
    if name in VIEWS:
        now().views += 1
    else:
        now().launch(name)


def refuse_other_devices(func: Any, name: str, args: Sequence[Any], leaves: Sequence[Any]) -> None:
    """Raise for a tensor of the CPU among those of the device, where CUDA does."""
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or isinstance(leaf, Cuda):
            continue
        if leaf.dim() == 0 and name not in NO_SCALARS:
            continue
        if name in INDEXING and leaf is not args[0] and any(leaf is index for index in args[1] or ()):
            wait("index on the CPU")
            continue
        shapes = [tuple(one.shape) for one in leaves if isinstance(one, Tensor)]
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
            f"({func}, {shapes})"
        )


def refuse_nondeterministic(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Raise under `torch.use_deterministic_algorithms` where CUDA does (the list in its docstring)."""
    called = NONDETERMINISTIC.get(name)
    tensor = next((one for one in args if isinstance(one, Tensor)), None)
    if name in ("cumsum", "cumsum_") and tensor is not None and tensor.dtype.is_floating_point:
        called = "cumsum_cuda_kernel"
    if name == "bincount" and ((len(args) > 1 and args[1] is not None) or kwargs.get("weights") is not None):
        called = "_bincount_cuda"
    if name == "median" and len(args) > 1:
        called = "median CUDA with indices output"
    if called is not None:
        raise RuntimeError(
            f"{called} does not have a deterministic implementation, but you set "
            "'torch.use_deterministic_algorithms(True)'."
        )
    if name in PRODUCTS and os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in WORKSPACES:
        raise RuntimeError(
            "Deterministic behavior was enabled with `torch.use_deterministic_algorithms(True)`, but this operation "
            f"is not deterministic because it uses CuBLAS. Set CUBLAS_WORKSPACE_CONFIG to one of {WORKSPACES}"
        )


def converted(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    """Tensor.to: a cast on the device, or a copy between it and the host."""
    source, device = args[0], kwargs.get("device")
    rest = {key: value for key, value in kwargs.items() if key not in ("device", "non_blocking", "pin_memory")}
    blocking = not kwargs.get("non_blocking", False)
    target = torch.device(device) if device is not None else source.device
    if target.type == "cpu":
        copied_down(blocking)
        copy: Tensor = func(source.host, **rest)
        return copy.clone() if copy is source.host else copy
    if isinstance(source, Cuda):
        now().launch("cast")
        return Cuda(func(source.host, **rest))
    copied_up(source, blocking)
    if rest.get("dtype") not in (None, source.dtype):
        now().launch("cast")
    return Cuda(func(source, **rest))


def copied_up(source: Tensor, blocking: bool) -> None:
    """Note a copy from the host."""
    now().launch("copy to the device")
    if blocking:
        now().wait("copy to the device")
    elif not source.is_pinned():
        now().pageable[line_of()] += 1


def copied_down(blocking: bool) -> None:
    """Note a copy to the host."""
    now().launch("copy to the host")
    if blocking:
        now().wait("copy to the host")


def line_of() -> str:
    """The line of the project that is running."""
    from tests.cuda.counts import line

    return line()


def copied(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    """Tensor.copy_: over the bus unless both are on the device."""
    target, source = args[:2]
    blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
    if isinstance(target, Cuda) and isinstance(source, Cuda):
        now().launch("copy_")
        target.host.copy_(source.host)
    elif isinstance(target, Cuda):
        copied_up(source, blocking)
        target.host.copy_(source)
    else:
        copied_down(blocking)
        target.copy_(source.host)
    return target  # type: ignore[no-any-return]


def answered(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A number of Python."""
    refuse_other_devices(func, func.overloadpacket.__name__, args, args)
    wait("number to the host")
    return func(*on_host(tuple(args)), **kwargs)


def pinned(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> NoReturn:
    """Only memory of the CPU can be pinned."""
    raise RuntimeError(f"cannot pin '{args[0].type()}' only dense CPU tensors can be pinned")


Handler = Callable[[Any, Sequence[Any], dict[str, Any]], Any]

HANDLERS: dict[str, Handler] = {
    "_to_copy": converted,
    "copy_": copied,
    "_pin_memory": pinned,
    **dict.fromkeys(TO_HOST, answered),
}
"""Operations by name that are done in a way of their own; `cudnn` adds more."""
