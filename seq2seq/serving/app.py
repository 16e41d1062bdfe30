"""The application: its paths, what they answer, and how they are described."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import seq2seq
from seq2seq.errors import InputError
from seq2seq.serving.batching import Batcher, Pending, Returns
from seq2seq.serving.guard import App, Guard
from seq2seq.serving.limits import ServingLimits
from seq2seq.serving.metrics import ServingMetrics, quoted
from seq2seq.serving.models import Item, ServedModel
from seq2seq.serving.problems import HttpProblem, problem_of
from seq2seq.serving.questions import Bodies, Question, bodies, searching, sentence_of
from seq2seq.serving.streams import Following, Sessions

if TYPE_CHECKING:
    from fastapi import FastAPI

PAGE = {
    "/": ("seq2seq.serving", "page.html", "text/html"),
    "/page.js": ("seq2seq.serving", "page.js", "text/javascript"),
    "/page.css": ("seq2seq.serving", "page.css", "text/css"),
    "/style.css": ("seq2seq.report", "style.css", "text/css"),
}
"""The page in a browser; its look is that of a report."""

ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}

STATUSES = {
    400: "no JSON", 401: "the token is missing", 403: "another name than that of this machine",
    404: "unknown model or session", 408: "the body came too slowly", 413: "the body is too large",
    415: "no application/json", 422: "a field that cannot be", 500: "the model failed",
    503: "too many requests wait; see Retry-After", 504: "no answer in time",
}  # fmt: skip


class Service:
    """Models that answer."""

    def __init__(self, models: Sequence[ServedModel], limits: ServingLimits) -> None:
        names = [model.name for model in models]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"two models are called {twice[0]}; rename the folder of one of the runs")
        self.limits, self.metrics = limits, ServingMetrics()
        self.batchers = {model.name: Batcher(model, limits, self.metrics) for model in models}
        self.sessions = Sessions(limits.sessions)
        self.bodies: Bodies = bodies(limits)
        self.stopping = False
        self.returning: Returns | None = None
        for name, batcher in self.batchers.items():
            self.metrics.gauges[f'seq2seq_waiting_texts{{model="{quoted(name)}"}}'] = lambda of=batcher: of.texts  # type: ignore[misc]
        self.metrics.gauges["seq2seq_sessions"] = lambda: len(self.sessions.kept)

    def close(self) -> None:
        """Answer all that wait, and end."""
        self.stopping = True
        for batcher in self.batchers.values():
            batcher.close()

    def named(self, name: str | None) -> Batcher:
        """The model of a name, or the only one."""
        known = ", ".join(self.batchers)
        if name is None and len(self.batchers) == 1:
            return next(iter(self.batchers.values()))
        if name is None:
            raise InputError(f"model is missing; known are {known}")
        if name not in self.batchers:
            raise HttpProblem(404, f"no model is called {name[:60]!r}; known are {known}")
        return self.batchers[name]

    def returns(self) -> Returns:
        """What brings answers into the loop that runs."""
        loop = asyncio.get_running_loop()
        if self.returning is None or self.returning.loop is not loop:
            self.returning = Returns(loop)
        return self.returning

    async def read(self, request: Any, kind: Any) -> Any:
        """The body of a request."""
        from pydantic import ValidationError

        try:
            return kind.model_validate_json(await request.body())
        except ValidationError as problem:
            raise HttpProblem(*sentence_of(problem.errors(include_url=False, include_input=False))) from None

    async def answers(self, request: Any, name: str | None, question: Question, items: Sequence[Item]) -> Any:
        """What the model says of each item."""
        from starlette.responses import JSONResponse

        batcher = self.named(name)
        request.scope["fields"] |= {"model": batcher.model.name, "texts": len(items)}
        until = request.scope["until"]
        future = self.returns().future(batcher.submit(Pending(question, items)))
        try:
            found = await asyncio.wait_for(future, max(0.0, until - time.monotonic()))
        except asyncio.TimeoutError:
            raise HttpProblem(504, "there was no answer in time; ask for less, or later") from None
        batcher.went()
        return JSONResponse({"model": batcher.model.name, "answers": found})

    # What each path answers.

    async def predict(self, request: Any) -> Any:
        """The best predictions for each text, as `python -m seq2seq.predict` makes them."""
        asked = await self.read(request, self.bodies.predict)
        if asked.n_best > 1 and asked.beam_size is None and asked.temperature is None:
            beam = self.named(asked.model).described["beam_size"]
            asked.beam_size = max(asked.n_best, beam)
        question = Question("predict", asked.n_best, asked.attention, searching(asked))
        return await self.answers(request, asked.model, question, [(text,) for text in asked.texts])

    async def score(self, request: Any) -> Any:
        """The log-probability of each target in nats, given its source."""
        asked = await self.read(request, self.bodies.score)
        sources = [""] * len(asked.targets) if asked.sources is None else asked.sources
        if len(sources) != len(asked.targets):
            raise InputError(f"sources has {len(sources)} texts and targets {len(asked.targets)}; give as many")
        items = list(zip(sources, asked.targets, strict=True))
        return await self.answers(request, asked.model, Question("score"), items)

    async def encode(self, request: Any) -> Any:
        """The fixed vector of each text."""
        asked = await self.read(request, self.bodies.encode)
        return await self.answers(request, asked.model, Question("encode"), [(text,) for text in asked.texts])

    async def stream(self, request: Any) -> Any:
        """Labels or text as they come, as server-sent events; a session continues where the last request ended."""
        from starlette.responses import StreamingResponse

        asked = await self.read(request, self.bodies.stream)
        batcher = self.named(asked.model)
        request.scope["fields"] |= {"model": batcher.model.name, "texts": 1}
        following = Following(batcher, self.sessions, asked, request.scope["until"])
        try:
            first = await following.next()
        except BaseException:
            following.give_up()
            raise
        return StreamingResponse(following.written(first), media_type="text/event-stream")

    async def health(self, request: Any) -> Any:
        """Whether requests are answered."""
        from starlette.responses import JSONResponse

        status = "stopping" if self.stopping else "ok"
        return JSONResponse({"status": status, "version": seq2seq.__version__}, 503 if self.stopping else 200)

    async def models(self, request: Any) -> Any:
        """What is served, and what may be asked of it."""
        from starlette.responses import JSONResponse

        return JSONResponse({"models": [batcher.described for batcher in self.batchers.values()]})

    async def numbers(self, request: Any) -> Any:
        """What was counted, for Prometheus."""
        from starlette.responses import PlainTextResponse

        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4")


def application(service: Service, token: str | None = None, ready: Callable[[], None] = lambda: None) -> App:
    """The application that answers for a service; when it ends, all that wait are answered first.

    ready: called when signals are waited for.
    """
    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        ready()
        yield
        await asyncio.get_running_loop().run_in_executor(None, service.close)

    about = {
        "title": "seq2seq",
        "version": seq2seq.__version__,
        "description": "Trained runs that predict, score and encode.",
    }
    pages: dict[str, Any] = {"docs_url": None, "redoc_url": None}  # they would load scripts from elsewhere
    app = FastAPI(lifespan=lifespan, redirect_slashes=False, **about, **pages)  # type: ignore[arg-type]
    add_paths(app, service)
    add_page(app)
    add_problems(app)
    direct = {"/predict": service.predict, "/score": service.score, "/encode": service.encode}
    return Guard(app, service.limits, service.metrics, token, {path: answering(one) for path, one in direct.items()})


def answering(handler: Callable[[Any], Any]) -> App:
    """A handler as an application of its own, without the layers of FastAPI: a third of what a request costs."""
    from starlette.requests import Request

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    return answer


def add_paths(app: "FastAPI", service: Service) -> None:
    """What programs ask."""
    from fastapi import Request, Response

    answer = {"type": "object", "properties": {"model": {"type": "string"}, "answers": {"type": "array"}}}
    event = {"type": "object", "properties": {"event": {"type": "string"}, "data": {"type": "string"}}}
    events = {"text/event-stream": {"schema": event}}
    kinds: list[tuple[str, Any, Any, dict[str, Any]]] = [
        ("/predict", service.predict, service.bodies.predict, json_of(answer)),
        ("/score", service.score, service.bodies.score, json_of(answer)),
        ("/encode", service.encode, service.bodies.encode, json_of(answer)),
        ("/stream", service.stream, service.bodies.stream, events),
        ("/health", service.health, None, json_of({"type": "object"})),
        ("/models", service.models, None, json_of({"type": "object"})),
        ("/metrics", service.numbers, None, {"text/plain": {"schema": {"type": "string"}}}),
    ]
    for path, handler, body, content in kinds:

        async def endpoint(request: Request, handler: Any = handler) -> Response:
            return await handler(request)  # type: ignore[no-any-return]

        endpoint.__signature__ = signature_of(Request, Response)  # type: ignore[attr-defined]
        problems: dict[int | str, Any] = {
            code: {"description": text, "content": json_of(ERROR)} for code, text in STATUSES.items()
        }
        extra = (
            {} if body is None else {"requestBody": {"required": True, "content": json_of(body.model_json_schema())}}
        )
        app.add_api_route(
            path, endpoint, methods=["GET"] if body is None else ["POST"], summary=path[1:].capitalize(), name=path[1:],
            description=handler.__doc__, openapi_extra=extra, response_class=Response,
            responses={200: {"description": "the answer", "content": content}, **problems},
        )  # fmt: skip


def signature_of(request: type, response: type) -> Any:
    """That of an endpoint which reads the body itself."""
    import inspect

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter("request", kind, annotation=request)], return_annotation=response)


def json_of(schema: dict[str, Any]) -> dict[str, Any]:
    """A body of JSON in the description of the interface."""
    return {"application/json": {"schema": schema}}


def add_page(app: "FastAPI") -> None:
    """What people see."""
    from starlette.responses import Response

    for path, (package, name, kind) in PAGE.items():
        content = files(package).joinpath(name).read_bytes()

        async def file(request: Any, content: bytes = content, kind: str = kind) -> Response:
            return Response(content, media_type=f"{kind}; charset=utf-8")

        app.add_route(path, file, methods=["GET"], include_in_schema=False)


def add_problems(app: "FastAPI") -> None:
    """Every refusal is one sentence of JSON."""
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    async def told(request: Any, raised: Exception) -> Response:
        problem = problem_of(raised)
        headers = problem.headers
        return Response(problem.body, problem.status, headers, "application/json")

    async def unknown(request: Any, raised: Any) -> Response:
        what = {404: "there is nothing here; the paths are in /openapi.json", 405: "this path takes another method"}
        sentence = what.get(raised.status_code, str(raised.detail))
        return Response(
            HttpProblem(raised.status_code, sentence).body, raised.status_code, raised.headers, "application/json"
        )

    app.add_exception_handler(HTTPException, unknown)
    for kind in (HttpProblem, InputError, Exception):
        app.add_exception_handler(kind, told)
