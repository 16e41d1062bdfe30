"""Every attention in plain numpy, one query and one source at a time, from the papers' equations."""

import numpy as np
from numpy.typing import NDArray

from seq2seq.models.attention import (
    Additive,
    Attention,
    Dot,
    General,
    LocalP,
    Location,
    MultiHeadAdditive,
    Normalizer,
    ScaledDot,
)

Array = NDArray[np.float64]


def attend(
    attention: Attention, parameters: dict[str, Array], query: Array, states: Array, coverage: Array | None = None
) -> tuple[Array, Array]:
    """One query (Q,) and the states (S, M) of a source's real tokens to the context and the weights (S,).

    parameters are those of the attention's module; coverage (S,).
    """
    if isinstance(attention, MultiHeadAdditive):
        return multi_head(parameters, query, states, attention.heads, attention.normalizer)
    if isinstance(attention, LocalP):
        weights = local_p(parameters, query, states, attention)
    else:
        weights = normalized(scores(attention, parameters, query, states, coverage), attention.normalizer)
    return sum(weights[s] * states[s] for s in range(len(states))), weights


def scores(attention: Attention, p: dict[str, Array], q: Array, h: Array, coverage: Array | None) -> Array:
    """The score of each of the states h (S, M)."""
    positions = range(len(h))
    if isinstance(attention, ScaledDot):  # Vaswani et al. 2017, eq. 1
        return np.array([q @ h[s] / np.sqrt(len(q)) for s in positions])
    if isinstance(attention, Dot):  # Luong et al. 2015, sec. 3.1
        return np.array([q @ h[s] for s in positions])
    if isinstance(attention, General):  # Luong et al. 2015, sec. 3.1
        return np.array([q @ p["map.weight"] @ h[s] for s in positions])
    if isinstance(attention, Location):  # Luong et al. 2015, eq. 8: the top part, nothing beyond the longest
        return np.array([p["map.weight"][s] @ q if s < attention.longest else -np.inf for s in positions])
    assert isinstance(attention, Additive)  # Bahdanau et al. 2015, app. A.1.2; with coverage See et al. 2017, eq. 11
    w, u, b, v = p["query_map.weight"], p["key_map.weight"], p["key_map.bias"], p["vector.weight"][0]
    seen = [0 if coverage is None else p["coverage_map.weight"][:, 0] * coverage[s] for s in positions]
    return np.array([v @ np.tanh(w @ q + u @ h[s] + seen[s] + b) for s in positions])


def local_p(p: dict[str, Array], q: Array, h: Array, attention: LocalP) -> Array:
    """Luong et al. 2015, eq. 9 and 10; source positions are numbered from 1."""
    size, width = len(h), attention.window
    position = size / (1 + np.exp(-p["vector.weight"][0] @ np.tanh(p["map.weight"] @ q)))
    window = [s for s in range(1, size + 1) if position - width <= s <= position + width]
    matrix = np.eye(len(q)) if attention.score == "dot" else p["score.map.weight"]
    align = normalized(np.array([q @ matrix @ h[s - 1] for s in window]), attention.normalizer)
    weights, sigma = np.zeros(size), width / 2
    for s, a in zip(window, align, strict=True):
        weights[s - 1] = a * np.exp(-((s - position) ** 2) / (2 * sigma**2))
    return weights


def multi_head(p: dict[str, Array], q: Array, h: Array, heads: int, normalizer: Normalizer) -> tuple[Array, Array]:
    """RNMT+ (Chen et al. 2018): an additive attention to each slice of the keys and of the projected values."""
    size, length = p["key_map.weight"].shape[0] // heads, p["value_map.weight"].shape[0] // heads
    contexts, weights = [], []
    for head in range(heads):
        key, value = slice(head * size, (head + 1) * size), slice(head * length, (head + 1) * length)
        w, u, b = p["query_map.weight"][key], p["key_map.weight"][key], p["key_map.bias"][key]
        score = np.array([p["vector.weight"][0, key] @ np.tanh(w @ q + u @ state + b) for state in h])
        weights.append(normalized(score, normalizer))
        values = h @ p["value_map.weight"][value].T
        contexts.append(sum(weights[-1][s] * values[s] for s in range(len(h))))
    return np.concatenate(contexts), np.mean(weights, axis=0)


def normalized(z: Array, normalizer: Normalizer) -> Array:
    """exp(z) / sum(exp(z)), or [(a - 1) z - t]_+ ^ (1 / (a - 1)) with t by bisection (Peters et al. 2019), a 2 or 1.5."""
    z = z - z.max()
    if normalizer == "softmax":
        return np.exp(z) / np.exp(z).sum()
    scale, power = (1.0, 1) if normalizer == "sparsemax" else (0.5, 2)
    low, high = -1.0, 0.0  # at -1 the best score alone has weight 1, at 0 none has any
    for _ in range(60):
        middle = (low + high) / 2
        if (np.maximum(scale * z - middle, 0) ** power).sum() > 1:
            low = middle
        else:
            high = middle
    return np.maximum(scale * z - low, 0) ** power
