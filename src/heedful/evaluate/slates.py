"""Off-policy estimates for slates and sequences, whose weights multiply along their length.

K units a slate, each with its reward ``r_k``; log-probabilities are given per unit, [N, K]. Where a
slate is shorter, pad with equal log-probabilities and a reward of 0. A slate is worth the *sum* of
its units' rewards here; divide by K for the mean.

Which estimator fits depends on what a unit's reward depends on:

- the whole slate: plain IPS on the sum of its log-probabilities and of its rewards;
- the units above it and itself (a person reads from the top): `cascade`, `cascade_dr`;
- itself and its position alone: `per_position`, which needs the *marginal* probability of a unit
  at a position. A log of slates drawn without replacement holds sequential conditionals instead;
- a sum of unknown effects of unit and position, of which only the total is seen: `pseudo_inverse`.

The health in the answer is that of the position whose effective sample size is smallest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray, refuse
from heedful.evaluate.estimators import OffPolicyEstimate, mean_of
from heedful.evaluate.weights import effective_sample_size, importance_weights


def per_position(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike
) -> OffPolicyEstimate:
    """Independent IPS (IIPS): V = mean sum_k w_k r_k (Li et al. 2018, item-position model).

    w_k = pi(a_k at k|x) / h(a_k at k|x), marginal probabilities. Unbiased if a unit's reward
    depends on itself and its position alone; the least noisy of the three.

    Args:
        target_logps: [N, K], marginal log-probabilities; -inf where pi never makes the choice.
        behaviour_logps: [N, K], marginal and finite.
        rewards: [N, K], finite.

    Raises:
        ValueError: shapes differ, there are no rows, or as `importance_weights`.
    """
    w, r = _tables(target_logps, behaviour_logps, rewards)
    return mean_of((w * r).sum(axis=1), _worst(w))


def cascade(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike
) -> OffPolicyEstimate:
    """Reward-interaction IPS (RIPS): V = mean sum_k w_{1:k} r_k (McInerney et al. 2020).

    w_{1:k} is the product of the first k ratios of sequential conditionals, as `sample` logs them.
    Unbiased if a unit's reward depends on nothing below it; less noisy than weighing with all K.

    Args:
        target_logps: [N, K], each unit's log-probability given those before it in the slate.
        behaviour_logps: [N, K], as logged.
        rewards: [N, K], finite.

    Raises:
        ValueError: as `per_position`.
    """
    return per_decision(target_logps, behaviour_logps, rewards)


def per_decision(
    target_logps: ArrayLike,
    behaviour_logps: ArrayLike,
    rewards: ArrayLike,
    discount: float = 1.0,
) -> OffPolicyEstimate:
    """Per-decision importance sampling: V = mean sum_t gamma^t w_{1:t} r_t.

    Precup, Sutton and Singh 2000. Unbiased for the discounted return of an episode; a reward is
    weighted by the choices that came before it, not by those after. The variance still grows
    exponentially with T.

    Args:
        target_logps: [N, T], log pi of each choice given what came before it.
        behaviour_logps: [N, T], as logged.
        rewards: [N, T], finite.
        discount: gamma, within [0, 1].

    Raises:
        ValueError: as `per_position`, or the discount is out of range.
    """
    if not 0 <= discount <= 1:
        raise ValueError(f"discount: expected a number from 0 to 1, got {discount}")
    w, r = _tables(target_logps, behaviour_logps, rewards)
    so_far = _products(w)
    return mean_of((so_far * r) @ discount ** np.arange(r.shape[1]), _worst(so_far))


def cascade_dr(
    target_logps: ArrayLike,
    behaviour_logps: ArrayLike,
    rewards: ArrayLike,
    q_logged: ArrayLike,
    q_policy: ArrayLike,
) -> OffPolicyEstimate:
    """Cascade doubly robust: V = mean sum_k w_{1:k} (r_k - q_k) + w_{1:k-1} q_k(pi).

    Jiang and Li 2016; Kiyohara et al. 2022 (arXiv:2202.01562) for slates. With K = 1 it is DR.
    Unbiased as `cascade`, whatever the model says, if each q_k depends on the past alone. Kiyohara
    takes as q_k what position k and all below it earn, which removes more noise; any q is sound.

    Args:
        target_logps: [N, K], see `cascade`.
        behaviour_logps: [N, K], see `cascade`.
        rewards: [N, K], finite.
        q_logged: [N, K], q_k of the unit shown, from a model that has not seen the row.
        q_policy: [N, K], the mean of q_k over what pi would choose at k after the logged k - 1.

    Raises:
        ValueError: as `per_position`.
    """
    w, r = _tables(target_logps, behaviour_logps, rewards)
    rows = cascade_dr_rows(target_logps, behaviour_logps, r, q_logged, q_policy)
    return mean_of(rows, _worst(_products(w)))


def cascade_dr_rows(
    target_logps: ArrayLike,
    behaviour_logps: ArrayLike,
    rewards: ArrayLike,
    q_logged: ArrayLike,
    q_policy: ArrayLike,
) -> FloatArray:
    """Return what every slate adds to `cascade_dr`, float64 [N], whose mean is the estimate."""
    w, r = _tables(target_logps, behaviour_logps, rewards)
    q, q_pi = (_table(n, v, r.shape) for n, v in (("q_logged", q_logged), ("q_policy", q_policy)))
    so_far = _products(w)
    before = np.ones_like(so_far)
    before[:, 1:] = so_far[:, :-1]
    rows: FloatArray = (so_far * (r - q) + before * q_pi).sum(axis=1)
    return rows


def pseudo_inverse(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike
) -> OffPolicyEstimate:
    """Pseudo-inverse for slates drawn position by position: V = mean (1 - K + sum_k w_k) r.

    Swaminathan et al. 2017 (arXiv:1605.04812), example 4: the behaviour policy draws the positions
    independently of each other. Unbiased if the slate's reward is a sum of effects of unit and
    position, none of which is seen alone. Weights can be negative.

    Args:
        target_logps: [N, K], per position.
        behaviour_logps: [N, K], per position.
        rewards: [N], of the whole slate, finite.

    Raises:
        ValueError: as `per_position`.
    """
    w, _ = _tables(target_logps, behaviour_logps, np.zeros(np.shape(target_logps)))
    r = _table("rewards", rewards, (len(w),))
    total = 1 - w.shape[1] + w.sum(axis=1)
    return mean_of(total * r, total)


def _tables(
    target_logps: ArrayLike, behaviour_logps: ArrayLike, rewards: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return w and r, both [N, K]."""
    target = np.asarray(target_logps, dtype=np.float64)
    if target.ndim != 2 or target.shape[1] == 0:
        raise ValueError(f"target_logps: expected shape [N, K], K >= 1, got {target.shape}")
    logged = np.asarray(behaviour_logps, dtype=np.float64)
    if logged.shape != target.shape:
        raise ValueError(f"behaviour_logps: expected shape {target.shape}, got {logged.shape}")
    w = importance_weights(target.ravel(), logged.ravel()).reshape(target.shape)
    return w, _table("rewards", rewards, target.shape)


def _table(name: str, values: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    table = np.asarray(values, dtype=np.float64)
    if table.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {table.shape}")
    bad = np.atleast_1d(~np.isfinite(table).all(axis=tuple(range(1, table.ndim))))
    refuse(name, bad, "holds NaN or infinity; drop the row, or wait until its values have come")
    return table


def _products(weights: FloatArray) -> FloatArray:
    """Return w_{1:k}, [N, K]."""
    found: FloatArray = np.cumprod(weights, axis=1, dtype=np.float64).astype(np.float64, copy=False)
    return found


def _worst(weights: FloatArray) -> FloatArray:
    """Return the column of [N, K] with the smallest effective sample size."""
    sizes = [effective_sample_size(column) for column in weights.T]
    worst: FloatArray = weights[:, int(np.argmin(sizes))]
    return worst
