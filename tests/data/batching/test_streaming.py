"""A streamed corpus: the same steps on any machine, and a position from which they go on."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq.data.batching.split import Step
from seq2seq.data.batching.streaming import StreamPosition
from seq2seq.data.corpora.hub import Hub
from seq2seq.data.corpora.json_rows import Jsonl
from seq2seq.data.corpora.mixture import Mixture
from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.units import Characters
from seq2seq.errors import InputError

ROWS = 300
Seen = tuple[int, int, tuple[int, ...]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of rows that name themselves, of all lengths."""
    path = tmp_path_factory.mktemp("shards")
    random = np.random.default_rng(1)
    for shard in range(3):
        texts = [f"{row} {'x' * random.integers(1, 40)}" for row in range(shard * 100, shard * 100 + 100)]
        (path / f"train-{shard}.en").write_text("".join(f"{text}\n" for text in texts))
        (path / f"train-{shard}.de").write_text("".join(f"{text[::-1]}\n" for text in texts))
    for split in ("validation", "test"):
        (path / f"{split}.en").write_text("1 x\n")
        (path / f"{split}.de").write_text("x 1\n")
    return path


def data_of(folder: Path, **more: Any) -> DataModule:
    files: dict[str, str | list[str]] = {"train": "train-*", "validation": "validation", "test": "test"}
    settings = {"tokenizer": Characters(), "batch_tokens": 400, "max_length": 60, "window": 70, **more}
    return DataModule(Parallel("en", "de", files=files), str(folder), **settings)


@pytest.fixture(scope="module")
def tokenizers(folder: Path) -> Tokenizers:
    data = data_of(folder)
    return data.train_tokenizers(data.texts("train"))


def steps_of(
    data: DataModule, tokenizers: Tokenizers, count: int, position: StreamPosition | None = None, **device: int | None
) -> list[Step]:
    return list(itertools.islice(data.streamed_steps(tokenizers, 1, position, **device), count))


def texts_of(step: Step, tokenizers: Tokenizers) -> list[str]:
    """The sources of a step that count."""
    rows = [(batch, row) for batch in step.batches for row in range(len(batch.rows)) if batch.target[row].any()]
    return [
        tokenizers.source.decode(batch.source[row, : batch.source_lengths[row] - 1].tolist()) for batch, row in rows
    ]


def test_every_row_once_an_epoch_within_the_budget(folder: Path, tokenizers: Tokenizers) -> None:
    steps = steps_of(data_of(folder), tokenizers, 200)
    for epoch in (0, 1, 2):
        texts = [
            text
            for step in steps
            if step.position and step.position["epoch"] == epoch
            for text in texts_of(step, tokenizers)
        ]
        assert sorted(int(text.split()[0]) for text in texts) == list(range(ROWS))
    assert all(b.source.numel() + b.target.numel() <= 400 for step in steps for b in step.batches)
    orders = [
        [texts_of(s, tokenizers) for s in steps if s.position and s.position["epoch"] == epoch] for epoch in (0, 1)
    ]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("device_tokens", [None, 120])
def test_the_steps_are_the_same_on_any_machine(
    folder: Path, tokenizers: Tokenizers, devices: int, workers: int, device_tokens: int | None
) -> None:
    alone = steps_of(data_of(folder), tokenizers, 70)
    data, more = data_of(folder, workers=workers), {"world_size": devices, "device_tokens": device_tokens}
    shares = [steps_of(data, tokenizers, 70, rank=rank, **more) for rank in range(devices)]
    for number, step in enumerate(alone):
        together = [share[number] for share in shares]
        assert len({len(share.batches) for share in together}) == 1
        assert {batch.step_tokens for share in together for batch in share.batches} == {step.batches[0].step_tokens}
        assert all(share.position == step.position for share in together)
        assert sorted(t for share in together for t in texts_of(share, tokenizers)) == sorted(
            texts_of(step, tokenizers)
        )


@pytest.mark.parametrize("taken", [1, 20, 33, 34, 60])
def test_any_step_is_a_place_to_go_on_from(folder: Path, tokenizers: Tokenizers, taken: int) -> None:
    whole = steps_of(data_of(folder), tokenizers, 100)
    position = json.loads(json.dumps(whole[taken - 1].position))
    again = steps_of(data_of(folder, workers=2), tokenizers, 100 - taken, position)
    assert [texts_of(step, tokenizers) for step in again] == [texts_of(step, tokenizers) for step in whole[taken:]]
    assert [step.position for step in again] == [step.position for step in whole[taken:]]


def test_subwords_are_drawn_by_row_and_epoch(folder: Path) -> None:
    sampled = data_of(folder, tokenizer=SentencePiece(40, sampling=0.3))
    tokenizers = sampled.train_tokenizers(sampled.texts("train"))
    one, other = steps_of(sampled, tokenizers, 60), steps_of(sampled, tokenizers, 60, rank=0, world_size=1)
    assert all(a.batches[0].source.equal(b.batches[0].source) for a, b in zip(one, other, strict=True))
    drawn: dict[str, set[tuple[int, ...]]] = {}
    for step in one:
        for batch in step.batches:
            for row, length in enumerate(batch.source_lengths.tolist()):
                ids = tuple(batch.source[row, : length - 1].tolist())
                drawn.setdefault(tokenizers.source.decode(ids), set()).add(ids)
    assert any(len(ways) > 1 for ways in drawn.values())


