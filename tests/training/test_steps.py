"""An optimiser step is the same whatever the machine: its rows, its ids, its gradient."""

import contextlib
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from seq2seq.data.batching.split import Split, Step
from seq2seq.data.corpora.builtin.cldr_tasks import Cldr
from seq2seq.data.corpora.corpus import Corpus
from seq2seq.data.corpora.mixture import Mixture
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.tasks.translation import Translation
from seq2seq.training import learner as learning
from seq2seq.training.learner import Learner, step_seed
from seq2seq.training.options import OptimizerOptions
from seq2seq.training.schedules import TrainingLength
from tests.support import ROOT, python, surroundings

BUDGET = 700


@pytest.fixture(scope="module", params=[None, 0.4], ids=["plain", "sampling"])
def prepared(request: pytest.FixtureRequest) -> tuple[DataModule, Tokenizers, Split]:
    """A corpus with its vocabularies, with and without subword sampling."""
    data = DataModule(Cldr(train=120), tokenizer=SentencePiece(150, sampling=request.param), batch_tokens=BUDGET)
    texts = data.texts("train")
    tokenizers = data.train_tokenizers(texts)
    return data, tokenizers, data.encode(texts, tokenizers, "train")


def steps_of(
    prepared: tuple[DataModule, Tokenizers, Split], first: int = 0, rank: int = 0, devices: int = 1,
    device_tokens: int | None = None, workers: int = 0
) -> list[Step]:  # fmt: skip
    """Some steps of one device, over two epochs."""
    data, tokenizers, split = prepared
    data.workers = workers
    position, plan = [first], data.plan(split, 1)
    steps: list[Step] = []
    for _ in range(2):
        steps += data.training_steps(split, tokenizers, plan, lambda: position[0], rank, devices, device_tokens)
        position[0] = first + len(steps)
    return steps


def contents(steps: list[Step]) -> list[list[tuple[int, tuple[int, ...], tuple[int, ...]]]]:
    """Row number, source and target ids of all rows of each step that count, in the order of their numbers."""
    return [
        sorted(
            (int(row), tuple(source[source > 0].tolist()), tuple(target[target > 0].tolist()))
            for batch in step.batches
            for row, source, target in zip(batch.rows, batch.source, batch.target, strict=True)
            if target.any()
        )
        for step in steps
    ]


@pytest.mark.parametrize(
    ("devices", "workers", "device_tokens"), [(1, 2, None), (2, 0, 200), (4, 2, None), (4, 0, 150)]
)
def test_the_rows_and_ids_of_every_step(
    prepared: tuple[DataModule, Tokenizers, Split], devices: int, workers: int, device_tokens: int | None
) -> None:
    alone = steps_of(prepared)
    shares = [steps_of(prepared, 0, rank, devices, device_tokens, workers) for rank in range(devices)]
    together = [Step([b for step in steps for b in step.batches]) for steps in zip(*shares, strict=True)]
    assert contents(together) == contents(alone)
    for one, all_of_them in zip(alone, together, strict=True):
        assert {batch.step_tokens for batch in all_of_them.batches} == {one.batches[0].step_tokens}
        assert sum(int((batch.target[:, 1:] > 0).sum()) for batch in one.batches) == one.batches[0].step_tokens


def test_any_step_is_a_place_to_go_on_from(prepared: tuple[DataModule, Tokenizers, Split]) -> None:
    whole = contents(steps_of(prepared))
    for first in (1, len(whole) // 2 - 1, len(whole) // 2):
        rest = contents(steps_of(prepared, first))
        assert rest[: len(whole) - first] == whole[first:]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_gradient_of_a_step_is_the_sum_of_its_pieces(
    prepared: tuple[DataModule, Tokenizers, Split], kind: torch.dtype
) -> None:
    """With dropout: masks belong to rows, not to batches."""
    task = Translation(prepared[1], embedding_size=16, hidden_size=32, layers=2, dropout=0.3).to(kind)
    whole, sliced = steps_of(prepared)[0], steps_of(prepared, device_tokens=180)[0]
    lengths = {int(length) for batch in whole.batches for length in batch.target_lengths}
    assert len(sliced.batches) > 2
    assert len(lengths) > 1
    gradients = []
    for step in (whole, sliced):
        task.zero_grad()
        for batch in step.batches:
            (task.loss(batch._replace(seed=7)) / batch.step_tokens).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in task.parameters()]))
    difference = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert difference < (1e-6 if kind == torch.float32 else 1e-14)


class Recorder(torch.optim.SGD):
    """An optimiser that keeps the gradients of a step instead of following them."""

    def step(self, closure: Any = None) -> None:
        gradients = [parameter.grad for group in self.param_groups for parameter in group["params"]]
        self.gradient = torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("device_tokens", [None, 180], ids=["whole", "sliced"])
