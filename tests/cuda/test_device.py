"""The pretended device itself: it refuses what CUDA and cuDNN refuse, counts, and computes as the CPU does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.cuda.counts import launches, now, waits
from tests.cuda.host import Event

pytestmark = pytest.mark.cuda_rules


def on_device(*size: int) -> Tensor:
    return torch.randn(*size).to("cuda")


def test_a_tensor_says_that_it_is_on_the_device() -> None:
    values = on_device(2, 3)
    assert values.device == torch.device("cuda", 0)
    assert values.is_cuda
    assert torch.arange(3, device="cuda").cpu().tolist() == [0, 1, 2]
    assert torch.tensor([1.5], device="cuda").device.type == "cuda"


MIXED: list[Callable[[], Any]] = [
    lambda: on_device(4) + torch.ones(4),
    lambda: on_device(3, 4) @ torch.ones(4, 3),
    lambda: on_device(3, 4).index_select(0, torch.tensor([0])),
    lambda: on_device(3, 4).index_select(0, torch.tensor(0)),
    lambda: torch.cat([on_device(3), torch.ones(3)]),
    lambda: torch.where(torch.ones(3).bool(), on_device(3), on_device(3)),
    lambda: nn.functional.embedding(torch.tensor([0]), on_device(3, 4)),
    lambda: torch.equal(on_device(3), torch.ones(3)),
]


@pytest.mark.parametrize("number", range(len(MIXED)))
def test_mixed_devices_are_refused(number: int) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        MIXED[number]()


def test_scalars_and_indices_of_the_cpu_are_not() -> None:
    values = on_device(3, 4)
    assert (values * torch.tensor(2.0)).is_cuda
    assert values[torch.tensor([0, 2])].shape == (2, 4)


def test_numpy_is_refused() -> None:
    with pytest.raises(TypeError, match="cuda:0"):
        on_device(3).numpy()


WAITS: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "item": (lambda values: values.sum().item(), 1),
    "tolist": (lambda values: values.tolist(), 1),
    "bool": (lambda values: bool(values.any()), 1),
    "float": (lambda values: float(values.sum()), 1),
    "mask": (lambda values: values[values > 0], 1),
    "nonzero": (lambda values: values.nonzero(), 1),
    "masked_select": (lambda values: values.masked_select(values > 0), 1),
    "cpu": (lambda values: values.cpu(), 1),
    "down, not blocking": (lambda values: values.to("cpu", non_blocking=True), 0),
    "up": (lambda values: torch.ones(3).to("cuda"), 1),
    "up, pageable": (lambda values: torch.ones(3).to("cuda", non_blocking=True), 0),
    "copy_": (lambda values: values.copy_(torch.ones(8)), 1),
    "index of the CPU": (lambda values: values[torch.tensor([0])], 1),
    "arithmetic": (lambda values: (values * 2).exp().sum(), 0),
    "where": (lambda values: torch.where(values > 0, values, 0.0), 0),
    "synchronize": (lambda values: torch.cuda.synchronize(), 1),
}


@pytest.mark.parametrize("name", WAITS)
def test_waits_are_counted(name: str) -> None:
    function, number = WAITS[name]
    values = on_device(8)
    assert waits(lambda: function(values)) == number


def test_pinned_memory_is_copied_without_a_wait_and_pageable_memory_is_told() -> None:
    memory = torch.ones(4, 3).pin_memory()
    assert memory.is_pinned()
    assert memory[1:].is_pinned()
    now().pageable.clear()
    memory[1:].to("cuda", non_blocking=True)
    assert not now().pageable
    torch.ones(3).to("cuda", non_blocking=True)
    assert sum(now().pageable.values()) == 1


def test_an_event_is_waited_for_only_where_nothing_came_after_it() -> None:
    values, event = on_device(3), Event()
    event.record()
    assert waits(event.synchronize) == 1
    event.record()
    values.exp()
    event.synchronize()
    assert waits(lambda: None) == 0


def test_launches_are_counted_and_views_are_none() -> None:
    values = on_device(4, 4)
    assert launches(lambda: values.T[1:].unsqueeze(0)) == 0
    assert launches(lambda: (values + 1).exp()) == 2
    assert launches(lambda: values.half()) == 1


def pair(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The same module on the CPU and on the device."""
    import copy

    return module, copy.deepcopy(module).to("cuda")


LAYERS = [nn.LSTM, nn.GRU, nn.RNN]


