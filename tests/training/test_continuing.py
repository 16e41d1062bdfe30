"""A finished run continues with more steps: as if it had been as long from the beginning, and its report says so."""

import json
import shutil
from pathlib import Path

import pytest

from seq2seq import evaluate, train
from seq2seq.errors import Finished, InputError
from seq2seq.report import page
from seq2seq.runs.run_directory import RunDirectory
from tests.support import REVERSAL, assert_same_weights, results_of, train_until


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("continuing") / "tiny.yaml"
    path.write_text(REVERSAL)
    return path


def steps(config: Path, name: str, count: int, *more: str) -> list[str]:
    """Arguments of a training of so many steps."""
    run, own = str(config.parent / name), ["--optimizer.average", "2", "--optimizer.schedule", "InverseSqrt"]
    return ["--config", str(config), "--run", run, "--trainer.max_steps", str(count), *own, *more]


@pytest.fixture(scope="module")
def short(config: Path) -> RunDirectory:
    """A finished training of ten steps."""
    train.main(steps(config, "short", 10))
    return RunDirectory(config.parent / "short")


@pytest.fixture
def copied(short: RunDirectory, config: Path) -> RunDirectory:
    """The same, to be continued."""
    shutil.rmtree(config.parent / "long", ignore_errors=True)
    shutil.copytree(short.path, config.parent / "long")
    return RunDirectory(config.parent / "long")


def test_a_finished_run_continues_as_if_it_had_never_ended(
    short: RunDirectory, copied: RunDirectory, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the continuation is interrupted; the report has both parts."""
    train.main(steps(config, "whole", 20))
    train_until(16, steps(config, "long", 20, "--resume", "true"), monkeypatch)
    assert not copied.results.exists(), "a run that is under way is not finished"
    train.main(steps(config, "long", 20, "--resume", "auto"))
    assert_same_weights(RunDirectory(config.parent / "whole").last, copied.last)
    results, before = results_of(copied), results_of(short)
    (part,) = results["parts"]
    assert part["until"] == 10
    assert part["best"] == before["best"]
    assert part["test"]["chrf"] == before["splits"]["test"]["metrics"]["chrf"]["value"]
    assert results["resumed"] == [10, 15] or results["resumed"] == [10, 16]
    assert results["length"]["steps"] == 20
    assert "finished at step 10" in page.render(results)
    evaluate.main([str(copied.path)])
    assert results_of(copied)["parts"] == [part]


@pytest.mark.slow
def test_the_best_of_all_parts_stays(copied: RunDirectory, config: Path) -> None:
    """The mean of the first part may be its best checkpoint, which only its results know."""
    results = results_of(copied)
    results["best"]["value"] = 1e6
    copied.results.write_text(json.dumps(results))
    before = copied.best.read_bytes()
    train.main(steps(config, "long", 20, "--resume", "true"))
    assert copied.best.read_bytes() == before
    assert results_of(copied)["best"] == results["best"]
    train.main(steps(config, "long", 21, "--resume", "true"))
    assert [part["until"] for part in results_of(copied)["parts"]] == [10, 20]


@pytest.mark.parametrize(
    ("count", "more", "message"),
    [
        (10, [], r"finished already.*trainer\.max_steps.*--start_from"),
        (9, [], r"finished after 10 steps and .*trainer\.max_steps .* 9"),
        (20, ["--optimizer.schedule", "Cosine"], r"optimizer\.schedule Cosine .*--start_from"),
        (20, ["--patience", "0"], r"step 10, .*patience is 0; raise it"),
        (20, ["--optimizer.learning_rate", "0.5"], r"optimizer\.learning_rate 0\.02 -> 0\.5"),
    ],
)
def test_what_cannot_be_continued_is_refused_and_nothing_is_lost(
    copied: RunDirectory, config: Path, count: int, more: list[str], message: str
) -> None:
    before = copied.results.read_bytes()
    with pytest.raises(InputError, match=message):
        train.main(steps(config, "long", count, *more, "--resume", "true"))
    assert copied.results.read_bytes() == before


def test_auto_says_that_it_does_nothing_and_which_settings_were_not_used(
    copied: RunDirectory, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copied.last.stat().st_mtime_ns
    train.main(steps(config, "long", 10, "--resume", "auto", "--optimizer.learning_rate", "0.5"))
    said = capsys.readouterr().err
    assert "nothing was trained" in said
    assert "optimizer.learning_rate 0.02 -> 0.5" in said
    assert copied.last.stat().st_mtime_ns == before
    with pytest.raises(Finished):
        copied.claim(False, "auto")
    copied.release()


def test_damaged_parts_are_named(copied: RunDirectory, config: Path) -> None:
    (copied.path / "parts").mkdir()
    (copied.path / "parts" / "3.json").write_text('{"best": 7}')
    with pytest.raises(InputError, match=r"parts.*best"):
        train.main(steps(config, "long", 20, "--resume", "true"))
