"""Lightning's trainer without the parts that this project does itself."""

import os
import sys
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch
from jsonargparse import Namespace

from seq2seq.cluster.environment import named_devices, process_rank
from seq2seq.errors import InputError
from seq2seq.inference.device import WORKSPACE, find
from seq2seq.models.products import slow_bfloat16
from seq2seq.training.length import Length
from seq2seq.training.options import TrainerOptions

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from seq2seq.training.learner import Learner

COMPROMISED = ("2.6.2", "2.6.3")
"""Releases of pytorch-lightning with foreign code inside, which pyproject.toml excludes too."""


def refuse_compromised() -> None:
    """Raise InputError where a release of Lightning is installed that steals passwords, before it is imported."""
    version = metadata.version("pytorch-lightning")
    if version in COMPROMISED:
        raise InputError(
            f"pytorch-lightning {version} is a compromised release; remove it, change the passwords and keys of this "
            "machine, and install another: pip install 'pytorch-lightning!=2.6.2,!=2.6.3'"
        )


def own_device(options: TrainerOptions) -> torch.device:
    """The device of this process, known before the trainer exists; one that cannot train as asked is refused."""
    name: str = options.accelerator
    if name not in ("auto", "cuda", "gpu"):
        return torch.device("mps" if name == "mps" else "cpu")
    if torch.cuda.is_available():
        name = f"cuda:{own_number(options.devices)}"
    elif name == "gpu":
        name = "mps" if torch.backends.mps.is_available() else "cuda"
    device = find(name, f"trainer.accelerator {options.accelerator}", "trainer.accelerator auto or cpu")
    mixed = options.precision == "bf16-mixed"
    if device.type == "cuda" and mixed and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(
            f"trainer.precision bf16-mixed: {torch.cuda.get_device_name(device)} does not compute in bfloat16; "
            "set trainer.precision 32-true"
        )
    return device


def refuse_unfit(options: TrainerOptions) -> None:
    """Raise InputError for a strategy or device that cannot train, before the data are read for it."""
    from pytorch_lightning.strategies import StrategyRegistry

    from seq2seq.cluster.preflight import placed

    if options.strategy not in ("auto", *StrategyRegistry.available_strategies()):
        raise InputError(f"trainer.strategy {options.strategy} is unknown; write auto or ddp")
    devices = placed(options.arguments)["devices"]
    if own_device(options).type == "cpu" and (named_devices(devices) or devices in (-1, "-1")):
        raise InputError(f"trainer.devices {devices}: without a GPU, write how many processes train together")


def own_number(devices: int | list[int] | str) -> int:
    """Of the GPU of this process, among those that trainer.devices names."""
    rank = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    named = named_devices(devices) or []
    return named[rank] if rank < len(named) else rank


def fast_precision(options: TrainerOptions) -> str:
    """What trainer.precision says, or 32 bits, and one line, where that asks a processor for slow arithmetic."""
    if options.precision != "bf16-mixed" or not slow_bfloat16(own_device(options)):
        return options.precision
    if process_rank() == 0:
        print(
            "trainer.precision bf16-mixed: this processor is not fast in bfloat16, so training runs in 32 bits",
            file=sys.stderr,
        )
    return "32-true"


def make_trainer(parts: Namespace, callbacks: list[Any], learner: "Learner", length: Length) -> "Trainer":
    """Lightning's trainer without the parts that this project does itself.

    learner: what a checkpoint that it reads must fit.
    """
    import pytorch_lightning as lightning
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from seq2seq.cluster.preflight import Preflight, placed
    from seq2seq.training.learner import AtomicCheckpoints
    from seq2seq.training.lightning_private import leave_to_us
    from seq2seq.training.resumable import resumable

    asked = {**parts.trainer.arguments, **length.limits, "precision": fast_precision(parts.trainer)}
    options, workspace = placed(asked), os.environ.get(WORKSPACE)
    checkpoints = AtomicCheckpoints()
    try:
        trainer = lightning.Trainer(
            **options,
            callbacks=[Preflight(), *callbacks],
            plugins=[checkpoints],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            inference_mode=False,  # each search chooses: `without_gradients`
            use_distributed_sampler=False,
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as problem:
        raise InputError(
            f"the trainer's options do not fit this machine: {' '.join(str(problem).split())}"
        ) from problem
    if workspace is not None:  # trainer.deterministic has set one with which recurrent layers do not repeat themselves
        os.environ[WORKSPACE] = workspace
    leave_to_us(trainer)
    checkpoints.check = partial(resumable, learner=learner, trainer=trainer)
    return trainer
