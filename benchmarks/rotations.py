"""The rotation that best turns one set of points onto another, for many poses at once and without an SVD each.

Markley 1993, "Attitude determination using vector observations: a fast optimal matrix algorithm" (FOAM): the largest
root of a quartic, found by Newton's method, gives the rotation in closed form. Poses come last in every array, so that
each step is one pass over contiguous numbers. Where two rotations are almost equally good the closed form loses digits;
those few poses go through the SVD (Umeyama 1991).
"""

from __future__ import annotations

import numpy as np

# Product of the sums of pairs of singular values, the last with the sign of the determinant, at Frobenius norm 1. The
# closed form agrees with the SVD to 1e-12 above this; 1 / it is the condition of the problem.
_WELL_CONDITIONED = 0.02
_STEPS = 12  # Newton converges in four or five, of mirrored poses later; what has not by then goes to the SVD
_CONVERGED = 1e-9  # a step of this size leaves an error of its square, times 100 at most


def best_rotations(correlation: np.ndarray) -> np.ndarray:
    """Rotations (3, 3, n), determinant +1, that maximise sum(rotation * correlation) for each of (3, 3, n).

    With correlation[a, b] = sum over the joints of predicted[a] * target[b], predicted @ rotation is closest to target.
    float64; NaN where a correlation is not finite.
    """
    norm = np.sqrt(np.einsum("abn,abn->n", correlation, correlation))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        h = correlation / norm
        rotations, good = _foam(h)
    hard = np.flatnonzero(~good & np.isfinite(norm))
    if len(hard):
        rotations[..., hard] = _by_svd(correlation[..., hard])
    return rotations


def _foam(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (3, 3, n) of correlations of norm 1, and which of them (n,) can be trusted."""
    cofactors = _cofactors(h)
    determinant = h[0, 0] * cofactors[0, 0] + h[0, 1] * cofactors[0, 1] + h[0, 2] * cofactors[0, 2]
    squares = np.einsum("abn,abn->n", cofactors, cofactors)
    constant, linear = 1 - 4 * squares, 8 * determinant
    root = np.sqrt(1 + 2 * np.sqrt(3 * squares))  # an upper bound, from which Newton descends
    step = np.zeros_like(root)
    for _ in range(_STEPS):
        square = root * root
        step = (((square - 2) * root - linear) * root + constant) / (4 * (square - 1) * root - linear)
        root = root - step
        if np.abs(step).max(initial=0.0) < _CONVERGED:
            break
    kappa = (root * root - 1) / 2
    zeta = kappa * root - determinant
    first, second = (kappa + 1) / zeta, root / zeta
    gram = [[h[a, 0] * h[b, 0] + h[a, 1] * h[b, 1] + h[a, 2] * h[b, 2] for b in range(a + 1)] for a in range(3)]
    rotations = np.empty_like(h)
    for a in range(3):
        row = [gram[max(a, c)][min(a, c)] / zeta for c in range(3)]
        for b in range(3):
            cubic = row[0] * h[0, b] + row[1] * h[1, b] + row[2] * h[2, b]
            rotations[a, b] = first * h[a, b] + second * cofactors[a, b] - cubic
    return rotations, (zeta > _WELL_CONDITIONED) & (np.abs(step) < _CONVERGED)


def _cofactors(h: np.ndarray) -> np.ndarray:
    cofactors = np.empty_like(h)
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            cofactors[a, i] = h[b, j] * h[c, k] - h[b, k] * h[c, j]
    return cofactors


def _by_svd(correlation: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(correlation.transpose(2, 1, 0))  # of target^T predicted
    vt[np.linalg.det(u @ vt) < 0, -1] *= -1  # a rotation, never a reflection: Umeyama 1991, eq. 43
    return (u @ vt).transpose(2, 1, 0)
