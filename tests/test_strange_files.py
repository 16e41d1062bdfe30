"""Checkpoints, results, predictions and configurations of a stranger end in one line; tests/fuzz.py tries thousands."""

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq import train
from seq2seq.errors import Finished, InputError
from seq2seq.plain_types import misfit
from seq2seq.report.reading import StoredRow, read_results, read_rows
from seq2seq.runs import checkpoint, safe_load
from seq2seq.runs.config_file import load_yaml, read_yaml
from seq2seq.runs.run_directory import RunDirectory
from tests import fuzz, support
from tests.support import REVERSAL, python, surroundings, train_until

# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, Any]]:
    """The arguments of a training that was stopped after seven steps, and what its last.ckpt holds."""
    folder = tmp_path_factory.mktemp("half")
    config = folder / "half.yaml"
    config.write_text(REVERSAL.replace("{learning_rate: 0.02}", "{learning_rate: 0.02, ema_decay: 0.9}"))
    arguments = ["--config", str(config), "--run", str(folder / "run")]
    with pytest.MonkeyPatch.context() as patch:
        train_until(7, arguments, patch)
    return arguments, checkpoint.read(folder / "run" / "checkpoints" / "last.ckpt")


def state(content: dict[str, Any]) -> dict[str, Any]:
    """What the optimiser keeps of the first parameter."""
    found: dict[str, Any] = content["optimizer_states"][0]["state"][0]
    return found


def first(values: dict[str, Any]) -> str:
    return next(iter(values))


