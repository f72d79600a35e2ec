"""How often one policy's decisions are better than another's, and how often at equal length.

A mean says by how much; a win rate says how often, and needs no scale. People and reward models
like long replies, and policies learn it: so the second number asks what the win rate would be if
both were equally long (Dubois et al., Length-Controlled AlpacaEval, arXiv 2404.04475).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray, vector
from heedful.evaluate.intervals import Interval

MOST = 400
"""Rows of each side that are compared with each other; of more, so many are drawn."""

_STEPS, _TOLERANCE, _RIDGE = 50, 1e-10, 1e-6


def win_rate(
    first: ArrayLike, second: ArrayLike, *, level: float = 0.95, draws: int = 500, seed: int
) -> Interval:
    """Return P(first > second) + P(first = second) / 2 over all pairs, with a bootstrap interval.

    The Mann-Whitney statistic: every row of one side is compared with every row of the other, so
    it suits arms of a trial, in which different people were served. Rows of both sides are drawn
    again for the interval.

    Args:
        first: [n], one number per subject.
        second: [m], likewise.
        level: coverage.
        draws: number of resamples.
        seed: the same seed, the same interval.

    Raises:
        ValueError: a side is empty, or a number is NaN.

    >>> win_rate([1.0, 2.0], [0.0, 1.0], seed=0).mean
    0.875
    """
    rng = np.random.default_rng(seed)
    rows = [_drawn(vector(n, v), rng) for n, v in (("first", first), ("second", second))]
    outcome = _outcome(rows[0], rows[1])
    found = [_mean(outcome, weights) for weights in _resampled(outcome, draws, rng)]
    return _interval(float(outcome.mean()), found, level, min(outcome.shape))


def length_controlled(
    first: ArrayLike,
    second: ArrayLike,
    lengths: tuple[ArrayLike, ArrayLike],
    *,
    level: float = 0.95,
    draws: int = 200,
    seed: int,
) -> Interval:
    """Return the win rate of :func:`win_rate` as it would be at equal lengths.

    The chance that row i of the first side beats row j of the second is fitted as
    sigma(theta + gamma * tanh((l_i - l_j) / s)), s the standard deviation of length differences;
    sigma(theta) is what remains where they are equal.

    Args:
        first: [n], one number per subject.
        second: [m], likewise.
        lengths: [n] and [m], how long their decisions were, in units.
        level: coverage.
        draws: number of resamples.
        seed: the same seed, the same interval.

    Raises:
        ValueError: a side is empty, a number is NaN, or there is not one length a row.
    """
    names = ("first", "second")
    sides = [vector(name, side) for name, side in zip(names, (first, second), strict=True)]
    sizes = [vector(f"lengths of {name}", of) for name, of in zip(names, lengths, strict=True)]
    for name, side, size in zip(names, sides, sizes, strict=True):
        if len(side) != len(size):
            raise ValueError(f"{name}: {len(side)} numbers and {len(size)} lengths; give one each")
    rng = np.random.default_rng(seed)
    kept = [_some(len(side), rng) for side in sides]
    outcome = _outcome(sides[0][kept[0]], sides[1][kept[1]])
    apart = sizes[0][kept[0]][:, None] - sizes[1][kept[1]]
    spread = float(apart.std())
    by_length = np.tanh(apart / spread) if spread > 0 else np.zeros_like(apart)
    whole = _at_equal_length(outcome, by_length, (np.ones(len(outcome)), np.ones(outcome.shape[1])))
    found = [_at_equal_length(outcome, by_length, w) for w in _resampled(outcome, draws, rng)]
    return _interval(whole, found, level, min(outcome.shape))


def _some(n: int, rng: np.random.Generator) -> np.ndarray:
    if n == 0:
        raise ValueError("win rate: no rows on one side, so there is nothing to compare")
    return np.arange(n) if n <= MOST else np.sort(rng.choice(n, MOST, replace=False))


def _drawn(rows: FloatArray, rng: np.random.Generator) -> FloatArray:
    drawn: FloatArray = rows[_some(len(rows), rng)]
    return drawn


def _outcome(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return 1 where the row of ``first`` wins, 1/2 where they are equal, [n, m]."""
    wins: FloatArray = (np.sign(first[:, None] - second) + 1) / 2
    return wins


def _resampled(
    outcome: FloatArray, draws: int, rng: np.random.Generator
) -> list[tuple[FloatArray, FloatArray]]:
    """Return how often each row of both sides is drawn, ``draws`` times."""
    n, m = outcome.shape
    rows = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    columns = rng.multinomial(m, np.full(m, 1 / m), size=draws).astype(np.float64)
    return list(zip(rows, columns, strict=True))


def _mean(outcome: FloatArray, weights: tuple[FloatArray, FloatArray]) -> float:
    rows, columns = weights
    return float(rows @ outcome @ columns / (rows.sum() * columns.sum()))


def _at_equal_length(
    outcome: FloatArray, by_length: FloatArray, weights: tuple[FloatArray, FloatArray]
) -> float:
    """Fit theta and gamma by Newton's method, lightly held at 0, and return sigma(theta)."""
    weight = np.outer(*weights)
    weight /= weight.sum()
    theta = gamma = 0.0
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-(theta + gamma * by_length)))
        off, curve = weight * (outcome - p), weight * p * (1 - p)
        slope = np.array([off.sum(), (off * by_length).sum()]) - _RIDGE * np.array([theta, gamma])
        mixed = (curve * by_length).sum()
        bend = np.array([[curve.sum(), mixed], [mixed, (curve * by_length**2).sum()]])
        step = np.linalg.solve(bend + _RIDGE * np.eye(2), slope)
        theta, gamma = (
            theta + float(np.clip(step[0], -2, 2)),
            gamma + float(np.clip(step[1], -2, 2)),
        )
        if np.abs(step).max() < _TOLERANCE:
            break
    return float(1 / (1 + np.exp(-theta)))


def _interval(mean: float, found: list[float], level: float, n: int) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), level, n)
