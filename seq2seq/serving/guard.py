"""What every request passes: its Host, its token, the size of its body and the time that this takes."""

import asyncio
import hmac
import ipaddress
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from itertools import count
from os import urandom
from typing import Any

from seq2seq.serving.limits import ServingLimits
from seq2seq.serving.metrics import ServingMetrics
from seq2seq.serving.problems import HttpProblem, problem_of

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = ("/", "/page.js", "/page.css", "/style.css", "/health")
"""What needs no token."""

PATHS = (*OPEN, "/models", "/metrics", "/openapi.json", "/predict", "/score", "/encode", "/stream")

DISCARDED = 8
"""Times the allowed body that is read and thrown away, so that the client comes to read why."""

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine and no other can reach it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def name_in(host: str) -> str:
    """The name or address in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


class Guard:
    """The application behind what every request passes."""

    def __init__(
        self, app: App, limits: ServingLimits, metrics: ServingMetrics, token: str | None, direct: Mapping[str, App]
    ) -> None:
        """token: what clients must know; without one only names of this machine are answered to.

        direct: what answers POST of these paths in place of the application.
        """
        self.app, self.limits, self.metrics, self.token, self.direct = app, limits, metrics, token, direct
        self.numbers, self.mark = count(), urandom(3).hex()
        """Requests so far, and what tells them from those of another process."""
        self.headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, number = time.perf_counter(), 0, f"{self.mark}{next(self.numbers):06x}"
        scope["until"] = time.monotonic() + self.limits.seconds
        scope["fields"] = {}
        extra = [*self.headers, (b"x-request-id", number.encode())]
        app = self.direct.get(scope["path"], self.app) if scope["method"] == "POST" else self.app

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            self.admit(scope)
            await app(scope, await self.whole(scope, receive), counted)
        except Exception as raised:
            problem = problem_of(raised)
            if problem.status == 500:
                log.error("a request failed", exc_info=raised, extra={"fields": {"id": number}})
            if not status:
                await respond(problem, counted)
        finally:
            self.record(scope, status, time.perf_counter() - started, number)

    def record(self, scope: Message, status: int, seconds: float, number: str) -> None:
        """Count and log a request that is over."""
        path = scope["path"] if scope["path"] in PATHS else "other"
        self.metrics.requested(path, status, seconds)
        fields = {"id": number, "method": scope["method"], "path": scope["path"][:200], "status": status}
        client = scope["client"][0] if scope.get("client") else None
        fields |= {"ms": round(1000 * seconds, 1), "client": client, **scope["fields"]}
        log.info("request", extra={"fields": fields})

    def admit(self, scope: Message) -> None:
        """Refuse what comes from a page of others or lacks the token."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self.token is None:
            host = name_in(headers.get(b"host", "localhost"))
            if not is_loopback(host):
                raise HttpProblem(
                    403, f"this server answers to localhost only, not to {host[:100]}", {"connection": "close"}
                )
        elif scope["path"] not in OPEN:
            given = headers.get(b"authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                needed = {"www-authenticate": "Bearer", "connection": "close"}
                raise HttpProblem(401, "the header Authorization: Bearer TOKEN is missing or wrong", needed)
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and scope["path"] in PATHS and kind != "application/json":
            raise HttpProblem(415, "the body must come as Content-Type: application/json", {"connection": "close"})

    async def whole(self, scope: Message, receive: Receive) -> Receive:
        """`receive` with the whole body, which has come in time and is not too large."""
        try:
            body = await self.in_time(receive)
        except asyncio.TimeoutError:
            raise HttpProblem(408, "the body did not come in time", {"connection": "close"}) from None
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return replay

    async def in_time(self, receive: Receive) -> bytes:
        """The whole body; asyncio.TimeoutError where it does not come."""
        if sys.version_info < (3, 11):
            return await asyncio.wait_for(self.body(receive), self.limits.seconds)
        async with asyncio.timeout(self.limits.seconds):  # without a task of its own
            return await self.body(receive)

    async def body(self, receive: Receive) -> bytes:
        """The whole body."""
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise HttpProblem(400, "the connection ended within the body")
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size <= self.limits.body:
                parts.append(part)
            elif size > DISCARDED * self.limits.body:
                break
        if size > self.limits.body:
            close = {"connection": "close"}
            raise HttpProblem(413, f"the body has more than {self.limits.body:,} bytes; send fewer texts", close)
        return b"".join(parts)


async def respond(problem: HttpProblem, send: Send) -> None:
    """Send a refusal."""
    headers = {"content-type": "application/json", "content-length": str(len(problem.body)), **problem.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": problem.body})
