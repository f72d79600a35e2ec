"""How sure a mean is: the percentile bootstrap over rows (users).

Resampling users, not decisions, keeps what one user did together. Two policies are compared on the
same users: ``bootstrap(a - b)``, which on ML-100K is several times tighter than two intervals side
by side. Runs with S seeds are averaged per user before users are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray, vector

_DRAWN_AT_ONCE = 1 << 22  # row numbers held in memory at a time: 32 MiB


@dataclass(frozen=True)
class Interval:
    """A mean with the interval that covers it at ``level``, from ``n`` rows."""

    mean: float
    low: float
    high: float
    level: float
    n: int

    def __str__(self) -> str:
        """Return the mean and its bounds with four decimals."""
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap(values: ArrayLike, *, level: float = 0.95, draws: int = 2000, seed: int) -> Interval:
    """Percentile bootstrap of the mean over rows (Efron and Tibshirani 1993, section 13.3).

    Args:
        values: [N], one number per row (user), or [S, N] for S seeds on the same rows, which are
            averaged over S first: the interval speaks of rows, not of seeds.
        level: coverage, within (0, 1).
        draws: number of resamples.
        seed: the same seed, the same interval.

    Raises:
        ValueError: if there are no rows, a value is NaN, or ``level`` or ``draws`` is out of range.

    >>> print(bootstrap([0.0, 1.0, 1.0, 0.0], seed=0))
    0.5000 [0.0000, 1.0000]
    """
    table = np.asarray(values, dtype=np.float64)
    rows = vector("values", table.mean(axis=0) if table.ndim == 2 and len(table) else table)
    if len(rows) == 0:
        raise ValueError("values: no rows, so there is nothing to draw from")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    if draws < 1:
        raise ValueError(f"draws: expected at least 1, got {draws}")
    means = _resampled_means(rows, draws, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(rows.mean()), float(low), float(high), level, len(rows))


def _resampled_means(rows: FloatArray, draws: int, rng: np.random.Generator) -> FloatArray:
    """Means of ``draws`` resamples [draws], a bounded number of them in memory at once."""
    means = np.empty(draws)
    at_once = max(1, _DRAWN_AT_ONCE // len(rows))
    for start in range(0, draws, at_once):
        part = means[start : start + at_once]
        part[:] = rows[rng.integers(len(rows), size=(len(part), len(rows)))].mean(axis=1)
    return means


def ratio(
    over: ArrayLike, under: ArrayLike, *, level: float = 0.95, draws: int = 2000, seed: int
) -> Interval:
    """Percentile bootstrap of sum(over) / sum(under): rows count by their size, not alike.

    Args:
        over: [N], the total of each row, such as nats.
        under: [N], its size, at least 0, such as characters; not all 0.
        level: coverage, within (0, 1).
        draws: number of resamples.
        seed: the same seed, the same interval.

    Raises:
        ValueError: there are no rows, or nothing to divide by.

    >>> print(ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], seed=0))
    0.5000 [0.5000, 0.5000]
    """
    totals = vector("over", over)
    sizes = vector("under", under, length=len(totals))
    if not sizes.sum() > 0:
        raise ValueError("under: sums to nothing, so there is nothing to divide by")
    drawn = np.random.default_rng(seed).integers(len(totals), size=(draws, len(totals)))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.nanquantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    mean = float(totals.sum() / sizes.sum())
    return Interval(mean, float(low), float(high), level, len(totals))
