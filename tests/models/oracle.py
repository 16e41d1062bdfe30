"""The whole network in plain numpy, from the papers' equations: one sentence, one step after the other, no batch.

A `Translation` gives the settings only; parameters come as arrays under the names of its `network`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from seq2seq.models.cells import GRU, LSTM, RNN, Cell, LayerNormLSTM, MinGRU, MinLSTM
from seq2seq.models.fixed_vector import Attentive, Copy, Last, Learned, Linear, Max, Mean, Zeros
from seq2seq.tasks.translation import Translation
from tests.models.oracle_attention import Array, attend, normalized

Parameters = dict[str, Array]
CellState = tuple[Array, ...]
"""Of one layer in one direction: h, or h and c, each (H,)."""

TINY = 1e-30
"""Stands for a probability of zero where its logarithm is needed."""


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def part(p: Parameters, name: str) -> Parameters:
    """The parameters of one part, named as inside it."""
    return {key.removeprefix(f"{name}."): value for key, value in p.items() if key.startswith(f"{name}.")}


# One step of a cell: input x (I,) and state to the next state


def rnn(p: Parameters, x: Array, state: CellState, f: Callable[[Array], Array] = np.tanh) -> CellState:
    """Elman 1990: h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)."""
    (h,) = state
    return (f(p["weight_ih"] @ x + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"]),)


def gru(p: Parameters, x: Array, state: CellState) -> CellState:
    """Cho et al. 2014, eq. 5 to 8, with torch's reset gate after the product U h."""
    (h,) = state
    w_r, w_z, w = np.split(p["weight_ih"], 3)
    u_r, u_z, u = np.split(p["weight_hh"], 3)
    (b_r, b_z, b), (d_r, d_z, d) = np.split(p["bias_ih"], 3), np.split(p["bias_hh"], 3)
    r = sigmoid(w_r @ x + b_r + u_r @ h + d_r)  # eq. 5
    z = sigmoid(w_z @ x + b_z + u_z @ h + d_z)  # eq. 6
    new = np.tanh(w @ x + b + r * (u @ h + d))  # eq. 8
    return (z * h + (1 - z) * new,)  # eq. 7


def lstm(p: Parameters, x: Array, state: CellState) -> CellState:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, without peepholes."""
    h, c = state
    w_i, w_f, w_g, w_o = np.split(p["weight_ih"], 4)
    u_i, u_f, u_g, u_o = np.split(p["weight_hh"], 4)
    b_i, b_f, b_g, b_o = np.split(p["bias_ih"] + p["bias_hh"], 4)
    i = sigmoid(w_i @ x + u_i @ h + b_i)
    f = sigmoid(w_f @ x + u_f @ h + b_f)
    g = np.tanh(w_g @ x + u_g @ h + b_g)
    o = sigmoid(w_o @ x + u_o @ h + b_o)
    c = f * c + i * g
    return o * np.tanh(c), c


def layer_norm(z: Array, gain: Array, shift: Array | float = 0.0) -> Array:
    """Ba et al. 2016, eq. 4: zero mean and unit variance over the units, then gain and shift."""
    return (z - z.mean()) / np.sqrt(z.var() + 1e-5) * gain + shift


def layer_norm_lstm(p: Parameters, x: Array, state: CellState) -> CellState:
    """Ba et al. 2016, eq. 20 to 22; the shift of the input's product is also their b and the other's shift."""
    h, c = state
    of_h = layer_norm(p["of_hidden.0.weight"] @ h, p["of_hidden.1.weight"])
    of_x = layer_norm(p["of_input.0.weight"] @ x, p["of_input.1.weight"], p["of_input.1.bias"])
    f, i, o, g = np.split(of_h + of_x, 4)  # eq. 20
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)  # eq. 21
    return sigmoid(o) * np.tanh(layer_norm(c, p["of_cell.weight"], p["of_cell.bias"])), c  # eq. 22


def min_gru(p: Parameters, x: Array, state: CellState) -> CellState:
    """Feng et al. 2024, sec. 3.1: neither gate nor new value sees h_{t-1}."""
    (h,) = state
    (w_z, w_h), (b_z, b_h) = np.split(p["maps.weight"], 2), np.split(p["maps.bias"], 2)
    z = sigmoid(w_z @ x + b_z)
    return ((1 - z) * h + z * (w_h @ x + b_h),)


def min_lstm(p: Parameters, x: Array, state: CellState) -> CellState:
    """Feng et al. 2024, sec. 3.2: the two gates are divided by their sum."""
    (h,) = state
    (w_i, w_f, w_h), (b_i, b_f, b_h) = np.split(p["maps.weight"], 3), np.split(p["maps.bias"], 3)
    i, f = sigmoid(w_i @ x + b_i), sigmoid(w_f @ x + b_f)
    return (f / (f + i) * h + i / (f + i) * (w_h @ x + b_h),)


def step(cell: Cell, p: Parameters, x: Array, state: CellState) -> CellState:
    """One step of any cell."""
    if isinstance(cell, RNN):
        return rnn(p, x, state, relu if cell.nonlinearity == "relu" else np.tanh)
    kinds = {GRU: gru, LSTM: lstm, LayerNormLSTM: layer_norm_lstm, MinGRU: min_gru, MinLSTM: min_lstm}
    return kinds[type(cell)](p, x, state)


# Layers over time


def one_direction(p: Parameters, direction: int) -> Parameters:
    """The parameters of one direction of a layer, whose names then do not tell it."""
    ending = "_l0_reverse" if direction else "_l0"
    found = {key.removeprefix("torch.").removesuffix(ending): p[key] for key in p if key.endswith(ending)}
    for key, value in p.items():
        name, _, rest = key.partition(f".{direction}.")
        if "." not in name and rest:
            found[f"{name}.{rest}"] = value
    return found


def layer(cell: Cell, p: Parameters, xs: Array, first: list[CellState]) -> tuple[Array, list[CellState]]:
    """Inputs (S, I) and a state for each direction to outputs (S, D * H) and those after the last step of each."""
    outputs, last = [], []
    for direction, state in enumerate(first):
        found, weights = [], one_direction(p, direction)
        for x in xs[::-1] if direction else xs:
            state = step(cell, weights, x, state)
            found.append(state[0])
        outputs.append(found[::-1] if direction else found)
        last.append(state)
    return np.concatenate(outputs, axis=1), last


def layers(
    cell: Cell, p: Parameters, xs: Array, first: list[list[CellState]], residual_from: int | None
) -> tuple[Array, list[list[CellState]]]:
    """The same, one layer on the other; from layer `residual_from` on a layer's input is added to its output."""
    last = []
    for number, states in enumerate(first, 1):
        ys, after = layer(cell, part(p, f"stack.{number - 1}"), xs, states)
        xs = ys + xs if adds_input(number, residual_from) else ys
        last.append(after)
    return xs, last


