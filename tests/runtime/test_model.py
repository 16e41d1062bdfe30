"""A runtime answers as the task does, whatever the batches; what is asked or given wrongly is one line."""

import io
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.decoding.length_bound import LengthBound
from seq2seq.inference import predict_texts
from seq2seq.models import attention as attentions
from seq2seq.models import cells
from seq2seq.models.tagger import AutoregressiveTagger, Crf
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from seq2seq_runtime import __main__ as program
from seq2seq_runtime import description, model
from seq2seq_runtime.answers import Answer
from seq2seq_runtime.model import Model
from seq2seq_runtime.problems import FileError, RequestError
from tests.runtime.networks import TorchNetwork, changed, entry_of, loops_of_python, model_of, places, some
from tests.support import SENTENCES, SPANS, Rows, learnt, small

LETTERS = [("abcd"[: 1 + row % 4] * (1 + row % 3), "ab" * (1 + row % 2)) for row in range(9)]
CLASSES_OF_WORDS = [("the\tgrey\tcat", "cat"), ("a\tdog\truns", "dog"), ("grey\tdog", "dog"), ("the\tcat", "cat")]
CLASSES = [(text, "odd even odd".split()[row % 3]) for row, (text, _) in enumerate(LETTERS)]
SEVERAL = [(text, ["a b", "b", "a"][row % 3]) for row, (text, _) in enumerate(LETTERS)]
NUMBERS = [("\t".join(f"{row} {step}" for step in range(3 + row % 4)), f"{row} 1\t{row} 2\t3 3") for row in range(9)]
VECTORS = [(f"{row} {row % 3}", "abc"[: 1 + row % 3]) for row in range(9)]
ASKED = [("show planes to oslo", "flight \N{DOUBLE VERTICAL LINE} O O O B"), ("what to pay", "fare \N{DOUBLE VERTICAL LINE} O O O"),
         ("planes to new york", "flight \N{DOUBLE VERTICAL LINE} O O B I"), ("to rome", "time \N{DOUBLE VERTICAL LINE} O B")]  # fmt: skip
SALES = [
    (
        "\t".join([*(f"{row + step} | {step % 3} {step % 2}" for step in range(4 + row % 3)), "| 1", "| 0", "| 1"]),
        f"{row}\t2\t3",
    )
    for row in range(9)
]
DRAWN = Decoding(beam_size=2, max_length=9, temperature=0.9, top_k=4, seed=5)

CASES: dict[str, tuple[Any, Rows, Tokenizer, Tokenizer, dict[str, Any], Decoding]] = {
    "translation": (Translation, LETTERS, Characters(), Characters(), {"attention": attentions.Dot()}, Decoding(3, min_length=2)),
    "spelled tags": (Tagging, SPANS, Spelled(), Labels("\t"), {"tagger": Crf("BIO"), "cell": cells.GRU()}, Decoding(1)),
    "tags in turn": (Tagging, SENTENCES, Words(separator="\t"), Labels("\t"), {"tagger": AutoregressiveTagger()}, Decoding(2)),
    "tags and a class": (Tagging, ASKED, Words(), Labels(), {"tagger": Crf("BIO")}, Decoding(1)),
    "tags in turn and a class": (Tagging, ASKED, Words(), Labels(), {"tagger": AutoregressiveTagger()}, Decoding(4)),
    "classes": (Classification, CLASSES, Characters(), Labels(), {}, Decoding(2)),
    "classes of words": (Classification, CLASSES_OF_WORDS, Spelled(affixes=2), Labels(), {}, Decoding(2)),
    "several classes": (Classification, SEVERAL, Characters(), Labels(), {"multi_label": True}, Decoding(1)),
    "forecasts": (Forecasting, NUMBERS, Vectors(), Vectors(), {"relative": "season", "season": 2}, Decoding(1)),
    "covariates": (Forecasting, SALES, Vectors(), Vectors(), {"relative": "last", "rescale": True}, Decoding(1)),
    "text": (Generation, [("", text) for text, _ in LETTERS], NoSource(), Characters(), {}, Decoding(3, max_length=9)),
    "drawn text": (Generation, [("", text) for text, _ in LETTERS], NoSource(), Characters(), {}, DRAWN),
    "text from a label": (Generation, [(label, text) for text, label in CLASSES], Labels(), Characters(), {}, DRAWN),
    "text from numbers": (Generation, VECTORS, Vectors(), Characters(), {}, DRAWN),
}  # fmt: skip


