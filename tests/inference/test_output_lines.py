"""Predictions to a file: interrupted anywhere and resumed, it is what one call writes."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq import predict
from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.factored import RowFeatures
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.errors import InputError
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, ROOT, learnt, saved, small

LINES = [f"{PAIRS[row % len(PAIRS)][0]} {'a ' * (row % 5)}" for row in range(40)]
Call = Callable[..., bytes]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A translator, and a network that carries its state from line to line."""
    translator = small(Translation, learnt(PAIRS, Words(), Words()))
    running = small(Generation, learnt([("", one) for one, _ in PAIRS], NoSource(), Characters()), running=True)
    pairs = {"translator": translator, "running": running}
    return {name: saved(task, tmp_path_factory.mktemp(name) / "one.ckpt") for name, task in pairs.items()}


@pytest.fixture
def call(checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call `predict`, which reads a few lines at once, and return what out.txt then holds."""
    monkeypatch.setattr(predict, "CHUNK", 128)

    def called(*options: str, name: str = "translator", lines: list[str] = LINES) -> bytes:
        (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in lines))
        with (tmp_path / "in.txt").open() as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            limits = ["--decoding.max_length", "4", "--decoding.temperature", "1"]
            output = ["--device", "cpu", "--output", str(tmp_path / "out.txt")]
            predict.main([str(checkpoints[name]), *output, *limits, *options])
        return (tmp_path / "out.txt").read_bytes()

    return called


@pytest.mark.parametrize(
    ("name", "kept"), [("translator", 0.0), ("translator", 0.4), ("translator", 1.0), ("running", 0.97)]
)
def test_a_half_written_file_is_resumed_to_the_byte(name: str, kept: float, call: Call, tmp_path: Path) -> None:
    """Drawn at random, so that a line depends on its number."""
    whole = call(name=name)
    (tmp_path / "out.txt").write_bytes(whole[: round(kept * len(whole))])
    assert call("--resume", name=name) == whole
    assert len(whole.splitlines()) == len(LINES)


def test_lines_that_are_there_are_not_predicted_again(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, predicted, before = call(), [], predict.predict_texts.predict
    (tmp_path / "out.txt").write_bytes(whole[: len(whole) // 2])

    def counted(*arguments: object) -> object:
        predicted.append(len(arguments[1]))  # type: ignore[arg-type]
        return before(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(predict.predict_texts, "predict", counted)
    assert call("--resume") == whole
    assert sum(predicted) < 0.75 * len(LINES)


def test_another_input_or_another_search_is_named(call: Call, tmp_path: Path) -> None:
    whole = call()
    half = whole[: len(whole) // 2]
    (tmp_path / "out.txt").write_bytes(half)
    with pytest.raises(InputError, match=r"out\.txt:\d+: .*--resume"):
        call("--resume", "--decoding.max_length", "1")
    assert (tmp_path / "out.txt").read_bytes().startswith(half[: half.rindex(b"\n") + 1])
    with pytest.raises(InputError, match=f"{half.count(bytes([10]))} lines.*5"):
        call("--resume", lines=LINES[:5])
    with pytest.raises(InputError, match="--resume"):
        call()


@pytest.mark.parametrize(
    "source", [RowFeatures(Words()), Columns([Labels(), Words()])], ids=lambda source: type(source).__name__
)
def test_unknown_languages_are_warned_of(
    source: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = [(f"{'de' if row % 2 else 'fi'}\t{one}", other) for row, (one, other) in enumerate(PAIRS)]
    run = saved(small(Translation, learnt(pairs, source, Words())), tmp_path / "one.ckpt")
    (tmp_path / "in.txt").write_text("de\tthe cat\nxx\tthe cat\n\nxx\ta dog\n")
    with (tmp_path / "in.txt").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        predict.main([str(run), "--device", "cpu", "--output", str(tmp_path / "out.txt"), "--decoding.max_length", "3"])
    [warning] = [record.getMessage() for record in caplog.records if "training lacks" in record.getMessage()]
    assert "2 of 4 lines" in warning
    assert "(xx)" in warning
    assert len((tmp_path / "out.txt").read_text().splitlines()) == 4


@pytest.mark.slow
def test_memory_is_flat_over_a_million_lines(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """The process may grow by a hundredth between a tenth of the lines and the last."""
    total, sizes, output = 1_000_000, [], tmp_path / "out.txt"
    options = ["--device", "cpu", "--output", str(output), "--decoding.max_length", "2", "--decoding.beam_size", "1"]
    command = [sys.executable, "-m", "seq2seq.predict", str(checkpoints["translator"]), *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})

    def memory() -> int:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    def feed() -> None:
        assert process.stdin is not None
        text = "".join(f"{line}\n" for line in LINES).encode()
        for number in range(total // len(LINES)):
            process.stdin.write(text)
            if number % 2500 == 2499:  # every 100,000 lines
                sizes.append(memory())
        process.stdin.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert process.wait(timeout=1200) == 0
    feeder.join()
    with output.open("rb") as lines:
        assert sum(1 for _ in lines) == total
    assert len(sizes) == 10
    assert max(sizes[1:]) < 1.01 * sizes[0], sizes
