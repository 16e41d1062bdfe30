"""No row once trained on is scored as test, whatever file is missing, renamed or given later."""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from seq2seq import evaluate, train
from seq2seq.cli import command
from seq2seq.data import trained_rows
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training import fit
from tests.support import results_of, train_until

Lines = list[str]


def lines(count: int, seed: int) -> Lines:
    """Rows of a table, nowhere the same."""
    numbers = random.Random(seed)
    return [
        f"{' '.join(numbers.choices('abcdefgh', k=7))} {seed}\t{' '.join(numbers.choices('xyz', k=6))}"
        for _ in range(count)
    ]


TRAIN, TEST, OTHER = lines(300, 1), lines(37, 2), lines(60, 3)

CONFIG = """
data: {corpus: {class_path: Tsv, init_args: {source: 1, target: 2}}, tokenizer: Words, batch_tokens: 600}
model: {cell: GRU, embedding_size: 8, hidden_size: 8, attention: Dot, metrics: [ExactMatch]}
trainer: {accelerator: cpu, max_steps: 4, val_check_interval: 2}
"""


def write(folder: Path, **splits: Lines) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        (folder / f"{name}.tsv").write_text("".join(f"{row}\n" for row in rows))
    return folder


def trained(config: Path, path: Path, name: str, *more: str) -> RunDirectory:
    run = RunDirectory(config.parent / name)
    train.main(["--config", str(config), "--run", str(run.path), "--data.path", str(path), *more])
    return run


@pytest.fixture(scope="module")
def own(config: Path) -> RunDirectory:
    """A run whose test split has a file, in the folder `own.data`."""
    return trained(config, write(config.parent / "own.data", train=TRAIN, validation=OTHER[:20], test=TEST), "own")


@pytest.fixture(scope="module")
def held(config: Path) -> RunDirectory:
    """A run whose test split was held out of one file."""
    return trained(config, write(config.parent, all=TRAIN) / "all.tsv", "held")


@pytest.fixture(autouse=True)
def launch_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQ2SEQ_LAUNCH", raising=False)


def scored(run: RunDirectory, *more: str | Path) -> int:
    """The rows that `evaluate` scores."""
    output = run.path / "evaluated"
    shutil.rmtree(output, ignore_errors=True)
    evaluate.main([str(run.path), "--output", str(output), *map(str, more)])
    return int(results_of(RunDirectory(output))["splits"]["test"]["rows"])


def refused(main: object, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command.run(main, arguments)  # type: ignore[arg-type]
    assert ended.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    return errors[0]


def test_the_rows_of_the_run_itself(own: RunDirectory, held: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert scored(own) == 37
    assert "37 rows of the test split" in capsys.readouterr().err
    assert scored(held) == results_of(held)["splits"]["test"]["rows"]


def test_a_test_file_that_is_missing(own: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "missing", train=TRAIN, validation=OTHER[:20], tset=TEST)
    message = refused(evaluate.main, [str(own.path), "--data.path", str(folder)], capsys)
    assert "test" in message
    assert "data.holdout" in message
    write(folder, test=OTHER)
    assert scored(own, "--data.path", folder) == 60


@pytest.mark.parametrize("rows", [TRAIN, TRAIN[:50], TEST + TRAIN[:9], TRAIN[::-1]])
def test_training_rows_by_another_name(
    own: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: Lines
) -> None:
    folder = write(tmp_path, train=TEST, validation=TRAIN[:30], test=rows, mine=rows)
    message = refused(evaluate.main, [str(own.path), "--data.path", str(folder)], capsys)
    assert f"{sum(row in TRAIN for row in rows)} of {len(rows)} rows" in message
    assert f"test.tsv:{next(at for at, row in enumerate(rows, 1) if row in TRAIN)}" in message
    refused(evaluate.main, [str(own.path), "--data.path", str(folder / "mine.tsv")], capsys)
    refused(evaluate.main, [str(own.path), "--data.path", str(folder), "--split", "validation"], capsys)
    evaluate.main([str(own.path), "--data.path", str(folder / "mine.tsv"), "--split", "train"])
    assert f"scored {len(rows)} rows of the train split" in capsys.readouterr().err


@pytest.mark.parametrize("holdout", ["0.4", "0.06"])
def test_a_larger_share_held_out(held: RunDirectory, capsys: pytest.CaptureFixture[str], holdout: str) -> None:
    assert "data.holdout" in refused(evaluate.main, [str(held.path), "--data.holdout", holdout], capsys)


def test_a_smaller_share_held_out(held: RunDirectory) -> None:
    assert 0 < scored(held, "--data.holdout", "0.04") <= results_of(held)["splits"]["test"]["rows"]


def test_one_file_is_the_whole_split(
    own: RunDirectory, held: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, mine=OTHER) / "mine.tsv"
    assert scored(own, "--data.path", file) == scored(held, "--data.path", file) == 60
    assert scored(own, f"--data.path={file}", "--data.max_rows", "{test: 7}") == 7
    moved = write(tmp_path, moved=TRAIN) / "moved.tsv"
    assert scored(held, "--data.path", moved) == results_of(held)["splits"]["test"]["rows"]
    refused(evaluate.main, [str(own.path), "--data.path", str(moved)], capsys)


def test_one_file_where_the_configuration_names_files(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, a=TRAIN, b=OTHER[:20], c=TEST)
    settings = yaml.safe_load(config.read_text())
    settings["data"]["corpus"]["init_args"]["files"] = {"train": "a", "validation": "b", "test": "c"}
    (tmp_path / "named.yaml").write_text(yaml.safe_dump(settings))
    run = trained(tmp_path / "named.yaml", folder, "named")
    write(tmp_path, mine=OTHER)
    assert scored(run, "--data.path", tmp_path / "mine.tsv") == 60


def test_rows_that_are_the_same_by_nature(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, train=TRAIN, validation=OTHER[:20], test=TEST + TRAIN[:4])
    run = trained(config, folder, "natural")
    assert scored(run) == 41
    write(folder, test=OTHER[20:] + TRAIN[5:8])
    assert scored(run) == 43
    assert "3 of 43 rows" in capsys.readouterr().err
    write(folder, test=OTHER[20:] + TRAIN[5:20])
    refused(evaluate.main, [str(run.path)], capsys)


def test_train_as_test(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, train=TRAIN, validation=OTHER, test=TRAIN)
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), "--data.path", str(folder)]
    assert "test.tsv:1" in refused(train.main, arguments, capsys)


