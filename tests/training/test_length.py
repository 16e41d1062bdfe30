"""The length of a training that follows from the data: its rule, what is said of others, and that a run keeps it."""

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq import train
from seq2seq.data.batching.plan import LARGEST, Plan
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Labels
from seq2seq.models.word_embedding import WordOptions
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.tagging import Tagging
from seq2seq.training import length
from seq2seq.training.length import LEAST_STEPS, Length, fitting_steps, length_of, warn_if_short
from seq2seq.training.options import OptimizerOptions, TrainerOptions
from tests.support import SENTENCES, assert_same_weights, results_of, train_until

OPEN = TrainerOptions(), OptimizerOptions()


def planned(rows: int) -> tuple[int, int]:
    """Tokens and steps of an epoch of so many rows of 27 tokens, as an inflection has them."""
    plan = Plan(np.full(rows, 14), np.full(rows, 13), None, 1)
    return plan.tokens, len(plan)


@pytest.mark.parametrize("rows", [16, 100, 1_000, 10_000, 1_000_000])
def test_any_size_is_trained_to_the_end_by_one_configuration(rows: int) -> None:
    tokens, epoch = planned(rows)
    found = length_of(tokens, epoch, *OPEN, None)
    assert found.fitted
    assert found.steps >= max(LEAST_STEPS, 5 * epoch)
    assert found.steps <= max(LEAST_STEPS, 15 * epoch) + length.VALIDATIONS
    assert 0 < found.warmup <= found.steps / 20
    assert isinstance(found.validate_every, int)
    assert found.steps == length.VALIDATIONS * found.validate_every, "the last validation is that of the last step"
    assert found.limits["max_steps"] == found.steps
    assert found.limits["check_val_every_n_epoch"] is None


