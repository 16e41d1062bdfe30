"""Rows from files of every form; each mistake ends in a message that names file, line and remedy."""

import csv
import gzip
import io
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from seq2seq.cli import command
from seq2seq.data.cache import Cache
from seq2seq.data.corpora.builtin.cldr_tasks import Cldr
from seq2seq.data.corpora.conll import Conll, Conllu
from seq2seq.data.corpora.corpus import Corpus, load, select_split
from seq2seq.data.corpora.hub import Hub
from seq2seq.data.corpora.json_rows import Jsonl, Parquet
from seq2seq.data.corpora.mixture import Mixture
from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.corpora.tables import Csv, Tsv
from seq2seq.data.rows import Row, Texts, in_memory, read, write
from seq2seq.errors import InputError

Pairs = list[tuple[str, str]]
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

ODD = "a\u2028b\x85c\x0cd\x1ce"
"""What Python takes for the end of a line, but no file format does."""


def pairs(corpus: Corpus, path: Path | None, split: str = "train") -> Pairs:
    return [(row.source, row.target) for row in corpus.rows(split, None if path is None else str(path))]


def texts(corpus: Corpus, path: Path, split: str = "train", holdout: float = 0.0, limit: int | None = None) -> Texts:
    return load(corpus, select_split(corpus, split, str(path), holdout, limit), str(path), Cache())


def only(folder: Path, name: str, content: bytes | str) -> Path:
    """The folder with this file in it, and no other."""
    for file in folder.iterdir():
        file.unlink()
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def word(number: int, form: str, upos: str = "X") -> str:
    return "\t".join([str(number), form, "_", upos, *"______"]) + "\n"


def packed(content: str) -> bytes:
    return gzip.compress(content.encode(), mtime=0)


# --- the right reading -----------------------------------------------------------------------------------------------


def test_parallel_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    text = f"\ufeff{ODD}\n\nc\r\ne\rg"
    (tmp_path / "train.en").write_text(text, newline="")
    (tmp_path / "train.de.gz").write_bytes(packed(text + "\n"))
    assert pairs(Parallel("en", "de"), tmp_path) == [(line, line) for line in (ODD, "", "c", "e\rg")]


def test_parallel_shards_are_read_side_by_side(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"part-{number}.en").write_text(f"{number}\n")
    (tmp_path / "part-1.de.gz").write_bytes(packed("eins\n"))
    (tmp_path / "part-2.de").write_text("zwei\n")
    corpus = Parallel("en", "de", files={"train": "part-*"})
    assert pairs(corpus, tmp_path) == [("1", "eins"), ("2", "zwei")]
    assert not corpus.has("test", str(tmp_path))
    (tmp_path / "part-2.de").rename(tmp_path / "part-3.de")
    with pytest.raises(InputError, match=r"part-2\.en .*part-3\.de"):
        pairs(corpus, tmp_path)
    (tmp_path / "part-3.de").unlink()
    with pytest.raises(InputError, match=r"train .*2 .*\.en .*1 .*\.de"):
        pairs(corpus, tmp_path)


@pytest.mark.parametrize("split", ["validation", "valid", "val", "dev"])
@pytest.mark.parametrize("ending", [".tsv", ".tsv.gz", ""])
def test_the_validation_split_has_several_names(tmp_path: Path, split: str, ending: str) -> None:
    content = "a\tb\n"
    (tmp_path / f"{split}{ending}").write_bytes(packed(content) if "gz" in ending else content.encode())
    assert Tsv().has("validation", str(tmp_path))
    assert pairs(Tsv(), tmp_path, "validation") == [("a", "b")]
    assert not Tsv().has("test", str(tmp_path))


def test_files_not_named_keep_their_usual_names(tmp_path: Path) -> None:
    for name in ("train", "dev", "mine"):
        (tmp_path / f"{name}.tsv").write_text(f"{name}\t\n")
    assert pairs(Tsv(files={"test": "mine"}), tmp_path) == [("train", "")]
    assert pairs(Tsv(files={"test": "mine"}), tmp_path, "validation") == [("dev", "")]
    assert pairs(Tsv(files={"test": "mine"}), tmp_path, "test") == [("mine", "")]
    assert not Tsv(files={"validation": []}).has("validation", str(tmp_path))


def test_tsv_columns_by_number_and_name(tmp_path: Path) -> None:
    only(tmp_path, "train.tsv", f'\ufefflemma\tform\ttags\r\ngo\t"went\tPST\r\n{ODD}\t\tPRS\n\n')
    assert pairs(Tsv(["tags", "lemma"], "form"), tmp_path) == [("PST\tgo", '"went'), (f"PRS\t{ODD}", "")]
    assert pairs(Tsv(1, [2, 3], header=True), tmp_path) == [("go", '"went\tPST'), (ODD, "\tPRS")]
    assert pairs(Tsv("lemma", 3), tmp_path) == [("go", "PST"), (ODD, "PRS")]
    assert pairs(Tsv(), tmp_path)[0] == ("lemma", "form")


