"""The floor: multiplications and additions that a network cannot do without, counted from its sizes.

Of each row only its own tokens count, so padding is time lost. Over the machine's measured rate of products they are
the least seconds that a step can take.
"""

from typing import NamedTuple

from seq2seq.data.batching.batch import Batch
from seq2seq.tasks.translation import Translation

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


class Counted(NamedTuple):
    """Operations of a translator's forward pass: for each source token, each target token, and each pair of both."""

    source: float
    target: float
    pair: float

    def of(self, sources: int, targets: int, pairs: int) -> float:
        """For so many of each."""
        return self.source * sources + self.target * targets + self.pair * pairs


def layer(gates: int, inputs: int, units: int) -> float:
    """Of a step of a recurrent layer in one direction."""
    return 2.0 * gates * units * (inputs + units)


def counted(task: Translation) -> Counted:
    """From the settings of a network with a bidirectional encoder that hands its last state on."""
    gates, hidden, embedding = GATES[type(task.cell).__name__], task.hidden_size, task.embedding_size
    source, target, pair, width, below = 0.0, 0.0, 0.0, embedding, embedding
    for _ in range(task.layers):
        source, width = source + 2 * layer(gates, width, hidden // 2), hidden
        target, below = target + layer(gates, below, hidden), hidden
    read = hidden
    if task.attention is not None:
        if type(task.attention).__name__ == "General":
            source += 2.0 * hidden * hidden
        pair += 4.0 * hidden  # scores, and the context
        read = embedding if task.decoder.tied_output else hidden
        target += 2.0 * 2 * hidden * read
    return Counted(source, target + 2.0 * read * task.tokenizers.target.sizes[0], pair)


def training(task: Translation, batch: Batch) -> float:
    """Operations of an optimiser step: gradients by inputs and by weights cost as much as the forward pass each."""
    targets = batch.target_lengths - 1
    pairs = int((batch.source_lengths * targets).sum())
    return 3 * counted(task).of(int(batch.source_lengths.sum()), int(targets.sum()), pairs)


def decoding(task: Translation, batch: Batch, steps: int, beam: int) -> float:
    """Of a search with so many steps for each row, `beam` hypotheses at once but in the first step."""
    rows, hypotheses = len(batch.rows), 1 + (steps - 1) * beam
    pairs = int(batch.source_lengths.sum()) * hypotheses
    return counted(task).of(int(batch.source_lengths.sum()), rows * hypotheses, pairs)
