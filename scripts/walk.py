"""python scripts/walk.py [CHECKOUT]: the files that one batch and one predicted line go through, in order.

A small translator with an LSTM and attention is trained on made-up pairs and predicts some lines. Counted is each file
of the package that a call enters:

- start: from the first line that is read to the end of the first step, the network and the trainer built in between;
- batch: the same without what is built: rows, tokenizers, ids, plan, batches, steps;
- step: `training_step`, from its start to its end;
- line: `seq2seq.predict`, from its start to its end, one run loaded.
"""

import contextlib
import importlib
import io
import os
import pkgutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PREPARED = {("datamodule.py", name) for name in ("texts", "train_tokenizers", "encode", "plan")}
MADE = {("plan.py", "__iter__"), ("batching.py", "__iter__"), ("split.py", "__getitem__")}
STEP = {("learner.py", "training_step")}
LINE = {("predict.py", "main")}
CONFIG = """
data:
  corpus: {class_path: Parallel, init_args: {source: en, target: de}}
  tokenizer: Words
  batch_tokens: 300
model: {cell: LSTM, attention: General, embedding_size: 8, hidden_size: 8}
trainer: {max_steps: 2, accelerator: cpu, val_check_interval: 1000}
"""


class Walk:
    """The files that calls enter while one of some functions is running, in the order of their first call."""

    def __init__(
        self, package: Path, functions: set[tuple[str, str]], until: set[tuple[str, str]] | None = None
    ) -> None:
        """until: it goes on between these functions, and ends with one of those."""
        self.package, self.functions, self.until = f"{package}{os.sep}", functions, until
        self.files: list[str] = []
        self.running: list[FrameType] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Of sys.setprofile."""
        if not frame.f_code.co_filename.startswith(self.package):
            return
        file = frame.f_code.co_filename.removeprefix(self.package)
        name = os.path.basename(file), frame.f_code.co_name
        if event == "return" and self.until is not None and name in self.until:
            self.running, self.functions = [], set()
        if event == "return" and self.until is None and self.running and frame is self.running[-1]:
            self.running.pop()
        if event == "call" and name in self.functions:
            self.running.append(frame)
        if event == "call" and self.running and file not in self.files:
            self.files.append(file)


@contextlib.contextmanager
def walking(walk: Walk) -> Iterator[None]:
    """Inside, calls are counted."""
    sys.setprofile(walk)
    try:
        yield
    finally:
        sys.setprofile(None)


def main(checkout: Path) -> None:
    """Train, predict, and print the lists."""
    sys.path.insert(0, str(checkout))
    package = importlib.import_module("seq2seq")
    for module in pkgutil.walk_packages(package.__path__, "seq2seq."):  # an import is no call
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    from seq2seq import predict, train

    folder = Path(package.__path__[0])
    walks = {
        "start": Walk(folder, PREPARED, until=STEP),
        "batch": Walk(folder, PREPARED | MADE | STEP),
        "step": Walk(folder, STEP),
    }
    line = Walk(folder, LINE)
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stderr(io.StringIO()):
        write(Path(temporary))
        for name, walk in walks.items():
            os.environ["SEQ2SEQ_CACHE"] = f"{temporary}/cache-{name}"
            arguments = ["--config", f"{temporary}/c.yaml", "--run", f"{temporary}/{name}", "--data.path", temporary]
            with walking(walk), contextlib.redirect_stdout(io.StringIO()):
                train.main(arguments)
            os.environ.pop("SEQ2SEQ_LAUNCH", None)
        out = io.TextIOWrapper(io.BytesIO())
        with open(f"{temporary}/dev.en") as sys.stdin, walking(line), contextlib.redirect_stdout(out):
            predict.main([f"{temporary}/step", "--device", "cpu"])
    show(walks | {"line": line})


def write(folder: Path) -> None:
    """Some pairs of words and the configuration."""
    for split, rows in (("train", 48), ("dev", 4), ("test", 4)):
        texts = [" ".join("abcdef"[(row + place) % 6] for place in range(row % 5 + 2)) for row in range(rows)]
        for ending in ("en", "de"):
            (folder / f"{split}.{ending}").write_text("".join(f"{text}\n" for text in texts))
    (folder / "c.yaml").write_text(CONFIG)


def show(walks: dict[str, Walk]) -> None:
    """A list for each."""
    for name, walk in walks.items():
        print(f"{name}: {len(walk.files)} files")
        for number, file in enumerate(walk.files, 1):
            print(f"  {number:2} {file}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT)
