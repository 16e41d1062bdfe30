"""The report page: what it says, that nothing from the data can break out of it, and that it asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from seq2seq.atomic_files import write_text
from seq2seq.report import layout
from seq2seq.report.drawing import Scale
from seq2seq.report.layout import marked
from seq2seq.report.page import changed, render
from seq2seq.report.plots import Bucket, Marks, Point, by_group, curves
from seq2seq.report.wording import duration, number, phrase, said, shortened
from seq2seq.tasks.decoding_options import Decoding
from tests.report.pages import ALIGNMENTS, ATTACKS, ROWS, SIGNATURE, everything, example, whole
from tests.support import python

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """The page as a reader of HTML sees it; fails on a tag that is closed twice or never."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.styles = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag in {"td", "th", "dd"} else ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.styles += data
        elif not self.open or self.open[-1] != "script":
            self.text += data

    def attributes(self) -> Iterator[tuple[str, str]]:
        """Every attribute of every tag, as (name, value)."""
        for _, attributes in self.tags:
            for key, value in attributes.items():
                yield key, value or ""

    def words(self) -> str:
        """The text with its white space made even."""
        return " ".join(self.text.split())


@pytest.fixture
def results() -> dict[str, Any]:
    return everything()


@pytest.fixture(scope="module")
def html() -> str:
    """The page of all parts, made once for the tests that only read it."""
    return whole(everything())


def test_settings_of_a_part_are_shown_once() -> None:
    config = {"data": {"corpus": {"class_path": "Series", "init_args": {"history": 3, "horizon": 2}}}}
    found = changed({"changed": ["data.corpus", "data.corpus.history"], "config": config})
    assert found == [("data.corpus", "Series"), ("data.corpus.history", "3")]


def test_page_says_what_was_measured(html: str) -> None:
    words = Page(html).words()
    assert "BLEU 91.2 (95 % interval 90.1 to 92.3) on 1,000 test rows." in words
    for line in (
        "demo",
        "Exact match 84.0",
        "beam size 5, length penalty 1.0",
        "2.9 minutes",
        "1,120",
        "91.5 to 94.5",
        "6 and more",
        "row 2 · chrF 98.8 · −0.250 nats per token · equals the reference",
        "7 more",
        "75.0 %",
        "train 20,000",
        "layers: 2",
        "torch 2.13.0",
        "python -m seq2seq.train -c x",
        "step 1,200, validation BLEU 14.0",
        "Resumed after step 700",
        "3 steps skipped because a loss or gradient was non-finite",
        "minimum detectable difference of an unpaired test: about 1.6",
        "Settings that differ from the defaults: model.layers 2",
    ):
        assert line in words, line
    assert f"<code>{SIGNATURE}</code>" in html


def test_what_lies_behind_a_score(html: str) -> None:
    page = Page(html)
    words = page.words()
    for shown in (
        "macro-F1 by label", "NOUN 91.3 80.0 85.3 1,200", "VERB n/a n/a n/a 7", "each row adds up to 100 %",
        "calibration error by confidence", "0.50 to 0.75 1,150 62.5 % 50.0 %",
        "WER by group", "ice 11.6", "kor 25.3", "NOUN predicted as VERB: 20 %",
        "confidence 0.62: 0.50 right of 1,150",
        "The fitted temperature is 1.62: the model is overconfident", "of the other half from 12.5 to 1.5",
    ):  # fmt: skip
        assert shown in words, shown
    assert "0.75 to 1.00" not in words, "no label is that sure"


def test_what_the_network_does(html: str) -> None:
    words = Page(html).words()
    for shown in (
        "1.25 nats per token more than teacher forcing, over 4,321 tokens",
        "3 9 0.500 3.500 0.100", "Predictions 3.5 % References 0.5 %",
        "Entropy of the attention 1.50 nats", "Normalised entropy 40.0 %", "1 left out 50.0 % one שלום", "2 drei drei drei",
        "3 fixed vectors of 64 units; the two axes explain 40.0 % and 25.0 % of their variance", "0.87 <b>two</b>",
        "length 0.94 0.90 to 0.95 0.00 R2 500", "200 12.5 2.0 % / 30.0 %", "Gradient by distance from the end",
    ):  # fmt: skip
        assert shown in words, shown


def test_alignments_are_drawn_and_can_be_explored(html: str) -> None:
    (box,) = [attributes for _, attributes in Page(html).tags if attributes.get("class") == "alignment"]
    assert box["data-weights"] == "90,10;5,95;0,99"
    assert json.loads(box["data-target"] or "") == ["ei", "ns", "</s>"]
    squares = [
        attributes["opacity"]
        for tag, attributes in Page(re.findall(r'<svg[^>]*class="heat".*?</svg>', html, flags=re.DOTALL)[0]).tags
        if tag == "rect"
    ]
    assert squares == ["0.9", "0.1", "0.05", "0.95", "0.99"]


