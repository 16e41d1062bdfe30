"""A run repeated from its results.json is equal to the last bit, or it is said what differs."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from seq2seq import reproduce, train
from seq2seq.errors import InputError
from seq2seq.experiments import reproduction
from seq2seq.runs.run_directory import RunDirectory
from tests.support import ROOT, assert_same_weights, python, results_of

CONFIG = """
data:
  corpus: {class_path: Parallel, init_args: {source: en, target: de}}
  tokenizer: Words
  batch_tokens: 60
model: {cell: GRU, embedding_size: 8, hidden_size: 8, attention: Dot, metrics: [Chrf]}
trainer: {max_steps: 4, accelerator: cpu, log_every_n_steps: 1, val_check_interval: 2}
"""


def write_texts(folder: Path, word: str = "cat") -> None:
    folder.mkdir()
    for split, count in (("train", 40), ("validation", 8), ("test", 8)):
        for side, name in (("en", word), ("de", "Katze")):
            rows = [f"{split} {name} {row % 7} {row % 3}" for row in range(count)]
            (folder / f"{split}.{side}").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run on text files."""
    folder = tmp_path_factory.mktemp("original")
    write_texts(folder / "text")
    trained = RunDirectory(folder / "run")
    train.main(["--config", str(config), "--data.path", str(folder / "text"), "--run", str(trained.path)])
    return trained


@pytest.fixture(scope="module")
def again(run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, int]:
    """Its repetition, and the exit code."""
    repeated = RunDirectory(tmp_path_factory.mktemp("again") / "run")
    return repeated, reproduce.main([str(run.results), "--run", str(repeated.path)])


def changed_copy(run: RunDirectory, path: Path, **changes: Any) -> Path:
    """Its results.json, with other content."""
    path.mkdir()
    (path / "results.json").write_text(json.dumps(results_of(run) | changes))
    return path / "results.json"


def test_a_run_repeats_to_the_last_bit(run: RunDirectory, again: tuple[RunDirectory, int]) -> None:
    repeated, code = again
    assert code == 0
    assert_same_weights(run.last, repeated.last)
    badge = json.loads((repeated.path / "badge.json").read_text())
    assert (badge["schemaVersion"], badge["label"], badge["message"]) == (1, "reproduced", "equal to the last bit")
    picture = ElementTree.parse(repeated.path / "badge.svg").getroot()
    assert "equal to the last bit" in ["".join(one.itertext()) for one in picture.iter()]


@pytest.mark.parametrize(("shift", "code"), [(0.25, 3), (50.0, 1)])
def test_what_differs_is_said(
    run: RunDirectory,
    again: tuple[RunDirectory, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shift: float,
    code: int,
) -> None:
    """A finished repetition is compared and not trained again."""
    results = results_of(run)
    metric = results["splits"]["test"]["metrics"]["chrf"]
    metric |= {name: metric["value"] + shift + more for name, more in (("value", 0), ("low", -1), ("high", 1))}
    file = changed_copy(run, tmp_path / "claimed", splits=results["splits"])
    assert reproduce.main([str(file), "--run", str(again[0].path)]) == code
    assert "splits.test.metrics.chrf.value" in capsys.readouterr().out
    message = json.loads((again[0].path / "badge.json").read_text())["message"]
    assert message == reproduction.WORDS["interval" if code == 3 else "different"][0]


def test_other_data_are_refused_before_anything_is_trained(run: RunDirectory, tmp_path: Path) -> None:
    write_texts(tmp_path / "other", "dog")
    arguments = [str(run.path), "--run", str(tmp_path / "again")]
    known = results_of(run)["data"]["fingerprints"]["validation.en"]["sha256"]
    with pytest.raises(InputError, match=rf"validation\.en.*{known}.*--data\.path"):
        reproduce.main([*arguments, "--data.path", str(tmp_path / "other")])
    with pytest.raises(InputError, match=r"nowhere"):
        reproduce.main([*arguments, "--data.path", str(tmp_path / "nowhere")])
    assert not (tmp_path / "again").exists()


def test_versions_and_machine_are_compared(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = results_of(run)["environment"]
    packages = environment["packages"] | {"torch": "1.0.0"}
    file = changed_copy(run, tmp_path / "old", environment=environment | {"packages": packages, "python": "2.7"})
    assert reproduce.main([str(file), "--check"]) == 0
    words = capsys.readouterr().err
    assert re.search(r"python 2\.7 -> 3\.", words)
    assert "packages.torch 1.0.0 -> " in words
    reproduce.main([str(run.results), "--check"])
    assert "versions and machine: equal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"data": {"corpus": {"class_path": "evil.Corpus"}}}}, r"config\.data\.corpus\.class_path.*--import evil"),
        ({"config": {"task": "evil.Task", "data": {"path": "x"}}}, r"config\.task.*--import evil"),
        ({"config": {"data": {"corpus": {"class_path": "subprocess.Popen", "init_args": {"args": "touch evil"}}}}}, "Popen"),
        ({"config": {"data": {"path": "x"}, "trainer": {"callbacks": ["evil.Callback"]}}}, r"trainer\.callbacks.*--import evil"),
        ({"config": {"data": {"path": "x"}, "trainer": {"callbacks": [{"class_path": "evil.Callback"}]}}}, r"trainer\.callbacks.*--import evil"),
        ({"config": {}}, "no configuration"),
        ({"config": {"data": {"pth": 3}}}, r"data\.pth"),
        ({"config": [1]}, "config"),
        ({"data": {}}, r"data\.fingerprints"),
        ({"data": {"fingerprints": {"train.en": 3}}}, r"train\.en"),
        ({"allowed_changes": [{"setting": "seed"}]}, "allowed_changes"),
    ],
)  # fmt: skip
def test_results_of_strangers_are_one_line(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = changed_copy(run, tmp_path / "claimed", **changes)
    with pytest.raises(InputError, match=message) as caught:
        reproduce.main([str(file), "--run", str(tmp_path / "again")])
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["claimed"]


def test_a_run_is_not_compared_with_itself_or_with_another(
    run: RunDirectory, again: tuple[RunDirectory, int], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--run.*itself"):
        reproduce.main([str(run.results), "--run", str(run.path)])
    other = changed_copy(run, tmp_path / "other", config=results_of(run)["config"] | {"seed": 2})
    with pytest.raises(InputError, match=r"--run.*seed 2 -> 1"):
        reproduce.main([str(other), "--run", str(again[0].path)])
    with pytest.raises(InputError, match=r"nowhere"):
        reproduce.main([str(tmp_path / "nowhere")])


@pytest.mark.slow
def test_the_demo_repeats_to_the_last_bit(tmp_path: Path) -> None:
    """A quarter of it, in two processes."""
    repeats("translation_cldr", tmp_path, "--trainer.max_epochs", "2")


@pytest.mark.slow
@pytest.mark.data
def test_questions_repeat_to_the_last_bit(tmp_path: Path, data_folder: Path) -> None:
    """A real set, as it is shipped, in two processes."""
    repeats("classification_trec", tmp_path, "--data.path", str(data_folder / "trec"))


def repeats(name: str, folder: Path, *settings: str) -> None:
    """Train a shipped configuration, and reproduce it from its results."""
    arguments = ["--config", str(ROOT / "configs" / f"{name}.yaml"), *settings]
    done = python("-m", "seq2seq.train", *arguments, "--run", folder / "run", timeout=1800)
    assert done.returncode == 0, done.stderr
    done = python("-m", "seq2seq.reproduce", folder / "run/results.json", "--run", folder / "again", timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal to the last bit" in done.stdout
