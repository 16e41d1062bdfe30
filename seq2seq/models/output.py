"""Output: features to the probabilities of the next token, and to the loss."""

from collections.abc import Callable
from functools import partial

import torch
from entmax import entmax15_loss, sparsemax_loss
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seq2seq.errors import InputError
from seq2seq.models.loss import CHUNK, LARGE, vocabulary_loss
from seq2seq.models.scorer import Normalizer, distribution

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

    def log_probs(self, features: Tensor) -> Tensor:
        """features (..., R) to log-probabilities (..., V) in nats, in at least 32 bits."""
        logits = self.layer(features)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.normalizer == "softmax":
            found: Tensor = logits.log_softmax(-1)
            return found
        return distribution(logits, self.normalizer).clamp_min(TINY).log()

    def loss(self, features: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Summed over N tokens: cross-entropy in nats, or the loss that goes with the sparse output (eq. 7 there).

        features (N, R), labels (N,); smoothing: share of probability spread over the vocabulary, softmax only.
        """
        if self.normalizer == "softmax":
            return vocabulary_loss(features, self.layer.weight, self.layer.bias, labels, smoothing)
        function = sparsemax_loss if self.normalizer == "sparsemax" else entmax15_loss
        logits = self.layer(features)
        return torch.as_tensor(function(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels)).sum()

    def label_log_probs(self, features: Tensor, labels: Tensor) -> Tensor:
        """features (N, R), labels (N,) to the labels' log-probabilities (N,); some tokens' logits are held at once."""
        rows = max(1, CHUNK.get(features.device.type, LARGE) // len(self.layer.weight))
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
