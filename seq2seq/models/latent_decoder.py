"""Decoder over latent alignments: source tokens predict by themselves, their probabilities are summed.

Soft attention predicts from the mean of source states. Here the likeliest tokens of the source predict one by one, each
from its own state, and what attention leaves to the others predicts from the mean, as usual. The loss is the log of the
sum (Deng et al. 2018, over all tokens; Shankar et al. 2018, over the likeliest, without a rest). In shapes M stands for
the alternatives: those tokens and the rest.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from seq2seq.models.cells import picked
from seq2seq.models.decoder import Decoder, DecoderOutputs, SourceMemory, State, StepOutputs, present
from seq2seq.models.mixture_loss import mixture_loss
from seq2seq.models.output import TINY

LEAST = 1e-6
"""The least share of the rest, which rounding would make negative."""


class Alternatives(NamedTuple):
    """From where the next token may be predicted."""

    log_probs: Tensor
    """(B, T, M) in nats, the rest last."""
    chosen: Tensor
    """(B, T, M - 1, S) one for the source token of each alternative but the rest, else zero."""


class LatentDecoder(Decoder):
    """A decoder whose `latent_alignments` likeliest source tokens predict one by one."""

    def alternatives(self, weights: Tensor) -> Alternatives:
        """Of weights (B, T, S) of the attention."""
        count, size = self.options.latent_alignments, weights.shape[-1]
        top, positions = functional.pad(weights, (0, count)).topk(count, -1)  # short sources have too few tokens
        shares = torch.cat([top, (1 - top.sum(-1, keepdim=True)).clamp_min(LEAST)], -1)
        log_probs = (shares / shares.sum(-1, keepdim=True)).clamp_min(TINY).log()
        return Alternatives(log_probs, positions.unsqueeze(-1) == torch.arange(size, device=positions.device))

    def outputs(self, seen: StepOutputs, state: State) -> DecoderOutputs:
        """What the output layer needs, with features of all alternatives (B, T, M, R)."""
        if self.attention is None or state.source.memory is None:
            raise TypeError("a latent alignment needs the source's states")
        usual = super().outputs(seen, state)
        chosen = self.alternatives(present(seen.weights)).chosen  # (B, T, M - 1, S)
        context, _ = self.attention.read(chosen.flatten(1, 2), state.source.memory)
        count = chosen.shape[2]
        embedded, hidden = (each.repeat_interleave(count, 1) for each in (seen.embedded, seen.hidden))
        features = self.features(StepOutputs(embedded, hidden, context, None), state.source)
        features = features.view(len(features), -1, count, features.shape[-1])
        return usual._replace(features=torch.cat([features, usual.features.unsqueeze(2)], 2))

    def generated(self, outputs: DecoderOutputs) -> Tensor:
        shares = self.alternatives(present(outputs.weights)).log_probs.exp()
        chances = self.output.logits(outputs.features).softmax(-1)  # (B, T, M, V)
        # A product with the shares takes half the time of a logsumexp over log_softmax; autocast would round it.
        with torch.autocast(shares.device.type, enabled=False):
            return (shares.unsqueeze(-2) @ chances).squeeze(-2).clamp_min(TINY).log()

    def generated_labels(self, outputs: DecoderOutputs, labels: Tensor, real: Tensor) -> Tensor:
        features, shares = self.sides(outputs, real)
        each = picked(labels, real).repeat_interleave(shares.shape[1])
        return (self.output.label_log_probs(features.flatten(0, 1), each).view_as(shares) + shares).logsumexp(-1)

    def looked_at(self, outputs: DecoderOutputs, source: SourceMemory, labels: Tensor) -> Tensor | None:
        """The probabilities (B, T, S) that labels (B, T) come from each source token (Shankar and Sarawagi 2019)."""
        weights = present(outputs.weights)
        shares, chosen = self.alternatives(weights)
        every = labels.unsqueeze(-1).expand_as(shares)
        each = self.output.label_log_probs(outputs.features.flatten(0, 2), every.flatten()).view_as(shares)
        found = (each + shares).exp()
        others = weights.masked_fill(chosen.any(2), 0.0)
        others = others / others.sum(-1, keepdim=True).clamp_min(TINY)
        joint = (found[..., :-1].unsqueeze(-1) * chosen).sum(2) + found[..., -1:] * others
        if outputs.gate is not None:
            generating = outputs.gate.to(joint.dtype).sigmoid().unsqueeze(-1)
            same = source.ids.unsqueeze(1) == labels.unsqueeze(-1)
            joint = generating * joint + (1 - generating) * weights * same
        return joint / joint.sum(-1, keepdim=True).clamp_min(TINY)

    def sides(self, outputs: DecoderOutputs, real: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, M, R) and log-probabilities (N, M) of the alternatives at positions real (N,)."""
        shares = self.alternatives(picked(present(outputs.weights), real)).log_probs
        return picked(outputs.features, real), shares

    def loss(
        self, outputs: DecoderOutputs, source: SourceMemory, labels: Tensor, real: Tensor, smoothing: float
    ) -> Tensor:
        """Sum over the tokens of labels (B, T) at positions real (N,): minus their log-probability, in nats."""
        if outputs.gate is not None:
            return super().loss(outputs, source, labels, real, smoothing)
        return self.mixture_loss([outputs], labels, real, smoothing)

    def loss_of_two(
        self, one: DecoderOutputs, two: DecoderOutputs, labels: Tensor, real: Tensor, smoothing: float, distance: float
    ) -> Tensor:
        return self.mixture_loss([one, two], labels, real, smoothing, distance)

    def mixture_loss(
        self, passes: list[DecoderOutputs], labels: Tensor, real: Tensor, smoothing: float, distance: float = 0.0
    ) -> Tensor:
        """The loss of one pass, or of two that shall predict the same."""
        layer, sides = self.output.layer, [self.sides(outputs, real) for outputs in passes]
        return mixture_loss(sides, layer.weight, layer.bias, picked(labels, real), smoothing, distance)
