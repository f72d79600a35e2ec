"""Off-policy estimates: what a policy would have earned, from decisions that another one made.

Notation: ``w = pi(a|x) / h(a|x)`` with the *target* policy pi and the *behaviour* policy h that
acted and whose probability was logged; ``r`` the reward; n decisions; ``q(x, a)`` what a reward
model expects of a choice, from rows that it was not fitted on (`heedful.evaluate.cross_fit`), and
``q(x, pi) = sum_a pi(a|x) q(x, a)``. A decision of several units enters with the sum of its units'
log-probabilities. All logarithms are natural, all sums float64.

All of them have one shape, ``mean(q(x, pi) + w' (r - q))``, where w' are the weights after one of
`heedful.evaluate.weights` was done to them, perhaps divided by their mean. So there is one
implementation, `Running`, which takes a log in pieces; the functions give it theirs in one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray, refuse, vector
from heedful.evaluate.intervals import Interval
from heedful.evaluate.weights import (
    Capped,
    Plain,
    Shrunk,
    SubGaussian,
    Switched,
    Weighing,
    log_probabilities,
    weights_of,
)

_BLOCK = 1 << 15  # rows at a time: some eight arrays of 256 KiB
_SMALL = 1e-100
_ROUNDING = 1e-3  # of probabilities that were computed in float32 and summed
_SUM = np.array([1.0, 1.0, 0.0])  # mean of q(x, pi), of w' (r - q), and of w'


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

    def interval(self, level: float = 0.95) -> Interval:
        """Return value +- z standard errors: right for many effective rows, once looked at.

        With few of them, or a bias, it covers less than it says. Bounds that do not lean on the
        central limit theorem are in `heedful.evaluate.bounds`.

        Raises:
            ValueError: ``level`` is outside (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level: expected a number between 0 and 1, got {level}")
        half = NormalDist().inv_cdf((1 + level) / 2) * self.standard_error
        return Interval(self.value, self.value - half, self.value + half, level, self.n)


class Running:
    """An estimate that grows with its log: rows in, in pieces; two halves merge; memory constant.

    Kept are the means and the scatter matrix of the three numbers of a row, q(x, pi), w' (r - q)
    and w', which merge exactly (Chan, Golub and LeVeque 1979), and of w its sum, its sum of
    squares and its maximum. With their means a, c and u the estimate and, by the delta method, its
    standard error are

        V = a + c                        gradient g = (1, 1, 0)
        V = a + c / u  (normalised)      gradient g = (1, 1/u, -c/u^2)
        SE = sqrt( g' S g / n ),         S the covariance of the three

    Examples:
        >>> half = Running().update([-1.0, -2.0], [-1.0, -2.0], [1.0, 0.0])
        >>> half.merge(Running().update([-3.0], [-3.0], [1.0])).estimate().n
        3
    """

    def __init__(self, weighing: Weighing | None = None, *, normalised: bool = False) -> None:
        """Start without rows.

        Args:
            weighing: what is done with the weights; nothing by default.
            normalised: divide by the mean of the weights.
        """
        self.weighing: Weighing = Plain() if weighing is None else weighing
        self.normalised = normalised
        self.n = 0
        self._mean, self._scatter = np.zeros(3), np.zeros((3, 3))
        self._health = _Health()

    def update(
        self,
        target_logps: ArrayLike,
        behaviour_logps: ArrayLike,
        rewards: ArrayLike,
        q_logged: ArrayLike | None = None,
        q_policy: ArrayLike | None = None,
    ) -> Self:
        """Add rows, all of them or, where one is bad, none.

        Args:
            target_logps: [N], see `importance_weights`.
            behaviour_logps: [N], see `importance_weights`.
            rewards: [N], finite.
            q_logged: [N], q(x, a) of the logged choices; 0 by default.
            q_policy: [N], q(x, pi); 0 by default.

        Raises:
            ValueError: as `importance_weights`, or lengths differ, or a number is not finite.
        """
        target, logged = log_probabilities(target_logps, behaviour_logps)
        r = _finite("rewards", rewards, len(logged))
        q = None if q_logged is None else _finite("q_logged", q_logged, len(r))
        q_pi = None if q_policy is None else _finite("q_policy", q_policy, len(r))
        added = Running(self.weighing, normalised=self.normalised)
        first = 1 if q_pi is None else 0  # without q(x, pi) its row of the table would be zeros
        room = np.empty((3 - first, min(_BLOCK, len(r))))
        for low in range(0, len(r), _BLOCK):
            rows = slice(low, low + _BLOCK)
            w = weights_of(target, logged, rows)
            used, table = self.weighing(w), room[:, : len(w)]
            if q_pi is not None:
                table[0] = q_pi[rows]
            np.multiply(used, r[rows] if q is None else r[rows] - q[rows], out=table[-2])
            table[-1] = used
            added._add(table, first, _Health.of(w))
        return self.merge(added)

    def merge(self, other: Running) -> Self:
        """Add the rows of ``other``.

        Raises:
            ValueError: it estimates something else.
        """
        if (other.weighing, other.normalised) != (self.weighing, self.normalised):
            raise ValueError(
                f"other: weighs by {other.weighing}, normalised={other.normalised}; this one by "
                f"{self.weighing}, normalised={self.normalised}"
            )
        self._join(other.n, other._mean, other._scatter)
        self._health = self._health.with_(other._health)
        return self

    def estimate(self) -> OffPolicyEstimate:
        """Return the estimate so far.

        Raises:
            ValueError: there are no rows, or the weights to divide by are all 0.
        """
        if self.n == 0:
            raise ValueError("behaviour_logps: no rows, so there is nothing to estimate from")
        policy, correction, weight = self._mean.tolist()
        value, gradient, freedom = policy + correction, _SUM, 1
        if self.normalised:
            if weight == 0:
                raise ValueError(
                    "target_logps: the target policy makes none of the logged choices (every "
                    "weight is 0), so this log cannot value it; try it on a share of subjects "
                    "instead"
                )
            ratio = correction / weight
            value, gradient = policy + ratio, np.array([1.0, 1 / weight, -ratio / weight])
            freedom = 0
        error = math.nan
        if self.n > 1:
            spread = float(gradient @ self._scatter @ gradient)
            error = math.sqrt(max(0.0, spread) / (self.n - freedom) / self.n)
        return self._health.estimate(value, error)

    def _add(self, table: FloatArray, first: int, health: _Health) -> None:
        """Add a block of rows, of the three numbers those from ``first``: [3 - first, B]."""
        mean, scatter = np.zeros(3), np.zeros((3, 3))
        mean[first:] = table.mean(axis=1)
        table -= mean[first:, None]
        scatter[first:, first:] = np.einsum("ib,jb->ij", table, table)
        self._join(table.shape[1], mean, scatter)
        self._health = self._health.with_(health)

    def _join(self, n: int, mean: FloatArray, scatter: FloatArray) -> None:
        total = self.n + n
        if n == 0:
            return
        apart = mean - self._mean
        self._scatter = self._scatter + scatter + np.outer(apart, apart) * (self.n * n / total)
        self._mean = self._mean + apart * (n / total)
        self.n = total


@dataclass(frozen=True, slots=True)
class _Health:
    """Of weights: how many, how many are 0, the largest, and two sums of w / largest."""

    n: int = 0
    zeros: int = 0
    largest: float = 0.0
    sum: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, weights: FloatArray) -> _Health:
        low, high = float(weights.min(initial=np.inf)), float(weights.max(initial=0.0))
        largest = max(high, -low)
        scaled, unit = weights, largest
        if not _SMALL < largest < 1 / _SMALL and largest > 0:  # squares overflow or vanish
            scaled, unit = weights / largest, 1.0
        return cls(
            len(weights),
            0 if low > 0 else len(weights) - int(np.count_nonzero(weights)),
            largest,
            float(scaled.sum()) / (unit or 1.0),
            float(np.einsum("i,i->", scaled, scaled)) / (unit or 1.0) ** 2,
        )

    def with_(self, other: _Health) -> _Health:
        largest = max(self.largest, other.largest)
        mine, its = (h.largest / largest if largest > 0 else 0.0 for h in (self, other))
        return _Health(
            self.n + other.n,
            self.zeros + other.zeros,
            largest,
            self.sum * mine + other.sum * its,
            self.squares * mine**2 + other.squares * its**2,
        )

    def estimate(self, value: float, error: float) -> OffPolicyEstimate:
        return OffPolicyEstimate(
            value=value,
            standard_error=error,
            ess=self.sum**2 / self.squares if self.squares > 0 else 0.0,
            mean_weight=self.largest * (self.sum / self.n),
            max_weight=self.largest,
            n=self.n,
            zero_weights=self.zeros / self.n,
        )