def outside(tensor: torch.Tensor) -> torch.Tensor:
    """Of the same shape, but all its numbers are the last one of its memory: a kernel would leave it."""
    return torch.zeros(tensor.numel()).as_strided(tensor.shape, [0] * tensor.dim(), tensor.numel() - 1)


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set what stands at a path; "*" is the first name of a mapping, a function is called with what was there."""

    def change(content: dict[str, Any]) -> None:
        *way, last = path.split("/")
        inside: Any = content
        for name in way:
            inside = inside[first(inside) if name == "*" else int(name) if name.isdigit() else name]
        key = first(inside) if last == "*" else int(last) if last.isdigit() else last
        inside[key] = value(inside[key]) if callable(value) else value

    return change


KEPT = "optimizer_states/0/state/0"
CHANGES: list[tuple[str, Any, str]] = [
    (f"{KEPT}/exp_avg_sq", torch.zeros(3), r"state\.0\.exp_avg_sq .*\(3,\)"),
    (f"{KEPT}/exp_avg", lambda one: one.double(), r"state\.0\.exp_avg is float64"),
    (f"{KEPT}/exp_avg", lambda one: one.to_sparse(), r"layout|dense|claims"),
    (f"{KEPT}/exp_avg", lambda one: one * torch.nan, r"exp_avg .*finite"),
    (f"{KEPT}/exp_avg", None, r"exp_avg is no"),
    (f"{KEPT}/step", torch.tensor(-5.0), r"step is -5"),
    (f"{KEPT}/step", "x", r"step is no"),
    (KEPT, {}, r"state\.0 .*exp_avg"),
    ("optimizer_states/0/state", {99: {}}, "optimizer_states"),
    ("optimizer_states", [], "optimizer_states"),
    ("optimizer_states", None, "optimizer_states"),
    ("optimizer_states/0/param_groups", [{"lr": "x"}], r"param_groups\.lr"),
    ("moving_average", None, "moving_average"),
    ("moving_average/*", torch.zeros(2), "moving_average"),
    ("moving_average/*", lambda one: one.to(torch.int64), "moving_average.* is int64"),
    ("state_dict/*", lambda one: one.double(), "float64"),
    ("state_dict/*", lambda one: one / 0, "finite"),
    ("global_step", "x", "global_step"),
    ("global_step", -3, "global_step"),
    ("callbacks", [], "callbacks"),
    ("callbacks/Curves/points", {"train_loss": [5]}, r"Curves\.points\.train_loss\[0\]"),
    ("callbacks/Curves/seconds", None, r"Curves\.seconds"),
    ("callbacks/Checkpoints/best", 3, r"Checkpoints\.best"),
    ("callbacks/Checkpoints/kept", ["../x"], r"Checkpoints\.kept"),
    ("callbacks/Checkpoints/lowest", "low", r"Checkpoints\.lowest"),
    ("callbacks/Checkpoints/best/loss", "low", r"Checkpoints\.best\.loss"),
    ("seq2seq/run", lambda text: json.dumps({**json.loads(text), "test": 1.5}), r"run\.test"),
]
HARMLESS: list[tuple[str, Any]] = [
    ("lr_schedulers", -1),
    ("pytorch-lightning_version", None),
    ("loops", {"fit_loop": 3}),
    ("epoch", "x"),
    ("optimizer_states/0/param_groups", [{"differentiable": 1.5, "betas": (7, 7), "lr": 3}]),
    ("carried", 5),
    (f"{KEPT}/exp_avg_sq", outside),
]
"""What is not used at all, because the training knows it better, or is laid out anew."""


def resumed(half: tuple[list[str], dict[str, Any]], path: str, value: Any) -> None:
    """Change the checkpoint, with a checksum that is right, and go on."""
    arguments, content = half[0], copy.deepcopy(half[1])
    put(path, value)(content)
    run = RunDirectory(Path(arguments[3]))
    run.results.unlink(missing_ok=True)
    fuzz.write_checkpoint(content, run.last)
    train.main([*arguments, "--resume", "true"])


@pytest.mark.parametrize(("path", "value", "message"), CHANGES)
def test_nothing_strange_of_a_checkpoint_is_used(
    half: tuple[list[str], dict[str, Any]], path: str, value: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        resumed(half, path, value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("path", "value"), HARMLESS)
def test_what_the_training_knows_better_is_not_read(
    half: tuple[list[str], dict[str, Any]], path: str, value: Any
) -> None:
    resumed(half, path, value)
    assert RunDirectory(Path(half[0][3])).results.is_file()


def test_tensors_are_laid_out_as_a_kernel_expects() -> None:
    expected = torch.zeros(4, 3)
    given = torch.arange(12.0).reshape(3, 4).t()
    laid = safe_load.laid_out(given, expected, "x")
    assert laid.stride() == expected.stride()
    assert laid.equal(given)
    assert safe_load.laid_out(outside(expected), expected, "x").is_contiguous()


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 1000])
def test_random_changes_neither_crash_nor_show_a_traceback(tmp_path: Path, count: int) -> None:
    done = python("-m", "tests.fuzz", tmp_path, str(count), cwd=support.ROOT, timeout=200 * count)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count(f"{count} trials, 0 failures") == len(fuzz.KINDS)


# --- plain values ----------------------------------------------------------------------------------------------------


def test_values_that_do_not_fit_are_named() -> None:
    for value, hint in (
        (3, float),
        (2.5, float),
        (None, int | None),
        ([1, 2.0], list[float]),
        ({"a": "b"}, dict[str, str]),
    ):
        assert misfit(value, hint, "x") == ""
    for value, hint, name in (
        (True, int, "x "),
        (10**30, int, "x "),
        ("1", float, "x "),
        ([1, "2"], list[float] | None, r"x[1]"),
        ({"a": {"b": None}}, dict[str, dict[str, str]], "x.a.b "),
        ([1, 2], tuple[int, int, int], "x "),
        ({1: 2}, dict[str, int], "x "),
    ):
        assert misfit(value, hint, "x").startswith(name), (value, hint)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"curves": {"train_loss": [5]}}, r"curves\.train_loss\[0\]"),
        (
            {"splits": {"test": {"vectors": {"points": [{"id": {"x": None}}]}}}},
            r"splits\.test\.vectors\.points\[0\]\.id",
        ),
        ({"splits": {"test": {"breakdowns": 1e999}}}, r"splits\.test\.breakdowns"),
        ({"splits": 3}, "splits"),
        ({"best": []}, "best"),
    ],
)
def test_strange_results_name_the_key(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(change))
    with pytest.raises(InputError, match=rf"results\.json: results\.{key} "):
        read_results(file)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"token_scores": ["x"]}, r"token_scores\[0\]"),
        ({"quantiles": "../../x"}, "quantiles"),
        ({"quantiles": {"0.1": []}}, r"quantiles\.0\.1"),
        ({"id": {"x": None}}, "id"),
        ({"prediction": None}, "prediction"),
        ({"score": 10**400}, "score"),
    ],
)
def test_strange_predictions_name_the_line(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    whole = {"id": 0, "source": "a", "reference": "b", "prediction": "c", "score": -1.0}
    file = tmp_path / "test.jsonl"
    file.write_text(f"{json.dumps(whole)}\n{json.dumps(whole | change)}\n")
    with pytest.raises(InputError, match=rf"test\.jsonl:2: row\.{key} "):
        read_rows(file, StoredRow)


# --- configurations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("model: {layers: 2}\nseed: 2\nmodel: {hidden_size: 8}\n", (1, 3)),
        ("model:\n  hidden_size: 48\n  hidden_size: 8\n", (2, 3)),
        ("data:\n  corpus:\n    init_args: [{a: 1,\n      a: 2}]\n", (3, 4)),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, text: str, lines: tuple[int, int]) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text(text)
    for read in (lambda: read_yaml(file), lambda: train.main(["--config", str(file)])):
        with pytest.raises(InputError, match=rf"twice\.yaml.*line {lines[0]} .*line {lines[1]}\b"):
            read()


def test_yaml_may_use_a_value_twice() -> None:
    assert load_yaml("a: &one {x: 1}\nb: *one\nc: {<<: *one, y: 1e-3}\n") == {
        "a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 0.001},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data: {corpus: {class_path: Parallel, init_args: {source: en, target: no}}}",
            r"data\.corpus\.target .*quotation",
        ),
        ("data: {corpus: {class_path: Mixture, init_args: {names: [sv, no]}}}", r"data\.corpus\.names .*quotation"),
        ("data: {corpus: {class_path: Parallel, init_args: {source: en, target: }}}", r"data\.corpus.*target"),
        ("data:\n  tokenizer:\n", r"data\.tokenizer is empty"),
        ("model: {cell: null, layers: 2}", r"model\.cell is empty"),
    ],
)
def test_what_yaml_makes_of_a_word_is_explained(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "words.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        train.main(["--config", str(file), "--run", str(tmp_path / "run")])
    assert "\n" not in str(caught.value)


def test_a_part_that_may_be_null_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "part.yaml"
    file.write_text("model: {scheduled_sampling: {class_path: ScheduledSampling, init_args: {least: -3}}}")
    with pytest.raises(InputError, match=r"^model\.scheduled_sampling\.least is -3") as caught:
        train.main(["--config", str(file), "--run", str(tmp_path / "run")])
    assert "\n" not in str(caught.value)


# --- the surroundings ------------------------------------------------------------------------------------------------


def test_a_directory_that_cannot_be_made_says_why() -> None:
    run = RunDirectory(Path("/proc/x/run"))
    with pytest.raises(InputError, match=r"/proc/x/run.*--run"):
        try:
            run.claim(False, False)
        finally:
            run.release()


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / os.fsdecode(b"\xff"))
    with pytest.raises(InputError, match=r"xff.*UTF-8"):
        run.claim(False, False)
    assert not run.path.exists()


def test_a_finished_run_is_known_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory(tmp_path)
    run.results.write_text("{}")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(run._lock, "acquire", refuse)
    with pytest.raises(Finished):
        run.claim(False, "auto")
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_run_that_was_removed_is_marked_again(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim(False, False)
    run.config.write_text("seed: 1\n")
    assert not run.mend("seed: 1\n")
    run.config.unlink()
    assert run.mend("seed: 1\n")
    assert run.config.read_text() == "seed: 1\n"
    run.release()


SIGNALLED = "import signal, sys, os\nfrom seq2seq.training.signals import Requests\nr = Requests(); r.install()\n"
NOTED = "with r.noted():\n    os.kill(os.getpid(), signal.SIGHUP)\nprint(r.asked)\nr.restore()\n"


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        ("import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n", "1"),
        ("import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n", "0"),
    ],
)
def test_a_closed_terminal_saves_unless_it_was_ignored(before: str, asked: str) -> None:
    assert python("-c", before + SIGNALLED + NOTED).stdout.strip() == asked


CLOSED = "import os\nos.close(2)\nos.execv({python!r}, [{python!r}, '-m', 'seq2seq.evaluate', {run!r}])\n"


def test_a_closed_standard_error_harms_nothing(tmp_path: Path) -> None:
    script = CLOSED.format(python=sys.executable, run=str(tmp_path / "none"))
    done = subprocess.run([sys.executable, "-c", script], env=surroundings(), stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert signal.SIGHUP is not None
