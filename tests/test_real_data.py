"""The shipped configurations on the real data beside the project."""

import json
from pathlib import Path

import numpy as np
import pytest

from seq2seq import command, train
from seq2seq.data.batching import Plan
from seq2seq.data.datamodule import DataModule

ROOT = Path(__file__).resolve().parents[1]
MULTI30K = ["translation_multi30k.yaml", "translation_multi30k_fixed.yaml"]


def arguments_for(name: str, folder: Path) -> list[str]:
    return ["--config", str(ROOT / "configs" / name), "--data.path", str(folder / "multi30k-en-de")]


@pytest.mark.data
@pytest.mark.parametrize("name", MULTI30K)
def test_configurations_train_and_score_on_real_data(name: str, data_folder: Path, tmp_path: Path) -> None:
    quick = ["--trainer.max_steps", "3", "--decoding.max_length_ratio", "0", "--trainer.precision", "32-true"]
    train.main([*arguments_for(name, data_folder), "--run", str(tmp_path / "run"), *quick])
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["splits"]["test"]["rows"] == 1000
    assert results["data"]["rows"] == {"train": 29_000, "validation": 1_014, "test": 1_000}


@pytest.mark.data
@pytest.mark.parametrize(("budget", "share"), [(4096, 0.03), (1024, 0.08)])
def test_padding_of_multi30k(data_folder: Path, budget: int, share: float) -> None:
    arguments = arguments_for("translation_multi30k.yaml", data_folder)
    parser = command.training_parser()
    data: DataModule = parser.instantiate(command.parse(parser, arguments)).data
    texts = data.texts("train")
    split = data.encode(texts, data.train_tokenizers(texts), training=True)
    source, target = split.source.lengths.astype(np.int64), split.target.lengths.astype(np.int64)
    plan = Plan(source, target, budget, 1)
    batches = [plan.rows(step) for step in range(len(plan))]
    padded = sum(len(rows) * (source[rows].max() + target[rows].max()) for rows in batches)
    assert 1 - (source.sum() + target.sum()) / padded < share
