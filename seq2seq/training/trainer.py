"""Lightning's trainer without the parts that this project does itself."""

from importlib import metadata
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from seq2seq.errors import InputError
from seq2seq.training.length import Length

if TYPE_CHECKING:
    from pytorch_lightning import Trainer


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


def make_trainer(parts: Namespace, callbacks: list[Any], length: Length) -> "Trainer":
    """Lightning's trainer without the parts that this project does itself."""
    import pytorch_lightning as lightning
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from seq2seq.cluster.preflight import Preflight, placed
    from seq2seq.training.learner import AtomicCheckpoints
    from seq2seq.training.lightning_private import leave_to_us

    options = placed({**parts.trainer.arguments, **length.limits})
    try:
        trainer = lightning.Trainer(
            **options,
            callbacks=[Preflight(), *callbacks],
            plugins=[AtomicCheckpoints()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as problem:
        raise InputError(
            f"the trainer's options do not fit this machine: {' '.join(str(problem).split())}"
        ) from problem
    leave_to_us(trainer)
    return trainer