def ips(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike
) -> OffPolicyEstimate:
    """Inverse propensity score: V = mean(w r) (Horvitz and Thompson 1952).

    Unbiased where h supports pi; its standard error is that of a mean. Its variance grows with the
    largest weights.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.

    Raises:
        ValueError: if there are no rows, or as `importance_weights`.
    """
    return Running().update(target_logps, behaviour_logps, rewards).estimate()


def clipped_ips(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike, most: float
) -> OffPolicyEstimate:
    """Clipped IPS: V = mean(min(w, M) r) (Strehl, Langford, Li and Kakade 2010).

    Too low for rewards of at least 0, by what the clipped rows would have added; the variance is
    at most M times that of weights of 1.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.
        most: M, above 0.
    """
    return Running(Capped(most)).update(target_logps, behaviour_logps, rewards).estimate()


def sub_gaussian_ips(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike, strength: float
) -> OffPolicyEstimate:
    """Sub-Gaussian IPS: V = mean(w' r), w' = w / (1 - lambda + lambda w).

    Metelli, Russo and Restelli, NeurIPS 2021. Biased towards the behaviour policy's own value, the
    more the larger lambda is; no weight exceeds 1/lambda.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.
        strength: lambda, from 0 (IPS) to 1 (all weights 1).
    """
    return Running(SubGaussian(strength)).update(target_logps, behaviour_logps, rewards).estimate()


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
    return Running(normalised=True).update(target_logps, behaviour_logps, rewards).estimate()


