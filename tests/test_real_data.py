"""The shipped configurations on the real data beside the project."""

import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from seq2seq import evaluate, train
from seq2seq.cli import command
from seq2seq.data.batching.plan import Plan
from seq2seq.data.datamodule import DataModule
from seq2seq.data.ragged import Ragged
from seq2seq.tasks.tagging import Tagging
from tests.support import ROOT

SPLITS = ("train", "validation", "test")
QUICK = ["--trainer.max_steps", "1", "--decoding.max_length_ratio", "0"]
SMALL = ["--model.hidden_size", "8", "--model.embedding_size", "8"]
FEW = ["--data.max_rows", '{"train": 200, "validation": 6, "test": 4}']


class Expected(NamedTuple):
    """What a configuration finds in a folder, as the folder's description says."""

    folder: str
    rows: tuple[int, int, int]
    words: tuple[int, int, int] | None = None
    """Of source and of target alike, where each word has a label."""


CONFIGURATIONS = {
    "translation_multi30k.yaml": Expected("multi30k-en-de", (29_000, 1_014, 1_000)),
    "translation_multi30k_fixed.yaml": Expected("multi30k-en-de", (29_000, 1_014, 1_000)),
    "translation_small-parallel-enja.yaml": Expected("small-parallel-enja", (50_000, 500, 500)),
    "tagging_ud-english-ewt.yaml": Expected("ud-english-ewt", (12_544, 2_001, 2_077), (204_577, 25_147, 25_094)),
    "tagging_ud-vietnamese-vtb.yaml": Expected("ud-vietnamese-vtb", (1_400, 1_123, 800), (20_215, 26_162, 11_692)),
    "tagging_ud-uyghur-udt.yaml": Expected("ud-uyghur-udt", (1_656, 900, 900), (19_262, 10_644, 10_330)),
    "tagging_wnut17.yaml": Expected("wnut17", (3_394, 1_009, 1_287), (62_730, 15_733, 23_394)),
    "translation_g2p-sigmorphon2020.yaml": Expected("g2p-sigmorphon2020", (3_600, 450, 450)),
    "translation_g2p-sigmorphon2020_all.yaml": Expected("g2p-sigmorphon2020", (36_000, 4_500, 4_500)),
    "translation_inflection-sigmorphon2023.yaml": Expected("inflection-sigmorphon2023", (10_000, 1_000, 1_000)),
    "translation_inflection-conll2018.yaml": Expected("inflection-conll2018", (10_000, 1_000, 1_000)),
    "translation_segmentation-sigmorphon2022.yaml": Expected("segmentation-sigmorphon2022", (30_694, 4_000, 4_000)),
    "summarization_aeslc.yaml": Expected("aeslc", (14_436, 1_960, 1_906)),
    "classification_sst2.yaml": Expected("sst2", (6_920, 872, 1_821)),
    "classification_trec.yaml": Expected("trec", (4_900, 552, 500)),  # of 5,452 questions some 10 % are held out
}
"""Every configuration that reads real data."""

every = pytest.mark.parametrize("name", CONFIGURATIONS)


def arguments_for(name: str, folder: Path) -> list[str]:
    return ["--config", str(ROOT / "configs" / name), "--data.path", str(folder / CONFIGURATIONS[name].folder)]


def data_of(name: str, folder: Path) -> DataModule:
    parser = command.training_parser(command.task_class(arguments_for(name, folder)))
    data: DataModule = parser.instantiate(command.parse(parser, arguments_for(name, folder))).data
    return data


def test_configurations_are_short_and_say_what_they_are() -> None:
    there = sorted((ROOT / "configs").glob("*.yaml"))
    assert set(CONFIGURATIONS) <= {file.name for file in there}
    for file in there:
        lines = file.read_text().splitlines()
        assert len(lines) <= 25, file.name
        assert lines[0].startswith("# "), file.name
        assert not re.search(r"^\s*path:", file.read_text(), re.MULTILINE), file.name