def adds_input(number: int, residual_from: int | None) -> bool:
    """Whether the input of the layer with that number, from 1, is added to its output."""
    return residual_from is not None and number >= residual_from


# The encoder compresses the source into a fixed vector


class Source(NamedTuple):
    """What the encoder says about one source, in the order in which it was read."""

    ids: Sequence[int]
    states: Array
    """(S, H)"""
    vector: Array
    """(H,) the fixed vector."""
    handed: list[CellState]
    """For each layer what goes on to the bridge, both directions side by side."""


def embed(p: Parameters, sizes: Sequence[int], number: int) -> Array:
    """The vectors of a token and of its features side by side; an id is token + V (first + F1 (second + ...))."""
    return np.concatenate([p["weight"][number % sizes[0]], features(p, sizes, number)])


def features(p: Parameters, sizes: Sequence[int], number: int) -> Array:
    """The vectors of the features alone."""
    found, rest = [np.zeros(0)], number // sizes[0]
    for index, size in enumerate(sizes[1:]):
        found.append(p[f"tables.{index}.weight"][rest % size])
        rest //= size
    return np.concatenate(found)


def encode(task: Translation, p: Parameters, ids: Sequence[int]) -> Source:
    """Sutskever et al. 2014, sec. 2; p are the encoder's parameters."""
    options, sizes = task.encoder, task.tokenizers.source.sizes
    ids = ids[::-1] if options.reverse else ids  # Sutskever et al. 2014, sec. 3.3
    xs = np.array([embed(part(p, "embedding"), sizes, number) for number in ids])
    directions = 2 if options.bidirectional else 1  # Bahdanau et al. 2015, sec. 3.2
    states, last = layers(
        task.cell, part(p, "recurrent"), xs, before_the_first(task, p, directions), task.residual_from
    )
    final = [tuple(np.concatenate(tensors) for tensors in zip(*after, strict=True)) for after in last]
    vector, handed = pool(task, part(p, "pool"), states, final)
    return Source(ids, states, vector, handed)


def before_the_first(task: Translation, p: Parameters, directions: int) -> list[list[CellState]]:
    """The state of each layer and direction with which the encoder begins."""
    size, numbers = (task.encoder.hidden_size or task.hidden_size) // directions, range(task.cell.states)

    def one(index: int) -> CellState:
        if task.encoder.learned_first_state:
            return tuple(p[f"recurrent.first.{number}"][index, 0] for number in numbers)
        return tuple(np.zeros(size) for _ in numbers)

    return [[one(row * directions + column) for column in range(directions)] for row in range(task.layers)]


