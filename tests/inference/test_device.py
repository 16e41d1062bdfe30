"""Devices that cannot be used are refused in one line with a remedy; rounding is set for products and layers alike."""

import logging
import os
from typing import Any

import pytest
import torch

from seq2seq.errors import InputError
from seq2seq.inference import device
from seq2seq.inference.device import WORKSPACE, find, out_of_memory, tf32, unused_gpu
from seq2seq.inference.predict_texts import choose_device

GIB = 1 << 30


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the environment."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv(WORKSPACE, ":16:8")


def raising(problem: Exception) -> Any:
    """A function that fails."""

    def fail(*arguments: Any, **named: Any) -> None:
        raise problem

    return fail


def machine(
    monkeypatch: pytest.MonkeyPatch,
    *,
    nvidia: bool = True,
    built: str | None = "12.6",
    works: bool = False,
    problem: str = "Found no NVIDIA driver on your system. Please check",
    free: float = 70,
    name: str = "NVIDIA H100",
    count: int = 1,
) -> None:
    """A made-up machine; free: GiB of its 80."""
    monkeypatch.setattr(device, "has_nvidia", lambda: nvidia)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: works)
    monkeypatch.setattr(torch.cuda, "init", raising(RuntimeError(problem)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: name)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (int(free * GIB), 80 * GIB))
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *sizes, device=None: zeros(*sizes))


def refusal(name: str) -> str:
    """The one line with which a device is refused."""
    with pytest.raises(InputError) as problem:
        find(name, "trainer.accelerator cuda", "trainer.accelerator auto or cpu")
    text = str(problem.value)
    assert "\n" not in text
    assert text.startswith("trainer.accelerator cuda")
    return text


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"nvidia": False, "built": None}, "trainer.accelerator auto or cpu"),
        ({"nvidia": False}, "trainer.accelerator auto or cpu"),
        ({"built": None}, f"torch=={torch.__version__.partition('+')[0]} --index-url"),
        ({"problem": "The NVIDIA driver on your system is too old (found version 11040). Please update"}, "11040"),
        ({"problem": "No CUDA GPUs are available"}, "No CUDA GPUs are available"),
    ],
)
def test_a_gpu_that_is_missing_is_refused(made: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, **made)
    assert said in refusal("cuda")


@pytest.mark.parametrize("value", ["", "-1"])
def test_hidden_gpus_are_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert "CUDA_VISIBLE_DEVICES" in refusal("cuda")
    assert unused_gpu() == ""


def test_a_number_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, works=True, count=2)
    assert find("cuda:1", "", "") == torch.device("cuda:1")
    text = refusal("cuda:2")
    assert "GPU 2" in text
    assert "MIG" not in text


def test_slices_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, works=True, name="NVIDIA A100-SXM4-40GB MIG 1g.5gb")
    assert "MIG" in refusal("cuda:1")


def test_a_full_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    machine(monkeypatch, works=True, free=0.2)
    assert "0.2 of 80.0 GiB" in refusal("cuda")
    machine(monkeypatch, works=True, free=30)
    find("cuda", "trainer.accelerator cuda", "")
    assert "30.0 of 80.0 GiB" in caplog.text
    caplog.clear()
    machine(monkeypatch, works=True)
    find("cuda", "trainer.accelerator cuda", "")
    assert not caplog.text
    monkeypatch.setattr(torch, "zeros", raising(RuntimeError("CUDA error: out of memory\nmore")))
    assert "CUDA_VISIBLE_DEVICES" in refusal("cuda")


@pytest.mark.parametrize(("nvidia", "warned"), [(True, True), (False, False)])
def test_a_gpu_is_not_left_idle_in_silence(
    nvidia: bool, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch, nvidia=nvidia, built=None)
    with caplog.at_level(logging.WARNING):
        assert choose_device("auto") == torch.device("cpu")
    assert ("--index-url" in caplog.text) == warned


def test_the_workspace_is_set_unless_the_user_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE)
    choose_device("cpu")
    assert os.environ[WORKSPACE] == ":16:8"
    monkeypatch.setenv(WORKSPACE, ":4096:8")
    choose_device("cpu")
    assert os.environ[WORKSPACE] == ":4096:8"


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: can't allocate memory",
        "MPS backend out of memory (MPS allocated: 9 GB)",
    ],
)
def test_every_form_of_too_little_memory(text: str) -> None:
    assert out_of_memory(RuntimeError(text))
    assert out_of_memory(torch.OutOfMemoryError())
    assert not out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


def test_products_and_layers_round_alike() -> None:
    def now() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = now()
    with tf32(True):
        assert now() == (True, True)
        with tf32(False):
            assert now() == (False, False)
        assert now() == (True, True)
    assert now() == before