def test_every_row_can_be_searched(html: str) -> None:
    data = re.findall(r'<script type="application/json" id="rows">(.*?)</script>', html, flags=re.DOTALL)
    assert json.loads(data[0])[2] == [2, "<b>two</b>", "drei", "drei", 98.76]
    assert "Search all 3 rows" in html


def test_rows_beyond_what_a_page_can_hold_are_left_out(results: dict[str, Any]) -> None:
    many = [example(number, "word " * 500) for number in range(4000)]
    page = render(results, many, ALIGNMENTS)
    assert len(page.encode()) < 4_000_000
    data = json.loads(re.findall(r'id="rows">(.*?)</script>', page, flags=re.DOTALL)[0])
    assert 1000 < len(data) < 4000
    assert max(len(row[1]) for row in data) == 400


def test_what_a_prediction_has_otherwise_is_marked() -> None:
    assert marked("the old cat", "the cat") == [("the ", False), ("old ", True), ("cat", False)]
    assert marked("gesunken", "gesungen") == [("gesun", False), ("k", True), ("en", False)]
    assert marked("same", "same") == [("same", False)]
    assert marked("x", "") == [("x", False)]
    assert "".join(piece.text for piece in marked("a  b\tc", "b c a")) == "a  b\tc"


def test_pictures_are_there_and_named(html: str) -> None:
    page = Page(html)
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    # confusions, confidence, lengths, alignment, map, gradients, gates, exposure; loss, score, twice; gradient norm
    assert len(pictures) == 13
    assert all(picture["role"] == "img" for picture in pictures)
    assert len(re.findall(r"<svg[^>]*>\s*<title>[^<]+</title><desc>", html)) == 13
    assert "best checkpoint" in page.words()
    assert "step (1,200 steps in 2.0 minutes)" in page.words()


def test_best_checkpoint_is_marked_only_on_its_own_curve(results: dict[str, Any], html: str) -> None:
    marks = html.count(">best checkpoint<")
    results["best"]["metric"] = "something_else"
    assert (marks, whole(results).count(">best checkpoint<")) == (2, 0)  # over steps and over minutes


def test_a_loss_that_becomes_another_one_is_named(results: dict[str, Any], html: str) -> None:
    assert "minimum risk" not in Page(html).words()
    results["length"] = results.get("length", {}) | {"risk_from": 1_001}
    assert "From step 1,001 on the train loss is that of minimum risk" in Page(whole(results)).words()


def test_long_curves_are_averaged_and_say_so() -> None:
    points = [Point(step, step, step % 50) for step in range(20_000)]
    picture = curves({"loss": points}, "Loss", "nats")
    assert "loss (means of 50)" in picture
    assert len(picture) < 20_000


def test_nothing_in_the_names_breaks_out_of_a_picture() -> None:
    points = [Point(1, 1, 2.0), Point(2, 2, 3.0)]
    picture = curves(dict.fromkeys(ATTACKS, points), ATTACKS[0], ATTACKS[1], Marks((1, 2.0), [2]))
    groups = {text: [Bucket(text, 3, 4.0) for text in ATTACKS] for text in ATTACKS[:2]}
    picture += by_group(groups, ATTACKS[2], ATTACKS[3], ATTACKS[4])
    page = Page(str(picture))
    assert {tag for tag, _ in page.tags} == {"svg", "title", "desc", "path", "text", "circle", "rect"}
    assert not [key for key, _ in page.attributes() if key.startswith("on")]
    for text in ATTACKS:
        assert page.text.count(text) >= 2  # the descriptions
        assert shortened(text, 50) in page.text, "in the legend"


def spoil(value: Any, hostile: str) -> Any:
    """The same nested value with the attack in every text and every key."""
    if isinstance(value, dict):
        return {hostile + key: spoil(item, hostile) for key, item in value.items()}
    return hostile if isinstance(value, str) else value