def test_tsv_split_limit_and_encoding(tmp_path: Path) -> None:
    only(tmp_path, "train", "1 what is é , in the end ?\n0 who\n".encode("latin-1"))
    corpus = Tsv(2, 1, " ", columns=2, encoding="latin-1")
    assert pairs(corpus, tmp_path) == [("what is é , in the end ?", "1"), ("who", "0")]


def test_columns_on_the_command_line_are_numbers_where_they_look_like_them() -> None:
    parser = command.training_parser()
    choice = ["--data.corpus", "Tsv", "--data.corpus.source", "2", "--data.corpus.target", "[1, form]"]
    corpus = parser.instantiate(command.parse(parser, choice)).data.corpus
    assert (corpus.source, corpus.target) == (2, [1, "form"])
    choice = ["--data.corpus", "Csv", "--data.corpus.source", "lemma"]
    assert parser.instantiate(command.parse(parser, choice)).data.corpus.source == "lemma"


def test_several_shards_by_pattern(tmp_path: Path) -> None:
    (tmp_path / "part-2.tsv").write_text("c\td\n")
    (tmp_path / "part-1.tsv.gz").write_bytes(packed("a\tb\n"))
    (tmp_path / "more.txt").write_text("e\tf\n")
    (tmp_path / "part-0.json").write_text("no table")
    every = [("a", "b"), ("c", "d")]
    assert pairs(Tsv(files={"train": "part-*"}), tmp_path) == every
    assert pairs(Tsv(files={"train": ["part-*.tsv", "more"]}), tmp_path) == [*every, ("e", "f")]
    (tmp_path / "part-1.tsv").write_text("a\tb\n")  # the same file, unpacked, and changed since
    (tmp_path / "part-1.tsv.gz").write_bytes(packed("old\tb\n"))
    for pattern in ("part-*", "part-*.tsv", "part-*.tsv*"):
        assert pairs(Tsv(files={"train": pattern}), tmp_path) == every


def test_csv_quotes_protect_everything(tmp_path: Path) -> None:
    odd = 'say "hi",\nor\r\ndo; not\r'
    content = io.StringIO(newline="")
    table = csv.writer(content)
    table.writerows([["source", "no", "target"], [odd, "x", ODD], ["", "y", " b "]])
    only(tmp_path, "train.csv.gz", packed("\ufeff" + content.getvalue()))
    assert pairs(Csv(), tmp_path) == [(odd, ODD), ("", " b ")]
    assert texts(Csv(), tmp_path).location(1).endswith("train.csv.gz:5")
    only(tmp_path, "train.csv", "a;b\nc;d\n\n\n")
    assert pairs(Csv(2, 1, ";", header=False), tmp_path) == [("b", "a"), ("d", "c")]
    assert pairs(Csv(2, 1, ";"), tmp_path) == [("d", "c")]


def test_jsonl_values(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"source": ODD + "\n\t\r", "target": ["New York", "is"], "translation": {"en": 1, "de": True}, "a.b": "c"},
        {"source": "", "target": [], "translation": {"en": 1.5, "de": "x"}, "a.b": "d"},
    ]
    only(tmp_path, "train.jsonl.gz", packed("\ufeff" + "\r\n".join(json.dumps(row) for row in rows) + "\n\n"))
    assert pairs(Jsonl(), tmp_path) == [(ODD + "\n\t\r", "New York\tis"), ("", "")]
    assert pairs(Jsonl("translation.en", "translation.de"), tmp_path) == [("1", "true"), ("1.5", "x")]
    assert pairs(Jsonl(["a.b", "translation.en"], "a.b"), tmp_path)[1] == ("d\t1.5", "d")


def test_parquet_values(tmp_path: Path) -> None:
    columns = {
        "source": pa.array([ODD, "b"]).dictionary_encode(),
        "target": [["New York", "is"], []],
        "translation": [{"en": "x", "de": "y"}, {"en": "z", "de": ""}],
        "a.b": [1, 2],
    }
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    assert pairs(Parquet(), tmp_path) == [(ODD, "New York\tis"), ("b", "")]
    assert pairs(Parquet(["translation.en", "a.b"], "translation.de"), tmp_path) == [("x\t1", "y"), ("z\t2", "")]


def test_conllu_words(tmp_path: Path) -> None:
    range_line, empty_node = "1-2" + "\t_" * 9 + "\n", "2.1\tgone\t_\tVERB" + "\t_" * 6 + "\n"
    first = "# text = x\n" + range_line + word(1, "bắt chuyện", "VERB") + word(2, "#\u2028", "PUNCT") + empty_node
    only(tmp_path, "train.conllu", "\ufeff" + first + "\r\n \t\n\n# alone\n\n" + word(1, "end").rstrip("\n"))
    assert pairs(Conllu(), tmp_path) == [("bắt chuyện\t#\u2028", "VERB\tPUNCT"), ("end", "X")]
    assert [row.line for row in Conllu().rows("train", str(tmp_path))] == [3, 11]
    assert pairs(Conllu("upos", "id"), tmp_path)[0] == ("VERB\tPUNCT", "1\t2")


