"""Distillation: the loss is that of the papers, the vocabularies are the teacher's, a student resumes to the bit."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from seq2seq import evaluate, train
from seq2seq.data.batching.batch import Batch
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import PAD, Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Labels
from seq2seq.errors import InputError
from seq2seq.experiments import one_run
from seq2seq.inference import predict_texts
from seq2seq.inference.ensemble import together
from seq2seq.models.attention import Additive
from seq2seq.models.cells import picked, real_positions
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.scheduled_sampling import ScheduledSampling
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from seq2seq.training import device_budget, distillation
from seq2seq.training.distillation import Teacher, divergence
from seq2seq.training.learner import Learner, step_seed
from seq2seq.training.options import DistillationOptions
from tests.support import (
    PAIRS,
    REVERSAL,
    SENTENCES,
    assert_same_weights,
    batch_of,
    learnt,
    module,
    results_of,
    small,
    split_of,
    train_until,
)

CONFIG = REVERSAL

SMALL = ["--model.hidden_size", "10"]


def task_of(tokenizers: Tokenizers, seed: int, **more: Any) -> Translation:
    torch.manual_seed(seed)
    task = Translation(tokenizers, **{"embedding_size": 6, "hidden_size": 8, "dropout": 0.0, **more})
    with torch.no_grad():  # far from the start, so that distributions are far from uniform
        for parameter in task.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return task


def kept(task: Task, data: DataModule, path: Path) -> Path:
    """A checkpoint of the task."""
    content = {
        "seq2seq": checkpoint.packed(task, data),
        "state_dict": {f"task.{k}": v for k, v in task.state_dict().items()},
    }
    checkpoint.write(content, path)
    return path


def data_of(**more: Any) -> DataModule:
    return DataModule(tokenizer=SentencePiece(100, "bpe"), **more)


def teacher_of(task: Task, folder: Path, *options: Any) -> Teacher:
    path = kept(task, data_of(), folder / "teacher.ckpt")
    return Teacher(DistillationOptions(str(path), *options), data_of())


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("chunk", [1, 21, 1 << 20])
def test_the_distance_is_that_of_its_formula(temperature: float, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "CHUNK", chunk)
    theirs = torch.randn(11, 7, dtype=torch.float64).mul(3)
    ours = torch.randn(11, 7, dtype=torch.float64, requires_grad=True)
    found = divergence([theirs.log_softmax(-1)], [ours.log_softmax(-1)], temperature)
    p, q = (Categorical(logits=logits / temperature) for logits in (theirs, ours))
    torch.testing.assert_close(found, kl_divergence(p, q).sum())
    found.backward()
    torch.testing.assert_close(ours.grad, (q.probs - p.probs).detach() / temperature)  # Hinton et al. 2015, eq. 2


def gradients(loss: Tensor, task: Task) -> dict[str, Tensor]:
    found = torch.autograd.grad(loss, list(task.parameters()), allow_unused=True)
    return {name: one for (name, _), one in zip(task.named_parameters(), found, strict=True) if one is not None}


@pytest.mark.parametrize(("weight", "temperature"), [(0.3, 2.0), (0.5, 1.0), (1.0, 3.0)])
def test_the_loss_is_that_of_the_papers(
    tokenizers: Tokenizers, tmp_path: Path, weight: float, temperature: float
) -> None:
    teacher = teacher_of(task_of(tokenizers, 1, hidden_size=12), tmp_path, weight, temperature)
    student, batch = task_of(tokenizers, 2).double(), batch_of(PAIRS, tokenizers)
    teacher.task.double()
    found = teacher.loss(student, batch)
    theirs, ours, by_hand = teacher.task(batch), student(batch), torch.zeros((), dtype=torch.float64)
    for row, target in enumerate(batch.target[:, 1:].tolist()):
        for place, token in enumerate(target):
            if token == PAD:
                continue
            p, q = (Categorical(logits=one[row, place] / temperature) for one in (theirs, ours))
            by_hand = by_hand - (1 - weight) * ours[row, place, token]
            by_hand = by_hand + weight * temperature**2 * kl_divergence(p, q)
    torch.testing.assert_close(found, by_hand)
    one, other = (gradients(loss, student) for loss in (found, by_hand))
    assert one.keys() == other.keys() == dict(student.named_parameters()).keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name])


def test_several_teach_by_the_mean_of_their_probabilities(tokenizers: Tokenizers, tmp_path: Path) -> None:
    tasks = [task_of(tokenizers, seed, hidden_size=12) for seed in (1, 3)]
    paths = [str(kept(task, data_of(), tmp_path / f"{number}.ckpt")) for number, task in enumerate(tasks)]
    teacher, batch = Teacher(DistillationOptions(paths, 1.0), data_of()), batch_of(PAIRS, tokenizers)
    mean = torch.stack([task(batch).exp() for task in tasks]).mean(0)
    real = real_positions(batch.target_lengths - 1, batch.target[:, 1:])
    torch.testing.assert_close(teacher.task.distributions(batch)[0].exp(), picked(mean, real))
    student = task_of(tokenizers, 2)
    teacher.check(student)
    wanted = divergence([picked(mean.log(), real)], [picked(student(batch), real)])
    torch.testing.assert_close(teacher.loss(student, batch), wanted)
    swapped = Teacher(DistillationOptions(paths[:1], 1.0), data_of())
    assert len({teacher.content, swapped.content}) == 2
    mixed = Texts(["a"], ["b"], corpora=[1, 0])
    both = Teacher(DistillationOptions(paths, 0.0, sequences="beside"), data_of())
    with pytest.raises(InputError, match="Mixture"):  # before anything is predicted
        both.texts(mixed, data_of(), torch.device("cpu"))


def test_without_weight_the_loss_is_the_ordinary_one(
    tokenizers: Tokenizers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = teacher_of(task_of(tokenizers, 1), tmp_path, 0.0)
    monkeypatch.setattr(teacher.task, "distributions", None)  # it is not asked
    student, batch = task_of(tokenizers, 2, dropout=0.3, label_smoothing=0.1), batch_of(PAIRS, tokenizers)
    losses = teacher.loss(student.train(), batch), student.loss(batch)
    assert losses[0].equal(losses[1])
    one, other = (gradients(loss, student) for loss in losses)
    assert all(one[name].equal(other[name]) for name in other)


def test_a_student_that_is_its_teacher_has_nothing_to_learn(tokenizers: Tokenizers, tmp_path: Path) -> None:
    student, batch = task_of(tokenizers, 1), batch_of(PAIRS, tokenizers)
    teacher = teacher_of(student, tmp_path, 1.0, 2.0)
    loss = teacher.loss(student.train(), batch)
    torch.testing.assert_close(loss, torch.zeros(()), atol=1e-3, rtol=0)
    assert all(one.abs().max() < 1e-3 for one in gradients(loss, student).values())
    other = teacher.loss(task_of(tokenizers, 2), batch)
    assert other > 10


@pytest.mark.parametrize("kind", [Tagging, Classification])
def test_labels_are_taught(kind: type[Tagging] | type[Classification], tmp_path: Path) -> None:
    """Two taggers or classifiers teach by the mean of their probabilities; what agrees with them has learnt it all."""
    rows = SENTENCES if kind is Tagging else [(text, label.split("\t")[0]) for text, label in SENTENCES]
    tokenizers = learnt(rows, Spelled(), Labels("\t"))
    data = DataModule(tokenizer=Spelled(), target_tokenizer=Labels("\t"))
    paths = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        paths.append(str(kept(small(kind, tokenizers), data, tmp_path / f"{seed}.ckpt")))
    student, batch = small(kind, tokenizers), batch_of(rows, tokenizers, kind.row_format)
    teacher = Teacher(DistillationOptions(paths, 1.0), data)
    teacher.check(student)
    each = [checkpoint.load(path).distributions(batch)[0].exp() for path in paths]
    p, q = torch.stack(each).mean(0), student.distributions(batch)[0].exp()
    torch.testing.assert_close(teacher.loss(student, batch), (p * (p / q).log()).sum())
    alone = Teacher(DistillationOptions(paths[0], 1.0), data)
    torch.testing.assert_close(alone.loss(checkpoint.load(paths[0]), batch), torch.zeros(()), atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="cannot teach"):
        alone.check(task_of(tokenizers, 1))


@pytest.mark.parametrize(
    "more",
    [
        {"label_smoothing": 0.1},
        {"attention": Additive(coverage=True), "coverage_loss": 1.0},
        {"scheduled_sampling": ScheduledSampling("linear", 2.0)},
        {"attention": Additive(), "decoder": DecoderOptions(copy=True)},
    ],
    ids=["smoothing", "coverage", "sampling", "copying"],
)
def test_one_pass_finds_what_two_find(tokenizers: Tokenizers, more: dict[str, Any]) -> None:
    shared = Tokenizers(tokenizers.target, tokenizers.target)
    student = task_of(shared, 2, dropout=0.3, **more).train()
    batch = batch_of([(target, target) for _, target in PAIRS], shared)._replace(seed=5, step=1)
    loss, [log_probs] = student.loss_and_distributions(batch)
    torch.testing.assert_close(loss, student.loss(batch))
    real = real_positions(batch.target_lengths - 1, batch.target[:, 1:])
    torch.testing.assert_close(log_probs, picked(student(batch), real))


def test_a_row_of_padding_weighs_nothing(tokenizers: Tokenizers, tmp_path: Path) -> None:
    teacher, student = teacher_of(task_of(tokenizers, 1), tmp_path), task_of(tokenizers, 2)
    batch = batch_of(PAIRS[:1], tokenizers)
    empty = batch._replace(target=torch.full_like(batch.target, PAD), target_lengths=batch.target_lengths * 0)
    loss = teacher.loss(student, empty)
    assert float(loss.detach()) == 0
    assert all(not one.any() for one in gradients(loss, student).values())


def test_half_precision_changes_little(tokenizers: Tokenizers, tmp_path: Path) -> None:
    teacher, student = teacher_of(task_of(tokenizers, 1), tmp_path), task_of(tokenizers, 2)
    batch = batch_of(PAIRS, tokenizers)
    with torch.autocast("cpu", torch.bfloat16):
        found = teacher.loss(student, batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, teacher.loss(student, batch), rtol=0.05, atol=0)


def test_other_vocabularies_are_refused(tokenizers: Tokenizers, tmp_path: Path) -> None:
    path = kept(task_of(tokenizers, 1), data_of(), tmp_path / "teacher.ckpt")
    options = DistillationOptions(str(path))
    with pytest.raises(InputError, match=r"data\.tokenizer is SentencePiece\(vocabulary_size=90"):
        Teacher(options, DataModule(tokenizer=SentencePiece(90, "bpe")))
    with pytest.raises(InputError, match=r"data\.target_tokenizer is SentencePiece\(vocabulary_size=90"):
        Teacher(options, data_of(target_tokenizer=SentencePiece(90, "bpe")))
    with pytest.raises(InputError, match=r"data\.shared_vocabulary false"):
        Teacher(options, data_of(shared_vocabulary=True))
    found = Teacher(options, data_of()).tokenizers
    assert [one.state for one in found] == [one.state for one in tokenizers]


def test_settings_that_make_no_sense_are_refused(tokenizers: Tokenizers, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"distillation\.weight is 1\.5"):
        DistillationOptions("x", 1.5)
    with pytest.raises(InputError, match=r"distillation\.temperature is 0"):
        DistillationOptions("x", 0.5, 0)
    with pytest.raises(InputError, match=r"distillation\.sequences .*distillation\.teacher"):
        DistillationOptions(sequences=True)
    with pytest.raises(InputError, match="teacher is an empty list"):
        DistillationOptions([])
    path = str(kept(task_of(tokenizers, 1), data_of(), tmp_path / "teacher.ckpt"))
    with pytest.raises(InputError, match=r"distillation\.sequences .*data\.window"):
        Teacher(DistillationOptions(path, sequences=True), data_of(window=10, max_length=64))
    with pytest.raises(InputError, match=r"model\.output softmax .* sparsemax"):
        Teacher(DistillationOptions(path), data_of()).check(task_of(tokenizers, 2, output="sparsemax"))
    with pytest.raises(InputError, match=r"the student: a Task\b"):
        Teacher(DistillationOptions(path), data_of()).check(Task(tokenizers))
    Teacher(DistillationOptions(path, 0.0), data_of()).check(task_of(tokenizers, 2, output="sparsemax"))
    sparse = task_of(tokenizers, 1, output="sparsemax")
    teacher = Teacher(DistillationOptions(str(kept(sparse, data_of(), tmp_path / "sparse.ckpt"))), data_of())
    student = task_of(tokenizers, 2)
    teacher.check(student)  # a teacher may be sure
    assert teacher.loss(student, batch_of(PAIRS, tokenizers)).isfinite()


def test_a_device_is_filled_by_what_training_computes(tokenizers: Tokenizers) -> None:
    task, split, asked = task_of(tokenizers, 2), split_of(PAIRS, tokenizers), []

    def loss(batch: Batch) -> Tensor:
        asked.append(batch)
        return task.loss(batch)

    device_budget.device_tokens(task, split, np.arange(len(split)), 400, 2, None, 1, loss)
    assert asked


@pytest.fixture(scope="module")
def taught(config: Path) -> Path:
    """The teacher's run."""
    train.main(["--config", str(config), "--run", str(config.parent / "teacher")])
    return config.parent / "teacher"


