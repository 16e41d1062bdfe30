"""The device check on a machine without a GPU: it finds what is wrong, and says what it could not look at."""

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch

from seq2seq import check_device
from seq2seq.device_check import determinism, parity, who
from seq2seq.device_check.findings import DeviceCheck, all_of, within
from seq2seq.models.cells import GRU
from seq2seq.tasks.translation import Translation
from tests.support import module

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks enough to see that something is wrong."""
    monkeypatch.setattr(parity, "ATTENTIONS", (None, parity.General))


def test_the_cpu_is_right() -> None:
    lines = list(parity.parity(CPU, [GRU]))
    assert {line.ok for line in lines} == {True, None}
    assert any("bf16" in line.what for line in lines)
    assert [line.what for line in lines if line.ok is None]


def test_a_device_that_computes_otherwise_is_seen() -> None:
    loss = Translation.loss

    def wrong(self: Translation, batch: object) -> torch.Tensor:
        value = loss(self, batch)  # type: ignore[arg-type]
        return value * 1.1 if torch.is_autocast_enabled("cpu") else value

    with mock.patch.object(Translation, "loss", wrong):
        lines = list(parity.parity(CPU, [GRU]))
    assert [line.ok for line in lines if "translation, GRU" in line.what] == [False]


def test_a_network_that_fails_is_a_line_with_its_name() -> None:
    with mock.patch.object(Translation, "loss", side_effect=RuntimeError("rnn: hx is not contiguous")):
        lines = list(parity.parity(CPU, [GRU]))
    failed = [line for line in lines if line.ok is False]
    assert failed
    assert "hx is not contiguous" in failed[0].found


def test_two_trainings_that_differ_are_seen() -> None:
    same = list(determinism.determinism(CPU, 2))
    assert len(same) == 6
    assert all(line.ok for line in same)
    with mock.patch.object(determinism, "trained", side_effect=map(str, range(100))):
        assert not any(line.ok for line in determinism.determinism(CPU, 2))


def test_a_part_that_fails_does_not_end_the_others() -> None:
    def failing(device: torch.device) -> Iterator[DeviceCheck]:
        yield within("first", 0.0, 1.0)
        raise RuntimeError("no room")

    lines = list(all_of({"one": failing, "two": who.who}, CPU))
    assert [line.ok for line in lines[:2]] == [True, False]
    assert "no room" in lines[1].found
    assert lines[2].part == "two"


def test_no_number_is_above_every_bound() -> None:
    assert not within("loss", float("nan"), 1.0).ok


def test_a_card_that_torch_cannot_use_is_said(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1\n")
    with mock.patch.object(who, "NVIDIA", tmp_path / "version"), mock.patch.object(torch.version, "cuda", None):
        gpu = next(line for line in who.who(CPU) if line.what == "GPU")
    assert gpu.ok is False
    assert "CUDA" in gpu.found


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["--device", "cpu", "--output", str(tmp_path / "check.json")]
    assert check_device.main([*output, "--parts", "[who,memory]"]) == 0
    content = json.loads((tmp_path / "check.json").read_text())
    assert {line["part"] for line in content["lines"]} == {"who", "memory"}
    assert "not checked" in capsys.readouterr().out
    with mock.patch.dict(check_device.PARTS, {"who": lambda device: iter([within("loss", 2.0, 1.0)])}):
        assert check_device.main([*output, "--parts", "[who]"]) == 1


@pytest.mark.slow
def test_the_whole_check_passes_on_the_cpu(tmp_path: Path) -> None:
    output = tmp_path / "check.json"
    done = module("check_device", "--device", "cpu", "--output", str(output), timeout=580)
    assert done.returncode == 0, done.stdout
    lines = json.loads(output.read_text())["lines"]
    assert {line["part"] for line in lines} == set(check_device.PARTS)
    assert sum(line["ok"] is True for line in lines) >= 20
    assert any("gloo" in line["what"] and line["ok"] for line in lines)
