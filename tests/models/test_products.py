"""Products by either library are the same numbers; what has no fast arithmetic in bfloat16 is known."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from seq2seq.models import products
from seq2seq.models.cells import LSTM


@pytest.fixture
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor of AMD, wherever the test runs."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(products, "mkl_is_slow", lambda: True)


def test_products_by_onednn_are_products(onednn: None) -> None:
    rows, weight, bias = torch.randn(9, 5), torch.randn(7, 5), torch.randn(7)
    with torch.no_grad():
        assert products.by_onednn(rows)
        torch.testing.assert_close(products.product(rows, weight.t()), rows @ weight.t())
        torch.testing.assert_close(products.product(rows.t().repeat(2, 1), rows), rows.t().repeat(2, 1) @ rows)
        for matrix in (weight, weight.t().contiguous().t()):  # as `suit_one_row` stores it
            found = products.linear(rows.view(3, 3, 5), matrix, bias)
            torch.testing.assert_close(found, nn.functional.linear(rows.view(3, 3, 5), weight, bias))


def test_what_onednn_cannot_do_is_left_to_torch(onednn: None) -> None:
    rows = torch.randn(9, 5)
    assert not products.by_onednn(rows), "a gradient is recorded"
    with torch.no_grad():
        assert not products.by_onednn(rows.double())
        assert not products.by_onednn(rows[:1])
        assert products.product(rows[:, :0], rows[:3, :0].t()).equal(torch.zeros(9, 3))
        with torch.autocast("cpu", torch.bfloat16):
            assert not products.by_onednn(rows)


@pytest.mark.parametrize("biased", [True, False])
def test_gradients_by_onednn_are_gradients(onednn: None, biased: bool) -> None:
    given = [torch.randn(3, 4, 5), torch.randn(7, 5), *([torch.randn(7)] if biased else [])]
    found = []
    for function in (products.linear, nn.functional.linear):
        parts = [one.clone().requires_grad_() for one in given]
        function(*parts, *([] if biased else [None])).square().sum().backward()
        found.append([one.grad for one in parts])
    torch.testing.assert_close(*found)


def test_a_step_of_an_lstm_is_the_same(onednn: None) -> None:
    cell = LSTM().build(5, 4, False)
    inputs, state = torch.randn(9, 5), (torch.randn(9, 4), torch.randn(9, 4))
    recorded = cell.step(inputs, state)
    with torch.no_grad():
        torch.testing.assert_close(cell.step(inputs, state), tuple(one.detach() for one in recorded))


def test_avx512_alone_is_not_fast_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "lacks_bfloat16", lambda device: False)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    for machine, slow in (("x86_64", True), ("aarch64", False)):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert products.slow_bfloat16(torch.device("cpu")) is slow
    assert not products.slow_bfloat16(torch.device("cuda"))


SHAPES = """
import random, torch
from seq2seq.models import products
random.seed(0)
layer, sizes = torch.nn.LSTM(64, 128, batch_first=True), []
for step in range(301):
    inputs = torch.randn(random.randint(20, 200), random.randint(5, 60), 64)
    with torch.autocast("cpu", torch.bfloat16):
        layer(inputs)[0].sum().backward()
    if step in (60, 300):
        sizes.append(int(next(line for line in open("/proc/self/status") if "VmRSS" in line).split()[1]) // 1024)
print(sizes[1] - sizes[0])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_shapes_of_batches() -> None:
    if not Path("/proc/self/status").exists() or products.lacks_bfloat16(torch.device("cpu")):
        pytest.skip("what this measures is reported by Linux, in bfloat16")
    grown = subprocess.run([sys.executable, "-c", SHAPES], capture_output=True, text=True, check=True, timeout=300)
    assert int(grown.stdout) < 150, "MiB; 400 where oneDNN keeps the code of all shapes"