@pytest.fixture(scope="module")
def arguments(config: Path, taught: Path) -> list[str]:
    """Of a smaller student that learns from probabilities and lines."""
    more = ["--distillation.temperature", "2", "--distillation.sequences", "true"]
    return ["--config", str(config), *SMALL, "--distillation.teacher", str(taught), *more]


@pytest.fixture(scope="module")
def student(config: Path, arguments: list[str]) -> RunDirectory:
    """Its run."""
    train.main([*arguments, "--run", str(config.parent / "student")])
    return RunDirectory(config.parent / "student")


def learner_of(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Learner:
    """What would be trained."""
    found: list[Learner] = []
    with monkeypatch.context() as patch:
        patch.setattr(one_run, "fit_and_test", lambda job, learner, *_: found.append(learner))
        train.main(arguments)
    return found[0]


def test_a_student_is_not_its_teacher(student: RunDirectory, taught: Path, tmp_path: Path) -> None:
    for path in (student.best, student.last):
        content = checkpoint.read(path)
        names = {f"task.{name}" for name in checkpoint.restore(content, path).state_dict()}
        assert content["state_dict"].keys() == names
        assert (
            sum(one.numel() for one in content["state_dict"].values())
            == results_of(student)["model"]["parameters"]["total"]
        )
    teacher = checkpoint.load(taught)
    assert results_of(student)["model"]["parameters"]["total"] < teacher.parameter_counts()["total"]
    evaluate.main([str(student.best), "--output", str(tmp_path / "again")])
    assert results_of(RunDirectory(tmp_path / "again"))["splits"] == results_of(student)["splits"]
    told = results_of(student)["teacher"]
    assert told == {
        "checkpoint": str(taught / "checkpoints" / "best.ckpt"),
        "sha256": checkpoint.stored(content, "teacher"),
    }


def test_training_asks_the_teacher(
    student: RunDirectory, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first loss of the run is what the teacher says of its first step; without weight it is another."""
    first = []
    for name, more in (("both", []), ("lines", ["--distillation.weight", "0"])):
        learner = learner_of([*arguments, "--run", str(tmp_path / name), *more], monkeypatch)
        teacher, plan = learner.teacher, learner.plan
        assert teacher is not None
        assert plan is not None
        steps = learner.data.training_steps(learner.splits["train"], learner.task.tokenizers, plan, lambda: 0)
        batch = next(iter(steps)).batches[0]._replace(seed=step_seed(1, 0))
        loss = learner.train().loss(batch)
        torch.testing.assert_close(loss, teacher.loss(learner.task, batch))
        first.append(float(loss.detach()) / batch.step_tokens)
    assert results_of(student)["curves"]["train_loss"][0][2] == pytest.approx(first[0], rel=1e-6)
    assert abs(first[0] - first[1]) > 0.01


def test_lines_stand_beside_the_rows(
    taught: Path, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [taught, taught / "checkpoints" / "last.ckpt"]
    more = [
        "--distillation.teacher",
        f"[{paths[0]}, {paths[1]}]",
        "--distillation.sequences",
        "beside",
        "--distillation.weight",
        "0",
    ]
    learner = learner_of([*arguments, *more, "--run", str(tmp_path / "run")], monkeypatch)
    split, raw = learner.splits["train"], DataModule.texts(learner.data, "train")
    lines = predict_texts.translate(together([checkpoint.load(path) for path in paths], ["", ""]), list(raw.source))
    assert list(split.texts.source) == [*raw.source, *raw.source]
    assert list(split.texts.target) == [*raw.target, *lines]
    assert len(split.texts.locations) == 2 * len(raw.locations), "they were never in a file"
    assert len(split) == 2 * len(raw.source)


def test_the_lines_of_a_teacher_are_decoded_once(
    taught: Path, arguments: list[str], student: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, calls, batches = ["--data.cache", str(tmp_path / "cache")], [], predict_texts.batches
    monkeypatch.setattr(predict_texts, "batches", lambda *given: calls.append(1) or batches(*given))
    arguments = [*arguments, "--run", str(tmp_path / "run"), *cache]
    learner = learner_of(arguments, monkeypatch)
    assert calls == [1]
    split, raw = learner.splits["train"], DataModule.texts(learner.data, "train")
    lines = predict_texts.translate(checkpoint.load(taught), list(raw.source))
    assert list(split.texts.source) == list(raw.source)
    assert list(split.texts.target) == lines != list(raw.target)
    ids = learner.task.tokenizers.target.encode(lines)
    assert split.target.flat.tolist() == [token for row in ids for token in row]
    other = [*arguments, "--distillation.teacher", str(taught / "checkpoints" / "last.ckpt")]
    calls.clear()
    learner_of(other, monkeypatch)
    assert calls == [1], "another checkpoint has its own lines"
    calls.clear()
    again = learner_of(arguments, monkeypatch)
    assert list(again.splits["train"].texts.target) == lines
    assert calls == []
    for file in (tmp_path / "cache").rglob("*"):
        if file.is_file():
            file.unlink()
    assert list(learner_of(arguments, monkeypatch).splits["train"].texts.target) == lines


def test_a_teacher_of_lines_alone_leaves_its_place(
    taught: Path, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [*arguments, "--run", str(tmp_path / "run"), "--distillation.weight", "0"]
    teacher, moved = learner_of(alone, monkeypatch).teacher, []
    assert teacher is not None
    assert not teacher.task.training
    assert not any(parameter.requires_grad for parameter in teacher.task.parameters())
    monkeypatch.setattr(teacher.task, "to", moved.append)
    teacher.to(torch.device("meta"))
    assert moved == ["cpu"]


@pytest.mark.parametrize("stop", [7, 11])
def test_a_resumed_student_is_the_uninterrupted_one(
    student: RunDirectory,
    taught: Path,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: int,
) -> None:
    arguments, run = [*arguments, "--run", str(tmp_path / "run")], RunDirectory(tmp_path / "run")
    train_until(stop, arguments, monkeypatch)
    resumed = [*arguments, "--resume", "true"]
    moved = shutil.copytree(taught, tmp_path / "moved")
    for changed, message in (
        (["--distillation.weight", "0.9"], r"differs from .*distillation\.weight 0\.\d+ -> 0\.9"),
        (["--distillation.sequences", "false"], r"differs? from .*distillation\.sequences True -> False"),
        (
            ["--distillation.teacher", str(taught / "checkpoints" / "last.ckpt")],
            r"differs from .*the checksum of distillation\.teacher",
        ),
        (
            ["--distillation.teacher", "null", "--distillation.sequences", "false"],
            r"differs? from .*distillation\.sequences True -> False",
        ),
    ):
        with pytest.raises(InputError, match=message):
            train.main([*resumed, *changed])
    train.main([*resumed, "--distillation.teacher", str(moved)])
    assert_same_weights(run.last, student.last)
    assert_same_weights(run.best, student.best)
    assert results_of(run)["splits"] == results_of(student)["splits"]


def test_a_student_cannot_leave_its_teacher(
    config: Path, taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ["--config", str(config), "--run", str(tmp_path / "run")]
    train_until(7, start, monkeypatch)
    with pytest.raises(InputError, match=r"differs from .*the checksum of distillation\.teacher"):
        train.main([*start, "--resume", "true", "--distillation.teacher", str(taught)])
    with pytest.raises(InputError, match="is in the run directory itself"):
        train.main(
            [
                "--config",
                str(config),
                "--run",
                str(taught),
                "--overwrite",
                "true",
                "--distillation.teacher",
                str(taught),
            ]
        )
    assert (taught / "results.json").is_file()


@pytest.mark.slow
def test_two_processes_learn_from_one_teacher(arguments: list[str], student: RunDirectory, tmp_path: Path) -> None:
    """The same steps as one process, also of averages."""
    averages = ["--optimizer.ema_decay", "0.8", "--optimizer.average", "2"]
    both = [RunDirectory(tmp_path / name) for name in ("one", "two")]
    train.main([*arguments, "--run", str(both[0].path), *averages])
    devices = "--trainer.devices 2 --trainer.strategy ddp --data.device_tokens 90".split()
    done = module("train", *arguments, "--run", str(both[1].path), *averages, *devices)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    losses = [[point[2] for point in results_of(run)["curves"]["train_loss"]] for run in both]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert [point[2] for point in results_of(student)["curves"]["train_loss"]] == losses[0]
    one, two = (checkpoint.read(run.last)["moving_average"] for run in both)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)
    assert results_of(both[0])["average"]["steps"] == results_of(both[1])["average"]["steps"] == [10, 12]
