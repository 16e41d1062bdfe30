"""Speller: an attention decoder over the states of frames, which knows a text as a whole (Chan et al. 2016)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.models.attention import Attention
from seq2seq.models.cells import inside, real_positions
from seq2seq.models.decoder import Decoder, DecoderOptions, SourceMemory
from seq2seq.models.dropout import Noise
from seq2seq.models.embedding import Embedding
from seq2seq.models.recurrent import Stack
from seq2seq.pinned_copy import to_device


class Speller(nn.Module):
    """A decoder whose recurrence reads what attention has found at the states (Bahdanau et al. 2015)."""

    def __init__(
        self, size: int, embedding_size: int, stack: Stack, attention: Attention, tokens: int, marks: tuple[int, ...]
    ) -> None:
        """size: of a state, H; tokens: of the vocabulary; marks: the ids of padding, begin and end among them."""
        super().__init__()
        padding, self.begin, self.end = marks
        embedding = Embedding([tokens], embedding_size, 1, padding)
        self.decoder = Decoder(embedding, tokens, stack, DecoderOptions(attend_from="before"), size, attention)

    def losses(self, states: Tensor, steps: Tensor, target: Tensor, lengths: Tensor, noise: Noise | None) -> Tensor:
        """Minus the log-probability (B,) in nats of each row's text, its end included.

        states (B, S, H), of which steps (B,) are real; target (B, T) ids without begin and end, lengths (B,); both
        counts on the CPU.
        """
        attention = self.decoder.attention
        assert attention is not None
        memory = attention.memory(states, ~inside(steps, states))
        ids = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
        first = self.decoder.recurrent.first_state(len(states), states)
        state = self.decoder.start(first, SourceMemory(ids, None, None, memory))
        tokens = functional.pad(target, (1, 0), value=self.begin)
        ends = torch.arange(tokens.shape[1], device=target.device) == to_device(lengths, target.device).unsqueeze(1)
        labels = functional.pad(target, (0, 1)).masked_fill(ends, self.end)
        real = real_positions(lengths + 1, labels)
        outputs = self.decoder(tokens, state, noise)
        log_probs = self.decoder.label_log_probs(outputs, state.source, labels, real)
        every = log_probs.new_zeros(labels.numel()).index_put((real,), log_probs)
        return -every.view_as(labels).sum(1)