def resumable(config: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments that resume a training stopped after its first validation."""
    write(folder, train=TRAIN, validation=OTHER[:20], test=TEST)
    arguments = ["--config", str(config), "--run", str(folder / "run"), "--data.path", str(folder)]
    train_until(3, arguments, monkeypatch)
    return [*arguments, "--resume", "true"]


def test_a_resumed_run_checks_the_test_rows(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = resumable(config, tmp_path, monkeypatch)
    allowed = [*arguments, "--allow_change", "true"]
    file = tmp_path / "test.tsv"
    file.unlink()
    for given in (arguments, allowed):
        assert "data.holdout" in refused(train.main, given, capsys)
    write(tmp_path, test=TRAIN[:50])
    for given in (arguments, allowed):
        assert "50 of 50 rows" in refused(train.main, given, capsys)
    write(tmp_path, test=TEST[:10])
    assert "test rows" in refused(train.main, arguments, capsys)
    train.main(allowed)
    results = results_of(RunDirectory(tmp_path / "run"))
    assert results["splits"]["test"]["rows"] == 10
    assert "test rows" in results["allowed_changes"][0]["setting"]


def test_rows_trained_on_before_a_change_stay_remembered(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = resumable(config, tmp_path, monkeypatch)
    write(tmp_path, train=lines(200, 4))
    train.main([*arguments, "--allow_change", "true"])
    for rows in (TRAIN[:50], lines(200, 4)[:50]):
        file = write(tmp_path / "later", test=rows) / "test.tsv"
        last = str(RunDirectory(tmp_path / "run").last)
        assert "50 of 50" in refused(evaluate.main, [last, "--data.path", str(file)], capsys)


def test_a_test_file_that_disappears_during_the_training(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, train=TRAIN, validation=OTHER[:20], test=TEST)
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), "--data.path", str(folder)]
    average = fit.validate_average

    def removing(*given: object) -> object:
        (folder / "test.tsv").unlink()
        return average(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(fit, "validate_average", removing)
        assert "--resume true" in refused(train.main, arguments, capsys)
    write(folder, test=TEST)
    monkeypatch.delenv("SEQ2SEQ_LAUNCH", raising=False)
    train.main([*arguments, "--resume", "true"])
    assert results_of(RunDirectory(tmp_path / "run"))["splits"]["test"]["rows"] == 37


def test_a_comparison_refuses_rows_trained_on(
    config: Path, own: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main([str(own.path), str(own.path), "--metrics", "[ExactMatch]"])
    assert "37 rows of the test split" in capsys.readouterr().err
    other = trained(config, write(tmp_path, train=OTHER + TEST, validation=TRAIN[:20], test=TRAIN[20:57]), "other")
    predictions = other.predictions / "test.jsonl"
    predictions.write_text((own.predictions / "test.jsonl").read_text())  # as an older version scored them
    message = refused(evaluate.main, [str(own.path), str(other.path), "--metrics", "[ExactMatch]"], capsys)
    assert "37 of 37 rows" in message
    assert "other" in message


def forget(run: RunDirectory) -> None:
    """As if an older version had written the checkpoint."""
    content = checkpoint.read(run.best)
    content["seq2seq"].pop("trained")
    kept = json.loads(content["seq2seq"]["run"])
    content["seq2seq"]["run"] = json.dumps({name: kept[name] for name in kept if name not in ("trained", "test")})
    checkpoint.write(content, run.best)


def test_a_run_without_the_record(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "data", train=TRAIN, validation=OTHER[:20], test=TEST)
    run = trained(config, folder, "old")
    forget(run)
    assert scored(run) == 37
    missing = write(tmp_path / "missing", train=TRAIN, validation=OTHER[:20])
    assert "data.holdout" in refused(evaluate.main, [str(run.path), "--data.path", str(missing)], capsys)
    write(folder, train=OTHER)  # so that nothing tells what was trained on
    assert scored(run) == 37
    assert "no record of its training rows" in capsys.readouterr().err
    evaluate.main([str(run.path), str(run.path), "--metrics", "[ExactMatch]"])
    assert "no record of its training rows" in capsys.readouterr().err


def test_a_damaged_record(own: RunDirectory, tmp_path: Path) -> None:
    for record in (torch.zeros(3), torch.zeros(2, 2, dtype=torch.int32), None, "x"):
        content = checkpoint.read(own.best)
        content["seq2seq"]["trained"] = record
        with pytest.raises(InputError, match="record"):
            checkpoint.trained_rows(content)
    for described in (3, [], {}, {"low": "x"}, {"low": 0, "high": 1, "contents": [], "natural": {}}):
        content = checkpoint.read(own.best)
        content["seq2seq"]["run"] = json.dumps({"trained": described})
        with pytest.raises(InputError, match="record"):
            checkpoint.trained_rows(content)


def test_a_streamed_corpus(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """What has been read is known, however little of it the vocabularies were learnt from."""
    monkeypatch.setattr("seq2seq.data.datamodule.VOCABULARY_ROWS", 20)
    folder = write(tmp_path, train=TRAIN, validation=OTHER[:20], test=TEST)
    more = ["--data.window", "100", "--data.max_length", "50", "--trainer.max_steps", "20"]
    run = trained(config, folder, "streamed", *more)
    record = checkpoint.trained_rows(checkpoint.read(run.last))
    assert record is not None
    assert len(record.sums) > 250
    assert scored(run) == 37
    file = write(tmp_path, later=TRAIN[150:200]) / "later.tsv"
    assert "50 of 50 rows" in refused(evaluate.main, [str(run.last), "--data.path", str(file)], capsys)
    (folder / "test.tsv").unlink()
    assert "data.holdout" in refused(evaluate.main, [str(run.path)], capsys)


def test_a_mixture(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [{"class_path": "Tsv", "init_args": {"source": 1, "target": 2, "files": {"train": f"{name}-train",
              "validation": f"{name}-validation", "test": f"{name}-test"}}} for name in "ab"]  # fmt: skip
    settings = yaml.safe_load(config.read_text())
    settings["data"]["tokenizer"] = "Characters"
    settings["data"]["corpus"] = {"class_path": "Mixture", "init_args": {"corpora": parts, "names": ["a", "b"]}}
    (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(settings))
    files = {"train": TRAIN, "validation": OTHER[:20], "test": TEST}
    folder = write(tmp_path / "data", **{f"{name}-{split}": rows for name in "ab" for split, rows in files.items()})
    run = trained(tmp_path / "mixed.yaml", folder, "mixed")
    assert scored(run) == 74
    write(folder, **{"b-test": TRAIN[:9]})
    assert "9 of 46 rows" in refused(evaluate.main, [str(run.path)], capsys)
    assert "Mixture" in refused(evaluate.main, [str(run.path), "--data.path", str(folder / "a-test.tsv")], capsys)


def test_of_very_many_rows_the_smallest_checksums_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_rows, "KEPT", 50)
    source, target = [str(number) for number in range(400)], ["x"] * 400
    record = trained_rows.TrainedRows(np.empty(0, np.uint32), 0, 1, {}, {})
    for start in range(0, 400, 100):
        part = slice(start, start + 100)
        record = record.add(trained_rows.row_sums(source[part], target[part]))
    assert record.sums.tolist() == sorted(trained_rows.row_sums(source, target).tolist())[:50]
    assert record.share(source, target)[0] == 1
    assert record.share([f"new {one}" for one in source], target)[0] == 0
    half = [one if number % 2 else f"new {one}" for number, one in enumerate(source)]
    assert 0.3 < record.share(half, target)[0] < 0.7
