"""A model that waits until it may answer."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from seq2seq.errors import InputError
from seq2seq.serving.questions import Question


class Slow:
    """A model that answers when it is told to, with the texts themselves."""

    name = "slow"

    def __init__(self, says: Callable[[str], str] = str) -> None:
        self.says = says
        self.taken = 0
        """Texts of the computations that have begun."""
        self.go, self.asked = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []

    def described(self) -> dict[str, Any]:
        return {"name": self.name, "carries": False, "beam_size": 1}

    def joins(self, question: Question) -> bool:
        return True

    def check(self, question: Question, items: Sequence[tuple[str, ...]]) -> None:
        if any(text == "bad" for (text,) in items):
            raise InputError("texts[0] is bad")

    def answers(self, question: Question, items: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
        self.taken += len(items)
        self.asked.set()
        assert self.go.wait(10)
        self.batches.append([text for (text,) in items])
        if any(text == "broken" for (text,) in items):
            raise RuntimeError("secret details")
        return [{"predictions": [{"text": self.says(text)}]} for (text,) in items]

    def stream(self) -> Any:
        raise InputError("no streams")

    def follow(self, *_: Any) -> dict[str, Any]:
        raise InputError("no streams")