def test_conll_columns(tmp_path: Path) -> None:
    tabs = "-DOCSTART-\tO\n\nNew York\tB-LOC\n10\u00a0000\tO\n\t\nx\tO\r\n\r\n\n-DOCSTART-\tO\ny\tO"
    rows = [("New York\t10\u00a0000", "B-LOC\tO"), ("x", "O"), ("y", "O")]
    only(tmp_path, "train.conll", tabs)
    assert pairs(Conll(delimiter="\t"), tmp_path) == rows
    assert [row.line for row in Conll(delimiter="\t").rows("train", str(tmp_path))] == [3, 6, 10]
    only(tmp_path, "train.conll", "EU NNP  I-NP\tB-ORG\n10\u00a0000 CD I-NP O \n   \n")
    assert pairs(Conll(1, 4), tmp_path) == [("EU\t10\u00a0000", "B-ORG\tO")]
    assert pairs(Conll(2, 1), tmp_path) == [("NNP\tCD", "EU\t10\u00a0000")]


def hub_folder(folder: Path, rows: Sequence[dict[str, Any]], split: str = "train") -> str:
    """A local folder takes the same road through `datasets` as a name on the Hub."""
    folder.mkdir(exist_ok=True)
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def test_hub_columns(tmp_path: Path) -> None:
    name = hub_folder(
        tmp_path / "pairs", [{"en": ODD, "de": "eins", "n": 1}, {"en": "two", "de": ["z", "w"][0], "n": 2}]
    )
    expected = [(ODD, "eins"), ("two", "z")]
    assert pairs(Hub(name, "en", "de"), None) == pairs(Parallel("en", "de", name), None) == expected
    assert pairs(Hub(name, ["n", "en"], "de"), None)[1] == ("2\ttwo", "z")
    corpus = Hub(name, "en", "de")
    assert corpus.has("train", None)
    assert not corpus.has("validation", None)
    assert not Hub(name, splits={"train": None}).has("train", None)
    assert Hub(name, splits={"test": "train"}).has("test", None)
    stored = load(corpus, select_split(corpus, "train", None, 0, None), None, Cache())
    assert list(stored.source) == [ODD, "two"]
    assert stored.location(1) == f"{name} train:2"
    with pytest.raises(InputError, match=r"'fr'.* en, de, n"):
        pairs(Parallel("en", "fr", name), None)
    with pytest.raises(InputError, match=r"--data\.path"):
        pairs(corpus, None, "test")
    with pytest.raises(InputError, match=r"Hub .*data\.path"):
        pairs(corpus, tmp_path)


def test_hub_translations_and_classes(tmp_path: Path) -> None:
    import datasets

    name = hub_folder(tmp_path / "translation", [{"translation": {"en": "one", "de": "eins"}}], "test")
    assert pairs(Parallel("en", "de", name), None, "test") == [("one", "eins")]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    for place, label in enumerate((1, -1)):
        rows = datasets.Dataset.from_dict({"text": ["fine"], "label": [label]}, features=features)
        folder = tmp_path / f"classes{place}"
        folder.mkdir()
        rows.to_parquet(str(folder / "train.parquet"))
    assert pairs(Hub(str(tmp_path / "classes0"), "text", "label"), None) == [("fine", "good")]
    with pytest.raises(InputError, match=r"label is -1"):
        pairs(Hub(str(tmp_path / "classes1"), "text", "label"), None)


def test_mixtures(tmp_path: Path) -> None:
    (tmp_path / "big.tsv").write_text("".join(f"{number}\tb\n" for number in range(90)))
    (tmp_path / "small.tsv").write_text("".join(f"{number}\ts\n" for number in range(10)))
    both: list[Corpus] = [Tsv(files={"train": "big", "test": "small"}), Tsv(files={"train": "small"})]
    mixture = Mixture(both, names=["de", "fr"])
    rows = texts(mixture, tmp_path)
    assert list(rows.source[88:92]) == ["de\t88", "de\t89", "fr\t0", "fr\t1"]
    assert rows.corpora == [90, 10]
    assert rows.location(91).endswith("small.tsv:2")
    assert not mixture.has("test", str(tmp_path))
    assert mixture.proportions([90, 10]) == [0.9, 0.1]
    assert Mixture(both, temperature=2).proportions([90, 10]) == pytest.approx([0.75, 0.25])
    assert Mixture(both, shares=[1, 3]).proportions([90, 10]) == [0.25, 0.75]
    assert Mixture(both, shares=[1, 3]).proportions([90]) == [1.0]  # max_rows may have left out the second
    assert Mixture(both, shares=[1, 3]).proportions([0, 9]) == [0.0, 1.0]
    assert Mixture(both, temperature=5).proportions([0, 9]) == [0.0, 1.0]
    with pytest.raises(InputError, match=r"data\.corpus\.names .*1 .*2 "):
        Mixture(both, names=["x"])
    for bad in ({"shares": [1.0, 0.0]}, {"temperature": 0.0}, {"corpora": []}):
        with pytest.raises(InputError, match=r"data\.corpus\."):
            Mixture(**{"corpora": both, **bad})  # type: ignore[arg-type]


