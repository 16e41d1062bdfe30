"""A format of one's own is one file with one class: the one of docs/extending.md, from its text to an optimiser step."""

import gzip
import importlib
import re
from pathlib import Path

import pytest

from seq2seq import lint
from seq2seq.data.corpora.corpus import Corpus
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.units import Words
from seq2seq.errors import InputError
from tests.support import PAIRS, ROOT

PAIRED = "".join(f"{source}\n{target}\n" for source, target in PAIRS)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """The class, as the page has it."""
    page = (ROOT / "docs" / "extending.md").read_text()
    (block,) = [
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if block.startswith("# my_format")
    ]
    (tmp_path / "my_format.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    own: Corpus = importlib.import_module("my_format").Alternating()
    return own


def test_one_class_is_read_held_out_checked_and_trained_on(corpus: Corpus, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.pairs.gz").write_bytes(gzip.compress(PAIRED.encode()))
    (folder / "dev.txt").write_text(PAIRED)
    data = DataModule(corpus, str(folder), holdout=0.3, tokenizer=Words(), cache=str(tmp_path / "cache"))
    train, validation, test = (data.texts(split) for split in ("train", "validation", "test"))
    assert list(zip(validation.source, validation.target, strict=True)) == PAIRS
    assert validation.location(2) == f"{folder / 'dev.txt'}:5"
    assert len(train.source) + len(test.source) == len(PAIRS)
    assert len(test.source) > 0
    assert lint.check(data)[0]["splits"]["validation"]["rows"] == len(PAIRS)
    tokenizers = data.train_tokenizers(train)
    split = data.encode(train, tokenizers, "train")
    steps = data.training_steps(split, tokenizers, data.plan(split, 1), lambda: 0)
    assert sum(len(batch.rows) for step in steps for batch in step.batches) == len(train.source)


def test_one_class_is_streamed(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "train.pairs").write_text(PAIRED)
    rows = corpus.stream("train", str(tmp_path), [1, 0])
    assert [(row["source"], row["target"]) for row in rows] == PAIRS


def test_a_mistake_names_its_line(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "train.pairs").write_text("one\neins\ntwo\n")
    with pytest.raises(InputError, match=r"train\.pairs:3: "):
        list(corpus.rows("train", str(tmp_path)))