@pytest.mark.parametrize("hostile", ATTACKS)
def test_nothing_in_the_data_breaks_out(results: dict[str, Any], hostile: str) -> None:
    harmless = {tag for tag, _ in Page(whole(results)).tags}
    for part in ("config", "environment", "data", "timing"):
        results[part] = spoil(results[part], hostile)
    results["environment"].update(device=hostile, command=hostile)
    results["curves"][hostile] = [[1, 1.0, 2.0]]
    results["model"]["parameters"][hostile] = 3
    results["name"] = results["task"] = results["best"]["metric"] = hostile
    test = results["splits"].pop("test")
    results["splits"] = {hostile: test}
    test["metrics"]["bleu"]["signature"] = test["metrics"]["bleu"]["unit"] = hostile
    test["metrics"][hostile] = {"value": 1.0}
    test["decoding"][hostile] = hostile
    test["breakdowns"][0].update(title=hostile, axis=hostile, metric=hostile)
    test["breakdowns"][0]["groups"][0]["label"] = hostile
    test["repetition"]["rows"][0]["repeated"] = hostile
    test["attention"]["under"][0]["tokens"] = [hostile]
    test["vectors"]["probes"][0].update(name=hostile, unit=hostile)
    results["changed"] = [hostile]
    results["memory"][-1]["saturation"][hostile] = [0.5, 0.5]
    test["details"]["macro_f1"]["labels"][hostile] = {"f1": 1.0}
    test["details"]["wer"]["groups"][hostile] = 2.0
    test["details"][hostile] = test["details"]["macro_f1"]
    test["examples"]["best"][0].update(
        id=hostile, source=hostile, reference=hostile, prediction=hostile, chrf=hostile, metric=hostile
    )
    test["examples"][hostile] = [example(3, hostile * 40)]
    rows = [example(number, hostile) for number in range(3)]
    alignments = [{"id": 1, "source": [hostile], "target": [hostile, hostile], "weights": [[50], [60]]}]
    page = Page(render(results, rows, alignments))
    assert page.text.count(hostile) > 60
    assert {tag for tag, _ in page.tags} == harmless
    assert not [key for key, _ in page.attributes() if key.startswith("on")]
    assert "evil" not in page.styles


def test_page_asks_for_nothing(results: dict[str, Any]) -> None:
    results["splits"]["test"]["examples"]["best"][0]["source"] = "see http://example.com and //example.com"
    html = whole(results)
    page = Page(html)
    fetching = {"src", "href", "xlink:href", "srcset", "data", "poster", "action", "formaction", "background"}
    for key, value in page.attributes():
        if key in fetching:
            assert value.startswith("#") or value == "data:,", (key, value)
        if key in {"style", "clip-path", "fill", "mask", "filter"}:
            assert "//" not in value and re.fullmatch(r"url\(#.*\)", value) if "url(" in value else True
    assert "url(" not in page.styles
    assert "@import" not in page.styles
    assert not {tag for tag, _ in page.tags} & {"iframe", "object", "embed", "img"}
    assert [attributes.get("type") for tag, attributes in page.tags if tag == "script"] == ["application/json", None]
    (policy,) = [tag[1]["content"] for tag in page.tags if tag[1].get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy
    script = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)[0]
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "innerHTML" not in script
    assert not re.search(r"https?:|fetch|import\(", script)


def test_ids_are_unique_and_every_reference_has_its_target(html: str) -> None:
    page = Page(html)
    ids = Counter(value for key, value in page.attributes() if key == "id")
    assert [name for name, times in ids.items() if times > 1] == []
    wanted = {value[1:] for key, value in page.attributes() if key in {"href", "xlink:href"} and value.startswith("#")}
    wanted |= {name for key, value in page.attributes() for name in re.findall(r"url\(#(.*?)\)", value)}
    wanted |= {name for key, value in page.attributes() if key == "aria-labelledby" for name in value.split()}
    assert len(wanted) >= 11
    assert wanted <= set(ids)


def test_same_results_give_the_same_bytes(results: dict[str, Any], html: str) -> None:
    assert whole(results) == html


def test_colours_follow_the_page(html: str) -> None:
    pictures = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert not re.search(r"style=|fill=|stroke=|font-family|#[0-9a-f]{3}", pictures)
    kinds = {kind for names in re.findall(r'class="(.*?)"', pictures) for kind in names.split()}
    styles = Page(html).styles
    assert {kind for kind in kinds if f".{kind} " not in styles} == set()
    assert "prefers-color-scheme: dark" in styles


def test_every_style_is_used() -> None:
    """By a template, a picture or the script."""
    folder = Path(layout.__file__).parent
    style = re.sub(r"\{.*?\}", "", (folder / "style.css").read_text().replace("@media", ""), flags=re.DOTALL)
    others = "".join(file.read_text() for file in folder.iterdir() if file.suffix in {".html", ".py", ".js"})
    assert sorted(name for name in set(re.findall(r"\.([a-z-]+[0-9]?)", style)) if name not in others) == [
        f"series-{index}" for index in range(2, 6)
    ]


