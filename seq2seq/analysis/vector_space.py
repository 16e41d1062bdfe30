"""How fixed vectors lie: the plane in which they differ most, and which sentences are near which."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

POINTS = 300
"""Rows that are drawn in the plane, at most."""

ASKED = 8
"""Rows whose neighbours are reported."""

NEAR = 3
"""Neighbours of each."""


class FixedVectors(NamedTuple):
    """Some rows and their fixed vectors."""

    rows: np.ndarray
    """(R,) row numbers, increasing."""
    values: np.ndarray
    """(R, H), in double precision."""
    texts: Sequence[str]
    """The sources."""
    lengths: np.ndarray
    """(R,) source tokens that the encoder reads."""

    def take(self, indices: np.ndarray) -> "FixedVectors":
        """Some of them, by their indices (R',)."""
        texts = [self.texts[index] for index in indices.tolist()]
        return FixedVectors(self.rows[indices], self.values[indices], texts, self.lengths[indices])


def evenly_spread(count: int, most: int) -> np.ndarray:
    """At most `most` numbers below `count`, evenly spread and increasing."""
    chosen = min(count, most)
    return np.arange(chosen, dtype=np.int64) * count // max(1, chosen)


def geometry(vectors: FixedVectors) -> dict[str, Any]:
    """Size and number of vectors, their plane and some neighbours, for results.json."""
    explained, positions = plane(vectors.values)
    points = evenly_spread(len(vectors.rows), POINTS)
    return {
        "size": vectors.values.shape[1],
        "rows": len(vectors.rows),
        "explained": explained,
        "points": [
            {"id": int(vectors.rows[point]), "x": float(positions[point, 0]), "y": float(positions[point, 1])}
            for point in points.tolist()
        ],
        "neighbours": neighbours(vectors, evenly_spread(len(vectors.rows), ASKED)),
    }


def plane(vectors: np.ndarray) -> tuple[list[float], np.ndarray]:
    """The first two principal components of vectors (R, H).

    Returns the share of the variance of each and the rows' positions (R, 2); Sutskever et al. 2014, fig. 2. The largest
    weight of each component is positive, so that the picture is never mirrored.
    """
    centred = vectors - vectors.mean(0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    variance = values**2
    if not variance.sum() > 0:
        return [0.0, 0.0], np.zeros((len(vectors), 2))
    right = right[:2]
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])
    positions = np.zeros((len(vectors), 2))
    positions[:, : len(right)] = left[:, :2] * values[:2] * signs
    shares = (variance[:2] / variance.sum()).tolist()
    return [*shares, 0.0][:2], positions


def neighbours(vectors: FixedVectors, chosen: np.ndarray) -> list[dict[str, Any]]:
    """The nearest rows with other texts of each chosen row (K,), by the cosine of centred vectors.

    Centred, because the vectors of a recurrent network share a direction that would make all of them alike.
    """
    centred = vectors.values - vectors.values.mean(0)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0)
    results = []
    for index in chosen.tolist():
        cosines = unit @ unit[index]
        seen, near = {vectors.texts[index]}, []
        for other in np.argsort(-cosines, kind="stable").tolist():
            if vectors.texts[other] not in seen:
                seen.add(vectors.texts[other])
                near.append({"id": int(vectors.rows[other]), "cosine": float(cosines[other])})
            if len(near) == NEAR:
                break
        results.append({"id": int(vectors.rows[index]), "near": near})
    return results
