"""From text to batches without training, how that grows with the rows, and the loss's memory."""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.units import Words
from seq2seq.speed import made_up
from seq2seq.speed.figures import Figures, Sizes, clock


def loader(sizes: Sizes, found: Figures) -> None:
    """Microseconds a row of each stage, and what a row costs where there are ten times as many."""
    few = sizes.rows if sizes.small else 10_000
    costs = [[stages(sizes.words, rows, sizes.batch_tokens) for rows in (few, 10 * few)] for _ in range(sizes.rounds)]
    for stage in costs[0][0]:
        before, after = ([pair[side][stage] for pair in costs] for side in (0, 1))
        found.add(f"{stage}, {few:,} rows, a row", before, "us")
        found.ratio(f"{stage}, time of a row among ten times as many", after, before)


def stages(words: int, rows: int, batch_tokens: int) -> dict[str, float]:
    """Microseconds a row."""
    with tempfile.TemporaryDirectory() as name:
        made_up.write_pairs(Path(name), words, rows)
        data = DataModule(Parallel("en", "de"), name, tokenizer=Words(), batch_tokens=batch_tokens, cache=f"{name}/c")
        times = [clock()]
        texts = data.texts("train")
        times.append(clock())
        tokenizers = data.train_tokenizers(texts)
        times.append(clock())
        split = data.encode(texts, tokenizers, "train")
        times.append(clock())
        plan = data.plan(split, 1)
        for _ in data.training_steps(split, tokenizers, plan, lambda: 0):
            pass
        times.append(clock())
    named = zip(("reading", "vocabularies", "ids", "plan and batches"), times, times[1:], strict=False)
    return {stage: 1e6 * (after - before) / rows for stage, before, after in named}


def memory(sizes: Sizes, found: Figures) -> None:
    """The most that a step over a large vocabulary holds, with our loss and with torch's on all logits at once."""
    words, tokens = (200, 50) if sizes.small else (31_000, 4_200)
    peaks = {}
    for way in ("ours", "torch"):
        program = f"from seq2seq.speed.loading import held; held({way!r}, {words}, {tokens}, {sizes.hidden})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        peaks[way] = float(done.stdout)
        found.add(f"vocabulary {words:,}, {tokens:,} target tokens, {way}", [peaks[way]], "MiB")
    found.add("of torch's loss", [peaks["ours"] / peaks["torch"]])


def held(way: str, words: int, tokens: int, hidden: int) -> None:
    """Print the most memory that this process has held after two steps."""
    import torch

    from seq2seq.models.attention import General
    from seq2seq.speed.training import Loop
    from seq2seq.tasks.translation import Translation

    length = 10
    split, tokenizers = made_up.split_of(words, tokens // length, (length, length - 1))
    task = Translation(tokenizers, embedding_size=hidden // 2, hidden_size=hidden, attention=General())
    batch = split.batch(np.arange(tokens // length))
    if way == "torch":
        layer = task.network.decoder.output.layer

        def loss(features: Any, labels: Any, smoothing: float) -> Any:
            return torch.nn.functional.cross_entropy(layer(features), labels, reduction="sum")

        task.network.decoder.output.loss = loss  # type: ignore[method-assign]
    loop = Loop(task, task.loss, 0.001, mixed=False)
    for _ in range(2):
        loop.step(batch, tokens)
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    # What getrusage says includes the process that has started this one.
    print((own or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] / 1024)
