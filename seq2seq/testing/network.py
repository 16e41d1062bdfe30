"""The contracts of a cell and of an attention, checked on small numbers in double precision."""

import torch
from torch import Tensor

from seq2seq.models.attention import Attention
from seq2seq.models.cells import Cell, CellState
from seq2seq.testing.demands import check_parameters, demand, described, same

ROWS, STEPS, SIZE, HIDDEN = 3, 5, 4, 8
LENGTHS = torch.tensor([5, 2, 3])


def check_cell(cell: Cell) -> None:
    """Step and sequence agree, padding enters nothing, gradients reach everything, a checkpoint holds it all."""
    described(cell, Cell)
    demand(not list(cell.parameters()), cell, "create makes the parameters, not __init__")
    for bidirectional in (False, True):
        layer = built_cell(cell, bidirectional)
        inputs = numbers(ROWS, STEPS, SIZE)
        check_step(cell, layer, inputs)
        check_padding(cell, layer, inputs)
        check_dropout(cell, layer, inputs)
        check_gates(cell, layer, inputs)
        outputs, last = layer(inputs.requires_grad_())
        fresh = built_cell(cell, bidirectional)
        check_parameters(cell, layer, fresh, outputs.square().sum() + sum(one.sum() for one in last))
        again, after = fresh(inputs)
        equal = same(again, outputs) and all(map(same, after, last))
        demand(equal, cell, "parameters from a checkpoint give the same outputs")


def built_cell(cell: Cell, bidirectional: bool) -> Cell:
    """A layer of it, without chance."""
    return cell.build(SIZE, HIDDEN, bidirectional).double().eval()


