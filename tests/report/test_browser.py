"""Pages in a real browser: they ask for nothing, fit the window, draw their pictures, and react."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seq2seq.atomic_files import write_text
from seq2seq.report import compare, sweep
from seq2seq.report.page import render
from tests.analysis.systems import compared, write_run, wrong
from tests.report.pages import ALIGNMENTS, ATTACKS, HEARD, HEARD_ROWS, ROWS, everything, example, swept, whole

pytestmark = pytest.mark.browser

WIDTHS = (375, 1440)
"""Pixels of a telephone and of a screen."""


class Visit:
    """A page that is open, and what it did."""

    def __init__(self, browser: Any, path: Path, width: int = 1440, javascript: bool = True) -> None:
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=javascript)
        self.page = context.new_page()
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda problem: self.problems.append(str(problem)))
        self.page.on("dialog", lambda dialog: (self.problems.append("dialog"), dialog.dismiss()))
        self.page.goto(path.as_uri())
        assert [url for url in self.requests if not url.startswith("data:")] == [path.as_uri()]

    def too_wide(self) -> list[str]:
        """What stands out of the page and can be seen: nothing may, unless its own box scrolls it."""
        script = """() => [...document.querySelectorAll("body *")].filter(one => {
            const box = one.getBoundingClientRect();
            return box.width && box.right > innerWidth + 1 && !one.closest(".scroll, .skip, svg, details:not([open])");
        }).map(one => `${one.tagName} ${one.className}`)"""
        found: list[str] = self.page.evaluate(script)
        wide = self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        return found + ["the page"] * wide


def unfold(page: Any) -> None:
    """Open what only specialists read."""
    for summary in page.query_selector_all(".special > summary"):
        summary.click()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of each kind, and one whose data attack it."""
    folder = tmp_path_factory.mktemp("pages")
    hostile = everything()
    test = hostile["splits"]["test"]
    test["examples"]["best"] = [example(place, text) for place, text in enumerate(ATTACKS)]
    rows = [example(place, text) for place, text in enumerate(ATTACKS)]
    alignments = [{"id": 0, "source": list(ATTACKS), "target": list(ATTACKS), "weights": [[50] * 7] * 7}]
    kinds = {"fixed": None, "attention": {"class_path": "seq2seq.models.attention.Dot", "init_args": {}}}
    runs = [
        write_run(folder / name, wrong([place, 3]), {"seed": 1, "model": {"attention": kind}})
        for place, (name, kind) in enumerate(kinds.items())
    ]
    texts = {
        "run": whole(everything()),
        "attack": render(hostile, rows, alignments),
        "heard": render(everything(), HEARD_ROWS, [], HEARD),
        "compare": compare.render(compared(*runs)),
        "sweep": sweep.render(swept()),
    }
    for name, text in texts.items():
        write_text(folder / f"{name}.html", text)
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["run", "attack", "heard", "compare", "sweep"])
def test_pages_ask_for_nothing_and_fit(browser: Any, pages: dict[str, Path], name: str, width: int) -> None:
    visit = Visit(browser, pages[name], width)
    assert visit.problems == []
    assert visit.too_wide() == []
    for details in visit.page.query_selector_all("details"):
        details.evaluate("one => { one.open = true; }")
    visit.page.wait_for_timeout(100)
    assert visit.problems == []
    assert visit.too_wide() == []
    sizes = visit.page.evaluate("[...document.querySelectorAll('svg')].map(one => [one.clientWidth, one.clientHeight])")
    assert sizes
    assert all(width > 20 and height > 20 for width, height in sizes), "every picture is drawn"


def test_without_scripts_everything_is_said(browser: Any, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["run"], javascript=False)
    assert visit.page.query_selector(".search").is_hidden()
    unfold(visit.page)
    assert visit.page.query_selector(".heat").is_visible()
    assert visit.page.query_selector(".map").is_visible()
    assert "three" in visit.page.inner_text("#content")


def test_attention_follows_the_pointer_and_the_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["run"]).page
    assert page.query_selector(".alignment .words").is_hidden(), "folded"
    unfold(page)
    source, target = page.query_selector_all(".alignment .words")
    items = target.query_selector_all("li")
    items[1].hover()
    status = page.query_selector(".alignment .status")
    assert status.inner_text() == "ns attends to ne 95 %, o 5 %"
    shades = [item.evaluate("one => getComputedStyle(one).backgroundColor") for item in source.query_selector_all("li")]
    assert len(set(shades)) == 2
    items[0].focus()
    assert status.inner_text() == "ei attends to o 90 %, ne 10 %"
    source.query_selector_all("li")[1].focus()
    assert status.inner_text() == "ne is attended by </s> 99 %, ns 95 %, ei 10 %"


def test_rows_are_searched_and_sorted(browser: Any, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["run"]).page
    page.fill("#search", "שלום one")
    assert page.inner_text("#found") == "1 rows"
    assert "one שלום" in page.inner_text("#matches")
    assert "chrF 98.76" in page.inner_text("#matches")
    assert [mark.inner_text() for mark in page.query_selector_all("#matches .differs")] == ["v"]
    page.fill("#search", "<b>")
    assert page.query_selector("#matches b") is None
    assert "<b>two</b>" in page.inner_text("#matches")
    page.fill("#search", "")
    assert page.query_selector("#found").is_hidden()
    page.select_option("#sort", "longest")
    first = page.query_selector("#matches dd").inner_text()
    assert first == max((row["source"] for row in ROWS), key=len)


def test_the_map_tells_the_sentence_under_the_pointer(browser: Any, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["run"]).page
    unfold(page)
    page.query_selector_all(".map circle")[0].hover()
    assert page.query_selector(".map ~ .status").inner_text() == ROWS[1]["source"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(browser: Any, pages: dict[str, Path], scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(pages["run"].as_uri())
    script = "() => ['color', 'backgroundColor'].map(one => getComputedStyle(document.body)[one].match(/[0-9]+/g).map(Number))"
    ink, paper = page.evaluate(script)
    assert contrast(ink, paper) > 7
    muted = page.evaluate("() => getComputedStyle(document.querySelector('.note')).color.match(/[0-9]+/g).map(Number)")
    assert contrast(muted, paper) > 4.5


def contrast(one: list[int], other: list[int]) -> float:
    """Of two colours (WCAG 2.1)."""

    def luminance(colour: list[int]) -> float:
        parts = [value / 255 for value in colour[:3]]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_printing_shows_what_is_folded(browser: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    page = Visit(browser, pages["run"]).page
    page.emulate_media(media="print")
    assert page.query_selector("nav").is_hidden()
    assert len(page.pdf(path=str(tmp_path / "page.pdf"))) > 20_000


def test_what_stands_in_the_data_is_shown_not_run(browser: Any, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["attack"])
    visit.page.select_option("#sort", "longest")
    shown = visit.page.inner_text("#matches")
    for text in ATTACKS:
        assert " ".join(text.split()) in " ".join(shown.split())
    assert json.loads(visit.page.query_selector("#rows").inner_text())[0][1] == ATTACKS[0]
    assert len(ALIGNMENTS) == 1
    assert visit.problems == []
