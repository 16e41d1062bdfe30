"""python benchmarks/mixed.py: rows of mixed length through a recurrent layer, over as many tokens of one length.

Forward and backward, processor time, medians of rounds in turns; packed rows are what torch itself would do.
"""

import argparse
import json
import random
import statistics
import time
from pathlib import Path

import torch

from seq2seq.models import stretches
from seq2seq.models.cells import GRU, LSTM

SHAPES = [(5, 10, 128), (20, 40, 60), (60, 80, 90), (200, 400, 8), (900, 1000, 8)]
"""Shortest and longest row, and how many."""


def seconds(layer: torch.nn.Module, inputs: torch.Tensor, lengths: torch.Tensor | None) -> float:
    """Of one forward and one backward pass."""
    started = time.process_time()
    outputs, last = layer(inputs, None, lengths)
    (outputs.sum() + last[0].sum()).backward()
    return time.process_time() - started


def measured(cell: LSTM | GRU, size: int, shape: tuple[int, int, int], rounds: int) -> dict[str, float]:
    """Milliseconds of each way."""
    layer = cell.build(size, size, True)
    found: dict[str, list[float]] = {"dense": [], "mixed": [], "packed": []}
    usual = stretches.LEAST
    for _ in range(rounds):
        lengths = torch.tensor([random.randint(*shape[:2]) for _ in range(shape[2])])
        mixed = torch.randn(len(lengths), int(lengths.max()), size, requires_grad=True)
        dense = torch.randn(len(lengths), round(float(lengths.float().mean())), size, requires_grad=True)
        found["dense"].append(seconds(layer, dense, None))
        found["mixed"].append(seconds(layer, mixed, lengths))
        stretches.LEAST = 10**12
        found["packed"].append(seconds(layer, mixed, lengths))
        stretches.LEAST = usual
    return {way: 1000 * statistics.median(times) for way, times in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=256, help="units of each direction")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="how many of the shapes")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(1)
    table = []
    print("cell  steps      rows  dense ms  mixed ms  packed ms  mixed/dense  packed/mixed")
    for cell in (LSTM(), GRU()):
        for shape in SHAPES[: arguments.shapes]:
            found = measured(cell, arguments.hidden, shape, arguments.rounds)
            ratios = found["mixed"] / found["dense"], found["packed"] / found["mixed"]
            table.append({"cell": type(cell).__name__, "shape": shape, **found, "over_dense": ratios[0]})
            times = "  ".join(f"{found[way]:8.0f}" for way in ("dense", "mixed", "packed"))
            steps = f"{shape[0]}-{shape[1]}"
            print(f"{type(cell).__name__:5} {steps:9} {shape[2]:5}  {times}  {ratios[0]:12.2f}  {ratios[1]:12.1f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(table))


if __name__ == "__main__":
    main()