@pytest.mark.parametrize(
    ("scale", "names"),
    [
        (Scale(0, 1, 0, 9), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Scale(-12, 31, 0, 9), ["−10", "0", "10", "20", "30"]),
        (Scale(0, 0.0004, 0, 9), ["0.0000", "0.0001", "0.0002", "0.0003", "0.0004"]),
        (Scale(100, 30_000, 0, 9), ["5,000", "10,000", "15,000", "20,000", "25,000", "30,000"]),
        (Scale(0.004, 30, 0, 9, log=True), ["0.01", "0.1", "1", "10"]),
        (Scale(0.9, 20, 0, 9, log=True), ["1", "2", "5", "10", "20"]),
        (Scale(3e-9, 4e-9, 0, 9), ["3e−09", "3.2e−09", "3.4e−09", "3.6e−09", "3.8e−09", "4e−09"]),
    ],
)
def test_ticks_are_round(scale: Scale, names: list[str]) -> None:
    assert list(scale.ticks().values()) == names
    assert all(0 <= scale(value) <= 9 for value in scale.ticks())
    assert Scale(0.8, 3.2, 0, 9).ticks(whole=True) == {1: "1", 2: "2", 3: "3"}
    assert all(float(name) % 1 == 0 for name in Scale(0, 14, 0, 9).ticks(whole=True).values())


def test_the_page_says_what_a_run_was_started_from_and_that_it_was_continued(results: dict[str, Any]) -> None:
    text = Page(render(results)).text
    assert "runs/ten/best.ckpt (SHA-256 f00df00df00df00d)" in text
    assert "table 3 of 4 rows" in text
    assert "encoder.gate" in text
    assert "decoder: 3,000 parameters" in text
    assert re.search(r"finished at step 700 after .*; best checkpoint step 600.*; test BLEU 77\.7", text)


@pytest.mark.parametrize(
    "part",
    ["curves", "best", "resumed", "parent", "frozen", "parts", "skipped", "memory", "changed", "config", "environment", "model", "data", "seconds",
     "timing", "name", "format"],
)  # fmt: skip
@pytest.mark.parametrize("absent", [True, False])
def test_a_missing_part_leaves_no_trace(results: dict[str, Any], part: str, absent: bool) -> None:
    full = Page(render(results))
    results.pop(part) if absent else results.update({part: None})
    page = Page(render(results))
    assert "BLEU 91.2" in page.text
    assert len(page.text) < len(full.text) or part == "format"
    assert "None" not in page.text


def test_oldest_results_still_make_a_page() -> None:
    page = Page(render({"task": "Translation", "splits": {}}))
    assert "Translation" in page.text
    assert not [tag for tag, _ in page.tags if tag in {"section", "table", "svg", "h2"}]


@pytest.mark.parametrize(
    "split",
    [
        {},
        {"rows": None, "metrics": None, "examples": None, "breakdowns": None, "decoding": None, "vectors": None},
        {"rows": 1, "metrics": {}, "examples": {"best": [], "worst": None}, "breakdowns": [], "attention": {}},
        {"breakdowns": [{"by": "x", "groups": [{"low": None, "rows": None, "value": None}, {"rows": 2}]}, {}, None]},
        {
            "exposure": {"by_position": [{}, {"position": 1}]},
            "repetition": {"rows": [{}]},
            "attention": {"under": [{}]},
        },
        {"vectors": {"points": [{}, {"id": 1}], "neighbours": [{"near": [{}]}, {}], "probes": [{}], "explained": [1]}},
        {"examples": {"best": [{}]}},
        {"details": {"macro_f1": {"labels": {}, "confusion": None, "bins": None, "groups": {}}, "wer": None}},
        {"details": {"macro_f1": {"labels": {"A": None, "B": {}}, "confusion": {"labels": ["A", "B"]}}}},
        {"details": {"calibration_error": {"bins": [{}, {"count": 3}]}, "wer": {"groups": {"a": None}}}},
    ],
)
def test_gaps_in_a_split_do_not_crash(split: dict[str, Any]) -> None:
    curves = {"train_loss": [], "validation_bleu": None, "learning_rate": [[1, 2]]}
    page = Page(render({"task": "Translation", "splits": {"test": split}, "curves": curves, "best": {}}))
    assert not [tag for tag, _ in page.tags if tag == "svg"]
    assert "None" not in page.words()
    assert not re.search(r"\bnan\b", page.text)


