"""Several models of one thing: what they agree on, and where they do not.

A single reward model is wrong somewhere, and a policy that is trained on it finds the place. Models
fitted to different people disagree there (Coste et al., Reward Model Ensembles Help Mitigate
Overoptimization, arXiv 2310.02743).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def resamples(
    people: npt.NDArray[np.generic], members: int, seed: int, *, smooth: bool = False
) -> Floats:
    """Return how often each row counts in each member's training, [members, n].

    People are drawn with replacement, and all rows of one go together: what one person said is not
    independent, so drawing rows would hide most of the doubt. A single member has every row once.

    Args:
        people: [n], any codes.
        members: K >= 1.
        seed: of the draws.
        smooth: weigh people by exponential numbers of mean 1 in place of drawing them (Rubin, The
            Bayesian Bootstrap, 1981). Counts scatter as much, and none is 0: a member that is short
            of rows knows a little of each, where a draw leaves a third of the people out.
    """
    if members == 1:
        return np.ones((1, len(people)))
    codes, who = np.unique(people, return_inverse=True)
    rng = np.random.default_rng(seed)
    if smooth:
        weights: Floats = rng.exponential(size=(members, len(codes)))[:, who]
        return weights
    even = np.full(len(codes), 1.0 / max(1, len(codes)))
    drawn = np.array([rng.multinomial(len(codes), even) for _ in range(members)])
    counts: Floats = drawn[:, who].astype(np.float64)
    return counts


def agreement(predictions: Floats) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation [n] of predictions [K, n]; 0 for one member.

        s = sqrt( sum_k (p_k - mean)^2 / (K - 1) )

    >>> mean, spread = agreement(np.array([[0.2, 0.5], [0.4, 0.5], [0.6, 0.5]]))
    >>> mean.round(3).tolist(), spread.round(3).tolist()
    ([0.4, 0.5], [0.2, 0.0])
    """
    mean = predictions.mean(0)
    if len(predictions) == 1:
        return mean, np.zeros_like(mean)
    return mean, predictions.std(0, ddof=1)


def pessimistic(mean: Floats, spread: Floats, k: float, *, low: float = 0.0) -> Floats:
    """Return mean - k * spread, never below ``low``: what is not known for sure earns less."""
    return np.maximum(mean - k * spread, low)


def disputed(spread: Floats, threshold: float) -> Ints:
    """Return the rows whose spread [n] is above ``threshold``, the most disputed first.

    What to ask people about next. NaN, where nothing was predicted, is never disputed.

    >>> disputed(np.array([0.1, 0.3, np.nan, 0.2]), 0.15).tolist()
    [1, 3]
    """
    rows = np.flatnonzero(np.nan_to_num(spread, nan=-np.inf) > threshold)
    ordered: Ints = rows[np.argsort(-spread[rows], kind="stable")]
    return ordered
