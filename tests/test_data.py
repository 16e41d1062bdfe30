"""Readers, tokenizers and batches; each mistake ends in a message that names file, line and remedy."""

import gzip
import logging
from pathlib import Path

import numpy as np
import pytest

from seq2seq.data.batch import Ragged
from seq2seq.data.datamodule import DataModule
from seq2seq.data.sources import Cldr, Parallel, Texts
from seq2seq.data.tokenizers import BOS, EOS, PAD, SentencePiece, Tokenizers
from seq2seq.errors import InputError
from tests.conftest import PAIRS, batch_of


def write_pair(folder: Path, split: str, source: bytes, target: bytes) -> None:
    (folder / f"{split}.en").write_bytes(source)
    (folder / f"{split}.de").write_bytes(target)


def read(folder: Path, split: str = "train") -> Texts:
    return Parallel("en", "de").load(split, str(folder))


def test_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    text = "a\u2028b\n\nc\x85d\r\ne\x0cf\rg".encode()
    write_pair(tmp_path, "train", text, text + b"\n")
    rows = read(tmp_path)
    assert rows.source == rows.target == ["a\u2028b", "", "c\x85d", "e\x0cf\rg"]


def test_gzipped_files_and_other_names(tmp_path: Path) -> None:
    (tmp_path / "val.en.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    (tmp_path / "val.de").write_bytes(b"eins\nzwei\n")
    rows = Parallel("en", "de", files={"validation": "val"}).load("validation", str(tmp_path))
    assert rows == Texts(["one", "two"], ["eins", "zwei"])


def test_unequal_line_counts_name_both(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", b"one\ntwo\n", b"eins\n")
    with pytest.raises(InputError, match=r"train\.en has 2 lines but .*train\.de has 1"):
        read(tmp_path)


def test_invalid_utf8_names_file_and_line(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", b"one\ntwo\n", b"eins\nzw\xe4i\n")
    with pytest.raises(InputError, match=r"train\.de:2: invalid UTF-8 \(byte 0xe4 at position 3\)"):
        read(tmp_path)


def test_missing_files_say_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        read(tmp_path / "absent")
    (tmp_path / "val.en").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no train\.en .*it holds val\.en.*data\.corpus\.files"):
        read(tmp_path)


def test_damaged_gzip(tmp_path: Path) -> None:
    (tmp_path / "train.en.gz").write_bytes(gzip.compress(b"one\n" * 1000)[:-9])
    (tmp_path / "train.de").write_bytes(b"eins\n")
    with pytest.raises(InputError, match=r"train\.en\.gz cannot be read"):
        read(tmp_path)


def test_empty_training_split(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", b"", b"")
    with pytest.raises(InputError, match="the train split is empty"):
        DataModule(Parallel("en", "de"), str(tmp_path)).texts("train")


def test_hub_data_sets_are_read_by_column(tmp_path: Path) -> None:
    folder = tmp_path / "pairs"  # a local folder takes the same road through `datasets` as a name on the Hub
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"en": "one", "de": "eins"}\n{"en": "two", "de": "zwei"}\n')
    assert Parallel("en", "de", name=str(folder)).load("train", None) == Texts(["one", "two"], ["eins", "zwei"])
    with pytest.raises(InputError, match="no column 'fr', only en, de"):
        Parallel("en", "fr", name=str(folder)).load("train", None)


def test_translation_columns_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"translation": {"en": "one", "de": "eins"}}\n')
    assert Parallel("en", "de", name=str(tmp_path)).load("test", None) == Texts(["one"], ["eins"])


def test_unreachable_hub_says_how_to_read_locally(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        InputError, match=r"'a/b' split 'train' cannot be loaded \(Couldn't reach the Hub\).*--data.path"
    ):
        Parallel("en", "de", name="a/b").load("train", None)


def test_cldr_reads_no_path() -> None:
    with pytest.raises(InputError, match=r"data\.path"):
        Cldr().load("train", "somewhere")
    with pytest.raises(InputError, match="xx"):
        Cldr(source="xx").load("train", None)


def test_cldr_splits() -> None:
    corpus = Cldr(train=30, validation=5, test=7)
    assert [len(corpus.load(split, None).source) for split in ("train", "validation", "test")] == [30, 5, 7]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_tokenizer_round_trip_and_reduction(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    texts = [text for pair in PAIRS for text in pair]
    tokenizer = SentencePiece(8000, kind)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        tokenizer.train(texts)
    assert f"vocabulary reduced from 8000 to {len(tokenizer)} pieces" in caplog.text
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(texts)] == texts
    again = SentencePiece(8000, kind)  # type: ignore[arg-type]
    again.restore(tokenizer.state)
    assert again.encode(texts) == tokenizer.encode(texts)


def test_text_is_not_normalised() -> None:
    texts = ["ﬁne … ½ ①", "Ⅷ ™ Å"] * 5
    tokenizer = SentencePiece(60, "bpe")
    tokenizer.train(texts)
    assert tokenizer.decode(tokenizer.encode(texts)[0]) == texts[0]


def test_too_small_a_vocabulary_is_an_input_error() -> None:
    with pytest.raises(InputError, match="cannot learn 5 pieces"):
        SentencePiece(5).train([text for pair in PAIRS for text in pair])


def test_damaged_tokenizer() -> None:
    with pytest.raises(InputError, match="damaged"):
        SentencePiece().restore(b"no model at all")


def test_a_prediction_is_one_line(tokenizers: Tokenizers, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizers.target
    assert isinstance(tokenizer, SentencePiece)

    class Broken:
        def decode(self, ids: list[int]) -> str:
            return "a\nb\u2028c\rd"

    monkeypatch.setattr(tokenizer, "_model", Broken())
    assert tokenizer.decode([4]) == "a b c d"


def test_padding() -> None:
    ragged = Ragged([[5, 6], [], [7, 8, 9]])
    ids, lengths = ragged.pad(np.array([2, 0, 1]), PAD)
    assert ids.tolist() == [[7, 8, 9], [5, 6, PAD], [PAD, PAD, PAD]]
    assert lengths.tolist() == [3, 2, 0]
    assert ragged.pad(np.array([], dtype=np.int64), PAD)[0].shape == (0, 0)


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
        train, test = data.encode(texts, tokenizers, training=True), data.encode(texts, tokenizers)
    assert "left out 1 of 3 training rows" in caplog.text
    assert "cut 1 of 3 sources to data.max_length 12" in caplog.text
    assert train.texts.source == ["a bird", "a bird"]
    assert test.source.lengths.tolist()[1] == 12
    with pytest.raises(InputError, match="no training row fits"):
        DataModule(max_length=3).encode(texts, tokenizers, training=True)


def test_a_shared_vocabulary_is_one_object() -> None:
    texts = Texts([pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS])
    data = DataModule(tokenizer=SentencePiece(60, "bpe"), shared_vocabulary=True)
    source, target = data.train_tokenizers(texts)
    assert source is target
    restored = data.restore_tokenizers([source.state, target.state])
    assert restored.source is restored.target