def test_what_is_not_a_number_reads_not_available(results: dict[str, Any]) -> None:
    test = results["splits"]["test"]
    test["metrics"]["bleu"].update(value=math.nan, low=None, high=None)
    test["breakdowns"][0]["groups"][0].update(value=math.nan, low=None)
    test["examples"]["best"][0].update(score=math.nan, chrf=math.inf)
    results["curves"]["train_loss"] = [[1, 1.0, math.nan], [2, 2.0, None]]
    results["curves"]["validation_loss"][0][2] = math.nan
    words = Page(render(results)).words()
    assert "BLEU n/a on 1,000 test rows." in words
    assert "BLEU n/a n/a BLEU points" in words
    assert "1–5 1,120 n/a n/a" in words
    assert "row 1 · chrF n/a · n/a nats per token" in words
    assert "train loss 0 n/a n/a n/a n/a" in words
    assert "validation loss 11" in words
    assert not re.search(r"\bnan\b|\binf\b", words, flags=re.IGNORECASE)


def test_text_of_the_data_finds_its_own_direction(results: dict[str, Any]) -> None:
    results["splits"]["test"]["examples"]["random"][0]["prediction"] = "أحد عشر " * 200
    html = render(results)
    assert re.search(r'<div dir="auto"[^>]*>שלוש</div>', html)
    assert re.search(r'<summary dir="auto"[^>]*>أحد', html)
    assert re.search(r'<div dir="auto"[^>]*>أحد', html)


def test_write_replaces_the_page_in_one_step(
    results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "report.html"
    write_text(path, render(results))
    assert path.read_text(encoding="utf-8") == render(results)

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "other")
    assert path.read_text(encoding="utf-8") == render(results)
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_a_run_is_shown_from_its_files_alone(results: dict[str, Any], tmp_path: Path, html: str) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "results.json").write_text(json.dumps(results))
    for name, lines in (("test", ROWS), ("test.alignments", ALIGNMENTS)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / "predictions" / f"{name}.jsonl").write_text(text)
    done = python("-m", "seq2seq.report", tmp_path, check=True)
    assert done.stdout == f"report: {tmp_path}/report.html\n"
    assert (tmp_path / "report.html").read_text() == html
    (tmp_path / "results.json").write_text("{")
    done = python("-m", "seq2seq.report", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/results.json ")


def test_write_survives_half_characters(tmp_path: Path) -> None:
    write_text(tmp_path / "report.html", render({"task": "a\ud800b", "splits": {}}))
    assert "a?b" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234567, "1,234,567"),
        (91.234, "91.2"),
        (4.5678, "4.57"),
        (-0.1234, "−0.123"),
        (0.0001, "0.0001"),
        (0.0, "0.0"),
        (12345.6, "12,346"),
        (None, "n/a"),
        (math.nan, "n/a"),
        (True, "n/a"),
        ("7", "n/a"),
    ],
)
def test_numbers_read_well(value: object, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(4.0, "4.0 seconds"), (171.2, "2.9 minutes"), (11520.0, "3 h 12 min"), (None, "n/a")]
)
def test_durations_read_well(seconds: object, shown: str) -> None:
    assert duration(seconds) == shown


def test_parts_are_named_by_their_class() -> None:
    part = {"class_path": "seq2seq.data.SentencePiece", "init_args": {"vocabulary_size": 900}}
    told = phrase({"cell": {"class_path": "GRU", "init_args": {}}, "tokenizer": part})
    assert told == "cell GRU, tokenizer SentencePiece (vocabulary size 900)"
    assert phrase(part) == "SentencePiece (vocabulary size 900)"


def test_configuration_reads_back_as_yaml() -> None:
    config = {
        "model": {"class_path": "seq2seq.tasks.Translation", "dropout": 0.2, "stop": None, "both": True, "empty": {}},
        "languages": ["en", "no", "a: b", "", "ünï"],
        "parts": [{"a": 1, "b": ["x", {"c": "# 3"}]}, [1, 2], "plain"],
    }
    text = re.findall(r"<pre>(.*?)</pre>", render({"splits": {}, "config": config}), flags=re.DOTALL)[0]
    assert yaml.safe_load(unescape(text)) == config
    assert "ünï" in text


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, {"beam_size", "length_penalty"}),
        ({"length_penalty": 0.0, "length_offset": 5.0, "rows": 64}, {"beam_size"}),
        ({"temperature": 0.8, "seed": 3}, {"beam_size", "length_penalty", "temperature", "seed"}),
        ({"beam_size": 4, "groups": 2}, {"beam_size", "length_penalty", "groups", "diversity"}),
        ({"lm": "runs/lm"}, {"beam_size", "length_penalty", "lm", "lm_weight"}),
    ],
)
def test_only_settings_of_the_search_that_change_scores_are_told(changed: dict[str, Any], told: set[str]) -> None:
    assert {*said(vars(Decoding(**changed)))} == told
