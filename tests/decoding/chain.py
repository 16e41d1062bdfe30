"""A model of a few numbers, for the tests of search and sampling."""

import torch
from torch import Tensor

BEGIN, END, SIZE = 0, 1, 4


class Chain:
    """A model whose next token depends on the last one and on the source: state (B * K,) source numbers."""

    def __init__(self, seed: int, sources: int = 3) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = (2 * torch.randn(sources, SIZE, SIZE, generator=generator)).log_softmax(-1)

    def step(self, tokens: Tensor, state: "Rows") -> tuple[Tensor, "Rows"]:
        return self.table[state.numbers.view(tokens.shape), tokens].clone(), state


class Rows:
    """The source of each hypothesis."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    def select(self, rows: Tensor) -> "Rows":
        return Rows(self.numbers[rows.flatten()])
