"""A training that starts from a run: it begins as the parent ends, and resumes to the bit without it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from seq2seq import lint, train
from seq2seq.data.cache import checksum
from seq2seq.errors import InputError
from seq2seq.report import page
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from tests.support import REVERSAL, assert_same_weights, module, results_of, train_until, weights_of

CHILD = {name: value for name, value in yaml.safe_load(REVERSAL).items() if name != "model"}
"""Other rows than the parent's of as many symbols; nothing about the network."""
CHILD["data"] = {**CHILD["data"], "corpus": {**CHILD["data"]["corpus"]}}
del CHILD["data"]["tokenizer"]
CHILD["trainer"] = {**CHILD["trainer"], "max_steps": 7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("parent")
    (made / "parent.yaml").write_text(REVERSAL)
    (made / "child.yaml").write_text(yaml.safe_dump(CHILD))
    return made


@pytest.fixture(scope="module")
def parent(folder: Path) -> RunDirectory:
    """A finished training."""
    train.main(["--config", str(folder / "parent.yaml"), "--run", str(folder / "parent")])
    return RunDirectory(folder / "parent")


def started(folder: Path, name: str, *more: str) -> RunDirectory:
    """A training from the parent."""
    arguments = ["--config", str(folder / "child.yaml"), "--start_from", str(folder / "parent")]
    train.main([*arguments, "--run", str(folder / name), *more])
    return RunDirectory(folder / name)


def test_with_rate_zero_a_child_predicts_as_its_parent_to_the_bit(parent: RunDirectory, folder: Path) -> None:
    child = started(
        folder, "same", "--optimizer.learning_rate", "0", "--model.metrics", "[Chrf]", "--trainer.max_steps", "3"
    )
    assert_same_weights(parent.best, child.best)
    assert_same_weights(parent.best, child.last)
    lint.main(["--config", str(folder / "child.yaml"), "--start_from", str(parent.path)])
    names = [run.predictions / "test.jsonl" for run in (parent, child)]
    assert names[0].read_text() == names[1].read_text()
    scores = [results_of(run)["splits"]["test"]["metrics"]["chrf"]["value"] for run in (parent, child)]
    assert scores[0] == scores[1]
    told = results_of(child)["parent"]
    assert (told["checkpoint"], told["sha256"]) == (str(parent.best), checksum(parent.best))
    assert told["new"] == told["left"] == []
    assert told["sha256"][:16] in page.render(results_of(child))


def test_a_child_without_its_parent_resumes_to_the_bit(
    parent: RunDirectory, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole child trains on; the interrupted one is resumed where its parent is gone; what is frozen stays."""
    more = ["--optimizer.ema_decay", "0.9", "--freeze", "[encoder, decoder.output]", "--model.dropout", "0.3"]
    whole = started(folder, "whole", *more)
    shutil.copytree(parent.path, folder / "moved")
    arguments = ["--config", str(folder / "child.yaml"), *more, "--start_from", str(folder / "moved")]
    train_until(6, [*arguments, "--run", str(folder / "cut")], monkeypatch)
    shutil.rmtree(folder / "moved")
    train.main([*arguments, "--run", str(folder / "cut"), "--resume", "true"])
    cut = RunDirectory(folder / "cut")
    assert_same_weights(whole.best, cut.best)
    assert_same_weights(whole.last, cut.last)
    assert results_of(cut)["parent"]["sha256"] == results_of(whole)["parent"]["sha256"]
    before, after = weights_of(parent.best), weights_of(cut.best)
    stays = {name: before[name].equal(after[name]) for name in before}
    assert {name for name, same in stays.items() if same} == {
        name for name in before if ".encoder." in name or ".decoder.output." in name
    }
    assert results_of(whole)["memory"], "what is not trained is examined all the same"
    frozen = results_of(cut)["frozen"]
    assert frozen["parameters"] == sum(before[name].numel() for name, same in stays.items() if same)
    assert results_of(cut)["config"]["model"]["cell"]["class_path"] == "GRU", "the parent's"
    assert results_of(cut)["config"]["model"]["dropout"] == 0.3


def test_what_does_not_fit_is_refused_or_made_anew(
    parent: RunDirectory, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ["--model.attention", "General", "--optimizer.learning_rate", "0", "--trainer.max_steps", "1"]
    with pytest.raises(InputError, match=r"decoder\.attention\.map\.weight is \(16, 16\).*--start_from_partly"):
        started(folder, "other", *other)
    assert not (folder / "other").exists()
    child = started(folder, "other", *other, "--start_from_partly", "true")
    before, after, name = weights_of(parent.best), weights_of(child.best), "network.decoder.attention.map.weight"
    assert after.keys() - before.keys() == {f"task.{name}"}
    assert all(before[same].equal(after[same]) for same in before)
    assert results_of(child)["parent"]["new"] == [name]
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("starting from"))
    assert line.endswith("made anew: decoder.attention.map.weight")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--freeze", "[encoder, attic]"], r"freeze: .*'attic'.* encoder\.embedding"),
        (["--freeze", "[encoder, decoder, bridge]"], r"freeze: .*'bridge'"),
        (["--freeze", "[encoder, decoder]"], r"freeze: .*nothing is left"),
        (["--task", "Tagging"], "task is Tagging, .* Translation"),
        (["--data.tokenizer", "Characters"], r"data\.tokenizer .*--start_from_new_vocabulary"),
        (["--data.shared_vocabulary", "true"], r"data\.shared_vocabulary .*--start_from_new_vocabulary"),
        (["--start_from", "nowhere"], "nowhere does not exist"),
        (["--start_from", "null", "--start_from_partly", "true"], "--start_from_partly .*--start_from"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(
    parent: RunDirectory, folder: Path, more: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as told:
        started(folder, "refused", *more)
    assert "\n" not in str(told.value)
    assert not (folder / "refused").exists()


def test_a_parent_that_is_none_is_refused(parent: RunDirectory, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    content = checkpoint.read(parent.best)
    bad: dict[str, Any] = {
        "newer": {**content, "seq2seq": {**content["seq2seq"], "format": 2}},
        "own": {**content, "seq2seq": {**content["seq2seq"], "task": json.dumps({"class_path": "os.system"})}},
        "nan": {**content, "state_dict": {name: one * torch.nan for name, one in content["state_dict"].items()}},
    }
    for name, one in bad.items():
        checkpoint.write(one, tmp_path / f"{name}.ckpt")
    for name in ("text", *bad):
        with pytest.raises(InputError, match=f"{name}.ckpt|os.system") as told:
            started(folder, "refused", "--start_from", str(tmp_path / f"{name}.ckpt"))
        assert "\n" not in str(told.value)
    with pytest.raises(InputError, match=r"is in the run directory itself.*--run"):
        started(folder, "parent", "--overwrite", "true")
    assert parent.best.is_file()


def test_a_setting_of_the_start_cannot_change_in_a_resumed_run(
    parent: RunDirectory, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--config", str(folder / "child.yaml"), "--start_from", str(parent.path)]
    run = ["--run", str(folder / "half")]
    train_until(6, [*arguments, *run], monkeypatch)
    with pytest.raises(InputError, match=r"freeze \[\] -> \['encoder'\]"):
        train.main([*arguments, *run, "--freeze", "[encoder]", "--resume", "true"])


def test_rows_and_tokens_are_compared_with_those_of_the_parent(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that it was trained on are no test, and tokens that it lacks are counted."""
    pairs = [(" ".join(f"{row:03d}"), " ".join(reversed(f"{row:03d}"))) for row in range(60)]
    for split, rows in (("train", pairs[:40]), ("validation", pairs[40:50]), ("test", pairs[50:])):
        text = "".join(f"{source}\t{target}\n" for source, target in rows)
        (tmp_path / f"{split}.tsv").write_text(text)
    corpus = ["--data.corpus", '{"class_path": "Tsv"}', "--data.path", str(tmp_path)]
    config = ["--config", str(folder / "parent.yaml"), *corpus]
    train.main([*config, "--run", str(tmp_path / "tsv"), "--trainer.max_steps", "2"])
    shutil.copy(tmp_path / "train.tsv", tmp_path / "validation.tsv")
    test, training = tmp_path / "test.tsv", tmp_path / "train.tsv"
    training.write_text("".join(f"{target}\t{source}\n" for source, target in pairs[30:50]))
    test.write_text("".join(f"{source}\t{target}\n" for source, target in pairs[:10]))
    child = [*config, "--start_from", str(tmp_path / "tsv"), "--run", str(tmp_path / "child")]
    with pytest.raises(InputError, match=r"10 of 10 test rows .*parent .*test.tsv"):
        train.main(child)
    test.write_text("1 1 1\t1 1 1\n")
    training.write_text("x 1 2\t2 1 y\n" * 20)
    train.main([*child, "--trainer.max_steps", "1"])
    assert "40 of 40 validation rows are rows that the parent" in capsys.readouterr().err
    (tmp_path / "validation.tsv").write_text("2 2\t2 2\n")
    train.main([*child, "--trainer.max_steps", "1", "--overwrite", "true"])
    assert "unknown to the parent: 20 of 60 source tokens and 20 of 60 target tokens" in capsys.readouterr().err


@pytest.mark.slow
def test_a_student_starts_from_its_teacher(parent: RunDirectory, folder: Path) -> None:
    """The parent as teacher keeps a child from forgetting; other vocabularies than the teacher's are refused."""
    child = started(folder, "student", "--distillation.teacher", str(parent.path), "--trainer.max_steps", "2")
    assert results_of(child)["teacher"]["sha256"] == results_of(child)["parent"]["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_two_devices_start_as_one(parent: RunDirectory, folder: Path, precision: str) -> None:
    more = ["--freeze", "[encoder]", "--trainer.precision", precision, "--start_from_new_vocabulary", "true"]
    one = started(folder, f"one_{precision}", *more)
    two = RunDirectory(folder / f"two_{precision}")
    arguments = ["--config", str(folder / "child.yaml"), "--start_from", str(parent.path), "--run", str(two.path)]
    done = module("train", *arguments, *more, "--trainer.devices", "2", "--trainer.strategy", "ddp")
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    first, second = weights_of(one.best), weights_of(two.best)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-4 if precision == "32-true" else 0.1)
        if ".encoder." in name:
            assert first[name].equal(second[name])
