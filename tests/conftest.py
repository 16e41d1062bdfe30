"""Tiny tokenizers, tasks and batches that the tests share."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Split
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.training.signals import CATCHES

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PAIRS = [
    ("the cat sat", "die Katze saß"),
    ("a dog runs fast", "ein Hund rennt schnell"),
    ("two men in a red car", "zwei Männer in einem roten Auto"),
    ("a woman reads", "eine Frau liest"),
    ("children play", "Kinder spielen"),
    ("the man drinks water", "der Mann trinkt Wasser"),
    ("a bird", "ein Vogel"),
    ("three girls sing a song", "drei Mädchen singen ein Lied"),
] * 2


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real data sets beside the project."""
    if not DATA.is_dir():
        pytest.skip("the real data sets are not beside this project")
    return DATA


@pytest.fixture(scope="session")
def tokenizers() -> Tokenizers:
    """Small vocabularies learnt from the sixteen pairs."""
    made = []
    for side in (0, 1):
        tokenizer = SentencePiece(100, "bpe")
        tokenizer.train([pair[side] for pair in PAIRS])
        made.append(tokenizer)
    return Tokenizers(*made)


def split_of(pairs: Sequence[tuple[str, str]], tokenizers: Tokenizers) -> Split:
    """The pairs as a split."""
    texts = Texts([source for source, _ in pairs], [target for _, target in pairs])
    source, target = (Ragged.of(tokenizer.encode(side)) for tokenizer, side in zip(tokenizers, texts[:2], strict=True))
    return Split(texts, source, target, 512)


def batch_of(pairs: Sequence[tuple[str, str]], tokenizers: Tokenizers) -> Batch:
    """The pairs as one batch."""
    return split_of(pairs, tokenizers).batch(np.arange(len(pairs)))


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where prepared data is kept during the tests, in place of the user's own folder; commands inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("SEQ2SEQ_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random numbers."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_launch() -> Iterator[None]:
    """Every test is a launch of its own, and leaves the signals as they were: trainings here share one process."""
    before = {number: signal.getsignal(number) for number in CATCHES}
    yield
    os.environ.pop("SEQ2SEQ_LAUNCH", None)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CONFIG of a test module as a file, in a folder of its own."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(request.module.CONFIG)
    return path
