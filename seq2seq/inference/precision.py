"""The bits with which a loaded task predicts."""

import contextlib
from typing import Literal, get_args

import torch

from seq2seq.errors import InputError
from seq2seq.models import int8
from seq2seq.models.decoder import Decoder
from seq2seq.models.products import lacks_bfloat16
from seq2seq.tasks.base import Task

Precision = Literal["fp32", "bf16", "int8"]

HELP = (
    "bits of products: fp32 repeats the scores of training; bf16 rounds all of them; int8 on processors those of "
    "single steps further (docs/prediction.md)"
)


def lower(task: Task, precision: str) -> None:
    """Make a task on its device ready for a precision, or raise InputError; weights are rounded here, once."""
    device, kind = next(task.parameters()).device, type(task).__name__
    if precision not in get_args(Precision):
        raise InputError(f"precision is {precision}; choose {', '.join(get_args(Precision))}")
    if precision == "bf16" and lacks_bfloat16(device):
        raise InputError("precision bf16 needs a processor with AVX-512 or a GPU; take fp32")
    if precision != "int8":
        return
    decoders = [module for module in task.modules() if isinstance(module, Decoder)]
    if not decoders:
        raise InputError(f"precision int8 is for steps of a decoder, and this {kind} has none; take bf16 or fp32")
    if device.type != "cpu" or not int8.is_exact():
        raise InputError(f"precision int8 needs a processor with VNNI, and torch that uses it, not {device}; take fp32")
    for decoder in decoders:
        int8.quantise(decoder)


def lowered(task: Task, precision: str) -> contextlib.AbstractContextManager[object]:
    """The context in which a task that is ready for it predicts; of int8 too bf16, for what is no single step."""
    device = next(task.parameters()).device
    if precision == "fp32" or lacks_bfloat16(device):
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
