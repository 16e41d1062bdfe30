"""The commands on the pretended device: train, evaluate, predict; what they say is what the CPU says.

Everything of a training runs: the steps, validation with all callbacks, checkpoints, the test and the examination
afterwards.
"""

import atexit
import csv
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch

from seq2seq import evaluate, predict, train
from seq2seq.analysis import gradient_flow
from seq2seq.cli import command
from seq2seq.errors import InputError, Interrupted
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training.learner import Learner
from tests.cuda.cases import mostly_slow, slow
from tests.cuda.counts import counting, during
from tests.cuda.networks import STEPS, arguments
from tests.support import train_until

pytestmark = pytest.mark.cuda_rules

FED = ("--model.decoder.input_feeding", "true")
"""Makes the decoder of a translation take one step after the other."""


@pytest.fixture
def settings() -> Iterator[None]:
    """Lightning leaves them on."""
    before = dict(os.environ)
    yield
    torch.use_deterministic_algorithms(False)
    os.environ.clear()
    os.environ.update(before)


@cache
def folder() -> Path:
    """Where runs of this process are."""
    path = Path(mkdtemp(prefix="pretended-cuda-"))
    atexit.register(shutil.rmtree, path, True)
    return path


@cache
def text_folder() -> Path:
    """A running text."""
    path = folder() / "text"
    path.mkdir()
    for first, split in enumerate(("train", "validation", "test"), 1):
        words = " ".join(str(number) for number in range(1000 * first, 1000 * first + 300))
        (path / f"{split}.txt").write_text(words[:1500])
    return path


@cache
def trained(device: str, name: str, *options: str) -> RunDirectory:
    """A run of some steps."""
    if name == "generation_text":
        options = ("--data.path", str(text_folder()), "--data.lanes", "3", "--data.segment", "20", *options)
    run = folder() / f"{device}-{len(list(folder().iterdir()))}"
    train.main([*arguments(name, *options, *STEPS), "--run", str(run), "--trainer.accelerator", device])
    return RunDirectory(run)


def curves(run: RunDirectory) -> dict[str, list[float]]:
    """The training curves but those of time."""
    rows = list(csv.DictReader(io.StringIO(run.metrics.read_text())))
    names = [name for name in rows[0] if name not in ("seconds", "tokens_per_second")]
    return {name: [float(row[name]) for row in rows if row[name]] for name in names}


def scores(run: RunDirectory) -> dict[str, float]:
    """Those of the test."""
    metrics = json.loads(run.results.read_text())["splits"]["test"]["metrics"]
    return {name: one["value"] for name, one in metrics.items()}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any], tolerance: float) -> None:
    """The same numbers under the same names."""
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        pairs = zip(values, theirs[name], strict=True) if isinstance(values, list) else [(values, theirs[name])]
        for mine, other in pairs:
            assert math.isclose(mine, other, rel_tol=tolerance, abs_tol=tolerance), name


def assert_trains_alike(name: str, *options: str, tolerance: float = 1e-4) -> None:
    """Curves, scores and predictions of both devices."""
    theirs, ours = trained("cuda", name, *options), trained("cpu", name, *options)
    assert_same(curves(ours), curves(theirs), tolerance)
    assert_same(scores(ours), scores(theirs), tolerance)


TRAININGS = [
    ("translation_cldr", ()),
    ("translation_cldr", FED),
    ("tagging_cldr", ()),
]
MORE = [
    ("generation_cldr", ()),
    ("summarization_cldr", ()),
    ("classification_cldr", ()),
    ("generation_text", ()),
    ("forecasting_sunspots", ()),
    ("tagging_cldr", ("--model.tagger", "Crf")),
    ("tagging_cldr", ("--model.tagger", "AutoregressiveTagger")),
    ("tagging_cldr", ("--model.words.letters_by", "CNN")),
    ("generation_melodies", ()),
    ("translation_cldr", (*FED, "--optimizer.ema_decay", "0.9", "--data.device_tokens", "300")),
    ("translation_cldr", (*FED, "--optimizer.average", "2", "--trainer.val_check_interval", "1")),
    ("translation_cldr", (*FED, "--data.device_tokens", "auto", "--data.batch_tokens", "400")),
    ("translation_cldr", ("--model.cell", "MinGRU")),
    ("translation_cldr", ("--model.cell", "LayerNormLSTM")),
    ("translation_cldr", ("--model.cell", "RNN")),
    ("translation_cldr", ("--model.cell", "LSTM", "--model.bridge", "Linear")),
    ("translation_cldr", ("--model.attention", "null")),
    *(("classification_cldr", ("--optimizer.algorithm", one)) for one in ("Adam", "SGD", "Adafactor", "Adagrad", "Adadelta")),
]  # fmt: skip