def test_cldr() -> None:
    corpus = Cldr(train=30, validation=5, test=7)
    assert [len(pairs(corpus, None, split)) for split in ("train", "validation", "test")] == [30, 5, 7]
    with pytest.raises(InputError, match=r"data\.path"):
        pairs(corpus, Path("somewhere"))
    with pytest.raises(InputError, match="xx"):
        pairs(Cldr(source_locale="xx"), None)


def test_one_file_is_the_training_split(tmp_path: Path) -> None:
    file = only(tmp_path, "mine", "a\tb\n") / "mine"
    assert pairs(Tsv(), file) == [("a", "b")]
    assert not Tsv().has("test", str(file))
    with pytest.raises(InputError, match=r"data\.path .*mine"):
        pairs(Parallel("en", "de"), file)


# --- splits ----------------------------------------------------------------------------------------------------------

WORDS = [f"source {number % 700}" for number in range(1000)]


def held_out(folder: Path, rows: Sequence[str], share: float = 0.1) -> dict[str, list[str]]:
    (folder / "train.tsv").write_text("".join(f"{source}\t{number}\n" for number, source in enumerate(rows)))
    return {split: list(texts(Tsv(), folder, split, share).source) for split in ("train", "validation", "test")}


def test_held_out_splits(tmp_path: Path) -> None:
    splits = held_out(tmp_path, WORDS)
    assert Counter(source for rows in splits.values() for source in rows) == Counter(WORDS)
    assert sum(len(set(rows)) for rows in splits.values()) == 700  # no duplicate straddles
    assert all(0.06 < len(splits[split]) / 1000 < 0.14 for split in ("validation", "test"))

    shuffled = random.Random(1).sample(WORDS, len(WORDS))
    again = held_out(tmp_path, [*shuffled, *(f"new {number}" for number in range(500))])
    for split, rows in splits.items():
        assert {source for source in again[split] if source.startswith("source")} == set(rows)

    (tmp_path / "dev.tsv").write_text("a\tb\n")  # now only the test split is held out
    kept = held_out(tmp_path, WORDS)
    assert kept["validation"] == ["a"]
    assert Counter(kept["train"] + kept["test"]) == Counter(WORDS)
    assert kept["test"] == splits["test"]
    (tmp_path / "test.tsv").write_text("c\td\n")
    assert held_out(tmp_path, WORDS) == {"train": WORDS, "validation": ["a"], "test": ["c"]}


def test_of_few_sources_rows_are_held_out_one_by_one(tmp_path: Path) -> None:
    few = [f"condition {number % 49}" for number in range(1000)]
    splits = held_out(tmp_path, few)
    assert Counter(source for rows in splits.values() for source in rows) == Counter(few)
    assert len(set(splits["train"])) == 49
    assert all(0.06 < len(splits[split]) / 1000 < 0.14 for split in ("validation", "test"))
    assert len(set(held_out(tmp_path, [*few, "condition 49"])["train"])) < 50  # from fifty on by source
    once = held_out(tmp_path, few[:49])  # few rows, but no source twice
    assert sum(map(len, map(set, once.values()))) == 49


def test_without_holdout_a_missing_split_is_an_error(tmp_path: Path) -> None:
    only(tmp_path, "train.tsv", "a\tb\n")
    with pytest.raises(InputError, match=r"test .*data\.corpus.*data\.holdout"):
        texts(Tsv(), tmp_path, "test")
    assert list(texts(Tsv(), tmp_path).source) == ["a"]


