"""Averages of the parameters: equal to their formulas, used where they shall be, resumed to the bit, tidied up."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seq2seq import train
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training import fit
from seq2seq.training.averaging import MovingAverage, mean
from seq2seq.training.callbacks import Checkpoints
from seq2seq.training.learner import Learner
from tests.support import REVERSAL, assert_same_weights, results_of, train_until

CONFIG = REVERSAL
"""Validated at steps 5, 10 and, after the end, 12."""
BOTH = ["--optimizer.ema_decay", "0.8", "--optimizer.average", "2"]
Weights = dict[str, Tensor]


def moving_average(points: list[Weights], decay: float) -> Weights:
    """The formula, in 64 bits."""
    shares = [decay ** (len(points) - 1 - place) for place in range(len(points))]
    return {
        name: sum(share * point[name].double() for share, point in zip(shares, points, strict=True)) / sum(shares)
        for name in points[0]
    }


def copy_of(module: nn.Module) -> Weights:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def assert_close(one: Weights, other: Weights) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name].double(), other[name].double(), rtol=1e-5, atol=1e-6)


def weights_in(path: Path) -> Weights:
    return {name.removeprefix("task."): one for name, one in checkpoint.read(path)["state_dict"].items()}


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_a_moving_average_is_its_formula_and_swaps_to_the_bit(decay: float) -> None:
    module, points = nn.Linear(3, 4), []
    average = MovingAverage(module, decay)
    average.swap()  # nothing has been averaged yet
    for step in range(1, 8):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn_like(parameter))
        points.append(copy_of(module))
        average.update(step)
        before = {name: value.clone() for name, value in average.values.items()}
        assert_close(before, moving_average(points, decay))
        with average.applied():
            assert all(value.equal(before[name]) for name, value in module.named_parameters())
        assert all(value.equal(points[-1][name]) for name, value in module.named_parameters())
        assert all(value.equal(before[name]) for name, value in average.values.items())


def test_the_mean_of_checkpoints_is_their_mean(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.ckpt" for number in range(3)]
    values = torch.randn(3, 4)
    for path, value in zip(paths, values, strict=True):
        described = {
            "seq2seq": {"format": checkpoint.FORMAT},
            "state_dict": {"a": value, "b": value.to(torch.bfloat16)},
        }
        checkpoint.write(described, path)
    found = mean(paths)
    torch.testing.assert_close(found["a"], values.mean(0))
    torch.testing.assert_close(found["b"], values.to(torch.bfloat16).double().mean(0).to(torch.bfloat16))
    with pytest.raises(InputError, match="there is no checkpoint"):
        mean([*paths, tmp_path / "gone.ckpt"])


class Seen:
    """The parameters with which a training took its steps, validated and tested."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.trained: list[Weights] = []
        self.validated: dict[int, Weights] = {}
        self.tested: Weights = {}
        training, validation, testing = Learner.training_step, Learner.validation_step, Learner.test_step

        def train_and_see(learner: Learner, batch: Any, index: int) -> None:
            training(learner, batch, index)
            self.trained.append(copy_of(learner.task))

        def validate_and_see(learner: Learner, batch: Any, index: int) -> None:
            self.validated[learner.trainer.global_step] = copy_of(learner.task)
            validation(learner, batch, index)

        def see_the_test(learner: Learner, batch: Any, index: int) -> None:
            self.tested = copy_of(learner.task)
            testing(learner, batch, index)

        patch.setattr(Learner, "training_step", train_and_see)
        patch.setattr(Learner, "validation_step", validate_and_see)
        patch.setattr(Learner, "test_step", see_the_test)


@pytest.fixture(scope="module")
def moving(config: Path) -> tuple[RunDirectory, Seen]:
    """A whole training with both averages, and what was seen of it."""
    with pytest.MonkeyPatch.context() as patch:
        seen = Seen(patch)
        train.main(["--config", str(config), "--run", str(config.parent / "moving"), *BOTH])
    return RunDirectory(config.parent / "moving"), seen


def test_averages_are_validated_while_the_parameters_train(
    moving: tuple[RunDirectory, Seen], config: Path, tmp_path: Path
) -> None:
    run, seen = moving
    arguments = ["--config", str(config), "--run", str(tmp_path / "raw"), "--optimizer.average", "9"]
    train.main(arguments)
    raw, last = (checkpoint.read(one.last) for one in (RunDirectory(tmp_path / "raw"), run))
    assert_same_weights(run.last, RunDirectory(tmp_path / "raw").last)
    for one, other in zip(
        raw["optimizer_states"][0]["state"].values(), last["optimizer_states"][0]["state"].values(), strict=True
    ):
        assert all(one[name].equal(other[name]) for name in one)
    assert sorted(seen.validated) == [5, 10, 12]
    for step, weights in seen.validated.items():
        assert_close(weights, moving_average(seen.trained[:step], 0.8))
    assert_close(last["moving_average"], moving_average(seen.trained, 0.8))
    assert all(seen.tested[name].equal(value) for name, value in weights_in(run.best).items())
    assert results_of(RunDirectory(tmp_path / "raw"))["average"]["steps"] == [5, 10, 12], "fewer than wanted: all"


def test_only_a_checkpoint_to_go_on_from_holds_both(moving: tuple[RunDirectory, Seen]) -> None:
    assert "moving_average" in checkpoint.read(moving[0].last)
    assert "moving_average" not in checkpoint.read(moving[0].best)


