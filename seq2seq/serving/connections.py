"""Connections that do not wait for ever: time for the head of a request, and for all of it; no more than so many."""

import asyncio
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from seq2seq.serving.limits import ServingLimits
from seq2seq.serving.problems import HttpProblem, busy

log = logging.getLogger(__name__)

HEAD = 10.0
"""Seconds for the head of a request."""

SPARE = 5.0
"""Seconds in which an answer must be read, after the time that a request may take."""


def connection_class(limits: ServingLimits, head: float = HEAD, spare: float = SPARE) -> type[H11Protocol]:
    """The class of connections with these limits; head, spare: in seconds."""

    class PatientConnection(H11Protocol):
        """A connection with a clock."""

        clock: asyncio.TimerHandle | None = None
        reads_head = True

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self.refuse(busy("too many connections are open"))
                return
            self.start(head)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if self.conn.their_state is h11.IDLE and self.clock is None:  # a part of a head
                self.start(head)
            self.see_request()

        def see_request(self) -> None:
            """Give a request whose head is complete its own time."""
            if self.reads_head and self.conn.their_state is not h11.IDLE and not self.transport.is_closing():
                self.reads_head = False
                self.start(limits.seconds + spare)

        def on_response_complete(self) -> None:
            self.stop()
            self.reads_head = True
            if self.transport.get_write_buffer_size():
                self.start(spare)
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

        def shutdown(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                said = [*self.scope["headers"], (b"connection", b"close")]
                self.scope["headers"] = said  # as if the client had asked for it: uvicorn then says so in its answer
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

    return PatientConnection