def test_a_limit_counts_the_rows_of_its_split(tmp_path: Path) -> None:
    splits = held_out(tmp_path, WORDS)
    for split, rows in splits.items():
        assert list(texts(Tsv(), tmp_path, split, 0.1, 20).source) == rows[:20]


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_rows_outlast_the_disk_and_datasets_reads_them(tmp_path: Path) -> None:
    import datasets

    rows = [
        Row(f"{number}{ODD}", "🙂" * (number % 3), number, f"file{number % 2}", number // 30_000)
        for number in range(45_000)
    ]
    write(rows, tmp_path)
    stored = read(tmp_path)
    assert list(stored.source) == [row.source for row in rows]
    assert list(stored.target) == [row.target for row in rows]
    assert stored.location(44_999) == "file1:44999"
    assert stored.corpora == [30_000, 15_000]
    other = datasets.Dataset.from_file(str(tmp_path / "rows.arrow"))
    assert other["source"][:] == stored.source[:]
    assert other["target"][:] == stored.target[:]
    assert in_memory(rows).content == stored.content
    rows[7] = rows[7]._replace(target="🙂🙂🙂")
    assert in_memory(rows).content != stored.content


def test_columns_are_sequences(tmp_path: Path) -> None:
    content = [str(number) for number in range(20)]
    column = in_memory([Row(text, "", 1) for text in content]).source
    for place in (slice(None), slice(3, 9, 2), slice(None, None, -1), slice(-3, None), slice(9, 3), slice(9, 3, -4)):
        assert column[place] == content[place]
    assert (column[-1], column[np.int64(4)], "19" in column) == ("19", "4", True)
    with pytest.raises(IndexError):
        column[20]
    assert in_memory([]).location(3) == "row 4"


def test_datasets_reads_what_load_has_kept(tmp_path: Path) -> None:
    import datasets

    only(tmp_path, "train.tsv", "a\tb\nc\td\n")
    cache = Cache(tmp_path / "cache")
    load(Tsv(), select_split(Tsv(), "train", str(tmp_path), 0, None), str(tmp_path), cache)
    (kept,) = cache.root.glob("rows-*/rows.arrow")
    assert datasets.Dataset.from_file(str(kept)).select_columns(["source", "target"]).to_list() == [
        {"source": "a", "target": "b"},
        {"source": "c", "target": "d"},
    ]


@pytest.mark.parametrize(
    ("corpus", "name", "content", "line"),
    [
        (Tsv(), "train.tsv", "a\tb\n" * 9, 9),
        (Csv(), "train.csv", 'source,target\n"a\n\n",b\nc,d\n', 5),
        (Jsonl(), "train.jsonl", '{"source": "", "target": ""}\n' * 4, 4),
        (Conllu(), "train.conllu", "# x\n" + word(1, "a") + "\n# y\n" + word(1, "b"), 5),
        (Conll(), "train.conll", "a O\nb O\n\nc O\nd O\n", 4),
    ],
)
def test_a_row_knows_its_location(tmp_path: Path, corpus: Corpus, name: str, content: str, line: int) -> None:
    rows = texts(corpus, only(tmp_path, name, content))
    assert rows.location(len(rows.source) - 1) == f"{tmp_path / name}:{line}"


# --- bad input -------------------------------------------------------------------------------------------------------

HALF = '{"source": "a", "target": "b"}\n'
BAD: list[tuple[Corpus, str, bytes | str, str]] = [
    (Tsv(), "train.tsv", "a\tb\nc\n", r"train\.tsv:2: 1 columns, but the .* 2"),
    (Tsv(), "train.tsv", "a\tb\nc\td\te\n", r"train\.tsv:2: 3 columns.* 2.*data\.corpus\.columns"),
    (Tsv(1, "b"), "train.tsv", "a\tb\nc\n", r"train\.tsv:2: 1 columns.* 2"),
    (Tsv(), "train.tsv", "a\tb\n\n\nc\td\n", r"train\.tsv:2: .*empty line"),
    (Tsv(), "train.tsv", b"a\tb\nc\t\xe4\n", r"train\.tsv:2: invalid UTF-8 \(byte 0xe4 at position 3\); .*data\.corpus\.encoding"),
    (Tsv(1, 3), "train.tsv", "a\tb\n", r"train\.tsv:1: 2 columns, .*column 3.*data\.corpus\.source"),
    (Tsv(0, 1), "train.tsv", "a\tb\n", r"train\.tsv:1: .*column 0"),
    (Tsv(1, "x"), "train.tsv", "a\tb\n", r"train\.tsv:1: .*'x'.* a, b"),
    (Csv("a", "b"), "train.csv", "a,b,a\n", r"train\.csv:1: .*2 columns 'a'.* a, b, a"),
    (Csv(), "train.csv", 'source,target\na,b\n"c,d\ne,f\n', r"train\.csv:3: .*Tsv"),
    (Csv(), "train.csv", 'source,target\n"a"b,c\n', r"train\.csv:2: .*Tsv"),
    (Csv(), "train.csv", "source,target\na,b\n\nc,d\n", r"train\.csv:3: .*empty line"),
    (Csv(), "train.csv", "source,target\na,b\nc\n", r"train\.csv:3: 1 columns.* 2"),
    (Jsonl(), "train.jsonl", HALF + HALF[:12], r"train\.jsonl:2: .*JSON"),
    (Jsonl(), "train.jsonl", HALF + "\n" + HALF, r"train\.jsonl:2: .*empty line"),
    (Jsonl(), "train.jsonl", HALF + '{"source": null, "target": ""}', r"train\.jsonl:2: source is None"),
    (Jsonl(), "train.jsonl", HALF + '{"source": {"a": 1}, "target": ""}', r"train\.jsonl:2: source is \{'a': 1\}"),
    (Jsonl(), "train.jsonl", HALF + '{"source": NaN, "target": ""}', r"train\.jsonl:2: source is nan"),
    (Jsonl(), "train.jsonl", HALF + '{"source": ["a", 1], "target": ""}', r"train\.jsonl:2: source is \['a', 1\]"),
    (Jsonl(), "train.jsonl", HALF + '{"source": ["a\\tb"], "target": ""}', r"train\.jsonl:2: source .*tab"),
    (Jsonl(), "train.jsonl", HALF + '{"source": "\\ud800", "target": ""}', r"train\.jsonl:2: source .*surrogate"),
    (Jsonl(), "train.jsonl", HALF + '{"source": ["\\udfff"], "target": ""}', r"train\.jsonl:2: source .*surrogate"),
    (Jsonl(), "train.jsonl", HALF + '{"source": ""}', r"train\.jsonl:2: .*'target'.* source.*data\.corpus"),
    (Jsonl(), "train.jsonl", HALF + "3", r"train\.jsonl:2: .*'source'.* 3"),
    (Jsonl("source.x"), "train.jsonl", HALF, r"train\.jsonl:1: .*'source\.x'.* 'a'"),
    (Jsonl(), "train.jsonl", HALF + "[" * 100_000, r"train\.jsonl:2: .*JSON"),
    (Jsonl(), "train.jsonl", HALF + '{"source": ' + "[" * 900 + "]" * 900 + "}", r"train\.jsonl:2: "),
    (Jsonl(), "train.jsonl", HALF + '{"source": ' + "1" * 5000 + "}", r"train\.jsonl:2: .*JSON"),
    (Parquet(), "train.parquet", b"PAR1 no more", r"train\.parquet:1: "),
    (Parquet(), "train.parquet", b"", r"train\.parquet:1: "),
    (Conllu(), "train.conllu", word(1, "a") + "2\tb\n", r"train\.conllu:2: 2 columns.* 10"),
    (Conllu(), "train.conllu", word(1, "a") + word(1, "b"), r"train\.conllu:2: .*'1'.* 2"),
    (Conllu(), "train.conllu", word(1, "a").replace("1", "one"), r"train\.conllu:1: .*'one'.* 1"),
    (Conllu(), "train.conllu", word(1, "a") + word(2, ""), r"train\.conllu:2: ''"),
    (Conll(), "train.conll", "a O\nb\n", r"train\.conll:2: 1 columns.* 2 .*data\.corpus\.delimiter"),
    (Conll(), "train.conll", "a O\nNew York O\n", r"train\.conll:2: 3 columns.* 2 "),
    (Conll(1, 3), "train.conll", "a O\n", r"train\.conll:1: 2 columns.* 3 "),
    (Conll(delimiter="\t"), "train.conll", "a\tO\n\tO\n", r"train\.conll:2: ''"),
    (Conll(delimiter=","), "train.conll", "a,O\nb\tc,O\n", r"train\.conll:2: 'b\\tc'"),
    (Tsv(), "train.tsv.gz", packed("a\tb\n" * 50_000)[:-30], r"train\.tsv\.gz:\d+ cannot be read"),
    (Tsv(), "train.tsv.gz", b"no gzip", r"train\.tsv\.gz .*Not a gzipped file"),
    (Tsv(encoding="utf-99"), "train.tsv", "a\tb\n", r"data\.corpus\.encoding: .*utf-99"),
    (Tsv(encoding="utf-16"), "train.tsv", "a\tb\n".encode("utf-16"), r"utf-16 .*iconv -f utf-16"),
    (Tsv(encoding="cp037"), "train.tsv", "a\tb\n", r"cp037 .*iconv"),
    (Tsv(files={"train": "a*"}), "b.tsv", "", r" a\* .*data\.corpus\.files.*b\.tsv"),
    (Tsv(files={"train": "/a"}), "b.tsv", "", r"data\.corpus\.files: '/a'"),
    (Tsv(files={"test": "b"}), "b.tsv", "", r"train\.tsv .*b\.tsv.*data\.corpus\.files"),
    (Tsv(), "b.tsv", "", r"train\.tsv .*b\.tsv.*data\.corpus\.files"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("corpus", "name", "content", "message"), BAD, ids=[f"{row[1]}-{n}" for n, row in enumerate(BAD)]
)
def test_bad_files_name_line_and_remedy(
    tmp_path: Path, corpus: Corpus, name: str, content: bytes | str, message: str
) -> None:
    only(tmp_path, name, content)
    with pytest.raises(InputError, match=message) as caught:
        texts(corpus, tmp_path)
    assert "\n" not in str(caught.value)


def test_bad_settings_name_the_choices() -> None:
    bad: list[tuple[Callable[[], Corpus], str]] = [
        (lambda: Tsv(delimiter=""), r"data\.corpus\.delimiter is ''"),
        (lambda: Tsv(columns=0), r"data\.corpus\.columns is 0"),
        (lambda: Csv(delimiter="::"), r"data\.corpus\.delimiter"),
        (lambda: Conllu(target="tag"), r"data\.corpus\.target is 'tag'.* id, form"),
        (lambda: Conll(source=0), r"data\.corpus\.source is 0"),
    ]
    for make, message in bad:
        with pytest.raises(InputError, match=message):
            make()


def test_missing_folders(tmp_path: Path) -> None:
    for corpus in (Tsv(), Parallel("en", "de")):
        with pytest.raises(InputError, match=r"data\.path .*absent"):
            pairs(corpus, tmp_path / "absent")
        with pytest.raises(InputError, match=r"--data\.path"):
            pairs(corpus, None)


def test_unequal_parallel_files_name_both_counts(tmp_path: Path) -> None:
    for source, target in ((3, 1), (1, 3)):
        (tmp_path / "train.en").write_text("one\n" * source)
        (tmp_path / "train.de").write_text("eins\n" * target)
        with pytest.raises(InputError, match=rf"train\.en .*{source} lines .*train\.de .*{target}"):
            pairs(Parallel("en", "de"), tmp_path)


def test_damaged_parquet(tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    table = pa.table({"source": [f"text {number}" for number in range(2000)], "target": ["b"] * 2000})
    pq.write_table(table, file, compression="none", use_dictionary=False)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"train\.parquet:1: "):
        pairs(Parquet(), tmp_path)
    file.write_bytes(whole.replace(b"text 1234", b"text \xff234"))
    with pytest.raises(InputError, match=r"train\.parquet:1: .*\(.*decode"):
        pairs(Parquet(), tmp_path)
    file.write_bytes(whole)
    with pytest.raises(InputError, match=r"train\.parquet .*'x'.* source, target"):
        pairs(Parquet("x"), tmp_path)
    pq.write_table(pa.table({"source": ["a", None], "target": [b"a", b"b"]}), file)
    with pytest.raises(InputError, match=r"train\.parquet:2: source is None"):
        pairs(Parquet("source", "source"), tmp_path)
    with pytest.raises(InputError, match=r"train\.parquet:1: target is b'a'"):
        pairs(Parquet(), tmp_path)


def test_unreachable_hub_says_how_to_read_locally(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nmore")

    for name in ("load_dataset", "get_dataset_split_names"):
        monkeypatch.setattr(datasets, name, unreachable)
    message = r"'a/b' .*Couldn't reach the Hub.*--data\.path"
    for corpus in (Hub("a/b"), Parallel("en", "de", "a/b")):
        with pytest.raises(InputError, match=message):
            pairs(corpus, None)
        with pytest.raises(InputError, match=message):
            corpus.has("test", None)


# --- any bytes, any texts --------------------------------------------------------------------------------------------

FORMS: list[tuple[Corpus, str]] = [
    (Tsv(), "train.tsv"),
    (Tsv("a", "b", encoding="latin-1"), "train.tsv"),
    (Csv(1, 2, header=False), "train.csv"),
    (Csv(), "train.csv"),
    (Jsonl(), "train.jsonl"),
    (Parquet(), "train.parquet"),
    (Conllu(), "train.conllu"),
    (Conll(), "train.conll"),
    (Conll(2, 1, "\t"), "train.conll"),
    (Tsv(), "train.tsv.gz"),
]
PIECES = st.sampled_from(
    [b"a", b"1", b"\t", b"\n", b"\r", b'"', b",", b" ", b"#", b"-", b".", b"_", b"\xff", b"\xc3", "é".encode(), b"\xef\xbb\xbf",
     b'{"source": ', b'"target": ', b"}", b"[", b"null", b"\\ud800", b"source,target\n", b"\0", b"PAR1",
     word(1, "a").encode(), word(2, "b").encode(), b"a O\n", b"a\tO\n", HALF.encode(), "\u2028".encode()]
)  # fmt: skip
BYTES = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join))


def rows_or_input_error(corpus: Corpus, folder: Path) -> None:
    try:
        rows = in_memory(corpus.rows("train", str(folder)))
    except InputError:
        return
    if not isinstance(corpus, (Csv, Jsonl, Parquet)):
        assert not any("\n" in text for column in rows[:2] for text in column)


@pytest.mark.parametrize(("corpus", "name"), FORMS, ids=lambda one: getattr(one, "name", type(one).__name__))
@quick
@given(content=BYTES)
def test_any_bytes_are_rows_or_an_input_error(tmp_path: Path, corpus: Corpus, name: str, content: bytes) -> None:
    rows_or_input_error(corpus, only(tmp_path, name, content))


def whole_file(kind: str) -> bytes:
    table = pa.table({"source": ["one", "two"] * 20, "target": [["a"], ["b", "c"]] * 20})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue() if kind == "parquet" else packed("".join(f"{number}\tb\n" for number in range(200)))


@pytest.mark.parametrize(("kind", "corpus"), [("parquet", Parquet()), ("tsv.gz", Tsv())], ids=["parquet", "gz"])
@settings(quick, max_examples=150)
@given(places=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4), end=st.integers(0, 50))
def test_damaged_files_are_rows_or_an_input_error(
    tmp_path: Path, kind: str, corpus: Corpus, places: list[tuple[int, int]], end: int
) -> None:
    content = bytearray(whole_file(kind))
    for place, byte in places:
        content[place % len(content)] = byte
    rows_or_input_error(corpus, only(tmp_path, f"train.{kind}", bytes(content[: len(content) - end])))


