"""Predictions outside training: a loaded task, rows, a device."""

from collections.abc import Iterator, Sequence

import torch

from seq2seq.data.batch import Ragged
from seq2seq.data.batching import evaluation_batches
from seq2seq.data.rows import Texts
from seq2seq.data.split import Split
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.tasks.base import Decoding, Task


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:1` means here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        raise InputError(f"--device {name} cannot be used here: {str(problem).splitlines()[0]}") from problem
    return device


def decode(
    task: Task, split: Split, decoding: Decoding, device: torch.device
) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
    """Row numbers and their hypotheses, batch by batch; every row once, in the same batches as during training."""
    for rows in evaluation_batches(split.source_lengths(), decoding.sources):
        yield rows.tolist(), task.predict(split.batch(rows).to(device), decoding)


def predict(
    task: Task, texts: Sequence[str], decoding: Decoding, device: torch.device, max_length: int = 512
) -> list[list[Hypothesis]]:
    """The hypotheses of each text, best first; none for an empty one. Longer sources are cut to max_length tokens."""
    filled = [row for row, text in enumerate(texts) if text.strip()]
    kept = [texts[row] for row in filled]
    source = Ragged.of(task.tokenizers.source.encode(kept))
    split = Split(Texts(kept, kept), source, Ragged.of([[]] * len(kept)), max_length)
    split.warn_of_cuts()
    result: list[list[Hypothesis]] = [[] for _ in texts]
    for rows, hypotheses in decode(task, split, decoding, device):
        for row, found in zip(rows, hypotheses, strict=True):
            result[filled[row]] = found
    return result


def translate(task: Task, texts: Sequence[str]) -> list[str]:
    """The best prediction for each text, with the decoding stored in the checkpoint, where the task is."""
    device = next(task.parameters()).device
    found = predict(task, texts, task.decoding, device)
    return [task.text(hypotheses[0]) if hypotheses else "" for hypotheses in found]