def names(case: Any) -> str:
    """For the parameters of a test."""
    return "+".join(option.removeprefix("--") for option in case) if isinstance(case, tuple) else str(case)


@pytest.mark.parametrize(("name", "options"), TRAININGS, ids=names)
def test_a_training_is_that_of_the_cpu(name: str, options: tuple[str, ...]) -> None:
    assert_trains_alike(name, *options)


@slow
@pytest.mark.parametrize(("name", "options"), MORE, ids=names)
def test_another_training_is_that_of_the_cpu(name: str, options: tuple[str, ...]) -> None:
    assert_trains_alike(name, *options)


BF16 = ("--trainer.precision", "bf16-mixed")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tagging_cldr", ()),
        pytest.param("translation_cldr", FED, marks=slow),
        pytest.param("tagging_cldr", ("--model.words.letters_by", "CNN"), marks=slow),
        pytest.param("tagging_cldr", ("--model.tagger", "Crf"), marks=slow),
        pytest.param("classification_cldr", (), marks=slow),
        pytest.param("generation_cldr", (), marks=slow),
        pytest.param("generation_text", (), marks=slow),
        pytest.param("classification_cldr", ("--data.tokenizer", "Spelled"), marks=slow),
        pytest.param("forecasting_sunspots", (), marks=slow),
    ],
    ids=names,
)
def test_a_training_in_bf16(name: str, options: tuple[str, ...]) -> None:
    """The losses are those of 32 bits, nearly."""
    half, whole = (curves(trained("cuda", name, *options, *more))["train_loss"] for more in (BF16, ()))
    assert all(math.isclose(one, other, rel_tol=0.02) for one, other in zip(half, whole, strict=True))