def pool(task: Translation, p: Parameters, states: Array, final: list[CellState]) -> tuple[Array, list[CellState]]:
    """The fixed vector, and what is handed to the bridge: every pooling but the last state hands on this vector only."""
    pooling = task.encoder.pooling
    if pooling is None or isinstance(pooling, Last):  # Sutskever et al. 2014
        return final[-1][0], final
    if isinstance(pooling, Mean):
        vector = states.mean(axis=0)
    elif isinstance(pooling, Max):  # Conneau et al. 2017, sec. 3.2.2
        vector = states.max(axis=0)
    else:  # Yang et al. 2016, eq. 5 to 7
        assert isinstance(pooling, Attentive)
        scores = np.array([p["vector.weight"][0] @ np.tanh(p["map.weight"] @ h + p["map.bias"]) for h in states])
        vector = normalized(scores, "softmax") @ states
    return vector, [tuple(vector for _ in state) for state in final]


def bridge(task: Translation, p: Parameters, handed: list[CellState]) -> list[CellState]:
    """The decoder's first state, a layer each."""
    count, numbers = task.decoder.layers or task.layers, range(task.cell.states)
    if isinstance(task.bridge, Copy):  # Sutskever et al. 2014
        return handed
    if isinstance(task.bridge, Zeros):
        return [tuple(np.zeros(task.hidden_size) for _ in numbers)] * count
    if isinstance(task.bridge, Learned):
        return [tuple(p[f"first.{number}"][row, 0] for number in numbers) for row in range(count)]
    assert isinstance(
        task.bridge, Linear
    )  # Bahdanau et al. 2015, app. A.2.2; top layers meet, the lowest serves the rest
    found = []
    for row in range(count):
        state = handed[max(0, len(handed) - count + row)]
        w, b = ([p[f"maps.{number}.{row}.{kind}"] for number in numbers] for kind in ("weight", "bias"))
        found.append(tuple(np.tanh(w[number] @ state[number] + b[number]) for number in numbers))
    return found


# The decoder unfolds it


class Past(NamedTuple):
    """What a step of the decoder knows of those before it."""

    states: list[CellState]
    """Of each layer."""
    output: Array
    """What the output layer saw."""
    context: Array
    coverage: Array
    """(S,) the sum of the attention's weights (See et al. 2017, eq. 10)."""


def log_probs(task: Translation, p: Parameters, ids: Sequence[int], target: Sequence[int]) -> Array:
    """(T - 1, V) nats: each token of the target given the source and those before it."""
    source = encode(task, part(p, "encoder"), ids)
    of_target = part(p, "encoder.embedding" if task.decoder.tied_embeddings else "decoder.embedding")
    of_row = np.zeros(0)
    if task.decoder.features:
        of_row = features(part(p, "encoder.embedding"), task.tokenizers.source.sizes, source.ids[0])
    decoder = Decoder(task, part(p, "decoder"), of_target, source, of_row)
    past, found = decoder.start(bridge(task, part(p, "bridge"), source.handed)), []
    for token in target[:-1]:
        row, past = decoder.step(token, past)
        found.append(row)
    return np.array(found)


