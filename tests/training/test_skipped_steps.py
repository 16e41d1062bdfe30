"""Steps whose numbers are none are skipped, counted, kept and replayed; batches that do not fit are split."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq import train
from seq2seq.data.batching.batch import Batch
from seq2seq.errors import InputError, Interrupted
from seq2seq.runs import checkpoint, safe_load
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.translation import Translation
from seq2seq.training.learner import Learner
from seq2seq.training.replay import bad
from seq2seq.training.skipped_steps import SAVED
from tests.support import ROOT, python, results_of, surroundings, weights_of
from tests.training.bad_numbers import STEPS, changed

CONFIG = """
data:
  corpus: {class_path: Cldr, init_args: {train: 100, validation: 4, test: 4}}
  tokenizer: {class_path: SentencePiece, init_args: {vocabulary_size: 120, sampling: 0.5}}
  batch_tokens: 700
model: {cell: GRU, embedding_size: 12, hidden_size: 16, attention: Dot, dropout: 0.2}
optimizer: {learning_rate: 0.01, ema_decay: 0.9}
decoding: {beam_size: 1}
trainer: {max_steps: 7, accelerator: cpu, log_every_n_steps: 1, val_check_interval: 7}
"""


@pytest.fixture(scope="module")
def whole(config: Path) -> RunDirectory:
    """A training in which nothing happens."""
    return run_of(config, config.parent / "whole")


def run_of(config: Path, path: Path, *more: str) -> RunDirectory:
    os.environ.pop("SEQ2SEQ_LAUNCH", None)
    train.main(["--config", str(config), "--run", str(path), *more])
    return RunDirectory(path)


@pytest.mark.parametrize("kind", ["nan", "infinite", "gradient"])
def test_a_bad_step_is_skipped_and_counted(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    seen: list[torch.Tensor] = []
    step = Learner.training_step

    def watching(self: Learner, batch: Any, index: int) -> None:
        moving = [] if self.moving is None else list(self.moving.values.values())
        now = [*self.task.parameters(), *moving]
        before = torch.cat([one.detach().flatten() for one in now])
        states = json.dumps(str(self.optimizers().optimizer.state_dict()))  # type: ignore[union-attr]
        step(self, batch, index)
        after = torch.cat([one.detach().flatten() for one in now])
        seen.append(after)
        if self.global_step - 1 in STEPS:
            assert after.equal(before)
            assert json.dumps(str(self.optimizers().optimizer.state_dict())) == states  # type: ignore[union-attr]
        else:
            assert not after.equal(before)

    monkeypatch.setattr(Translation, "loss", changed(kind, Translation.loss))
    monkeypatch.setattr(Learner, "training_step", watching)
    run = run_of(config, tmp_path / "run")
    assert len(seen) == 7, "a skipped step counts: the rows of the others are those of the plan"
    results = results_of(run)
    assert results["skipped"] == {"steps": 2, "split": 0}
    assert [(step, value) for step, _, value in results["curves"]["skipped_steps"]] == [
        (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0), (7, 2.0)
    ]  # fmt: skip
    assert checkpoint.stored(checkpoint.read(run.last), "skipped")["steps"] == 2
    for name, spoiled in (("train_loss", kind != "gradient"), ("gradient_norm", kind != "infinite")):
        steps = [point[0] for point in results["curves"][name]]
        assert steps == ([1, 2, 5, 6, 7] if spoiled else [1, 2, 3, 4, 5, 6, 7])
    for point in results["curves"].values():
        assert all(value == value and abs(value) < float("inf") for *_, value in point)


def test_nothing_is_said_where_nothing_happens(whole: RunDirectory) -> None:
    results = results_of(whole)
    assert results["skipped"] == {"steps": 0, "split": 0}
    assert "skipped_steps" not in results["curves"]
    assert not whole.dumps.exists()


def test_a_skipped_step_is_written_down_and_replayed(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The third row of a batch has a loss that is no number: the replay finds it."""
    original, culprit = Translation.loss, []

    def spoiled(self: Translation, batch: Batch) -> torch.Tensor:
        if not culprit and batch.step == 2:
            culprit.append(int(batch.rows[2]))
        value = original(self, batch)
        return value * float("nan") if culprit and culprit[0] in batch.rows and batch.step == 2 else value

    monkeypatch.setattr(Translation, "loss", spoiled)
    run = run_of(config, tmp_path / "run")
    told = json.loads((run.dumps / "step-3.json").read_text())
    assert told["loss"] == "nan"
    assert told["step"] == 3
    assert culprit[0] in told["batches"][0]["rows"]
    one = told["batches"][0]
    assert len(one["rows"]) == len(one["sources"]) == len(one["targets"]) == len(one["source_ids"])
    assert one["places"]
    content = torch.load(run.dumps / "step-3.pt", weights_only=True)
    assert content["batches"][0]["source"].tolist() == one["source_ids"]
    assert safe_load.load(run.dumps / "step-3.pt")
    capsys.readouterr()
    train.main(["--config", str(run.config), "--replay", str(run.dumps / "step-3.json")])
    printed = capsys.readouterr().out
    assert "step 3: loss nan, in the training it was nan: the same" in printed
    assert "first in the forward pass: the loss itself" in printed
    assert f"row {culprit[0]} alone has the loss nan" in printed
    assert printed.count("alone has the loss") == 1
    monkeypatch.setattr(Translation, "loss", original)
    train.main(["--config", str(run.config), "--replay", str(run.dumps / "step-3.json")])
    assert "in the training it was nan: another" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"--replay .*step-N\.json"):
        train.main(["--config", str(run.config), "--replay", str(run.config)])


