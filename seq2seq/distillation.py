"""Knowledge distillation: a student learns from a stronger run's probabilities, token by token."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed

from seq2seq import checkpoint
from seq2seq.data.batch import Batch
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers import PAD, Tokenizers
from seq2seq.errors import InputError
from seq2seq.options import DistillationOptions
from seq2seq.tasks.base import Task

CHUNK = 1 << 24
"""Log-probabilities whose differences are held at once."""


class Teacher:
    """A trained run that is only asked. No module, so that it is no part of the student or of its checkpoints."""

    def __init__(self, options: DistillationOptions) -> None:
        """Read the run that the options name."""
        if options.teacher is None:
            raise TypeError("there is no teacher to read")
        self.path, self.options = checkpoint.find(options.teacher), options
        self.content = checksum(self.path)
        """Of the checkpoint's file."""
        self.task = checkpoint.load(self.path).requires_grad_(False).eval()
        if type(self.task).forward is Task.forward:
            raise InputError(
                f"distillation.teacher {self.path} is a {type(self.task).__name__}, which has no probabilities"
            )

    def tokenizers(self, data: DataModule) -> Tokenizers:
        """The teacher's vocabularies, for the student to take over; refused where its settings ask for others."""
        source, target = self.task.tokenizers
        wanted = data.tokenizer, data.target_tokenizer or data.tokenizer
        shared = "true" if source is target else "false"
        if data.shared_vocabulary != (source is target):
            raise InputError(
                f"the teacher {self.path} needs data.shared_vocabulary {shared}: its tokens are the student's"
            )
        for name, mine, theirs in zip(("tokenizer", "target_tokenizer"), wanted, (source, target), strict=True):
            if mine.specification() != theirs.specification():
                raise InputError(
                    f"data.{name} is {mine} but that of the teacher {self.path} is {theirs}; a student needs its "
                    "teacher's tokens, so write the same"
                )
        return data.restore_tokenizers([source.state, target.state])

    def loss(self, task: Task, batch: Batch) -> Tensor:
        """The student's loss on a batch, summed over its real target tokens, in nats.

        (1 - w) loss + w t^2 KL(teacher || student), both softened by the temperature t (Hinton et al. 2015, sec. 2;
        Kim and Rush 2016, word-KD, up to the teacher's entropy, which has no gradient).
        """
        weight, temperature = self.options.weight, self.options.temperature
        real = batch.target[:, 1:] != PAD
        with torch.no_grad():
            theirs = self.task(batch)[real]
        distance = divergence(theirs, task(batch)[real], temperature)
        loss = weight * temperature**2 * distance
        return loss if weight == 1 else loss + (1 - weight) * task.loss(batch)


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """KL of the student's softened distributions from the teacher's, summed over N tokens, in nats.

    teacher, student: logits or log-probabilities (N, V); what is between them and the sum is held for some tokens only.
    """
    rows = max(1, CHUNK // student.shape[-1])
    pieces = zip(teacher.split(rows), student.split(rows), strict=True)
    return torch.stack(
        [torch.as_tensor(recomputed(_divergence, *piece, temperature, use_reentrant=False)) for piece in pieces]
    ).sum()


def _divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    kind = torch.promote_types(student.dtype, torch.float32)
    theirs, ours = ((one.to(kind) / temperature).log_softmax(-1) for one in (teacher, student))
    return (theirs.exp() * (theirs - ours)).sum()


def checksum(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