def test_the_gradient_that_the_optimiser_gets(
    prepared: tuple[DataModule, Tokenizers, Split], device_tokens: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the road that training takes: the mean over all target tokens of the step, clipped to its largest norm."""
    data, tokenizers, split = prepared
    task = Translation(tokenizers, embedding_size=16, hidden_size=32, dropout=0.3).double()
    step = steps_of(prepared, device_tokens=device_tokens)[0]
    assert (len(step.batches) > 2) == (device_tokens is not None)
    total = torch.stack([task.loss(batch._replace(seed=step_seed(7, 0))) for batch in step.batches]).sum()
    (total / sum(int((batch.target[:, 1:] > 0).sum()) for batch in step.batches)).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in task.parameters()])
    for clip, scale in ((None, 1.0), (0.5 * float(expected.norm()), 64.0)):  # scaled as for half precision
        monkeypatch.setattr(learning, "gradient_scale", lambda *_, scale=scale: scale)
        learner = Learner(task, data, split, split, OptimizerOptions(), 7, clip)
        optimizer, trainer = (
            Recorder(task.parameters()),
            SimpleNamespace(world_size=1, global_step=0, max_steps=1, precision="64-true"),
        )
        learner.length = TrainingLength(0, 1, None)
        learner._trainer = cast(Any, trainer)
        monkeypatch.setattr(learner, "optimizers", lambda optimizer=optimizer: optimizer)
        monkeypatch.setattr(learner, "manual_backward", torch.Tensor.backward)
        monkeypatch.setattr(learner, "unsynchronised", contextlib.nullcontext)
        learner.training_step(step, 0)
        found = expected if clip is None else expected * clip / expected.norm()
        torch.testing.assert_close(optimizer.gradient, found, rtol=1e-5, atol=1e-12)
        assert float(learner.gradient_norm) == pytest.approx(float(expected.norm()), rel=1e-9)
        assert float(learner.last_loss) == pytest.approx(float(total.detach()) / step.batches[0].step_tokens, rel=1e-6)


@pytest.mark.slow
def test_the_gradient_on_two_processes(tmp_path: Path) -> None:
    """Processes and micro-batches together, by the road that training takes."""
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "data: {corpus: {class_path: Cldr, init_args: {train: 90, validation: 2, test: 2}}, batch_tokens: 900,\n"
        "  tokenizer: {class_path: SentencePiece, init_args: {vocabulary_size: 120, sampling: 0.3}}}\n"
        "model: {embedding_size: 16, hidden_size: 32, attention: Dot, dropout: 0.2}\n"
        "trainer: {max_steps: 1, accelerator: cpu, gradient_clip_val: null}\n"
    )
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    ways = {"one": [], "two": two, "two_sliced": [*two, "--data.device_tokens", "160"]}
    gradients = {}
    for name, options in ways.items():
        script = [Path(__file__).with_name("first_gradient.py"), tmp_path / f"{name}.pt"]
        own = surroundings(PYTHONPATH=str(ROOT))
        done = python(*script, "--config", config, "--run", tmp_path / name, *options, env=own)
        assert done.returncode == 0, done.stderr[-2000:]
        gradients[name] = torch.load(tmp_path / f"{name}.pt", weights_only=True)
    for one, other in itertools.combinations(gradients.values(), 2):
        assert (one - other).norm() / one.norm() < 1e-6


def test_sampled_rows_keep_to_the_limits() -> None:
    """The plan knows the best segmentations; those drawn may be longer, but never than the two limits."""
    tokenizer = SentencePiece(150, sampling=0.1)
    data = DataModule(Cldr(train=300), tokenizer=tokenizer, batch_tokens=BUDGET, max_length=24)
    texts = data.texts("train")
    tokenizers = data.train_tokenizers(texts)
    split = data.encode(texts, tokenizers, "train")
    steps = steps_of((data, tokenizers, split), device_tokens=200)
    batches = [batch for step in steps for batch in step.batches]
    assert max(batch.source.numel() + batch.target.numel() for batch in batches) <= 200
    assert max(max(batch.source.shape[1], batch.target.shape[1]) for batch in batches) <= 24
    for batch in batches:  # a drawn source is whole
        for row, ids, length in zip(batch.rows.tolist(), batch.source, batch.source_lengths.tolist(), strict=True):
            assert tokenizers.source.decode(ids[: length - 1].tolist()) == texts.source[row]
    sizes = np.array([sum(b.source.numel() + b.target.numel() for b in step.batches) for step in steps])
    assert sizes.mean() < 1.6 * BUDGET


def test_every_epoch_draws_anew() -> None:
    data = DataModule(Cldr(train=40), tokenizer=SentencePiece(150, sampling=0.2), batch_tokens=BUDGET)
    texts = data.texts("train")
    tokenizers = data.train_tokenizers(texts)
    prepared = (data, tokenizers, data.encode(texts, tokenizers, "train"))
    steps = steps_of(prepared)
    drawn = [{row: (source, target) for step in contents(half) for row, source, target in step}
             for half in (steps[: len(steps) // 2], steps[len(steps) // 2 :])]  # fmt: skip
    differ = sum(drawn[0][row] != drawn[1][row] for row in range(40))
    assert differ > 30


def test_repetitions_of_a_row_are_drawn_anew() -> None:
    """In one step a row of a small corpus may stand twice: with other subwords and another dropout mask."""
    corpora: list[Corpus] = [Cldr(train=60), Cldr(source_locale="fr", train=4)]
    data = DataModule(Mixture(corpora, [0.5, 0.5]), tokenizer=SentencePiece(150, sampling=0.2), batch_tokens=3000)
    texts = data.texts("train")
    tokenizers = data.train_tokenizers(texts)
    batches = [batch for step in steps_of((data, tokenizers, data.encode(texts, tokenizers, "train")))
               for batch in step.batches]  # fmt: skip
    twice = [(batch, row) for batch in batches for row in set(batch.rows.tolist()) if (batch.rows == row).sum() > 1]
    assert twice
    for batch, row in twice:
        chosen = batch.rows == row
        assert len(set(batch.row_keys[chosen].tolist())) == int(chosen.sum())
    assert any(not batch.source[batch.rows == row][0].equal(batch.source[batch.rows == row][1]) for batch, row in twice)
