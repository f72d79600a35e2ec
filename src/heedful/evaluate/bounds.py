"""Bounds on a mean from a fixed number of independent rows, looked at once.

For an off-policy value the rows are ``w r``. Their largest possible value ``b`` is *declared*, from
the exploration floor (the largest weight it allows, times the largest reward), never taken from the
sample: the maximum of a sample is smaller than what can come, and a bound from it promises too
much. Whoever looks more than once needs `heedful.evaluate.sequences`.

A lower bound is one-sided and holds with probability 1 - delta; `between` makes two of them an
interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray, refuse, vector
from heedful.evaluate.intervals import Interval
from heedful.evaluate.quantiles import beta_quantile, t_quantile

_ROUNDING = 1e-9  # relative, of a weight that equals its bound


def hoeffding(values: ArrayLike, b: float, *, delta: float = 0.05) -> float:
    """Lower bound: mean - b sqrt( ln(1/delta) / 2n ) (Hoeffding 1963), for values in [0, b].

    Exact at every n and blind to the variance, so it is wide where b is far above the spread.

    Args:
        values: [N], N >= 1.
        b: their largest possible value, declared.
        delta: probability of being wrong.

    Raises:
        ValueError: no rows, a value outside [0, b], or delta outside (0, 1).
    """
    x = _bounded(values, b, delta, 1)
    return float(x.mean()) - b * math.sqrt(math.log(1 / delta) / (2 * len(x)))


def empirical_bernstein(values: ArrayLike, b: float, *, delta: float = 0.05) -> float:
    """Lower bound of Maurer and Pontil 2009 (arXiv:0907.3740, theorem 4), for values in [0, b].

        mean - sqrt( 2 V ln(2/delta) / n ) - 7 b ln(2/delta) / ( 3 (n - 1) )

    V is the unbiased sample variance. Exact at every n; better than Hoeffding where the variance
    is far below b^2 / 4 and n is large.

    Args:
        values: [N], N >= 2.
        b: their largest possible value, declared.
        delta: probability of being wrong.

    Raises:
        ValueError: as `hoeffding`.
    """
    x = _bounded(values, b, delta, 2)
    log, n = math.log(2 / delta), len(x)
    spread = math.sqrt(2 * float(x.var(ddof=1)) * log / n)
    return float(x.mean()) - spread - 7 * b * log / (3 * (n - 1))


def student_t(values: ArrayLike, b: float = math.inf, *, delta: float = 0.05) -> float:
    """Lower bound: mean - t_{1-delta, n-1} s / sqrt(n) (Student 1908).

    Right for normal values and, by the central limit theorem, for many others; with skewed weights
    and few effective rows it is wrong more often than delta.

    Args:
        values: [N], N >= 2.
        b: not used, and checked where given, so that all three are called alike.
        delta: probability of being wrong.

    Raises:
        ValueError: as `hoeffding`; without b any finite value will do.
    """
    x = _bounded(values, b, delta, 2)
    half = t_quantile(1 - delta, len(x) - 1) * float(x.std(ddof=1)) / math.sqrt(len(x))
    return float(x.mean()) - half


def between(
    bound: Callable[..., float], values: ArrayLike, b: float, *, level: float = 0.95
) -> Interval:
    """Return the interval of a lower ``bound`` and of its mirror image, each at (1 - level) / 2.

    The upper one is ``b - bound(b - values)``.

    Args:
        bound: `hoeffding`, `empirical_bernstein` or `student_t`.
        values: [N].
        b: their largest possible value, declared and finite.
        level: coverage, within (0, 1).
    """
    x, delta = vector("values", values), (1 - level) / 2
    low, high = bound(x, b, delta=delta), b - bound(b - x, b, delta=delta)
    return Interval(float(x.mean()), low, high, level, len(x))


def clopper_pearson(successes: float, n: float, *, level: float = 0.95) -> Interval:
    """Exact interval of a probability from ``successes`` in ``n`` trials (Clopper, Pearson 1934).

    With beta quantiles at delta = (1 - level) / 2:

        [ Beta(delta; s, n - s + 1),  Beta(1 - delta; s + 1, n - s) ]

    For weighted rewards in [0, b] VW takes sum(x) / b successes in n / b trials, and the interval
    is then the mean's. That is exact for no b but 1; it is wide in practice, and no guarantee.

    Args:
        successes: from 0 to ``n``; need not be whole.
        n: trials, above 0.
        level: coverage, within (0, 1).

    Raises:
        ValueError: a number out of range.
    """
    if not 0 <= successes <= n or not n > 0:
        raise ValueError(f"successes {successes}, n {n}: expected 0 <= successes <= n, n > 0")
    _probability("level", level)
    delta = (1 - level) / 2
    low = beta_quantile(delta, successes, n - successes + 1) if successes > 0 else 0.0
    high = beta_quantile(1 - delta, successes + 1, n - successes) if successes < n else 1.0
    return Interval(successes / n, low, high, level, int(n))


def _bounded(values: ArrayLike, b: float, delta: float, fewest: int) -> FloatArray:
    x = vector("values", values)
    if len(x) < fewest:
        raise ValueError(f"values: {len(x)} rows; this bound takes at least {fewest}")
    _probability("delta", delta)
    if not b > 0:
        raise ValueError(f"b: expected the largest possible value, above 0, got {b}")
    if math.isinf(b):
        refuse("values", ~np.isfinite(x), "is infinite", x)
        return x
    over = "exceeds b: declare what the exploration floor allows, not what the sample shows"
    refuse("values", x > b * (1 + _ROUNDING), over, x)
    refuse("values", x < -b * _ROUNDING, "is below 0; shift the values to [0, b]", x)
    return x


def _probability(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1, got {value}")
