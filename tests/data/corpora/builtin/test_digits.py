"""Pictures of digits as sequences of vectors: their splits, and the tasks that read them."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq import train
from seq2seq.analysis import gradient_flow
from seq2seq.data.batching.plan import Rows
from seq2seq.data.batching.split import TrainingSteps
from seq2seq.data.corpora.builtin import digits
from seq2seq.data.corpora.builtin.digits import Digits, DigitStrings, members
from seq2seq.data.corpora.npy import Npy
from seq2seq.data.datamodule import DataModule
from seq2seq.data.number_text import parsed, text_of_array
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.factored import RowFeatures
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.units import Characters, Labels
from seq2seq.errors import InputError
from seq2seq.models.attention import Additive
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.runs import checkpoint
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from tests import support
from tests.support import ROOT, batch_of, fitted, small, split_of

SPLITS = ("train", "validation", "test")


def frames(rows: int = 16, seed: int = 0) -> list[tuple[str, str]]:
    """Letters, each of them shown for some noisy frames, and the word they make."""
    random = np.random.default_rng(seed)
    shapes = random.normal(0, 3, (4, 5))
    made = []
    for _ in range(rows):
        word = random.integers(0, 4, random.integers(2, 5))
        steps = np.concatenate([np.repeat(shapes[[one]], random.integers(2, 4), axis=0) for one in word])
        made.append((text_of_array(steps + random.normal(0, 0.3, steps.shape)), "".join("abcd"[one] for one in word)))
    return made


def learnt(rows: list[tuple[str, str]], target: Tokenizer) -> Tokenizers:
    return support.learnt(rows, Vectors(), target)


# --- frames to text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"attention": Additive()}, {"encoder": EncoderOptions(reverse=True, bidirectional=False)}]
)
def test_frames_become_text(settings: dict[str, Any], tmp_path: Path) -> None:
    rows = frames()
    tokenizers = learnt(rows, Characters())
    batch = batch_of(rows, tokenizers)
    assert batch.source.shape == (16, int(batch.source_lengths.max()), 5)  # no end follows vectors
    task = fitted(small(Translation, tokenizers, **settings), batch, 120)
    found = task.predict(batch, Decoding(3))
    assert [task.text(row[0]) for row in found] == [target for _, target in rows]
    alone = [task.predict(batch_of([pair], tokenizers), Decoding(3))[0][0].tokens for pair in rows]
    assert alone == [row[0].tokens for row in found]
    states = {f"task.{name}": value for name, value in task.state_dict().items()}
    checkpoint.write({"seq2seq": checkpoint.packed(task, DataModule()), "state_dict": states}, tmp_path / "one.ckpt")
    assert checkpoint.load(tmp_path / "one.ckpt").predict(batch, Decoding(3)) == found


def test_every_parameter_gets_a_gradient() -> None:
    rows = frames()
    task = small(Translation, learnt(rows, Characters()), attention=Additive())
    task.loss(batch_of(rows, task.tokenizers)).backward()
    assert [name for name, parameter in task.named_parameters() if parameter.grad is None] == []


def test_the_memory_of_frames() -> None:
    rows = frames()
    task = small(Translation, learnt(rows, Characters()))
    found = gradient_flow.memory_of(task, *zip(*rows, strict=True))
    assert len(found.rows) == max(source.count("\t") + 1 for source, _ in rows)


def test_subwords_are_drawn_beside_frames() -> None:
    rows = frames(40)
    tokenizers = learnt(rows, SentencePiece(12, "bpe", sampling=0.5))
    split = split_of(rows, tokenizers)
    step = TrainingSteps(split, (tokenizers, 1), 0, 1, None)[Rows(0, np.arange(6), np.arange(6))]
    assert torch.equal(step.batches[0].source, split.batch(np.arange(6)).source)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"decoder": DecoderOptions(copy=True), "attention": Additive()}, "copy"),
        ({"decoder": DecoderOptions(features=True)}, "features"),
        ({"decoder": DecoderOptions(tied_embeddings=True)}, "tied_embeddings"),
    ],
)
def test_what_needs_tokens_is_refused(settings: dict[str, Any], name: str) -> None:
    message = rf"decoder\.{name} needs a source of tokens, but this one is of vectors of 5 numbers; set it to false"
    with pytest.raises(InputError, match=message):
        small(Translation, learnt(frames(), Characters()), **settings)


def test_vectors_are_no_part_of_other_tokenizers() -> None:
    rows = frames()
    with pytest.raises(InputError, match="a translation writes text; set task: Forecasting"):
        small(Translation, learnt([(source, source) for source, _ in rows], Vectors()))
    with pytest.raises(InputError, match=r"data\.tokenizer\.parts holds Vectors"):
        Columns([Vectors()])
    with pytest.raises(InputError, match=r"data\.tokenizer\.text is Vectors.* vectors carry no features"):
        RowFeatures(Vectors())


def test_frames_become_a_class() -> None:
    rows = [(source, target[0]) for source, target in frames()]
    tokenizers = learnt(rows, Labels())
    batch = batch_of(rows, tokenizers, Classification.row_format)
    task = Classification(tokenizers, embedding_size=8, hidden_size=16, dropout=0.0)
    found = fitted(task, batch, 60).predict(batch, Decoding(1))
    assert [task.text(row[0]) for row in found] == [target for _, target in rows]


# --- the corpora -----------------------------------------------------------------------------------------------------


def test_no_picture_is_in_two_splits() -> None:
    for seed in (1, 2):
        parts = [members(split, seed, 1797) for split in SPLITS]
        assert [len(part) for part in parts] == [1258, 180, 359]
        assert sorted(np.concatenate(parts).tolist()) == list(range(1797))
    assert members("test", 1, 1797).tolist() != members("test", 2, 1797).tolist()


def test_pictures_are_rows_or_columns() -> None:
    images = pytest.importorskip("sklearn.datasets").load_digits().images
    rows, columns = (list(Digits(columns=way).rows("validation", None)) for way in (False, True))
    for one, other in zip(rows, columns, strict=True):
        picture = images[one.line - 1]
        assert (parsed(one.source, 8) == picture).all()
        assert (parsed(other.source, 8) == picture.T).all()
    assert {row.target for row in rows} == set("0123456789")


def test_strings_hold_pictures_of_their_own_split_only() -> None:
    loaded = pytest.importorskip("sklearn.datasets").load_digits()
    corpus = DigitStrings(train_strings=50, validation_strings=20, test_strings=30)
    numbers = {picture.T.tobytes(): number for number, picture in enumerate(loaded.images)}
    lengths = set()
    for split, count in zip(SPLITS, (50, 20, 30), strict=True):
        rows, mine = list(corpus.rows(split, None)), set(members(split, 1, 1797).tolist())
        assert len(rows) == count
        for row in rows:
            shown = parsed(row.source, 8).reshape(-1, 8, 8)
            chosen = [numbers[picture.tobytes()] for picture in shown]
            assert set(chosen) <= mine
            assert row.target == "".join(str(loaded.target[number]) for number in chosen)
            lengths.add(len(row.target))
    assert lengths == {3, 4, 5, 6}
    more = DigitStrings(train_strings=60)
    assert [row.source for row in more.rows("train", None)][:50] == [row.source for row in corpus.rows("train", None)]


def test_digits_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"Digits .*data\.path"):
        list(Digits().rows("train", "somewhere"))
    for settings, name in (
        ({"shortest": 0}, "shortest"),
        ({"longest": 2}, "longest"),
        ({"test_strings": 0}, "test_strings"),
    ):
        with pytest.raises(InputError, match=rf"data\.corpus\.{name} is"):
            DigitStrings(**settings)
    digits.pictures_and_digits.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match="pip install scikit-learn"):
        list(Digits().rows("train", None))


# --- training --------------------------------------------------------------------------------------------------------

CONFIG = """
task: Translation
data:
  corpus: Npy
  tokenizer: Vectors
  target_tokenizer: Characters
  batch_tokens: 200