def test_the_mean_is_taken_over_the_last_validations(moving: tuple[RunDirectory, Seen]) -> None:
    run = moving[0]
    results = results_of(run)
    found = results["average"]
    scores = [value for *_, value in results["curves"]["validation_chrf"]]
    assert len(set(scores)) == 3
    assert found["steps"] == [10, 12]
    assert found["chosen"] == (found["value"] >= max(scores))
    assert results["best"]["value"] == max([*scores, found["value"]])
    assert run.at_steps() == []


def test_the_mean_is_kept_only_if_it_is_no_worse(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validate, seen = fit.validate_average, Seen(monkeypatch)

    def compared(run: RunDirectory, trainer: Any, learner: Learner, checkpoints: Checkpoints) -> dict[str, Any] | None:
        before, best = run.best.read_bytes(), checkpoints.best
        assert best is not None
        best["value"] = 101.0
        worse = validate(run, trainer, learner, checkpoints)
        assert worse is not None
        assert worse == {"steps": [10, 12], "metric": "validation_chrf", "value": worse["value"], "chosen": False}
        assert run.best.read_bytes() == before
        assert checkpoints.best is best
        best["value"], best["loss"] = worse["value"], math.inf  # equally good
        chosen = validate(run, trainer, learner, checkpoints)
        points = [moving_average(seen.trained[:step], 0.8) for step in (10, 12)]
        assert_close(weights_in(run.best), {name: (points[0][name] + points[1][name]) / 2 for name in points[0]})
        assert {**checkpoints.best, "loss": 0} == {
            "step": 12,
            "metric": "validation_chrf",
            "value": worse["value"],
            "loss": 0,
        }
        return chosen

    monkeypatch.setattr(fit, "validate_average", compared)
    train.main(["--config", str(config), "--run", str(tmp_path / "run"), *BOTH])
    run = RunDirectory(tmp_path / "run")
    results = results_of(run)
    assert results["average"]["chosen"]
    assert results["best"]["step"] == 12
    assert all(seen.tested[name].equal(value) for name, value in weights_in(run.best).items())


@pytest.mark.parametrize("stop", [7, 11])
def test_a_resumed_run_has_the_averages_of_the_uninterrupted_one(
    moving: tuple[RunDirectory, Seen], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    arguments, run = ["--config", str(config), "--run", str(tmp_path / "run"), *BOTH], RunDirectory(tmp_path / "run")
    train_until(stop, arguments, monkeypatch)
    if stop == 7:  # the best so far is that of step 5
        assert_close(weights_in(run.best), moving_average(moving[1].trained[:5], 0.8))
    with pytest.raises(InputError, match=r"differs? from .*optimizer\."):
        train.main([*arguments, "--optimizer.ema_decay", "0.9", "--resume", "true"])
    with pytest.raises(InputError, match=r"differs? from .*optimizer\."):
        train.main([*arguments, "--optimizer.ema_decay", "null", "--resume", "true"])
    train.main([*arguments, "--resume", "true"])
    whole = moving[0]
    assert_same_weights(run.last, whole.last)
    assert_same_weights(run.best, whole.best)
    one, other = (checkpoint.read(path)["moving_average"] for path in (run.last, whole.last))
    assert all(one[name].equal(other[name]) for name in other)
    assert results_of(run)["average"] == results_of(whole)["average"]
    assert results_of(run)["splits"] == results_of(whole)["splits"]
    assert run.at_steps() == []


def test_what_the_last_checkpoint_names_is_there(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the process is killed, it can go on: looked at before and after each file that is written or removed."""
    run, forget, write, named = RunDirectory(tmp_path / "run"), Checkpoints.forget, checkpoint.write, []

    def look() -> None:
        if run.last.is_file():
            states = checkpoint.read(run.last)["callbacks"]
            (kept,) = [state["kept"] for name, state in states.items() if name.startswith("Checkpoints")]
            named.append(tuple(kept))
            assert set(kept) <= {int(file.stem.removeprefix("step-")) for file in run.at_steps()}

    def watched_write(content: dict[str, Any], path: Path) -> None:
        write(content, path)
        look()

    def watched_forget(checkpoints: Checkpoints, *arguments: Any) -> None:
        forget(checkpoints, *arguments)
        if not run.results.is_file():
            look()

    monkeypatch.setattr(checkpoint, "write", watched_write)
    monkeypatch.setattr(Checkpoints, "forget", watched_forget)
    train.main(["--config", str(config), "--run", str(run.path), *BOTH])
    assert {(5,), (5, 10)} <= set(named)
    assert run.at_steps() == []


def test_one_validation_has_no_mean(config: Path, tmp_path: Path) -> None:
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), "--optimizer.average", "3"]
    train.main([*arguments, "--trainer.max_steps", "5"])
    run = RunDirectory(tmp_path / "run")
    assert results_of(run)["average"] is None
    assert results_of(run)["best"]["step"] == 5
    assert_same_weights(run.best, run.last)
    assert run.at_steps() == []


def test_averages_of_no_meaning_are_refused() -> None:
    from seq2seq.training.options import OptimizerOptions

    with pytest.raises(InputError, match=r"optimizer\.ema_decay is 1\.0"):
        OptimizerOptions(ema_decay=1.0)
    with pytest.raises(InputError, match=r"optimizer\.average is 1\b"):
        OptimizerOptions(average=1)