ANY = st.text(
    st.sampled_from("ab \"',;\\é🙂\u2028\x85\x0c\x1c\ufeff\xa0\0#") | st.characters(exclude_categories=["Cs"]),
    max_size=12,
)
BREAKS = re.compile("[\n\t]")
FLAT = ANY.map(lambda text: BREAKS.sub("", text).rstrip("\r"))
ROWS = st.lists(st.tuples(ANY, ANY), min_size=1, max_size=6)
FLAT_ROWS = st.lists(st.tuples(FLAT, FLAT), min_size=1, max_size=6)
TOKENS = FLAT.filter(lambda text: bool(text.strip(" ")) and not text.startswith("-DOCSTART-"))
SENTENCES = st.lists(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=4), min_size=1, max_size=4)


def joined(sentences: list[Pairs]) -> Pairs:
    return [("\t".join(one for one, _ in rows), "\t".join(one for _, one in rows)) for rows in sentences]


@quick
@given(rows=FLAT_ROWS, end=st.sampled_from(["\n", "\r\n"]))
@example(rows=[("\ufeffa", "b")], end="\n")
@example(rows=[("a\r\rb\rc", "d")], end="\n")
def test_any_texts_in_lines(tmp_path: Path, rows: Pairs, end: str) -> None:
    (tmp_path / "train.a").write_bytes(b"\xef\xbb\xbf" + "".join(source + end for source, _ in rows).encode())
    (tmp_path / "train.b.gz").write_bytes(packed("\ufeff" + "".join(target + end for _, target in rows)))
    (tmp_path / "train.tsv").write_bytes(b"\xef\xbb\xbf" + "".join(f"{one}\t{two}{end}" for one, two in rows).encode())
    assert pairs(Parallel("a", "b"), tmp_path) == rows
    assert pairs(Tsv(), tmp_path) == rows


