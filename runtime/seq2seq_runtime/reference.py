"""The networks of seq2seq in numpy alone: one source at a time, so no padding; S tokens, K hypotheses, L layers.

`w` are the parameters by name, `of` the settings of the network; docs/reference_network.md has a walk through it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
NEVER, LEAST, TINY = -np.inf, -1e4, 1e-30


def sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def log_softmax(x: Array, axis: int = -1) -> Array:
    return x - np.logaddexp.reduce(x, axis=axis, keepdims=True)


class Source(NamedTuple):
    """What a decoder may look at: ids (S,), keys (S, A), values (S, C), the fixed vector and features (1, F)."""

    ids: Array
    keys: Array
    values: Array
    vector: Array
    features: Array


class Reference:
    def __init__(self, w: Mapping[str, Array], of: Mapping[str, Any]) -> None:
        self.w, self.of = w, of

    def linear(self, name: str, x: Array) -> Array:
        """x W^T + b, or x where there is no such map."""
        weight, bias = self.w.get(f"{name}.weight"), self.w.get(f"{name}.bias", np.float32(0))
        return x if weight is None else np.asarray(x @ weight.T + bias)

    def norm(self, name: str, x: Array) -> Array:
        """Layer normalisation, or x where there is none."""
        if f"{name}.gain" not in self.w:
            return x
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return np.asarray(x * self.w[f"{name}.gain"] + self.w.get(f"{name}.shift", np.float32(0)))

    def embed(self, name: str, ids: Array) -> Array:
        """Vectors of numbers, or of tokens beside those of their features: an id is token + V (f1 + F1 (f2 ...))."""
        if ids.ndim == 2:
            return np.asarray(np.tanh(self.linear(name, ids)))
        parts = list[Array]()
        for table, size in enumerate(self.of[name]):
            parts, ids = [*parts, self.w[f"{name}.{table}"][ids % size]], ids // size
        return np.concatenate(parts, -1)

    def cell(self, name: str, x: Array, state: list[Array]) -> list[Array]:
        """One step of a layer: x (K, I) and tensors (K, H) to the next tensors."""
        kind, h, by_x = self.of["cell"], state[0], self.norm(f"{name}.input", self.linear(f"{name}.input", x))
        if kind.startswith("Min"):  # Feng et al. 2024: the gates do not see the state
            *gates, new = np.split(by_x, 3 if kind == "MinLSTM" else 2, -1)
            shares = sigmoid(np.maximum(gates, -80))
            keep = shares[1] / shares.sum(0) if kind == "MinLSTM" else 1 - shares[0]
            return [keep * h + (1 - keep) * new]
        by_h = self.norm(f"{name}.state", self.linear(f"{name}.state", h))
        if kind.endswith("LSTM"):  # Gers et al. 2000; LayerNormLSTM: Ba et al. 2016, eq. 20 to 22
            i, f, g, o = np.split(by_x + by_h, 4, -1)
            c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
            return [sigmoid(o) * np.tanh(self.norm(f"{name}.cell", c)), c]
        if kind == "GRU":  # Cho et al. 2014, eq. 5 to 8
            (r, z, n), (hr, hz, hn) = np.split(by_x, 3, -1), np.split(by_h, 3, -1)
            z = sigmoid(z + hz)
            return [(1 - z) * np.tanh(n + sigmoid(r + hr) * hn) + z * h]
        return [np.maximum(by_x + by_h, 0) if self.of["relu"] else np.tanh(by_x + by_h)]

    def encode(self, x: Array) -> tuple[Array, list[Array], Array]:
        """Vectors (S, E) to states (S, H), the final state, tensors (1, L, H), and the fixed vector (1, H)."""
        x, finals, ahead = x[::-1] if self.of["reverse"] else x, [], self.of["lookahead"]
        x = np.pad(x, ((0, ahead), (0, 0)))
        for layer in range(self.of["encoder_layers"]):
            outputs, last = list[Array](), list[list[Array]]()
            for way in range(self.of["directions"]):
                state, steps = list(self.w[f"encoder.{layer}.{way}.first"][:, None]), []
                for now in x[:: 1 - 2 * way]:
                    state = self.cell(f"encoder.{layer}.{way}", now[None], state)
                    steps.append(state[0])
                outputs, last = [*outputs, np.concatenate(steps[:: 1 - 2 * way])], [*last, state]
            read, x = x, np.concatenate(outputs, -1)
            x = x + read if layer + 1 >= self.of["residual_from"] else x
            finals.append([np.concatenate(tensors, -1) for tensors in zip(*last, strict=True)])
        x, final = x[ahead:], [np.stack(tensors, 1) for tensors in zip(*finals, strict=True)]
        if self.of["pooling"] == "Last":
            return x, final, final[0][:, -1]
        vector = x.mean(0, keepdims=True) if self.of["pooling"] == "Mean" else x.max(0, keepdims=True)
        if self.of["pooling"] == "Attentive":  # Yang et al. 2016, eq. 5 to 7
            vector = np.exp(log_softmax(self.linear("pool.vector", np.tanh(self.linear("pool.map", x))), 0)).T @ x
        return x, [np.broadcast_to(vector[:, None], tensor.shape) for tensor in final], vector

    def bridge(self, final: list[Array]) -> list[Array]:
        """The encoder's final state, tensors (1, L, H), as the decoder's first."""
        if self.of["bridge"] != "Linear":  # as it is; or zeros, or learned
            return final if self.of["bridge"] == "Copy" else list(self.w["decoder.first"][:, None])
        count, first = self.of["decoder_layers"], []
        for k, tensor in enumerate(final):  # a layer reads that at the same distance from the top, or the lowest
            read = [tensor[:, max(0, layer + tensor.shape[1] - count)] for layer in range(count)]
            maps = [self.linear(f"bridge.{k}.{layer}", x) for layer, x in enumerate(read)]
            first.append(np.tanh(np.stack(maps, 1)))
        return first

    def attend(self, query: Array, source: Source, seen: Array) -> tuple[Array, Array]:
        """Queries (K, H) and the weights so far (K, S) to contexts (K, C) and weights (K, S)."""
        heads = self.of["heads"]
        if "attention.vector" in self.w:  # Bahdanau et al. 2015; coverage: See et al. 2017, eq. 11
            both = self.linear("attention.query", query)[:, None] + source.keys  # (K, S, A)
            both = np.tanh(both + seen[..., None] * self.w["attention.coverage"]) * self.w["attention.vector"]
            scores = both.reshape(*both.shape[:2], heads, -1).sum(-1)
        else:  # Luong et al. 2015, sec. 3.1
            scores = (query @ source.keys.T / self.of["scale"])[..., None]
        weights = np.exp(log_softmax(scores, 1))  # (K, S, heads)
        values = source.values.reshape(len(source.values), heads, -1)
        return np.einsum("ksn,snc->knc", weights, values).reshape(len(query), -1), weights.mean(-1)

    def step(self, source: Source, tokens: Array, state: list[Array]) -> tuple[Array, list[Array]]:
        """The last tokens (K,) and the state to log-probabilities (K, V) and the next state."""
        (*state, fed, seen), of, after = state, self.of, []
        attending = {"bottom": 0, "top": of["decoder_layers"] - 1}.get(of["attend_from"])
        embedded, context, weights = self.embed("target", tokens), fed[:, :0], seen
        vector, features = (np.repeat(one, len(tokens), 0) for one in (source.vector, source.features))
        if of["attend_from"] == "before":
            context, weights = self.attend(state[0][:, -1], source, seen)
        x = np.concatenate((embedded, vector, features, context, fed), -1)
        for layer in range(of["decoder_layers"]):
            read = np.concatenate((x, context), -1) if layer and of["attend_from"] == "bottom" else x
            after.append(self.cell(f"decoder.{layer}", read, [tensor[:, layer] for tensor in state]))
            x = after[-1][0] + x if layer + 1 >= of["residual_from"] else after[-1][0]
            if layer == attending:
                context, weights = self.attend(x, source, seen)
        shown = self.linear("readout", np.concatenate((context, x, vector, embedded[:, : of["token_shown"]]), -1))
        shown = shown.reshape(len(shown), -1, 2).max(-1) if of["readout"] == "maxout" else shown
        shown = np.tanh(shown) if of["readout"] == "tanh" else shown
        log_probs = log_softmax(self.linear("output", shown))
        if of["copy"]:  # See et al. 2017, eq. 9
            gate, copied = self.linear("pointer", np.concatenate((context, x, embedded), -1)), np.zeros_like(log_probs)
            np.add.at(copied.T, source.ids, weights.T)
            by_copying = np.log(np.maximum(copied, TINY)) - np.logaddexp(0, gate)
            log_probs = np.logaddexp(log_probs - np.logaddexp(0, -gate), by_copying)
        log_probs[:, self.w["unwritable"]] = NEVER
        fed = shown if of["feeds"] == "readout" else context if of["feeds"] == "context" else fed[:, :0]
        return log_probs, [*(np.stack(tensors, 1) for tensors in zip(*after, strict=True)), fed, seen + weights]
