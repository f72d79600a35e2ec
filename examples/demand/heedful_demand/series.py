"""Days of demand, in many shops side by side: a Gymnasium vector environment by its methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST = 11  # that can be ordered
DAYS = 28  # an episode, then the shop closes for a holiday: it is cut off
LAGS = 7  # days of sales that are observed
PRICE, COST = 1.0, 0.4  # of a loaf, sold and bought
SEASON = np.array([0.7, 0.7, 0.8, 0.9, 1.2, 1.6, 1.1])  # Monday to Sunday
MEAN, KEPT, SWING = 4.0, 0.9, 0.2  # of the level: where it returns to, how slowly, how it moves


def profit(ordered: Ints, wanted: Ints) -> Floats:
    """Return what a day earned, [n], from 0 (the most bread thrown away) to 1 (the most sold).

    >>> profit(np.array([0, 11, 11]), np.array([5, 0, 11])).round(2).tolist()
    [0.4, 0.0, 1.0]
    """
    earned = PRICE * np.minimum(ordered, wanted) - COST * ordered
    worst, best = -COST * MOST, (PRICE - COST) * MOST
    scaled: Floats = (earned - worst) / (best - worst)
    return scaled


class Bakeries:
    """n shops. Observed: the weekday of tomorrow, and what was sold on the last days, [n, 1 + 7].

    A shop never learns what more it could have sold: only sales are seen, not demand.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.num_envs = n
        self.metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self._rng = np.random.default_rng(seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Ints, dict[str, Any]]:
        """Open all shops on days of their own, after a week in which nothing ran out."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        n = self.num_envs
        self._day = self._rng.integers(7, size=n)
        self._level = self._rng.normal(0.0, SWING / np.sqrt(1 - KEPT**2), n)
        self._age = np.zeros(n, np.int64)
        self._sold = np.stack([self.wanted() for _ in range(LAGS)], axis=1)
        return self._seen(), {}

    def step(
        self, actions: Ints
    ) -> tuple[Ints, Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Sell what was ordered, actions [n, 1], as far as it is wanted."""
        ordered, wanted = actions[:, 0], self.wanted()
        earned = profit(ordered, wanted)
        self._sold = np.concatenate([self._sold[:, 1:], np.minimum(ordered, wanted)[:, None]], 1)
        self._age += 1
        info: dict[str, Any] = {}
        cut = self._age >= DAYS
        if cut.any():
            info["final_obs"] = self._seen()
            self._age[cut] = 0  # after the holiday the series goes on
        return self._seen(), earned, np.zeros(self.num_envs, np.bool_), cut, info

    def close(self) -> None:
        """Hold nothing."""

    def expected(self) -> Floats:
        """Return tomorrow's expected demand, [n], which nobody who orders knows."""
        return MEAN * SEASON[self._day] * np.exp(self._level)

    def wanted(self) -> Ints:
        """Let a day pass; return what was wanted on it, [n]."""
        wanted = np.minimum(self._rng.poisson(self.expected()), MOST)
        self._level = KEPT * self._level + self._rng.normal(0.0, SWING, self.num_envs)
        self._day = (self._day + 1) % 7
        return wanted

    def _seen(self) -> Ints:
        return np.concatenate([self._day[:, None], self._sold], axis=1)
