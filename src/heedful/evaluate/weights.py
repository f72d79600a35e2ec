"""Importance weights, and what to do with those that are too large.

Notation: ``w = pi(a|x) / h(a|x)`` with the *target* policy pi and the *behaviour* policy h that
acted and whose probability was logged. All logarithms are natural.

Large weights are what makes estimates noisy. Each way of making them smaller is a frozen dataclass
that is called with weights: it trades variance for a bias towards 0, or towards what a reward model
says where an estimator has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray, refuse, vector

Weighing = Callable[[FloatArray], FloatArray]
"""What is done with importance weights [N] before they are used; equal ones compare equal."""

LARGEST_EXPONENT = 700.0  # exp of more is beyond float64
_ROUNDING = 1e-6  # a float32 log-probability of a sure choice may come out this much above 0


@dataclass(frozen=True, slots=True)
class Plain:
    """w as it is: no bias, and all of the variance."""

    def __call__(self, weights: FloatArray) -> FloatArray:
        """Return the weights."""
        return weights


@dataclass(frozen=True, slots=True)
class Capped:
    """min(w, M), biased downwards for rewards of at least 0 (Strehl et al. 2010).

    Raises:
        ValueError: M is not above 0.
    """

    most: float

    def __post_init__(self) -> None:
        _positive("most", self.most)

    def __call__(self, weights: FloatArray) -> FloatArray:
        """Return the capped weights."""
        return np.minimum(weights, self.most)


@dataclass(frozen=True, slots=True)
class Switched:
    """w 1{w <= tau}: beyond tau a row says nothing (Wang, Agarwal and Dudik 2017).

    Raises:
        ValueError: tau is below 0.
    """

    threshold: float

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ValueError(f"threshold: expected a weight of at least 0, got {self.threshold}")

    def __call__(self, weights: FloatArray) -> FloatArray:
        """Return the weights, 0 where they were larger."""
        return np.where(weights <= self.threshold, weights, 0.0)


@dataclass(frozen=True, slots=True)
class Shrunk:
    """lambda w / (lambda + w^2), the optimistic shrinkage of Su et al. 2020 (arXiv:1907.09623).

    At most sqrt(lambda) / 2; lambda = 0 leaves nothing of a weight, infinity all.

    Raises:
        ValueError: lambda is below 0.
    """

    strength: float

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise ValueError(f"strength: expected a number of at least 0, got {self.strength}")

    def __call__(self, weights: FloatArray) -> FloatArray:
        """Return the shrunk weights."""
        if self.strength == 0 or math.isinf(self.strength):
            return weights * (self.strength > 0)
        some = weights > 0
        inverse = np.divide(1.0, weights, out=np.zeros_like(weights), where=some)
        inverse += weights / self.strength  # without a square, which could overflow
        return np.divide(1.0, inverse, out=np.zeros_like(weights), where=some)


@dataclass(frozen=True, slots=True)
class SubGaussian:
    """w / (1 - lambda + lambda w), at most 1/lambda (Metelli, Russo and Restelli 2021).

    The harmonic mean of w and 1: its error has tails like a Gaussian's. lambda = 0 is w itself.

    Raises:
        ValueError: lambda is outside [0, 1].
    """

    strength: float

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength: expected a number from 0 to 1, got {self.strength}")

    def __call__(self, weights: FloatArray) -> FloatArray:
        """Return the shrunk weights; a weight of 0 stays 0."""
        below = 1 - self.strength + self.strength * weights
        return np.divide(weights, below, out=np.zeros_like(weights), where=weights > 0)


def importance_weights(target_logps: ArrayLike, behaviour_logps: ArrayLike) -> FloatArray:
    """Importance weights w = exp(log pi - log h), float64 [N].

    Args:
        target_logps: [N], log pi(a|x) of the logged choice; -inf where pi never makes it.
        behaviour_logps: [N], the logged log h(a|x); finite, as the choice was made.

    Raises:
        ValueError: if a behaviour log-probability is unknown (NaN) or -inf, a log-probability is
            above 0, or a weight is too large for float64. The message names the first such row.
    """
    target, logged = log_probabilities(target_logps, behaviour_logps)
    return weights_of(target, logged, slice(None))


def log_probabilities(
    target_logps: ArrayLike, behaviour_logps: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return both as float64 [N], or raise as `importance_weights`."""
    logged = np.asarray(behaviour_logps, dtype=np.float64)
    if logged.size and np.isnan(logged.min()):  # one pass and no mask where all is well
        refuse(
            "behaviour_logps",
            np.isnan(logged),
            "is UNKNOWN (NaN). A decision whose probability nobody recorded serves pre-training "
            "and reward models, never an off-policy estimate; leave such rows out",
        )
    logged = vector("behaviour_logps", logged)
    target = vector("target_logps", target_logps, length=len(logged))
    if logged.min(initial=0.0) == -np.inf:
        impossible = np.isneginf(logged)
        why = "is -inf, yet the choice was made: it was logged wrongly"
        refuse("behaviour_logps", impossible, why)
    for name, logps in (("behaviour_logps", logged), ("target_logps", target)):
        if logps.max(initial=0.0) > _ROUNDING:
            refuse(name, logps > _ROUNDING, "is above 0: give natural-log probabilities", logps)
    return target, logged


def weights_of(target: FloatArray, logged: FloatArray, rows: slice) -> FloatArray:
    """Return w of some rows of checked log-probabilities; an error counts from the first of all."""
    exponent = target[rows] - logged[rows]
    if exponent.max(initial=0.0) > LARGEST_EXPONENT:
        beyond = target - logged > LARGEST_EXPONENT
        refuse("target_logps", beyond, "gives a weight beyond float64: h is far too small")
    return np.exp(exponent, out=exponent)


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


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: expected a number above 0, got {value}")
