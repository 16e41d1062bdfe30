"""A demand that a contract makes, and what all parts must keep: settings that describe them."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from seq2seq.configurable import Part, build, refuse_incomplete

P = TypeVar("P", bound=Part)


def demand(kept: bool, part: object, contract: str, found: object = "") -> None:
    """Raise AssertionError for a contract that is not kept; found: what shows it."""
    if not kept:
        ending = f": {found}" if str(found) else ""
        raise AssertionError(f"{type(part).__qualname__} breaks its contract ({contract}){ending}; docs/extending.md")


def described(part: P, base: Any) -> P:
    """An equal part, made of what a checkpoint keeps; every argument of `__init__` must be an attribute."""
    refuse_incomplete(type(part))
    try:
        specification = part.specification()
        other: P = build(base, specification)
    except AttributeError as problem:
        demand(False, part, "an attribute for every argument of __init__", problem)
    demand(other.specification() == specification, part, "what a checkpoint keeps makes an equal part", specification)
    return other


def same(first: Tensor, second: Tensor) -> bool:
    """Whether numbers in double precision agree."""
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-7, atol=1e-9, equal_nan=False)


def check_parameters(part: Part, module: nn.Module, fresh: nn.Module, loss: Tensor) -> None:
    """Every parameter learns, and a checkpoint holds all that there is."""
    module.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            gradient = parameter.grad
            demand(gradient is not None and bool(gradient.isfinite().all()), part, "a finite gradient", name)
    fresh.load_state_dict(module.state_dict())
    shared = {id(one) for one in module.parameters()} & {id(one) for one in fresh.parameters()}
    demand(not shared, part, "each layer that is built has parameters of its own")