def numbers(*shape: int) -> Tensor:
    """Always the same ones, of order 1."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def check_step(cell: Cell, layer: Cell, inputs: Tensor, masks: Tensor | None = None) -> None:
    """All steps at once give what one after the other gives, in each direction and from any state."""
    first = tuple(0.5 * numbers(layer.directions, ROWS, HIDDEN) for _ in range(cell.states))
    for start in (None, first):
        outputs, last = layer(inputs, start, None, masks)
        wanted = (ROWS, STEPS, layer.directions * HIDDEN)
        demand(outputs.shape == wanted, cell, "outputs (B, T, D * H)", f"{tuple(outputs.shape)}, not {wanted}")
        shapes = [tuple(one.shape) for one in last]
        demand(shapes == [(layer.directions, ROWS, HIDDEN)] * cell.states, cell, "`states` tensors (D, B, H)", shapes)
        for direction in range(layer.directions):
            state = layer.zeros(inputs) if start is None else tuple(one[direction] for one in start)
            steps = inputs.flip(1) if direction else inputs
            own = []
            for now in steps.unbind(1):
                state = layer.step(now, state, direction, None if masks is None else masks[direction])
                check_state(cell, state)
                own.append(state[0])
            sequence = torch.stack(own[::-1] if direction else own, 1)
            part = outputs[..., direction * HIDDEN : (direction + 1) * HIDDEN]
            agree = same(sequence, part) and all(map(same, (one[direction] for one in last), state))
            how = "with a mask on the state" if masks is not None else "from a state" if start else "from zeros"
            demand(agree, cell, f"step equals sequence, {how}, direction {direction}")


def check_state(cell: Cell, state: CellState) -> None:
    """What a step returns."""
    fits = isinstance(state, tuple) and all(tuple(one.shape) == (ROWS, HIDDEN) for one in state)
    found = [tuple(one.shape) for one in state] if isinstance(state, tuple) else type(state).__name__
    demand(fits and len(state) == cell.states, cell, "step returns a tuple of `states` tensors (B, H)", found)


def check_padding(cell: Cell, layer: Cell, inputs: Tensor) -> None:
    """A row of a mixed batch gives what it gives alone; what stands in its padding is never seen."""
    padding = torch.arange(STEPS) >= LENGTHS.unsqueeze(1)
    outputs, last = layer(inputs, None, LENGTHS)
    other, other_last = layer(inputs.masked_fill(padding.unsqueeze(-1), 1e3), None, LENGTHS)
    unseen = same(other, outputs) and all(map(same, other_last, last))
    demand(unseen, cell, "padding enters no state")
    demand(not outputs[padding].any(), cell, "outputs are zero where padded")
    for row, length in enumerate(LENGTHS.tolist()):
        alone, state = layer(inputs[row : row + 1, :length])
        agree = same(alone[0], outputs[row, :length])
        agree = agree and all(same(one[:, 0], end[:, row]) for one, end in zip(state, last, strict=True))
        demand(agree, cell, "a row does not depend on its neighbours", f"row {row}")


def check_dropout(cell: Cell, layer: Cell, inputs: Tensor) -> None:
    """The mask of recurrent dropout acts in a step as in a sequence."""
    if cell.reads_state:
        masks = (numbers(layer.directions, ROWS, HIDDEN) > 0).double() * 2
        check_step(cell, layer, inputs, masks)
        (plain, _), (masked, _) = layer(inputs), layer(inputs, None, None, masks)
        demand(not same(plain, masked), cell, "the mask acts where the state is read (else reads_state = False)")


def check_gates(cell: Cell, layer: Cell, inputs: Tensor) -> None:
    """Gates that the report shows."""
    for name, gate in layer.gates(inputs[:, 0], layer.zeros(inputs)).items():
        fits = tuple(gate.shape) == (ROWS, HIDDEN) and bool(((gate >= 0) & (gate <= 1)).all())
        demand(fits, cell, "gates (B, H) from 0 to 1", name)


def check_attention(attention: Attention) -> None:
    """Weights are a distribution over real tokens, each query and each row by itself, and a checkpoint holds it all."""
    described(attention, Attention)
    demand(not list(attention.parameters()), attention, "create makes the parameters, not __init__")
    module = built_attention(attention)
    padding = torch.arange(STEPS) >= LENGTHS.unsqueeze(1)
    queries, values = numbers(ROWS, 2, HIDDEN), numbers(ROWS, STEPS, HIDDEN).requires_grad_()
    seen = numbers(ROWS, 2, STEPS).abs().masked_fill(padding.unsqueeze(1), 0.0) if attention.coverage else None
    memory = module.memory(values, padding)
    contexts, weights = module(queries, memory, seen)
    check_weights(attention, weights, padding)
    wanted = (ROWS, 2, module.context_size)
    demand(contexts.shape == wanted, attention, "contexts (B, T, C)", f"{tuple(contexts.shape)}, not {wanted}")
    other = module(queries, module.memory(values.masked_fill(padding.unsqueeze(-1), 1e3), padding), seen)
    demand(all(map(same, other, (contexts, weights))), attention, "padding gets no weight and changes nothing")
    for row, length in enumerate(LENGTHS.tolist()):
        one = slice(row, row + 1)
        own = None if seen is None else seen[one, :, :length]
        alone = module(queries[one], module.memory(values[one, :length], padding[one, :length]), own)
        agree = same(alone[0], contexts[one]) and same(alone[1], weights[one, :, :length])
        demand(agree, attention, "a row does not depend on its neighbours", f"row {row}")
    single = [slice(time, time + 1) for time in range(2)]
    steps = [module(queries[:, time], memory, None if seen is None else seen[:, time]) for time in single]
    for together, apart in zip((contexts, weights), zip(*steps, strict=True), strict=True):
        demand(same(torch.cat(apart, 1), together), attention, "one query after the other equals all at once")
    fresh = built_attention(attention)
    check_parameters(attention, module, fresh, contexts.square().sum() + weights.square().sum())
    demand(values.grad is not None, attention, "a gradient for the source's states")
    again = fresh(queries, fresh.memory(values, padding), seen)
    equal = all(map(same, again, (contexts, weights)))
    demand(equal, attention, "parameters from a checkpoint give the same weights")


def built_attention(attention: Attention) -> Attention:
    """A module of it for queries and states of equal size."""
    return attention.build(HIDDEN, HIDDEN).double().eval()


def check_weights(attention: Attention, weights: Tensor, padding: Tensor) -> None:
    """(B, T, S): none below zero, none on padding, none in all above one."""
    wanted = (ROWS, 2, STEPS)
    demand(weights.shape == wanted, attention, "weights (B, T, S)", f"{tuple(weights.shape)}, not {wanted}")
    demand(bool((weights >= 0).all()), attention, "no weight is below zero")
    demand(not weights.masked_select(padding.unsqueeze(1)).any(), attention, "no weight on padding")
    demand(bool((weights.sum(-1) <= 1 + 1e-9).all()), attention, "weights sum to one at most")
