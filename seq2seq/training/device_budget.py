"""The tokens that one device can hold: the largest micro-batch that fits, found by trying."""

import contextlib
import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Split
from seq2seq.errors import InputError
from seq2seq.inference.device import out_of_memory
from seq2seq.tasks.base import Task

Loss = Callable[[Batch], torch.Tensor]

SHARE = 0.85
"""How much of the free memory a training step may take; the rest is for what comes and goes."""

FINENESS = 16
"""The answer is within this fraction, one sixteenth, of the largest that fits."""


def largest(fits: Callable[[int], bool], least: int, most: int) -> int:
    """The most tokens for which `fits` is true, to one part in sixteen; 0 if not even `least` is."""
    if not fits(least):
        return 0
    low, high = least, least
    while low < most:
        high = min(2 * low, most)
        if not fits(high):
            break
        low = high
    while low < high and high - low > max(1, low // FINENESS):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def device_tokens(
    task: Task,
    split: Split,
    rows: np.ndarray,
    most: int,
    copies: int,
    precision: torch.dtype | None,
    sharers: int = 1,
    loss: Loss | None = None,
) -> int:
    """The most padded tokens, of at most `most`, that fit on the task's device, on all devices of this training.

    rows: those to train on; copies: how often the optimiser and the gradients' exchange hold the parameters besides;
    precision: of autocast, None for none; sharers: processes that share main memory; loss: that of the task when None.
    """
    lengths = split.lengths(rows)
    total = lengths.sum(axis=1)
    # The longest rows, the most rows, and the rows with the largest part before the vocabulary.
    extremes = {int(total.argmax()), int(total.argmin()), int((lengths[:, 1] / total).argmax())}
    trial = Trial(task, split, [int(rows[index]) for index in extremes], precision, sharers, loss)
    device = next(task.parameters()).device
    fits = trial.fits_accelerator if device.type == "cuda" else trial.fits_processor
    least, tokens = int(total.max()), 0
    state: list[torch.Tensor] = []
    try:
        state.extend(torch.zeros_like(parameter) for parameter in task.parameters() for _ in range(copies))
        tokens = largest(fits, least, most)
    except RuntimeError as problem:
        if not out_of_memory(problem):
            raise
    finally:
        state.clear()
        trial.forget()
    if dist.is_initialized():
        smallest = torch.tensor(tokens, device=device)
        dist.all_reduce(smallest, dist.ReduceOp.MIN)
        tokens = int(smallest)
    if not tokens:  # on all devices alike
        raise InputError(
            f"one row of {least} tokens exceeds this device's memory; lower data.max_length or model.hidden_size"
        )
    return tokens


class Trial:
    """Training steps without an update, to see what they take."""

    def __init__(
        self,
        task: Task,
        split: Split,
        rows: list[int],
        precision: torch.dtype | None,
        sharers: int = 1,
        loss: Loss | None = None,
    ) -> None:
        """rows: of each a batch is made by repeating it; the others as in `device_tokens`."""
        self.sharers, self.loss = sharers, loss or task.loss
        self.task, self.split, self.rows, self.precision = task, split, rows, precision
        self.device = next(task.parameters()).device
        self.rate = 0.0

    def run(self, tokens: int) -> None:
        """Forward and backward of batches with this number of padded tokens."""
        for row in self.rows:
            length = int(self.split.lengths(np.array([row])).sum())
            batch = self.split.batch(np.full(max(1, tokens // length), row))
            mixed = torch.autocast(self.device.type, self.precision) if self.precision else contextlib.nullcontext()
            with mixed:
                loss = self.loss(batch.to(self.device))
            torch.autograd.backward(loss)
            self.task.zero_grad(set_to_none=False)  # the gradients stay allocated, as between micro-batches

    def fits_accelerator(self, tokens: int) -> bool:
        """Whether a step of this size runs in the share of this accelerator's memory that is ours."""
        torch.cuda.reset_peak_memory_stats(self.device)
        try:
            self.run(tokens)
        except RuntimeError as problem:
            if not out_of_memory(problem):
                raise
            self.forget()
            return False
        free, total = torch.cuda.mem_get_info(self.device)
        others = total - free - torch.cuda.memory_reserved(self.device)
        return torch.cuda.max_memory_allocated(self.device) <= SHARE * (total - others)

    def fits_processor(self, tokens: int) -> bool:
        """The same for main memory, where trying too much would end the process: larger sizes are extrapolated."""
        free = available_memory() * SHARE / self.sharers
        if self.rate * tokens > free:
            return False
        before = resident("VmRSS")
        reset_peak()
        self.run(tokens)
        used = max(0, resident("VmHWM") - before)
        self.rate = max(used / tokens, self.rate / 2)  # memory that was kept from smaller trials hides some of it
        return used <= free

    def forget(self) -> None:
        """Give back what the trials took."""
        self.task.zero_grad(set_to_none=True)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def available_memory() -> int:
    """Bytes that this process may still take: what the system has free, or its control group allows."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    with contextlib.suppress(OSError, ValueError):  # no limit, or no control group
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, limit - used)
    return free


def resident(field: str) -> int:
    """Bytes of this process in memory: now (VmRSS) or at most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def reset_peak() -> None:
    """Start measuring VmHWM again."""
    with contextlib.suppress(OSError):  # where that is forbidden the old peak stands, which asks for less
        Path("/proc/self/clear_refs").write_text("5")
