"""The fixed vector: how all states of a source become it (pooling), and the decoder's first state (bridge)."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from seq2seq.errors import InputError
from seq2seq.models.cells import CellState, at_least_32_bits
from seq2seq.models.network_part import NetworkPart


class Pooling(NetworkPart):
    """How the states of a source become its fixed vector."""

    def build(self, size: int) -> "Pooling":
        """size: H, the hidden size of the encoder."""
        module = self.copied()
        module.create(size)
        return module

    def create(self, size: int) -> None:
        """Make the parameters, if there are any."""

    @abstractmethod
    def forward(self, states: Tensor, padding: Tensor, final: CellState) -> tuple[Tensor, CellState]:
        """states (B, S, H), padding (B, S), final (L, B, H) tensors to the vector (B, H) and the state to hand on."""


class Last(Pooling):
    """The state after the last token (Sutskever et al. 2014)."""

    def forward(self, states: Tensor, padding: Tensor, final: CellState) -> tuple[Tensor, CellState]:
        return final[0][-1], final


class Mean(Pooling):
    """The mean of the states."""

    def forward(self, states: Tensor, padding: Tensor, final: CellState) -> tuple[Tensor, CellState]:
        real = (~padding).unsqueeze(-1).to(states.dtype)
        return everywhere((states * real).sum(1) / real.sum(1), final)


class Max(Pooling):
    """The largest value of each unit (Conneau et al. 2017, sec. 3.2.2)."""

    def forward(self, states: Tensor, padding: Tensor, final: CellState) -> tuple[Tensor, CellState]:
        return everywhere(states.masked_fill(padding.unsqueeze(-1), -torch.inf).amax(1), final)


class Attentive(Pooling):
    """A learned weighted mean: softmax(v . tanh(W h + b)) (Yang et al. 2016, eq. 5 to 7)."""

    def create(self, size: int) -> None:
        self.map = nn.Linear(size, size)
        self.vector = nn.Linear(size, 1, bias=False)

    def forward(self, states: Tensor, padding: Tensor, final: CellState) -> tuple[Tensor, CellState]:
        scores = at_least_32_bits(self.vector(self.map(states).tanh()).squeeze(-1))  # (B, S)
        weights = scores.masked_fill(padding, -torch.inf).softmax(-1).to(states.dtype)
        return everywhere((weights.unsqueeze(1) @ states).squeeze(1), final)


def everywhere(vector: Tensor, final: CellState) -> tuple[Tensor, CellState]:
    """The vector, and a state that holds nothing else in any layer."""
    return vector, tuple(vector.to(tensor.dtype).expand_as(tensor) for tensor in final)


class StateShape(NamedTuple):
    """The size of a state."""

    layers: int
    """L"""
    size: int
    """H, both directions together."""

    def __str__(self) -> str:
        return f"{self.layers} x {self.size}"


class Bridge(NetworkPart):
    """How the encoder's final state becomes the decoder's first state."""

    uses_source: ClassVar[bool] = True
    """Whether the decoder's first state depends on the source."""

    def build(self, states: int, source: StateShape, target: StateShape) -> "Bridge":
        """states: tensors in a state; source, target: what encoder and decoder hold in each."""
        module = self.copied()
        module.create(states, source, target)
        return module

    @abstractmethod
    def create(self, states: int, source: StateShape, target: StateShape) -> None:
        """Make the parameters."""

    @abstractmethod
    def forward(self, state: CellState) -> CellState:
        """Tensors (L, B, H) of the encoder to tensors (L', B, H') of the decoder."""


class Copy(Bridge):
    """The final state as it is (Sutskever et al. 2014)."""

    def create(self, states: int, source: StateShape, target: StateShape) -> None:
        if source != target:
            raise InputError(
                f"model.bridge Copy needs equal states, but the encoder has {source} (layers x units) and the decoder "
                f"{target}; choose Linear, Zeros or Learned, or make them equal"
            )

    def forward(self, state: CellState) -> CellState:
        return state


class Linear(Bridge):
    """tanh(W h + b) for each layer and tensor of the state (Bahdanau et al. 2015, app. A.2.2).

    A layer of the decoder reads the encoder's layer at the same distance from the top, or the lowest one.
    """

    def create(self, states: int, source: StateShape, target: StateShape) -> None:
        self.read = [max(0, layer + source.layers - target.layers) for layer in range(target.layers)]
        self.maps = nn.ModuleList(
            nn.ModuleList(nn.Linear(source.size, target.size) for _ in range(target.layers)) for _ in range(states)
        )

    def forward(self, state: CellState) -> CellState:
        return tuple(
            torch.stack([linear(tensor[layer]) for linear, layer in zip(maps, self.read, strict=True)]).tanh()  # type: ignore[call-overload]
            for maps, tensor in zip(self.maps, state, strict=True)
        )


class Zeros(Bridge):
    """A state of zeros: the decoder then knows the source through attention or the context at every step only."""

    uses_source = False

    def create(self, states: int, source: StateShape, target: StateShape) -> None:
        self.shape = target

    def forward(self, state: CellState) -> CellState:
        layers, size = self.shape
        return tuple(tensor.new_zeros(layers, tensor.shape[1], size) for tensor in state)


class Learned(Bridge):
    """A state that is a parameter, the same for every source; otherwise as Zeros."""

    uses_source = False

    def create(self, states: int, source: StateShape, target: StateShape) -> None:
        self.first = nn.ParameterList(torch.zeros(target.layers, 1, target.size) for _ in range(states))

    def forward(self, state: CellState) -> CellState:
        return tuple(
            first.to(tensor.dtype).expand(-1, tensor.shape[1], -1)
            for first, tensor in zip(self.first, state, strict=True)
        )
