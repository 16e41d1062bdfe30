"""Real files: in an environment without torch, of every kind of task, and changed by a stranger."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq import evaluate, export, train
from seq2seq.data.tokenizers.units import Characters
from seq2seq.exporting import onnx_file
from seq2seq.exporting.description import as_metadata, described
from seq2seq.exporting.graphs import graph_of
from seq2seq.inference import predict_texts
from seq2seq.models import cells
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from seq2seq_runtime import load
from tests.support import PAIRS, ROOT, learnt, python, small, surroundings

pytestmark = pytest.mark.slow

FIRST_ANSWER = """
import json, sys, time
begin = time.time()
from seq2seq_runtime import load
model = load(sys.argv[1])
first = model.predict(["Monday, May 5"])
seconds, cpu = time.time() - begin, time.process_time()
rows = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
answers = model.predict([row["source"] for row in rows])
equal = sum(answer.text == row["prediction"] for answer, row in zip(answers, rows, strict=True))
print(json.dumps({"equal": equal, "rows": len(rows), "seconds": seconds, "cpu": cpu, "modules": sorted(sys.modules)}))
"""


def test_a_wheel_without_torch_answers_as_the_run_does(tmp_path: Path) -> None:
    """The packages come from the index, as a user gets them."""
    pytest.importorskip("onnxruntime", reason="pip install 'recurrent-seq2seq[export]'")
    run, made, tree = tmp_path / "run", tmp_path / "environment", tmp_path / "tree"
    size = ["--model.hidden_size", "48", "--model.embedding_size", "24", "--trainer.max_steps", "150"]
    train.main(["--config", str(ROOT / "configs/translation_cldr.yaml"), "--run", str(run), *size])
    evaluate.main([str(run)])
    export.main([str(run)])
    tracked = subprocess.check_output(
        ["git", "ls-files", "-z", "-co", "--exclude-standard", "runtime"], cwd=ROOT, text=True
    )
    for name in tracked.strip("\0").split("\0"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((ROOT / name).read_bytes())
    outside = {name: value for name, value in surroundings().items() if name != "PYTHONPATH"}

    def call(*arguments: str | Path, **more: Any) -> str:
        done = subprocess.run(
            [*map(str, arguments)], cwd=tmp_path, env=outside, capture_output=True, text=True, timeout=900, **more
        )
        assert done.returncode == 0, f"{arguments}\n{done.stderr[-2000:]}"
        return done.stdout

    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, tree / "runtime")
    [wheel] = tmp_path.glob("recurrent_seq2seq_runtime-*.whl")
    call(sys.executable, "-m", "venv", "--without-pip", made)
    call(*pip, "--python", made / "bin/python", "install", wheel)
    arguments = (run / "model.onnx", run / "predictions/test.jsonl")
    times = []
    for _ in range(3):
        told = json.loads(call(made / "bin/python", "-c", FIRST_ANSWER, *arguments))
        assert (told["equal"], told["rows"]) == (1000, 1000)
        assert not {"torch", "seq2seq", "onnx"} & set(told["modules"])
        times.append((told["cpu"], told["seconds"]))
    print(f"to the first answer: {times}, processor and clock")
    assert min(times)[0] < 0.7  # on a machine with other work the clock says more
    command = [made / "bin/python", "-m", "seq2seq_runtime", run / "model.onnx"]
    assert len(call(*command, input="Monday\n\nMay 5\n").split("\n")) == 4


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small translator."""
    pytest.importorskip("onnxruntime", reason="pip install 'recurrent-seq2seq[export]'")
    torch.manual_seed(0)
    task = small(Translation, learnt(PAIRS, Characters(), Characters()), cell=cells.GRU()).eval()
    decoding, path = Decoding(2, max_length=12), tmp_path_factory.mktemp("file") / "model.onnx"
    graph = graph_of(task, decoding)
    onnx_file.write(graph, path, as_metadata(described(graph, decoding, 512, None, {})))
    texts = [source for source, _ in PAIRS]
    want = predict_texts.predict(task, texts, decoding, torch.device("cpu"))
    answers = load(path, threads=2).predict(texts, n_best=2)
    assert [[one.text for one in answer.n_best] for answer in answers] == [
        [task.text(one) for one in row] for row in want
    ]
    np.testing.assert_allclose([one.score for one in answers], [row[0].score for row in want], atol=1e-5)
    return path


def test_changed_files_are_refused_or_answer(file: Path) -> None:
    done = python("-m", "tests.runtime.fuzz", file, "400", cwd=ROOT, timeout=1800)
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-2000:]}"
    assert "refused" in done.stdout
