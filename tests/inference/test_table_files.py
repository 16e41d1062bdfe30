"""Tables predicted from keep their columns, in every form, and get what `predict` writes for the same texts."""

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from seq2seq import predict
from seq2seq.data.tokenizers.units import Words
from seq2seq.errors import InputError
from seq2seq.inference import predict_texts, table_files
from seq2seq.runs import checkpoint
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, learnt, saved, small

ROWS = [
    {"number": row, "text": f"{source}\nand more"[: 30 - row], "note": 'a "mark", ü'}
    for row, (source, _) in enumerate(PAIRS)
]
Call = Callable[..., None]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(small(Translation, learnt(PAIRS, Words(), Words())), tmp_path_factory.mktemp("run") / "one.ckpt")


@pytest.fixture
def call(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table_files, "ROWS", 3)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    return lambda *options: predict.main([str(run), "--device", "cpu", "--decoding.max_length", "4", *options])


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ";")
            writer.writeheader()
            writer.writerows(rows)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return found
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize(
    ("source", "target"),
    [(".csv", ".jsonl"), (".tsv", ".parquet"), (".json", ".csv"), (".jsonl", ".tsv"), (".parquet", ".parquet")],
)
def test_columns_are_kept_and_predictions_added(
    source: str, target: str, call: Call, run: Path, tmp_path: Path
) -> None:
    write(tmp_path / f"in{source}", ROWS)
    options = ["--n_best", "2", "--decoding.beam_size", "2", "--scores"]
    call("--input", f"in{source}", "--output", f"out{target}", "--column", "text", *options)
    rows = read(tmp_path / f"out{target}")
    assert [[str(row[name]) for name in ROWS[0]] for row in rows] == [list(map(str, row.values())) for row in ROWS]
    assert list(rows[0]) == [*ROWS[0], "prediction", "score", "prediction_2", "score_2"]
    task = checkpoint.load(run)
    decoding = replace(task.decoding, beam_size=2, max_length=4)
    wanted = predict_texts.predict(task, [str(row["text"]) for row in ROWS], decoding, torch.device("cpu"))
    assert [row["prediction"] for row in rows] == [task.text(best) for best, _ in wanted]
    assert [float(row["score_2"]) for row in rows] == pytest.approx([second.score for _, second in wanted], abs=1e-5)


WRONG: dict[str, tuple[str, str, list[str], str]] = {
    "which column": ("a.csv", "x,y\n1,2\n", ["--output", "b.csv"], "--column.* x, y"),
    "missing column": ("a.csv", "x,y\n1,2\n", ["--output", "b.csv", "--column", "z"], r"a\.csv:1.*'z'"),
    "short row": ("a.csv", "x,y\n1\n", ["--output", "b.csv", "--column", "x"], r"a\.csv:2: 1 columns.*2"),
    "taken name": ("a.jsonl", '{"source": "a", "prediction": "b"}\n', ["--output", "b.csv"], "prediction already"),
    "no output": ("a.csv", "source\nx\n", [], "--output"),
    "form of the output": ("a.csv", "source\nx\n", ["--output", "b.doc"], r"--output b\.doc.*\.parquet"),
    "form of the input": ("a.xlsx", "", ["--output", "b.csv"], r"--input a\.xlsx.*\.csv"),
    "there already": ("a.csv", "source\nx\n", ["--output", "a.csv"], "already"),
    "resumed": ("a.csv", "source\nx\n", ["--output", "b.csv", "--resume"], "--resume"),
    "cut off": ("a.jsonl", '{"source": "a"}\n{"sou', ["--output", "b.csv"], r"a\.jsonl:2"),
    "damaged": ("a.parquet", "PAR1", ["--output", "b.csv"], r"a\.parquet"),
    "unlike rows": ("a.jsonl", '{"source": "a"}\n' * 3 + '{"source": "a", "more": 1}\n', ["--output", "b.csv"], "unlike"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_and_nothing_is_written(name: str, call: Call, tmp_path: Path) -> None:
    file, content, options, message = WRONG[name]
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        call("--input", file, *options)
    assert "\n" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == [file]
