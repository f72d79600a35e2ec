"""From a score to a calibrated distribution over ratings, by isotonic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_LEVELS = 20


def isotonic(scores: Floats, targets: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the non-decreasing step function of the score that is nearest to the targets.

        g = argmin_{g non-decreasing}  sum_i w_i (g(s_i) - y_i)^2

    Pool adjacent violators (Ayer et al. 1955). Rows of one score are one row, so a tie has one
    answer. Every block's value is the mean of its targets: what it says is calibrated there.

    Args:
        scores: [n], n >= 1.
        targets: [n].
        weights: [n], above 0.

    Returns:
        The distinct scores in ascending order, [q], and the function's value at each, [q].

    >>> isotonic(np.array([1.0, 2, 3, 4]), np.array([0.0, 1, 0, 1]), np.ones(4))[1].tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    distinct, place = np.unique(scores, return_inverse=True)
    mass = np.bincount(place, weights=weights)
    mean = np.bincount(place, weights=weights * targets) / mass
    values: list[float] = []
    masses: list[float] = []
    counts: list[int] = []
    for value, weight in zip(mean.tolist(), mass.tolist(), strict=True):
        values.append(value)
        masses.append(weight)
        counts.append(1)
        while len(values) > 1 and values[-2] >= values[-1]:
            total = masses[-2] + masses[-1]
            values[-2] = (values[-2] * masses[-2] + values[-1] * masses[-1]) / total
            masses[-2], counts[-2] = total, counts[-2] + counts[-1]
            del values[-1], masses[-1], counts[-1]
    return distinct, np.repeat(values, counts)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """How ratings are distributed, given a score: P(rating > level | score), rising in the score.

    Isotonic distributional regression (Henzi, Ziegel and Gneiting, JRSS B 2021): one isotonic
    regression for each level, of whether the rating lies above it. They never cross, as a lower
    level's targets are nowhere smaller. From it follow a mean, which is what a reward has to be,
    and a median, which is what comes nearest to a single rating.

    Attributes:
        levels: float64 [L], the ratings there are, ascending.
        scores: float64 [q], ascending.
        above: float64 [L - 1, q], P(rating > levels[l]) at each of the scores.
    """

    levels: Floats
    scores: Floats
    above: Floats

    @classmethod
    def fit(cls, scores: Floats, ratings: Floats, weights: Floats) -> Self:
        """Fit it to held-out scores; those of the rows a model was trained on are too good.

        Where there are more than 20 different ratings, as many quantiles stand for them.

        Args:
            scores: [n], n >= 1.
            ratings: [n].
            weights: [n], above 0.
        """
        levels = np.unique(ratings)
        if len(levels) > MOST_LEVELS:
            shares = np.linspace(0.0, 1.0, MOST_LEVELS)
            levels = np.unique(np.quantile(ratings, shares, method="nearest"))
        nearest = levels[np.abs(ratings[:, None] - levels).argmin(1)]
        fitted = [isotonic(scores, (nearest > level) * 1.0, weights) for level in levels[:-1]]
        distinct = np.unique(scores)
        above = np.array([values for _, values in fitted]).reshape(len(levels) - 1, len(distinct))
        return cls(levels, distinct, above)

    def distribution(self, scores: Floats) -> Floats:
        """Return P(rating > level) for scores [n], [L - 1, n]; between known scores a line."""
        found = [np.interp(scores, self.scores, row) for row in self.above]
        return np.array(found).reshape(len(self.levels) - 1, len(scores))

    def mean(self, scores: Floats) -> Floats:
        """Return the expected rating, [n]."""
        gaps = np.diff(self.levels)
        expected: Floats = self.levels[0] + gaps @ self.distribution(scores)
        return expected

    def median(self, scores: Floats) -> Floats:
        """Return the lowest level that the rating exceeds with at most probability 1/2, [n]."""
        middle: Floats = self.levels[(self.distribution(scores) > 0.5).sum(0)]
        return middle