def dm(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, q_policy: ArrayLike
) -> OffPolicyEstimate:
    """Direct method: V = mean q(x, pi).

    As wrong as the reward model, which no number of rows shows, hence its small standard error
    says little. The weights are not used; they stand in the answer because they tell how much of
    the log speaks of pi.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        q_policy: [N], q(x, pi).
    """
    nothing = np.zeros(len(np.asarray(q_policy)))
    running = Running(Switched(0.0))
    return running.update(target_logps, behaviour_logps, nothing, q_policy=q_policy).estimate()


def dr(
    target_logps: ArrayLike,
    behaviour_logps: ArrayLike,
    rewards: ArrayLike,
    q_logged: ArrayLike,
    q_policy: ArrayLike,
) -> OffPolicyEstimate:
    """Doubly robust: V = mean(q(x, pi) + w (r - q(x, a))) (Dudik, Langford and Li 2011).

    Unbiased where h supports pi and its probabilities are those logged, whatever the model says;
    a good model makes it less noisy than IPS, because only residuals are weighted.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.
        q_logged: [N], q(x, a) of the logged choice, from a model that has not seen the row.
        q_policy: [N], q(x, pi) of the same model.
    """
    rows = (target_logps, behaviour_logps, rewards, q_logged, q_policy)
    return Running().update(*rows).estimate()