class Decoder(NamedTuple):
    """Settings, parameters and the source of one translation."""

    task: Translation
    p: Parameters
    of_target: Parameters
    """The embedding of the target."""
    source: Source
    of_row: Array
    """The vectors of the row's features, of length 0 where they are not read."""

    def start(self, states: list[CellState]) -> Past:
        """Before the first token nothing has been seen."""
        output, context = np.zeros(self.output_size()), np.zeros(self.context_size())
        return Past(states, output, context, np.zeros(len(self.source.ids)))

    def output_size(self) -> int:
        """Of what the output layer sees."""
        if "readout.map.bias" not in self.p:
            return int(self.p["output.layer.weight"].shape[1])
        return len(self.p["readout.map.bias"]) // (2 if self.task.decoder.readout == "maxout" else 1)

    def context_size(self) -> int:
        """Of what the attention finds."""
        values = self.p.get("attention.value_map.weight")
        return self.source.states.shape[1] if values is None else len(values)

    def step(self, token: int, past: Past) -> tuple[Array, Past]:
        """The log-probabilities (V,) of the token after this one, and the past of the next step."""
        x = embed(self.of_target, self.task.tokenizers.target.sizes, token)
        hidden, states, context, weights = self.recurrence(x, past)
        output = self.readout(x, hidden, context)
        found = self.distribution(output)
        if self.task.decoder.latent_alignments:
            found = self.one_by_one(found, x, hidden, weights)
        if self.task.decoder.copy:
            found = self.copying(found, x, hidden, context, weights)
        return np.log(np.maximum(found, TINY)), Past(states, output, context, past.coverage + weights)

    def one_by_one(self, others: Array, x: Array, hidden: Array, weights: Array) -> Array:
        """Shankar et al. 2018: sum over the likeliest positions of a_s p(y | s), and here the rest of a times p(y | c)."""
        best = np.argsort(-weights)[: self.task.decoder.latent_alignments]
        rest = max(1 - weights[best].sum(), 1e-6)
        alone = [self.distribution(self.readout(x, hidden, self.source.states[position])) for position in best]
        total = rest * others + sum(weights[position] * found for position, found in zip(best, alone, strict=True))
        return np.asarray(total / (rest + weights[best].sum()))

    def recurrence(self, x: Array, past: Past) -> tuple[Array, list[CellState], Array, Array]:
        """The top layer's output, the next states, context and weights; x is the vector of the token before."""
        options, states = self.task.decoder, past.states
        x = np.concatenate([x, *self.fixed_vector(), self.of_row])
        if self.task.attention is None:  # Sutskever et al. 2014; with the vector at every step Cho et al. 2014, eq. 7
            hidden, after = self.climb(x, states, 1)
            return hidden, after, np.zeros(0), np.zeros(len(self.source.ids))
        if options.attend_from == "before":  # Bahdanau et al. 2015, sec. 3.1: s_i = f(s_{i-1}, y_{i-1}, c_i(s_{i-1}))
            context, weights = self.attend(states[-1][0], past)
            return *self.climb(np.concatenate([x, context]), states, 1), context, weights
        if options.attend_from == "top":  # Luong et al. 2015, sec. 3; input feeding is their sec. 3.3
            hidden, after = self.climb(np.concatenate([x, past.output]) if options.input_feeding else x, states, 1)
            return hidden, after, *self.attend(hidden, past)
        hidden, lowest = self.climb(np.concatenate([x, past.context]), states[:1], 1)  # RNMT+ (Chen et al. 2018)
        context, weights = self.attend(hidden, past)
        hidden, upper = self.climb(hidden, states[1:], 2, context)
        return hidden, lowest + upper, context, weights

    def climb(
        self, x: Array, states: list[CellState], lowest: int, context: Array | None = None
    ) -> tuple[Array, list[CellState]]:
        """One step of the layers from number `lowest` on; the context, where given, enters each of them."""
        after = []
        for number, state in enumerate(states, lowest):
            name = f"recurrent.stack.{number - 1}" if lowest == 1 else f"above.stack.{number - 2}"
            weights = one_direction(part(self.p, name), 0)
            state = step(self.task.cell, weights, x if context is None else np.concatenate([x, context]), state)
            x = state[0] + x if adds_input(number, self.task.residual_from) else state[0]
            after.append(state)
        return x, after

    def attend(self, query: Array, past: Past) -> tuple[Array, Array]:
        """Context and weights (S,)."""
        attention = self.task.attention
        assert attention is not None
        coverage = past.coverage if attention.coverage else None
        return attend(attention, part(self.p, "attention"), query, self.source.states, coverage)

    def fixed_vector(self) -> list[Array]:
        """What enters every step and the output, if anything does (Cho et al. 2014, eq. 7)."""
        return [self.source.vector] if self.task.decoder.context_every_step else []

    def readout(self, x: Array, hidden: Array, context: Array) -> Array:
        """What the output layer sees."""
        options, vector = self.task.decoder, self.fixed_vector()
        seen = np.concatenate([context, hidden, *vector, *([x] if vector or options.readout == "maxout" else [])])
        size = options.readout_size or (self.task.embedding_size if options.tied_output else self.task.hidden_size)
        kind = options.readout or ("none" if len(seen) == len(hidden) == size else "tanh")
        if kind == "none":
            return seen
        mapped = self.p["readout.map.weight"] @ seen + self.p["readout.map.bias"]
        if kind == "maxout":  # Bahdanau et al. 2015, app. A.2.2: t_j = max(t~_{2j-1}, t~_{2j})
            return np.array([max(mapped[2 * j], mapped[2 * j + 1]) for j in range(size)])
        return np.tanh(mapped) if kind == "tanh" else mapped  # Luong et al. 2015, eq. 5

    def distribution(self, output: Array) -> Array:
        """Probabilities (V,): Luong et al. 2015, eq. 6; tied to the embedding: Press and Wolf 2017."""
        tied = self.task.decoder.tied_output
        weight = self.of_target["weight"] if tied else self.p["output.layer.weight"]
        return normalized(weight @ output + self.p["output.layer.bias"], self.task.output)

    def copying(self, generated: Array, x: Array, hidden: Array, context: Array, weights: Array) -> Array:
        """See et al. 2017, eq. 8 and 9."""
        seen = np.concatenate([context, hidden, x])
        generate = sigmoid(self.p["pointer.weight"][0] @ seen + self.p["pointer.bias"][0])  # eq. 8
        found = generate * generated
        for token, weight in zip(self.source.ids, weights, strict=True):  # eq. 9
            found[token] += (1 - generate) * weight
        return found
