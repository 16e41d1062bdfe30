"""How the cost of training grows: with the hidden size, the vocabulary, and the length of rows."""

import numpy as np
import torch

from seq2seq.models.attention import General
from seq2seq.speed import floor, made_up
from seq2seq.speed.figures import Figures, MatrixRate, Sizes, fast_bfloat16, in_turns
from seq2seq.speed.training import Loop
from seq2seq.tasks.translation import Translation


def growth(sizes: Sizes, found: Figures) -> None:
    """Everything else stays as it is; over the floor: how much of the machine's rate of products is reached."""
    hidden, words = sizes.hidden, sizes.words
    for units in (hidden // 4, hidden // 2, hidden, 2 * hidden):
        one("fp32", f"hidden {units}", words, units, (13, 13), sizes, found)
    for precision in ("fp32", "bf16"):
        for count in (words // 4, words, 4 * words, 8 * words):
            if precision == "fp32" or fast_bfloat16():
                one(precision, f"vocabulary {count}", count, hidden, (13, 13), sizes, found)
    for length in (4,) if sizes.small else (10, 100, 1000):
        one("fp32", f"source and target {length}", words, hidden, (length, length), sizes, found)


def one(
    precision: str, name: str, words: int, hidden: int, shape: tuple[int, int], sizes: Sizes, found: Figures
) -> None:
    """One size."""
    rows = max(1, (sizes.batch_tokens if sizes.small else 4000) // sum(shape))
    split, tokenizers = made_up.split_of(words, rows, shape)
    torch.manual_seed(1)
    task = Translation(tokenizers, embedding_size=hidden // 2, hidden_size=hidden, attention=General(), dropout=0.2)
    batch = split.batch(np.arange(rows))
    targets = int((batch.target_lengths - 1).sum())
    loop = Loop(task, task.loss, 0.001, precision == "bf16")
    rates: list[float] = []
    rate = MatrixRate(torch.bfloat16 if precision == "bf16" else torch.float32)
    ways = {"step": lambda: loop.step(batch, targets), "rate": lambda: rates.append(rate())}
    taken = in_turns(ways, sizes.rounds)["step"]
    least = [floor.training(task, batch) / each for each in rates[1:]]
    found.add(f"{precision}, {name}, target tokens a second", [targets / each for each in taken], "tokens/s")
    found.ratio(f"{precision}, {name}, over the floor", least, taken)
