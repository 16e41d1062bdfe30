"""How fast each cell trains over long sequences, against torch's own layers.

    python benchmarks/cells.py [--length 1000] [--rows 16] [--sizes 128,256,512] [--rounds 7] [--threads 2]

For each size one layer of that many units reads inputs of as many units in one direction; a round is one
forward and backward pass of every cell in turn, and a figure is the median over rounds. Then ours against torch's layer
with the same weights and inputs: all cells that torch has, one and two directions, rows of one and of many lengths.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seq2seq.models.cells import GRU, LSTM, RNN, Cell, Fused, LayerNormLSTM, MinGRU, MinLSTM
from seq2seq.models.recurrent import Recurrent, Stack

CELLS: list[Cell] = [LSTM(), GRU(), RNN(), LayerNormLSTM(), MinGRU(), MinLSTM()]

Pass = Callable[[], Tensor]


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, {options.rounds} rounds\n")
    print(f"| units | {' | '.join(type(cell).__name__ for cell in CELLS)} |\n|{'---|' * (len(CELLS) + 1)}")
    for size in options.sizes:
        inputs = torch.randn(options.rows, options.length, size)
        found = rounds([over_time(Recurrent(Stack(cell, size), size), inputs) for cell in CELLS], options.rounds)
        tokens = options.rows * options.length
        shown = [f"{1e6 * seconds / tokens:.2f} us, {found[0] / seconds:.2f} x" for seconds in found]
        print(f"| {size} | {' | '.join(shown)} |", flush=True)
    print("\n| ours / torch | one length | one length, both directions | many lengths | many, both directions |")
    print("|---|---|---|---|---|")
    for cell in CELLS[:3]:
        ratios = [against_torch(cell, both, mixed, options.rounds) for mixed in (False, True) for both in (False, True)]
        print(f"| {type(cell).__name__} | {' | '.join(f'{ratio:.3f}' for ratio in ratios)} |", flush=True)


def parse() -> argparse.Namespace:
    """The command line."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--length", type=int, default=1000, help="steps")
    parser.add_argument("--rows", type=int, default=16, help="rows of a batch")
    parser.add_argument("--sizes", type=numbers, default=[128, 256, 512], help="units, separated by commas")
    parser.add_argument("--rounds", type=int, default=7, help="passes of which the median is told")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Whole numbers between commas."""
    return [int(one) for one in text.split(",")]


def rounds(passes: Sequence[Pass], count: int) -> list[float]:
    """Seconds of forward and backward of each, in turns; the first round does not count."""
    seconds: list[list[float]] = [[] for _ in passes]
    for _ in range(count + 1):
        for times, run in zip(seconds, passes, strict=True):
            started = time.perf_counter()
            run().sum().backward()  # type: ignore[no-untyped-call]
            times.append(time.perf_counter() - started)
    return [statistics.median(times[1:]) for times in seconds]


def over_time(layer: Recurrent, inputs: Tensor, lengths: Tensor | None = None) -> Pass:
    """A forward pass of ours."""
    return lambda: layer(inputs, None, lengths)[0]


def against_torch(cell: Cell, bidirectional: bool, mixed: bool, count: int) -> float:
    """Our seconds over those of torch's layer, the median of the ratios of paired rounds."""
    size, rows, length = 256, 64, 30
    ours = Recurrent(Stack(cell, size * (1 + bidirectional)), size, bidirectional)
    inputs = torch.randn(rows, length, size)
    layer = ours.stack[0]
    assert isinstance(layer, Fused)
    theirs = layer.torch
    lengths = torch.randint(length // 2, length + 1, (rows,)) if mixed else None
    passes = [over_time(ours, inputs, lengths), torchs(theirs, inputs, lengths)]
    pairs = [rounds(passes, 1) for _ in range(4 * count)]
    return statistics.median(one / other for one, other in pairs)


def torchs(layer: nn.RNNBase, inputs: Tensor, lengths: Tensor | None) -> Pass:
    """The same work written with torch alone."""

    def run() -> Tensor:
        if lengths is None:
            found: Tensor = layer(inputs)[0]
            return found
        packed = pack_padded_sequence(inputs, lengths, True, enforce_sorted=False)
        return pad_packed_sequence(layer(packed)[0], True, total_length=inputs.shape[1])[0]

    return run


if __name__ == "__main__":
    main()
