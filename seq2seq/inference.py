"""Predictions outside training: a loaded task, rows, a device."""

from collections.abc import Iterator

import torch

from seq2seq.data.batching import evaluation_batches
from seq2seq.data.datamodule import Split
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.tasks.base import Decoding, Task


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:1` means here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(0, device=device)
    except (RuntimeError, AssertionError) as problem:
        raise InputError(f"--device {name} cannot be used here: {str(problem).splitlines()[0]}") from problem
    return device


def decode(
    task: Task, split: Split, decoding: Decoding, device: torch.device
) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
    """Row numbers and their hypotheses, batch by batch; every row once, in the same batches as during training."""
    for rows in evaluation_batches(split.source.lengths, decoding.sources):
        yield rows.tolist(), task.predict(split.batch(rows).to(device), decoding)
