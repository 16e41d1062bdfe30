"""Carried state: the recurrent states of running text that one optimiser step hands to the next."""

import torch
import torch.distributed as dist
from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.models.cells import CellState
from seq2seq.pinned_copy import to_device
from seq2seq.tasks.base import Task


class CarriedState:
    """The states (L, streams, H) of all streams of a text, the same on each device."""

    def __init__(self, task: Task, streams: int, epoch: int) -> None:
        """streams: parts of the text that are read side by side; epoch: its optimiser steps."""
        self.task, self.streams, self.epoch = task, streams, epoch
        self.before: CellState = ()
        """The states before the next step; nothing at the beginning of an epoch."""
        self.after: CellState = ()
        """Those after it, of the streams that this device has read; zeros elsewhere."""

    def begin_step(self, device: torch.device) -> None:
        """The states before a step on `device`, and room for those after it."""
        self.before = tuple(tensor.to(device) for tensor in self.before or self.task.first_state(self.streams))
        self.after = tuple(torch.zeros_like(tensor) for tensor in self.before)

    def loss(self, batch: Batch) -> Tensor:
        """The loss of segments, which continue from the states of their streams and leave new ones."""
        loss, after = loss_and_state(self.task, batch, self.before)
        if bool((batch.target_lengths > 0).all()):  # else the batch only keeps this device in step with the others
            streams = to_device(batch.row_keys, batch.target.device)
            for tensor, new in zip(self.after, after, strict=True):
                tensor[:, streams] = new.detach().to(tensor.dtype)
        return loss

    def end_step(self, step: int, finite: bool, devices: int) -> None:
        """Share the states after a step, counted from 0; after a skipped one the states before it stay."""
        if devices > 1 and finite:
            for tensor in self.after:
                dist.all_reduce(tensor)
        ended = (step + 1) % self.epoch == 0
        self.before = () if ended else self.after if finite else self.before


def loss_and_state(task: Task, batch: Batch, states: CellState) -> tuple[Tensor, CellState]:
    """The loss of segments, and their states after it; states: of all streams, of which row keys are the numbers."""
    streams = to_device(batch.row_keys, batch.target.device)
    return task.loss_and_state(batch, tuple(tensor.index_select(1, streams) for tensor in states))
