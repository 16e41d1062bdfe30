"""HTTP: answers are those of `predict`, whoever asks beside; what is wrong ends in a status and one sentence."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import seq2seq
from seq2seq.api.model import Model
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.errors import InputError
from seq2seq.models.attention import Dot
from seq2seq.models.encoder import EncoderOptions
from seq2seq.serving.batching import Batcher, Pending, QueueFull, Returns
from seq2seq.serving.exported import FileModel
from seq2seq.serving.limits import ServingLimits
from seq2seq.serving.metrics import ServingMetrics
from seq2seq.serving.models import RunModel
from seq2seq.serving.opening import opened
from seq2seq.serving.questions import Question
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from tests.runtime.networks import loops_of_python, model_of
from tests.serving.stub import Slow
from tests.support import PAIRS, SENTENCES, TEXTS, batch_of, fitted, learnt, saved, small, trained

fastapi = pytest.importorskip("fastapi", reason="pip install fastapi uvicorn httpx")
httpx = pytest.importorskip("httpx")

from seq2seq.serving.app import Service, application  # noqa: E402

TOKEN = "a secret of many letters"
LIMITS = ServingLimits(body=20_000, texts=8, characters=500, beam=8, tokens=50, queue=12, seconds=5.0, sessions=3)


class Site:
    """An application that is asked without sockets."""

    def __init__(self, service: Service, token: str | None = None) -> None:
        self.service = service
        self.app = application(service, token)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """One response."""
        return self.together([(method, path, more)])[0]

    def together(self, requests: Sequence[tuple[str, str, dict[str, Any]]]) -> list[Any]:
        """The responses to requests that come at once."""

        async def all_of_them() -> list[Any]:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return list(await asyncio.gather(*(client.request(*one[:2], **one[2]) for one in requests)))

        with ThreadPoolExecutor(1) as thread:  # this one may have a loop, of a browser
            return thread.submit(asyncio.run, all_of_them()).result()

    def post(self, path: str, **body: Any) -> Any:
        """What a body is answered."""
        return self.ask("POST", path, json=body)

    def predicted(self, **body: Any) -> list[dict[str, Any]]:
        """The answers of /predict."""
        response = self.post("/predict", **body)
        assert response.status_code == 200, response.text
        answers: list[dict[str, Any]] = response.json()["answers"]
        return answers


@pytest.fixture(scope="module")
def translator(tokenizers: Tokenizers, tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    task = small(Translation, tokenizers, attention=Dot(), hidden_size=24)
    path = saved(fitted(task, batch_of(PAIRS, tokenizers), 30), tmp_path_factory.mktemp("serving") / "one.ckpt")
    return seq2seq.load(path)


@pytest.fixture(scope="module")
def models(translator: Model, tmp_path_factory: pytest.TempPathFactory) -> list[RunModel]:
    """One of each kind."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("serving")
    series = learnt([(f"{n}\t{n + 1}\t{n + 2}", f"{n + 3}\t{n + 4}") for n in range(6)], Vectors(), Vectors())
    tags = learnt(SENTENCES, Words(separator="\t"), Labels("\t"))
    classes = learnt([("a b", "x"), ("c d", "y")] * 3, Words(), Labels())
    letters = Tokenizers(NoSource(), trained(Characters(), TEXTS))
    made = {
        "tagger": small(Tagging, tags, encoder=EncoderOptions(bidirectional=False), lookahead=1),
        "classifier": small(Classification, classes),
        "forecaster": small(Forecasting, series),
        "writer": small(Generation, letters, running=True),
    }
    others = [RunModel(name, seq2seq.load(saved(task, folder / f"{name}.ckpt"))) for name, task in made.items()]
    return [RunModel("translator", translator), *others]


@pytest.fixture(scope="module")
def site(models: list[RunModel]) -> Iterator[Site]:
    service = Service(models, LIMITS)
    yield Site(service)
    service.close()


