"""A task written in one file outside the package gets all that the five of the package have."""

import json
import random
from pathlib import Path

import pytest

from seq2seq import evaluate, train
from seq2seq.runs.run_directory import RunDirectory
from tests.support import module, results_of

CONFIG = """
task: tests.tasks.counting.Counting
data:
  corpus: Tsv
  tokenizer: Words
  target_tokenizer: Vectors
  batch_tokens: 600
model: {cell: GRU, embedding_size: 8, hidden_size: 24}
optimizer: {learning_rate: 0.02}
trainer: {max_epochs: 8, accelerator: cpu}
"""


def test_a_task_outside_the_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers, (data, config) = random.Random(3), (tmp_path / "data", tmp_path / "counting.yaml")
    data.mkdir()
    for split, rows in (("train", 300), ("validation", 60), ("test", 60)):
        texts = [numbers.choices("abcdefgh", k=numbers.randint(2, 9)) for _ in range(rows)]
        lines = [f"{' '.join(text)}\t{text.count('a')}\n" for text in texts]
        (data / f"{split}.tsv").write_text("".join(lines))
    config.write_text(CONFIG)
    run = RunDirectory(tmp_path / "run")
    train.main(["--config", str(config), "--data.path", str(data), "--run", str(run.path)])
    results = results_of(run)
    curve = [value for _, _, value in results["curves"]["validation_mae"]]
    assert curve[-1] < 0.5 * curve[0], "it learns"
    tested = results["splits"]["test"]
    assert tested["metrics"]["mae"]["value"] < 0.6
    assert tested["vectors"]["probes"], "the fixed vectors are probed"
    assert "Probes" in run.report.read_text()
    capsys.readouterr()
    evaluate.main([str(run.path), "--import", "tests.tasks.counting", "--json"])
    again = json.loads(capsys.readouterr().out)["splits"]["test"]
    assert again["metrics"] == tested["metrics"]
    assert again["vectors"] == tested["vectors"]
    done = module("predict", str(run.path), "--import", "tests.tasks.counting", input=b"b c d e\na b a c a\n")
    few, many = map(float, done.stdout.split())
    assert few < 1 < many
