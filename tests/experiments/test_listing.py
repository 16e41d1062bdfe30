"""The table of all runs: one line for each, whatever its files hold; what differs; what may be deleted."""

import csv
import importlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from seq2seq.errors import InputError
from seq2seq.runs.run_directory import RunDirectory

runs = importlib.import_module("seq2seq.runs.__main__")

SETTINGS: dict[str, Any] = {
    "task": "Translation",
    "seed": 1,
    "model": {"cell": {"class_path": "GRU", "init_args": {}}, "hidden_size": 64, "dropout": 0.1},
    "data": {"path": None},
}


def write_run(path: Path, score: float | None, **settings: Any) -> RunDirectory:
    """A run as a training leaves it; without a score one that was stopped."""
    run = RunDirectory(path)
    run.last.parent.mkdir(parents=True)
    config = SETTINGS | {"model": SETTINGS["model"] | settings.pop("model", {})} | settings
    run.config.write_text(yaml.safe_dump(config))
    (path / ".lock").touch()
    run.best.write_bytes(b"b" * 1000)
    run.last.write_bytes(b"l" * 3000)
    if score is not None:
        bleu = {"value": score, "low": score - 1, "high": score + 1, "unit": "BLEU points"}
        results = {
            "task": "Translation",
            "splits": {"test": {"metrics": {"bleu": bleu}}},
            "config": config,
            "environment": {"device": "cpu, 1 thread", "packages": {"torch": "2.6.0"}},
            "data": {"fingerprints": {"train.en": {"sha256": "ab12"}}},
            "seconds": 90.0,
            "best": {"step": 200},
        }
        run.results.write_text(json.dumps(results))
    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs, one of them stopped, one whose name would move the cursor, and four broken ones."""
    write_run(tmp_path / "a", 30.5)
    write_run(tmp_path / "deep" / "b", 35.0, model={"hidden_size": 128}, seed=2)
    write_run(tmp_path / "c", None, model={"cell": {"class_path": "LSTM", "init_args": {"forget_bias": 1.0}}})
    broken = {
        "x1": "[" * 100_000,
        "x2": "[1, 2]",
        "x3": json.dumps({"splits": {"test": 3}}),
        "x4": '{"splits": {"test": {"metrics": {"bleu": {"value": "<b>"}}}}}',
    }
    for name, text in broken.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(text)
    (tmp_path / "hostile").mkdir()
    (tmp_path / "hostile" / "results.json").write_text('{"task": "\\u001b[2J\\nred"}')
    (tmp_path / "no_run").mkdir()
    (tmp_path / "no_run" / "notes.txt").write_text("mine")
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    runs.main([str(one) for one in arguments])
    return capsys.readouterr().out.splitlines()


def test_every_run_has_a_line_and_a_broken_one_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = lines(capsys, folder)
    named = [line.split()[0] for line in table[1:9]]
    assert named == ["a", "c", "deep/b", "hostile", "x1", "x2", "x3", "x4"]
    assert "30.5" in table[1]
    assert "stopped" in table[2]
    assert all("broken" in line for line in table[5:9])
    reasons = [line for line in table if line.startswith("broken: ")]
    assert [f"x{number}/results.json" in line for number, line in enumerate(reasons, 1)] == [True] * 4
    assert "red" in table[4]
    assert "\x1b" not in "".join(table)


def test_runs_are_filtered_sorted_and_shown_by_dotted_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["--columns", "model.hidden_size,bleu,model.cell,environment.packages.torch"]
    table = lines(capsys, folder, *columns, "--sort", "bleu", "--reverse", "--filter", "model.dropout=0.1")
    assert [line.split() for line in table[1:]] == [
        ["deep/b", "128", "35.0", "GRU", "2.6.0"],
        ["a", "64", "30.5", "GRU", "2.6.0"],
        ["c", "64", "LSTM"],
    ]
    for text, expected in {
        "model.hidden_size>=128": ["deep/b"],
        "model.hidden_size!=128": ["a", "c"],
        "model.cell=LSTM": ["c"],
        "model.cell~S": ["c"],
        "bleu<31": ["a"],
        "state=stopped": ["c"],
        "seed=2": ["deep/b"],
        "data.path=null": ["a", "c", "deep/b"],
    }.items():
        table = lines(capsys, folder, "--columns", "seed", "--filter", text, "--filter", "task=Translation")
        assert [line.split()[0] for line in table[1:]] == expected, text


def test_other_programs_read_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["--columns", "model.hidden_size,test.bleu", "--filter", "test.bleu>0"]
    table = list(csv.DictReader(io.StringIO("\n".join(lines(capsys, folder, *columns, "--csv")))))
    rows = json.loads("\n".join(lines(capsys, folder, *columns, "--json")))
    assert rows == [
        {"run": str(folder / "a"), "model.hidden_size": 64, "test.bleu": 30.5},
        {"run": str(folder / "deep/b"), "model.hidden_size": 128, "test.bleu": 35.0},
    ]
    assert [{name: str(value) for name, value in row.items()} for row in rows] == table


def test_what_differs_between_two_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = lines(capsys, "--diff", folder / "a", folder / "deep/b")
    assert [line.split()[0] for line in table[1:]] == ["model.hidden_size", "seed", "test.bleu", "bleu"]
    assert table[1].split() == ["model.hidden_size", "64", "128"]
    assert "nothing" in "".join(lines(capsys, "--diff", folder / "a", folder / "a"))


def test_checkpoints_that_nothing_needs_are_deleted_only_when_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The teacher of another run, a run in use and one that was stopped keep all of theirs."""
    write_run(folder / "student", 20.0, distillation={"teacher": str(folder / "a")})
    used = RunDirectory(folder / "student")
    table = "\n".join(lines(capsys, folder, "--deletable"))
    assert "deep/b/checkpoints/last.ckpt" in table
    assert "student/checkpoints/last.ckpt" in table
    assert "a/checkpoints" not in table
    assert "c/checkpoints" not in table
    assert "best.ckpt" not in table
    assert "5.9 KiB" in table
    used.claim(overwrite=True, resume=False)
    lines(capsys, folder, "--delete")
    used.release()
    left = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.ckpt"))
    assert [file for file in left if "last" in file] == [
        "a/checkpoints/last.ckpt", "c/checkpoints/last.ckpt", "student/checkpoints/last.ckpt",
    ]  # fmt: skip
    assert len(left) == 7


