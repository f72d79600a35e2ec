"""Quantiles of Student's t and of the beta distribution, and the incomplete gamma function.

The standard library lacks them. Both quantiles come from the regularised incomplete beta function
I_x(a, b), by the continued fraction of Abramowitz and Stegun 26.5.8 in the form of Lentz 1976, and
bisection.
"""

from __future__ import annotations

import math

_TINY = 1e-300
_CLOSE = 1e-15
_MOST_TERMS = 100_000
_HALVINGS = 1100  # float64 has no more numbers between 0 and 1 to tell apart


def beta_cdf(x: float, a: float, b: float) -> float:
    """I_x(a, b), the probability that a Beta(a, b) variable is at most ``x``.

    >>> round(beta_cdf(0.5, 2.0, 3.0), 12)
    0.6875
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # where the fraction converges fast
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x)
    log_front += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of I_x(a, b), without the factor in front."""
    above, below = 1.0, 1.0 - (a + b) * x / (a + 1)
    below = 1.0 / (below if abs(below) > _TINY else _TINY)
    value = below
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            below = 1.0 + term * below
            below = 1.0 / (below if abs(below) > _TINY else _TINY)
            above = 1.0 + term / above
            above = above if abs(above) > _TINY else _TINY
            change = above * below
            value *= change
        if abs(change - 1.0) < _CLOSE:
            break
    return value


def beta_quantile(p: float, a: float, b: float) -> float:
    """Return the x with I_x(a, b) = p.

    Raises:
        ValueError: p is outside [0, 1], or a or b not above 0.

    >>> round(beta_quantile(0.6875, 2.0, 3.0), 12)
    0.5
    """
    if not 0 <= p <= 1 or not a > 0 or not b > 0:
        raise ValueError(f"p {p}, a {a}, b {b}: expected 0 <= p <= 1 and a, b above 0")
    if p in (0.0, 1.0):
        return p
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if beta_cdf(middle, a, b) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def t_quantile(p: float, freedom: float) -> float:
    """Return the quantile of Student's t with ``freedom`` degrees, by I_{f/(f+t^2)}(f/2, 1/2).

    Raises:
        ValueError: p is outside (0, 1), or ``freedom`` not above 0.

    >>> round(t_quantile(0.975, 10), 6)
    2.228139
    """
    if not 0 < p < 1 or not freedom > 0:
        raise ValueError(f"p {p}, freedom {freedom}: expected 0 < p < 1 and freedom above 0")
    tail = min(p, 1 - p)
    square = beta_quantile(1 - 2 * tail, 0.5, freedom / 2)  # t^2 / (f + t^2), and what is left:
    rest = 1 - square if square < 0.5 else beta_quantile(2 * tail, freedom / 2, 0.5)
    size = math.sqrt(freedom * (square if square < 0.5 else 1 - rest) / rest)
    return math.copysign(size, p - 0.5)


def log_lower_gamma(a: float, x: float) -> float:
    """Log of the lower incomplete gamma function, the integral of t^(a-1) e^-t from 0 to x.

    Its series where x < a + 1, else what the continued fraction of the upper one leaves (Abramowitz
    and Stegun 6.5.29 and 6.5.31); some sqrt(a) terms of either.

    Raises:
        ValueError: a or x is not above 0.

    >>> round(log_lower_gamma(1.0, 2.0), 12) == round(math.log(1 - math.exp(-2)), 12)
    True
    """
    if not a > 0 or not x > 0:
        raise ValueError(f"a {a}, x {x}: expected numbers above 0")
    front = a * math.log(x) - x
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _MOST_TERMS):
            term *= x / (a + n)
            total += term
            if term < total * _CLOSE:
                break
        return front + math.log(total)
    upper = math.exp(front - math.lgamma(a)) * _upper_fraction(a, x)
    return math.lgamma(a) + math.log1p(-upper)


def _upper_fraction(a: float, x: float) -> float:
    """The continued fraction of the upper incomplete gamma function, without x^a e^-x."""
    last = x + 1 - a
    above, below = 1 / _TINY, 1 / last
    value = below
    for n in range(1, _MOST_TERMS):
        step = -n * (n - a)
        last += 2
        below = step * below + last
        below = 1 / (below if abs(below) > _TINY else _TINY)
        above = last + step / above
        above = above if abs(above) > _TINY else _TINY
        value *= above * below
        if abs(above * below - 1) < _CLOSE:
            break
    return value