def test_a_replay_computes_the_very_loss(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With dropout and drawn subwords, to the bit: only the gradient was spoiled."""
    original = Translation.loss
    monkeypatch.setattr(Translation, "loss", changed("gradient", original))
    run = run_of(config, tmp_path / "run")
    monkeypatch.setattr(Translation, "loss", original)
    for step in (3, 4):  # in a row, so that both have the parameters of the first
        assert json.loads((run.dumps / f"step-{step}.json").read_text())["parameters"] == "step-3.ckpt"
        capsys.readouterr()
        train.main(["--config", str(run.config), "--replay", str(run.dumps / f"step-{step}.json")])
        assert ": the same\n" in capsys.readouterr().out


def test_where_the_first_bad_number_appears(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parameters that an earlier step has spoiled are named, and the first layer that they spoil."""
    step = Learner.training_step

    def spoiling(self: Learner, batch: Any, index: int) -> None:
        if self.global_step == 2:
            with torch.no_grad():
                self.task.get_parameter("network.encoder.embedding.weight").fill_(float("inf"))
        step(self, batch, index)

    monkeypatch.setattr(Learner, "training_step", spoiling)
    with pytest.raises(InputError, match=r"step 6\b.* 3 steps.*trainer\.skip_limit"):
        run_of(config, tmp_path / "run", "--trainer.skip_limit", "3")
    dumps = RunDirectory(tmp_path / "run").dumps
    assert {file.name for file in dumps.glob("*.json")} == {f"step-{n}.json" for n in range(3, 7)}
    capsys.readouterr()
    train.main(["--config", str(config), "--replay", str(dumps / "step-4.json")])
    printed = capsys.readouterr().out
    assert "parameter network.encoder.embedding.weight holds inf" in printed
    assert "first in the forward pass: network.encoder.embedding" in printed
    assert "first in the backward pass: Function" in printed


def test_a_limit_of_none(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Translation, "loss", changed("nan", Translation.loss))
    with pytest.raises(InputError, match=r"step 3\b.*trainer\.skip_limit"):
        run_of(config, tmp_path / "none", "--trainer.skip_limit", "0")
    run_of(config, tmp_path / "two", "--trainer.skip_limit", "2")
    with pytest.raises(InputError, match=r"trainer\.skip_limit is -1"):
        run_of(config, tmp_path / "less", "--trainer.skip_limit", "-1")


def test_counts_survive_a_resumption(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Translation, "loss", changed("nan", Translation.loss))
    more = ["--trainer.val_check_interval", "4"]
    through = run_of(config, tmp_path / "whole", *more)
    step = Learner.training_step

    def stopping(self: Learner, batch: Any, index: int) -> None:
        if self.global_step == 5:
            raise KeyboardInterrupt
        step(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Learner, "training_step", stopping)
        run_of(config, tmp_path / "run", *more)
    run = run_of(config, tmp_path / "run", *more, "--resume", "true")
    assert results_of(run)["skipped"] == {"steps": 2, "split": 0}
    one, other = weights_of(run.last), weights_of(through.last)
    assert all(one[name].equal(other[name]) for name in one)


def test_only_some_steps_are_written_down(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Translation.loss

    def often(self: Translation, batch: Batch) -> torch.Tensor:
        return original(self, batch) * (float("nan") if self.training and batch.step % 2 else 1)

    monkeypatch.setattr(Translation, "loss", often)
    steps = str(2 * SAVED + 6)
    run = run_of(config, tmp_path / "run", "--trainer.max_steps", steps, "--trainer.max_epochs", "99")
    assert results_of(run)["skipped"]["steps"] == SAVED + 3
    assert len(list(run.dumps.glob("*.json"))) == SAVED


def test_a_full_disk_ends_no_training(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seq2seq.training import skipped_steps

    def refused(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Translation, "loss", changed("nan", Translation.loss))
    monkeypatch.setattr(skipped_steps, "write_text", refused)
    assert results_of(run_of(config, tmp_path / "run"))["skipped"]["steps"] == 2


def test_running_text_skips_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The states of the lanes stay as they were, and a replay goes on from them."""
    (tmp_path / "text").mkdir()
    text = "".join(f"line {number} of a text that goes on\n" for number in range(300))
    (tmp_path / "text" / "train.txt").write_text(text)
    config = tmp_path / "lines.yaml"
    config.write_text(
        f"task: Generation\ndata: {{path: {tmp_path}/text, corpus: {{class_path: Lines, init_args: {{running: true}}}},\n"
        "  tokenizer: NoSource, target_tokenizer: Characters, lanes: 4, segment: 20}\n"
        "model: {running: true, embedding_size: 8, hidden_size: 16, dropout: 0.1}\n"
        "trainer: {max_steps: 6, accelerator: cpu, val_check_interval: 6}\n"
    )
    original, poison = Generation.loss_and_state, Generation.loss_and_state

    def spoiled(self: Generation, batch: Batch, state: Any) -> Any:
        loss, after = original(self, batch, state)
        if not self.training or batch.step != 2:
            return loss, after
        return loss * float("nan"), tuple(one * float("nan") for one in after)

    monkeypatch.setattr(Generation, "loss_and_state", spoiled)
    run = run_of(config, tmp_path / "run")
    assert results_of(run)["skipped"]["steps"] == 1
    capsys.readouterr()
    train.main(["--config", str(run.config), "--replay", str(run.dumps / "step-3.json")])
    assert "loss nan, in the training it was nan: the same" in capsys.readouterr().out
    monkeypatch.setattr(Generation, "loss_and_state", poison)


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_split(
    whole: RunDirectory,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Translation, "loss", changed("memory", Translation.loss))
    run = run_of(config, tmp_path / "run")
    results = results_of(run)
    assert results["skipped"]["steps"] == 0
    assert results["skipped"]["split"] > 7, "halves are halved again"
    assert "is split in two" in capsys.readouterr().err
    one, other = weights_of(run.last), weights_of(whole.last)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)  # Adam makes more of float noise
    losses = [[point[2] for point in results_of(each)["curves"]["train_loss"]] for each in (run, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_gradients_of_a_failed_backward_pass_do_not_count(
    whole: RunDirectory, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory may end when half of the gradients have been added."""
    backward = Learner.manual_backward

    def failing(self: Learner, loss: torch.Tensor, *more: Any, **named: Any) -> None:
        backward(self, loss, *more, **named)
        if self.global_step == 3 and not self.skipped_steps.split:
            raise torch.OutOfMemoryError("too late")

    monkeypatch.setattr(Learner, "manual_backward", failing)
    run = run_of(config, tmp_path / "run")
    assert results_of(run)["skipped"]["split"] == 1
    one, other = weights_of(run.last), weights_of(whole.last)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)  # Adam makes more of float noise


def test_one_row_cannot_be_split(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Translation, batch: Batch) -> torch.Tensor:
        raise torch.OutOfMemoryError("nothing fits")

    monkeypatch.setattr(Translation, "loss", never)
    with pytest.raises(InputError, match=r"row \d+ .*\d+ tokens.*data\.max_length"):
        run_of(config, tmp_path / "run")

    def other(self: Translation, batch: Batch) -> torch.Tensor:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Translation, "loss", other)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        run_of(config, tmp_path / "mistake")


def test_parts_of_a_batch(tokenizers: Any) -> None:
    from tests.support import PAIRS, batch_of

    batch = batch_of(PAIRS[:5], tokenizers)._replace(step_tokens=9, seed=3, step=4)
    halves = batch.part(slice(0, 2)), batch.part(slice(2, 5))
    for name, value in batch._asdict().items():
        both = [getattr(half, name) for half in halves]
        assert torch.cat(both).equal(value) if isinstance(value, torch.Tensor) else both == [value, value]
    assert bad((torch.ones(1), [torch.tensor([float("nan")])])) == "nan"
    assert bad(torch.tensor([float("-inf")])) == bad(torch.tensor([1])) == bad(None) == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nan", "infinite", "gradient"])
def test_processes_skip_a_step_together(config: Path, tmp_path: Path, kind: str) -> None:
    """Only the second process has bad numbers; both skip, and both write down what they had."""
    run = two(kind, config, tmp_path / "run")
    assert results_of(run)["skipped"] == {"steps": 2, "split": 0}
    names = {file.name for file in run.dumps.iterdir()}
    assert names == {"step-3.ckpt"} | {
        f"step-{step}{rank}.{end}" for step in (3, 4) for rank in ("", ".rank-1") for end in ("json", "pt")
    }
    assert torch.cat([value.flatten() for value in weights_of(run.last).values()]).isfinite().all()


@pytest.mark.slow
def test_one_of_two_processes_splits_a_batch(config: Path, tmp_path: Path) -> None:
    run = two("memory", config, tmp_path / "run")
    plain = two("none", config, tmp_path / "plain")
    one, other = weights_of(run.last), weights_of(plain.last)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)  # Adam makes more of float noise


def two(kind: str, config: Path, path: Path) -> RunDirectory:
    """A training on two processes, the second of which has the trouble."""
    script = ["-m", "tests.training.bad_numbers", kind]
    options = "--trainer.devices 2 --trainer.strategy ddp --data.device_tokens 300".split()
    done = python(
        *script, "--config", config, "--run", path, *options, env=surroundings(PYTHONPATH=str(ROOT)), cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return RunDirectory(path)
