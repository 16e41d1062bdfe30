"""Prediction needs no gradients."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def without_gradients() -> Iterator[None]:
    """Inference mode; under autocast `no_grad`, because inference mode casts every weight anew at each step."""
    cast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    with torch.no_grad() if cast else torch.inference_mode():
        yield
