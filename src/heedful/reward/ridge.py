"""Weighted ridge regression on sparse rows, by conjugate gradients."""

from __future__ import annotations

import numpy as np

from heedful.reward.ngrams import Floats, Rows

TOLERANCE = 1e-3
MOST_STEPS = 200
CONSTANT_PENALTY = 1e-3  # as good as none, and the equations stay well posed


def ridge(
    rows: Rows,
    targets: Floats,
    weights: Floats,
    penalty: float,
    start: Floats | None = None,
    tolerance: float = TOLERANCE,
) -> Floats:
    """Return the coefficients [D] of a linear model with squared loss and squared penalty.

        b = argmin_b  sum_i w_i (x_i b - y_i)^2 + penalty * |b|^2

    The constant is hardly penalised. Solved without ever making a matrix [D, D] (Hestenes and
    Stiefel 1952): a step costs two products with the rows, and a few dozen steps do.

    Args:
        rows: [n, D], the last column being the constant.
        targets: y, [n].
        weights: w, [n], not negative.
        penalty: above 0.
        start: coefficients to begin with, those of another penalty say; 0 by default.
        tolerance: how small the residual has to be beside the right-hand side.
    """
    shrink = np.full(rows.width, penalty)
    shrink[-1] = CONSTANT_PENALTY

    def normal(b: Floats) -> Floats:
        return rows.transposed_times(weights * rows.times(b)) + shrink * b

    goal = rows.transposed_times(weights * targets)
    b = np.zeros(rows.width) if start is None else start.copy()
    residual = goal - normal(b)
    direction, size = residual.copy(), _dot(residual, residual)
    enough = tolerance**2 * _dot(goal, goal)
    for _ in range(MOST_STEPS):
        if size <= enough:
            break
        image = normal(direction)
        step = size / _dot(direction, image)
        b += step * direction
        residual -= step * image
        size, before = _dot(residual, residual), size
        direction = residual + size / before * direction
    return b


def _dot(a: Floats, b: Floats) -> float:
    """Return the inner product without BLAS, whose threads take longer to meet than to sum."""
    return float(np.einsum("i,i->", a, b))
