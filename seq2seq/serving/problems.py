"""What went wrong with a request, as a status and one sentence of JSON."""

import asyncio
import json
from http import HTTPStatus

from seq2seq.errors import InputError
from seq2seq.serving.batching import RETRY, Failed, QueueFull


class HttpProblem(Exception):
    """A request is refused."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers or {}

    @property
    def body(self) -> bytes:
        """What the client reads."""
        return json.dumps({"error": self.sentence}).encode()

    @property
    def whole(self) -> bytes:
        """The whole response, for a connection that has no request yet and is closed after it."""
        headers = {"content-type": "application/json", "connection": "close", "content-length": str(len(self.body))}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in (headers | self.headers).items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def busy(what: str) -> HttpProblem:
    """Too much is asked at once."""
    return HttpProblem(503, f"{what}; ask again in {RETRY} s", {"retry-after": str(RETRY)})


def problem_of(raised: BaseException) -> HttpProblem:
    """What a client is told of an exception."""
    if isinstance(raised, HttpProblem):
        return raised
    if isinstance(raised, InputError):
        return HttpProblem(422, str(raised))
    if isinstance(raised, QueueFull):
        return busy("too many requests wait")
    if isinstance(raised, (TimeoutError, asyncio.TimeoutError)):  # one and the same from Python 3.11 on
        return HttpProblem(504, "there was no answer in time; ask for less, or later")
    if isinstance(raised, Failed):
        return HttpProblem(500, "the model failed over this request; the server's log says how")
    return HttpProblem(500, "the server failed over this request; its log says how")
