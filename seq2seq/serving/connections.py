"""Connections that do not wait for ever: time for the head of a request, and for all of it; no more than so many."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from seq2seq.serving.limits import ServingLimits
from seq2seq.serving.problems import HttpProblem, busy

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as Connection
else:
    Connection = object  # uvicorn is imported where it is needed

log = logging.getLogger(__name__)

HEAD = 10.0
"""Seconds for the head of a request."""

SPARE = 5.0
"""Seconds in which an answer must be read, after the time that a request may take."""

LINGER = 0.5
"""Seconds in which a server that ends still reads from connections that wait."""


class PatientConnection(Connection):
    """A connection with a clock; in front of a protocol of uvicorn."""

    limits: ServingLimits
    head: float
    """Seconds for the head of a request."""
    spare: float
    """Seconds in which an answer must be read."""
    clock: asyncio.TimerHandle | None = None
    reads_head = True
    ending = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self.refuse(busy("too many connections are open"))
            return
        self.start(self.head)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.waits_for_head and self.clock is None:  # a part of a head
            self.start(self.head)
        self.see_request()

    @property
    def waits_for_head(self) -> bool:
        """Whether no request has begun, or its head is not complete."""
        from h11 import IDLE

        return self.conn.their_state is IDLE

    def see_request(self) -> None:
        """Give a request whose head is complete its own time."""
        if self.reads_head and not self.waits_for_head and not self.transport.is_closing():
            self.reads_head = False
            self.start(self.limits.seconds + self.spare)
            if self.ending and self.answers:
                self.answer_last()

    def on_response_complete(self) -> None:
        self.stop()
        self.reads_head = True
        if self.transport.get_write_buffer_size():
            self.start(self.spare)
        super().on_response_complete()
        self.see_request()  # the next one may have come already

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
        else:
            self.refuse(HttpProblem(400, "this is no valid HTTP request"))

    @property
    def answers(self) -> bool:
        """Whether a request waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete

    def shutdown(self) -> None:
        self.ending = True
        if self.answers:
            self.answer_last()
        else:  # the next request may be on its way
            self.loop.call_later(LINGER, self.end)

    def answer_last(self) -> None:
        """Close the connection after this answer, and say so in it, as uvicorn does for clients that ask for it."""
        self.scope["headers"] = [*self.scope["headers"], (b"connection", b"close")]
        self.cycle.keep_alive = False

    def end(self) -> None:
        """Close the connection if nothing has come."""
        if not self.answers and not self.transport.is_closing():
            super().shutdown()

    def start(self, seconds: float) -> None:
        """Set the clock."""
        self.stop()
        self.clock = self.loop.call_later(seconds, self.late)

    def stop(self) -> None:
        """Stop the clock."""
        if self.clock is not None:
            self.clock.cancel()
        self.clock = None

    def late(self) -> None:
        """The time is over."""
        if self.reads_head and not self.transport.get_write_buffer_size():
            self.refuse(HttpProblem(408, "the head of the request did not come in time"))
        else:
            log.warning("a client did not read its answer in time")
            self.transport.abort()

    def refuse(self, problem: HttpProblem) -> None:
        """Answer without a request, and close."""
        self.stop()
        if not self.transport.is_closing():
            self.transport.write(problem.whole)
            self.transport.close()
            if self.transport.get_write_buffer_size():  # nobody reads
                self.transport.abort()


def connection_class(limits: ServingLimits, head: float = HEAD, spare: float = SPARE) -> Any:
    """The class of connections with these limits; head, spare: in seconds."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return type("Patient", (PatientConnection, H11Protocol), {"limits": limits, "head": head, "spare": spare})