@pytest.mark.parametrize("mixed", [False, True], ids=["one length", "packed"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_recurrent_layer_computes_what_the_cpu_computes(kind: type[nn.RNNBase], mixed: bool) -> None:
    layers = pair(kind(3, 5, batch_first=True, bidirectional=True))
    inputs, lengths = torch.randn(2, 4, 3), torch.tensor([2, 4])
    results = []
    for layer in layers:
        own = inputs.to(next(layer.parameters()).device)
        if mixed:
            packed = layer(pack_padded_sequence(own, lengths, True, enforce_sorted=False))[0]
            outputs = pad_packed_sequence(packed, True)[0]
        else:
            outputs = layer(own)[0]
        outputs.pow(2).sum().backward()
        results.append([outputs.cpu(), *(parameter.grad.cpu() for parameter in layer.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_fused_cell_computes_what_the_cpu_computes(kind: Any) -> None:
    results = []
    inputs = torch.randn(2, 3)
    for cell in pair(kind(3, 5)):
        own = inputs.to(next(cell.parameters()).device)
        state = cell(own)
        state = cell(own, state)
        (state[0] if isinstance(state, tuple) else state).pow(2).sum().backward()
        results.append([parameter.grad.cpu() for parameter in cell.parameters()])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", LAYERS)
def test_cudnn_has_no_backward_in_evaluation_mode(kind: type[nn.RNNBase]) -> None:
    layer = kind(3, 5, batch_first=True).to("cuda").eval()
    outputs = layer(on_device(2, 4, 3))[0]
    with pytest.raises(RuntimeError, match="training mode"):
        outputs.sum().backward()


def test_cudnn_wants_a_contiguous_state_on_the_device() -> None:
    layer = nn.GRU(3, 5, batch_first=True).to("cuda")
    with pytest.raises(RuntimeError, match="not contiguous"):
        layer(on_device(2, 4, 3), on_device(1, 1, 5).expand(1, 2, 5).transpose(1, 2).transpose(1, 2))
    with pytest.raises(RuntimeError, match="same device"):
        layer(on_device(2, 4, 3), torch.zeros(1, 2, 5))


def test_lengths_of_packing_stay_on_the_cpu() -> None:
    with pytest.raises(RuntimeError, match="lengths"):
        torch._VF._pack_padded_sequence(on_device(2, 4, 3), torch.tensor([4, 2]).to("cuda"), True)


def test_autocast_makes_cudnn_layers_float16_and_products_its_own_dtype() -> None:
    layer, linear = nn.LSTM(3, 5).to("cuda"), nn.Linear(3, 5).to("cuda")
    with torch.autocast("cuda", torch.bfloat16):
        assert layer(on_device(2, 4, 3))[0].dtype == torch.half
        assert linear(on_device(2, 3)).dtype == torch.bfloat16
        assert on_device(3).softmax(0).dtype == torch.float


@pytest.fixture
def deterministic() -> Any:
    """As trainer.deterministic."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


REFUSED: list[Callable[[Tensor], Any]] = [
    lambda values: values.cumsum(0),
    lambda values: values.abs().long().bincount(weights=values),
    lambda values: values.median(0),
    lambda values: values.kthvalue(1),
    lambda values: values.histc(),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_has_no_deterministic_algorithm_is_refused(number: int, deterministic: None) -> None:
    values = on_device(4)
    with pytest.raises(RuntimeError, match="deterministic"):
        REFUSED[number](values)


def test_deterministic_products_need_a_workspace(deterministic: None, monkeypatch: pytest.MonkeyPatch) -> None:
    values = on_device(3, 3)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with pytest.raises(RuntimeError, match="CUBLAS_WORKSPACE_CONFIG"):
        values @ values
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    assert (values @ values).is_cuda
    assert values.long().cumsum(0).is_cuda


def test_shared_parameters_stay_shared_when_a_module_moves() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    both = nn.Sequential(first, second).to("cuda")
    assert both[0].weight is both[1].weight
    assert both.cpu()[0].weight is both[1].weight


@pytest.mark.parametrize("fused", [False, True])
def test_an_optimiser_steps_as_on_the_cpu(fused: bool) -> None:
    results = []
    for module in pair(nn.Linear(3, 2)):
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, fused=fused)
        for _ in range(3):
            optimizer.zero_grad()
            module(torch.ones(2, 3).to(module.weight.device)).pow(2).sum().backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
            optimizer.step()
        results.append(module.weight.detach().cpu())
    torch.testing.assert_close(*results)
