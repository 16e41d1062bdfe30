"""Recurrent sequence-to-sequence models: train, evaluate, predict, report."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seq2seq.runs.checkpoint import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`seq2seq.load`, imported when it is first used: torch takes its time."""
    if name == "load":
        from seq2seq.runs.checkpoint import load

        return load
    raise AttributeError(f"module 'seq2seq' has no attribute {name!r}")
