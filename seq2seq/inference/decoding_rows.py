"""How many hypotheses a GPU decodes at once where decoding.rows is not set: what each gives does not depend on it."""

from dataclasses import replace

import torch

from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import USUAL_ROWS, Decoding

MOST_ROWS = 2048
"""More do not make a step of the decoder faster per row."""

SHARE = 0.25
"""Of a GPU's memory that decoding may take: a training keeps its optimiser there."""

COPIES = 6
"""Vectors over the vocabulary that a step of the search holds for each hypothesis."""


def memory_of(device: torch.device) -> int | None:
    """Bytes of a GPU; None for another device, where the usual number of rows is best."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


def chosen(task: Task, decoding: Decoding, memory: int | None, longest: int) -> Decoding:
    """The settings with decoding.rows as it is set, or as many as fit this memory. longest: tokens of a source."""
    if decoding.rows is not None or memory is None:
        return decoding
    target = task.tokenizers.target
    vocabulary = sum(target.sizes) if target.width is None else target.width
    floats = COPIES * vocabulary + 4 * getattr(task, "hidden_size", 512) * max(1, longest)
    rows = MOST_ROWS
    while rows > USUAL_ROWS and 4 * floats * rows > SHARE * memory:
        rows //= 2
    return replace(decoding, rows=rows)
