"""Safe loading of torch files from strangers: it runs no code and takes no more memory than the file has bytes."""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye, torch.arange}
"""Functions that make tensors out of sizes."""

SLACK = 1 << 26
"""Bytes that a network may need besides its parameters during construction."""


def load(path: Path) -> Any:
    """The content of a file that `torch.save` has written, tensors on the CPU; ValueError if it is no torch file."""
    with open(path, "rb") as file:
        refuse_packed(file, path.stat().st_size)
    content = torch.load(path, map_location="cpu", weights_only=True)
    refuse_inflated(content)
    return content


def refuse_packed(file: Any, size: int) -> None:
    """Raise ValueError for an archive whose records are packed, or larger together than the file: `torch.save` packs
    nothing, so that a small file cannot become a large one."""
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as problem:
        raise ValueError(str(problem)) from problem
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are packed, as torch never does")
    if sum(record.file_size for record in records) > size:
        raise ValueError("its records claim more bytes than the file has")


def refuse_inflated(content: Any) -> None:
    """Raise ValueError for a tensor that shows more numbers than are stored, or is not dense and strided."""
    if isinstance(content, Tensor):
        plain = content.layout is torch.strided and content.device.type == "cpu" and not content.is_quantized
        if not plain or content.numel() * content.element_size() > content.untyped_storage().nbytes():
            raise ValueError("a tensor claims more numbers than are stored")
    elif isinstance(content, dict):
        for value in content.values():
            refuse_inflated(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            refuse_inflated(value)


def laid_out(given: Any, expected: Tensor, name: str, finite: bool = True) -> Tensor:
    """A tensor of the shape, type and order in memory of another, which may be on "meta"; ValueError for any other.

    finite: whether all its numbers must be.

    A kernel that reads memory as it expects it, whatever strides and shape a file claims, leaves the memory.
    """
    if not isinstance(given, Tensor) or given.layout is not torch.strided:
        raise ValueError(f"{name} is no dense tensor")
    if given.shape != expected.shape or given.dtype != expected.dtype:
        was, wanted = (f"{str(one.dtype).removeprefix('torch.')} {tuple(one.shape)}" for one in (given, expected))
        raise ValueError(f"{name} is {was} and must be {wanted}")
    if finite and given.is_floating_point() and not bool(given.isfinite().all()):
        raise ValueError(f"{name} holds numbers that are not finite")
    if given.requires_grad or given.is_conj() or given.is_neg() or given.stride() != expected.stride():
        return torch.empty_like(expected, device="cpu").copy_(given.detach())
    return given


class Bounded(TorchFunctionMode):
    """Inside, new tensors get no more memory than the known parameters account for."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        """known: what the new tensors are for."""
        super().__init__()
        self.left = 2 * sum(tensor.nbytes for tensor in known) + SLACK

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in FACTORIES:
            self.left -= func(*args, **{**kwargs, "device": "meta"}).nbytes  # has a size and takes no memory
            if self.left < 0:
                raise ValueError("its description wants more memory than its parameters have")
        return func(*args, **kwargs)
