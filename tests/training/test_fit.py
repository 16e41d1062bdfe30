"""The commands end to end on a tiny corpus: what a run leaves behind, and that it can be repeated exactly."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from seq2seq import evaluate, train
from seq2seq.api.process_state import torch_settings
from seq2seq.data.datamodule import DataModule
from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training import fit
from tests.support import assert_same_weights, module, python, results_of, surroundings, train_until

CONFIG = """
data:
  corpus: {class_path: Cldr, init_args: {train: 300, validation: 20, test: 30}}
  tokenizer: {class_path: SentencePiece, init_args: {vocabulary_size: 150, sampling: 0.5}}
  batch_tokens: 1000
model: {cell: GRU, embedding_size: 24, hidden_size: 48, attention: Dot, dropout: 0.1}
optimizer: {learning_rate: 0.02, schedule: Cosine, warmup_steps: 3}
decoding: {beam_size: 2}
trainer: {max_epochs: 5, accelerator: cpu, log_every_n_steps: 1, val_check_interval: 5}
"""


@pytest.fixture(scope="module")
def run(config: Path) -> RunDirectory:
    """One finished training."""
    path = config.parent / "run"
    train.main(["--config", str(config), "--run", str(path)])
    return RunDirectory(path)


def test_a_run_holds_what_it_promises(run: RunDirectory) -> None:
    results = results_of(run)
    part = results["splits"]["test"]
    assert part["metrics"]["chrf"]["value"] > 5, "the tiny run learns nothing, so nothing below means much"
    assert results["task"] == "Translation"
    assert part["rows"] == 30
    for name in ("bleu", "chrf", "exact_match"):
        metric = part["metrics"][name]
        assert metric["low"] <= metric["high"]
        assert metric["signature"]
    assert results["config"]["model"]["cell"]["class_path"].endswith("GRU")
    assert results["seconds"] > 0
    assert results["environment"]["packages"]["torch"] == torch.__version__
    lines = [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().split("\n")[:-1]]
    assert [line["id"] for line in lines] == list(range(30))
    assert set(lines[0]) == {
        "id",
        "source",
        "reference",
        "prediction",
        "score",
        "token_scores",
        "reference_scores",
        "quantiles",
        "at_limit",
        "metric",
        "chrf",
    }
    assert {one["by"] for one in part["breakdowns"]} >= {"source_length", "word_frequency", "position"}
    assert len(part["vectors"]["points"]) == part["exposure"]["rows"] == part["attention"]["rows"] == 30
    alignments = (run.predictions / "test.alignments.jsonl").read_text().splitlines()
    shown = {row["id"] for rows in part["examples"].values() for row in rows}
    assert {json.loads(line)["id"] for line in alignments} == shown
    page = run.report.read_text()
    assert f"{part['metrics']['bleu']['value']:.1f}" in page
    assert run.best.is_file()
    assert run.last.is_file()
    assert any(run.tensorboard.iterdir())


def test_each_validation_says_what_is_remembered(run: RunDirectory) -> None:
    results = results_of(run)
    points, validated = results["memory"], [step for step, *_ in results["curves"]["validation_bleu"]]
    assert [point["step"] for point in points] == validated
    assert points[0]["gradient_norm"] != points[-1]["gradient_norm"]
    for point in points:
        assert set(point["gradient_norm"]) == {"forward", "backward"}
        assert len(point["rows"]) == len(point["gradient_norm"]["forward"])
        assert max(point["rows"]) == 10, "twice as many would hold more tokens than a training step"
        assert set(point["saturation"]) == {"reset", "update"}
        assert 1 < point["effective_rank"] < 10
    assert {"effective_rank", "gradient_arriving", "saturated_gates"} <= results["curves"].keys()
    assert [step for step, *_ in results["curves"]["effective_rank"]] == validated


def test_curves_are_written_by_optimiser_step(run: RunDirectory) -> None:
    with open(run.metrics, newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == list(range(1, len(steps) + 1))
    validated = [int(row["step"]) for row in rows if row["validation_bleu"]]
    assert set(range(5, len(steps) + 1, 5)) <= set(validated)
    assert results_of(run)["best"]["step"] in validated
    losses = [float(row["train_loss"]) for row in rows]
    assert sum(losses[-3:]) < sum(losses[:3])


def test_scores_equal_the_sacrebleu_command_line(run: RunDirectory) -> None:
    texts = [str(run.predictions / f"test.{name}.txt") for name in ("reference", "prediction")]
    options = ["-m", "bleu", "chrf", "--confidence", "-w", "6"]
    printed = json.loads(python("-m", "sacrebleu", texts[0], "-i", texts[1], *options, check=True).stdout)
    metrics = results_of(run)["splits"]["test"]["metrics"]
    for one, name in zip(printed, ("bleu", "chrf"), strict=True):
        assert one["score"] == pytest.approx(metrics[name]["value"], abs=1e-6)
        assert one["confidence_mean"] - one["confidence_var"] == pytest.approx(metrics[name]["low"], abs=1e-4)
        assert one["signature"] == metrics[name]["signature"]


def test_evaluation_from_the_checkpoint_alone_gives_the_same_numbers(run: RunDirectory, tmp_path: Path) -> None:
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes(run.best.read_bytes())
    evaluate.main([str(alone), "--output", str(tmp_path / "again")])
    again = RunDirectory(tmp_path / "again")
    assert results_of(again)["splits"] == results_of(run)["splits"]
    assert (again.predictions / "test.jsonl").read_bytes() == (run.predictions / "test.jsonl").read_bytes()
    assert again.report.is_file()


def test_the_written_configuration_repeats_the_run(run: RunDirectory, tmp_path: Path) -> None:
    train.main(["--config", str(run.config), "--run", str(tmp_path / "again")])
    again = RunDirectory(tmp_path / "again")
    assert_same_weights(again.best, run.best)
    assert again.config.read_text() == run.config.read_text()
    assert results_of(again)["splits"] == results_of(run)["splits"]


@pytest.mark.parametrize("stop", [7, pytest.param(30, marks=pytest.mark.slow)])
def test_a_resumed_run_is_the_uninterrupted_one(
    run: RunDirectory, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    arguments = ["--config", str(config), "--run", str(tmp_path / "run")]
    train_until(stop, arguments, monkeypatch)
    with pytest.raises(InputError, match="--resume true"):
        train.main(arguments)
    with pytest.raises(InputError, match=r"config\.yaml: model\.dropout 0\.1 -> 0\.5; .*--allow_change true"):
        train.main([*arguments, "--resume", "true", "--model.dropout", "0.5"])
    train.main([*arguments, "--resume", "true"])
    again = RunDirectory(tmp_path / "run")
    assert_same_weights(again.last, run.last)
    assert_same_weights(again.best, run.best)
    assert results_of(again)["splits"] == results_of(run)["splits"]
    curves, whole = results_of(again)["curves"], results_of(run)["curves"]
    for name in ("train_loss", "validation_loss", "validation_perplexity", "validation_bleu"):
        assert [(p[0], p[2]) for p in curves[name]] == [(p[0], p[2]) for p in whole[name]]
    assert results_of(again)["best"] == results_of(run)["best"]


@pytest.mark.slow
def test_a_run_goes_on_elsewhere(
    run: RunDirectory, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other devices, workers and micro-batches change the time it takes, not the experiment."""
    arguments = ["--config", str(config), "--run", str(tmp_path / "run")]
    train_until(12, arguments, monkeypatch)
    elsewhere = "--trainer.devices 2 --trainer.strategy ddp --data.device_tokens 300 --data.workers 1".split()
    done = module("train", *arguments, "--resume", "true", *elsewhere)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    again = results_of(RunDirectory(tmp_path / "run"))["curves"]["train_loss"]
    assert [p[2] for p in again] == pytest.approx([p[2] for p in results_of(run)["curves"]["train_loss"]], rel=1e-3)


