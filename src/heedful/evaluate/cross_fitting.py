"""A reward model for the doubly robust estimators, of which no row saw itself or its subject.

An estimate that weighs residuals ``r - q(x, a)`` is unbiased only if q does not depend on the row
it is subtracted from. So the subjects are dealt into K folds, a model is fitted K times without one
fold, and each row gets the q of the model that left its subject out (cross-fitting, Chernozhukov et
al. 2018, section 3). The features are plain: the action, and a few numbers known at the time.

    q(x, a) = c + v_a + x u        or the logistic function of that

v and u are penalised towards 0, so an action nobody tried is worth what actions are worth on
average. Effects of x that differ between actions are left to the weighted residuals.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.evaluate.checked import FloatArray, refuse, unit_interval, vector
from heedful.evaluate.estimators import expected_under
from heedful.reward.ngrams import Rows
from heedful.reward.ridge import ridge

IntArray = NDArray[np.int64]

FOLDS = 5
PENALTY = 10.0
"""As if ten rows of no particular worth stood behind every action."""

_MOST_STEPS = 25
_STILL = 1e-6
_LEAST_VARIANCE = 1e-6  # of an outcome that the logistic model takes as all but certain


class TooFewSubjectsError(ValueError):
    """All rows belong to one fold, so that no model can leave them out."""


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """K reward models and which rows each of them has not seen.

    Attributes:
        folds: int64 [N], the fold of each row; its q comes from the model that left it out.
        fitted_on: int64 [K], the rows that each model was fitted on.
        constants: float64 [K], c.
        of_action: float64 [K, A], v.
        of_context: float64 [K, D], u.
        context: float64 [N, D], x, standardised.
        logistic: the logistic function comes after the sum.
    """

    folds: IntArray
    fitted_on: IntArray
    constants: FloatArray
    of_action: FloatArray
    of_context: FloatArray
    context: FloatArray
    logistic: bool

    def logged(self, actions: ArrayLike) -> FloatArray:
        """Return q(x_i, a_i), float64 [N], of one action per row."""
        chosen = np.asarray(actions, dtype=np.int64)
        return self._linked(self.beside_action() + self.of_action[self.folds, chosen])

    def policy(self, probabilities: ArrayLike) -> FloatArray:
        """Return q(x_i, pi) = sum_a pi(a|x_i) q(x_i, a), float64 [N], from pi [N, A].

        Raises:
            ValueError: the shape does not fit, or probabilities do not sum to 1.
        """
        p = np.asarray(probabilities, dtype=np.float64)
        if p.shape != (len(self.folds), self.of_action.shape[1]):
            expected = (len(self.folds), self.of_action.shape[1])
            raise ValueError(f"probabilities: expected shape {expected}, got {p.shape}")
        beside, found = self.beside_action(), np.empty(len(p))
        for fold in range(len(self.constants)):
            rows = np.flatnonzero(self.folds == fold)
            table = self._linked(beside[rows, None] + self.of_action[fold])
            found[rows] = expected_under(p[rows], table)
        return found

    def beside_action(self) -> FloatArray:
        """Return c + x u, float64 [N]: all of q, before its link, but the action's own part."""
        of_context = np.einsum("nd,nd->n", self.context, self.of_context[self.folds])
        beside: FloatArray = self.constants[self.folds] + of_context
        return beside

    def _linked(self, scores: FloatArray) -> FloatArray:
        return _logistic(scores) if self.logistic else scores


