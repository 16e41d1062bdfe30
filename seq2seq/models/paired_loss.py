"""The loss of two passes over the same tokens that shall predict the same, in one sweep over the vocabulary."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seq2seq.models.output import CACHED, CHUNK, LARGE, LEAST_ROWS, add_products, product_kind, scaled_gradients
from seq2seq.models.products import product


def paired_loss(
    first: Tensor, second: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, smoothing: float, distance: float
) -> Tensor:
    """The mean of both cross-entropies, and distance times KL(first || second) + KL(second || first), summed, in nats.

    first, second: features (N, R) of N tokens under different dropout masks, each mapped to softmax(features weight^T
    + bias), weight (V, R), bias (V,); labels (N,); smoothing spreads that share of the labels' probability evenly over
    the vocabulary (Liang et al. 2021, eq. 1 to 4).
    """
    loss: Tensor = PairedLoss.apply(  # type: ignore[no-untyped-call]
        first, second, weight, bias, labels, smoothing, distance
    )
    return loss


class PairedLoss(torch.autograd.Function):
    """Loss and all gradients in one pass; `backward` only scales them."""

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, smoothing: float,
        distance: float,
    ) -> Tensor:  # fmt: skip
        device = first.device.type
        kind = product_kind(first)
        with torch.autocast(device, enabled=False):
            pair = Pair(first.to(kind), second.to(kind))
            loss, gradients = swept(pair, weight.to(kind), bias, labels, (smoothing, distance))
        ctx.save_for_backward(*gradients)
        ctx.kinds = first.dtype, second.dtype, weight.dtype, bias.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:
        return (*scaled_gradients(ctx, scale), None, None, None)


class Pair(NamedTuple):
    """The same of both passes."""

    first: Tensor
    second: Tensor

    def split(self, rows: int) -> Iterator["Pair"]:
        """Some rows of both at a time."""
        return map(Pair, torch.split(self.first, rows), torch.split(self.second, rows))


def swept(
    features: Pair, weight: Tensor, bias: Tensor, labels: Tensor, weights: tuple[float, float]
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The loss, and its gradients by both features, weight and bias; weights: smoothing and distance."""
    exact, vocabulary = torch.promote_types(bias.dtype, torch.float32), len(weight)
    host = bias.device.type == "cpu"
    rows = max(LEAST_ROWS, CHUNK // vocabulary) if host else max(1, LARGE // (4 * vocabulary))
    few = max(1, CACHED // (2 * vocabulary)) if host else rows
    loss = torch.zeros((), dtype=exact, device=bias.device)
    answers = Pair(*(torch.empty_like(side) for side in features))
    by_weight, by_bias = torch.zeros_like(weight, dtype=exact), torch.zeros_like(bias, dtype=exact)
    for some, answer, known in zip(
        features.split(rows), answers.split(rows), torch.split(labels.unsqueeze(1), rows), strict=True
    ):
        logits = Pair(*(product(side, weight.t()) for side in some))
        for part, mine in zip(logits.split(few), torch.split(known, few), strict=True):
            own, slopes = pair_loss(Pair(*(side.to(exact) + bias for side in part)), mine, *weights)
            loss += own
            for slope, side in zip(slopes, part, strict=True):
                by_bias += slope.sum(0)
                side.copy_(slope)
        for slope, side, gradient in zip(logits, some, answer, strict=True):
            gradient.copy_(product(slope, weight))
            add_products(by_weight, slope, side, first=False)
    return loss, (*answers, by_weight, by_bias)


def pair_loss(logits: Pair, known: Tensor, smoothing: float, distance: float) -> tuple[Tensor, Pair]:
    """The summed loss of two logits (N, V) for the labels (N, 1), and its gradients by the logits."""
    one, other = (side.log_softmax(-1) for side in logits)
    sure, also = one.exp(), other.exp()
    apart = one - other
    ahead, back = ((side * apart).sum(-1, keepdim=True) for side in (sure, also))  # the divergences are ahead, -back
    likely = (1 - smoothing) * (one.gather(1, known) + other.gather(1, known)).sum()
    if smoothing:
        likely = likely + smoothing / logits.first.shape[-1] * (one.sum() + other.sum())
    loss = distance * (ahead - back).sum() - likely / 2
    first = sure * (apart - ahead + 1).mul_(distance).add_(0.5) - distance * also
    second = also * (back - apart + 1).mul_(distance).add_(0.5) - distance * sure
    for slope in (first, second):  # minus half the smoothed label
        if smoothing:
            slope -= smoothing / (2 * logits.first.shape[-1])
        slope.scatter_add_(1, known, torch.full_like(known, (smoothing - 1) / 2, dtype=slope.dtype))
    return loss, Pair(first, second)
