"""python first_gradient.py FILE ARGUMENTS: train as `seq2seq.train` does and leave the first step's gradient in FILE."""

import sys
from typing import Any

import torch

from seq2seq import train

clip = torch.nn.utils.clip_grad_norm_


def keeping(parameters: Any, largest: float) -> torch.Tensor:
    """Clip as always, but keep what was there before."""
    held = list(parameters)
    if not taken:
        taken.append(torch.cat([parameter.grad.flatten() for parameter in held]))
        torch.save(taken[0].clone(), sys.argv[1])
    return clip(held, largest)


if __name__ == "__main__":
    taken: list[torch.Tensor] = []
    torch.nn.utils.clip_grad_norm_ = keeping
    train.main(sys.argv[2:])
