"""How fast a transcription trains, against a bare torch loop with the same layers, in turns.

    python benchmarks/speech.py [--steps 20] [--rounds 5] [--hidden 256]

`real` is the training command on the tones that need no file, with the sizes of spoken digits (an LSTM of 2 x 256, 3
frames a step); `bare` a loop in plain torch with the same batches, layers and first parameters, packing where it reads
in both directions, torch's own dropout and CTC, AdamW and clipping. They take turns in one process of one thread:
windows of `--steps` steps, round after round. The ratio is that of their rates by the processor's seconds, 1 for equal
ones: the median of the rounds.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seq2seq.data.batching.batch import Batch
from seq2seq.models.initial_values import draw
from seq2seq.speed.figures import MatrixRate
from seq2seq.speed.training import Loop, TurnTaking, prepared, real
from seq2seq.tasks.transcription import Transcription, classes_of

CONFIG = """
task: Transcription
data:
  corpus: {class_path: Tones, init_args: {train: 800, validation: 10, test: 10}}
  tokenizer: Vectors
  target_tokenizer: Words
  batch_tokens: 6000
model: {cell: LSTM, embedding_size: 128, layers: 2, stacking: 3, dropout: 0.2}
optimizer: {learning_rate: 0.002}
trainer: {max_epochs: 100000, val_check_interval: 1000000, accelerator: cpu}
decoding: {beam_size: 1}
"""


class Network(nn.Module):
    """Stacked frames, an LSTM, classes."""

    def __init__(self, task: Transcription) -> None:
        super().__init__()
        self.stacking, self.share = task.stacking, task.dropout
        width, classes = task.tokenizers.source.width, task.output.out_features
        assert width is not None
        self.map = nn.Linear(width * task.stacking, task.embedding_size)
        both = task.encoder.bidirectional
        self.recurrent = nn.LSTM(
            task.embedding_size, task.hidden_size // (1 + both), task.layers, batch_first=True, dropout=task.dropout,
            bidirectional=both,
        )  # fmt: skip
        self.output = nn.Linear(task.hidden_size, classes)
        draw(task)
        with torch.no_grad():  # the same beginning
            self.map.load_state_dict(task.reader.embedding.projection.map.state_dict())
            self.output.load_state_dict(task.output.state_dict())
            for number, cell in enumerate(task.reader.recurrent.stack):
                for name, value in cell.torch.state_dict().items():
                    self.recurrent.get_parameter(name.replace("_l0", f"_l{number}")).copy_(value)

    def forward(self, batch: Batch) -> Tensor:
        source = functional.pad(batch.source, (0, 0, 0, -batch.source.shape[1] % self.stacking))
        stacked = source.view(len(source), -1, self.stacking * source.shape[2])
        steps = (batch.source_lengths + self.stacking - 1) // self.stacking
        inputs = functional.dropout(self.map(stacked).tanh(), self.share)
        if self.recurrent.bidirectional:
            packed = pack_padded_sequence(inputs, steps, batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=inputs.shape[1])
        else:  # padding comes last, where nothing reads it any more
            states, _ = self.recurrent(inputs)
        log_probs = self.output(functional.dropout(states, self.share)).log_softmax(-1).transpose(0, 1)
        return functional.ctc_loss(log_probs, classes_of(batch.target), steps, batch.target_lengths, reduction="sum")


def measure(arguments: Sequence[str], steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round of both."""
    made = prepared(arguments)
    network = Network(cast(Transcription, made.task))
    loop = Loop(network, network, made.parts.optimizer.learning_rate, mixed=False)

    def bare(own: range) -> None:
        for step in own:
            batch = made.batch(step)
            loop.step(batch, batch.step_tokens)

    windows = TurnTaking({"bare": bare}, MatrixRate(), steps, rounds)
    real(arguments, windows)
    return windows.seconds


def main() -> None:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of a window")
    parser.add_argument("--rounds", type=int, default=5, help="windows of each training")
    parser.add_argument("--hidden", type=int, default=256, help="units of a layer")
    parser.add_argument("--both", action="store_true", help="read in both directions")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "speech.yaml"
        config.write_text(CONFIG)
        sizes = [f"--model.hidden_size={options.hidden}", f"--model.encoder.bidirectional={str(options.both).lower()}"]
        arguments = ["--config", str(config), "--run", f"{folder}/run", *sizes]
        taken = measure(arguments, options.steps, options.rounds)
    ratios = [bare / real for bare, real in zip(taken["bare"], taken["real"], strict=True)]
    rounds = ", ".join(f"{one:.3f}" for one in ratios)
    print(f"rate of real over bare: {statistics.median(ratios):.3f} (rounds {rounds})")
    print(f"{1000 * statistics.median(taken['real']) / options.steps:.0f} ms a step")


if __name__ == "__main__":
    main()
