"""Tasks with dropout in training, in 64 bits, and a batch of an optimiser step."""

from typing import Any

import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from tests import support
from tests.support import PAIRS, SENTENCES, learnt

CLASSES = [("good fun", "1"), ("bad and long", "0"), ("fun", "1"), ("what a bad film it is", "0"), ("so long", "2")]
SEVERAL = [("red car", "red car"), ("red", "red"), ("a car", "car"), ("nothing", ""), ("blue red", "red blue")]

Made = tuple[Task, Batch]


def made(kind: Any, rows: list[tuple[str, str]], source: Any, target: Any, **settings: Any) -> Made:
    """A task and the rows as its batch."""
    torch.manual_seed(1)
    task = support.small(kind, learnt(rows, source, target), dropout=0.4, **settings).double().train()
    return task, support.batch_of(rows, task.tokenizers, task.row_format)._replace(seed=7, step=1)


def gradients(loss: Tensor, task: Task) -> list[Tensor]:
    """Of the parameters that the loss depends on."""
    learning = [one for one in task.parameters() if one.requires_grad]
    return [one for one in torch.autograd.grad(loss, learning, allow_unused=True) if one is not None]


def tagging(**settings: Any) -> Made:
    return made(Tagging, SENTENCES, Words(separator="\t"), Labels("\t"), **settings)


def classifying(**settings: Any) -> Made:
    return made(Classification, CLASSES, Characters(), Labels(), **settings)


def several() -> Made:
    return made(Classification, SEVERAL, Characters(), Labels(), multi_label=True)


def generating() -> Made:
    return made(Generation, [("de", "ein Hund"), ("en", "a dog"), ("de", "die")], Labels(), Characters())


def translating(**settings: Any) -> Made:
    return made(Translation, PAIRS[:6], Characters(), Characters(), **settings)
