"""The recurrence h_t = a_t h_{t-1} + (1 - a_t) n_t over all steps, where a_t is made of gates that do not see h.

So is that of minGRU, a = 1 - sigmoid(z), and of minLSTM, a = f / (f + i) (Feng et al. 2024). On a processor whose cache
is small and fast, gates are made for some steps at once and the few operations that follow one another in time run over
them while they are there; other devices join all steps in log2(T) passes (Hillis and Steele 1986).
"""

from typing import Any

import torch
from torch import Tensor

CHUNK = 1 << 16
"""Units times steps at once on a processor."""

LOWEST = -80.0
"""Logits of gates below that count as that, so that f + i never is zero."""


def gated_recurrence(logits: Tensor, first: Tensor) -> Tensor:
    """logits (B, T, H + H) of z and n, or (B, T, H + H + H) of i, f and n; first h_0 (B, H) to h_1 ... h_T (B, T, H).

    Both are in 32 bits or better.
    """
    states: Tensor = GatedRecurrence.apply(logits, first)  # type: ignore[no-untyped-call]
    return states


def gated_step(logits: Tensor, state: Tensor) -> Tensor:
    """The same for one step: logits (B, H + H) or (B, H + H + H), state (B, H) to the next state (B, H)."""
    kept, new, _ = parts_of(logits, state.shape[-1])
    return torch.lerp(new, state, kept)


def parts_of(logits: Tensor, size: int) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """The share a of the state that stays, the new value n, and the gates i and f where there are two."""
    gates, new = torch.split(logits, [logits.shape[-1] - size, size], -1)
    if gates.shape[-1] == size:
        return torch.sigmoid(-gates), new, ()
    into, forget = torch.split(gates.clamp(min=LOWEST).sigmoid_(), size, -1)
    return forget / (forget + into), new, (into, forget)


class GatedRecurrence(torch.autograd.Function):
    """The gradient is a recurrence of the same kind, backwards in time; gates are made again for it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, first: Tensor) -> Tensor:
        states, last = first.new_empty(*logits.shape[:2], first.shape[-1]), first
        for some in chunks(states):
            kept, new, _ = parts_of(logits[:, some], first.shape[-1])
            last = scan(kept, new, last, states[:, some])
        ctx.save_for_backward(logits, states, first)
        return states

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        logits, states, first = ctx.saved_tensors
        by_logits = torch.empty_like(logits)
        carried = torch.zeros_like(first)  # dLoss/dh from all that comes later
        for some in reversed(chunks(states)):
            kept, new, gates = parts_of(logits[:, some], first.shape[-1])
            before = states[:, some.start - 1 : some.stop - 1] if some.start else shifted(states[:, some], first)
            by_state, carried = scan_back(kept, slope[:, some], carried)
            *by_gates, by_new = torch.split(by_logits[:, some], first.shape[-1], -1)
            torch.addcmul(by_state, by_state, kept, value=-1, out=by_new)
            by_share = (before - new).mul_(kept).mul_(by_new)  # by the logit of a
            if gates:  # of log f - log i
                torch.mul(by_share, gates[0], out=by_gates[0]).sub_(by_share)
                torch.addcmul(by_share, by_share, gates[1], value=-1, out=by_gates[1])
            else:
                torch.neg(by_share, out=by_gates[0])
        return by_logits, carried


def shifted(states: Tensor, first: Tensor) -> Tensor:
    """The state before each of the steps (B, T, H)."""
    return torch.cat((first.unsqueeze(1), states[:, :-1]), 1)


def in_turn(tensor: Tensor) -> bool:
    """Whether its device takes one step after the other."""
    return tensor.device.type == "cpu"


def chunks(states: Tensor) -> list[slice]:
    """Which steps of (B, T, H) are taken at once."""
    steps = states.shape[1]
    size = max(1, CHUNK * steps // states.numel()) if in_turn(states) else steps
    return [slice(begin, min(begin + size, steps)) for begin in range(0, steps, size)]


def scan(kept: Tensor, new: Tensor, first: Tensor, out: Tensor) -> Tensor:
    """h_t = kept_t h_{t-1} + (1 - kept_t) new_t into out (B, T, H); returns the last."""
    if in_turn(kept):
        for a, n, state in zip(kept.unbind(1), new.unbind(1), out.unbind(1), strict=True):
            torch.lerp(n, first, a, out=state)
            first = state
        return first
    out.copy_(doubled(kept, (1 - kept) * new, first))
    return out[:, -1]


def scan_back(kept: Tensor, slope: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
    """g_t = slope_t + kept_{t+1} g_{t+1} (B, T, H), with `carried` what comes after; and what is carried to before."""
    first = slope[:, -1] + carried
    if in_turn(kept):
        slopes = torch.empty_like(kept)
        slopes[:, -1] = first
        steps = zip(*(of.unbind(1) for of in (slope[:, :-1], kept[:, 1:], slopes[:, 1:], slopes[:, :-1])), strict=True)
        for by_output, a, after, now in reversed(list(steps)):
            torch.addcmul(by_output, a, after, out=now)
    else:
        earlier = doubled(kept[:, 1:].flip(1), slope[:, :-1].flip(1), first).flip(1)
        slopes = torch.cat((earlier, first.unsqueeze(1)), 1)
    return slopes, kept[:, 0] * slopes[:, 0]


def doubled(kept: Tensor, added: Tensor, first: Tensor) -> Tensor:
    """All states at once: each pass joins every step with the one 1, 2, 4 ... before it."""
    states, span = torch.cat((torch.addcmul(added[:, :1], kept[:, :1], first.unsqueeze(1)), added[:, 1:]), 1), 1
    while span < states.shape[1]:
        states = torch.cat((states[:, :span], torch.addcmul(states[:, span:], kept[:, span:], states[:, :-span])), 1)
        kept = torch.cat((kept[:, :span], kept[:, span:] * kept[:, :-span]), 1)
        span *= 2
    return states
