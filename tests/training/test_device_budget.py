"""The largest micro-batch that fits, found without harm."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.errors import InputError
from seq2seq.tasks.translation import Translation
from seq2seq.training import device_budget
from tests.support import PAIRS, split_of


@given(st.integers(1, 500), st.integers(1, 10**7), st.integers(1, 10**7))
def test_the_largest_that_fits_to_one_part_in_sixteen(least: int, most: int, limit: int) -> None:
    most, limit = max(least, most), max(least, limit)
    tried = []
    found = device_budget.largest(lambda tokens: tried.append(tokens) or tokens <= limit, least, most)
    best = min(limit, most)
    assert best * 15 / 16 - 1 <= found <= best
    assert len(tried) < 64
    assert max(tried) <= max(2 * limit, least), "never much more than what fits"


def test_a_device_too_small_for_one_row(tokenizers: Tokenizers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_budget.largest(lambda tokens: False, 90, 1000) == 0
    monkeypatch.setattr(device_budget, "available_memory", lambda: -1)  # so small a step may find its memory kept: 0
    task, split = Translation(tokenizers, embedding_size=8, hidden_size=8), split_of(PAIRS, tokenizers)
    with pytest.raises(InputError, match=r"row of \d+ tokens .*data\.max_length"):
        device_budget.device_tokens(task, split, np.arange(len(split)), 4000, 2, None)


def test_trying_leaves_no_trace(tokenizers: Tokenizers) -> None:
    task, split = Translation(tokenizers, embedding_size=16, hidden_size=32), split_of(PAIRS, tokenizers)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    found = device_budget.device_tokens(task, split, np.arange(len(split)), 4000, 2, torch.bfloat16)
    assert found == 4000
    assert all(value.equal(before[name]) for name, value in task.state_dict().items())
    assert all(parameter.grad is None for parameter in task.parameters())


def test_main_memory_is_never_overrun(tokenizers: Tokenizers, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 100 MB free a step of a million tokens is refused without being tried."""
    task, split = Translation(tokenizers, embedding_size=32, hidden_size=64), split_of(PAIRS, tokenizers)
    monkeypatch.setattr(device_budget, "available_memory", lambda: 100 << 20)
    tried = []
    run = device_budget.Trial.run
    monkeypatch.setattr(device_budget.Trial, "run", lambda self, tokens: tried.append(tokens) or run(self, tokens))
    found = device_budget.device_tokens(task, split, np.arange(len(split)), 1_000_000, 2, None)
    assert 1000 < found < 1_000_000
    assert max(tried) < 100_000


def test_all_devices_take_the_smallest_answer(tokenizers: Tokenizers, monkeypatch: pytest.MonkeyPatch) -> None:
    def others(found: torch.Tensor, operation: object) -> None:
        assert operation == torch.distributed.ReduceOp.MIN
        found.clamp_(max=1234)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", others)
    task, split = Translation(tokenizers, embedding_size=8, hidden_size=8), split_of(PAIRS, tokenizers)
    assert device_budget.device_tokens(task, split, np.arange(len(split)), 4000, 2, None) == 1234
