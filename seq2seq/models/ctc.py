"""Connectionist temporal classification: the probability of labels whose places among the frames are not known."""

from torch import Tensor
from torch.nn import functional

BLANK = 0
"""The class of a frame that writes nothing."""

UNKNOWN = 1
"""The class of a token that training lacks."""

FIRST = 2
"""The class of the first token of the vocabulary; the others follow it."""


def ctc_losses(log_probs: Tensor, steps: Tensor, classes: Tensor, lengths: Tensor) -> Tensor:
    """Minus the log-probability (B,) in nats of each row's classes (Graves et al. 2006, eq. 3 and 8).

    It is the sum over all paths of the row's frames that become the classes when repetitions are merged and then
    blanks left out; infinite where there is no such path.

    Args:
        log_probs: (B, T, C) of each class at each frame, in nats.
        steps: (B,) frames of each row, on the CPU.
        classes: (B, U) from 1; what follows a row's own ones plays no part.
        lengths: (B,) classes of each row, on the CPU.
    """
    # Always on the CPU: what torch does on a GPU adds in an order that changes, so that no training would repeat.
    losses = functional.ctc_loss(
        log_probs.cpu().transpose(0, 1), classes.cpu(), steps, lengths, blank=BLANK, reduction="none"
    )
    return losses.to(log_probs.device)
