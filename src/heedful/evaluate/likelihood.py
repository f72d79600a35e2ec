"""Off-policy value by empirical likelihood: the rows reweighted until the weights average 1.

E[w] = 1 is known beforehand, and a sample whose weights average something else is lopsided. Of all
distributions Q over the rows, and one row that might still come, those are considered under which
E_Q[w] = 1; how far Q is from 1/n each is measured by the likelihood (Kallus and Uehara 2019; VW
calls it mle) or by the Cressie-Read divergence with power -2 (Karampatziakis, Langford and Mineiro
2020, arXiv:1906.03323), for which everything has a closed form in a few sums:

    minimise  1/2 E_Q[ ((n + 1) Q - 1)^2 ]   subject to  E_Q[1] = 1, E_Q[w] = 1

The row that might come has the weight w* that would mend the mean of w: the largest possible one
where it is too small, the smallest where it is too large; its reward is unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray, refuse, vector
from heedful.evaluate.estimators import OffPolicyEstimate, mean_of
from heedful.evaluate.intervals import Interval
from heedful.evaluate.quantiles import t_quantile

_HALVINGS = 100


@dataclass(frozen=True, slots=True)
class _Sums:
    """The sums of 1, w, w^2, w r, w^2 r, w^2 r^2, and the smallest and largest w possible."""

    n: int
    w: float
    w2: float
    wr: float
    w2r: float
    w2r2: float
    least: float
    most: float

    @property
    def mending(self) -> float:
        """Return w*."""
        return self.most if self.w < self.n else self.least


def empirical_likelihood(
    weights: ArrayLike, rewards: ArrayLike, *, w_min: float = 0.0, w_max: float = math.inf
) -> OffPolicyEstimate:
    """Estimate the value: V = sum_i Q_i w_i r_i + (1 - sum_i Q_i w_i) mean(r).

        Q_i = 1 / (n + beta (w_i - 1)),  beta the root of  sum_i (w_i - 1) Q_i = 0

    or the end of the range in which a row of weight w_min or w_max could still come. Within the
    range of r, and asymptotically no noisier than IPS or SNIPS. The standard error is that of its
    linear form in the rows, with Q held fixed.

    Args:
        weights: [N], N >= 1, at least 0.
        rewards: [N].
        w_min: the smallest possible weight, below 1.
        w_max: the largest possible weight, above 1; declared, infinite where unknown.

    Raises:
        ValueError: no rows, or a number out of range.
    """
    w, r = _checked(weights, rewards)
    _sums(w, r, w_min, w_max)
    n = len(w)
    low, high = (0.0 if math.isinf(w_max) else n / (1 - w_max)), n / (1 - w_min)
    if (w > 1).any():
        low = max(low, (n - 1) / (1 - float(w.max())))
    if (w < 1).any():
        high = min(high, (n - 1) / (1 - float(w.min())))
    for _ in range(_HALVINGS):  # the sum falls with beta
        beta = (low + high) / 2
        low, high = (beta, high) if ((w - 1) / (n + beta * (w - 1))).sum() > 0 else (low, beta)
    return _reweighted(1 / (n + (low + high) / 2 * (w - 1)), w, r)


def _reweighted(share: FloatArray, w: FloatArray, r: FloatArray) -> OffPolicyEstimate:
    """Return the value under Q = ``share``; what is missing of the weight earns mean(r)."""
    missing = max(0.0, 1 - float((share * w).sum()))
    return mean_of(len(w) * share * w * r + missing * float(r.mean()), w)


def cressie_read(
    weights: ArrayLike, rewards: ArrayLike, *, w_min: float = 0.0, w_max: float = math.inf
) -> OffPolicyEstimate:
    """Estimate the value: V = sum_i Q_i w_i r_i + (1 - sum_i Q_i w_i) mean(r).

        Q_i = -(gamma + beta w_i) / (n + 1)
        a = (w* + sum w) / (n + 1),  b = (w*^2 + sum w^2) / (n + 1)
        gamma = (b - a) / (a^2 - b),  beta = (1 - a) / (a^2 - b)

    Like SNIPS within the range of r, and less biased; what of the weight is missing earns what the
    log earns. The standard error is that of its linear form in the rows, with Q held fixed.

    Args:
        weights: [N], N >= 1, at least 0.
        rewards: [N].
        w_min: the smallest possible weight, below 1.
        w_max: the largest possible weight, above 1; declared, infinite where unknown.

    Raises:
        ValueError: no rows, or a number out of range.
    """
    w, r = _checked(weights, rewards)
    s = _sums(w, r, w_min, w_max)
    gamma, beta = _multipliers(s)
    return _reweighted(-(gamma + beta * w) / (1 + s.n), w, r)


def _multipliers(s: _Sums) -> tuple[float, float]:
    if math.isinf(s.mending):
        return -(1 + s.n) / s.n, 0.0
    a = (s.mending + s.w) / (1 + s.n)
    b = (s.mending**2 + s.w2) / (1 + s.n)
    if not a * a < b:  # all weights are 1, and so is the mean
        return -1.0, 0.0
    return (b - a) / (a * a - b), (1 - a) / (a * a - b)


def cressie_read_interval(
    weights: ArrayLike,
    rewards: ArrayLike,
    *,
    level: float = 0.95,
    w_min: float = 0.0,
    w_max: float = math.inf,
) -> Interval:
    """Return the values that some Q not too unlikely would give (the paper, section 4).

    Q ranges over those whose divergence exceeds the smallest possible one by at most the quantile
    of F(1, n), and the row that might come has the reward 0 for the lower end, 1 for the upper.
    Asymptotic, once looked at.

    Args:
        weights: [N], N >= 1, at least 0.
        rewards: [N], within [0, 1].
        level: coverage, within (0, 1).
        w_min: as for `cressie_read`.
        w_max: as for `cressie_read`.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    w, r = _checked(weights, rewards)
    refuse("rewards", (r < 0) | (r > 1), "lies outside [0, 1]", r)
    s = _sums(w, r, w_min, w_max)
    # F(1, n) is the square of Student's t with n degrees of freedom
    phi = -(_least_divergence(s) + t_quantile((1 + level) / 2, s.n) ** 2) / (2 * (1 + s.n))
    low = _end(s, 0.0, 1.0, phi)
    high = _end(s, 1.0, -1.0, phi)
    value = cressie_read(w, r, w_min=w_min, w_max=w_max).value
    return Interval(value, low, high, level, s.n)


