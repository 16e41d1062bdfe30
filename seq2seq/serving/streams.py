"""Streams over server-sent events, and the sessions whose state the next request continues from."""

import asyncio
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from seq2seq.errors import InputError
from seq2seq.serving.batching import Batcher, ClientLeft, Pending
from seq2seq.serving.models import Fields, Stream
from seq2seq.serving.problems import HttpProblem, busy, problem_of
from seq2seq.serving.questions import Question, searching

IDLE = 600.0
"""Seconds after which a session that nobody continues is forgotten."""


@dataclass
class Session:
    """The state of a stream between two requests."""

    model: str
    stream: Stream
    used: float


class Sessions:
    """The streams that are kept."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: dict[str, Session] = {}

    def find(self, name: str, model: str) -> Session:
        """The session of this name."""
        self.forget()
        found = self.kept.get(name)
        if found is None or found.model != model:
            raise HttpProblem(404, f"{model} has no session of this name: it has ended, or waited {IDLE:.0f} s")
        found.used = time.monotonic()
        return found

    def keep(self, model: str, stream: Stream) -> str:
        """A new session's name, which nobody can guess."""
        self.forget()
        if len(self.kept) >= self.most:
            raise busy("too many sessions are kept")
        name = secrets.token_urlsafe(16)
        self.kept[name] = Session(model, stream, time.monotonic())
        return name

    def forget(self) -> None:
        """Drop what nobody has continued for long."""
        oldest = time.monotonic() - IDLE
        for name in [name for name, one in self.kept.items() if one.used < oldest]:
            del self.kept[name]


class Following:
    """A request that continues a stream, and the events that come of it."""

    def __init__(self, batcher: Batcher, sessions: Sessions, asked: Any, until: float) -> None:
        self.batcher, self.sessions, self.asked, self.until = batcher, sessions, asked, until
        self.loop = asyncio.get_running_loop()
        self.events: asyncio.Queue[tuple[str, Fields] | None] = asyncio.Queue()
        self.left = threading.Event()
        self.name: str | None = asked.session
        model = batcher.model
        carries = batcher.described["carries"]
        if not carries and (asked.session is not None or not asked.end):
            raise InputError("this model carries no state from text to text; leave session and end out")
        if asked.session is not None:
            self.stream = sessions.find(asked.session, model.name).stream
        else:
            self.stream = model.stream()
            self.name = None if asked.end else sessions.keep(model.name, self.stream)
        job = Pending(Question("predict", search=searching(asked)), [(asked.text,)], work=self.work)
        self.answer = asyncio.wrap_future(batcher.submit(job))
        self.answer.add_done_callback(lambda _: self.events.put_nowait(None))

    def work(self) -> Fields:
        """In the thread of the model: go on."""
        question = Question("predict", search=searching(self.asked))
        return self.batcher.model.follow(self.stream, self.asked.text, question, self.asked.end, self.tell)

    def tell(self, kind: str, fields: Fields) -> None:
        """In the thread of the model: an event."""
        if self.left.is_set() or time.monotonic() > self.until:
            raise ClientLeft
        self.loop.call_soon_threadsafe(self.events.put_nowait, (kind, fields))

    async def next(self) -> tuple[str, Fields] | None:
        """The next event; None after the last one; what the model refuses is raised."""
        event = await asyncio.wait_for(self.events.get(), max(0.0, self.until - time.monotonic()))
        if event is None and (problem := self.answer.exception()) is not None:
            raise TimeoutError if isinstance(problem, ClientLeft) else problem
        return event

    async def written(self, first: tuple[str, Fields] | None) -> AsyncIterator[str]:
        """All events as text, of which the first has been waited for."""
        event = first
        try:
            while event is not None:
                yield as_event(*event)
                event = await self.next()
            if self.asked.end:
                self.sessions.kept.pop(self.name or "", None)
            yield as_event("done", {**self.answer.result(), "session": None if self.asked.end else self.name})
        except Exception as raised:
            yield as_event("error", {"error": problem_of(raised).sentence})
        finally:
            self.leave()

    def give_up(self) -> None:
        """Nothing has come of it, so a new session has not begun."""
        self.leave()
        if self.asked.session is None:
            self.sessions.kept.pop(self.name or "", None)

    def leave(self) -> None:
        """Nobody reads any more."""
        self.left.set()
        self.answer.cancel()


def as_event(kind: str, fields: Fields) -> str:
    """An event as it is sent."""
    return f"event: {kind}\ndata: {json.dumps(fields)}\n\n"
