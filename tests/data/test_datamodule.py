"""From texts to ids and batches: padding, ends, long rows, vocabularies that are learnt once."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest

from seq2seq.data.corpora.builtin.cldr_tasks import Cldr
from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.datamodule import DataModule
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, Tokenizer, Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.errors import InputError
from tests.support import PAIRS, batch_of

TEXTS = Texts([pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS])


def test_padding() -> None:
    ragged = Ragged.of([[5, 6], [], [7, 8, 9]])
    ids, lengths = ragged.pad(np.array([2, 0, 1]), PAD)
    assert ids.tolist() == [[7, 8, 9], [5, 6, PAD], [PAD, PAD, PAD]]
    assert lengths.tolist() == [3, 2, 0]
    assert ragged.pad(np.array([], dtype=np.int64), PAD)[0].shape == (0, 0)


def test_padding_with_ends_and_a_limit() -> None:
    ragged = Ragged.of([[5, 6], [], [7, 8, 9]])
    ids, lengths = ragged.pad(np.array([2, 0, 1]), PAD, first=BOS, last=EOS)
    assert ids.tolist() == [[BOS, 7, 8, 9, EOS], [BOS, 5, 6, EOS, PAD], [BOS, EOS, PAD, PAD, PAD]]
    assert lengths.tolist() == [5, 4, 2]
    ids, lengths = ragged.pad(np.array([2, 0, 1]), PAD, last=EOS, longest=3)
    assert ids.tolist() == [[7, 8, EOS], [5, 6, EOS], [EOS, PAD, PAD]]
    assert lengths.tolist() == [3, 3, 1]


def test_batches_begin_and_end(tokenizers: Tokenizers) -> None:
    batch = batch_of(PAIRS[:3], tokenizers)
    for row, length in enumerate(batch.source_lengths.tolist()):
        assert batch.source[row, length - 1] == EOS
        assert tokenizers.source.decode(batch.source[row, : length - 1].tolist()) == PAIRS[row][0]
    for row, length in enumerate(batch.target_lengths.tolist()):
        assert batch.target[row, 0] == BOS
        assert batch.target[row, length - 1] == EOS


def test_long_rows_are_counted(tokenizers: Tokenizers, caplog: pytest.LogCaptureFixture) -> None:
    data = DataModule(max_length=12)
    texts = Texts(["a bird", "a bird " * 9, "a bird"], ["ein Vogel"] * 3)
    with caplog.at_level(logging.WARNING):
        train = data.encode(texts, tokenizers, "train")
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        plan = data.plan(train, seed=1)
        test = data.encode(texts, tokenizers, "test")
    assert "left out 1 of 3 training rows" in caplog.text
    assert "cut 1 of 3 sources to data.max_length 12" in caplog.text
    taken = np.concatenate([plan.rows(step) for step in range(len(plan))])
    assert sorted(taken.tolist()) == [0, 2]
    batch = test.batch(np.arange(3))
    assert batch.source_lengths.tolist()[1] == 12
    assert batch.source[1, 11] == EOS
    short = DataModule(max_length=3)
    with pytest.raises(InputError, match=r"data\.max_length "):
        short.plan(short.encode(texts, tokenizers, "train"), seed=1)


def test_empty_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for ending in ("en", "de"):
            (tmp_path / f"{split}.{ending}").write_bytes(b"one\n" if split == "train" else b"")
    data = DataModule(Parallel("en", "de"), str(tmp_path))
    with pytest.raises(InputError, match=r"test split .*data\.corpus"):
        data.texts("test")
    with pytest.raises(InputError, match=r"validation split .*data\.holdout"):
        data.texts("validation")
    (tmp_path / "train.en").write_bytes(b"")
    (tmp_path / "train.de").write_bytes(b"")
    with pytest.raises(InputError, match=r"train split .*data\.corpus"):
        data.texts("train")


def test_few_sources_are_held_out_by_a_share_that_is_named(tmp_path: Path) -> None:
    sources = "north east south west up down".split() * 20
    for ending in ("en", "de"):
        (tmp_path / f"train.{ending}").write_text("\n".join(sources) + "\n")
    data = DataModule(Parallel("en", "de"), str(tmp_path))
    with pytest.raises(InputError, match=r"\b6; .*data\.holdout to 0\.\d+") as problem:
        [data.texts(split) for split in ("train", "validation", "test")]
    share = float(re.findall(r"data\.holdout to (0\.\d+)", str(problem.value))[0])
    data = DataModule(Parallel("en", "de"), str(tmp_path), holdout=share)
    kept = [set(data.texts(split).source) for split in ("train", "validation", "test")]
    assert sum(map(len, kept)) == 6
    assert set.union(*kept) == set(sources)
    with pytest.raises(InputError, match="empty"):
        least = DataModule(Parallel("en", "de"), str(tmp_path), holdout=share - 0.01)
        [least.texts(split) for split in ("train", "validation", "test")]
    for ending in ("en", "de"):
        (tmp_path / f"train.{ending}").write_text("one\n" * 30)
    with pytest.raises(InputError, match=r"\b1; name files"):
        [data.texts(split) for split in ("train", "validation", "test")]


def test_max_rows() -> None:
    data = DataModule(Cldr(train=30, validation=5, test=7), max_rows={"train": 4, "test": 100})
    assert [len(data.texts(split).source) for split in ("train", "validation", "test")] == [4, 5, 7]
    for rows, message in (({"dev": 1}, "'dev'"), ({"train": 0}, r"max_rows\.train is 0")):
        with pytest.raises(InputError, match=message):
            DataModule(max_rows=rows)


def test_a_shared_vocabulary_is_one_object() -> None:
    data = DataModule(tokenizer=SentencePiece(60, "bpe"), shared_vocabulary=True)
    source, target = data.train_tokenizers(TEXTS)
    assert source is target
    restored = data.restore_tokenizers([source.state, target.state])
    assert restored.source is restored.target


def test_a_target_may_have_its_own_tokenizer() -> None:
    """One that has learnt nothing yet has no length, and must not be asked for it."""
    data = DataModule(tokenizer=SentencePiece(90, "bpe"), target_tokenizer=SentencePiece(100, "bpe"))
    trained = data.train_tokenizers(TEXTS)
    assert [len(one) for one in trained] == [90, 100]
    assert [one.state for one in data.restore_tokenizers([one.state for one in trained])] == [
        one.state for one in trained
    ]


def test_vocabularies_and_ids_are_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[Tokenizer] = []
    train, encode = SentencePiece.train, SentencePiece.encode
    encoded: list[int] = []
    monkeypatch.setattr(SentencePiece, "train", lambda self, texts: (learnt.append(self), train(self, texts))[1])
    monkeypatch.setattr(SentencePiece, "encode", lambda self, texts: (encoded.append(1), encode(self, texts))[1])

    def prepare(texts: Texts, size: int) -> list[list[int]]:
        data = DataModule(tokenizer=SentencePiece(size, "bpe"), cache=str(tmp_path))
        split = data.encode(texts, data.train_tokenizers(texts), "train")
        return split.source.pad(np.arange(len(split)), PAD)[0].tolist()

    known = TEXTS._replace(content="a")
    first = prepare(known, 60)
    assert (len(learnt), len(encoded)) == (2, 2)
    assert prepare(known, 60) == first
    assert (len(learnt), len(encoded)) == (2, 2)
    prepare(TEXTS._replace(content="b"), 60)
    assert (len(learnt), len(encoded)) == (4, 4)
    assert prepare(known, 50) != first
    assert (len(learnt), len(encoded)) == (6, 6)
    prepare(TEXTS, 60)  # texts without a checksum are kept nowhere
    prepare(TEXTS, 60)
    assert (len(learnt), len(encoded)) == (10, 10)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_several_references_of_a_row(tmp_path: Path, form: str) -> None:
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    from seq2seq.data.corpora.json_rows import Jsonl, Parquet

    rows = [{"source": "a", "target": ["b c", "d"]}, {"source": "e", "target": ["f"]}]
    for split in ("train", "validation", "test"):
        file = tmp_path / f"{split}.{form}"
        if form == "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), file)
    kind = Jsonl if form == "jsonl" else Parquet
    texts = DataModule(kind(several_references=True), str(tmp_path), cache=str(tmp_path / "cache")).texts("test")
    assert list(texts.target) == ["b c", "f"], "training learns the first"
    assert texts.references() == [["b c", "d"], ["f"]]
    assert texts.content != DataModule(kind(), str(tmp_path), cache=str(tmp_path / "cache")).texts("test").content
    joined = DataModule(kind(), str(tmp_path), cache=str(tmp_path / "cache")).texts("test")
    assert (list(joined.target), joined.references()) == (["b c\td", "f"], [["b c\td"], ["f"]])
    for wrong in ([], ["a", 1]):
        (tmp_path / "test.jsonl").write_text(json.dumps({"source": "a", "target": wrong}) + "\n")
        if form == "jsonl":
            with pytest.raises(InputError, match=r"test\.jsonl:1: target .*several_references"):
                DataModule(Jsonl(several_references=True), str(tmp_path), cache=str(tmp_path / "c")).texts("test")