def events_of(response: Any) -> list[tuple[str, dict[str, Any]]]:
    """What a stream has told."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in response.text.split("\n\n") if block]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in blocks]


# --- answers -----------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_predict_whoever_asks_beside(site: Site, translator: Model) -> None:
    texts = [source for source, _ in PAIRS[:8]] + ["a", "two men in a red car sat fast in a red car"]
    asked = [
        ("POST", "/predict", {"json": {"texts": [text], "model": "translator", "n_best": 3, "beam_size": 4}})
        for text in texts
    ]
    for text, response in zip(texts, site.together(asked), strict=True):
        wanted = translator.predict([text], n_best=3, beam_size=4)[0].n_best
        (answer,) = response.json()["answers"]
        assert [one["text"] for one in answer["predictions"]] == [one.text for one in wanted]
        assert [one["score"] for one in answer["predictions"]] == pytest.approx([one.score for one in wanted], abs=1e-4)
        assert answer["predictions"][0]["token_scores"] == pytest.approx(list(wanted[0].token_scores), abs=1e-4)
    assert max(histogram.total for histogram in site.service.metrics.batches.values()) >= len(texts)


def test_draws_do_not_hang_on_other_requests(site: Site, translator: Model) -> None:
    settings = {"temperature": 1.5, "seed": 7, "beam_size": 2}
    texts = [source for source, _ in PAIRS[:4]]
    asked = [
        ("POST", "/predict", {"json": {"texts": [text], "model": "translator", "n_best": 2, **settings}})
        for text in texts
    ]
    for text, response in zip(texts, site.together(asked), strict=True):
        wanted = translator.predict([text], n_best=2, **settings)[0].n_best
        assert [one["text"] for one in response.json()["answers"][0]["predictions"]] == [one.text for one in wanted]


def test_every_kind_of_model_answers(site: Site, models: list[RunModel]) -> None:
    tagged = site.predicted(texts=["the\tcat\tsat", ""], model="tagger")
    assert tagged[0]["tokens"] == ["the", "cat", "sat"]
    assert len(tagged[0]["predictions"][0]["labels"]) == 3
    assert tagged[1] == {"predictions": [], "tokens": []}
    (classes,) = site.predicted(texts=["a b"], model="classifier", n_best=2)
    assert {one["text"] for one in classes["predictions"]} == {"x", "y"}
    (forecast,) = site.predicted(texts=["1\t2\t3"], model="forecaster")
    assert len(forecast["predictions"][0]["text"].split("\t")) == 2
    assert set(forecast["predictions"][0]["quantiles"]) == {"0.1", "0.5", "0.9"}
    assert len(site.post("/encode", texts=["1\t2\t3"], model="forecaster").json()["answers"][0]["vector"]) == 16
    written = site.predicted(texts=["the", ""], model="writer", max_length=8, beam_size=1)
    wanted = models[-1].model.predict(["the", ""], max_length=8, beam_size=1)
    assert [one["predictions"][0]["text"] for one in written] == [one.text for one in wanted]


def test_scores_vectors_and_attention(site: Site, translator: Model) -> None:
    sources, targets = map(list, zip(*PAIRS[:3], strict=True))
    scores = site.post("/score", sources=sources, targets=targets, model="translator").json()["answers"]
    wanted = translator.score(PAIRS[:3])
    assert [one["log_prob"] for one in scores] == pytest.approx([one.log_prob for one in wanted], abs=1e-4)
    assert [len(one["tokens"]) for one in scores] == [len(one.token_scores) for one in wanted]
    vectors = site.post("/encode", texts=sources, model="translator").json()["answers"]
    for one, vector in zip(vectors, translator.encode(sources), strict=True):
        assert one["vector"] == pytest.approx(vector.tolist(), abs=1e-5)
    (answer,) = site.predicted(texts=["the cat sat"], model="translator", attention=True)
    shown = answer["attention"]
    assert len(shown["weights"]) == len(shown["target"])
    assert [sum(row) for row in shown["weights"]] == pytest.approx([1.0] * len(shown["target"]), abs=1e-2)


# --- streams -----------------------------------------------------------------------------------------------------------


def test_a_stream_of_text_grows_to_what_predict_writes(site: Site, translator: Model) -> None:
    events = events_of(site.post("/stream", text="a dog runs fast", model="translator"))
    texts = [fields["text"] for kind, fields in events if kind == "text"]
    (kind, done), wanted = events[-1], translator.predict(["a dog runs fast"], beam_size=1)[0]
    assert (kind, done["text"]) == ("done", wanted.text)
    assert done["score"] == pytest.approx(wanted.score, abs=1e-5)
    assert all(later.startswith(earlier) for earlier, later in zip(texts, [*texts[1:], wanted.text], strict=True))
    assert len(texts) > 1


def test_a_session_of_labels_is_one_sentence(site: Site) -> None:
    whole = events_of(site.post("/stream", text="the\tcat\tsat", model="tagger"))
    first = events_of(site.post("/stream", text="the\tcat", model="tagger", end=False))
    session = first[-1][1]["session"]
    assert first[-1][1]["waiting"] == 1  # the one that is looked ahead
    second = events_of(site.post("/stream", text="sat", model="tagger", session=session))
    labels = [fields for kind, fields in [*first, *second] if kind == "label"]
    assert labels == [fields for kind, fields in whole if kind == "label"]
    assert [one["token"] for one in labels] == ["the", "cat", "sat"]
    assert site.post("/stream", text="x", model="tagger", session=session).status_code == 404, "it has ended"


def test_a_session_of_running_text_continues(site: Site, models: list[RunModel]) -> None:
    wanted = models[-1].model.predict(["the", "a"], max_length=6, beam_size=1)
    one = events_of(site.post("/stream", text="the", model="writer", max_length=6, end=False))[-1][1]
    two = events_of(site.post("/stream", text="a", model="writer", max_length=6, session=one["session"]))[-1][1]
    assert [one["text"], two["text"]] == [answer.text for answer in wanted]
    assert two["session"] is None
    assert site.post("/stream", text="the cat", model="translator", end=False).status_code == 422
    for _ in range(LIMITS.sessions):
        kept = site.post("/stream", text="the", model="writer", max_length=2, end=False)
        assert kept.status_code == 200
    full = site.post("/stream", text="the", model="writer", max_length=2, end=False)
    assert (full.status_code, full.headers["retry-after"]) == (503, "1")
    site.service.sessions.kept.clear()
    assert site.post("/stream", text="\u2603", model="writer", end=False).status_code == 422, "training lacks it"
    assert not site.service.sessions.kept


# --- what is wrong -----------------------------------------------------------------------------------------------------

MANY = "a " * 300
WRONG: dict[str, tuple[int, str, Any]] = {
    "no UTF-8": (400, "JSON", b'{"texts": ["\xff"], "model": "translator"}'),
    "a surrogate": (400, "JSON", rb'{"texts": ["\ud800"], "model": "translator"}'),
    "nothing": (400, "JSON", b""),
    "half": (400, "JSON", b'{"texts": ['),
    "deep": (400, "JSON", b'{"texts": ' + b"[" * 9000 + b"]" * 9000 + b"}"),
    "a list": (422, "object", b"[]"),
    "empty": (422, "texts", b"{}"),
    "large": (413, "20,000", b'{"texts": ["' + b"a" * 30_000 + b'"]}'),
    "NaN": (422, "length_penalty", b'{"texts": ["a"], "length_penalty": NaN, "model": "translator"}'),
    "NUL": (422, r"texts\[0\]", {"texts": ["a\0b"]}),
    "two lines": (422, r"texts\[1\]", {"texts": ["a", "a\nb"]}),
    "long": (422, "500", {"texts": ["a" * 501]}),
    "many": (422, "8", {"texts": ["a"] * 9}),
    "none": (422, "texts", {"texts": []}),
    "a number": (422, r"texts\[0\]", {"texts": [1]}),
    "a text": (422, "texts", {"texts": "a"}),
    "wide": (422, "beam_size", {"texts": ["a"], "beam_size": 10**9}),
    "as text": (422, "beam_size", {"texts": ["a"], "beam_size": "2"}),
    "true": (422, "beam_size", {"texts": ["a"], "beam_size": True}),
    "not one": (422, "n_best 3 needs beam_size 3", {"texts": ["a"], "n_best": 3, "beam_size": 2}),
    "unknown": (422, "beem_size", {"texts": ["a"], "beem_size": 2}),
    "endless": (422, "max_length", {"texts": ["a"], "max_length": 10**9}),
    "no words": (422, "include", {"texts": ["a"], "include": [""], "beam_size": 4}),
    "another": (404, "translator", {"texts": ["a"], "model": "../../etc/passwd"}),
    "which": (422, "model", {"texts": ["a"], "model": None}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_sentence(site: Site, name: str) -> None:
    status, words, body = WRONG[name]
    if isinstance(body, dict):
        body = json.dumps({"model": "translator"} | body).encode()
    response = site.ask("POST", "/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status, response.text
    sentence = response.json()["error"]
    assert list(response.json()) == ["error"]
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    assert re.search(words, sentence), sentence


def test_other_paths_and_methods(site: Site) -> None:
    for path in (
        "/../../etc/passwd",
        "/%2e%2e/page.js",
        "/models//",
        "/predict/",
        "/page.js%2f..%2fmodels",
        "/docs",
        "/static/page.js",
    ):
        response = site.ask("GET", path)
        assert response.status_code in (404, 405), path
        assert list(response.json()) == ["error"]
    assert site.ask("GET", "/predict").status_code == 405
    assert site.ask("POST", "/predict", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert site.ask("OPTIONS", "/predict", headers={"origin": "https://elsewhere"}).status_code == 405, "no CORS"
    mixed = site.post("/score", sources=["a"], targets=["a", "b"], model="translator")
    assert (mixed.status_code, "2" in mixed.json()["error"]) == (422, True)
    assert site.post("/encode", texts=["a\tb"], model="tagger").status_code == 422
    assert site.post("/stream", text="a b", model="classifier").status_code == 422
    assert site.post("/predict", texts=["the cat sat"] * 8, model="translator").status_code == 200, "it still answers"


def test_a_source_is_never_cut_in_silence(translator: Model) -> None:
    service = Service([RunModel("short", Model(translator.task, translator.path, 5))], LIMITS)
    response = Site(service).post("/predict", texts=["the cat", "the cat sat in a red car"])
    assert response.status_code == 422
    assert "texts[1]" in response.json()["error"]
    assert "5" in response.json()["error"]
    service.close()


def test_only_this_machine_or_the_token(site: Site) -> None:
    strange = site.ask("GET", "/models", headers={"host": "evil.example:8000"})
    assert (strange.status_code, list(strange.json())) == (403, ["error"])
    for host in ("localhost:1", "127.0.0.1:8000", "[::1]:8000", "127.9.9.9"):
        assert site.ask("GET", "/models", headers={"host": host}).status_code == 200
    closed = Site(site.service, TOKEN)
    for given in (
        {},
        {"authorization": "Bearer no"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer \xfc"},
    ):
        headers = {name: value.encode("latin-1") for name, value in given.items()}
        response = closed.ask("GET", "/models", headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    known = {"authorization": f"Bearer {TOKEN}", "host": "models.example"}
    assert closed.ask("GET", "/models", headers=known).status_code == 200
    assert closed.ask("GET", "/health").json()["status"] == "ok", "a load balancer knows no token"
    assert closed.ask("GET", "/").status_code == 200, "the page asks for it"


def test_page_metrics_and_description(site: Site) -> None:
    page = site.ask("GET", "/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "access-control-allow-origin" not in page.headers
    for path in ("/page.js", "/page.css", "/style.css"):
        assert site.ask("GET", path).status_code == 200
    site.post("/encode", texts=["a"], model="translator")
    lines = site.ask("GET", "/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values['seq2seq_requests_total{path="/encode",status="200"}']) >= 1
    assert float(values['seq2seq_request_seconds_count{path="/encode"}']) >= 1
    assert float(values['seq2seq_waiting_texts{model="translator"}']) == 0
    assert float(values["process_resident_memory_bytes"]) > 1e6
    paths = site.ask("GET", "/openapi.json").json()["paths"]
    assert {"/predict", "/score", "/encode", "/stream", "/health", "/metrics", "/models"} == set(paths)
    schema = paths["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["texts"]["maxItems"] == LIMITS.texts
    assert schema["additionalProperties"] is False


# --- batches, bounds and the end ---------------------------------------------------------------------------------------


def test_requests_that_wait_are_one_batch_and_a_bad_one_stands_alone() -> None:
    model = Slow()
    batcher = Batcher(model, LIMITS, ServingMetrics())

    def ask(*texts: str) -> Any:
        return batcher.submit(Pending(Question("predict"), [(text,) for text in texts]))

    first = ask("a")
    assert model.asked.wait(10)
    rest = {text: ask(*text.split()) for text in ("b c", "bad", "broken", "d")}
    model.go.set()
    assert first.result(10) == [{"predictions": [{"text": "a"}]}]
    assert [one["predictions"][0]["text"] for one in rest["b c"].result(10)] == ["b", "c"]
    assert rest["d"].result(10)
    assert isinstance(rest["bad"].exception(10), InputError)
    assert "secret" not in str(rest["broken"].exception(10))
    assert model.batches == [["a"], ["b", "c", "broken", "d"], ["b", "c"], ["broken"], ["d"]]
    batcher.close()


def test_clients_that_ask_again_find_each_other_and_one_alone_does_not_wait() -> None:
    def slowly(text: str) -> str:
        time.sleep(0.01)  # others come meanwhile
        return text

    model = Slow(slowly)
    model.go.set()
    batcher = Batcher(model, replace(LIMITS, wait=700.0), ServingMetrics())

    def client() -> None:
        for number in range(8):
            assert batcher.submit(Pending(Question("predict"), [(str(number),)])).result(10)

    clients = [threading.Thread(target=client) for _ in range(6)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert sum(map(len, model.batches)) == 48
    assert len(model.batches) <= 12, [len(batch) for batch in model.batches]
    assert batcher.submit(Pending(Question("predict"), [("a",)])).result(10)  # waits for the five that have left
    started = time.monotonic()
    for _ in range(9):
        assert batcher.submit(Pending(Question("predict"), [("a",)])).result(10)
    assert time.monotonic() - started < 9 * 0.7
    batcher.close()


def test_answers_come_back_together_and_to_those_who_still_wait() -> None:
    async def run() -> tuple[list[Any], int]:
        loop = asyncio.get_running_loop()
        returns, woken = Returns(loop), 0

        def counted(*arguments: Any) -> Any:
            nonlocal woken
            woken += 1
            return type(loop).call_soon_threadsafe(loop, *arguments)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign, assignment]
        answers: list[Future[Any]] = [Future() for _ in range(5)]
        waiting = [returns.future(one) for one in answers]
        waiting[4].cancel()
        await asyncio.sleep(0)
        assert answers[4].cancelled()

        def give() -> None:
            for number, one in enumerate(answers[:3]):
                one.set_result(number)
            answers[3].set_exception(InputError("no"))

        give()
        found = await asyncio.gather(*waiting[:4], return_exceptions=True)
        return found, woken

    found, woken = asyncio.run(run())
    assert (found[:3], str(found[3]), woken) == ([0, 1, 2], "no", 1)


def test_a_full_queue_says_when_to_come_back_and_nothing_accepted_is_lost() -> None:
    model = Slow()
    service = Service([model], LIMITS)  # type: ignore[list-item]
    site = Site(service)
    refused, batcher = service.metrics.requests, service.batchers["slow"]

    def when_all_have_come() -> None:
        end = time.monotonic() + 10
        while refused["/predict", 503] + batcher.texts + model.taken < 40 and time.monotonic() < end:
            time.sleep(0.001)
        model.go.set()

    threading.Thread(target=when_all_have_come).start()
    responses = site.together([("POST", "/predict", {"json": {"texts": [str(number)]}}) for number in range(40)])
    statuses = [one.status_code for one in responses]
    assert set(statuses) == {200, 503}
    assert 12 <= statuses.count(200) <= 24, "as many as may wait, and those that were taken before"
    for number, one in enumerate(responses):
        if one.status_code == 200:
            assert one.json()["answers"] == [{"predictions": [{"text": str(number)}]}]
        else:
            assert one.headers["retry-after"] == "1"
    service.close()


def test_time_is_over() -> None:
    model = Slow()
    service = Service([model], ServingLimits(seconds=0.3))  # type: ignore[list-item]
    first = service.batchers["slow"].submit(Pending(Question("predict"), [("0",)]))
    assert model.asked.wait(10)
    late = Site(service).post("/predict", texts=["1"])
    assert (late.status_code, list(late.json())) == (504, ["error"])
    model.go.set()
    assert first.result(10)
    service.close()
    assert model.batches == [["0"]], "what nobody waits for is not computed"


def test_the_end_answers_all_that_wait() -> None:
    model = Slow()
    batcher = Batcher(model, LIMITS, ServingMetrics())
    jobs = [batcher.submit(Pending(Question("predict"), [(str(one),)])) for one in range(5)]
    assert model.asked.wait(10)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    model.go.set()
    closing.join(10)
    assert [one.result(0)[0]["predictions"][0]["text"] for one in jobs] == list("01234")
    with pytest.raises(QueueFull):
        batcher.submit(Pending(Question("predict"), [("x",)]))


def test_two_models_of_one_name_are_refused(translator: Model) -> None:
    with pytest.raises(InputError, match="same"):
        Service([RunModel("same", translator), RunModel("same", translator)], LIMITS)


def test_answers_are_sent_without_delay() -> None:
    from seq2seq import serve

    with serve.listener("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
        with pytest.raises(InputError, match=f"--port {listening.getsockname()[1]}"):
            serve.listener("127.0.0.1", listening.getsockname()[1])
    with pytest.raises(InputError, match=r"--host nowhere\.invalid"):
        serve.listener("nowhere.invalid", 0)


def test_without_a_token_only_this_machine_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seq2seq import serve

    monkeypatch.delenv("SEQ2SEQ_TOKEN", raising=False)
    with pytest.raises(InputError, match="SEQ2SEQ_TOKEN"):
        serve.main([str(tmp_path), "--host", "0.0.0.0"])
    with pytest.raises(InputError, match=r"limits\.queue"):
        serve.main([str(tmp_path), "--limits.queue", "0"])
    with monkeypatch.context() as lacking, pytest.raises(InputError, match=r"recurrent-seq2seq\[serve\]"):
        lacking.setattr(serve, "find_spec", lambda name: None)
        serve.main([str(tmp_path)])
    monkeypatch.setenv("SEQ2SEQ_TOKEN", "short")
    with pytest.raises(InputError, match="16"):
        serve.main([str(tmp_path)])


def test_a_file_answers_as_its_run(translator: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loops_of_python(monkeypatch)  # the graph in torch, in place of a file that takes a minute to write
    decoding = replace(translator.decoding, beam_size=2)
    service = Service([FileModel("demo/model.onnx", model_of(translator.task, decoding))], LIMITS)
    site, texts = Site(service), [source for source, _ in PAIRS[:3]]
    answers = site.predicted(texts=[*texts, ""], n_best=2)
    wanted = translator.predict([*texts, ""], n_best=2, beam_size=2)
    for answer, one in zip(answers, wanted, strict=True):
        assert [each["text"] for each in answer["predictions"]] == [each.text for each in one.n_best]
        assert [each["score"] for each in answer["predictions"]] == pytest.approx(
            [each.score for each in one.n_best], abs=1e-4
        )
    for fields, words in (
        ({"length_penalty": 0.5}, "length_penalty"),
        ({"attention": True}, "attention"),
        ({"n_best": 3, "beam_size": 2}, "n_best is 3"),
    ):
        refused = site.post("/predict", texts=["a"], **fields)
        assert (refused.status_code, words in refused.json()["error"]) == (422, True)
    assert site.post("/encode", texts=["a"]).status_code == 422
    assert site.post("/stream", text="a").status_code == 422
    assert site.ask("GET", "/models").json()["models"][0]["name"] == "demo/model.onnx"
    service.close()
    for content in (b"", b"PK\x03\x04", b"\x08\x01" * 50):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.onnx") as told:
            opened(str(tmp_path / "bad.onnx"), "cpu")
        assert "\n" not in str(told.value)
    with pytest.raises(InputError, match=r"absent\.npz"):
        opened(str(tmp_path / "absent.npz"), "cpu")
