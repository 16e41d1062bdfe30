"""Ridge regression in closed form, whose penalty is chosen on held-out rows."""

import numpy as np

PENALTIES = 10.0 ** np.arange(-6, 3)
"""To choose from, in mean squares of a direction."""

HELD = 4
"""One in HELD rows chooses the penalty."""


def ridge(vectors: np.ndarray, wanted: np.ndarray, others: np.ndarray, copies: int = 1) -> np.ndarray:
    """Fit vectors (N, H) to targets wanted (N, K) and predict the targets (M, K) of others (M, H).

    The penalty is the best one on every fourth row after a fit on the others; copies: how many neighbouring rows are
    held out together.
    """
    held = np.arange(len(vectors)) // copies % HELD == HELD - 1
    trials = regressions(vectors[~held], wanted[~held], vectors[held], PENALTIES)
    errors = [float(((trial - wanted[held]) ** 2).sum()) for trial in trials]
    best = int(np.argmin(errors))
    return regressions(vectors, wanted, others, PENALTIES[best : best + 1])[0]


def regressions(vectors: np.ndarray, wanted: np.ndarray, others: np.ndarray, penalties: np.ndarray) -> list[np.ndarray]:
    """The same predictions (M, K) with each of some penalties."""
    mean, middle = vectors.mean(0), wanted.mean(0)
    centred, known, asked = vectors - mean, wanted - middle, others - mean
    # (X'X + p)^-1 X'Y = X' (XX' + p)^-1 Y: whichever of the two matrices is smaller.
    wide = centred.shape[0] < centred.shape[1]
    gram, known = (centred @ centred.T, known) if wide else (centred.T @ centred, centred.T @ known)
    asked = asked @ centred.T if wide else asked
    square = max(float(np.trace(gram)) / len(gram), 1e-30)
    return [
        middle + asked @ np.linalg.solve(gram + penalty * square * np.eye(len(gram)), known) for penalty in penalties
    ]
