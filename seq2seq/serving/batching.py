"""One thread for each model: it computes the requests that wait together, a few milliseconds' worth at a time."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from seq2seq.errors import InputError
from seq2seq.serving.limits import ServingLimits
from seq2seq.serving.metrics import ServingMetrics
from seq2seq.serving.models import Fields, Item, ServedModel
from seq2seq.serving.questions import Question

log = logging.getLogger(__name__)

PATIENCE = 10
"""Times `limits.wait` that a batch waits at most while requests keep coming."""

RETRY = 1
"""Seconds after which a client that was turned away may ask again."""


class QueueFull(Exception):
    """Too many texts wait."""


class Failed(Exception):
    """The model broke down over a request; the log says how."""


class ClientLeft(Exception):
    """Nobody reads the events of a stream any more."""


@dataclass(eq=False)
class Pending:
    """Items that one request asks about."""

    question: Question
    items: Sequence[Item]
    answer: "Future[Any]" = field(default_factory=Future)
    work: Callable[[], Any] | None = None
    """Done in place of the model's answers, alone."""

    def finish(self, value: Any = None, problem: BaseException | None = None) -> None:
        """Hand over the answer, unless nobody wants it."""
        if self.answer.cancelled():
            return
        if problem is None:
            self.answer.set_result(value)
        else:
            self.answer.set_exception(problem)


class Returns:
    """Answers on their way from the threads of models to a loop of asyncio, which is woken once for all that are ready.

    One wake-up for each would cost as much as the rest of an answer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ready: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self.woken = False

    def future(self, answer: "Future[Any]") -> "asyncio.Future[Any]":
        """As asyncio.wrap_future."""
        mine: asyncio.Future[Any] = self.loop.create_future()
        mine.add_done_callback(lambda done: answer.cancel() if done.cancelled() else None)
        answer.add_done_callback(lambda done: self.put(mine, done))
        return mine

    def put(self, mine: "asyncio.Future[Any]", done: "Future[Any]") -> None:
        """In any thread: an answer is there."""
        self.ready.append((mine, done))
        if not self.woken:
            self.woken = True
            try:
                self.loop.call_soon_threadsafe(self.hand_over)
            except RuntimeError:  # the loop has ended, and nobody waits
                return

    def hand_over(self) -> None:
        """In the loop: all that are ready."""
        self.woken = False
        while self.ready:
            mine, done = self.ready.popleft()
            if mine.done():
                continue
            if done.cancelled():
                mine.cancel()
            elif (problem := done.exception()) is not None:
                mine.set_exception(problem)
            else:
                mine.set_result(done.result())


class Batcher:
    """The requests to a model that wait, and the thread that answers them."""

    def __init__(self, model: ServedModel, limits: ServingLimits, metrics: ServingMetrics) -> None:
        self.model, self.limits, self.metrics = model, limits, metrics
        self.described = model.described()
        self.jobs: deque[Pending] = deque()
        self.texts = 0
        """That wait."""
        self.last = 1
        """Requests of the last batch."""
        self.came = 0.0
        """When the last request came, the last answer went, or the thread began to wait for more."""
        self.closed = False
        self.changed = threading.Condition()
        self.wanted = 1
        """Requests for which the thread is woken: each time costs as much as reading a request."""
        self.thread = threading.Thread(target=self.run, name=f"model {model.name}", daemon=True)
        self.thread.start()

    def submit(self, job: Pending) -> "Future[Any]":
        """Let a request wait for its answer; QueueFull where too many do."""
        with self.changed:
            if self.closed or self.texts + len(job.items) > max(self.limits.queue, len(job.items)):
                raise QueueFull
            self.jobs.append(job)
            self.texts += len(job.items)
            self.came = time.monotonic()
            if self.enough(self.wanted):
                self.changed.notify()
        return job.answer

    def went(self) -> None:
        """An answer is on its way to a client, who may ask again."""
        self.came = time.monotonic()

    def close(self) -> None:
        """Answer all that wait, and end."""
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()

    def run(self) -> None:
        """Answer until the end."""
        while batch := self.next_batch():
            wanted = [job for job in batch if job.answer.set_running_or_notify_cancel()]
            for together in self.groups(wanted):
                self.answer(together)

    def next_batch(self) -> list[Pending]:
        """The requests to compute now; none at the end.

        As many are expected as were answered last and as have come since. While fewer are there, they wait for the next
        one, each time no longer than `limits.wait`, and ten times that altogether: so clients that ask again as soon as
        they are answered find each other, and one alone does not wait.
        """
        with self.changed:
            expected, self.wanted = len(self.jobs) + self.last, 1
            while not self.jobs and not self.closed:
                self.changed.wait()
            self.wanted, self.came = expected, time.monotonic()
            until = self.came + PATIENCE * self.limits.wait / 1000
            while not self.closed and not self.enough(expected) and (rest := self.rest(until)) > 0:
                self.changed.wait(rest)
            taken, texts = list[Pending](), 0
            while self.jobs and (not taken or texts + len(self.jobs[0].items) <= self.limits.batch):
                taken.append(self.jobs.popleft())
                texts += len(taken[-1].items)
            self.texts -= texts
            self.last = len(taken)
        return taken

    def enough(self, expected: int) -> bool:
        """Whether so many requests wait, or a full batch."""
        return len(self.jobs) >= expected or self.texts >= self.limits.batch

    def rest(self, until: float) -> float:
        """Seconds to wait for one more request."""
        return min(until, self.came + self.limits.wait / 1000) - time.monotonic()

    def groups(self, jobs: Sequence[Pending]) -> Iterator[list[Pending]]:
        """Requests whose answers come from one computation; what is wrong with a request concerns it alone."""
        good = [job for job in jobs if self.passes(job)]
        alone = [job for job in good if job.work is not None or not self.model.joins(job.question)]
        others = sorted((job for job in good if job not in alone), key=lambda job: job.question)
        for _, several in groupby(others, key=lambda job: job.question):
            yield list(several)
        yield from ([job] for job in alone)

    def passes(self, job: Pending) -> bool:
        """Whether something can be said of the items; if not, the request is told why."""
        if job.work is not None:
            return True
        try:
            self.model.check(job.question, job.items)
        except Exception as problem:
            job.finish(problem=self.told(problem))
            return False
        return True

    def answer(self, together: Sequence[Pending]) -> None:
        """Compute and hand over."""
        started = time.perf_counter()
        try:
            found = self.computed(together)
        except Exception as problem:
            if len(together) > 1:
                for job in together:
                    self.answer([job])
                return
            together[0].finish(problem=self.told(problem))
            return
        self.metrics.computed(self.model.name, sum(len(job.items) for job in together), time.perf_counter() - started)
        for job, value in zip(together, found, strict=True):
            job.finish(value)

    def computed(self, together: Sequence[Pending]) -> list[Any]:
        """The answers to requests with one question."""
        first = together[0]
        if first.work is not None:
            return [first.work()]
        rows = iter(self.model.answers(first.question, [item for job in together for item in job.items]))
        answers: list[list[Fields]] = [[next(rows) for _ in job.items] for job in together]
        return answers

    def told(self, problem: Exception) -> Exception:
        """What a client is told of a problem; the log has the rest."""
        if isinstance(problem, (InputError, ClientLeft)):
            return problem
        log.error("the model failed", exc_info=problem, extra={"fields": {"model": self.model.name}})
        return Failed()
