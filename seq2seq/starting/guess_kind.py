"""What is said of somebody's files."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Guess(NamedTuple):
    """A configuration in the making."""

    what: str
    """In words, for the user and the first line of the file."""
    corpus: dict[str, Any]
    settings: dict[str, Any]
    """All besides the corpus."""
    notes: Sequence[str] = ()
