"""Confidence sequences: intervals that hold at every row at once, however often one looks.

``P(for all t: the mean lies in C_t) >= 1 - alpha``. Values are in the order in which they came, and
``b`` is their largest possible value, declared as in `heedful.evaluate.bounds`. Every sequence is
returned as the interval after the last row; where one has looked before, the intersection of all of
them holds as well, and that is what is returned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray, refuse, unit_interval, vector
from heedful.evaluate.intervals import Interval
from heedful.evaluate.quantiles import log_lower_gamma

_LARGEST_STAKE = 0.5  # c of Waudby-Smith and Ramdas: beyond it one bad row costs most of the wealth
_HALVINGS = 60  # of [0, 1]: the width of float64 there


def asymptotic(n: int, alpha: float, *, tightest_at: int) -> float:
    """Half-width in standard deviations of the asymptotic sequence with a Gaussian mixture.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (arXiv:2103.06476): with s the standard
    deviation of n values,

        mean +- s sqrt( 2 (n rho^2 + 1) / (n^2 rho^2) * log( sqrt(n rho^2 + 1) / alpha ) )

    Needs no bound on the values, and holds as n grows: with few effective rows it promises more
    than it can.

    Args:
        n: rows so far, at least 1.
        alpha: the error rate over all looks.
        tightest_at: rows at which the sequence is tightest, which sets rho.
    """
    odds = -2 * math.log(alpha)
    rho2 = (odds + math.log(odds + 1)) / tightest_at
    scale = n * rho2 + 1
    return math.sqrt(2 * scale / (n**2 * rho2) * math.log(math.sqrt(scale) / alpha))


def empirical_bernstein_sequence(
    values: ArrayLike, b: float = 1.0, *, alpha: float = 0.05
) -> Interval:
    """Predictable plug-in empirical Bernstein sequence (Waudby-Smith and Ramdas 2023, theorem 2).

    With x = values / b, m_t = (1/2 + sum_{i<=t} x_i) / (t + 1) and
    s_t^2 = (1/4 + sum_{i<=t} (x_i - m_i)^2) / (t + 1):

        lambda_t = min( sqrt( 2 log(2/alpha) / (s_{t-1}^2 t log(1 + t)) ), 1/2 )
        psi(l) = (-log(1 - l) - l) / 4,    v_t = 4 (x_t - m_{t-1})^2
        C_t = ( sum lambda x +- (log(2/alpha) + sum v psi(lambda)) ) / sum lambda

    Exact at every t. Wide where b is far above the spread, as with importance weights.

    Args:
        values: [N], N >= 1, within [0, b].
        b: their largest possible value, declared.
        alpha: the error rate over all looks.
    """
    x = _scaled(values, b, alpha)
    stakes, before = _stakes(x, alpha)
    psi = (-np.log1p(-stakes) - stakes) / 4
    total = np.cumsum(stakes)
    centre = np.cumsum(stakes * x) / total
    half = (math.log(2 / alpha) + np.cumsum(4 * (x - before) ** 2 * psi)) / total
    low, high = max(0.0, float((centre - half).max())), min(1.0, float((centre + half).min()))
    return Interval(b * float(x.mean()), b * low, b * high, 1 - alpha, len(x))


def betting_sequence(values: ArrayLike, b: float = 1.0, *, alpha: float = 0.05) -> Interval:
    """Hedged capital: the means against which no bettor has grown rich.

    Waudby-Smith and Ramdas 2023 (arXiv:2010.09686, theorem 3). For x = values / b and a mean m,
    with lambda_t as in `empirical_bernstein_sequence`,

        K+_t(m) = prod_i 1 + min(lambda_i, 1/(2m)) (x_i - m)
        K-_t(m) = prod_i 1 - min(lambda_i, 1/(2(1-m))) (x_i - m)
        C_t = { m : max(K+_t, K-_t) / 2 < 1/alpha }

    K+ falls with m and K- rises, so that either end is found by bisection. Exact at every t, and
    usually the narrower of the two here that are.

    Args:
        values: [N], N >= 1, within [0, b].
        b: their largest possible value, declared.
        alpha: the error rate over all looks.
    """
    x = _scaled(values, b, alpha)
    stakes, _ = _stakes(x, alpha)
    low = _betting_low(x, stakes, alpha)
    high = 1 - _betting_low(1 - x, stakes, alpha)
    return Interval(b * float(x.mean()), b * low, b * high, 1 - alpha, len(x))


def _betting_low(x: FloatArray, stakes: FloatArray, alpha: float) -> float:
    """Return the largest m that the bets on more than m have ruled out; 0 where there is none."""

    def ruled_out(m: float) -> bool:
        bets = np.minimum(stakes, _LARGEST_STAKE / m)
        wealth = np.cumsum(np.log1p(bets * (x - m)))
        return float(wealth.max()) >= math.log(2 / alpha)

    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if ruled_out(middle) else (low, middle)
    return low


def _stakes(x: FloatArray, alpha: float) -> tuple[FloatArray, FloatArray]:
    """Return the predictable lambda_t and m_{t-1}, both [N]."""
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    before, spread = np.empty_like(x), np.empty_like(x)
    before[0], spread[0] = 0.5, 0.25
    before[1:], spread[1:] = mean[:-1], variance[:-1]
    stakes = np.sqrt(2 * math.log(2 / alpha) / (spread * t * np.log1p(t)))
    return np.minimum(stakes, _LARGEST_STAKE), before


@dataclass(frozen=True, slots=True)
class Stitched:
    """A boundary u(v) that a sum minus its mean crosses with probability alpha at most.

    The polynomial stitched boundary of Howard, Ramdas, McAuliffe and Sekhon 2021 (arXiv:1810.08240,
    theorem 1), for sums with intrinsic time v:

        u(v) = sqrt( k1^2 v l + k2^2 l^2 ) + k2 l
        l = s log( 1 + log_eta(eta v) ) + log( zeta(s) / alpha )
        k1 = (eta^(1/4) + eta^(-1/4)) / sqrt(2),      k2 = (sqrt(eta) + 1) / 2

    eta = s = 1.1 are VW's. Time before v = 1 counts as 1.
    """

    eta: float = 1.1
    power: float = 1.1

    def __call__(self, v: float, alpha: float) -> float:
        """Return u(v)."""
        v = max(v, 1.0)
        looks = math.log1p(math.log(self.eta * v) / math.log(self.eta))
        log = self.power * looks + math.log(_zeta(self.power) / alpha)
        k1 = (self.eta**0.25 + self.eta**-0.25) / math.sqrt(2)
        k2 = (math.sqrt(self.eta) + 1) / 2
        return math.sqrt(k1**2 * v * log + k2**2 * log**2) + k2 * log


@dataclass(frozen=True, slots=True)
class GammaExponential:
    """The boundary where a bet mixed over all stakes has won 1/alpha; it has no closed form.

    Howard et al. 2021, proposition 9. With the lower incomplete gamma function and the prior weight
    rho, the log of the wealth of a sum that is s above its mean at intrinsic time v is

        s + v + rho log rho - (v + rho) log(s + v + rho)
          + log gamma(v + rho, s + v + rho) - log gamma(rho, rho)

    It grows with s. Mostly tighter than `Stitched`, and what vw-estimators use (rho = 1).
    """

    rho: float = 1.0

    def log_wealth(self, s: float, v: float) -> float:
        """Return the log of the wealth."""
        a, x = v + self.rho, s + v + self.rho
        mixed = self.rho * math.log(self.rho) - a * math.log(x) + log_lower_gamma(a, x)
        return s + v + mixed - log_lower_gamma(self.rho, self.rho)

    def __call__(self, v: float, alpha: float) -> float:
        """Return the s at which the wealth is 1/alpha, by bisection."""
        needed = -math.log(alpha)
        low, high = 0.0, 1.0
        while self.log_wealth(high, v) < needed:
            low, high = high, 2 * high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            short = self.log_wealth(middle, v) < needed
            low, high = (middle, high) if short else (low, middle)
        return high


Boundary = Stitched | GammaExponential


def off_policy_sequence(
    weights: ArrayLike,
    rewards: ArrayLike,
    *,
    alpha: float = 0.05,
    boundary: Boundary | None = None,
) -> Interval:
    """VW's confidence sequence of an off-policy value, without a bound on the weights.

    Karampatziakis, Mineiro and Ramdas 2021 (arXiv:2102.09540). X_t = w_t r_t and
    p_t = (1/2 + sum_{i<t} X_i) / t, a prediction made before X_t; with V = sum (X_i - p_i)^2 and
    u a boundary that a sum crosses with probability alpha at most,

        lower = ( sum X - u(V) ) / t

    at alpha / 2; the upper end is 1 minus the lower one for rewards 1 - r. Both need E[w] = 1, and
    X >= 0 is all that is asked of w.

    Args:
        weights: [N], N >= 1, at least 0.
        rewards: [N], within [0, 1].
        alpha: the error rate over all looks.
        boundary: VW's `Stitched` by default, or the `GammaExponential` of vw-estimators.
    """
    w = vector("weights", weights)
    refuse("weights", (w < 0) | np.isinf(w), "is negative or infinite", w)
    r = unit_interval("rewards", rewards, length=len(w))
    _scaled(r, 1.0, alpha)
    used = Stitched() if boundary is None else boundary
    low = _low(w * r, alpha / 2, used)
    high = 1 - _low(w * (1 - r), alpha / 2, used)
    return Interval(float((w * r).mean()), low, high, 1 - alpha, len(w))


def _low(x: FloatArray, alpha: float, boundary: Boundary) -> float:
    n = len(x)
    guess = (0.5 + np.cumsum(x) - x) / np.arange(1, n + 1)
    time = float(((x - guess) ** 2).sum())
    return min(1.0, max(0.0, (float(x.sum()) - boundary(time, alpha)) / n))


def _zeta(s: float) -> float:
    """Return the zeta function of Riemann, s > 1, by Euler and Maclaurin from the fiftieth term.

    >>> round(_zeta(2.0), 12) == round(math.pi**2 / 6, 12)
    True
    """
    terms = 50
    head = math.fsum(math.pow(k, -s) for k in range(1, terms))
    last = math.pow(terms, -s)
    tail = last * (terms / (s - 1) + 0.5 + s / (12 * terms))
    return head + tail - last * s * (s + 1) * (s + 2) / (720 * terms**3)


def _scaled(values: ArrayLike, b: float, alpha: float) -> FloatArray:
    """Return values / b, within [0, 1]."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: expected a probability between 0 and 1, got {alpha}")
    if not 0 < b < math.inf:
        raise ValueError(f"b: expected the largest possible value, finite and above 0, got {b}")
    x = vector("values", values)
    if len(x) == 0:
        raise ValueError("values: no rows, so there is no mean")
    outside = (x < -1e-9 * b) | (x > b * (1 + 1e-9))
    refuse("values", outside, f"lies outside [0, b = {b:.6g}]: declare b from the floor", x)
    return np.clip(x / b, 0.0, 1.0)