def test_of_a_sweep_the_winner_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, score in enumerate((30.0, 20.0, None, 10.0)):
        write_run(tmp_path / "trials" / f"{number:04d}", score)
    states = ["complete", "complete", "pruned", "running"]
    trials = [{"number": n, "state": state, "run": f"trials/{n:04d}"} for n, state in enumerate(states)]
    sweep: dict[str, Any] = {"trials": trials, "winner": 0, "tested": []}
    for tested, expected in (([], {"0002"}), ([{"trial": 0}], {"0001", "0002"})):
        (tmp_path / "sweep.json").write_text(json.dumps(sweep | {"tested": tested}))
        table = lines(capsys, tmp_path, "--deletable")
        assert {line.split("/")[1] for line in table if "best.ckpt" in line} == expected
    (tmp_path / "sweep.json").write_text('{"trials": [3, {"run": 7}], "winner": []}')
    assert not any("best.ckpt" in line for line in lines(capsys, tmp_path, "--deletable"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--columns", "model.hiden_size"], r"--columns model\.hiden_size.*model\.hidden_size"),
        (["--sort", "blue"], r"--sort blue.*bleu"),
        (["--filter", "model.hidden_size"], r"--filter model\.hidden_size"),
        (["--filter", "hidden=3"], r"--filter hidden\b"),
        (["--csv", "--json"], "--csv.*--json"),
        (["--diff", "nowhere", "."], "--diff nowhere"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        runs.main([str(folder), *arguments])
    assert "\n" not in str(caught.value)


def test_no_folder_and_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="nowhere"):
        runs.main([str(tmp_path / "nowhere")])
    runs.main([str(tmp_path)])
    assert str(tmp_path) in capsys.readouterr().err