def sndr(
    target_logps: ArrayLike,
    behaviour_logps: ArrayLike,
    rewards: ArrayLike,
    q_logged: ArrayLike,
    q_policy: ArrayLike,
) -> OffPolicyEstimate:
    """Self-normalised doubly robust: V = mean q(x, pi) + sum w (r - q) / sum w.

    Thomas and Brunskill 2016. Biased by O(1/n), and steadier than DR where the weights' mean
    wanders from 1.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.
        q_logged: [N], see `dr`.
        q_policy: [N], see `dr`.

    Raises:
        ValueError: as `snips`.
    """
    rows = (target_logps, behaviour_logps, rewards, q_logged, q_policy)
    return Running(normalised=True).update(*rows).estimate()


def switch_dr(
    target_logps: ArrayLike,
    behaviour_logps: ArrayLike,
    rewards: ArrayLike,
    q_logged: ArrayLike,
    q_policy: ArrayLike,
    threshold: float,
) -> OffPolicyEstimate:
    """Switch-DR: V = mean(q(x, pi) + w 1{w <= tau} (r - q)) (Wang, Agarwal and Dudik 2017).

    DR where weights are small, the model's word where they are large. tau = infinity is DR, tau
    below all weights DM; in between its bias is the model's over the rows beyond tau.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.
        q_logged: [N], see `dr`.
        q_policy: [N], see `dr`.
        threshold: tau.
    """
    rows = (target_logps, behaviour_logps, rewards, q_logged, q_policy)
    return Running(Switched(threshold)).update(*rows).estimate()


def dr_shrunk(
    target_logps: ArrayLike,
    behaviour_logps: ArrayLike,
    rewards: ArrayLike,
    q_logged: ArrayLike,
    q_policy: ArrayLike,
    strength: float,
) -> OffPolicyEstimate:
    """DR with optimistic shrinkage (DRos): V = mean(q(x, pi) + w' (r - q)).

    w' = lambda w / (lambda + w^2) (Su, Dimakopoulou, Krishnamurthy and Dudik 2020). lambda goes
    from DM (0) to DR (infinity); the bias is the model's where weights are large.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.
        q_logged: [N], see `dr`.
        q_policy: [N], see `dr`.
        strength: lambda.
    """
    rows = (target_logps, behaviour_logps, rewards, q_logged, q_policy)
    return Running(Shrunk(strength)).update(*rows).estimate()


def sub_gaussian_dr(
    target_logps: ArrayLike,
    behaviour_logps: ArrayLike,
    rewards: ArrayLike,
    q_logged: ArrayLike,
    q_policy: ArrayLike,
    strength: float,
) -> OffPolicyEstimate:
    """Sub-Gaussian DR: V = mean(q(x, pi) + w' (r - q)), w' = w / (1 - lambda + lambda w).

    Metelli, Russo and Restelli 2021; see `sub_gaussian_ips`. What w' leaves out is left to the
    model.

    Args:
        target_logps: [N], see `importance_weights`.
        behaviour_logps: [N], see `importance_weights`.
        rewards: [N], finite.
        q_logged: [N], see `dr`.
        q_policy: [N], see `dr`.
        strength: lambda, from 0 (DR) to 1.
    """
    rows = (target_logps, behaviour_logps, rewards, q_logged, q_policy)
    return Running(SubGaussian(strength)).update(*rows).estimate()


