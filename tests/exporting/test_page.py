"""The page of a model: it is whole, asks for nothing, and says what the same file says natively."""

import base64
import gzip
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch

import seq2seq
from seq2seq import export, train
from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.exporting import folder, onnx_file, web
from seq2seq.exporting.description import as_metadata, described
from seq2seq.exporting.graphs import graph_of
from seq2seq.exporting.running import Exported
from seq2seq.models.tagger import AutoregressiveTagger, Crf
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from tests.runs.old_checkpoint import FOLDER
from tests.support import SENTENCES, SPANS, Rows, learnt, small, split_of

ARCHIVE = f"onnxruntime-web-{web.VERSION}.tgz"
LARGEST = 6_000_000
"""Bytes of the demo's folder, each file packed by gzip as hosts send it."""

DESCRIPTION = {"task": "Translation", "note": "</script><b>"}


def written(tmp_path: Path, name: str = "mine") -> Path:
    """A page around a model and a runtime that are none."""
    tmp_path.mkdir(exist_ok=True)
    model = folder.inside(tmp_path / "page", "model.onnx")
    model.write_bytes(b"model " * 99)
    shown = web.Shown(f"<b>{name}", "BLEU & more", "about", ["a", "</script>"])
    web.write(model, DESCRIPTION, shown, web.Runtime(b"const ort = {};\n//# sourceMappingURL=x", b"glue", b"wasm"))
    return model.parent