@quick
@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n"]), delimiter=st.sampled_from(",;\t"), every=st.booleans())
def test_any_texts_in_quotes(tmp_path: Path, rows: Pairs, end: str, delimiter: str, every: bool) -> None:
    content = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
    writer = csv.writer(content, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([("source", "target"), *rows])
    only(tmp_path, "train.csv", content.getvalue())
    if not every and end == "\n":  # before 3.13 the writer leaves a lone carriage return without quotation marks
        assume(not any("\r" in text for row in rows for text in row))
    assert pairs(Csv(delimiter=delimiter), tmp_path) == rows


@quick
@given(rows=ROWS, escaped=st.booleans())
def test_any_texts_in_json_and_parquet(tmp_path: Path, rows: Pairs, escaped: bool) -> None:
    content = [json.dumps({"source": one, "target": two}, ensure_ascii=escaped) for one, two in rows]
    only(tmp_path, "train.jsonl", "\n".join(content))
    assert pairs(Jsonl(), tmp_path) == rows
    assert (list(texts(Jsonl(), tmp_path).source), list(texts(Jsonl(), tmp_path).target)) == tuple(
        map(list, zip(*rows, strict=True))
    )
    table = pa.table({"source": [one for one, _ in rows], "target": [{"x": two} for _, two in rows]})
    pq.write_table(table, tmp_path / "train.parquet")
    assert pairs(Parquet("source", "target.x"), tmp_path) == rows


@quick
@given(sentences=SENTENCES, ends=st.lists(st.sampled_from(["\n", "\r\n", "\t\n", "\n\n"]), min_size=4, max_size=4))
def test_any_tokens_in_columns(tmp_path: Path, sentences: list[Pairs], ends: list[str]) -> None:
    conll = "".join(
        "".join(f"{one}\t{two}\n" for one, two in rows) + end for rows, end in zip(sentences, ends, strict=False)
    )
    (tmp_path / "train.conll").write_bytes(b"\xef\xbb\xbf" + conll.encode())
    assert pairs(Conll(delimiter="\t"), tmp_path) == joined(sentences)
    conllu = "".join(
        "# text\n" + "".join(word(number, one, two) for number, (one, two) in enumerate(rows, 1)) + end
        for rows, end in zip(sentences, ends, strict=False)
    )
    (tmp_path / "train.conllu").write_text(conllu, newline="")
    assert pairs(Conllu(), tmp_path) == joined(sentences)