@slow
def test_a_training_is_resumed_as_if_it_had_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, run = trained("cuda", "generation_cldr"), RunDirectory(folder() / "resumed")
    given = [*arguments("generation_cldr", *STEPS), "--run", str(run.path), "--trainer.accelerator", "cuda"]
    train_until(2, given, monkeypatch)
    train.main([*given, "--resume", "true"])
    ours, theirs = (torch.load(one.last, weights_only=True)["state_dict"] for one in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@slow
@pytest.mark.parametrize("sequences", ["false", "true"])
def test_distillation(sequences: str) -> None:
    teacher = trained("cpu", "translation_cldr", *FED)
    options = ("--distillation.teacher", str(teacher.path), "--distillation.sequences", sequences)
    assert_trains_alike("translation_cldr", *FED, *options)


def lines(text: str, stdout: Any, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    """What the predict command answers."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    with open(reading) as source:
        monkeypatch.setattr(sys, "stdin", source)
        stdout.readouterr()
        predict.main(options)
    answer: bytes = stdout.readouterr().out
    return answer.decode()


PREDICTIONS = [
    ("translation_cldr", "Guyana\n\nMonday and Chile\n", ("--n_best", "2", "--scores", "true")),
    ("tagging_cldr", "Monday\tand\n", ("--token_scores", "true")),
    ("classification_cldr", "Monday\n", ("--token_scores", "true")),
    ("generation_cldr", "\n", ("--decoding.prefix", "1")),
    ("forecasting_sunspots", "1\t2\t3\t4\n", ("--quantiles", "true")),
]


@pytest.mark.parametrize(
    ("name", "text", "options"),
    mostly_slow(PREDICTIONS, PREDICTIONS[1:2]),
    ids=names,
)
def test_predictions_are_those_of_the_cpu(
    name: str, text: str, options: tuple[str, ...], capsysbinary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("cpu", name, *(FED if name == "translation_cldr" else ()))
    answers = []
    for device in ("cpu", "cuda"):
        answers.append(lines(text, capsysbinary, monkeypatch, str(run.path), "--device", device, *options))
    assert answers[0] == answers[1] != ""


@pytest.fixture
def stream() -> RunDirectory:
    """A tagger that reads forwards."""
    return trained("cpu", "tagging_cldr", "--model.encoder.bidirectional", "false")


@pytest.mark.parametrize("devices", [("cuda", "cuda"), ("cpu", "cuda"), ("cuda", "cpu")],
                         ids=names)  # fmt: skip
def test_a_stream_goes_on_from_its_state_on_any_device(
    devices: tuple[str, str], stream: RunDirectory, tmp_path: Path, capsysbinary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, answers = str(tmp_path / "state"), []
    for text, device in zip(("Monday\nand\n", "Chile\n"), devices, strict=True):
        options = (str(stream.path), "--stream", "true", "--state", state, "--device", device)
        answers.append(lines(text, capsysbinary, monkeypatch, *options))
    whole = lines(
        "Monday\nand\nChile\n", capsysbinary, monkeypatch, str(stream.path), "--stream", "true", "--device", "cpu"
    )
    assert "".join(answers) == whole


@slow
@pytest.mark.parametrize("name", ["tagging_cldr", "translation_cldr"])
def test_an_evaluation_is_that_of_the_cpu(name: str, tmp_path: Path) -> None:
    run = trained("cpu", name, *(FED if name == "translation_cldr" else ()))
    found = []
    for device in ("cpu", "cuda"):
        output = RunDirectory(tmp_path / device)
        evaluate.main([str(run.path), "--device", device, "--output", str(output.path)])
        found.append(scores(output))
    assert_same(*found, 1e-4)


def gradients(monkeypatch: pytest.MonkeyPatch, *options: str, tokens: int) -> dict[str, torch.Tensor]:
    """Those of the recurrent weights in the first step, whose loss is divided as that of so many times more tokens."""
    step, found = Learner.training_step, {}

    def larger(self: Learner, batch: Any, index: int) -> None:
        pieces = [piece._replace(step_tokens=tokens * piece.step_tokens) for piece in batch.batches]
        step(self, batch._replace(batches=pieces), index)

    def clipped(parameters: Any, *rest: Any) -> None:
        found.update((number, one.grad.cpu()) for number, one in enumerate(parameters) if one.dim() > 1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Learner, "training_step", larger)
        patch.setattr(torch.nn.utils, "clip_grad_norm_", clipped)
        given = arguments("generation_cldr", *STEPS, *options, "--trainer.accelerator", "cuda")
        train.main([*given, "--run", str(folder() / "gradients"), "--overwrite", "true"])
    return found


def test_gradients_of_large_steps_survive_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gradients(monkeypatch, tokens=256)
    half = gradients(monkeypatch, *BF16, tokens=256)
    errors = {name: float((half[name] - whole[name]).norm() / whole[name].norm()) for name in whole}
    assert max(errors.values()) < 0.02


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


@pytest.mark.parametrize("number", mostly_slow(range(4), [1]))
def test_a_step_that_does_not_fit_is_halved(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = arguments("classification_cldr", *STEPS, "--trainer.accelerator", "cuda")
    kind = command.task_class(given)
    loss = kind.loss

    def tight(self: Any, batch: Any) -> torch.Tensor:
        if len(batch.rows) > 16:
            raise OUT_OF_MEMORY[number]
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "loss", tight)
        run = RunDirectory(folder() / f"tight-{number}")
        train.main([*given, "--run", str(run.path)])
    assert_same(curves(run), curves(trained("cpu", "classification_cldr")), 1e-4)


@slow
@pytest.mark.parametrize("rounded", [True, False])
def test_cudnn_and_products_have_the_same_precision_in_training(rounded: bool) -> None:
    with during(Learner, "training_step") as training, during(Learner, "test_step") as test:
        run = trained("cuda", "classification_cldr", "--seed", "2", "--trainer.tf32", str(rounded).lower())
    assert {*training.tf32} == {("cudnn", rounded), ("matmul", rounded)}
    assert {*test.tf32} == {("cudnn", False), ("matmul", False)}
    said = json.loads(run.results.read_text())["environment"]["arithmetic"]
    assert ("TF32" in said) == rounded


def test_an_evaluation_is_in_strict_32_bits() -> None:
    run = trained("cpu", "classification_cldr")
    with counting() as counts:
        evaluate.main([str(run.path), "--device", "cuda"])
    assert not any(rounded for _, rounded in counts.tf32)


@slow
def test_a_diagnosis_that_fails_does_not_end_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def failing_diagnosis(*arguments: Any) -> None:
        asked.append(arguments)
        raise RuntimeError("a diagnosis fails")

    with monkeypatch.context() as patch:
        patch.setattr(gradient_flow, "memory_over_time", failing_diagnosis)
        run = trained("cuda", "translation_cldr", *FED, "--seed", "5")
    assert asked
    assert scores(run)


@slow
def test_recurrent_layers_have_a_workspace_that_makes_them_deterministic(settings: None) -> None:
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    trained("cuda", "generation_cldr", "--seed", "6")
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") in (":16:8", ":4096:2")  # as torch.nn.LSTM's page says


def test_bf16_is_refused_on_a_card_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
    with pytest.raises(InputError, match=r"trainer\.precision"):
        trained("cuda", "generation_cldr", *BF16, "--seed", "7")


@slow
def test_a_run_is_examined_on_the_device() -> None:
    with counting() as evaluation:
        evaluate.main([str(trained("cpu", "classification_cldr").path), "--device", "cuda"])
    with counting() as training:
        trained("cuda", "classification_cldr", "--seed", "8")
    wanted, found = (
        {line.split(":")[0] for _, line in one.launches if line.startswith("analysis/")}
        for one in (evaluation, training)
    )
    assert wanted
    assert wanted <= found


COVERAGE = ("--model.attention", "Additive", "--model.attention.coverage", "true", "--model.coverage_loss", "1")
DETERMINISTIC = [
    ("translation_cldr", FED),
    ("tagging_cldr", ()),
    ("classification_cldr", ()),
    ("generation_cldr", ()),
    ("forecasting_sunspots", ()),
    ("translation_cldr", (*FED, "--model.output", "entmax15")),
    ("translation_cldr", (*FED, "--model.attention.normalizer", "sparsemax")),
    ("translation_cldr", COVERAGE),
]


@slow
@pytest.mark.parametrize(("name", "options"), DETERMINISTIC, ids=names)
def test_deterministic_trainings_end(name: str, options: tuple[str, ...], settings: None) -> None:
    """Or are refused before they begin, with the setting's name."""
    assert scores(trained("cuda", name, *options, "--trainer.deterministic", "true"))


@slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_step_with_a_loss_that_is_not_finite_is_skipped_and_replayed(
    precision: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(folder() / f"skipping-{precision}")
    given = arguments("classification_cldr", *STEPS, "--trainer.accelerator", "cuda", "--trainer.precision", precision)
    kind = command.task_class(given)
    loss = kind.loss
    monkeypatch.setattr(kind, "loss", lambda self, batch: loss(self, batch) * (math.nan if batch.step == 1 else 1))
    train.main([*given, "--run", str(run.path)])
    (file,) = run.dumps.glob("*.json")
    monkeypatch.undo()
    train.main(["--config", str(run.config), "--replay", str(file), "--trainer.accelerator", "cuda"])
    assert "nan" in capsys.readouterr().out


def test_what_leaves_a_card_idle_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments("classification_cldr", *STEPS, "--trainer.accelerator", "cuda", "--run", str(folder() / "idle"))
    for tokens, named in (("2000", 1), ("30000", 0)):
        train.main([*given, "--data.batch_tokens", tokens, "--overwrite", "true"])
        lines = capsys.readouterr().err.splitlines()
        assert sum("data.batch_tokens 2,000" in line and "30000" in line for line in lines) == named