def cross_fit(
    actions: ArrayLike,
    rewards: ArrayLike,
    subjects: ArrayLike,
    n_actions: int,
    *,
    context: ArrayLike | None = None,
    model: Literal["ridge", "logistic"] = "ridge",
    folds: int = FOLDS,
    penalty: float = PENALTY,
) -> CrossFitted:
    """Fit K models of the reward, each without one fold of subjects.

    Args:
        actions: int [N], from 0 to ``n_actions`` - 1.
        rewards: [N], finite; within [0, 1] for the logistic model.
        subjects: [N], whose row it is; all rows of one are left out together. Where nobody is known
            by name, a number per row.
        n_actions: A.
        context: [N, D], numbers known before the action was chosen.
        model: ``"ridge"`` (squared loss) or ``"logistic"`` (log-loss, by Newton's method).
        folds: K, at least 2.
        penalty: of v and u, above 0.

    Raises:
        ValueError: numbers out of range, or lengths that differ.
        TooFewSubjectsError: all subjects fall into one fold, so that nobody else is there to learn
            from.
    """
    r = vector("rewards", rewards)
    refuse("rewards", np.isinf(r), "is infinite", r)
    if model == "logistic":
        r = unit_interval("rewards", r)
    chosen = np.asarray(actions, dtype=np.int64)
    who = np.asarray(subjects)
    if chosen.shape != r.shape or who.shape != r.shape:
        raise ValueError(f"actions {chosen.shape}, subjects {who.shape}: expected {r.shape}")
    beyond = (chosen < 0) | (chosen >= n_actions)
    refuse("actions", beyond, f"is no action from 0 to {n_actions - 1}", chosen.astype(np.float64))
    if folds < 2 or not penalty > 0:
        raise ValueError(f"folds {folds}, penalty {penalty}: expected at least 2, and above 0")
    x = _standardised(context, len(r))
    fold = _fold_of(who, folds)
    features = _features(chosen, x, n_actions)
    fitted = np.zeros((folds, features.width))
    seen_by = np.array([np.count_nonzero(fold != number) for number in range(folds)])
    for number in np.unique(fold).tolist():
        seen = np.flatnonzero(fold != number)
        if not len(seen):
            raise TooFewSubjectsError(
                f"subjects: all {len(r)} rows fall into one of {folds} folds, so no model can "
                "leave them out; collect more subjects"
            )
        fit = _logistic_ridge if model == "logistic" else _plain_ridge
        fitted[number] = fit(features.take(seen), r[seen], penalty)
    return CrossFitted(
        folds=fold,
        fitted_on=seen_by,
        constants=fitted[:, -1],
        of_action=fitted[:, :n_actions],
        of_context=fitted[:, n_actions:-1],
        context=x,
        logistic=model == "logistic",
    )


def _plain_ridge(rows: Rows, rewards: FloatArray, penalty: float) -> FloatArray:
    """Fit residuals from the mean: solved so, the constant is right however little is solved."""
    mean = float(rewards.mean())
    found = ridge(rows, rewards - mean, np.ones(len(rewards)), penalty)
    found[-1] += mean
    return found


def _logistic_ridge(rows: Rows, rewards: FloatArray, penalty: float) -> FloatArray:
    """Newton's method: each step is a ridge regression on the working response.

    McCullagh and Nelder 1989, section 2.5: weights p (1 - p), response x b + (r - p) / (p (1 - p)).
    """
    mean = float(np.clip(rewards.mean(), _LEAST_VARIANCE, 1 - _LEAST_VARIANCE))
    found = np.zeros(rows.width)
    found[-1] = np.log(mean / (1 - mean))
    for _ in range(_MOST_STEPS):
        score = rows.times(found)
        p = _logistic(score)
        weight = np.maximum(p * (1 - p), _LEAST_VARIANCE)
        step = ridge(rows, score + (rewards - p) / weight, weight, penalty, start=found)
        moved, found = float(np.abs(step - found).max()), step
        if moved < _STILL:
            break
    return found


def _logistic(scores: FloatArray) -> FloatArray:
    """1 / (1 + exp(-s)), without overflow."""
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1 / (1 + small), small / (1 + small))


def _features(actions: IntArray, context: FloatArray, n_actions: int) -> Rows:
    """Return rows [N, A + D + 1]: which action, the context, and the constant."""
    n, d = context.shape
    places = np.empty((n, d + 2), np.int64)
    places[:, 0], places[:, 1:] = actions, n_actions + np.arange(d + 1)
    values = np.ones((n, d + 2))
    values[:, 1:-1] = context
    offsets = np.arange(n + 1, dtype=np.int64) * (d + 2)
    return Rows(n_actions + d + 1, offsets, places.ravel(), values.ravel())


def _standardised(context: ArrayLike | None, length: int) -> FloatArray:
    """Return x with mean 0 and variance 1 by column: one penalty then fits all."""
    if context is None:
        return np.zeros((length, 0))
    table = np.asarray(context, dtype=np.float64)
    if table.ndim != 2 or len(table) != length:
        raise ValueError(f"context: expected shape ({length}, D), got {table.shape}")
    bad = np.atleast_1d(~np.isfinite(table).all(axis=1))
    refuse("context", bad, "holds NaN or infinity")
    spread = table.std(axis=0)
    made: FloatArray = (table - table.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return made


def _fold_of(subjects: NDArray[np.generic], folds: int) -> IntArray:
    """Return the fold of each row: the same for a subject on every machine, in any log."""
    names, code = np.unique(subjects, return_inverse=True)
    of_name = [zlib.crc32(str(name).encode()) % folds for name in names.tolist()]
    found: IntArray = np.array(of_name, np.int64)[code]
    return found
