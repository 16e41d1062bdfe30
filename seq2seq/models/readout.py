"""Readout: what the output layer sees of the decoder's state, the context and the token before."""

from typing import Literal

from torch import Tensor, nn

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
        mapped: Tensor = self.map(read)
        if self.kind == "maxout":
            return mapped.view(*mapped.shape[:-1], self.size, 2).amax(-1)
        return mapped.tanh() if self.kind == "tanh" else mapped
