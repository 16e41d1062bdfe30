"""Output: features to the probabilities of the next token, and to the loss."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from entmax import entmax15_loss, sparsemax_loss
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seq2seq.errors import InputError
from seq2seq.models.attention import Normalizer, distribution
from seq2seq.models.cells import at_least_32_bits
from seq2seq.models.products import mapped, product

TINY = 1e-30
"""Stands for a probability of zero where its logarithm is needed."""


class Output(nn.Module):
    """The output layer."""

    def __init__(
        self, size: int, vocabulary_size: int, normalizer: Normalizer = "softmax", weight: nn.Parameter | None = None
    ) -> None:
        """size: of the features, R; weight: a matrix (V, R) to share (Press and Wolf 2017), else None."""
        super().__init__()
        self.normalizer = normalizer
        self.layer = nn.Linear(size, vocabulary_size)
        if weight is not None:
            if weight.shape != self.layer.weight.shape:
                raise InputError(
                    f"model.decoder.tied_output needs features as long as a token's vector, {weight.shape[1]}, not "
                    f"{size}; set model.decoder.readout_size to that length, or to null for a readout other than none"
                )
            self.layer.weight = weight

    def logits(self, features: Tensor) -> Tensor:
        """features (..., R) to logits (..., V), in at least 32 bits."""
        return at_least_32_bits(mapped(self.layer, features))

    def log_probs(self, features: Tensor) -> Tensor:
        """features (..., R) to log-probabilities (..., V) in nats, in at least 32 bits."""
        logits = self.logits(features)
        if self.normalizer == "softmax":
            return logits.log_softmax(-1)
        return distribution(logits, self.normalizer).clamp_min(TINY).log()

    def loss(self, features: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Summed over N tokens: cross-entropy in nats, or the loss that goes with the sparse output (eq. 7 there).

        features (N, R), labels (N,); smoothing: share of probability spread over the vocabulary, softmax only.
        """
        if self.normalizer == "softmax":
            return vocabulary_loss(features, self.layer.weight, self.layer.bias, labels, smoothing)
        function = sparsemax_loss if self.normalizer == "sparsemax" else entmax15_loss
        return torch.as_tensor(function(at_least_32_bits(self.layer(features)), labels)).sum()

    def label_log_probs(self, features: Tensor, labels: Tensor) -> Tensor:
        """features (N, R), labels (N,) to the labels' log-probabilities (N,); some tokens' logits are held at once."""
        rows = max(1, (CHUNK if features.device.type == "cpu" else LARGE) // len(self.layer.weight))
        pieces = zip(torch.split(features, rows), torch.split(labels, rows), strict=True)
        find: Callable[[Tensor, Tensor], Tensor] = self._of_labels
        if torch.is_grad_enabled():
            find = partial(checkpoint, find, use_reentrant=False)
        return torch.cat([find(*piece) for piece in pieces])

    def _of_labels(self, features: Tensor, labels: Tensor) -> Tensor:
        return self.log_probs(features).gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def mixed(vocabulary: Tensor, gate: Tensor, copied: Tensor) -> Tensor:
    """log(p exp(vocabulary) + (1 - p) copied) with p = sigmoid(gate) (See et al. 2017, eq. 9).

    Log-probabilities, the logits of generating, and the probabilities by copying, of shapes that broadcast.
    """
    gate = gate.to(vocabulary.dtype)
    by_copying = copied.to(vocabulary.dtype).clamp_min(TINY).log() + nn.functional.logsigmoid(-gate)
    return torch.logaddexp(vocabulary + nn.functional.logsigmoid(gate), by_copying)


ReadoutKind = Literal["tanh", "maxout", "linear", "none"]


class Readout(nn.Module):
    """A map with tanh (Luong et al. 2015, eq. 5), with maxout over pairs (Goodfellow et al. 2013), or none."""

    def __init__(self, kind: ReadoutKind | None, read: int, size: int, alone: bool) -> None:
        """read: length of what is given; size: of what comes out; alone: nothing but the state is given."""
        super().__init__()
        self.kind = kind or ("none" if alone and read == size else "tanh")
        self.size = read if self.kind == "none" else size
        self.map = None if self.kind == "none" else nn.Linear(read, 2 * size if self.kind == "maxout" else size)

    def forward(self, read: Tensor) -> Tensor:
        """(B, T, read) to (B, T, size)."""
        if self.map is None:
            return read
        found = mapped(self.map, read)
        if self.kind == "maxout":
            return found.view(*found.shape[:-1], self.size, 2).amax(-1)
        return found.tanh() if self.kind == "tanh" else found


CHUNK = 1 << 22
"""Logits that a processor holds at once: few enough for malloc to reuse the block."""

LARGE = 1 << 27
"""Logits held at once on any other device."""

LEAST_ROWS = 256
"""Tokens whose logits are held at once however large the vocabulary: for each such chunk the gradient of the output
matrix is read and written once, which fewer tokens are not worth."""

CACHED = 1 << 18
"""Of these logits, how many become probabilities and gradients at once: what the cache keeps."""

WIDE = 4096
"""Rows of the output matrix whose gradient is added at once."""


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
        kind = product_kind(features)
        with torch.autocast(device, enabled=False):
            taken = in_cache if device == "cpu" else chunked
            loss, gradients = taken(features.to(kind), weight.to(kind), bias, labels, smoothing)
        ctx.save_for_backward(*gradients)
        ctx.kinds = features.dtype, weight.dtype, bias.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:
        return (*scaled_gradients(ctx, scale), None, None)


def product_kind(features: Tensor) -> torch.dtype:
    """The kind of numbers in which features are multiplied: that of autocast where it is on."""
    device = features.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else features.dtype


def scaled_gradients(ctx: Any, scale: Tensor) -> list[Tensor]:
    """What a loss has saved that computed its gradients forwards, times the gradient by the loss."""
    return [gradient.mul(scale).to(kind) for gradient, kind in zip(ctx.saved_tensors, ctx.kinds, strict=True)]


def in_cache(
    features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, smoothing: float
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The loss, and its gradients by features, weight and bias, on a processor."""
    exact = torch.promote_types(bias.dtype, torch.float32)
    loss = torch.zeros((), dtype=exact)
    by_features = torch.empty_like(features)
    by_weight, by_bias = torch.empty_like(weight, dtype=exact), torch.zeros_like(bias, dtype=exact)
    vocabulary, first = len(weight), True
    rows = max(LEAST_ROWS, CHUNK // vocabulary)
    few = max(1, CACHED // vocabulary)
    for some, known, answer in zip(
        *(torch.split(rows_of, rows) for rows_of in (features, labels, by_features)), strict=True
    ):
        logits = product(some, weight.t())  # (rows, V)
        for part, mine in zip(torch.split(logits, few), torch.split(known.unsqueeze(1), few), strict=True):
            own_loss, slope = softmax_loss(part.to(exact).add_(bias), mine, smoothing)
            loss += own_loss
            by_bias += slope.sum(0)
            if slope is not part:
                part.copy_(slope)
        answer.copy_(product(logits, weight))
        add_products(by_weight, logits, some, first)
        first = False
    return loss, (by_features, by_weight.zero_() if first else by_weight, by_bias)


def add_products(sums: Tensor, slopes: Tensor, features: Tensor, first: bool) -> None:
    """Add slopes^T features to sums (V, R), or put it there first; slopes (N, V), features (N, R)."""
    for some, own in zip(torch.split(sums, WIDE), torch.split(slopes, WIDE, 1), strict=True):
        piece = product(own.t(), features)
        some.copy_(piece) if first else some.add_(piece)


def softmax_loss(logits: Tensor, known: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """The summed loss of logits (N, V) and labels (N, 1), and its gradient by the logits, which takes their place."""
    vocabulary = logits.shape[-1]
    # By single operations, each over what the cache holds: a quarter of the time of torch's log_softmax and exp.
    logits -= logits.amax(-1, keepdim=True)
    own = (1 - smoothing) * logits.gather(1, known).sum()
    if smoothing:
        own += smoothing / vocabulary * logits.sum()
    sums = logits.exp_().sum(-1, keepdim=True)
    loss = sums.log().sum() - own
    slope = logits.div_(sums)  # softmax minus the smoothed label
    if smoothing:
        slope -= smoothing / vocabulary
    slope.scatter_add_(1, known, torch.full_like(known, smoothing - 1, dtype=slope.dtype))
    return loss, slope


def chunked(
    features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, smoothing: float
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The same in few kernels, on any other device."""
    exact = torch.promote_types(bias.dtype, torch.float32)
    loss = torch.zeros((), dtype=exact, device=features.device)
    by_features = torch.empty_like(features)
    by_weight, by_bias = torch.zeros_like(weight, dtype=exact), torch.zeros_like(bias, dtype=exact)
    vocabulary = len(weight)
    rows = max(1, LARGE // vocabulary)
    transposed, shift = weight.t(), bias.to(features.dtype)
    for some, known, answer in zip(
        *(torch.split(rows_of, rows) for rows_of in (features, labels, by_features)), strict=True
    ):
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
