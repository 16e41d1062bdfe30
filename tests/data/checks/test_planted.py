"""A corpus into which every defect is planted: lint finds each by its name, file and line, and nothing else."""

import json
import random
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from seq2seq import lint
from seq2seq.cli import command

Rows = list[tuple[str, str]]


def sentence(numbers: random.Random, letters: str) -> str:
    words = ["".join(numbers.choices(letters, k=numbers.randint(2, 7))) for _ in range(numbers.randint(6, 9))]
    return " ".join(words)


def clean(rows: int, seed: int) -> Rows:
    numbers = random.Random(seed)
    return [(sentence(numbers, "abcdefg"), sentence(numbers, "hijklmn")) for _ in range(rows)]


def linted(folder: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """The exit code of lint, and what it prints as JSON."""
    (folder / "my.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit) as ended:
        command.run(lint.main, ["--config", str(folder / "my.yaml"), "--data.path", str(folder), "--json"])
    shown, error = capsys.readouterr()
    assert shown, error
    return int(ended.value.code or 0), json.loads(shown)


def where(findings: Sequence[dict[str, Any]]) -> set[tuple[str, str]]:
    """Each finding's name and the file and line of its examples."""
    return {(one["kind"], row["location"].rpartition("/")[2]) for one in findings for row in one["examples"]}


def write(folder: Path, name: str, rows: Rows) -> None:
    text = "".join(f"{source}\t{target}\n" for source, target in rows)
    (folder / f"{name}.tsv").write_bytes(text.encode())


TSV = {"class_path": "Tsv", "init_args": {"source": 1, "target": 2}}
PLANTED = {
    "damaged": "a caf\ufffd in town",
    "mojibake": "Ein MÃ¤dchen singt",
    "c1 control": "it\x92s here",
    "hidden break": "one\u2028two",
    "control": "a \x07 bell",
    "invisible": "soft\xadhyphen here",
    "html entity": "fish &amp; chips",
    "tokenizer": "well @-@ known",
    "special symbol": "a <unk> word",
    "mixed script": "a p\u0430ge of text",
    "spaces": "two  spaces",
    "look-alike": unicodedata.normalize("NFD", "un café noir"),
}
VARIANTS = {
    "control": ["nul\0", "\x1b[31mred", "\u202eright to left", "\u2066isolate"],
    "c1 control": ["\x93quoted\x94"],
    "invisible": ["zero\u200bwidth", "byte\ufefforder", "word\u2060joiner"],
    "html entity": ["&#39;s", "&#x2019;s", "a&nbsp;b", "&quot;so&quot;"],
    "tokenizer": ["it &apos;s", "un@@ known", "▁the ▁fox", "play ##ing", "-LRB- so -RRB-", "&#91;1&#93;"],
    "special symbol": ["<s> so </s>", "[UNK]", "<pad>", "<|endoftext|>"],
    "mojibake": ["Heâ€™s", "Ð´Ð¾Ð¼"],
    "spaces": [" before", "after "],
}


def test_every_defect_of_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, validation, test = clean(300, 1), clean(40, 2), clean(40, 3)
    train[0] = (train[0][0], "un café composé")
    line = {}
    for row, (kind, text) in enumerate(PLANTED.items(), 10):
        train[row] = (train[row][0], text)
        line[kind] = f"train.tsv:{row + 1}"
    train[50], train[51], train[52] = train[49], (train[48][0], train[51][1]), (train[52][0], train[52][0])
    train[53], train[54] = ("", train[53][1]), ("x", sentence(random.Random(9), "hijklmn") * 9)
    test[3], test[4] = train[100], (train[101][0], test[4][1])
    test[5] = (train[102][0].upper() + " !", train[102][1].replace(" ", ", ") + ".")  # nearly the same
    words = train[103][0].split()
    test[6] = (" ".join([*words[:-1], "zzz"]), train[103][1])
    validation[7] = tuple(unicodedata.normalize("NFD", side) for side in train[0])
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        write(tmp_path, name, rows)
    settings = {"data": {"corpus": TSV, "tokenizer": "Characters"}, "trainer": {"max_epochs": 1}}
    code, found = linted(tmp_path, settings, capsys)
    assert code == 1
    expected = {*line.items(), ("duplicate", "train.tsv:51"), ("ambiguous", "train.tsv:49"), ("copied", "train.tsv:53"),
                ("ambiguous", "train.tsv:52"), ("empty", "train.tsv:54"), ("odd length", "train.tsv:55"),
                ("overlap", "test.tsv:4"), ("known source", "test.tsv:5"), ("near-duplicate", "test.tsv:6"),
                ("near-duplicate", "test.tsv:7"), ("overlap", "validation.tsv:8"),
                ("look-alike", "validation.tsv:8")}  # fmt: skip
    assert expected <= where(found["findings"])
    natural = {"unknown", "few steps", "casing"}  # of one row's capitals, and of a training of one epoch
    assert {kind for kind, _ in where(found["findings"])} - {kind for kind, _ in expected} <= natural
    like = {row["location"][-10:]: row["like"].rpartition("/")[2] for one in found["findings"]
            for row in one["examples"] if one["kind"] == "near-duplicate"}  # fmt: skip
    assert set(like.values()) == {"train.tsv:103", "train.tsv:104"}
    assert "few steps" in [one["kind"] for one in found["findings"]]
    twins = [one for one in found["findings"] if one["kind"] == "look-alike"]
    assert all("U+0301" in row["excerpt"] for one in twins for row in one["examples"])


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in VARIANTS.items() for text in texts])
def test_variants(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, text: str) -> None:
    train = clean(30, 1)
    train[6] = (text, train[6][1])
    for name, rows in (("train", train), ("validation", clean(9, 2)), ("test", clean(9, 3))):
        write(tmp_path, name, rows)
    settings = {"data": {"corpus": TSV, "tokenizer": "Characters"}, "trainer": {"max_epochs": 9999}}
    _, found = linted(tmp_path, settings, capsys)
    assert (kind, "train.tsv:7") in where(found["findings"])
    assert {kind for kind, _ in where(found["findings"])} <= {kind, "casing"}


