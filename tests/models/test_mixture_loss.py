"""Alternatives in one sweep: the loss and its gradients are those of torch's softmax, sums and divergences."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seq2seq.models import mixture_loss as module
from seq2seq.models.mixture_loss import mixture_loss

V, N, M, R = 13, 10, 3, 4


def parts_of(passes: int, kind: torch.dtype = torch.double) -> list[Tensor]:
    shapes = [(V, R), (V,), *[(N, M, R), (N, M)] * passes]
    return [torch.randn(*shape, dtype=kind, requires_grad=True) for shape in shapes]


def by_sweep(parts: list[Tensor], labels: Tensor, smoothing: float, distance: float) -> Tensor:
    weight, bias, *rest = parts
    sides = [(features, shares.log_softmax(-1)) for features, shares in zip(rest[::2], rest[1::2], strict=True)]
    return mixture_loss(sides, weight, bias, labels, smoothing, distance)


def by_torch(parts: list[Tensor], labels: Tensor, smoothing: float, distance: float) -> Tensor:
    weight, bias, *rest = parts
    logs = [
        (functional.linear(features, weight, bias).log_softmax(-1) + shares.log_softmax(-1).unsqueeze(-1)).logsumexp(1)
        for features, shares in zip(rest[::2], rest[1::2], strict=True)
    ]
    wanted = (1 - smoothing) * functional.one_hot(labels, V) + smoothing / V
    loss = -sum((wanted * log).sum() for log in logs) / len(logs)
    for one, other in ((logs[0], logs[-1]), (logs[-1], logs[0])):
        loss = loss + distance * functional.kl_div(one, other, reduction="sum", log_target=True)
    return torch.as_tensor(loss)


@pytest.mark.parametrize(
    ("passes", "smoothing", "distance"), [(1, 0.0, 0.0), (1, 0.1, 0.0), (2, 0.1, 1.5), (2, 0, 0.5)]
)
def test_it_is_the_loss_of_the_sum(
    passes: int, smoothing: float, distance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 5 * V * M * passes)  # five rows at once, two of them become probabilities
    monkeypatch.setattr(module, "CACHED", 2 * V * M * passes)
    monkeypatch.setattr(module, "LEAST_ROWS", 1)
    parts, labels = parts_of(passes), torch.randint(0, V, (N,))
    ours, theirs = by_sweep(parts, labels, smoothing, distance), by_torch(parts, labels, smoothing, distance)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(3 * ours, parts), torch.autograd.grad(3 * theirs, parts))


def test_what_is_hardly_possible_is_finite() -> None:
    """Logits and shares further apart than a 32-bit probability can say."""
    features = torch.tensor([[[500.0], [-500.0]]], requires_grad=True)
    shares = torch.tensor([[0.0, -69.0]], requires_grad=True)
    loss = mixture_loss([(features, shares)], torch.tensor([[1.0], [-1.0]]), torch.zeros(2), torch.tensor([1]), 0.1)
    loss.backward()
    assert loss.isfinite()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in (features, shares))


def test_in_bfloat16_it_is_close() -> None:
    parts, labels = parts_of(2, torch.float32), torch.randint(0, V, (N,))
    exact = by_sweep(parts, labels, 0.1, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        rough = by_sweep(parts, labels, 0.1, 0.5)
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.0)
    for one, other in zip(torch.autograd.grad(rough, parts), torch.autograd.grad(exact, parts), strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert (one - other).norm() < 0.03 * other.norm()


def test_no_token_costs_nothing() -> None:
    weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((V, R), (V,)))
    sides = [(torch.randn(0, M, R, requires_grad=True), torch.randn(0, M, requires_grad=True))]
    loss = mixture_loss(sides, weight, bias, torch.zeros(0, dtype=torch.long), 0.1)
    assert loss.item() == 0
    assert all(not gradient.any() for gradient in torch.autograd.grad(loss, (weight, bias, *sides[0])))