def test_a_streamed_run_is_resumed_exactly(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = ["--data.window", "60", "--data.max_length", "200", "--trainer.max_steps", "23", "--data.workers", "1"]
    train.main(["--config", str(config), "--run", str(tmp_path / "whole"), *streamed])
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), *streamed]
    train_until(18, arguments, monkeypatch)
    train.main([*arguments, "--resume", "true"])
    assert_same_weights(RunDirectory(tmp_path / "run").last, RunDirectory(tmp_path / "whole").last)
    with pytest.raises(InputError, match=r"data\.window.* trainer\.max_steps"):
        train.main(["--config", str(config), "--run", str(tmp_path / "endless"), *streamed[:4]])


def test_other_training_rows_are_refused(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seq2seq.data.corpora.builtin import cldr

    arguments = ["--config", str(config), "--run", str(tmp_path / "run")]
    train_until(7, arguments, monkeypatch)
    generate = cldr.generate
    monkeypatch.setattr(cldr, "generate", lambda *a: generate(a[0], a[1], a[2], 2))
    with pytest.raises(InputError, match=r"last\.ckpt: .*training rows \w{12} -> \w{12}[,;]"):
        train.main([*arguments, "--resume", "true"])


@pytest.mark.slow
def test_the_budget_of_a_device_is_found_and_kept(
    run: RunDirectory, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seq2seq.training import device_budget

    monkeypatch.setattr(device_budget.Trial, "fits_processor", lambda self, tokens: self.run(tokens) or tokens <= 350)
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), "--data.device_tokens", "auto"]
    train_until(7, arguments, monkeypatch)
    found = checkpoint.stored(checkpoint.read(tmp_path / "run" / "checkpoints" / "last.ckpt"), "device_tokens")
    assert 350 * 15 / 16 - 1 <= found <= 350
    monkeypatch.setattr(device_budget.Trial, "fits_processor", None)  # it is not searched again
    train.main([*arguments, "--resume", "true"])
    one, other = results_of(RunDirectory(tmp_path / "run")), results_of(run)
    losses = [[point[2] for point in results["curves"]["train_loss"]] for results in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_finished_run_is_never_overwritten_silently(run: RunDirectory, config: Path) -> None:
    before = run.results.read_bytes()
    arguments = ["--config", str(config), "--run", str(run.path)]
    with pytest.raises(InputError, match=f"{run.path} .*finished run; .*--overwrite true"):
        train.main(arguments)
    with pytest.raises(InputError, match=f"{run.path} .*nothing to resume"):
        train.main([*arguments, "--resume", "true"])
    assert run.results.read_bytes() == before


def test_a_refused_overwrite_keeps_the_old_run(run: RunDirectory, config: Path) -> None:
    arguments = ["--config", str(config), "--run", str(run.path), "--overwrite", "true"]
    for wrong in (["--model.dropout", "2"], ["--data.batch_tokens", "9"], ["--data.path", "nowhere"]):
        with pytest.raises(InputError):
            train.main([*arguments, *wrong])
    assert run.best.is_file()
    assert results_of(run)


def test_an_evaluation_never_overwrites_its_run(run: RunDirectory) -> None:
    with pytest.raises(InputError, match=f"--output {run.path} "):
        evaluate.main([str(run.path), "--output", str(run.path), "--overwrite", "true"])
    with pytest.raises(InputError, match="split"):
        evaluate.main([str(run.path), "--split", "../elsewhere"])
    assert run.best.is_file()


def test_an_evaluation_imports_nothing_that_a_checkpoint_names(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = checkpoint.read(run.best)
    data = json.loads(content["seq2seq"]["data"])
    data["init_args"]["corpus"]["class_path"] = "this.X"
    content["seq2seq"]["data"] = json.dumps(data)
    checkpoint.write(content, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match=r"this\.X .*--import"):
        evaluate.main([str(tmp_path / "evil.ckpt")])
    assert "Zen" not in capsys.readouterr().out
    assert "this" not in sys.modules


def test_the_last_steps_are_validated_too(config: Path, tmp_path: Path) -> None:
    train.main(["--config", str(config), "--run", str(tmp_path / "run"), "--trainer.max_steps", "7"])
    one = RunDirectory(tmp_path / "run")
    assert [step for step, *_ in results_of(one)["curves"]["validation_chrf"]] == [5, 7]
    assert checkpoint.read(one.last)["global_step"] == 7


def test_non_finite_losses_stop_the_training(config: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at step \d+.*trainer\.skip_limit"):
        train.main(["--config", str(config), "--run", str(tmp_path / "run"), "--optimizer.learning_rate", "1e38"])


def test_early_stopping(config: Path, tmp_path: Path) -> None:
    train.main(
        [
            "--config",
            str(config),
            "--run",
            str(tmp_path / "run"),
            "--patience",
            "1",
            "--optimizer.learning_rate",
            "1e-9",
        ]
    )
    results = results_of(RunDirectory(tmp_path / "run"))
    assert [step for step, *_ in results["curves"]["validation_bleu"]] == [5, 10]


def test_patience_survives_a_resumption(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = ["--patience", "1", "--optimizer.learning_rate", "1e-9"]
    arguments = ["--config", str(config), "--run", str(tmp_path / "run"), *idle]
    train_until(7, arguments, monkeypatch)
    train.main([*arguments, "--resume", "true"])
    results = results_of(RunDirectory(tmp_path / "run"))
    assert [step for step, *_ in results["curves"]["validation_bleu"]] == [5, 10]
    losses = {step: loss for step, _, loss in results["curves"]["validation_loss"]}
    assert results["best"]["step"] == min(losses, key=lambda step: losses[step]), "the score is 0 both times"


def test_the_test_split_is_not_seen_before_the_end(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the checksums of its rows are taken before, so that they are still the same at the end."""
    seen, encode, average = [], DataModule.encode, fit.validate_average

    def encoded(self: DataModule, texts: Any, tokenizers: Any, name: str, *more: Any) -> Any:
        seen.append(name)
        return encode(self, texts, tokenizers, name, *more)

    def trained(*given: Any) -> Any:
        seen.append("trained")
        return average(*given)

    monkeypatch.setattr(DataModule, "encode", encoded)
    monkeypatch.setattr(fit, "validate_average", trained)
    train.main(["--config", str(config), "--run", str(tmp_path / "run"), "--trainer.max_steps", "5"])
    assert seen == ["train", "validation", "trained", "test"]


def test_predict_writes_one_line_for_each_line(run: RunDirectory) -> None:
    lines = ["Monday", "", "\u2028", "May 5\u2028and\x85June", "   ", "Germany\r", "x" * 3000, "Tuesday"]
    done = module("predict", str(run.path), input="\n".join(lines).encode())
    assert done.returncode == 0, done.stderr
    out = done.stdout.decode().split("\n")
    assert out.pop() == ""
    assert len(out) == len(lines)
    assert out[1] == out[2] == out[4] == ""
    single = module("predict", str(run.path), "--decoding.rows", "1", input=b"Tuesday\nMonday\n").stdout.decode()
    assert single.split("\n")[:2] == [out[7], out[0]]


def test_predict_n_best_and_scores(run: RunDirectory) -> None:
    done = module("predict", str(run.path), "--n_best", "2", "--scores", input=b"Monday\n\nTuesday\n")
    first, empty, _, _ = done.stdout.decode().split("\n")
    score, text, second, _ = first.split("\t")
    assert float(score) >= float(second)
    assert empty == ""
    alone = module("predict", str(run.path), input=b"Monday\n").stdout.decode()
    assert alone == text + "\n"
    refused = module("predict", str(run.path), "--n_best", "3", input=b"")
    assert refused.returncode == 2
    assert b"--n_best 3 needs --decoding.beam_size 3" in refused.stderr


def test_predict_answers_before_the_input_ends(run: RunDirectory) -> None:
    command = [sys.executable, "-m", "seq2seq.predict", str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Monday\nTue")
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\n")
        process.stdin.write(b"sday")
        process.stdin.close()
        assert len(process.stdout.read().split(b"\n")) == 2


def test_invalid_input_names_its_line(run: RunDirectory) -> None:
    done = module("predict", str(run.path), input=b"Monday\nM\xe4rz\nTuesday\n")
    assert done.returncode == 2
    assert done.stdout.count(b"\n") == 1, "the good lines before it are answered"
    assert b"standard input:2: invalid UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_two_processes_train_together(config: Path, tmp_path: Path) -> None:
    """DDP on two processes: the same steps as one, and each test row scored once."""
    path = tmp_path / "two"
    options = "--trainer.devices 2 --trainer.strategy ddp --trainer.max_steps 6".split()
    one_thread = surroundings(OMP_NUM_THREADS="1")
    done = module("train", "--config", str(config), "--run", str(path), *options, env=one_thread)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    two = RunDirectory(path)
    with torch_settings():
        torch.set_num_threads(1)  # as each of the two has: products may depend on it
        evaluate.main([str(path), "--output", str(tmp_path / "alone")])
    assert results_of(RunDirectory(tmp_path / "alone"))["splits"] == results_of(two)["splits"]
    train.main(["--config", str(config), "--run", str(tmp_path / "one"), *options[4:]])
    both = [checkpoint.read(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"] for name in ("one", "two")]
    for name in both[0]:
        torch.testing.assert_close(both[0][name], both[1][name], rtol=1e-3, atol=1e-4)
    for curve in ("train_loss", "validation_loss"):
        losses = [[p[2] for p in results_of(RunDirectory(tmp_path / n))["curves"][curve]] for n in ("one", "two")]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_configuration_round_trip(run: RunDirectory) -> None:
    assert yaml.safe_load(run.config.read_text()) == results_of(run)["config"]
