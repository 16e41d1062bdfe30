"""The shipped configurations that read files, on the pretended device: training, validation, test, report."""

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from seq2seq import train
from seq2seq.runs.run_directory import RunDirectory
from tests.cuda.networks import SMALL, STEPS
from tests.support import ROOT

pytestmark = [pytest.mark.cuda_rules, pytest.mark.data]

LINES = 120
"""Of each file; a sentence of a file in columns takes some twenty."""

FOLDERS = {
    "classification_sst2": "sst2",
    "classification_trec": "trec",
    "summarization_aeslc": "aeslc",
    "tagging_ud-english-ewt": "ud-english-ewt",
    "tagging_ud-uyghur-udt": "ud-uyghur-udt",
    "tagging_ud-vietnamese-vtb": "ud-vietnamese-vtb",
    "tagging_wnut17": "wnut17",
    "translation_g2p-sigmorphon2020": "g2p-sigmorphon2020",
    "translation_g2p-sigmorphon2020_all": "g2p-sigmorphon2020",
    "translation_inflection-conll2018": "inflection-conll2018",
    "translation_inflection-sigmorphon2023": "inflection-sigmorphon2023",
    "translation_multi30k": "multi30k-en-de",
    "translation_multi30k_fixed": "multi30k-en-de",
    "translation_segmentation-sigmorphon2022": "segmentation-sigmorphon2022",
    "translation_small-parallel-enja": "small-parallel-enja",
    "translation_text": "multi30k-en-de",
}


def test_every_configuration_is_here_or_among_the_commands() -> None:
    shipped = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    made = ("_cldr", "_digits", "_co2", "_sunspots", "_melodies", "_tones", "generation_text")
    elsewhere = {name for name in shipped if name.endswith(made) or "spoken-digits" in name}
    assert shipped - elsewhere == set(FOLDERS)


def shortened(folder: Path, target: Path) -> Path:
    """The first lines of each file."""
    for file in (one for one in folder.iterdir() if one.is_file()):
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
            (target / file.name.removesuffix(".gz")).write_bytes(b"".join(islice(lines, LINES)))
    return target


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_a_shipped_configuration_runs_from_its_files_to_its_test(name: str, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data, run = shortened(data_folder / FOLDERS[name], tmp_path / "data"), RunDirectory(tmp_path / "run")
    given = ["--config", str(ROOT / "configs" / f"{name}.yaml"), "--data.path", str(data), *SMALL, *STEPS]
    train.main([*given, "--run", str(run.path), "--trainer.accelerator", "cuda"])
    results = json.loads(run.results.read_text())
    assert results["splits"]["test"]["rows"] > 0
    assert "cuda" in json.dumps(results["environment"])
