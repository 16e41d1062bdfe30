"""How fixed vectors lie: the plane in which they differ most, and which sentences are near which."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

POINTS = 300
"""Rows that are drawn in the plane, at most."""

ASKED = 8
"""Rows whose neighbours are told."""

NEAR = 3
"""Neighbours of each."""


class Studied(NamedTuple):
    """Some rows and their fixed vectors."""

    rows: np.ndarray
    """(R,) row numbers, rising."""
    vectors: np.ndarray
    """(R, H), in double precision."""
    texts: Sequence[str]
    """The sources."""
    lengths: np.ndarray
    """(R,) source tokens that the encoder reads."""

    def take(self, places: np.ndarray) -> "Studied":
        """Some of them (R',)."""
        texts = [self.texts[place] for place in places.tolist()]
        return Studied(self.rows[places], self.vectors[places], texts, self.lengths[places])


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` numbers below `count`, evenly spread and rising."""
    chosen = min(count, most)
    return np.arange(chosen, dtype=np.int64) * count // max(1, chosen)


def geometry(studied: Studied) -> dict[str, Any]:
    """Size and number of vectors, their plane and some neighbours, plain."""
    explained, places = plane(studied.vectors)
    points = spread(len(studied.rows), POINTS)
    return {
        "size": studied.vectors.shape[1],
        "rows": len(studied.rows),
        "explained": explained,
        "points": [
            {"id": int(studied.rows[point]), "x": float(places[point, 0]), "y": float(places[point, 1])}
            for point in points.tolist()
        ],
        "neighbours": neighbours(studied, spread(len(studied.rows), ASKED)),
    }


def plane(vectors: np.ndarray) -> tuple[list[float], np.ndarray]:
    """The first two principal components of vectors (R, H).

    Returns the share of the variance of each and the rows' places (R, 2) (Sutskever et al. 2014, fig. 2). The largest
    weight of each component is positive, so that the picture never turns over.
    """
    centred = vectors - vectors.mean(0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    variance = values**2
    if not variance.sum() > 0:
        return [0.0, 0.0], np.zeros((len(vectors), 2))
    right = right[:2]
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])
    places = np.zeros((len(vectors), 2))
    places[:, : len(right)] = left[:, :2] * values[:2] * signs
    shares = (variance[:2] / variance.sum()).tolist()
    return [*shares, 0.0][:2], places


def neighbours(studied: Studied, asked: np.ndarray) -> list[dict[str, Any]]:
    """The nearest rows with other texts of each row asked for (K,), by the cosine of vectors less their mean.

    Less their mean, because the vectors of a recurrent network share a direction that would make all of them alike.
    """
    centred = studied.vectors - studied.vectors.mean(0)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0)
    found = []
    for place in asked.tolist():
        cosines = unit @ unit[place]
        seen, near = {studied.texts[place]}, []
        for other in np.argsort(-cosines, kind="stable").tolist():
            if studied.texts[other] not in seen:
                seen.add(studied.texts[other])
                near.append({"id": int(studied.rows[other]), "cosine": float(cosines[other])})
            if len(near) == NEAR:
                break
        found.append({"id": int(studied.rows[place]), "near": near})
    return found
