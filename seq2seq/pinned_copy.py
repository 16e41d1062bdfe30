"""Copies between the CPU and an accelerator: upwards the host does not wait, downwards it waits once."""

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on `device`; from the CPU to CUDA it travels through pinned memory, behind what was launched before."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Tensors of one device on the CPU; the host waits once for all of them."""
    if tensors[0].device.type == "cpu":
        return list(tensors)
    packed = torch.cat([tensor.flatten().view(torch.uint8) for tensor in tensors]).cpu()
    parts = torch.split(packed, [tensor.numel() * tensor.element_size() for tensor in tensors])
    return [part.clone().view(tensor.dtype).view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