model: {cell: GRU, embedding_size: 4, hidden_size: 8, metrics: [ExactMatch]}
trainer: {max_epochs: 2, accelerator: cpu}
"""


def weights_after(folder: Path, *more: str) -> dict[str, torch.Tensor]:
    (folder.parent / "c.yaml").write_text(CONFIG)
    train.main(["--config", str(folder.parent / "c.yaml"), "--data.path", str(folder), *more])
    content: dict[str, torch.Tensor] = checkpoint.read(Path(more[1]) / "checkpoints" / "last.ckpt")["state_dict"]
    return content


def test_training_on_frames_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for split, rows in (("train", 40), ("dev", 6), ("test", 6)):
        made = frames(rows, rows)
        (folder / f"{split}.source").mkdir(parents=True)
        for row, (source, _) in enumerate(made):
            np.save(folder / f"{split}.source" / f"{row}.npy", parsed(source, 5))
        (folder / f"{split}.target.txt").write_text("".join(f"{target}\n" for _, target in made))
    assert len(list(Npy().rows("train", str(folder)))) == 40
    one = weights_after(folder, "--run", str(tmp_path / "one"))
    other = weights_after(folder, "--run", str(tmp_path / "other"), "--data.workers", "1")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    shown = json.loads((tmp_path / "one" / "results.json").read_text())["splits"]["test"]["examples"]["random"][0]
    kept = (tmp_path / "one" / "predictions" / "test.jsonl").read_text().splitlines()
    assert " steps of 5 numbers: " in shown["source"]
    assert json.loads(kept[shown["id"]])["source"].count(" ") == 4 * (
        json.loads(kept[shown["id"]])["source"].count("\t") + 1
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric", "least"), [("classification_digits", "accuracy", 97), ("translation_digits", "exact_match", 85)]
)
def test_handwritten_digits_are_read(name: str, metric: str, least: float, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    started = time.process_time()
    train.main(["--config", str(ROOT / f"configs/{name}.yaml"), "--run", str(tmp_path / "run")])
    assert time.process_time() - started < 120
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["splits"]["test"]["metrics"][metric]["value"] >= least
