"""Files as other programs leave them: read as they are meant, or named in one line with the remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seq2seq import midi, predict
from seq2seq.data.cache import Cache
from seq2seq.data.corpora.conll import Conll
from seq2seq.data.corpora.corpus import Corpus, load, select_split
from seq2seq.data.corpora.hub import Hub
from seq2seq.data.corpora.json_rows import Jsonl
from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.corpora.spans import Spans
from seq2seq.data.corpora.tables import Csv, Tsv
from seq2seq.errors import InputError

Pairs = list[tuple[str, str]]


def pairs(corpus: Corpus, path: Path | None, split: str = "train") -> Pairs:
    place = None if path is None else str(path)
    texts = load(corpus, select_split(corpus, split, place, 0.0, None), place, Cache())
    return list(zip(texts.source, texts.target, strict=True))


def written(folder: Path, content: str | bytes, name: str) -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


PERSON = {"text": "Anna Meier rang.", "entities": [[0, 10, "PER"]]}
READ: dict[str, tuple[Corpus, str, str | bytes, Pairs]] = {
    "padded CSV": (Csv(padded=True), "train.csv", 'source, target\nred dog, "rot, Hund"\n', [("red dog", "rot, Hund")]),
    "array on one line": (Jsonl(), "train.json", '[{"source": "a", "target": "b"}, {"source": "c", "target": "d"}]',
                          [("a", "b"), ("c", "d")]),
    "pretty array": (Jsonl(), "train.json", "\ufeff" + json.dumps([{"source": "a", "target": "b"}] * 2, indent=2),
                     [("a", "b")] * 2),
    "empty array": (Jsonl(), "train.json", " []\n", []),
    "path into a list": (Jsonl(target="tags.1"), "train.jsonl", '{"source": "a", "tags": ["x", "y"]}', [("a", "y")]),
    "path through a list": (Jsonl("words.*.form", "words.*.tag"), "train.jsonl",
                            '{"words": [{"form": "a b", "tag": "X"}, {"form": "c", "tag": "Y"}]}', [("a b\tc", "X\tY")]),
    "sentences": (Jsonl("body", "title", list_separator=" "), "train.jsonl", '{"body": ["One.", "Two."], "title": "T"}',
                  [("One. Two.", "T")]),
    "numbers of labels": (Jsonl("tokens", "tags", label_names=["O", "B-PER"]), "train.jsonl",
                          '{"tokens": ["Anna", "rang"], "tags": [1, 0]}', [("Anna\trang", "B-PER\tO")]),
    "name that is a pattern": (Tsv(files={"train": "data[1].tsv"}), "data[1].tsv", "a\tb\n", [("a", "b")]),
    "comments": (Conll(comments="# "), "train.conll", "# sent_id = 7\na X\n#b Y\n\n", [("a\t#b", "X\tY")]),
    "comment with a tab": (Conll(comments="#", delimiter="\t"), "train.conll", "#id\t7\na\tX\n\n", [("a", "X")]),
    "header": (Conll(header=True), "train.conll", "word tag\n\na X\n\n", [("a", "X")]),
    "spans": (Spans(), "train.jsonl", json.dumps(PERSON), [("Anna\tMeier\trang\t.", "B-PER\tI-PER\tO\tO")]),
    "spans as objects": (Spans(), "train.jsonl",
                         json.dumps(PERSON | {"entities": [{"start": 5, "end": 11, "label": "X"}]}),
                         [("Anna\tMeier\trang\t.", "O\tB-X\tO\tO")]),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_read_as_it_is_meant(name: str, tmp_path: Path) -> None:
    corpus, file, content, wanted = READ[name]
    assert pairs(corpus, written(tmp_path, content, file)) == wanted


NAMED: dict[str, tuple[Corpus, str, str | bytes, str]] = {
    "UTF-16": (Tsv(), "train.tsv", "red dog\trot\n".encode("utf-16"), "train.tsv:1.*iconv -f utf-16 "),
    "UTF-16 unmarked": (Tsv(), "train.tsv", "red dog\trot\n".encode("utf-16-le"), "train.tsv:1.*iconv -f utf-16le "),
    "UTF-16 big": (Csv(), "train.csv", "source,target\n".encode("utf-16-be"), "train.csv:1.*iconv -f utf-16be "),
    "CR": (Tsv(), "train.tsv", "a\tb\rc\td\re\tf\r", "train.tsv: .*carriage.*tr "),
    "CR in CSV": (Csv(), "train.csv", "source,target\rc,d\re,f\r", "train.csv: .*carriage.*tr "),
    "padded CSV": (Csv(), "train.csv", 'source,target\nred dog, "rot Hund"\n', r"train.csv:2: .*data\.corpus\.padded"),
    "padded header": (Csv(), "train.csv", "source, target\na,b\n", r"train.csv:1: .*' target'"),
    "semicolons": (Csv(), "train.csv", "source;target\na;b\n", r'train.csv:1: .*data\.corpus\.delimiter to ";"'),
    "commas": (Tsv(), "train.tsv", "a,b\n", r'train.tsv:1: .*data\.corpus\.delimiter to ","'),
    "number and name": (Csv(1, 2), "train.csv", "2,1\na,b\n", "train.csv:1: 1 is the name of column 2"),
    "object over lines": (Jsonl(), "train.json", '{\n  "rows": []\n}', "train.json:1: .*jq"),
    "array cut off": (Jsonl(), "train.json", '[\n{"source": "a", "target": "b"},\n{"source": "c"', "train.json:3: "),
    "array with more": (Jsonl(), "train.json", '[{"source": "a", "target": "b"}]\n[]', "train.json:1: .*array"),
    "array of lists": (Jsonl(), "train.json", '[\n["a", "b"]\n]', "train.json:2: .*'source'"),
    "comments": (Conll(), "train.conll", "# sent_id = 7\na X\n\n", r"train.conll:2: .*data\.corpus\.comments"),
    "number without label": (Jsonl(label_names=["O"]), "train.jsonl", '{"source": "a", "target": 1}', r"jsonl:1: .*1.*label_names"),
    "span within a word": (Spans(), "train.jsonl", json.dumps(PERSON | {"entities": [[0, 7, "PER"]]}), "jsonl:1: .*'Anna Me'"),
    "spans that meet": (Spans(), "train.jsonl", json.dumps(PERSON | {"entities": [[0, 10, "A"], [5, 10, "B"]]}), "jsonl:1: .*'Meier'"),
    "span outside": (Spans(), "train.jsonl", json.dumps(PERSON | {"entities": [[11, 99, "A"]]}), "jsonl:1: .*99.*16"),
    "span of no kind": (Spans(), "train.jsonl", json.dumps(PERSON | {"entities": [{"from": 1}]}), "jsonl:1: .*from"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_named_with_the_remedy(name: str, tmp_path: Path) -> None:
    corpus, file, content, message = NAMED[name]
    with pytest.raises(InputError, match=message) as caught:
        pairs(corpus, written(tmp_path, content, file))
    assert "\n" not in str(caught.value)


WARNED: dict[str, tuple[Corpus, str, str, str]] = {
    "quoted TSV": (Tsv(), "train.tsv", '"a"\t"b"\n"c"\t"d"\n', "Csv"),
    "comments with a tab": (Conll(delimiter="\t"), "train.conll", "#id\t7\na\tX\n\n" * 3, "data.corpus.comments"),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_may_be_meant_otherwise_is_warned_of(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus, file, content, named = WARNED[name]
    assert pairs(corpus, written(tmp_path, content, file))
    assert named in caplog.text


def test_words_that_begin_with_a_number_sign_are_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = "#one X\n\ntwo Y\n\n#three X\n\n"
    assert len(pairs(Conll(), written(tmp_path, content, "train.conll"))) == 3
    assert not caplog.records


def test_parallel_files_may_have_any_names(tmp_path: Path) -> None:
    for name, content in (("train/seq.in", "a b\n"), ("train/seq.out", "X Y\n"), ("dev.words", "c\n"), ("dev2", "Z\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    corpus = Parallel("", "", pairs={"train": ["train/seq.in", "train/seq.out"], "validation": ["dev.words", "dev2"]})
    assert pairs(corpus, tmp_path) == [("a b", "X Y")]
    assert pairs(corpus, tmp_path, "validation") == [("c", "Z")]
    assert not corpus.has("test", str(tmp_path))
    with pytest.raises(InputError, match=r"data\.corpus\.pairs: train"):
        Parallel("", "", pairs={"train": ["one"]})


@pytest.mark.parametrize("form", ["splits", "rows"])
def test_hub_data_saved_to_disk(form: str, tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["O", "B-PER"])
    features = datasets.Features({"tokens": [datasets.Value("string")], "tags": [names]})
    rows = datasets.Dataset.from_dict({"tokens": [["Anna", "rang"]], "tags": [[1, 0]]}, features=features)
    saved = datasets.DatasetDict(train=rows, validation=rows) if form == "splits" else rows
    saved.save_to_disk(tmp_path / "saved")
    corpus = Hub(str(tmp_path / "saved"), "tokens", "tags")
    assert pairs(corpus, None) == [("Anna\trang", "B-PER\tO")]
    assert corpus.has("validation", None) == (form == "splits")
    assert [row["target"] for row in corpus.stream("train", None, None)] == ["B-PER\tO"]


@pytest.mark.parametrize("read", [predict.chunks, lambda stream: [midi.read(stream)]], ids=["predict", "midi"])
def test_a_byte_order_mark_on_standard_input_is_dropped(read: Callable[[Any], Any], tmp_path: Path) -> None:
    for mark in ("", "\ufeff"):
        (tmp_path / "in.txt").write_text(f"{mark}red dog\nblue cat\n", encoding="utf-8")
        with (tmp_path / "in.txt").open("rb") as stream:
            lines = [line if isinstance(line, str) else line.decode() for chunk in read(stream) for line in chunk]
        assert lines == ["red dog", "blue cat"]
    (tmp_path / "in.txt").write_bytes("red dog\n".encode("utf-16"))
    with (
        (tmp_path / "in.txt").open("rb") as stream,
        pytest.raises(InputError, match=r"standard input:1.*iconv -f utf-16 "),
    ):
        list(read(stream))