def labelled(seed: int, rows: int, labels: str) -> Rows:
    return [(source, labels[row % len(labels)]) for row, (source, _) in enumerate(clean(rows, seed))]


def test_every_defect_of_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, validation, test = (labelled(seed, 60, "ab") for seed in (1, 2, 3))
    train[10] = (train[10][0], "café")
    train[11] = (train[11][0], unicodedata.normalize("NFD", "café"))
    train[12] = (train[12][0], "A")
    train[13] = (train[13][0], "b\u200b")
    test[5], test[6] = (test[5][0], "new"), (test[6][0], "B")
    train[14] = (train[14][0], "a b")
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        write(tmp_path, name, rows)
    data = {"corpus": TSV, "tokenizer": "Words", "target_tokenizer": "Labels"}
    settings = {"task": "Classification", "data": data, "trainer": {"max_epochs": 9999}}
    code, found = linted(tmp_path, settings, capsys)
    assert code == 1
    severity = {(one["kind"], one["split"], one["severity"]) for one in found["findings"]}
    assert {("look-alike", "train", "error"), ("look-alike", "train", "warning"), ("look-alike", "test", "warning"),
            ("unseen label", "test", "warning"), ("rare class", "train", "warning"),
            ("missing class", "train", "note"), ("misaligned", "train", "error")} <= severity  # fmt: skip
    assert {("look-alike", "train.tsv:13"), ("look-alike", "train.tsv:14"), ("look-alike", "test.tsv:7"),
            ("unseen label", "test.tsv:6"), ("misaligned", "train.tsv:15")} <= where(found["findings"])  # fmt: skip
    assert ("look-alike", "train.tsv:11") in where(found["findings"]) or (
        "look-alike", "train.tsv:12") in where(found["findings"])  # fmt: skip


