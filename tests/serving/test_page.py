"""The page in a real browser: it asks its own server only, fits, reacts to pointer and keys, and reads no text as markup."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import seq2seq
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.models.attention import Dot
from seq2seq.serving.limits import ServingLimits
from seq2seq.serving.models import RunModel
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from tests.support import SPANS, TEXTS, learnt, saved, small, trained

pytestmark = [pytest.mark.browser, pytest.mark.slow]
uvicorn = pytest.importorskip("uvicorn", reason="pip install uvicorn")
pytest.importorskip("fastapi")

from seq2seq.serving.app import Service, application  # noqa: E402

HOSTILE = "<img/src=x/onerror=alert(1)>"
TOKEN = "a secret of many letters"


@pytest.fixture(scope="module")
def served(tokenizers: Tokenizers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a model of each kind, which wants a token."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("page")
    series = learnt([(f"{n}\t{n + 1}\t{n + 2}", f"{n + 3}\t{n + 4}") for n in range(6)], Vectors(), Vectors())
    tasks: dict[str, Task] = {
        "translator": small(Translation, tokenizers, attention=Dot()),
        "tagger": small(Tagging, learnt(SPANS, Words(separator="\t"), Labels("\t"))),
        "classifier": small(Classification, learnt([("a b", "x"), ("c d", HOSTILE)] * 3, Words(), Labels())),
        "writer": small(Generation, Tokenizers(NoSource(), trained(Characters(), TEXTS)), running=True),
        "forecaster": small(Forecasting, series),
    }
    models = [RunModel(name, seq2seq.load(saved(task, folder / f"{name}.ckpt"))) for name, task in tasks.items()]
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application(Service(models, ServingLimits()), TOKEN), ws="none", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)
    listening.close()


class Visit:
    """The page, open and let in."""

    def __init__(self, browser: Any, address: str, width: int = 1200, scheme: str = "light") -> None:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(60_000)
        self.page = context.new_page()
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda problem: self.problems.append(str(problem)))
        self.page.on("dialog", lambda dialog: (self.problems.append("dialog"), dialog.dismiss()))
        self.page.goto(address)
        self.page.wait_for_selector("#problem:not([hidden])")
        assert "token" in self.page.inner_text("#problem")
        self.page.fill("#token", TOKEN)
        self.page.press("#token", "Enter")
        self.page.wait_for_selector("#choice:not([hidden])")
        assert self.page.is_hidden("#secret")
        self.problems.clear()  # the browser's own line about the 401

    def ask(self, model: str, text: str) -> None:
        """Type a text, press Enter, and wait."""
        self.page.select_option("#model", model)
        self.page.fill("#text", text)
        self.page.press("#text", "Enter")
        self.page.wait_for_selector("#answers .answer")
        self.page.wait_for_selector("#ask:not([disabled])")

    def fits(self) -> bool:
        """Whether nothing stands out of the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


QUESTIONS = {
    "translator": "two men in a red car\na bird",
    "tagger": "Anna Smith lives in New York",
    "classifier": "a b",
    "writer": "the",
    "forecaster": "1, 2, 3",
}


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (375, "light")])
def test_every_kind_is_shown(browser: Any, served: str, width: int, scheme: str, tmp_path: Path) -> None:
    visit = Visit(browser, served, width, scheme)
    page = visit.page
    for model, text in QUESTIONS.items():
        visit.ask(model, text)
        assert visit.fits(), model
        assert visit.problems == [], model
        assert page.inner_text("#status"), model
    assert all(url.startswith(served) for url in visit.requests)
    visit.ask("forecaster", "1 2 3")
    assert page.query_selector("svg.forecast path.median").bounding_box()["width"] > 20
    assert page.get_attribute("svg.forecast", "role") == "img"
    visit.ask("tagger", QUESTIONS["tagger"])
    assert [item.inner_text() for item in page.query_selector_all(".tagged li > span:first-child")] == QUESTIONS[
        "tagger"
    ].split()
    visit.ask("classifier", "a b")
    assert {item.inner_text() for item in page.query_selector_all(".ranked li > span:first-child")} == {"x", HOSTILE}
    assert page.query_selector("#answers img") is None, "a label is no markup"


def test_attention_follows_pointer_and_keys(browser: Any, served: str) -> None:
    visit = Visit(browser, served)
    visit.ask("translator", "two men in a red car")
    source, target = visit.page.query_selector_all(".alignment .words")
    target.query_selector_all("li")[0].hover()
    assert target.query_selector("[aria-current]").inner_text() == target.query_selector_all("li")[0].inner_text()
    shaded = source.evaluate("list => [...list.children].filter(one => one.style.background).length")
    assert shaded > 0
    target.query_selector_all("li")[0].focus()
    visit.page.keyboard.press("ArrowRight")
    assert target.query_selector("[aria-current]").inner_text() == target.query_selector_all("li")[1].inner_text()
    assert "looks at" in visit.page.inner_text(".alignment .status")


def test_neighbours_and_refusals(browser: Any, served: str) -> None:
    visit = Visit(browser, served)
    visit.ask("translator", "a bird\na dog runs fast")
    visit.ask("translator", HOSTILE)
    near = [button.inner_text() for button in visit.page.query_selector_all(".nearest button")]
    assert set(near) == {"a bird", "a dog runs fast"}
    visit.page.select_option("#model", "forecaster")
    visit.page.fill("#text", "one two")
    visit.page.press("#text", "Enter")
    visit.page.wait_for_selector("#problem:not([hidden])")
    assert "one" in visit.page.inner_text("#problem")
    assert visit.page.get_attribute("#problem", "role") == "alert"


def test_contrast_and_names(browser: Any, served: str) -> None:
    """Each field has a label, and text stands out from its background by 4.5 to 1."""
    for scheme in ("light", "dark"):
        visit = Visit(browser, served, scheme=scheme)
        visit.ask("tagger", QUESTIONS["tagger"])
        nameless = "[...document.querySelectorAll('input, select, textarea')].filter(one => !one.labels.length).length"
        assert visit.page.evaluate(nameless) == 0
        low = visit.page.evaluate(CONTRAST)
        assert low == [], scheme


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const painted = colors => { colors.forEach(color => { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const low = [];
  for (const one of document.querySelectorAll("body *")) {
    if (![...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()) || !one.checkVisibility()) continue;
    const behind = [];
    for (let up = one; up; up = up.parentElement) behind.unshift(getComputedStyle(up).backgroundColor);
    const ground = painted(behind), ink = painted([...behind, getComputedStyle(one).color]);
    const [a, b] = [light(ground), light(ink)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5 && !one.closest(".skip")) low.push(`${one.tagName} ${one.className} ${one.textContent.slice(0, 20)}`);
  }
  return low;
}"""
