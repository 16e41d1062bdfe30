"""The loss of telling the words beside each state of a source, for tasks that read words."""

import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import PAD, UNK, Tokenizer
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.errors import InputError
from seq2seq.models.dropout import Noise
from seq2seq.models.encoder import Encoder, Encoding
from seq2seq.models.neighbours import Neighbours
from seq2seq.tasks.token_rows import TokenRows, of_linear


class NeighbourLoss(nn.Module):
    """What is added to the loss of a step; nothing with weight 0."""

    def __init__(self, tokenizer: Tokenizer, reader: Encoder, weight: float, dropout: float) -> None:
        """tokenizer: of the source; InputError for states that do not read words, or have read those beside theirs."""
        super().__init__()
        self.tokenizer, self.weight = tokenizer, weight
        self.told: Neighbours | None = None
        if not weight:
            return
        both = reader.recurrent.directions > 1
        if tokenizer.width is not None or (len(tokenizer.sizes) > 1 and not isinstance(tokenizer, Spelled)):
            raise InputError(f"model.neighbour_weight is for words, and data.tokenizer is {type(tokenizer).__name__}; "
                             "set it to 0")  # fmt: skip
        if (both and reader.recurrent.layers > 1) or reader.reverse:
            raise InputError("model.neighbour_weight needs states that have not read what they tell; set model.layers "
                             "to 1 and model.encoder.reverse to false, or the weight to 0")  # fmt: skip
        words = tokenizer.sections.words if isinstance(tokenizer, Spelled) else len(tokenizer)
        self.told = Neighbours(reader.size, both, reader.lookahead, words, PAD, UNK, dropout)

    def forward(self, encoding: Encoding, batch: Batch) -> Tensor:
        """In nats, weighted and summed over the words of a batch."""
        if self.told is None:
            return encoding.states.new_zeros(())
        words = words_of(batch, self.tokenizer, encoding.states.shape[1])
        loss: Tensor = self.told(encoding.states, words, Noise(batch.seed, batch.row_keys))
        return self.weight * loss

    def token_rows(self, name: str) -> dict[str, TokenRows]:
        """Of its parameters; name: of this part in the task."""
        rows: dict[str, TokenRows] = {}
        if self.told is not None:
            names = self.tokenizer.row_names[0][: self.told.words]
            for direction in range(len(self.told.maps)):
                rows |= of_linear(f"{name}.told.maps.{direction}", names)
        return rows


def words_of(batch: Batch, tokenizer: Tokenizer, steps: int) -> Tensor:
    """The ids (B, steps) of the words, or other tokens, of a batch's sources, padded, on the CPU."""
    ids = batch.source if batch.ids is None else batch.ids
    if not isinstance(tokenizer, Spelled):
        return ids[:, :steps]
    own = (ids < tokenizer.sections.words) & (ids != PAD)
    rows, columns = own.nonzero(as_tuple=True)
    positions = own.cumsum(1)[rows, columns] - 1
    whole = positions < steps  # a last word that is cut off has no state
    words = torch.full((len(ids), steps), PAD)
    words[rows[whole], positions[whole]] = ids[rows[whole], columns[whole]]
    return words