def test_several_labels_or_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a multi-label task allows is no finding."""
    for name, seed, rows in (("train", 1, 60), ("validation", 2, 12), ("test", 3, 12)):
        texts = labelled(seed, rows, "ab")
        texts[3:5] = [(texts[3][0], "a b"), (texts[4][0], "")]
        write(tmp_path, name, texts)
    data = {"corpus": TSV, "tokenizer": "Characters", "target_tokenizer": "Labels"}
    settings = {"task": "Classification", "data": data, "trainer": {"max_epochs": 9999}, "model": {"multi_label": True}}
    code, found = linted(tmp_path, settings, capsys)
    assert (code, found["findings"]) == (0, [])
    settings["model"] = {"multi_label": False}
    code, found = linted(tmp_path, settings, capsys)
    assert ("misaligned", "train.tsv:4") in where(found["findings"])
    assert ("empty", "train.tsv:5") in where(found["findings"])


def spelled(folder: Path, **splits: Sequence[str]) -> dict[str, Any]:
    for name, sentences in splits.items():
        blocks = ["".join(token.replace("/", "\t") + "\n" for token in text.split()) for text in sentences]
        (folder / f"{name}.conll").write_text("\n".join(blocks))
    corpus = {"class_path": "Conll", "init_args": {"source": 1, "target": 2, "delimiter": "\t"}}
    labels = {"class_path": "Labels", "init_args": {"separator": "\t"}}
    data = {"corpus": corpus, "tokenizer": "Spelled", "target_tokenizer": labels}
    return {"task": "Tagging", "data": data, "trainer": {"max_epochs": 9999}}


def test_words_that_are_spelled_are_counted_as_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["Anna/B works/O in/O Oslo/B ./O"] * 9 + ["she/O sings/O"] * 6
    settings = spelled(tmp_path, train=train, validation=["Anna/B sings/O"], test=["Anna/B Nobody/B sings/O loudly/O"])
    code, found = linted(tmp_path, settings, capsys)
    assert code == 0
    assert "misaligned" not in {one["kind"] for one in found["findings"]}
    splits = found["header"]["splits"]
    assert splits["train"]["source"]["tokens"] == 9 * 5 + 6 * 2
    assert splits["train"]["source"]["longest"]["tokens"] == 5
    assert splits["test"]["source"]["unknown"] == 0.5
    [unknown] = [one for one in found["findings"] if one["kind"] == "unknown"]
    assert unknown["examples"][0]["excerpt"].startswith("Nobody, loudly")


def test_windows_of_a_periodic_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That windows are repeated is natural, and nothing that anybody can mend."""
    (tmp_path / "days.csv").write_text("".join(f"{day % 7}\n" for day in range(400)))
    corpus = {"class_path": "Series", "init_args": {"history": 14, "horizon": 7}}
    data = {"corpus": corpus, "path": "x", "tokenizer": "Vectors", "target_tokenizer": "Vectors"}
    settings = {"task": "Forecasting", "data": data, "trainer": {"max_epochs": 9999}}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit) as ended:
        command.run(lint.main, ["--config", str(tmp_path / "my.yaml"), "--data.path", str(tmp_path / "days.csv")])
    assert ended.value.code == 0, capsys.readouterr()
    assert "overlap" in capsys.readouterr().out


def test_a_test_split_that_is_half_training_stays_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = labelled(1, 60, "ab")
    for name, rows in (("train", train), ("validation", labelled(2, 20, "ab")), ("test", train[:20])):
        write(tmp_path, name, rows)
    data = {"corpus": TSV, "tokenizer": "Characters", "target_tokenizer": "Labels"}
    code, found = linted(tmp_path, {"task": "Classification", "data": data}, capsys)
    assert code == 1
    assert ("overlap", "test", "error") in {(one["kind"], one["split"], one["severity"]) for one in found["findings"]}
