"""Generator: a decoder that starts from a condition, or from nothing (Mikolov et al. 2010; Graves 2013)."""

import torch
from torch import Tensor, nn

from seq2seq.models.cells import CellState, inside
from seq2seq.models.decoder import Decoder, DecoderOptions, DecoderOutputs, SourceMemory, State
from seq2seq.models.dropout import Noise
from seq2seq.models.embedding import Embedding, Projection
from seq2seq.models.fixed_vector import Linear, StateShape, Zeros
from seq2seq.models.recurrent import Stack
from seq2seq.pinned_copy import to_device


class Generator(nn.Module):
    """Condition, first state and decoder."""

    def __init__(
        self, condition: Embedding | Projection | None, target: Embedding, stack: Stack, every_step: bool, tied: bool
    ) -> None:
        """condition: what reads it; None to begin with zeros. every_step: feed it to each step too."""
        super().__init__()
        self.states, self.every_step = stack.cell.states, every_step
        size = 0 if condition is None else condition.size
        options = DecoderOptions(context_every_step=every_step, tied_output=tied)
        count = target.num_embeddings
        self.decoder = Decoder(target, count, stack, options, size)
        self.condition = condition
        bridge = Zeros() if condition is None else Linear()
        self.bridge = bridge.build(self.states, StateShape(1, size), StateShape(stack.layers, stack.hidden_size))

    def start(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first token, of conditions (B, S) or (B, S, D), the mean of whose vectors is taken."""
        if self.condition is None:
            vector = self.decoder.embedding.weight.new_zeros(source.shape[0], 0)
        else:
            lengths = to_device(lengths, source.device)
            vectors = self.condition(source) * inside(lengths, source).unsqueeze(-1)
            vector = vectors.sum(1) / lengths.clamp(min=1).to(vectors).unsqueeze(1)  # (B, E)
        first = self.bridge((vector.unsqueeze(0),) * self.states)
        return self.decoder.start(first, self.source_memory(source.shape[0], first[0], vector))

    def resumed(self, recurrent: CellState) -> State:
        """The decoder's state for a recurrent state, tensors (L, B, H), in the middle of running text."""
        return State(self.source_memory(recurrent[0].shape[1], recurrent[0], None), recurrent)

    def source_memory(self, count: int, like: Tensor, vector: Tensor | None) -> SourceMemory:
        """What the decoder knows of the source."""
        ids = torch.zeros(count, 1, dtype=torch.long, device=like.device)
        return SourceMemory(ids, vector if self.every_step else None, None, None)

    def forward(self, tokens: Tensor, state: State, noise: Noise | None) -> tuple[Tensor, State]:
        """Known tokens (B, T) to the features (B, T, R) of the token after each, and the state after the last."""
        outputs: DecoderOutputs = self.decoder(tokens, state, noise)
        return outputs.features, outputs.state
