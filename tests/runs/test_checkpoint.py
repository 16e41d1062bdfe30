"""Checkpoints survive kills, full disks and directories that turn read-only, and say when they are damaged."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from seq2seq.errors import InputError
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory

WRITER = """
import sys, torch
from pathlib import Path
from seq2seq.runs import checkpoint
path = Path(sys.argv[1])
for number in range(10**9):
    tensor = torch.full((int(sys.argv[2]),), float(number))
    checkpoint.write({"state_dict": {"task.a": tensor}, "number": number, "seq2seq": {"format": 1}}, path)
    print(number, flush=True)
"""


def content(value: float = 1.0) -> dict[str, object]:
    """As little as a checkpoint may hold."""
    return {"state_dict": {"task.a": torch.full((50,), value)}, "seq2seq": {"format": checkpoint.FORMAT}}


def kill_writers(path: Path, kills: int) -> None:
    """Writers are killed at random instants; after each the file is whole and no older than what was reported."""
    instants, newest = random.Random(3), -1
    for _ in range(kills):
        command = [sys.executable, "-c", WRITER, str(path), "300000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            newest = int(writer.stdout.readline())  # the first one is written
            time.sleep(instants.random() * 0.05)
            writer.send_signal(signal.SIGKILL)
            newest = max([newest, *(int(line) for line in writer.stdout.read().split())])
        for left in path.parent.glob(".*.tmp"):
            left.unlink()  # as the next training does at its start
        found = checkpoint.read(path)
        assert newest <= found["number"] <= newest + 1
        assert bool((found["state_dict"]["task.a"] == found["number"]).all())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kills", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_a_kill_leaves_a_whole_checkpoint(tmp_path: Path, kills: int) -> None:
    kill_writers(tmp_path / "last.ckpt", kills)


@pytest.mark.slow
def test_a_kill_leaves_a_whole_checkpoint_on_a_small_disk(small_disk: Path) -> None:
    kill_writers(small_disk / "last.ckpt", 20)


def test_a_full_disk_keeps_the_older_checkpoint(small_disk: Path) -> None:
    path = small_disk / "last.ckpt"
    checkpoint.write(content(), path)
    large = {**content(), "state_dict": {"task.a": torch.zeros(2_000_000)}}
    with pytest.raises(InputError, match=r"last\.ckpt: No space left on device.*--resume true"):
        checkpoint.write(large, path)
    assert checkpoint.read(path)["state_dict"]["task.a"].sum() == 50
    assert os.listdir(small_disk) == ["last.ckpt"]


def test_a_directory_that_turns_read_only_keeps_the_older_checkpoint(small_disk: Path) -> None:
    path = small_disk / "last.ckpt"
    checkpoint.write(content(), path)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(InputError, match=r"Read-only file system.* --resume true"):
        checkpoint.write(content(2), path)
    assert checkpoint.read(path)["state_dict"]["task.a"].sum() == 50


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    checkpoint.write(content(), path)
    whole = bytearray(path.read_bytes())
    place = whole.index(torch.ones(4).numpy().tobytes())
    whole[place + 2] ^= 64  # one bit of a number
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"last\.ckpt .*--overwrite true"):
        checkpoint.read(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"last\.ckpt .*--overwrite true"):
        checkpoint.read(path)


def test_what_does_not_read_back_is_not_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    checkpoint.write(content(), path)
    save: Callable[..., None] = torch.save
    monkeypatch.setattr(torch, "save", lambda given, file: save({**given, "number": 3}, file))
    with pytest.raises(InputError, match=r"last\.ckpt: .*differently"):
        checkpoint.write(content(2), path)
    monkeypatch.undo()
    assert checkpoint.read(path)["state_dict"]["task.a"].sum() == 50


def test_every_part_counts_in_the_checksum() -> None:
    one = {"a": torch.arange(4.0), "b": [1, "x", None, {"c": True}], "d": torch.zeros(0), "e": torch.tensor(2)}
    others = [
        {**one, "a": torch.arange(4.0).reshape(2, 2)},
        {**one, "a": torch.arange(4.0).double()},
        {**one, "b": [1, "x", None, {"c": 1}]},
        {**one, "b": [[1], "x", None, {"c": True}]},
        {**one, "e": torch.tensor(3)},
        {**one, "f": 1},
    ]
    digests = {checkpoint.digest(each) for each in [one, *others]}
    assert len(digests) == len(others) + 1
    assert checkpoint.digest({**one, checkpoint.DIGEST: "x"}) == checkpoint.digest(one)
    single = torch.ones(1)
    assert checkpoint.digest({"a": single}) == checkpoint.digest({"a": single.as_strided((1,), (0,))})


def test_leftovers_of_a_killed_training_are_removed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    (tmp_path / ".lock").touch()
    run.last.parent.mkdir()
    left = run.last.with_name(".last.ckpt.17.tmp")
    left.write_bytes(b"half")
    run.claim(False, False)
    run.release()
    assert not left.exists()
