"""Do two trainings with one seed end with the same parameters, to the bit?"""

from collections.abc import Iterator

import torch

from seq2seq.device_check.findings import DeviceCheck
from seq2seq.device_check.networks import arithmetic, examples, network
from seq2seq.runs import checkpoint

STEPS = 50


def determinism(device: torch.device, steps: int = STEPS) -> Iterator[DeviceCheck]:
    """SHA-256 of the parameters of each task after some steps, twice."""
    for name in examples():
        one, other = (trained(name, device, steps)[:16] for _ in range(2))
        yield DeviceCheck(f"{name.lower()}, {steps} steps twice", one, other, one == other)


def trained(name: str, device: torch.device, steps: int) -> str:
    """The checksum of a network's parameters after some steps, in TF32 as in training."""
    task, batch = network(name).to(device).train(), examples()[name].batch
    optimizer = torch.optim.AdamW(task.parameters(), 0.01, fused=True)
    for step in range(steps):
        optimizer.zero_grad()
        with arithmetic("TF32"):
            torch.autograd.backward(task.loss(batch._replace(seed=step, step=step).to(device)) / batch.step_tokens)
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
    return checkpoint.digest(task.state_dict())