def shaken(task: Task) -> Task:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return task.eval()


def task_of(case: str) -> tuple[Task, list[str], Decoding]:
    kind, rows, source, target, settings, decoding = CASES[case]
    task = shaken(small(kind, learnt(rows, source, target), **settings))
    if case == "translation":
        task.length_bound = LengthBound(1.3, 4)
    texts = [source for source, _ in rows]
    return task, ["", "ab", "a"] if case in ("text", "drawn text") else ["", *texts, texts[0]], decoding


@pytest.fixture(autouse=True)
def without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    loops_of_python(monkeypatch)


def assert_alike(answers: Sequence[Answer], task: Task, found: Sequence[Any], n_best: int) -> None:
    for answer, several in zip(answers, found, strict=True):
        several = several[:n_best]
        if isinstance(task, Forecasting):
            assert [told(one.quantiles) for one in answer.n_best] == [
                pytest.approx(told(task.quantile_texts(one)), abs=1e-4) for one in several
            ]
            continue
        assert [one.text for one in answer.n_best] == [task.text(one) for one in several]
        for one, other in zip(answer.n_best, several, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert one.token_scores == pytest.approx(other.token_scores, abs=1e-5)
            assert one.at_limit == other.at_limit


def told(quantiles: Mapping[str, str] | None) -> list[float]:
    """All numbers of a forecast."""
    return [float(word) for text in (quantiles or {}).values() for word in text.split()]


@pytest.mark.parametrize(
    "case",
    some(
        CASES,
        "translation",
        "spelled tags",
        "several classes",
        "forecasts",
        "covariates",
        "drawn text",
        "tags and a class",
        "tags in turn and a class",
    ),
)
def test_it_answers_as_the_task_does(case: str) -> None:
    task, texts, decoding = task_of(case)
    mine, n_best = model_of(task, decoding), decoding.beam_size
    want = predict_texts.predict(task, texts, decoding, torch.device("cpu"))
    answers = mine.predict(texts, n_best)
    assert_alike(answers, task, want, n_best)
    assert [one.source for one in answers] == texts
    if decoding.temperature is None:  # what is drawn depends on the number of the row
        assert_alike([mine.predict([text], n_best)[0] for text in texts], task, want, n_best)


def test_labels_have_probabilities() -> None:
    for case, total in (("classes", 1.0), ("several classes", None)):
        task, texts, _ = task_of(case)
        answer = model_of(task, Decoding(1)).predict(texts)[1]
        assert answer.probabilities is not None
        if total is not None:
            assert sum(answer.probabilities.values()) == pytest.approx(total)
            assert np.log(answer.probabilities[answer.text]) == pytest.approx(answer.score, abs=1e-6)
        assert set(answer.labels) == {name for name, share in answer.probabilities.items() if share >= 0.5} or total
    task, texts, decoding = task_of("tags in turn and a class")
    for tagged in model_of(task, decoding).predict(texts[1:], 2):
        for one in tagged.n_best:
            assert one.text == f"{one.sentence} \N{DOUBLE VERTICAL LINE} {' '.join(one.labels)}"
            assert len(one.labels) == len(tagged.source.split())
    task, texts, decoding = task_of("spelled tags")
    tagged = model_of(task, decoding).predict(texts)[1]
    assert "\t".join(tagged.labels) == tagged.text


@pytest.mark.parametrize(
    ("case", "longest"), [("translation", 7), *(("classes of words", longest) for longest in range(6, 34))]
)
def test_a_long_source_is_cut_as_the_task_cuts_it(case: str, longest: int) -> None:
    task, texts, decoding = task_of(case)
    texts = ["\t".join([texts[1]] * 2) if "words" in case else "abcd" * 5, *texts]
    want = predict_texts.predict(task, texts, decoding, torch.device("cpu"), max_length=longest)
    assert_alike(model_of(task, decoding, max_length=longest).predict(texts), task, want, 1)


def test_batches_hold_rows_of_similar_length_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    task, texts, decoding = task_of("translation")
    mine = model_of(task, decoding)
    whole = mine.predict(texts * 3)
    assert isinstance(mine.network, TorchNetwork)
    assert len(mine.network.shapes) == 1
    mine.network.shapes.clear()
    monkeypatch.setattr("seq2seq_runtime.rows.HYPOTHESES", 12)  # 4 rows of 3
    monkeypatch.setattr("seq2seq_runtime.rows.TOKENS", 22)
    monkeypatch.setattr(model, "CHUNK", 16)
    assert [one.text for one in mine.predict(texts * 3)] == [one.text for one in whole]
    shapes = mine.network.shapes
    assert sum(rows for rows, _ in shapes) == 3 * (len(texts) - 1)  # the empty one is not predicted
    assert all(rows <= 4 and rows * steps <= 22 for rows, steps in shapes)


def test_a_million_lines_are_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    task, _, _ = task_of("classes")
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        while read < 1_000_000:
            read += 1
            yield "ab"

    monkeypatch.setattr(model, "CHUNK", 50)
    answers = model_of(task, Decoding(1)).stream(lines())
    assert len(list(itertools.islice(answers, 120))) == 120
    assert read <= 150


def test_a_wrong_text_is_named_after_those_before_it_are_answered() -> None:
    task, _, decoding = task_of("forecasts")
    mine = model_of(task, decoding)
    answers = mine.stream(["1 2\t3 4", "", "1 2\t3"])
    assert [bool(next(answers).text), bool(next(answers).text)] == [True, False]
    with pytest.raises(RequestError, match=r"texts\[2\]: step 2 .* 1 .* 2\b"):
        next(answers)
    task, _, decoding = task_of("covariates")
    with_parts = model_of(task, decoding)
    for text in (
        "1 | 2 3",
        "1 | 2 3\t| 1\t| 1",
        "1 | 2 3\t| 1\t| 1\t| 1 2",
        "1 2 3\t| 1\t| 1\t| 1",
        "x | 2 3\t| 1\t| 1\t| 1",
    ):
        with pytest.raises(RequestError, match=r"texts\[0\]"):
            with_parts.predict([text])
    for text in ("1 2", "x y\t1 2", "1 2\t3 nan", 7, "\ud800", None):
        with pytest.raises(RequestError, match=r"texts\[0\]"):
            mine.predict([text])  # type: ignore[list-item]
    with pytest.raises(RequestError, match="list"):
        mine.predict("1 2")


def test_beginnings_and_conditions_that_training_lacks() -> None:
    task, _, decoding = task_of("text")
    with pytest.raises(RequestError, match="'xyz'"):
        model_of(task, decoding).predict(["xyz"])
    with pytest.raises(RequestError, match="no_repeat_ngram"):
        model_of(task, Decoding(2, max_length=9, no_repeat_ngram=2)).predict(["a"])
    task, _, decoding = task_of("text from a label")
    with pytest.raises(RequestError, match="'xyz'"):
        model_of(task, decoding).predict(["xyz"])


def test_drawn_texts_follow_the_seed() -> None:
    task, _, decoding = task_of("drawn text")
    mine, texts = model_of(task, decoding), [""] * 9
    first, again, other = (mine.predict(texts, seed=seed) for seed in (5, None, 6))
    assert [one.text for one in first] == [one.text for one in again] != [one.text for one in other]
    assert len({one.text for one in first}) > 1


@pytest.mark.parametrize(
    ("case", "settings"),
    [
        ("translation", {"n_best": 4}),
        ("translation", {"n_best": 0}),
        ("translation", {"beam_size": 0}),
        ("translation", {"beam_size": 10**9}),
        ("translation", {"beam_size": 2.5}),
        ("drawn text", {"seed": -1}),
        ("spelled tags", {"n_best": 2}),
        ("several classes", {"n_best": 2}),
        ("forecasts", {"n_best": 2}),
    ],
)
def test_a_setting_out_of_range_is_named(case: str, settings: dict[str, Any]) -> None:
    task, texts, decoding = task_of(case)
    [name] = settings
    with pytest.raises(RequestError, match=f"{name} is {settings[name]}"):
        model_of(task, decoding).predict(texts, **settings)


@pytest.mark.parametrize("case", some(CASES, "forecasts"))
def test_metadata_that_is_wrong_is_one_line(case: str) -> None:
    task, _, decoding = task_of(case)
    entry = entry_of(task, decoding)
    network = model_of(task, decoding).network
    said = []
    for place in places(json.loads(entry)):
        for value in (..., None, True, -1, 1e99, float("nan"), "", "x" * 1000, [], {}, [[]], {"kind": 1}):
            text = changed(entry, place, value)
            try:
                Model(description.read(text), network)
            except FileError as problem:
                said.append(str(problem))
    assert len(said) > 100
    assert all(len(one.splitlines()) == 1 and len(one) < 400 for one in said)
    for text in ("", "[]", "nonsense", "[" * 100_000):
        with pytest.raises(FileError):
            description.read(text)


def test_another_format_is_refused() -> None:
    task, _, decoding = task_of("classes")
    with pytest.raises(FileError, match=r"format is 2\b.* 1\b"):
        description.read(changed(entry_of(task, decoding), ["format"], 2))


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"tokens": np.zeros((1, 3, 4), np.int64)},
        {"tokens": np.full((1, 3, 4), 99)},
        {"tokens": np.full((1, 3, 4), -1)},
        {"counts": np.full((1, 3), 5)},
        {"scores": np.zeros((2, 3), np.float32)},
        {"token_scores": "text"},
    ],
)
def test_outputs_that_are_wrong_are_one_line(found: dict[str, Any]) -> None:
    task, _, decoding = task_of("translation")
    mine = model_of(task, decoding)
    right = {"tokens": np.full((1, 3, 4), 5), "counts": np.ones((1, 3), np.int64), "scores": np.zeros((1, 3)), "token_scores": np.zeros((1, 3, 4))}  # fmt: skip

    class Wrong:
        inputs = mine.network.inputs

        def run(self, given: Any) -> Any:
            return right | found if found else {}

    if found.get("tokens") is not None and not found["tokens"].any():  # special tokens are no text, and no mistake
        assert Model(mine.description, Wrong()).predict(["a"])[0].text == ""
        return
    with pytest.raises(FileError):
        Model(mine.description, Wrong()).predict(["a"])