def mips(
    target: ArrayLike,
    behaviour: ArrayLike,
    actions: ArrayLike,
    rewards: ArrayLike,
    categories: ArrayLike,
) -> OffPolicyEstimate:
    """Marginalised IPS: V = mean(w(x, e) r), w(x, e) = p(e|x, pi) / p(e|x, h).

    p(e|x, pi) = sum_a pi(a|x) 1{e(a) = e} (Saito and Joachims 2022, arXiv:2202.06317). Weights by
    category are far smaller than by action in a large catalogue, and need support by category
    only; unbiased if an action affects the reward through its category alone, else biased by what
    it does beside.

    Args:
        target: [N, A], pi(a|x) of every action.
        behaviour: [N, A], h(a|x).
        actions: int [N], those that were logged.
        rewards: [N], finite.
        categories: int [A], e(a), from 0.

    Raises:
        ValueError: shapes or numbers that do not fit, or as `importance_weights`.
    """
    e = np.asarray(categories)
    chosen = np.asarray(actions)
    logps = []
    for name, given in (("target", target), ("behaviour", behaviour)):
        table = np.asarray(given, dtype=np.float64)
        if table.shape != (len(chosen), len(e)):
            raise ValueError(f"{name}: expected shape {(len(chosen), len(e))}, got {table.shape}")
        of_category = np.zeros((len(table), int(e.max(initial=0)) + 1))
        np.add.at(of_category.T, e, table.T)
        with np.errstate(divide="ignore"):  # never chosen: log 0 = -inf
            logps.append(np.log(of_category[np.arange(len(chosen)), e[chosen]]))
    return ips(logps[0], logps[1], rewards)


def expected_under(probabilities: ArrayLike, q: ArrayLike) -> FloatArray:
    """q(x, pi) = sum_a pi(a|x) q(x, a), float64 [N], from pi [N, A] and q [N, A] or [A].

    Raises:
        ValueError: the shapes do not fit, or probabilities do not sum to 1.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    table = np.asarray(q, dtype=np.float64)
    if p.ndim != 2 or table.shape not in (p.shape, p.shape[1:]):
        raise ValueError(f"q: shape {table.shape} does not fit probabilities {p.shape}")
    total: FloatArray = np.einsum("na->n", p)  # for few actions a third of the cost of a sum
    if len(total) and not max(total.max() - 1, 1 - total.min()) <= _ROUNDING:
        refuse("probabilities", ~(np.abs(total - 1) <= _ROUNDING), "does not sum to 1", total)
    found: FloatArray = np.einsum("na,na->n" if table.ndim == 2 else "na,a->n", p, table)
    return found


def mean_of(contributions: FloatArray, weights: FloatArray) -> OffPolicyEstimate:
    """Return the mean of what rows [N] contribute, with its error and the health of ``weights``.

    Raises:
        ValueError: there are no rows.
    """
    n = len(contributions)
    if n == 0:
        raise ValueError("behaviour_logps: no rows, so there is nothing to estimate from")
    error = float(contributions.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return _Health.of(weights).estimate(float(contributions.mean()), error)


def clustered(
    estimate: OffPolicyEstimate, influence: ArrayLike, subjects: ArrayLike
) -> OffPolicyEstimate:
    """Return ``estimate`` with a standard error that lets one subject's rows go together.

    Decisions of one person are not independent, and an error that takes them for it is too small.
    With e_i the influence of row i and G subjects (Liang and Zeger 1986),

        SE = sqrt( G / (G - 1) ) sqrt( sum_g ( sum_{i of g} e_i )^2 ) / n

    Args:
        estimate: of n rows.
        influence: [n], by how much each row moves the estimate, times n; the mean is 0: w r - V for
            IPS, w (r - V) / mean(w) for SNIPS.
        subjects: [n], whose row it is.

    Returns:
        A standard error of NaN where there is one subject.
    """
    e = vector("influence", influence, length=estimate.n)
    _, who = np.unique(np.asarray(subjects), return_inverse=True)
    sums = np.bincount(who, weights=e)
    groups = len(sums)
    error = math.nan
    if groups > 1:
        error = math.sqrt(groups / (groups - 1) * float((sums**2).sum())) / estimate.n
    return replace(estimate, standard_error=error)


def _finite(name: str, values: ArrayLike, length: int) -> FloatArray:
    array = vector(name, values, length=length)
    if len(array) and np.isinf(max(abs(array.min()), abs(array.max()))):
        refuse(name, np.isinf(array), "is infinite", array)
    return array
