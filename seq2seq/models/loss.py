"""Cross-entropy over a vocabulary without ever holding all logits."""

from typing import Any

import torch
from torch import Tensor

CHUNK = {"cpu": 1 << 22}
"""Logits held at once, by device: on a processor few enough for its cache and for malloc to reuse the block."""

LARGE = 1 << 27
"""Logits held at once on any other device."""


def vocabulary_loss(features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Summed cross-entropy in nats of softmax(features weight^T + bias) against smoothed labels.

    features (N, R), weight (V, R), bias (V,), labels (N,); smoothing spreads that share of the probability evenly over
    the vocabulary (Szegedy et al. 2016, sec. 7). Equal to torch's cross_entropy(..., reduction="sum",
    label_smoothing=smoothing) and its gradients, in less time and memory: the gradient of each chunk of logits is
    taken while it is at hand.
    """
    loss: Tensor = VocabularyLoss.apply(features, weight, bias, labels, smoothing)  # type: ignore[no-untyped-call]
    return loss


class VocabularyLoss(torch.autograd.Function):
    """Loss and all gradients in one pass; `backward` only scales them."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        device = features.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else features.dtype
        with torch.autocast(device, enabled=False):
            loss, gradients = chunked(features.to(kind), weight.to(kind), bias, labels, smoothing)
        ctx.save_for_backward(*gradients)
        ctx.kinds = features.dtype, weight.dtype, bias.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:
        scaled = (gradient.mul(scale).to(kind) for gradient, kind in zip(ctx.saved_tensors, ctx.kinds, strict=True))
        return (*scaled, None, None)


def chunked(
    features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, smoothing: float
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The loss, and its gradients by features, weight and bias."""
    exact = torch.promote_types(bias.dtype, torch.float32)
    loss = torch.zeros((), dtype=exact, device=features.device)
    by_features = torch.empty_like(features)
    by_weight, by_bias = torch.zeros_like(weight, dtype=exact), torch.zeros_like(bias, dtype=exact)
    vocabulary = len(weight)
    rows = max(1, CHUNK.get(features.device.type, LARGE) // vocabulary)
    transposed, shift = weight.t(), bias.to(features.dtype)
    for some, known, answer in zip(*(torch.split(one, rows) for one in (features, labels, by_features)), strict=True):
        known = known.unsqueeze(1)
        log_probs = torch.addmm(shift, some, transposed).to(exact).log_softmax(-1)  # (rows, V)
        loss -= (1 - smoothing) * log_probs.gather(1, known).sum()
        if smoothing:
            loss -= smoothing / vocabulary * log_probs.sum()
        slope = log_probs.exp_()  # softmax minus the smoothed label
        if smoothing:
            slope -= smoothing / vocabulary
        slope.scatter_add_(1, known, torch.full_like(known, smoothing - 1, dtype=exact))
        by_bias += slope.sum(0)
        slope = slope.to(features.dtype)
        torch.mm(slope, weight, out=answer)
        if by_weight.dtype == slope.dtype:
            by_weight.addmm_(slope.t(), some)
        else:
            by_weight += slope.t() @ some
    return loss, (by_features, by_weight, by_bias)
