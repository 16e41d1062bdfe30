"""Recurrent sequence-to-sequence models: train, evaluate, predict, report.

`load`, `fit` and `evaluate` are imported when they are first used: torch takes its time. For the same reason the help
of `python -m seq2seq.NAME` is answered here, where it is known, before the command is imported.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seq2seq.api.model import Model, load
    from seq2seq.api.training import Run, fit

__version__ = "0.1.0"
__all__ = ["Model", "Run", "__version__", "fit", "load"]

PLACES = {"Model": "api.model", "load": "api.model", "Run": "api.training", "fit": "api.training"}
"""In which module each name of the Python interface is defined."""


def __getattr__(name: str) -> Any:
    """A name of the Python interface."""
    if name == "evaluate":  # the module of the command, which may be called: it would take the name in any case
        return importlib.import_module("seq2seq.evaluate")
    if name in PLACES:
        return getattr(importlib.import_module(f"seq2seq.{PLACES[name]}"), name)
    raise AttributeError(f"module 'seq2seq' has no attribute {name!r}")


if sys.argv[:1] == ["-m"]:  # Python is about to import the command
    from seq2seq.cli import remembered_help

    remembered_help.answer_module()
