"""Other projects on the same rows, each in an environment of its own that is made on first use."""

from pathlib import Path

from seq2seq.speed.figures import Figures, Sizes


def folder_of(asked: Path | None) -> Path:
    """Where the environments are."""
    return asked or Path("peers")


def peers(sizes: Sizes, found: Figures, folder: Path) -> None:
    """To come."""
