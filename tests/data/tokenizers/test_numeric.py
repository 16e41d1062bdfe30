"""Sequences of vectors: their text, their normalisation, and the files they come from."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seq2seq.data.cache import Cache
from seq2seq.data.corpora.corpus import Corpus, load, select_split
from seq2seq.data.corpora.json_rows import Jsonl, Parquet
from seq2seq.data.corpora.npy import Npy
from seq2seq.data.corpora.tables import Tsv
from seq2seq.data.datamodule import DataModule
from seq2seq.data.number_text import parsed, text_of_array, text_of_list
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Labels
from seq2seq.errors import InputError
from seq2seq.lint import check, page
from tests.support import trained

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def learnt_from(texts: list[str], normalise: bool = True) -> Vectors:
    return trained(Vectors(normalise), texts)


def some_rows(seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal([5, -3e4, 1e-3], [2, 1e3, 1e-5], (steps, 3)) for steps in (4, 1, 9, 30)]


def same(found: np.ndarray, values: np.ndarray) -> bool:
    """Whether numbers are the very ones, in 32 bits if these hold all of them."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
        return bool((found.astype(np.float32) == narrow).all() if (narrow == values).all() else (found == values).all())


# --- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
@given(data=st.data())
def test_text_holds_the_very_numbers(kind: type, data: st.DataObject) -> None:
    width = {np.float64: 64, np.float32: 32, np.float16: 16}[kind]
    shape = arrays.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=5)
    elements = st.floats(allow_nan=False, allow_infinity=False, width=width)  # type: ignore[call-overload]
    values = data.draw(arrays.arrays(kind, shape, elements=elements))
    text = text_of_array(values)
    found = parsed(text, None)
    assert found.shape == (len(values), values.size // len(values))
    assert same(found.reshape(values.shape), values)
    assert "\n" not in text


@given(st.lists(st.lists(st.integers(-(2**53), 2**53) | FLOATS, min_size=2, max_size=2), min_size=1, max_size=5))
def test_lists_are_read_as_numpy_reads_them(steps: list[list[float]]) -> None:
    assert same(parsed(str(text_of_list(steps)), 2), np.array(steps, dtype=float))


def test_numbers_are_short() -> None:
    assert text_of_array(np.array([[0.0, 16.0], [3.0, -1.0]])) == "0 16\t3 -1"
    assert text_of_array(np.array([0.1, 2.5], dtype=np.float32)) == "0.1\t2.5"
    assert text_of_list([1, 2.5]) == "1.0\t2.5"
    assert text_of_list([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]) == "1 2 3 4\t5 6 7 8"  # frames of a video
    assert text_of_list(["a", "b"]) is None
    assert text_of_list([]) is None


# --- normalisation ---------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_all_steps() -> None:
    rows = some_rows()
    tokenizer = learnt_from([text_of_array(row) for row in rows])
    together = np.concatenate(rows)
    np.testing.assert_allclose(tokenizer.mean, together.mean(0), rtol=1e-12)
    np.testing.assert_allclose(tokenizer.deviation, together.std(0), rtol=1e-9)
    assert (tokenizer.width, tokenizer.steps) == (3, (1, 30))
    encoded = np.concatenate(tokenizer.encode([text_of_array(row) for row in rows]))
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(encoded.std(0), 1, rtol=1e-5)


def test_a_number_that_never_changes_stays_finite() -> None:
    tokenizer = learnt_from(["0.1 3\t0.1 5"])
    assert tokenizer.encode(["0.1 4"])[0].tolist() == [[0.0, 0.0]]
    assert tokenizer.decode([[0.0, 1.0]]) == "0.1 5.0"
    assert learnt_from(["1 2\t3 4"], normalise=False).encode(["1 2"])[0].tolist() == [[1.0, 2.0]]


@given(st.integers(-999_999, 999_999), st.integers(-3, 3))
def test_decoding_gives_the_text_back(number: int, power: int) -> None:
    unit = 10.0**power
    tokenizer = learnt_from([f"{-1e6 * unit!r}\t{1e6 * unit!r}"])
    value = float(f"{number}e{power}")
    assert float(tokenizer.decode(tokenizer.encode([repr(value)])[0].tolist())) == pytest.approx(value, abs=0.1 * unit)
    assert tokenizer.decode([[0.0]]) == "0"


def test_the_state_makes_an_equal_tokenizer() -> None:
    texts = [text_of_array(row) for row in some_rows()]
    tokenizer, again = learnt_from(texts), Vectors()
    again.restore(tokenizer.state)
    for one, other in zip(tokenizer.encode(texts), again.encode(texts), strict=True):
        assert (one == other).all()
    assert again.state == tokenizer.state
    for bad in (
        b"",
        b"[]",
        b'{"mean": [], "deviation": [], "steps": [1, 2]}',
        b'{"mean": [1], "deviation": [0], "steps": [1, 1]}',
    ):
        with pytest.raises(InputError, match=r"Vectors .*damaged"):
            Vectors().restore(bad)


def test_people_see_the_first_numbers() -> None:
    tokenizer = learnt_from(["1 2\t3 4"])
    text = "\t".join(f"{step} {step + 1}" for step in range(30))
    assert tokenizer.shown(text) == "30 steps of 2 numbers: 0 1 1 2 2 3 3 4 ..."
    assert tokenizer.shown("\t".join("123456789")) == "9 numbers: 1 2 3 4 5 6 7 8 ..."
    assert tokenizer.shown("1 2\t3 4") == "1 2\t3 4"
    assert (tokenizer.length(text), tokenizer.extent()) == (30, "vectors of 2 numbers")


# --- files -----------------------------------------------------------------------------------------------------------


def rows_in(corpus: Corpus, folder: Path, split: str = "train") -> list[tuple[str, str]]:
    texts = load(corpus, select_split(corpus, split, str(folder), 0, None), str(folder), Cache())
    return list(zip(texts.source, texts.target, strict=True))


def test_parquet_and_json_hold_vectors(tmp_path: Path) -> None:
    frames, labels = [[[1.5, 2], [3, 4]], [[5, 6]]], ["ab", "c"]
    narrow = pa.array(frames, pa.list_(pa.list_(pa.float32())))
    pq.write_table(pa.table({"source": narrow, "target": labels}), tmp_path / "train.parquet")
    lines = [json.dumps({"source": one, "target": label}) for one, label in zip(frames, labels, strict=True)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    expected = [("1.5 2.0\t3.0 4.0", "ab"), ("5 6", "c")]
    assert rows_in(Parquet(), tmp_path) == rows_in(Jsonl(), tmp_path) == expected


def test_npy_arrays_of_one_length(tmp_path: Path) -> None:
    frames = np.arange(12.0).reshape(3, 2, 2)
    np.save(tmp_path / "train.frames.npy", frames)
    (tmp_path / "train.text.txt").write_text("a\nb\nc\n")
    np.save(tmp_path / "dev.frames.npy", frames[:, :, 0])
    np.save(tmp_path / "dev.text.npy", np.array([7, 8, 9]))
    corpus = Npy("frames", "text")
    assert rows_in(corpus, tmp_path) == [("0 1\t2 3", "a"), ("4 5\t6 7", "b"), ("8 9\t10 11", "c")]
    assert rows_in(corpus, tmp_path, "validation") == [("0\t2", "7"), ("4\t6", "8"), ("8\t10", "9")]
    assert not corpus.has("test", str(tmp_path))
    assert [row["source"] for row in corpus.stream("train", str(tmp_path), None)] == [
        "0 1\t2 3",
        "4 5\t6 7",
        "8 9\t10 11",
    ]


def test_npy_folders_of_many_lengths(tmp_path: Path) -> None:
    corpus = Npy()
    for side in ("source", "target"):
        (tmp_path / f"train.{side}").mkdir()
        for row in (10, 9, 1):  # by number, not by name
            np.save(tmp_path / f"train.{side}" / f"clip{row}.npy", np.full((row, 2), row))
    found = [(row.source.count("\t") + 1, Path(row.file).name, row.line) for row in corpus.rows("train", str(tmp_path))]
    assert found == [(1, "clip1.npy", 1), (9, "clip9.npy", 1), (10, "clip10.npy", 1)]
    assert len(corpus.stored("train", str(tmp_path)) or ()) == 6
    before = rows_in(corpus, tmp_path)
    np.save(tmp_path / "train.source" / "clip9.npy", np.full((9, 2), 5))
    assert rows_in(corpus, tmp_path) != before  # a changed file is read anew


BAD_LINES = [
    ("1 2\t3 x", r"train\.tsv:2: step 2 .*'x'"),
    ("1 2\t3", r"train\.tsv:2: step 2 has 1 number\b.* 2 "),
    ("1 2\t3 4 5", r"train\.tsv:2: step 2 has 3 numbers\b.* 2 "),
    ("1 2 3\t4 5 6", r"train\.tsv:2: step 1 has 3 numbers\b.* 2 "),
    ("1 2\t\t3 4", r"train\.tsv:2: step 2 has 0 numbers\b.* 2 "),
    ("1 2\t3 nan", r"train\.tsv:2: step 2 .*not finite"),
    ("1 inf", r"train\.tsv:2: step 1 .*not finite"),
    ("", r"train\.tsv:2: .*numbers"),
]


@pytest.mark.parametrize(("text", "message"), BAD_LINES, ids=[text for text, _ in BAD_LINES])
def test_wrong_rows_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.tsv").write_text(f"1 2\t3 4|a\n{text}|b\n5 6|c\n")
    data = DataModule(Tsv(delimiter="|"), str(tmp_path), tokenizer=Vectors(), target_tokenizer=Labels(), holdout=0)
    with pytest.raises(InputError, match=message) as caught:
        data.encode(data.texts("train"), data.train_tokenizers(data.texts("train")), "train")
    assert "\n" not in str(caught.value)


BAD_VALUES = [
    ([[1, 2], [3]], r":2: source: step 2 has 1 number\b.* 2 "),
    ([[1, 2], []], r":2: source: step 2 has 0 numbers\b.* 2 "),
    ([[1.0, float("nan")]], r":2: source: step 1 .*not finite"),
    ([1.0, float("inf")], r":2: source: step 2 .*not finite"),
    ([1.0, None], r":2: source: step 2 .*None"),
    ([[1, None]], r":2: source: step 1 .*None"),
]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(("value", "message"), BAD_VALUES)
def test_wrong_values_name_file_line_and_step(tmp_path: Path, value: list[object], message: str, form: str) -> None:
    good = [[1.0] * 2] if isinstance(value[0], list) else [1.0]
    file, corpus = tmp_path / f"train.{form}", (Jsonl() if form == "jsonl" else Parquet())
    if form == "jsonl":
        file.write_text("\n".join(json.dumps({"source": one, "target": ""}) for one in (good, value)))
    else:
        pq.write_table(pa.table({"source": [good, value], "target": ["", ""]}), file)
    with pytest.raises(InputError, match=rf"train\.{form}{message}"):
        rows_in(corpus, tmp_path)


def spoilt(write: Callable[[Path], object], message: str) -> tuple[Callable[[Path], object], str]:
    return write, message


BAD_ARRAYS = [
    spoilt(lambda f: np.save(f / "train.source.npy", [[1.0, 2.0], [3.0, np.nan]]), r"train\.source\.npy:2: step 2 .*not finite"),
    spoilt(lambda f: np.save(f / "train.source.npy", np.array([[1, 2], [3]], dtype=object), allow_pickle=True), r"train\.source\.npy: .*numpy\.save"),
    spoilt(lambda f: np.save(f / "train.source.npy", np.array([["a"], ["b"]])), r"train\.source\.npy:1: <U1 "),
    spoilt(lambda f: np.save(f / "train.source.npy", np.zeros((2, 0))), r"train\.source\.npy"),
    spoilt(lambda f: (f / "train.source.npy").write_bytes(b"nothing"), r"train\.source\.npy: .*numpy\.save"),
    spoilt(lambda f: (f / "train.source.npy").write_bytes(b""), r"train\.source\.npy: .*numpy\.save"),
    spoilt(lambda f: np.save(f / "train.source.npy", np.zeros(3)), r"train\.target\.txt has 2 .*train\.source\.npy"),
    spoilt(lambda f: np.save(f / "train.source.npy", np.zeros(1)), r"train\.source\.npy has 1 .*train\.target\.txt"),
    spoilt(lambda f: np.save(f / "test.source.npy", np.zeros(1)), r"train\.source"),
    spoilt(lambda f: (f / "train.source").mkdir(), r"train\.source .*\.npy"),
    spoilt(lambda f: ((f / "train.source").mkdir(), np.save(f / "train.source" / "a.npy", np.zeros(1))), r"a\.npy .*number"),
    spoilt(lambda f: (np.save(f / "train.source.npy", np.zeros(2)), (f / "train.source.txt").write_text("")), r"train\.source\.npy .*train\.source\.txt"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "message"), BAD_ARRAYS, ids=[message for _, message in BAD_ARRAYS])
def test_wrong_arrays_are_named(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    (tmp_path / "train.target.txt").write_text("a\nb\n")
    write(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        rows_in(Npy(), tmp_path)
    assert "\n" not in str(caught.value)


def test_npy_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path .*Npy"):
        rows_in(Npy(), tmp_path / "absent")
    with pytest.raises(InputError, match=r"train\.frames\.npy"):
        rows_in(Npy("frames"), tmp_path)
    for row, name in ((1, "source"), (2, "target")):
        (tmp_path / f"train.{name}").mkdir()
        np.save(tmp_path / f"train.{name}" / f"{row}.npy", np.zeros(2))
    with pytest.raises(InputError, match=r"1\.npy .*2\.npy"):
        rows_in(Npy(), tmp_path)


def test_lint_looks_at_vectors(tmp_path: Path) -> None:
    for split, rows in (("train", 40), ("dev", 5), ("test", 5)):
        frames = np.random.default_rng(rows).normal(size=(rows, 60, 3))
        if split == "test":
            frames[0] = np.random.default_rng(40).normal(size=(40, 60, 3))[3]  # a row of training
        np.save(tmp_path / f"{split}.source.npy", frames)
        (tmp_path / f"{split}.target.txt").write_text("abcd\n" * (rows - 1) + 20 * "abcd" + "\n")  # a long one
    header, findings = check(DataModule(Npy(), str(tmp_path), tokenizer=Vectors(), target_tokenizer=Characters()))
    assert header["extent"] == {"source": "vectors of 3 numbers", "target": "vocabulary of 8"}
    assert [(one.kind, one.split, one.rows) for one in findings] == [("overlap", "test", 1)]
    assert "vectors of 3 numbers for the source" in page(header, findings, None, False)
