"""The run card: which settings are not the default, which data were read, what was resumed, what it cost."""

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import yaml
from pytorch_lightning import LightningModule, Trainer

from seq2seq import train
from seq2seq.cli import command
from seq2seq.configurable import flatten
from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Row, in_memory
from seq2seq.report import page
from seq2seq.runs import resuming, run_card
from seq2seq.runs.run_card import changed, fingerprints
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training.callbacks import Curves
from seq2seq.training.loggers import Loggers
from tests.support import ROOT


def names(arguments: str) -> list[str]:
    """What the card says of these arguments of the training command."""
    given = shlex.split(arguments)
    parser = command.training_parser(command.task_class(given))
    settings = command.plain_settings(parser, command.parse(parser, given))
    return changed(settings, command.plain_settings(parser, parser.get_defaults()))


def test_defaults_are_not_changed() -> None:
    assert names("") == []
    assert names("--run somewhere --resume true") == [], "these belong to one call"
    assert names("--model.cell LSTM --data.tokenizer SentencePiece --optimizer.learning_rate 0.001") == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--seed 2 --model.hidden_size 64", ["seed", "model.hidden_size"]),
        ("--model.cell.forget_bias 2", ["model.cell.forget_bias"]),
        ("--model.cell GRU", ["model.cell"]),
        ("--optimizer.algorithm SGD", ["optimizer.algorithm"]),
        (
            "--optimizer.algorithm SGD --optimizer.algorithm.momentum 0.9",
            ["optimizer.algorithm", "optimizer.algorithm.momentum"],
        ),
        ("--data.corpus Cldr --data.corpus.train 300", ["data.corpus", "data.corpus.train"]),
        ("--model.encoder.bidirectional false", ["model.encoder.bidirectional"]),
        ("--trainer.gradient_clip_val null", ["trainer.gradient_clip_val"]),
        ("--data.max_rows '{train: 7}'", ["data.max_rows"]),
        ("--task Tagging", ["task"]),
        ("--model.metrics '[Bleu]'", ["model.metrics"]),
    ],
)
def test_changed_settings_are_named(arguments: str, expected: list[str]) -> None:
    assert names(arguments) == expected


def test_classes_in_lists_compare_with_their_own_defaults() -> None:
    path = "seq2seq.metrics.bleu.Bleu"
    bare, whole = {"class_path": path}, {"class_path": path, "init_args": {"tokenize": None, "lowercase": False}}
    other = {"class_path": path, "init_args": {"lowercase": True}}
    half = {"class_path": path, "init_args": {"lowercase": False}}
    assert changed({"metrics": [bare, half]}, {"metrics": [whole, whole]}) == []
    assert changed({"metrics": [bare]}, {"metrics": [other]}) == ["metrics"]
    assert changed({"metrics": [bare, bare]}, {"metrics": [bare]}) == ["metrics"]


def test_settings_are_flattened_to_dotted_names() -> None:
    cell = {"class_path": "seq2seq.models.cells.LSTM", "init_args": {"forget_bias": 1.0}}
    settings = {
        "seed": 1,
        "model": {"cell": cell, "metrics": [{"class_path": "seq2seq.metrics.bleu.Bleu"}]},
        "data": {},
    }
    assert flatten(settings) == {
        "seed": 1,
        "model.cell": "LSTM",
        "model.cell.forget_bias": 1.0,
        "model.metrics": [{"class_path": "Bleu"}],
        "data": {},
    }
    assert flatten({}) == {}
    assert flatten({"cell": {"class_path": "my.Cell"}}) == {"cell": "my.Cell"}


def test_what_differs_between_two_configurations() -> None:
    before = {"seed": 1, "model": {"cell": {"class_path": "seq2seq.models.cells.LSTM"}, "layers": 2}}
    now = {"seed": 1, "model": {"cell": {"class_path": "LSTM", "init_args": {"forget_bias": 2.0}}, "layers": 3}, "x": 0}
    none = resuming.NONE
    assert resuming.changed(before, before) == []
    assert resuming.changed(before, now) == [
        ("model.layers", 2, 3), ("model.cell.forget_bias", 1.0, 2.0), ("x", none, 0)
    ]  # fmt: skip


def test_a_setting_that_a_run_is_too_old_to_have_counts_as_its_default() -> None:
    part = {"class_path": "Jsonl", "init_args": {"source": "a"}}
    before = {"task": "Translation", "data": {"corpus": part}, "model": {"layers": 1}, "decoding": {"beam_size": 5}}
    usual = part["init_args"] | {"list_separator": "\t", "label_names": None}
    now = {"task": "Translation", "data": {"corpus": part | {"init_args": usual}, "holdout": 0.05},
           "model": {"layers": 1, "wait_k": None}, "decoding": {"beam_size": 5, "wait_k": None}}  # fmt: skip
    assert resuming.changed(before, now) == []
    other = now | {"data": {"corpus": part | {"init_args": usual | {"list_separator": " "}}}}
    assert resuming.changed(before, other) == [("data.corpus.list_separator", "\t", " ")]


