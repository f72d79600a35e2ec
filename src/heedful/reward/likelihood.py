"""Linear scores of what is said in words: better, worse, as good; good or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from heedful.reward.ngrams import Floats, Rows
from heedful.reward.ridge import CONSTANT_PENALTY, ridge

MOST_STEPS = 30
ENOUGH = 1e-6
"""Newton's steps end where one gains less than this share of the objective."""

_FLATTEST = 1e-6
_HALVINGS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """How likely n answers "first", "second" or "as good" are, given the difference of two scores.

        p(first)  = e^{ d/2} / (e^{d/2} + e^{-d/2} + nu),     d = s_first - s_second - o
        p(second) = e^{-d/2} / (e^{d/2} + e^{-d/2} + nu)
        p(tie)    = nu       / (e^{d/2} + e^{-d/2} + nu)

    Davidson, On Extending the Bradley-Terry Model to Accommodate Ties, JASA 1970. With nu = 0 it is
    Bradley and Terry's model (1952), in which a tie counts as half an answer either way; with a
    second score of 0 that is logistic regression. The offset ``o`` is a margin by which the better
    one has to lead (Touvron et al., Llama 2, arXiv 2307.09288, equation 2), or what other classes
    score.

    Attributes:
        outcomes: float64 [n], 1 first, 0 second, 1/2 as good.
        offsets: float64 [n], o.
        tie: nu >= 0.
    """

    outcomes: Floats
    offsets: Floats
    tie: float = 0.0

    def chances(self, scores: Floats) -> tuple[Floats, Floats, Floats]:
        """Return p(first), p(tie), p(second) for differences of scores [n], [n] each."""
        return chances(scores - self.offsets, self.tie)

    def losses(self, scores: Floats) -> Floats:
        """Return - log p(outcome) for differences of scores [n], [n]."""
        d = scores - self.offsets
        tied = np.log(self.tie) * (self.outcomes == 0.5) if self.tie else 0.0
        lost: Floats = _log_normaliser(d, self.tie) - (self.outcomes - 0.5) * d - tied
        return lost

    def slopes(self, scores: Floats) -> tuple[Floats, Floats]:
        """Return the first and the second derivative of the losses in the scores, [n] each."""
        first, _, second = self.chances(scores)
        lead = first - second
        return 0.5 * lead - (self.outcomes - 0.5), 0.25 * (first + second - lead**2)

    def with_tie(self, scores: Floats, weights: Floats) -> Self:
        """Return this with the nu that makes the ties most likely where scores are ``scores``.

        There is one nu: the likelihood is concave in its logarithm, and at its maximum as many ties
        are expected as came.
        """
        ties = float(weights[self.outcomes == 0.5].sum())
        if not ties or ties == weights.sum():
            return replace(self, tie=0.0 if not ties else self.tie)
        found = self
        if not self.tie:
            share = ties / float(weights.sum())
            found = replace(self, tie=2.0 * share / (1.0 - share))
        for _ in range(MOST_STEPS):
            expected = found.chances(scores)[1]
            gap = ties - float(weights @ expected)
            step = gap / float(weights @ (expected * (1.0 - expected)))
            found = replace(found, tie=float(found.tie * np.exp(np.clip(step, -1.0, 1.0))))
            if abs(step) < ENOUGH:
                break
        return found


def chances(d: Floats, tie: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Return p(first), p(tie), p(second) for leads ``d`` [n]; see :class:`Compared`.

    >>> [p.round(3).tolist() for p in chances(np.array([0.0, np.log(3.0)]))]
    [[0.5, 0.75], [0.0, 0.0], [0.5, 0.25]]
    """
    total = _log_normaliser(d, tie)
    first, second = np.exp(d / 2 - total), np.exp(-d / 2 - total)
    return first, tie * np.exp(-total), second


def most_likely(
    rows: Rows,
    likelihood: Compared,
    weights: Floats,
    penalty: float,
    start: Floats | None = None,
    tolerance: float = 1e-3,
    *,
    most_steps: int = MOST_STEPS,
) -> tuple[Floats, Compared]:
    """Return the coefficients [D] of the most likely linear score under a squared penalty.

        b = argmin_b  - sum_i w_i log p(outcome_i | x_i b) + penalty / 2 * |b|^2

    Newton's method; each step is a weighted ridge regression (Green, Iteratively Reweighted Least
    Squares, JRSS B 1984), halved until it gains. Where the likelihood knows ties, nu is fitted
    between the steps: both are parts of one concave problem.

    Args:
        rows: [n, D], the last column being the constant; differences for comparisons.
        likelihood: of the n outcomes.
        weights: w, [n], not negative.
        penalty: above 0; the constant is hardly penalised.
        start: coefficients to begin with; 0 by default.
        tolerance: of each ridge regression.
        most_steps: of Newton's; fewer where this is a step of something larger.
    """
    shrink = np.full(rows.width, penalty / 2)
    shrink[-1] = CONSTANT_PENALTY / 2

    def objective(b: Floats, scores: Floats, of: Compared) -> float:
        return float(np.dot(weights, of.losses(scores)) + np.dot(shrink, b**2))

    b = np.zeros(rows.width) if start is None else start.copy()
    scores, value = rows.times(b), np.inf
    for _ in range(most_steps):
        if likelihood.tie:
            likelihood = likelihood.with_tie(scores, weights)
        slope, bend = likelihood.slopes(scores)
        bend = np.maximum(bend, _FLATTEST)
        before = objective(b, scores, likelihood)
        aim = ridge(rows, scores - slope / bend, weights * bend, penalty, b, tolerance)
        for _ in range(_HALVINGS):
            ahead = rows.times(aim)
            value = objective(aim, ahead, likelihood)
            if value <= before:
                break
            aim = (aim + b) / 2
        else:
            break
        b, scores = aim, ahead
        if before - value <= ENOUGH * abs(before):
            break
    return b, likelihood


def _log_normaliser(d: Floats, tie: float) -> Floats:
    """Return log(e^{d/2} + e^{-d/2} + nu), [n], for any d."""
    total: Floats = np.logaddexp(d / 2, -d / 2)
    return total if not tie else np.logaddexp(total, np.log(tie))
