"""Recurrent layers: rows of mixed length against one length and packing, and each cell against torch's own layer."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from seq2seq.models import stretches
from seq2seq.models.cells import GRU, LSTM, RNN, Cell, Fused, LayerNormLSTM, MinGRU, MinLSTM
from seq2seq.models.recurrent import Recurrent, Stack
from seq2seq.speed.figures import Figures, Sizes, in_turns
from seq2seq.speed.plain import over_time

SHAPES = [(20, 40, 60), (200, 400, 8), (900, 1000, 8)]
"""Shortest and longest row, and how many."""

CELLS: list[Cell] = [LSTM(), GRU(), RNN(), LayerNormLSTM(), MinGRU(), MinLSTM()]


def passes(layer: nn.Module, inputs: Tensor, lengths: Tensor | None) -> Callable[[], None]:
    """Forward and backward."""

    def work() -> None:
        outputs, last = layer(inputs, None, lengths)
        (outputs.sum() + last[0].sum()).backward()

    return work


def packing(work: Callable[[], None]) -> Callable[[], None]:
    """The same with every mixed batch packed, as torch would have it."""

    def packed() -> None:
        usual, stretches.LEAST = stretches.LEAST, 10**12
        try:
            work()
        finally:
            stretches.LEAST = usual

    return packed


def mixed(sizes: Sizes, found: Figures) -> None:
    """Rows of mixed length through a layer, over as many tokens of one length."""
    units = sizes.hidden // 2
    for cell in (LSTM(), GRU()):
        for short, long, rows in [(2, 4, 3)] if sizes.small else SHAPES:
            torch.manual_seed(1)
            layer = cell.build(units, units, True)
            lengths = torch.randint(short, long + 1, (rows,))
            lengths[0] = long
            own = torch.randn(rows, long, units, requires_grad=True)
            dense = torch.randn(rows, round(float(lengths.float().mean())), units, requires_grad=True)
            ours = passes(layer, own, lengths)
            taken = in_turns({"dense": passes(layer, dense, None), "mixed": ours, "packed": packing(ours)},
                             sizes.rounds)  # fmt: skip
            name = f"{type(cell).__name__}, {rows} rows of {short} to {long}"
            found.ratio(f"{name}, time over that of one length", taken["mixed"], taken["dense"])
            found.ratio(f"{name}, over packing", taken["packed"], taken["mixed"])


def cells(sizes: Sizes, found: Figures) -> None:
    """What a token of a long row costs in each cell, and ours against torch's layer with the same weights."""
    rows, steps = (2, 5) if sizes.small else (16, 1000)
    for units in (sizes.hidden // 4, sizes.hidden // 2, sizes.hidden):
        inputs = torch.randn(rows, steps, units)
        layers = {type(cell).__name__: Recurrent(Stack(cell, units), units) for cell in CELLS}
        taken = in_turns({name: passes(layer, inputs, None) for name, layer in layers.items()}, sizes.rounds)
        for name, times in taken.items():
            found.add(f"{name}, {units} units, a token", [1e6 * one / rows / steps for one in times], "us")
    for cell in CELLS[:3]:
        for both in (False, True):
            for many in (False, True):
                against_torch(cell, both, many, sizes, found)


def against_torch(cell: Cell, both: bool, many: bool, sizes: Sizes, found: Figures) -> None:
    """Ours against torch's layer on rows of one or of many lengths."""
    units, rows, steps = sizes.hidden // 2, 8 if sizes.small else 64, 30
    ours = Recurrent(Stack(cell, units * (1 + both)), units, both)
    layer = ours.stack[0]
    assert isinstance(layer, Fused)
    inputs = torch.randn(rows, steps, units)
    lengths = torch.randint(steps // 2, steps + 1, (rows,)) if many else torch.full((rows,), steps)

    def theirs() -> None:
        outputs, last = over_time(layer.torch, inputs, lengths, steps)
        torch.autograd.backward(outputs.sum() + (last[0] if isinstance(last, tuple) else last).sum())

    own = passes(ours, inputs, lengths if many else None)
    taken = in_turns({"ours": own, "torch": theirs}, 2 * sizes.rounds)
    ways, length = "both directions" if both else "one direction", "many lengths" if many else "one length"
    found.ratio(f"{type(cell).__name__}, {ways}, {length}, over plain torch", taken["torch"], taken["ours"])
