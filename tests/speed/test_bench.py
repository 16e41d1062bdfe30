"""The benchmark runs in miniature, compares two files, and its ratios do not fall below those that were once reached."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from seq2seq import bench
from seq2seq.errors import InputError
from seq2seq.models.products import vendor
from seq2seq.speed import comparing, floor, made_up, parts, peers
from seq2seq.speed.figures import Figures, Sizes
from seq2seq.speed.plain import PlainTranslator
from seq2seq.tasks.translation import Translation
from tests.support import ROOT, python

BASELINE = ROOT / "benchmarks" / "baseline.json"

FALL = 0.10
"""A share by which a ratio may be below the baseline."""

TRIES = 3
"""Measurements of a part of which the best counts: other programs only ever make a ratio worse."""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """As they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_part_in_miniature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    bench.main(["--quick", "--only", "mixed", "--json", str(file)])
    content = json.loads(file.read_text())
    assert content["machine"]["threads"] == 1
    figures = content["figures"]
    assert {name.partition(",")[0] for name in figures} == {"mixed: LSTM", "mixed: GRU"}
    assert all(0 < one["low"] <= one["value"] <= one["high"] for one in figures.values())
    assert len(comparing.moved(content, content).splitlines()) == 1, "nothing moves against itself"
    assert "over packing" in capsys.readouterr().out


