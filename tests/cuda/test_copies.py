"""Copies to the pretended device and back."""

import pytest
import torch

from seq2seq.pinned_copy import to_device, to_host
from tests.cuda.counts import counting
from tests.cuda.device import CUDA

pytestmark = pytest.mark.cuda_rules


def test_up_nobody_waits_and_down_once() -> None:
    tensors = [
        torch.tensor([True, False, True]),
        torch.randn(2, 0),
        torch.arange(6).view(2, 3).t(),
        torch.tensor(3.5),
        torch.randn(3, 5, dtype=torch.bfloat16),
    ]
    with counting() as counts:
        there = [to_device(tensor, CUDA) for tensor in tensors]
    assert not counts.waits
    assert sum(counts.pageable.values()) == 1, "the empty one, which has no memory to pin"
    assert to_device(there[0], CUDA) is there[0]
    with counting() as counts:
        back = to_host(*there)
    assert sum(counts.waits.values()) == 1
    for tensor, same in zip(tensors, back, strict=True):
        assert same.device.type == "cpu"
        assert same.dtype == tensor.dtype
        assert same.equal(tensor)
