"""One thread for each model: it computes the requests that wait together, a few milliseconds' worth at a time."""

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
        self.closed = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.run, name=f"model {model.name}", daemon=True)
        self.thread.start()

    def submit(self, job: Pending) -> "Future[Any]":
        """Let a request wait for its answer; QueueFull where too many do."""
        with self.changed:
            if self.closed or self.texts + len(job.items) > max(self.limits.queue, len(job.items)):
                raise QueueFull
            self.jobs.append(job)
            self.texts += len(job.items)
            self.changed.notify()
        return job.answer

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

        The first one that comes waits no longer than `limits.wait`, and only while fewer are there than last time: so
        clients that ask again as soon as they are answered find each other, and one alone does not wait.
        """
        with self.changed:
            while not self.jobs and not self.closed:
                self.changed.wait()
            until = time.monotonic() + self.limits.wait / 1000
            while len(self.jobs) < self.last and not self.closed and (rest := until - time.monotonic()) > 0:
                self.changed.wait(rest)
            taken, texts = list[Pending](), 0
            while self.jobs and (not taken or texts + len(self.jobs[0].items) <= self.limits.batch):
                taken.append(self.jobs.popleft())
                texts += len(taken[-1].items)
            self.texts -= texts
            self.last = len(taken)
        return taken

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