def set_in(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The dotted names of all that a YAML file sets."""
    for name, value in values.items():
        inside = value.get("init_args", value) if isinstance(value, dict) else {}
        yield before + name
        yield from set_in(inside, f"{before}{name}.")


@pytest.mark.parametrize("name", ["translation_cldr", "tagging_wnut17", "translation_g2p-sigmorphon2020_all"])
def test_a_configuration_changes_what_it_sets(name: str) -> None:
    file = ROOT / "configs" / f"{name}.yaml"
    told, content = names(f"--config {file}"), [*set_in(yaml.safe_load(file.read_text()))]
    assert set(told) <= {*content}
    assert {"optimizer.learning_rate", "optimizer.schedule", "data.corpus"} <= {*told}


def corpus(folder: Path) -> DataModule:
    """Three tiny splits in a folder, the training rows in two files inside another one."""
    for split in ("more/train-1", "more/train-2", "dev", "test"):
        for ending in ("s", "t"):
            file = folder / f"{split}.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{split} of {ending}\n")
    return DataModule(Parallel("s", "t", files={"train": "more/train-*"}), str(folder))


def test_a_byte_changes_a_fingerprint(tmp_path: Path) -> None:
    data = corpus(tmp_path)

    def told() -> dict[str, Any]:
        return fingerprints({name: data.texts(name) for name in ("train", "validation", "test")}, data.path)

    before = told()
    files = [f"{name}.{ending}" for name in ("more/train-1", "more/train-2", "dev", "test") for ending in "st"]
    assert [*before] == files, "nothing about the folder above"
    for name in files:
        content = (tmp_path / name).read_bytes()
        assert before[name] == {"sha256": hashlib.sha256(content).hexdigest()[:16], "bytes": len(content)}
    (tmp_path / "dev.s").write_bytes((tmp_path / "dev.s").read_bytes().replace(b"dev", b"def"))
    after = told()
    assert {name for name in files if after[name] != before[name]} == {"dev.s"}
    assert after["dev.s"]["bytes"] == before["dev.s"]["bytes"]


def test_rows_from_no_file_have_one_fingerprint() -> None:
    some, other = (in_memory([Row("a", "b", 1), Row("c", last, 2)]) for last in "de")
    told = fingerprints({"train": some, "test": other}, None)
    assert told["train rows"] == {"sha256": some.content[:16], "rows": 2}
    assert told["test rows"]["sha256"] != told["train rows"]["sha256"]


def test_files_elsewhere_are_named_without_their_folders(tmp_path: Path) -> None:
    assert run_card.inside(tmp_path / "a" / "b.arrow", None) == "b.arrow"
    assert run_card.inside(tmp_path / "a" / "b.arrow", str(tmp_path / "c")) == "b.arrow"
    assert run_card.inside(tmp_path / "b.tsv", str(tmp_path / "b.tsv")) == "b.tsv"


def started(curves: Curves, step: int) -> Curves:
    """As Lightning begins a training after so many steps."""
    trainer = SimpleNamespace(global_step=step, is_global_zero=False)
    curves.on_train_start(cast(Trainer, trainer), cast(LightningModule, None))
    return curves


def test_resumptions_survive(tmp_path: Path) -> None:
    def resumed(state: dict[str, Any], step: int) -> Curves:
        curves = Curves(RunDirectory(tmp_path), 1, Loggers(["tensorboard"], RunDirectory(tmp_path), {}))
        curves.load_state_dict(json.loads(json.dumps(state)))
        return started(curves, step)

    first = started(Curves(RunDirectory(tmp_path), 1, Loggers(["tensorboard"], RunDirectory(tmp_path), {})), 0)
    assert first.resumed == []
    second = resumed(first.state_dict(), 5)
    third = resumed(second.state_dict(), 12)
    assert third.resumed == [5, 12]
    assert second.resumed == [5]
    older = {name: value for name, value in third.state_dict().items() if name != "resumed"}
    assert resumed(older, 30).resumed == [30], "a checkpoint from before this was kept"


def test_a_run_leaves_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "write_run", lambda *arguments: None)  # takes the most time
    data = corpus(tmp_path / "data")
    run = RunDirectory(tmp_path / "run")
    (tmp_path / "tiny.yaml").write_text(
        f"data: {{corpus: {{class_path: Parallel, init_args: {{source: s, target: t, files: {{train: more/train-*}}}}}},"
        f" path: {tmp_path / 'data'}, tokenizer: Characters}}\n"
        "model: {embedding_size: 4, hidden_size: 4}\ntrainer: {max_steps: 2, accelerator: cpu}\n"
    )
    train.main(["--config", str(tmp_path / "tiny.yaml"), "--run", str(run.path), "--seed", "3"])
    told = json.loads(run.results.read_text())
    assert {"seed", "trainer.max_steps", "data.corpus.files", "model.hidden_size"} <= {*told["changed"]}
    assert not {"model.cell", "trainer.devices", "run"} & {*told["changed"]}
    texts = {name: data.texts(name) for name in ("validation", "train", "test")}
    assert told["data"]["fingerprints"] == fingerprints(texts, data.path)
    assert told["data"]["rows"] == {"validation": 1, "train": 2, "test": 1}
    assert told["resumed"] == []
    assert told["seconds"] > 0
    assert "energy" not in told
    expected = {"seed": 3, "processes": 1, "threads": torch.get_num_threads()}
    assert {name: told["environment"][name] for name in expected} == expected
    assert str(tmp_path) not in json.dumps({name: told[name] for name in ("changed", "data")})