def test_what_is_no_part_is_refused() -> None:
    with pytest.raises(InputError, match=r"--only nothing: .*training"):
        bench.main(["--only", "nothing"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"figures": {"a": 3}}', '{"figures": {"a": {"value": "x"}}}'])
def test_a_damaged_file_of_before_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(InputError, match=r"--compare .*old\.json"):
        comparing.read(tmp_path / "old.json")


def figure(value: float, spread: float) -> dict[str, object]:
    return {"value": value, "low": value - spread, "high": value + spread, "unit": "x"}


def test_only_what_left_its_spread_has_moved() -> None:
    machine = {"processor": "P", "threads": 1, "torch": "2"}
    before = {"machine": machine, "figures": {"a": figure(1, 0.1), "b": figure(1, 0.1), "gone": figure(1, 0)}}
    now = {"machine": machine, "figures": {"a": figure(1.15, 0.1), "b": figure(1.5, 0.1), "new": figure(1, 0)}}
    first, *lines = comparing.moved(before, now).splitlines()
    assert first.startswith("1 of 2 ")
    assert [line.split(":")[0].strip() for line in lines] == ["b"]
    assert "+50%" in lines[0]


def test_a_ratio_that_falls_is_named() -> None:
    found = comparing.fallen({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 0.91, "b": 0.89}, FALL)
    assert [line.split(":")[0] for line in found] == ["b", "c"]


def test_the_floor_counts_multiplications() -> None:
    """One source and one target token of a network of single units, counted by hand."""
    split, tokenizers = made_up.split_of(20, 2, (1, 1))
    task = Translation(tokenizers, embedding_size=1, hidden_size=2, attention=None)
    words = tokenizers.target.sizes[0]
    counted = floor.counted(task)
    assert counted.source == 2 * (2 * 4 * 1 * (1 + 1))
    assert counted.target == 2 * 4 * 2 * (1 + 2) + 2 * 2 * words
    assert counted.pair == 0
    batch = split.batch(made_up.numbers(0).permutation(2))
    assert floor.training(task, batch) == 3 * (4 * counted.source + 4 * counted.target), "each with its end"


def test_plain_torch_learns_what_ours_learns() -> None:
    """With the same parameters its loss is the same, so it does the same work."""
    from seq2seq.models.attention import General

    split, tokenizers = made_up.split_of(20, 6)
    task = Translation(tokenizers, embedding_size=4, hidden_size=8, attention=General(), dropout=0.0)
    plain = PlainTranslator(tokenizers.target.sizes[0], 4, 8, True, 0.0)
    ours = dict(task.network.named_parameters())
    same = {
        "source.": "encoder.embedding.", "target.": "decoder.embedding.", "encoder.": "encoder.recurrent.stack.0.torch.",
        "decoder.": "decoder.recurrent.stack.0.torch.", "keys.": "decoder.attention.map.",
        "readout.": "decoder.readout.map.", "output.": "decoder.output.layer.",
    }  # fmt: skip
    with torch.no_grad():
        for name, value in plain.named_parameters():
            start = next(start for start in same if name.startswith(start))
            value.copy_(ours[same[start] + name.removeprefix(start)])
    batch = split.batch(made_up.numbers(0).permutation(6))
    torch.testing.assert_close(plain.loss(batch), task.loss(batch))


def test_a_peer_that_cannot_be_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(command: object, peer: peers.Peer) -> str:
        raise InputError(f"{peer.name} cannot be used here: no network")

    monkeypatch.setattr(peers, "run", fails)
    found = Figures()
    said: list[str] = []
    monkeypatch.setattr(found, "say", said.append)
    peers.peers(Sizes.quick(), found, tmp_path)
    assert [line.partition(" cannot")[0] for line in said] == [peer.name for peer in peers.PEERS]
    assert not found.all


@pytest.mark.slow
@pytest.mark.parametrize("part", sorted({*parts.PARTS} - {"mixed"}))
def test_every_part_runs(part: str, tmp_path: Path) -> None:
    done = python("-m", "seq2seq.bench", "--quick", "--only", part, "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())["figures"]
    assert found
    assert all(name.startswith(f"{part}: ") for name in found)
    if part == "sentence":
        assert found["sentence: share of sentences that are equal"]["value"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("part", ["training", "tagging", "decoding", "mixed", "growth"])
def test_no_ratio_falls(part: str, tmp_path: Path) -> None:
    """Ratios depend on the processor: torch's own products are slow on those of AMD."""
    if (known := json.loads(BASELINE.read_text()).get(vendor())) is None:
        pytest.skip(f"no baseline for processors of {vendor()}")
    wanted = {name: value for name, value in known.items() if name.startswith(f"{part}: ")}
    assert wanted
    best: dict[str, float] = {}
    for _ in range(TRIES):
        done = python("-m", "seq2seq.bench", "--only", part, "--rounds", "2", "--json", tmp_path / "found.json")
        assert done.returncode == 0, done.stderr
        now = comparing.guarded(json.loads((tmp_path / "found.json").read_text()))
        best = {name: max(value, best.get(name, 0)) for name, value in now.items()}
        present = {name: value for name, value in wanted.items() if name in now or ", bf16" not in name}
        if not (lines := comparing.fallen(present, best, FALL)):
            return
    pytest.fail("\n".join(lines))


@pytest.mark.slow
def test_the_baseline_holds_ratios_only() -> None:
    for ratios in json.loads(BASELINE.read_text()).values():
        assert all(name.endswith(comparing.GUARDED) for name in ratios)


MEMORY = """
import resource, sys
from seq2seq import train
from seq2seq.training.learner import Learner
ended = Learner.on_train_epoch_end
def told(self):
    ended(self)
    pages = int(open("/proc/self/statm").read().split()[1])
    print("RESIDENT", pages * resource.getpagesize(), flush=True)
Learner.on_train_epoch_end = told
train.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_memory_is_flat_over_epochs(tmp_path: Path) -> None:
    """What a training holds does not grow from the second epoch to the sixth."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not say what a process holds")
    made_up.write_pairs(tmp_path, 2000, 3000)
    corpus = '{"class_path": "Parallel", "init_args": {"source": "en", "target": "de"}}'
    options = {
        "task": "Translation", "data.path": tmp_path, "data.corpus": corpus, "data.tokenizer": "Words",
        "model.hidden_size": 64, "model.embedding_size": 32, "trainer.max_epochs": 6, "trainer.val_check_interval": 1.0,
        "trainer.accelerator": "cpu", "run": tmp_path / "run", "data.cache": tmp_path / "cache",
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    arguments = ["--config", tmp_path / "config.yaml"]
    arguments += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    done = python("-c", MEMORY, *arguments)
    assert done.returncode == 0, done.stderr
    held = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("RESIDENT")]
    assert len(held) == 6
    assert held[-1] < 1.03 * held[1], [round(one / 1e6) for one in held]
