"""Which device, which libraries, and what they say of themselves."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.cuda import nccl

from seq2seq.device_check.findings import DeviceCheck, unchecked

NVIDIA = Path("/proc/driver/nvidia/version")


def who(device: torch.device) -> Iterator[DeviceCheck]:
    """Versions, cards, precisions."""
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    yield DeviceCheck("host", "", f"{platform.machine()}, {threads}, Python {platform.python_version()}")
    yield DeviceCheck("torch", "", f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}")
    if device.type != "cuda":
        driver = NVIDIA.read_text().splitlines()[0] if NVIDIA.is_file() else ""
        if driver and torch.version.cuda is None:
            remedy = "install a build of torch with CUDA, see https://pytorch.org/get-started/locally"
            yield DeviceCheck("GPU", "torch that can use it", f"{driver}; this torch cannot: {remedy}", False)
        elif driver and not torch.cuda.is_available():
            yield DeviceCheck("GPU", "one that is seen", f"{driver}; none is seen: look at CUDA_VISIBLE_DEVICES", False)
        else:
            yield unchecked("GPU", "what follows is about the CPU")
        return
    versions = "none"
    if torch.distributed.is_nccl_available():
        versions = ".".join(map(str, nccl.version()))  # type: ignore[no-untyped-call]
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    yield DeviceCheck("cuDNN, NCCL", "", f"{cudnn}, {versions}")
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(number))
        ability = f"compute {card.major}.{card.minor}, {free:.1f} of {total:.1f} GiB free"
        yield DeviceCheck(f"GPU {number}", "half of it free", f"{card.name}, {ability}", free > total / 2)
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    yield DeviceCheck("bf16", "", "yes" if bf16 else "no: leave trainer.precision at 32-true")
    rnn = torch.nn.LSTM(8, 8).to(device)
    with torch.autocast("cuda", torch.bfloat16):
        kind = str(rnn(torch.zeros(2, 2, 8, device=device))[0].dtype).removeprefix("torch.")
    yield DeviceCheck("an LSTM under bf16 autocast returns", "", kind)
    precision = getattr(getattr(torch.backends.cudnn, "rnn", None), "fp32_precision", "unknown")
    yield DeviceCheck("32 bits in cuDNN's recurrent layers", "", str(precision))
    yield DeviceCheck("CUBLAS_WORKSPACE_CONFIG", ":16:8 or :4096:8", os.environ.get("CUBLAS_WORKSPACE_CONFIG", "unset"))
