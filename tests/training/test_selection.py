"""Which checkpoint is kept, when training stops, and what is refused before the first step."""

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from seq2seq import evaluate, train
from seq2seq.errors import InputError
from seq2seq.inference.predictor import Predictor, mean_loss
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.bleu import Bleu
from seq2seq.metrics.forecast_errors import MeanAbsoluteError
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task
from seq2seq.training.callbacks import Checkpoints
from seq2seq.training.learner import Learner
from seq2seq.training.tried_metrics import as_stored, settle
from tests.support import PAIRS, REVERSAL, batch_of, learnt, results_of, small, split_of

WORDS = {"the": "这", "red": "红", "dog": "狗", "cat": "猫", "sees": "看", "a": "一", "big": "大", "house": "房"}


def chosen(validations: list[tuple[float, float]], patience: int | None = None, metric: Any = ExactMatch()) -> Any:
    """The checkpoints after validations with these scores and losses, stopped early or not."""
    found = Checkpoints(RunDirectory(Path("none")), patience)
    for step, (value, loss) in enumerate(validations, 1):
        learner = SimpleNamespace(
            task=SimpleNamespace(metrics=[metric]), scores={metric.name: value}, validation_loss=loss
        )
        found.observe(cast(Learner, learner), step)
        if patience is not None and found.waited >= patience:
            break
    return found


@pytest.mark.parametrize(
    ("validations", "best"),
    [
        ([(0, 2.0), (0, 1.0), (0, 0.5), (0, 0.7)], 3),
        ([(100, 0.3), (100, 0.1), (100, 0.2)], 2),
        ([(0, 0.1), (5, 3.0), (4, 0.05)], 2),
        ([(0, 0.1), (0, 0.05), (-1, 0.01)], 2),
        ([(math.nan, 2.0), (math.nan, 1.0)], 2),
        ([(math.nan, 0.1), (0, 2.0)], 2),
        ([(7, math.nan), (7, 3.0)], 2),
        ([(7, 3.0), (7, math.nan)], 1),
    ],
)
def test_ties_are_decided_by_the_validation_loss(validations: list[tuple[float, float]], best: int) -> None:
    found = chosen(validations)
    assert found.best["step"] == best
    assert found.moved == (len({value for value, _ in validations if not math.isnan(value)}) > 1 or (best == 2
                           and math.isnan(validations[0][0]) and not math.isnan(validations[1][0])))  # fmt: skip


def test_lower_errors_are_better() -> None:
    assert chosen([(3, 1.0), (2, 9.0), (2, 8.0)], metric=MeanAbsoluteError()).best["step"] == 3


def test_patience_counts_progress_of_either() -> None:
    falling = [(0.0, 2.0 - step / 10) for step in range(10)]
    assert chosen(falling, patience=2).validated == 10
    rising = [(float(step), 1.0 + step) for step in range(10)]
    assert chosen(rising, patience=2).validated == 10
    assert chosen([(0, 1.0), *[(0, 1.0 - 1e-7 * step) for step in range(9)]], patience=2).validated == 3
    assert chosen([(5, 1.0), (4, 2.0), (5, 1.5), (6, 3.0)], patience=2).validated == 3


def test_old_checkpoints_of_the_choice_are_read() -> None:
    found = Checkpoints(RunDirectory(Path("none")), 3)
    best = {"step": 5, "metric": "validation_exact_match", "value": 0.0}
    found.load_state_dict({"best": best, "waited": 1, "validated": 10, "kept": []})
    metric = ExactMatch()
    learner = SimpleNamespace(task=SimpleNamespace(metrics=[metric]), scores={"exact_match": 0.0}, validation_loss=2.0)
    assert found.observe(cast(Learner, learner), 15), "its loss is not known"