@pytest.mark.data
def test_every_data_set_has_a_configuration(data_folder: Path) -> None:
    folders = {entry.name for entry in data_folder.iterdir() if entry.is_dir()}
    recordings = {"spoken-digits"}  # tables and strings are made of them first
    assert folders - recordings == {expected.folder for expected in CONFIGURATIONS.values()}


@pytest.mark.data
@every
def test_rows_are_those_of_the_description(name: str, data_folder: Path) -> None:
    data, expected = data_of(name, data_folder), CONFIGURATIONS[name]
    for place, split in enumerate(SPLITS):
        texts = data.texts(split)
        assert len(texts.source) == len(texts.target) == expected.rows[place]
        if expected.words is not None:
            for side in (texts.source, texts.target):
                assert sum(text.count("\t") + 1 for text in side) == expected.words[place]
            tokenizers = data.train_tokenizers(data.texts("train"))
            ids = data.encode(texts, tokenizers, "train", Tagging.row_format)
            assert np.array_equal(tokenizers.source.units(ids.source), ids.target.lengths)
            assert len(ids.target.flat) == expected.words[place]


@pytest.mark.data
@every
def test_configurations_train_and_score(name: str, data_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train.main([*arguments_for(name, data_folder), "--run", str(run), *QUICK, *SMALL, *FEW])
    results = json.loads((run / "results.json").read_text())
    corpora = len(results["config"]["data"]["corpus"]["init_args"].get("corpora", [None]))
    assert results["data"]["rows"] == {"train": 200 * corpora, "validation": 6 * corpora, "test": 4 * corpora}
    assert results["splits"]["test"]["rows"] == 4 * corpora


ROWS = [
    "multi30k", "multi30k_fixed", "en-ja", "ja-en", "morphemes", "phones", "phones_ice", "forms_german_low",
    "forms2023_tur", "english", "uyghur", "vietnamese", "wnut17", "trec", "sst2", "aeslc",
]  # fmt: skip
"""Of `scripts/reproduce.sh`; languages and sizes are examples."""


@pytest.mark.data
@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_results_is_trained_again(row: str, data_folder: Path, tmp_path: Path) -> None:
    command = [str(ROOT / "scripts/reproduce.sh"), row, str(data_folder), "3", "--run", str(tmp_path / "run")]
    done = subprocess.run([*command, *QUICK, *SMALL, *FEW], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["config"]["seed"] == 3
    assert results["splits"]["test"]["rows"] >= 4


def test_the_rows_that_can_be_trained_again_are_listed() -> None:
    listed = subprocess.run([ROOT / "scripts/reproduce.sh"], capture_output=True, text=True, check=False)
    names = re.findall(r"^  (\S+)$", listed.stdout, re.MULTILINE)
    assert {row.split("_")[0] for row in ROWS} == {name.split("_")[0] for name in names}
    assert listed.returncode == 2


@pytest.mark.data
def test_one_whole_data_set_trains_and_scores(data_folder: Path, tmp_path: Path) -> None:
    train.main(
        [*arguments_for("translation_multi30k.yaml", data_folder), "--run", str(tmp_path / "run"), *QUICK, *SMALL]
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["splits"]["test"]["rows"] == 1000
    assert results["data"]["rows"] == {"train": 29_000, "validation": 1_014, "test": 1_000}


@pytest.mark.data
def test_word_forms_with_blanks_are_words(data_folder: Path) -> None:
    data = data_of("tagging_ud-vietnamese-vtb.yaml", data_folder)
    texts = data.texts("train")
    source = data.train_tokenizers(texts).source
    (row,) = [row for row, text in enumerate(texts.source) if "bắt chuyện" in text][:1]
    assert "bắt chuyện" in texts.source[row].split("\t")
    assert source.units(Ragged.of(source.encode([texts.source[row]]))).tolist() == [len(texts.target[row].split("\t"))]
    assert sum(" " in form for text in texts.source for form in text.split("\t")) > 3000


@pytest.mark.data
def test_questions_held_out(data_folder: Path) -> None:
    data = data_of("classification_trec.yaml", data_folder)
    training, validation = data.texts("train"), data.texts("validation")
    assert len(training.source) + len(validation.source) == 5_452
    assert 0.09 < len(validation.source) / 5_452 < 0.11
    assert not set(training.source) & set(validation.source)
    assert set(training.target) == set(validation.target) == set("012345")
    assert any("sisterðcity" in text for text in [*training.source, *validation.source])


@pytest.mark.data
def test_languages_and_columns(data_folder: Path) -> None:
    texts = data_of("translation_g2p-sigmorphon2020_all.yaml", data_folder).texts("test")
    assert texts.corpora == [450] * 10
    assert (
        texts.source[450 * 7] == "ice\t" + (data_folder / "g2p-sigmorphon2020/ice_test.tsv").read_text().split("\t")[0]
    )
    for name, form in (("sigmorphon2023", "Türkçeleştir"), ("conll2018", "kraaled")):
        data = data_of(f"translation_inflection-{name}.yaml", data_folder)
        row = list(data.texts("validation").target).index(form)
        lemma, features = data.texts("validation").source[row].split("\t")
        assert ";" in features
        assert lemma[:3] == form[:3]
        source = data.train_tokenizers(data.texts("train")).source
        assert len(source.encode([f"{lemma}\t{features}"])[0]) == 2 * len(features.split(";")) + len(lemma)


@pytest.mark.data
@pytest.mark.parametrize(
    ("system", "f1", "exact"), [("DeepSPIN-1", 93.42, 86.22), ("DeepSPIN-2", 93.88, 87.25), ("CLUZH", 93.81, 87.12)]
)
def test_published_segmentations_have_their_scores(
    system: str, f1: float, exact: float, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data_folder / "segmentation-sigmorphon2022"
    sources, references = (
        [line.split("\t")[column] for line in (folder / "ces.test.gold.tsv").read_text().splitlines()]
        for column in (0, 1)
    )
    given = []
    for option, texts in (("--sources", sources), ("--references", references)):
        (tmp_path / option).write_text("".join(f"{text}\n" for text in texts))
        given += [option, str(tmp_path / option)]
    asked = ["--system", f"{system}={folder / 'systems' / system}.tsv", "--metrics", "[MorphemeF1, ExactMatch]"]
    evaluate.main([*given, *asked, "--json"])
    values = [one["scores"][0]["value"] for one in json.loads(capsys.readouterr().out)["metrics"]]
    assert values == pytest.approx([f1, exact], abs=0.0051)


@pytest.mark.data
@pytest.mark.parametrize(("budget", "share"), [(4096, 0.03), (1024, 0.08)])
def test_padding_of_multi30k(data_folder: Path, budget: int, share: float) -> None:
    data = data_of("translation_multi30k.yaml", data_folder)
    texts = data.texts("train")
    split = data.encode(texts, data.train_tokenizers(texts), "train")
    source, target = split.source_lengths().astype(np.int64), split.target_lengths().astype(np.int64)
    plan = Plan(source, target, budget, 1)
    batches = [plan.rows(step) for step in range(len(plan))]
    padded = sum(len(rows) * (source[rows].max() + target[rows].max()) for rows in batches)
    assert 1 - (source.sum() + target.sum()) / padded < share


@pytest.mark.data
def test_single_digits_train_and_score(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("soundfile")
    monkeypatch.chdir(tmp_path)
    Path("spoken-digits").mkdir()
    Path("spoken-digits/recordings").symlink_to(data_folder / "spoken-digits" / "recordings")
    (tables,) = re.findall(r"```python\n(# digit_tables\.py\n.*?)```", (ROOT / "docs/speech.md").read_text(), re.DOTALL)
    exec(compile(tables, "digit_tables.py", "exec"), {})
    assert [len(Path(f"spoken-digits/{split}.tsv").read_text().splitlines()) for split in SPLITS] == [2401, 301, 301]
    few = ["--data.max_rows", '{"train": 300, "validation": 6, "test": 4}']  # two digits
    given = ["--config", str(ROOT / "configs/classification_spoken-digits.yaml"), "--data.path", "spoken-digits"]
    train.main([*given, "--run", "run", *QUICK[:2], *SMALL, *few])
    assert "accuracy" in json.loads(Path("run/results.json").read_text())["splits"]["test"]["metrics"]