@given(st.lists(st.integers(1, 10**10), min_size=2, max_size=9))
def test_more_data_never_take_fewer_steps(sizes: list[int]) -> None:
    steps = [fitting_steps(tokens, -(-tokens // LARGEST)) for tokens in sorted(sizes)]
    assert all(a <= b for a, b in pairwise(steps))


def test_small_data_get_small_steps_and_large_data_the_largest() -> None:
    budgets = [Plan(np.full(rows, 14), np.full(rows, 13), None, 1).batch_tokens for rows in (10, 1000, 9000, 10**6)]
    assert budgets == [256, 256, 9000 * 27 // 128, LARGEST]
    assert Plan(np.full(9, 400), np.full(9, 300), None, 1).batch_tokens == 700, "a row must fit"
    assert Plan(np.full(9, 14), np.full(9, 13), 512, 1).batch_tokens == 512


def test_what_is_set_is_kept() -> None:
    said = length_of(2_700, 11, TrainerOptions(max_epochs=7), OptimizerOptions(), None)
    assert said == Length(77, 0, 1.0, None, fitted=False)
    assert length_of(2_700, 11, TrainerOptions(max_epochs=7, max_steps=50), OPEN[1], 3)[:1] == (50,)
    assert length_of(2_700, 11, TrainerOptions(max_steps=500), OPEN[1], 3) == Length(500, 0, 20, 3, fitted=False)
    own = length_of(2_700, 11, TrainerOptions(val_check_interval=0.5), OptimizerOptions(warmup_steps=9), 4)
    assert own[1:] == (9, 0.5, 4, True)
    risk = OptimizerOptions(minimum_risk=0.25)
    assert [length_of(2_700, 11, OPEN[0], risk, said).patience for said in (None, 3)] == [None, 3]


def test_a_thousand_tiny_epochs_are_not_validated_a_thousand_times() -> None:
    assert length_of(270, 2, TrainerOptions(max_epochs=1000), OPEN[1], None).validate_every == 80
    assert length_of(270, 2, TrainerOptions(max_epochs=25), OPEN[1], None).validate_every == 1.0


def test_a_streamed_corpus_lasts_as_long_as_it_says() -> None:
    said = length_of(0, None, TrainerOptions(max_steps=900, val_check_interval=100), OPEN[1], None)
    assert said == Length(900, 0, 100, None, fitted=False)


@pytest.mark.parametrize(
    ("trainer", "optimizer", "named"),
    [
        (TrainerOptions(max_epochs=15), OptimizerOptions(warmup_steps=100), ["optimizer.warmup_steps", "100", "105"]),
        (TrainerOptions(max_epochs=15), OptimizerOptions(), ["105", str(LEAST_STEPS), "trainer.max_epochs"]),
        (TrainerOptions(max_epochs=50), OptimizerOptions(), []),
        (TrainerOptions(), OptimizerOptions(warmup_steps=2000), ["optimizer.warmup_steps", "2000", str(LEAST_STEPS)]),
        (TrainerOptions(), OptimizerOptions(), []),
    ],
)
def test_too_few_steps_are_named(
    trainer: TrainerOptions, optimizer: OptimizerOptions, named: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """777 rows, 7 steps an epoch: the public report of a training that was mostly warm-up."""
    with caplog.at_level(logging.WARNING):
        warn_if_short(length_of(20_979, 7, trainer, optimizer, None), 20_979, 7)
    assert len(caplog.messages) == bool(named)
    assert all(word in caplog.text for word in named)


CONFIG = """
data:
  corpus: {class_path: Cldr, init_args: {train: 60, validation: 6, test: 6}}
model: {cell: GRU, embedding_size: 12, hidden_size: 16}
optimizer: {schedule: Cosine}
trainer: {accelerator: cpu}
"""


def test_a_fitted_run_ends_with_its_schedule_and_is_resumed_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(length, "LEAST_STEPS", 40)
    monkeypatch.setattr(length, "MOST_PASSES", 2)
    monkeypatch.setattr(length, "LEAST_PASSES", 1)
    monkeypatch.setattr(length, "VALIDATIONS", 4)
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    whole, parts = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "parts")
    arguments = ["--config", str(file), "--run"]
    train.main([*arguments, str(whole.path)])
    train_until(17, [*arguments, str(parts.path)], monkeypatch)
    train.main([*arguments, str(parts.path), "--resume", "true"])
    results = results_of(whole)
    kept: dict[str, Any] = results["length"]
    assert kept["steps"] == checkpoint.read(whole.last)["global_step"]
    assert kept["steps"] == 40 or kept["steps"] % 4 == 0
    assert kept["warmup"] == kept["steps"] // 20
    assert [point[0] for point in results["curves"]["validation_bleu"]] == [
        kept["steps"] // 4 * n for n in (1, 2, 3, 4)
    ]
    assert results_of(parts)["length"] == kept
    assert_same_weights(whole.last, parts.last)


def test_word_dropout_is_the_share_of_words_that_occur_once() -> None:
    words = Spelled()
    texts = [source for source, _ in SENTENCES[:6]]
    occurring = [word for text in texts for word in text.split("\t")]
    once = sum(occurring.count(word) == 1 for word in occurring)
    assert words.words.share_once(texts) == pytest.approx(once / len(occurring))
    assert WordOptions().word_dropout is None, "open, so that the training text decides"
    assert Labels().share_once([]) == 0
    assert Tagging.__dataclass_fields__["words"].default.word_dropout is None


def test_the_word_dropout_of_a_tagger_is_kept_with_it(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "task: Tagging\n"
        "data:\n"
        "  corpus: {class_path: Fields, init_args: {train: 40, validation: 6, test: 6}}\n"
        "  tokenizer: Spelled\n"
        '  target_tokenizer: {class_path: Labels, init_args: {separator: "\\t"}}\n'
        "model: {embedding_size: 8, hidden_size: 8}\n"
        "trainer: {max_steps: 2, accelerator: cpu}\n"
    )
    run = RunDirectory(tmp_path / "run")
    train.main(["--config", str(file), "--run", str(run.path)])
    task = checkpoint.load(run.best)
    assert isinstance(task, Tagging)
    assert 0 < (task.words.word_dropout or 0) < 1
