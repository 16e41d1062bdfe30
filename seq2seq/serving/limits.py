"""What one request may ask for, and how many may wait."""

from dataclasses import dataclass, fields
from typing import final

from seq2seq.configurable import Settings
from seq2seq.errors import check_range

LEAST = {"wait": 0.0, "seconds": 0.1}
"""What is not at least one."""


@final
@dataclass(frozen=True)
class ServingLimits(Settings):
    """What one request may ask for, and how many may wait.

    Args:
        body: bytes of a request's body.
        texts: texts of a request.
        characters: characters of a text.
        beam: the widest beam and the longest n-best list.
        tokens: the largest max_length that a request may ask for.
        queue: texts that may wait for a model; when there are more, requests are answered 503.
        batch: texts that are computed together.
        wait: milliseconds that a batch of fewer requests than the one before it waits for the next one.
        seconds: how long a request may take, reading of its body included.
        connections: open connections; further ones are answered 503.
        sessions: streams whose state is kept for their next request, of all models together.
    """

    body: int = 1 << 20
    texts: int = 64
    characters: int = 10_000
    beam: int = 32
    tokens: int = 1_000
    queue: int = 256
    batch: int = 64
    wait: float = 3.0
    seconds: float = 30.0
    connections: int = 500
    sessions: int = 100

    def __post_init__(self) -> None:
        for field in fields(self):
            check_range(f"limits.{field.name}", getattr(self, field.name), LEAST.get(field.name, 1))
