"""Two passes at once: the loss and its gradients are those of torch's cross-entropy and divergences."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seq2seq.models import paired_loss as module
from seq2seq.models.paired_loss import paired_loss

SIZES = ((10, 4), (10, 4), (13, 4), (13,))


def by_torch(parts: list[Tensor], labels: Tensor, smoothing: float, distance: float) -> Tensor:
    first, second, weight, bias = parts
    logits = [functional.linear(side, weight, bias) for side in (first, second)]
    losses = [functional.cross_entropy(one, labels, reduction="sum", label_smoothing=smoothing) for one in logits]
    one, other = (side.log_softmax(-1) for side in logits)
    apart = [functional.kl_div(*pair, reduction="sum", log_target=True) for pair in ((one, other), (other, one))]
    return sum(losses) / 2 + distance * sum(apart)  # type: ignore[return-value]


@pytest.mark.parametrize(("smoothing", "distance"), [(0.0, 0.5), (0.1, 1.5), (0.1, 0.0)])
def test_it_is_cross_entropy_and_divergences(
    smoothing: float, distance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 5 * 13)  # five rows at once, of which two at once become probabilities
    monkeypatch.setattr(module, "CACHED", 2 * 2 * 13)
    monkeypatch.setattr(module, "LEAST_ROWS", 1)
    parts = [torch.randn(*size, dtype=torch.double, requires_grad=True) for size in SIZES]
    labels = torch.randint(0, 13, (10,))
    ours = paired_loss(*parts, labels, smoothing, distance)
    theirs = by_torch(parts, labels, smoothing, distance)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(3 * ours, parts), torch.autograd.grad(3 * theirs, parts))
    assert torch.autograd.gradcheck(lambda *given: paired_loss(*given, labels, smoothing, distance), parts)


def test_what_both_passes_are_sure_of_is_finite() -> None:
    """Each sure of another token, by more than a 32-bit probability can say."""
    parts = [torch.tensor([[500.0]]), torch.tensor([[-500.0]]), torch.tensor([[1.0], [-1.0]]), torch.zeros(2)]
    for part in parts[:2]:
        part.requires_grad_()
    ours = paired_loss(*parts, torch.tensor([1]), 0.0, 0.5)
    ours.backward()
    assert ours.item() == 500 + 0.5 * 2 * 1000
    assert all(part.grad is not None and part.grad.isfinite().all() for part in parts[:2])


def test_in_bfloat16_it_is_close() -> None:
    parts = [torch.randn(*size, requires_grad=True) for size in ((50, 16), (50, 16), (40, 16), (40,))]
    labels = torch.randint(0, 40, (50,))
    exact = paired_loss(*parts, labels, 0.1, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        rough = paired_loss(*parts, labels, 0.1, 0.5)
    torch.testing.assert_close(rough, exact, rtol=0.01, atol=0.0)
    for one, other in zip(torch.autograd.grad(rough, parts), torch.autograd.grad(exact, parts), strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert (one - other).norm() < 0.02 * other.norm()


def test_no_token_costs_nothing() -> None:
    parts = [torch.randn(*size, requires_grad=True) for size in ((0, 4), (0, 4), (13, 4), (13,))]
    ours = paired_loss(*parts, torch.zeros(0, dtype=torch.long), 0.1, 0.5)
    assert ours.item() == 0
    assert all(not gradient.any() for gradient in torch.autograd.grad(ours, parts))