def _least_divergence(s: _Sums) -> float:
    if math.isinf(s.mending):
        return 1 + 1 / s.n
    a = (s.mending + s.w) / (1 + s.n)
    b = (s.mending**2 + s.w2) / (1 + s.n)
    return (1 + s.n) * (a - 1) ** 2 / (b - a * a) if b > a * a else 0.0


def _end(s: _Sums, reward: float, sign: float, phi: float) -> float:
    """Return one end: the best of the two rows that might come, within [0, 1]."""
    ends = [_extreme(s, reward, sign, phi, weight) for weight in (s.least, s.most)]
    found = [end for end in ends if end is not None]
    return min(1.0, max(0.0, sign * min(found))) if found else reward


def _extreme(s: _Sums, reward: float, sign: float, phi: float, weight: float) -> float | None:
    """Return the smallest ``sign`` times value if a row (weight, reward) might come."""
    n1 = 1 + s.n
    if math.isinf(weight):
        centre = sign * (reward + (s.wr - s.w * reward) / s.n)
        spread = (reward * s.w - s.wr) ** 2 / (s.n * n1)
        spread -= (reward**2 * s.w2 - 2 * reward * s.w2r + s.w2r2) / n1
        room = phi + 1 / (2 * s.n)
    else:
        a, b = (weight + s.w) / n1, (weight**2 + s.w2) / n1
        variance = b - a * a
        if variance <= 0:
            return None
        c = sign * (weight * reward + s.wr) / n1
        d = sign * (weight**2 * reward + s.w2r) / n1
        e = (weight**2 * reward**2 + s.w2r2) / n1
        centre = c + (1 - a) * (d - a * c) / variance
        spread = (d - a * c) ** 2 / variance - (e - c * c)
        room = phi + (1 - a) ** 2 / (2 * variance)
    if room > 0:  # not even the likeliest Q with such a row is likely enough
        return None
    spread = min(spread, 0.0)  # by Cauchy and Schwarz; rounding may say otherwise
    return centre - math.sqrt(2 * spread * room)


def _checked(weights: ArrayLike, rewards: ArrayLike) -> tuple[FloatArray, FloatArray]:
    w = vector("weights", weights)
    r = vector("rewards", rewards, length=len(w))
    if len(w) == 0:
        raise ValueError("weights: no rows, so there is nothing to estimate from")
    refuse("weights", (w < 0) | np.isinf(w), "is negative or infinite", w)
    return w, r


def _sums(w: FloatArray, r: FloatArray, w_min: float, w_max: float) -> _Sums:
    if not w_min < 1 < w_max:
        raise ValueError(f"w_min {w_min}, w_max {w_max}: expected w_min < 1 < w_max")
    refuse("weights", (w < w_min) | (w > w_max), "lies outside [w_min, w_max]", w)
    wr = w * r
    return _Sums(
        n=len(w),
        w=float(w.sum()),
        w2=float((w * w).sum()),
        wr=float(wr.sum()),
        w2r=float((w * wr).sum()),
        w2r2=float((wr * wr).sum()),
        least=w_min,
        most=w_max,
    )
