"""The loss of what several alternatives predict, in one sweep over the vocabulary, and of two passes (R-Drop)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seq2seq.models.output import CACHED, CHUNK, LARGE, LEAST_ROWS, TINY, add_products, product_kind, scaled_gradients
from seq2seq.models.products import product


def mixture_loss(
    sides: Sequence[tuple[Tensor, Tensor]],
    weight: Tensor,
    bias: Tensor,
    labels: Tensor,
    smoothing: float,
    distance: float = 0.0,
) -> Tensor:
    """Summed cross-entropy in nats of P = sum over m of exp(shares_m) softmax(features_m weight^T + bias).

    sides: features (N, M, R) and shares (N, M), log-probabilities of the alternatives, of one pass, or of two under
    different dropout masks: then the mean of both cross-entropies, and distance times KL(first || second) +
    KL(second || first) (Liang et al. 2021, eq. 1 to 4). weight (V, R), bias (V,), labels (N,); smoothing spreads that
    share of the labels' probability evenly over the vocabulary.
    """
    features, shares = (torch.stack(each) for each in zip(*sides, strict=True))
    loss: Tensor = MixtureLoss.apply(  # type: ignore[no-untyped-call]
        features, shares, weight, bias, labels, smoothing, distance
    )
    return loss


class MixtureLoss(torch.autograd.Function):
    """Loss and all gradients in one pass; `backward` only scales them."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, shares: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, smoothing: float,
        distance: float,
    ) -> Tensor:  # fmt: skip
        device = features.device.type
        kind = product_kind(features)
        with torch.autocast(device, enabled=False):
            given = features.to(kind), shares.to(bias.dtype), weight.to(kind), bias
            loss, gradients = swept(*given, labels, (smoothing, distance))
        ctx.save_for_backward(*gradients)
        ctx.kinds = features.dtype, shares.dtype, weight.dtype, bias.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:
        return (*scaled_gradients(ctx, scale), None, None, None)


def swept(
    features: Tensor, shares: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, weights: tuple[float, float]
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The loss, and its gradients by features (P, N, M, R), shares (P, N, M), weight and bias of P passes."""
    exact, vocabulary = torch.promote_types(bias.dtype, torch.float32), len(weight)
    count = vocabulary * features.shape[0] * features.shape[2]  # logits of a token
    host = bias.device.type == "cpu"
    rows = max(LEAST_ROWS, CHUNK // count) if host else max(1, LARGE // (4 * count))
    few = max(1, CACHED // count) if host else rows
    loss = torch.zeros((), dtype=exact, device=bias.device)
    by_features, by_shares = torch.empty_like(features), torch.empty_like(shares)
    by_weight, by_bias = torch.zeros_like(weight, dtype=exact), torch.zeros_like(bias, dtype=exact)
    tokens = features, shares, labels.view(1, -1, 1), by_features, by_shares
    for some, share, known, answer, by_share in zip(*(torch.split(each, rows, 1) for each in tokens), strict=True):
        flat = some.flatten(0, 2)
        logits = product(flat, weight.t()).view(*some.shape[:3], vocabulary)
        parts = logits, share, known, by_share
        for part, chance, mine, by_chance in zip(*(torch.split(each, few, 1) for each in parts), strict=True):
            own, slope, by_log = mixed_loss(part.to(exact) + bias, chance.to(exact), mine[0], *weights)
            loss += own
            by_chance.copy_(by_log)
            by_bias += slope.sum((0, 1, 2))
            part.copy_(slope)
        slopes = logits.flatten(0, 2)
        answer.copy_(product(slopes, weight).view_as(answer))
        add_products(by_weight, slopes, flat, first=False)
    return loss, (by_features, by_shares, by_weight, by_bias)


def mixed_loss(
    logits: Tensor, shares: Tensor, known: Tensor, smoothing: float, distance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The summed loss of logits (P, N, M, V), shares (P, N, M) and labels (N, 1), and its gradients by both."""
    passes, vocabulary = len(logits), logits.shape[-1]
    logits -= logits.amax(-1, keepdim=True)
    both = logits.exp_()
    both *= (shares.exp() / both.sum(-1)).unsqueeze(-1)  # the probability of an alternative and its token
    sums = both.sum(2).clamp_min_(TINY)  # (P, N, V)
    logs = sums.log()
    wanted = torch.full_like(sums[0], smoothing / vocabulary).scatter_add_(
        1, known, torch.full_like(known, 1 - smoothing, dtype=sums.dtype)
    )
    loss = -(wanted * logs).sum() / passes
    slope = wanted.div(sums).div_(-passes)  # by the sums
    if distance:
        apart = logs[0] - logs[1]
        loss = loss + distance * ((sums[0] - sums[1]) * apart).sum()
        slope[0] += distance * (apart + 1 - sums[1] / sums[0])
        slope[1] += distance * (1 - apart - sums[0] / sums[1])
    by_shares = (both @ slope.unsqueeze(-1)).squeeze(-1)  # (P, N, M)
    rest = (by_shares / shares.exp()).unsqueeze(-1)
    return loss, both.mul_(slope.unsqueeze(2) - rest), by_shares
