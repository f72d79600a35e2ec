"""How strong players are, from a table of who did how well against whom.

Bradley and Terry (Biometrika 1952; Zermelo 1929): player i beats player j with probability

    p_ij = 1 / (1 + 10^((R_j - R_i) / 400))

in the units of A. Elo (The Rating of Chessplayers, 1978). A draw counts as half a win, which leaves
the sum over games sum_ij s_ij log p_ij, concave in R: Newton's method finds its maximum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import FloatArray

SCALE = 400.0 / math.log(10.0)
"""Elo points of one unit of log-odds."""

_STEPS, _TOLERANCE, _LONGEST = 200, 1e-9, 2.0


@dataclass(frozen=True, eq=False)
class Ratings:
    """Elo ratings, relative to one player whose rating is 0.

    Attributes:
        ratings: float64 [N].
        covariance: float64 [N, N], of the ratings; 0 in the row and column of the one who is 0. By
            what decided games would tell, so intervals are too wide where many are drawn.
        anchor: who is 0.
    """

    ratings: FloatArray
    covariance: FloatArray
    anchor: int

    @property
    def standard_errors(self) -> FloatArray:
        """Of each rating, [N]; 0 for the anchor."""
        return np.sqrt(np.diag(self.covariance))

    def expected(self, first: int, second: int) -> float:
        """Return the expected score of ``first`` against ``second``: 1 won, 1/2 drawn, 0 lost."""
        gap = (self.ratings[first] - self.ratings[second]) / SCALE
        return float(1.0 / (1.0 + math.exp(-gap)))

    def difference(self, first: int, second: int) -> tuple[float, float]:
        """Return by how much ``first`` is stronger than ``second``, and its standard error."""
        apart = np.zeros(len(self.ratings))
        apart[first] += 1.0
        apart[second] -= 1.0
        spread = math.sqrt(max(0.0, float(apart @ self.covariance @ apart)))
        return float(apart @ self.ratings), spread


def elo(scores: ArrayLike, *, anchor: int = 0, prior: float = 1.0) -> Ratings:
    """Return the ratings that make a table of results likeliest.

    Args:
        scores: [N, N], what player i scored against player j in all their games: 1 for a win, 1/2
            for a draw. ``scores[i, j] + scores[j, i]`` is the number of their games.
        anchor: whose rating is 0.
        prior: drawn games that every player is thought to have had with somebody rated 0, so that
            one who won or lost all has a rating, and one who played nobody has, too.

    Raises:
        ValueError: the table is not square, a number is negative or no number, somebody played
            against itself, there is no such anchor, or the prior is not above 0.

    >>> table = [[0.0, 10.0, 15.0], [30.0, 0.0, 20.0], [25.0, 20.0, 0.0]]
    >>> found = elo(table, prior=1e-9)
    >>> [round(rating) for rating in found.ratings.tolist()]
    [0, 152, 122]
    """
    won = _checked(scores, anchor, prior)
    games = won + won.T
    strength = np.zeros(len(won))
    # Without a prior the sum does not change when all ratings move together; with it, it does, and
    # the anchor is subtracted afterwards.
    for _ in range(_STEPS):
        expected = 1.0 / (1.0 + np.exp(strength[None, :] - strength[:, None]))
        level = 1.0 / (1.0 + np.exp(-strength))
        slope = (won - games * expected).sum(axis=1) + prior * (0.5 - level)
        bend = _information(games, expected) + np.diag(prior * level * (1.0 - level))
        step = np.linalg.solve(bend, slope)
        longest = float(np.abs(step).max())
        strength = strength + step * min(1.0, _LONGEST / max(longest, _TOLERANCE))
        if longest < _TOLERANCE:
            break
    relative = np.eye(len(won))
    relative[:, anchor] -= 1.0
    covariance = relative @ np.linalg.inv(bend) @ relative.T
    return Ratings(SCALE * (strength - strength[anchor]), SCALE**2 * covariance, anchor)


def _information(games: FloatArray, expected: FloatArray) -> FloatArray:
    """Return minus the second derivative of the log-likelihood, [N, N]: a weighted Laplacian."""
    spread = games * expected * (1.0 - expected)
    found: FloatArray = np.diag(spread.sum(axis=1)) - spread
    return found


def _checked(scores: ArrayLike, anchor: int, prior: float) -> FloatArray:
    won = np.asarray(scores, dtype=np.float64)
    if won.ndim != 2 or won.shape[0] != won.shape[1] or len(won) == 0:
        raise ValueError(f"scores: expected a square table, got {won.shape}")
    if not (np.isfinite(won).all() and (won >= 0).all()):
        raise ValueError("scores: holds a number that is negative or not finite")
    if np.diag(won).any():
        player = int(np.flatnonzero(np.diag(won))[0])
        raise ValueError(f"scores: player {player} scored against itself, which says nothing")
    if not 0 <= anchor < len(won):
        raise ValueError(f"anchor: there is no player {anchor} among {len(won)}")
    if not prior > 0:
        raise ValueError(f"prior: expected a number above 0, got {prior}")
    return won
