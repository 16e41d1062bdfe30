"""Generator: a decoder that starts from a condition, or from nothing (Mikolov et al. 2010; Graves 2013)."""

import torch
from torch import Tensor, nn

from seq2seq.models.cells import CellState
from seq2seq.models.decoder import Decoder, DecoderOptions, Source, State
from seq2seq.models.dropout import Noise
from seq2seq.models.embedding import Embedding, Projection
from seq2seq.models.encoder import Stack


class Generator(nn.Module):
    """Condition, first state and decoder."""

    def __init__(
        self, condition: Embedding | Projection | None, target: Embedding, stack: Stack, every_step: bool, tied: bool
    ) -> None:
        """condition: what reads it; None to begin with zeros. every_step: feed it to each step too."""
        super().__init__()
        self.states, self.layers, self.units = stack.cell.states, stack.layers, stack.size
        self.every_step = every_step
        size = 0 if condition is None else condition.size
        options = DecoderOptions(context_every_step=every_step, tied_output=tied)
        count = target.num_embeddings
        self.decoder = Decoder(target, count, stack, options, size)
        self.condition = condition
        numbers = self.states * self.layers * self.units
        self.map = None if condition is None else nn.Linear(size, numbers)

    def start(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first token, of conditions (B, S) or (B, S, D), the mean of whose vectors is taken."""
        vector = None
        if self.condition is not None and self.map is not None:
            real = torch.arange(source.shape[1], device=source.device) < lengths.to(source.device).unsqueeze(1)
            vectors = self.condition(source) * real.unsqueeze(-1)
            vector = vectors.sum(1) / lengths.clamp(min=1).to(vectors).unsqueeze(1)  # (B, E)
            numbers = self.map(vector).tanh()
        else:
            numbers = self.decoder.embedding.weight.new_zeros(len(source), self.states * self.layers * self.units)
        shape = len(source), self.states, self.layers, self.units
        first = tuple(numbers.view(shape).permute(1, 2, 0, 3).contiguous().unbind(0))
        return self.decoder.start(first, self.seen(len(source), first[0], vector))

    def resumed(self, recurrent: CellState) -> State:
        """A state in the middle of running text: tensors (L, B, H)."""
        return State(self.seen(recurrent[0].shape[1], recurrent[0], None), recurrent)

    def seen(self, count: int, like: Tensor, vector: Tensor | None) -> Source:
        """What the decoder knows of the source."""
        ids = torch.zeros(count, 1, dtype=torch.long, device=like.device)
        return Source(ids, vector if self.every_step else None, None, None)

    def forward(self, tokens: Tensor, state: State, noise: Noise | None) -> tuple[Tensor, State]:
        """Known tokens (B, T) to the features (B, T, R) of the token after each, and the state after the last."""
        outputs, after = self.decoder.over(tokens, state, noise)
        return outputs.features, after
