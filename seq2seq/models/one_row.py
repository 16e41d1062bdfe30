"""Greedy search for one source on a processor, in numpy over the decoder's own memory.

`step_of` is bound to one source: nothing is kept from one to the next, so the parameters may change.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
from torch import Tensor, nn

from seq2seq.models.attention import Attention, Dot, General, ScaledDot
from seq2seq.models.cells import GRU, LSTM, RNN, Fused
from seq2seq.models.decoder import Decoder, State
from seq2seq.models.latent_decoder import LEAST
from seq2seq.models.output import TINY
from seq2seq.models.row_cell import Array, RowCell, array, computes_in_numpy

Product = Callable[[Array], Array]

CELLS = (GRU.step, LSTM.step, RNN.step)
ATTENTIONS = (Dot, ScaledDot, General)


def fits(decoder: Decoder, state: State) -> bool:
    """Whether a search shall and can be by `greedy_row`, which knows the usual parts of a decoder."""
    if not decoder.suits_one_row or state.recurrent[0].shape[1] > 1 or decoder.by_step is not None:
        return False
    if not computes_in_numpy(state.recurrent[0]):
        return False
    options, attention = decoder.options, decoder.attention
    layers, residual_from = decoder.recurrent.stack, decoder.recurrent.residual_from
    return (
        not (options.copy or options.input_feeding or options.features)
        and (attention is None or (type(attention) in ATTENTIONS and attention.normalizer == "softmax"))
        and (attention is None or options.attend_from == "top")
        and all(isinstance(one, Fused) and type(one).step in CELLS for one in layers)
        and residual_from > len(layers)
        and len(decoder.embedding.sizes) == 1
        and decoder.readout.kind in ("tanh", "linear", "none")
        and decoder.output.normalizer == "softmax"
    )


def product(layer: nn.Linear) -> Product:
    """x W^T + b of a vector."""
    weight = array(layer.weight)
    if layer.bias is None:
        return weight.__matmul__
    bias = array(layer.bias)
    return lambda values: weight @ values + bias


def layer_step(layer: Fused, state: list[Array], always: Array) -> Product:
    """A step of a layer, which keeps its own state, (H,) for each tensor; always: what every input ends with."""
    weights = layer.weights(0)
    by_input, shift = array(weights[0]), array(weights[2])
    if len(always):
        read = by_input.shape[1] - len(always)
        by_input, shift = by_input[:, :read], shift + by_input[:, read:] @ always
    advance = RowCell(layer.torch.mode, weights, state).advance
    return lambda inputs: advance(by_input @ inputs + shift)


def reading(attention: Attention, state: State, alone: int) -> Callable[[Array], tuple[Array, Array]]:
    """The contexts (M, C) that a query reads and their shares (M,): one, or those of `latent_decoder.py`.

    alone: source tokens that are read one by one.
    """
    memory = state.source.memory
    if memory is None:
        raise TypeError("there is no memory to attend to")
    keys, values = array(memory.keys[0]), array(memory.values[0])
    if isinstance(attention, ScaledDot):
        keys = keys / np.float32(attention.query_size**0.5)

    def read(query: Array) -> tuple[Array, Array]:
        scores = keys @ query
        shares = np.exp(scores - np.maximum.reduce(scores))
        shares /= np.add.reduce(shares)
        context = shares @ values
        if not alone:
            return context[None], np.ones(1, np.float32)
        best = shares.argsort()[::-1][:alone]
        rest = max(1 - np.add.reduce(shares[best]), np.float32(LEAST))
        found = np.append(shares[best], rest)
        return np.concatenate((values[best], context[None])), found / np.add.reduce(found)

    return read


def step_of(decoder: Decoder, state: State) -> Callable[[int], Array]:
    """The step: the last token to the logits (V,) of the next; each call moves the state on."""
    vector = state.source.vector
    always = np.zeros(0, np.float32) if vector is None else array(vector[0])
    layers = [
        layer_step(cast(Fused, cell), [array(one[index, 0]) for one in state.recurrent], always[: 0 if index else None])
        for index, cell in enumerate(decoder.recurrent.stack)
    ]
    table, read = array(decoder.embedding.weight), None
    if decoder.attention is not None:
        read = reading(decoder.attention, state, decoder.options.latent_alignments)
    readout = None if decoder.readout.map is None else product(decoder.readout.map)
    squash, output = decoder.readout.kind == "tanh", product(decoder.output.layer)

    def logits_of(seen: list[Array]) -> Array:
        features = np.concatenate(seen) if len(seen) > 1 else seen[0]
        if readout is not None:
            features = np.tanh(readout(features)) if squash else readout(features)
        return output(features)

    def step(token: int) -> Array:
        embedded = hidden = table[token]
        for layer in layers:
            hidden = layer(hidden)
        after = [hidden] if vector is None else [hidden, always, embedded]
        if read is None:
            return logits_of(after)
        contexts, shares = read(hidden)
        found = [logits_of([context, *after]) for context in contexts]
        return found[0] if len(found) == 1 else summed(found, shares)

    return step


def summed(logits: list[Array], shares: Array) -> Array:
    """The logarithm (V,) of the sum of shares (M,) of the softmax of logits, each (V,)."""
    total = np.zeros_like(logits[0])
    for each, share in zip(logits, shares, strict=True):
        each = np.exp(each - np.maximum.reduce(each))
        total += share / np.add.reduce(each) * each
    return np.asarray(np.log(np.maximum(total, np.float32(TINY))))


def greedy_row(
    decoder: Decoder, state: State, begin: int, end: int, limit: int, never: Tensor, least: float
) -> tuple[list[int], list[float]]:
    """The tokens and their log-probabilities in nats, the end included, as `decoding.greedy` finds them.

    state: of one source; limit: tokens after which the end is forced, with at least `least`; never: are not chosen.
    """
    step, forbidden, last = step_of(decoder, state), array(never), begin
    tokens, scores = list[int](), list[float]()
    while last != end:
        logits = step(last)
        logits -= np.maximum.reduce(logits)
        total = float(np.log(np.add.reduce(np.exp(logits))))
        ending = float(logits[end]) - total
        logits[forbidden] = -np.inf
        last = end if len(tokens) + 1 == limit else int(logits.argmax())
        scores.append(max(ending, least) if len(tokens) + 1 == limit else float(logits[last]) - total)
        tokens.append(last)
    return tokens, scores
