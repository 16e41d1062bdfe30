"""python -m tests.runs.old_checkpoint: train a few steps and leave the run in tests/checkpoints/VERSION, right before a release.

The run is half-finished, as if it had been stopped; `expected.json` says what it predicts and how it goes on.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import seq2seq
from seq2seq import train
from seq2seq.inference.predict_texts import translate
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory

FOLDER = Path(__file__).with_name("checkpoints")
KEPT = ("config.yaml", "checkpoints/last.ckpt", "checkpoints/best.ckpt")
STOPPED, WHOLE = 60, 70
"""Optimiser steps after which it was stopped, and those of the whole training."""

ASKED = ["the red cat sees 3 birds", "two dogs run", "", "one bird", "a cat"]

CONFIG = """
data: {corpus: {class_path: Parallel, init_args: {source: en, target: de}}, tokenizer: Words, batch_tokens: 300}
model: {cell: GRU, embedding_size: 12, hidden_size: 16, attention: Dot, dropout: 0.1}
optimizer: {learning_rate: 0.05, ema_decay: 0.9}
decoding: {beam_size: 2, min_length: 1}
trainer: {accelerator: cpu, log_every_n_steps: 10, max_epochs: 99, val_check_interval: 30}
"""

WORDS = {"one": "ein", "two": "zwei", "red": "rot", "cat": "Katze", "dogs": "Hunde", "birds": "Vögel", "run": "laufen"}


def write_corpus(folder: Path) -> None:
    """A corpus that no library generates, so that none changes it."""
    folder.mkdir(parents=True)
    names = list(WORDS)
    for split, count in (("train", 60), ("validation", 6), ("test", 6)):
        start = {"train": 0, "validation": 100, "test": 200}[split]
        rows = [[names[(row * step + step) % len(names)] for step in range(1, 3 + row % 3)]
                for row in range(start, start + count)]  # fmt: skip
        (folder / f"{split}.en").write_text("".join(" ".join(row) + "\n" for row in rows))
        (folder / f"{split}.de").write_text("".join(" ".join(WORDS[one] for one in row) + "\n" for row in rows))


def arguments(run: Path, corpus: Path, steps: int) -> list[str]:
    """Those of a training of so many steps."""
    return ["--run", str(run), "--data.path", str(corpus), "--trainer.max_steps", str(steps)]


def make(target: Path) -> None:
    """Train, stop, and keep what is needed to go on."""
    shutil.rmtree(target, ignore_errors=True)
    write_corpus(target / "corpus")
    os.chdir(target)  # so that no path of this machine is kept
    with tempfile.TemporaryDirectory() as place:
        config = Path(place, "old.yaml")
        config.write_text(CONFIG)
        for steps in (STOPPED, WHOLE):
            os.environ.pop("SEQ2SEQ_LAUNCH", None)
            train.main(["--config", str(config), *arguments(Path(place, str(steps)), Path("corpus"), steps)])
        run, whole = (RunDirectory(Path(place, str(steps))) for steps in (STOPPED, WHOLE))
        for name in KEPT:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(run.path / name, target / name)
        losses = json.loads(whole.results.read_text())["curves"]["train_loss"]
        told = {"predictions": translate(checkpoint.load(run.best), ASKED), "losses": [loss for *_, loss in losses]}
        (target / "expected.json").write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    make(FOLDER / seq2seq.__version__)