def test_rows_too_long_are_counted(folder: Path, tokenizers: Tokenizers, caplog: pytest.LogCaptureFixture) -> None:
    steps = steps_of(data_of(folder, max_length=30), tokenizers, 80)
    assert "longer than data.max_length so far" in caplog.text
    assert max(int(batch.source_lengths.max()) for step in steps for batch in step.batches) <= 30


def test_held_out_rows_are_never_streamed(folder: Path) -> None:
    corpus = Parallel("en", "de", files={"train": "train-*", "validation": [], "test": []})
    limits = {"window": 50, "batch_tokens": 400, "max_length": 60}
    data = DataModule(corpus, str(folder), holdout=0.2, tokenizer=Characters(), **limits)
    tokenizers = data.train_tokenizers(data.texts("train"))
    held = {text for split in ("validation", "test") for text in data.texts(split).source}
    streamed = {text for step in steps_of(data, tokenizers, 60) for text in texts_of(step, tokenizers)}
    assert held
    assert not held & streamed
    assert len(held | streamed) == ROWS


def test_a_data_set_of_the_hub_is_streamed(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        rows = [{"translation": {"en": f"{row}", "de": f"{row} {row}"}} for row in range(50)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = DataModule(Hub(str(tmp_path), "en", "de"), tokenizer=Characters(), window=20, batch_tokens=60, max_length=30)
    tokenizers = data.train_tokenizers(data.texts("train"))
    whole = steps_of(data, tokenizers, 40)
    first = [
        text for step in whole if step.position and not step.position["epoch"] for text in texts_of(step, tokenizers)
    ]
    assert sorted(map(int, first)) == list(range(50))
    again = steps_of(data, tokenizers, 33, json.loads(json.dumps(whole[6].position)))
    assert [texts_of(step, tokenizers) for step in again] == [texts_of(step, tokenizers) for step in whole[7:]]


def test_a_streamed_mixture_keeps_its_shares(tmp_path: Path) -> None:
    for name, count in (("a", 300), ("b", 30)):
        rows = [{"source": f"{name}{row}", "target": "x"} for row in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parts = [Jsonl(files={"train": name, "validation": name, "test": name}) for name in "ab"]
    with pytest.raises(InputError, match=r"needs data\.corpus\.shares"):
        DataModule(Mixture(list(parts)), str(tmp_path), window=50, max_length=30).texts("train")
    mixed = DataModule(
        Mixture(list(parts), [0.5, 0.5]),
        str(tmp_path),
        window=50,
        tokenizer=Characters(),
        batch_tokens=60,
        max_length=30,
    )
    tokenizers = mixed.train_tokenizers(mixed.texts("train"))
    steps = steps_of(mixed, tokenizers, 60)
    texts = [text for step in steps for text in texts_of(step, tokenizers)]
    assert 0.4 < sum(text.startswith("b") for text in texts) / len(texts) < 0.6
    again = steps_of(mixed, tokenizers, 30, json.loads(json.dumps(steps[29].position)))
    assert [texts_of(step, tokenizers) for step in again] == [texts_of(step, tokenizers) for step in steps[30:]]


def test_only_the_first_rows_of_each_corpus(folder: Path, tmp_path: Path) -> None:
    data = data_of(folder, max_rows={"train": 100})
    tokenizers = data.train_tokenizers(data.texts("train"))
    steps = steps_of(data, tokenizers, 60)
    numbers = {int(text.split()[0]) for step in steps for text in texts_of(step, tokenizers)}
    assert numbers == set(range(100))
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(f'{{"source": "{name}{row}", "target": "x"}}\n' for row in range(90))
        )
    parts = [Jsonl(files={"train": name, "validation": name, "test": name}) for name in "ab"]
    mixed = DataModule(Mixture(list(parts), [0.5, 0.5]), str(tmp_path), max_rows={"train": 10}, tokenizer=Characters(),
                       window=50, batch_tokens=60, max_length=30)  # fmt: skip
    tokenizers = mixed.train_tokenizers(mixed.texts("train"))
    texts = {text for step in steps_of(mixed, tokenizers, 30) for text in texts_of(step, tokenizers)}
    assert texts == {f"{name}{row}" for name in "ab" for row in range(10)}


def test_a_row_that_could_exceed_a_budget_is_refused_at_the_start(folder: Path) -> None:
    with pytest.raises(InputError, match=r"1024 .*data\.max_length"):
        data_of(folder, max_length=512)
    with pytest.raises(InputError, match=r" 100 .*data\.device_tokens"):
        data_of(folder, device_tokens=100)
    with pytest.raises(InputError, match=r"data\.device_tokens auto .*data\.window"):
        data_of(folder, device_tokens="auto")