def test_a_page_is_whole(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert {file.name for file in page.iterdir()} == set(web.FILES)
    html = (page / "index.html").read_text()
    assert "{{" not in html
    assert "<b>" not in html
    assert "BLEU &amp; more" in html
    assert set(re.findall(r'(?:src|href)="([^"]+)"', html)) - {"data:,", "https://onnxruntime.ai/"} <= set(web.FILES)
    model = (page / "model.js").read_text()
    content = json.loads(model.removeprefix("const MODEL = ").rstrip(";\n"))
    assert gzip.decompress(base64.b64decode(content["onnx"])) == b"model " * 99
    assert content["description"] == DESCRIPTION
    assert content["examples"] == ["a", "</script>"]
    assert "sourceMappingURL" not in (page / "runtime.js").read_text()
    again = {file.name: file.read_bytes() for file in written(tmp_path / "again").iterdir()}
    assert again == {file.name: file.read_bytes() for file in page.iterdir()}


def test_ids_in_scripts_are_ids_of_the_page() -> None:
    texts = {name: web.files("seq2seq.exporting").joinpath(f"page/{name}").read_text() for name in web.PAGE}
    [ids] = re.findall(r"Object\.fromEntries\(\[([^\]]+)\]", texts["page.js"])
    assert set(re.findall(r'"(\w+)"', ids)) <= set(re.findall(r'id="(\w+)"', texts["index.html"]))
    assert not re.search(r"innerHTML|document\.write|\beval\(|fetch\(|https?://(?!www\.w3\.org)", "".join(
        text for name, text in texts.items() if name.endswith(".js")))  # fmt: skip


def light(colour: str) -> float:
    """The relative luminance of #rgb or #rrggbb (WCAG 2.2)."""
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(one * 2 for one in digits)
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Of two colours, from 1 to 21."""
    low, high = sorted(map(light, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_in_the_light_and_in_the_dark() -> None:
    style = web.files("seq2seq.exporting").joinpath("page/page.css").read_text()
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(themes) == 2
    for theme in themes:
        pairs = [
            ("ink", "paper"),
            ("ink", "wash"),
            ("muted", "paper"),
            ("accent", "paper"),
            ("on-accent", "accent"),
            ("c4", "paper"),
        ]
        assert {
            pair: contrast(theme[pair[0]], theme[pair[1]])
            for pair in pairs
            if contrast(theme[pair[0]], theme[pair[1]]) < 4.5
        } == {}
        assert contrast(theme["edge"], theme["paper"]) >= 3  # the borders of fields


def test_another_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    archive = tmp_path / ARCHIVE
    archive.write_bytes(b"no archive")
    unpacked = tmp_path / "package"
    (unpacked / "dist").mkdir(parents=True)
    (unpacked / "package.json").write_text('{"version": "1.29.9"}')

    def fails(*_: Any, **__: Any) -> Any:
        raise URLError("no network")

    monkeypatch.setattr(web.urllib.request, "urlopen", fails)
    for given, said in ((archive, "SHA-512"), (tmp_path / "none", "none"), (unpacked, "package"), (None, "no network")):
        with pytest.raises(InputError, match=said) as problem:
            web.runtime(given)
        assert f"npm pack onnxruntime-web@{web.VERSION}" in str(problem.value)
        assert "--runtime_package" in str(problem.value)
    for name in (web.SCRIPT, web.GLUE, web.WASM):
        (unpacked / "dist" / name).write_bytes(name.encode())
    with pytest.raises(InputError, match=r"1\.29\.9"):
        web.runtime(unpacked)
    (unpacked / "package.json").write_text(json.dumps({"version": web.VERSION}))
    assert web.runtime(unpacked).glue == web.GLUE.encode()
    monkeypatch.setattr(web.urllib.request, "urlopen", lambda *_, **__: BytesIO(b"something else"))
    with pytest.raises(InputError, match="SHA-512"):
        web.runtime(None)
    assert not (cache_folder / ARCHIVE).exists()


def test_options_of_another_form_are_refused(tmp_path: Path) -> None:
    run = str(FOLDER / seq2seq.__version__)
    (tmp_path / "thesis.txt").write_text("all my work")
    wrong = {
        "--output": ["--to", "web", "--output", str(tmp_path), "--overwrite"],
        "--runtime_package": ["--runtime_package", str(tmp_path)],
        "--examples": ["--to", "web", "--examples", "-1"],
        "--push": ["--to", "web", "--push", "a/b"],
    }
    for name, arguments in wrong.items():
        with pytest.raises(InputError, match=name):
            export.main([run, *arguments])
    assert (tmp_path / "thesis.txt").read_text() == "all my work"


def test_the_headline_names_a_score() -> None:
    score = {"value": 31.25, "low": 30.0, "high": 32.0, "unit": "percent"}
    said = web.headline("Translation", 1234567, {"test": {"bleu": score}}, {"test": 1000})
    assert all(text in said for text in ("1,234,567", "BLEU 31.2", "30.0 to 32.0", "1,000 rows", "test"))
    assert "not scored" in web.headline("Tagging", 12, {"test": None}, {})
    assert web.examples_of(["a", "", "a", "x" * 999, "b", "c", "d"], 3) == ["a", "b", "c"]


# --- in a browser ----------------------------------------------------------------------------------------------------


def package() -> Path | None:
    """onnxruntime-web, where it is to be had."""
    for place in (Path.cwd(), Path(__file__).parent, Path.home()):
        if (place / "node_modules" / "onnxruntime-web").is_dir():
            return place / "node_modules" / "onnxruntime-web"
    return None


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> web.Runtime:
    """The real runtime: from node_modules, from the registry, or as npm fetches it."""
    import subprocess

    if package() is not None:
        return web.runtime(package())
    place = tmp_path_factory.mktemp("npm")
    npm = shutil.which("npm")
    if npm is not None:
        subprocess.run([npm, "pack", f"onnxruntime-web@{web.VERSION}"], cwd=place, capture_output=True, check=False)
    try:
        return web.runtime(place / ARCHIVE if (place / ARCHIVE).is_file() else None)
    except InputError as problem:
        pytest.skip(str(problem))


class Opened:
    """A page in a browser, ready."""

    def __init__(self, browser: Any, folder: Path, **settings: Any) -> None:
        self.page = browser.new_context(**settings).new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda problem: self.problems.append(str(problem)))
        self.page.goto((folder / "index.html").as_uri())
        self.page.wait_for_selector("#go:not([disabled]), #status.problem", timeout=120_000)
        assert self.page.text_content("#status") == "Ready."
        own = {(folder / name).as_uri() for name in web.FILES}
        assert {url for url in self.requests if not url.startswith(("blob:", "data:"))} <= own
        assert self.problems == []

    def predicted(self, texts: Sequence[str], wanted: str) -> list[Any]:
        """A value of the answer for each text."""
        found: list[Any] = self.page.evaluate(
            "async ([texts, wanted]) => { const found = []; for (const text of texts) {"
            " const answer = await predictor.predict(text);"
            " found.push(wanted === 'text' ? answer.hypotheses.map(one => one.text) : answer[wanted]); } return found; }",
            [list(texts), wanted],
        )
        return found

    def answered(self, text: str) -> str:
        """What the page shows after something is typed."""
        self.page.fill("#text", text)
        self.page.click("#go")
        self.page.wait_for_selector("#output:not(:empty)[aria-busy=false]")
        return str(self.page.inner_text("#output"))

    def too_wide(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def natively(
    task: Task, model: bytes, rows: Rows, decoding: Decoding, place: Path, longest: int = 512
) -> list[list[Hypothesis]]:
    """What the file predicts in onnxruntime, row by row."""
    file = place / "native.onnx"
    file.write_bytes(model)
    exported, split = Exported(file, task, decoding), split_of(rows, task.tokenizers, task.row_format, longest)
    return [exported.predict(split.batch(np.array([row])))[0] for row in range(len(rows))]


def model_of(page: Path) -> bytes:
    """The model inside a page."""
    text = (page / "model.js").read_text().removeprefix("const MODEL = ").rstrip(";\n")
    return gzip.decompress(base64.b64decode(json.loads(text)["onnx"]))


@pytest.mark.slow
@pytest.mark.browser
def test_the_demo_says_the_same_in_a_browser(
    browser: Any, runtime: web.Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'recurrent-seq2seq[export]'")
    run, page = tmp_path / "run", tmp_path / "page"
    train.main(
        ["--config", "translation_cldr", "--run", str(run), "--trainer.max_steps", "250", "--score", "validation"]
    )
    monkeypatch.setattr(web, "runtime", lambda _: runtime)
    export.main([str(run), "--to", "web", "--output", str(page), "--rows", "40"])
    sizes = [len(gzip.compress(file.read_bytes(), 9)) for file in page.iterdir()]
    assert sum(sizes) < LARGEST, sizes

    content = checkpoint.read(checkpoint.find(run))
    task = checkpoint.restore(content, run)
    texts = checkpoint.data_of(content, run).texts("test")
    rows = list(zip(texts.source, texts.target, strict=True))[:300]
    ours = [[task.text(one) for one in row] for row in natively(task, model_of(page), rows, task.decoding, tmp_path)]
    opened = Opened(browser, page)
    theirs = opened.predicted([source for source, _ in rows], "text")
    different = [row for row, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0][0] != pair[1][0]]
    print(f"{len(rows) - len(different)} of {len(rows)} rows equal, {sum(sizes):,} bytes")
    assert len(different) <= 3, [(ours[row][0], theirs[row][0]) for row in different]
    best, *others = theirs[0]
    shown = opened.answered(rows[0][0])
    assert best in shown
    assert all(other in shown for other in others)
    assert opened.problems == []


def shaken(task: Task) -> Task:
    """Far from the start, so that nothing agrees by accident."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return task.eval()


def small_page(
    task: Task, decoding: Decoding, runtime: web.Runtime, place: Path, examples: list[str], longest: int = 512
) -> Path:
    """The page of a task."""
    graph = graph_of(task, decoding)
    description = described(graph, decoding, longest, None, {})
    whole, model = place / "whole.onnx", folder.inside(place / "page", "model.onnx")
    onnx_file.write(graph, whole, as_metadata(description))
    onnx_file.quantized(whole, model)
    web.write(model, description, web.Shown("small", "not scored", "", examples), runtime)
    return model.parent


def accessible(opened: Opened) -> None:
    """Every field has a name, the result is announced, and the keyboard reaches all of it in order."""
    page = opened.page
    unnamed = page.evaluate(
        "[...document.querySelectorAll('textarea, select:not([hidden] *), button')].filter(one => !one.textContent.trim()"
        " && !one.labels?.length && !one.ariaLabel).map(one => one.id)"
    )
    assert unnamed == []
    assert page.get_attribute("#spoken", "aria-live") == "polite"
    assert page.text_content("#spoken")
    page.focus("#text")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "go"


CUT = [
    ("\t".join(("red car", "blue bus")[row % 2].split() * count), str(row % 2)) for row, count in enumerate(range(1, 9))
]
LONGEST = {"classes of cut texts": 30}
"""Tokens that are read, of each kind that has more."""

KINDS: dict[str, tuple[Any, Rows, Tokenizer, Tokenizer, dict[str, Any]]] = {
    "classes": (Classification, [("abc", "odd"), ("ab", "even"), ("a", "odd")], Characters(), Labels(), {}),
    "classes of cut texts": (Classification, CUT, Spelled(), Labels(), {}),
    "spans": (Tagging, SPANS, Spelled(), Labels("\t"), {"tagger": Crf("BIO")}),
    "labels in turn": (Tagging, SENTENCES, Words(separator="\t"), Labels("\t"), {"tagger": AutoregressiveTagger()}),
    "forecast": (
        Forecasting,
        [("\t".join(str(row + step) for step in range(8)), f"{row + 8}\t{row + 9}") for row in range(12)],
        Vectors(),
        Vectors(),
        {"quantiles": [0.1, 0.5, 0.9], "relative": "last"},
    ),
    "text": (Generation, [("", "abc"[: 1 + row % 3]) for row in range(9)], NoSource(), Characters(), {}),
}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("kind", KINDS)
def test_every_task_says_the_same_in_a_browser(kind: str, browser: Any, runtime: web.Runtime, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'recurrent-seq2seq[export]'")
    of, rows, source, target, settings = KINDS[kind]
    task = shaken(small(of, learnt(rows, source, target), **settings))
    decoding, longest = Decoding(beam_size=2 if task.searches else 1, max_length=9), LONGEST.get(kind, 512)
    page = small_page(task, decoding, runtime, tmp_path, web.examples_of([text for text, _ in rows], 2), longest)
    opened = Opened(browser, page, viewport={"width": 375, "height": 800}, color_scheme="dark")
    texts = [text for text, _ in rows]
    ours = natively(task, model_of(page), rows, decoding, tmp_path, longest)
    if isinstance(task, Classification):
        theirs = [one[0]["label"] for one in opened.predicted(texts, "classes")]
    elif isinstance(task, Forecasting):
        theirs = [one["text"] for one in opened.predicted(texts, "forecast")]
    else:
        theirs = [one[0] for one in opened.predicted(texts, "text")]
    assert theirs == [task.text(one[0]) for one in ours]
    shown = opened.answered(rows[0][0].replace("\t", " "))
    assert (rows[0][0].split("\t")[0] if isinstance(task, Tagging) else theirs[0].split("\t")[0]) in shown
    assert not opened.too_wide()
    accessible(opened)
    if isinstance(task, Forecasting):
        assert opened.page.get_attribute("svg.plot", "role") == "img"
        opened.page.fill("#text", "1 2 x")
        opened.page.click("#go")
        opened.page.wait_for_selector("#status.problem")
        assert "x" in opened.page.text_content("#status")
    opened.page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert opened.problems == []


@pytest.mark.slow
@pytest.mark.browser
def test_texts_are_drawn_from_the_given_numbers(browser: Any, runtime: web.Runtime, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'recurrent-seq2seq[export]'")
    _, rows, source, target, settings = KINDS["text"]
    task = shaken(small(Generation, learnt(rows, source, target), **settings))
    decoding = Decoding(beam_size=3, max_length=9, temperature=0.8)
    page = small_page(task, replace(decoding), runtime, tmp_path, [])
    opened = Opened(browser, page)
    again = "async at => (await predictor.predict('a', 3, () => at)).hypotheses.map(one => one.text)"
    low, same, high = (opened.page.evaluate(again, at) for at in (0.01, 0.01, 0.99))
    assert low == same
    assert low != high
    assert all(text.startswith("a") for text in low)