def write_pairs(folder: Path, target: str) -> Path:
    """Sentences of words, with their targets as one word each or, in Chinese, without spaces."""
    folder.mkdir()
    draw = np.random.default_rng(1)
    for split, rows in (("train", 60), ("validation", 12), ("test", 12)):
        texts = [list(draw.choice(list(WORDS), size=draw.integers(4, 7))) for _ in range(rows)]
        (folder / f"{split}.en").write_text("".join(" ".join(text) + "\n" for text in texts))
        (folder / f"{split}.xx").write_text(
            "".join(("".join(WORDS[word] for word in text) if target == "zh" else "x") + "\n" for text in texts)
        )
    return folder


CONFIG = """
data:
  corpus: {class_path: Parallel, init_args: {source: en, target: xx}}
  tokenizer: Words
  target_tokenizer: Characters
  batch_tokens: 300
model: {cell: GRU, hidden_size: 16, embedding_size: 8, attention: Dot}
optimizer: {learning_rate: 0.02}
trainer: {max_epochs: 3, accelerator: cpu}
"""


@pytest.fixture
def chinese(tmp_path: Path) -> list[str]:
    """Arguments of a training on Chinese targets."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    data = write_pairs(tmp_path / "data", "zh")
    return ["--config", str(tmp_path / "config.yaml"), "--data.path", str(data), "--run", str(tmp_path / "run")]


def test_a_run_says_how_bleu_splits_and_stays_with_it(chinese: list[str], tmp_path: Path) -> None:
    train.main([*chinese, "--metrics", "[Bleu, {class_path: Bleu, init_args: {tokenize: char}}, ExactMatch]"])
    run = RunDirectory(tmp_path / "run")
    results = results_of(run)
    metrics = results["splits"]["test"]["metrics"]
    assert [*metrics] == ["bleu_zh", "bleu_char", "exact_match"]
    assert "tok:zh" in metrics["bleu_zh"]["signature"]
    assert results["best"]["metric"] == "validation_bleu_zh"
    stored = checkpoint.load(run.path).metrics[0]
    assert stored.specification()["init_args"]["tokenize"] == "zh"
    with open(run.metrics, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["validation_loss"]]
    assert len(rows) == 3
    for row in rows:
        assert float(row["validation_perplexity"]) == pytest.approx(math.exp(float(row["validation_loss"])))
        assert row["validation_bleu_zh"]
    assert "validation loss" in run.report.read_text()
    evaluate.main([str(run.path), "--output", str(tmp_path / "again")])
    assert results_of(RunDirectory(tmp_path / "again"))["splits"] == results["splits"]
    assert evaluate.main([str(run.path), "--fail_under", "bleu_zh=0"]) == 0
    for name in ("--metrics", "--model.metrics"):
        assert evaluate.main([str(run.path), name, "[Bleu, Ter]", "--fail_under", "bleu=0"]) == 0


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("[{class_path: Bleu, init_args: {tokenize: jieba}}]", "jieba.*13a"),
        ("[SpanF1]", "span_f1.*model.metrics"),
        ("[Perplexity, Bleu]", "reference_scores.*model.metrics"),
        ("[MeanAbsoluteError]", "not a sequence of numbers"),
        ("[MeanAbsoluteScaledError]", "numbers"),
    ],
)
def test_metrics_that_cannot_score_are_refused_before_the_first_step(
    chinese: list[str], tmp_path: Path, metrics: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train.main([*chinese, "--model.metrics", metrics])
    assert not (tmp_path / "run").exists()


def test_a_metric_with_a_mistake_is_one_line(
    chinese: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExactMatch, "statistics", lambda self, rows: [[1, 1] for _ in rows])
    with pytest.raises(InputError, match=r"model\.metrics: exact_match .*--debug"):
        train.main([*chinese, "--model.metrics", "[ExactMatch]"])
    assert not (tmp_path / "run").exists()


def test_a_metric_that_sees_nothing_in_the_references_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    data = write_pairs(tmp_path / "data", "one word")
    arguments = ["--config", str(tmp_path / "config.yaml"), "--data.path", str(data), "--run", str(tmp_path / "run")]
    train.main([*arguments, "--model.metrics", "[Bleu]"])
    error = capsys.readouterr().err + caplog.text
    assert "bleu of the validation references against themselves is 0" in error
    assert "validation_bleu was 0 in all 3 validations" in error


def test_what_was_decided_once_stays_decided() -> None:
    tokenizers = learnt(PAIRS, *pair_of_tokenizers())
    from seq2seq.tasks.translation import Translation

    task = small(Translation, tokenizers)
    settle(task, split_of(PAIRS, tokenizers))
    assert cast(Bleu, task.metrics[0]).tokenize == "13a"

    def stored(**settings: Any) -> dict[str, Any]:
        metrics = [Bleu(**settings).specification()]
        return {"task": json.dumps({"class_path": "Translation", "init_args": {"metrics": metrics}})}

    assert cast(Bleu, as_stored(task.metrics, stored(tokenize="zh"))[0]).tokenize == "zh"
    assert cast(Bleu, as_stored([Bleu("char")], stored(tokenize="zh"))[0]).tokenize == "char", "it was asked for"
    assert [one.name for one in as_stored(task.metrics, stored(tokenize="zh"))] == ["bleu", "chrf", "exact_match"]


def pair_of_tokenizers() -> Any:
    from seq2seq.data.tokenizers.units import Characters
    from seq2seq.data.tokenizers.units import Words as WordTokens

    return WordTokens(), Characters()


@pytest.mark.parametrize("output", ["softmax", "sparsemax"])
def test_validation_measures_the_loss_of_the_references_however_batches_are_cut(output: str) -> None:
    from seq2seq.tasks.translation import Translation

    tokenizers = learnt(PAIRS, *pair_of_tokenizers())
    task = small(Translation, tokenizers, output=output, dropout=0.5).eval()
    split, whole = split_of(PAIRS, tokenizers), batch_of(PAIRS, tokenizers)
    tokens = int((whole.target[:, 1:] != 0).sum())
    with torch.no_grad():
        expected = float(task.loss(whole)) / tokens
    losses = []
    for size in (1, 3, len(PAIRS)):
        predictor = Predictor(task, task.decoding.greedy(), measured=True)
        for start in range(0, len(PAIRS), size):
            predictor(split.batch(np.arange(start, min(start + size, len(PAIRS)))))
        losses.append(mean_loss(predictor.losses))
    assert losses == pytest.approx([expected] * 3, rel=1e-5)
    assert task.loss_is_likelihood == (output == "softmax")
    if output == "softmax":
        smoothed = small(Translation, tokenizers, label_smoothing=0.3).eval()
        smoothed.load_state_dict(task.state_dict())
        with torch.no_grad():
            assert float(smoothed.validation_loss(whole)) / tokens == pytest.approx(expected, rel=1e-5)


def test_the_encoder_reads_a_validation_batch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from seq2seq.models.encoder import Encoder
    from seq2seq.tasks.translation import Translation

    calls, forward = [], Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k))
    tokenizers = learnt(PAIRS, *pair_of_tokenizers())
    task = small(Translation, tokenizers).eval()
    assert isinstance(task, Task)
    Predictor(task, task.decoding.greedy(), measured=True)(batch_of(PAIRS, tokenizers))
    assert len(calls) == 1


def test_every_shape_of_training_measures_a_loss(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(REVERSAL)
    train.main(["--config", str(tmp_path / "config.yaml"), "--run", str(tmp_path / "run"), "--patience", "1"])
    results = results_of(RunDirectory(tmp_path / "run"))
    losses = [value for _, _, value in results["curves"]["validation_loss"]]
    assert losses == sorted(losses, reverse=True)
    steps = {step: value for step, _, value in results["curves"]["validation_loss"]}
    assert results["best"]["loss"] == steps[results["best"]["step"]]