def run(arguments: list[str], given: bytes, folder: Path, patch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    """The exit code of the command and what it writes."""
    (folder / "in.txt").write_bytes(given)
    out = io.TextIOWrapper(io.BytesIO())
    with (folder / "in.txt").open("rb") as file, patch.context() as inner:
        inner.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        inner.setattr(sys, "stdout", out)
        code = program.main(arguments)
    out.seek(0)
    return code, out.read().splitlines()


def test_the_command_writes_a_line_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task, texts, decoding = task_of("translation")
    mine = model_of(task, decoding)
    monkeypatch.setattr(program, "load", lambda file, threads: mine)
    given = "".join(f"{text}\n" for text in texts).encode()
    assert run(["m.onnx"], given, tmp_path, monkeypatch) == (0, [one.text for one in mine.predict(texts)])
    code, lines = run(["m.onnx", "--n_best", "2", "--beam_size", "4"], given, tmp_path, monkeypatch)
    assert [line.split("\t") for line in lines[1:]] == [
        [one.text for one in answer.n_best] for answer in mine.predict(texts, 2, 4)[1:]
    ]
    assert (code, lines[0]) == (0, "")
    code, lines = run(["m.onnx"], b"ab\n\xff\nab", tmp_path, monkeypatch)
    assert (code, len(lines)) == (2, 1)
    assert "standard input:2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"PK\x03\x04" * 9, b"\xff" * 99, b"\x1f\x8b" + bytes(99)], ids=range(5)
)
def test_a_foreign_file_is_one_line(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(content)
    assert run([str(file)], b"ab\n", tmp_path, monkeypatch) == (2, [])
    assert len((said := capsys.readouterr().err).splitlines()) == 1
    assert f"{file}: " in said
    for other in (tmp_path, tmp_path / "nowhere", "a\0b"):
        with pytest.raises(FileError):
            model.load(other)
