"""Off-policy estimates: what a policy would have earned, from decisions that another one made.

Notation: ``w = pi(a|x) / h(a|x)`` with the *target* policy pi and the *behaviour* policy h that
acted and whose probability was logged; ``r`` the reward; n decisions. A decision of several units
enters with the sum of its units' log-probabilities. All logarithms are natural, all sums float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray, refuse, vector

_ROUNDING = 1e-6  # a float32 log-probability of a sure choice may come out this much above 0


@dataclass(frozen=True)
class OffPolicyEstimate:
    """An estimate with what is needed to doubt it.

    Attributes:
        value: the estimate, in units of reward per decision.
        standard_error: its standard error; NaN for one row.
        ess: effective sample size, in rows.
        mean_weight: mean of w; 1 in expectation if pi's support lies within h's.
        max_weight: the largest w.
        n: rows.
        zero_weights: share of rows with w = 0, which say nothing about the target policy's choices.
    """

    value: float
    standard_error: float
    ess: float
    mean_weight: float
    max_weight: float
    n: int
    zero_weights: float

    def __str__(self) -> str:
        """Return value, error and weights in one line."""
        return (
            f"{self.value:.4f} +- {self.standard_error:.4f} (n {self.n}, ESS {self.ess:.1f}, "
            f"mean weight {self.mean_weight:.2f}, largest {self.max_weight:.4g})"
        )


def importance_weights(target_logps: ArrayLike, behaviour_logps: ArrayLike) -> FloatArray:
    """Importance weights w = exp(log pi - log h), float64 [N].

    Args:
        target_logps: [N], log pi(a|x) of the logged choice; -inf where pi never makes it.
        behaviour_logps: [N], the logged log h(a|x); finite, as the choice was made.

    Raises:
        ValueError: if a behaviour log-probability is unknown (NaN) or -inf, a log-probability is
            above 0, or a weight is too large for float64. The message names the first such row.
    """
    logged = np.asarray(behaviour_logps, dtype=np.float64)
    refuse(
        "behaviour_logps",
        np.isnan(logged),
        "is UNKNOWN (NaN). A decision whose probability nobody recorded serves pre-training and "
        "reward models, never an off-policy estimate; leave such rows out",
    )
    logged = vector("behaviour_logps", logged)
    target = vector("target_logps", target_logps, length=len(logged))
    impossible = np.isneginf(logged)
    refuse("behaviour_logps", impossible, "is -inf, yet the choice was made: it was logged wrongly")
    for name, logps in (("behaviour_logps", logged), ("target_logps", target)):
        refuse(name, logps > _ROUNDING, "is above 0: give natural-log probabilities", logps)
    exponent = target - logged
    refuse("target_logps", exponent > 700, "gives a weight beyond float64: h is far too small")
    return np.exp(exponent)


def effective_sample_size(weights: ArrayLike) -> float:
    """ESS = (sum w)^2 / sum w^2, in rows (Kish 1965); 0 where every weight is 0.

    >>> effective_sample_size([1.0, 1.0, 0.0, 0.0])
    2.0
    """
    w = vector("weights", weights)
    refuse("weights", w < 0, "is negative", w)
    largest = w.max(initial=0.0)
    if largest == 0:
        return 0.0
    scaled = w / largest  # so that the squares neither overflow nor vanish
    return float(scaled.sum() ** 2 / (scaled**2).sum())


def mean_weight(weights: ArrayLike) -> float:
    """Mean of w; its expectation is the share of pi's probability that h supports, at most 1.

    Raises:
        ValueError: if there are no rows.
    """
    w = vector("weights", weights)
    if len(w) == 0:
        raise ValueError("weights: no rows, so they have no mean")
    return float(w.mean())


def ips(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike
) -> OffPolicyEstimate:
    """Inverse propensity score: V = mean(w r) (Horvitz and Thompson 1952).

    Unbiased where h supports pi; its standard error is that of a mean.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.

    Raises:
        ValueError: if there are no rows, or as `importance_weights`.
    """
    w, r = _weighted(target_logps, behaviour_logps, rewards)
    n = len(w)
    error = float((w * r).std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return _estimate(float((w * r).mean()), error, w)


def snips(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike
) -> OffPolicyEstimate:
    """Self-normalised IPS: V = sum(w r) / sum(w) (Swaminathan and Joachims 2015).

    Biased by O(1/n), within the range of r, and blind to missing support: look at the mean weight.
    Standard error by the delta method: sqrt(sum w^2 (r - V)^2) / sum(w).

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.

    Raises:
        ValueError: if there are no rows, every weight is 0, or as `importance_weights`.
    """
    w, r = _weighted(target_logps, behaviour_logps, rewards)
    total = w.sum()
    if total == 0:
        raise ValueError(
            "target_logps: the target policy makes none of the logged choices (every weight is 0), "
            "so this log cannot value it; try it on a share of subjects instead"
        )
    value = float((w * r).sum() / total)
    error = float(np.sqrt((w**2 * (r - value) ** 2).sum()) / total) if len(w) > 1 else math.nan
    return _estimate(value, error, w)


def _weighted(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    w = importance_weights(target_logps, behaviour_logps)
    r = vector("rewards", rewards, length=len(w))
    refuse("rewards", np.isinf(r), "is infinite", r)
    if len(w) == 0:
        raise ValueError("behaviour_logps: no rows, so there is nothing to estimate from")
    return w, r


def _estimate(value: float, error: float, weights: FloatArray) -> OffPolicyEstimate:
    return OffPolicyEstimate(
        value=value,
        standard_error=error,
        ess=effective_sample_size(weights),
        mean_weight=mean_weight(weights),
        max_weight=float(weights.max()),
        n=len(weights),
        zero_weights=float((weights == 0).mean()),
    )
