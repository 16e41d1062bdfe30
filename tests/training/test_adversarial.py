"""Adversarial training: the loss is the paper's, by hand; it goes with every way to read; other tasks are refused."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seq2seq import init, train
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Labels, Words
from seq2seq.errors import InputError
from seq2seq.experiments import one_run
from seq2seq.models.tagger import Crf
from seq2seq.tasks.classification import Classification
from seq2seq.training import adversarial, training_loss
from seq2seq.training.learner import Learner
from seq2seq.training.options import OptimizerOptions
from tests.support import SENTENCES
from tests.training.made import CLASSES, Made, classifying, generating, gradients, made, several, tagging, translating

NUMBERS = [("1 2\t3 4", "up"), ("4 1\t2 2\t0 1", "down"), ("5 5", "up")]


def numbers() -> Made:
    task, batch = made(Classification, NUMBERS, Vectors(), Labels())
    return task, batch._replace(source=batch.source.double())


MAKERS = [
    classifying, several, tagging, partial(tagging, tagger=Crf()),
    partial(made, Classification, CLASSES, Spelled(Words()), Labels(), label_smoothing=0.1),
    numbers,
]  # fmt: skip


@pytest.mark.parametrize("maker", MAKERS)
def test_the_loss_is_that_of_the_paper(maker: Any) -> None:
    """Miyato et al. 2017, eq. 5 and 6: a source at a time, by a change that is given to the vectors from outside."""
    task, batch = maker()
    found = adversarial.loss(task, batch, 0.3)
    wanted = torch.zeros((), dtype=torch.double)
    for row in range(len(batch.rows)):
        alone, read = batch.part(slice(row, row + 1)), task.reader.embedding.read
        change = torch.zeros((), dtype=torch.double)
        vectors: list[Tensor] = []

        def moved(*given: Any) -> tuple[Tensor, Tensor]:
            inner, counts = read(*given)  # noqa: B023
            vectors.append(inner + change)  # noqa: B023
            return vectors[-1], counts  # noqa: B023

        task.reader.embedding.read = moved
        usual = task.loss(alone)
        (slope,) = torch.autograd.grad(usual, vectors[0], retain_graph=True)
        change = 0.3 * slope / slope.square().sum().sqrt()
        wanted = wanted + (usual + task.loss(alone)) / 2
        del task.reader.embedding.read
    torch.testing.assert_close(found, wanted)
    for one, by_hand in zip(gradients(found, task), gradients(wanted, task), strict=True):
        torch.testing.assert_close(one, by_hand)


@pytest.mark.parametrize("maker", MAKERS)
def test_a_short_way_harms(maker: Any) -> None:
    task, batch = maker()
    usual = task.loss(batch)
    assert adversarial.loss(task, batch, 0.01) > usual
    torch.testing.assert_close(adversarial.loss(task, batch, 1e-9), usual)
    torch.testing.assert_close(task.loss(batch), usual, msg="nothing is left in the encoder")


def test_frozen_vectors_are_moved_too() -> None:
    task, batch = classifying()
    task.reader.embedding.weight.requires_grad_(False)
    adversarial.loss(task, batch, 0.1).backward()
    assert task.reader.embedding.weight.grad is None
    assert task.output.weight.grad is not None


def test_what_it_does_not_go_with_is_refused() -> None:
    for maker in (generating, translating):
        with pytest.raises(InputError, match=r"optimizer\.adversarial .* Classification and Tagging"):
            training_loss.check(maker()[0], OptimizerOptions(adversarial=0.1), None)
    with pytest.raises(InputError, match=r"optimizer\.r_drop and optimizer\.adversarial both"):
        training_loss.check(classifying()[0], OptimizerOptions(adversarial=0.1, r_drop=1.0), None)
    for maker in MAKERS:
        training_loss.check(maker()[0], OptimizerOptions(adversarial=0.1), None)


def test_training_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.tsv").write_text("".join(f"{'ab'[row % 2]} {row}\t{'xy'[row % 2]}\n" for row in range(100)))
    found: list[Learner] = []
    monkeypatch.setattr(one_run, "fit_and_test", lambda job, learner, *_: found.append(learner))
    init.main([str(tmp_path / "rows.tsv"), "--output", str(tmp_path / "config.yaml")])
    own = ["--optimizer.adversarial", "0.5", "--trainer.accelerator", "cpu"]
    train.main(["--config", str(tmp_path / "config.yaml"), "--run", str(tmp_path / "run"), *own])
    learner = found[0].train()
    assert learner.plan is not None
    steps = learner.data.training_steps(learner.splits["train"], learner.task.tokenizers, learner.plan, lambda: 0)
    batch = next(iter(steps)).batches[0]._replace(seed=3)
    assert learner.loss(batch).equal(adversarial.loss(learner.task, batch, 0.5))
    assert not learner.loss(batch).equal(learner.task.loss(batch))


def test_sentences_of_a_tagger_are_moved_as_a_whole() -> None:
    """The change of a source has the given length, whatever its number of words."""
    task, batch = tagging()
    before: list[Tensor] = []
    with task.reader.through(lambda vectors: before.append(vectors) or vectors):  # type: ignore[func-returns-value]
        task.loss(batch)
    seen: list[Tensor] = []
    read = task.reader.encoding
    task.reader.encoding = lambda vectors, *more: (seen.append(vectors), read(vectors, *more))[1]
    adversarial.loss(task, batch, 0.7)
    lengths = (seen[1] - before[0]).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((len(SENTENCES),), 0.7, dtype=torch.double))
