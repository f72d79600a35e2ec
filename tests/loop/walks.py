"""A walk whose observations are numbers, in any autoreset mode."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, VectorEnv


class NumberedWalk(VectorEnv[Any, Any, Any]):
    """From ``start`` left (0) or right (1); ends three to the right, cut off after 4 + i moves.

    States and actions may be numbered from elsewhere than 0. The left end is a wall.
    """

    def __init__(self, n: int, mode: AutoresetMode, *, first: int = 0) -> None:
        self.num_envs, self.mode, self.first = n, mode, first
        self.metadata = {"autoreset_mode": mode}
        self.single_observation_space = Discrete(4, start=first)
        self.single_action_space = Discrete(2, start=first)
        self.at, self.t = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.over = np.zeros(n, bool)
        self.goal_reward, self.offset = 1.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        self.at[mask], self.t[mask], self.over[mask] = 0, 0, False
        return self._observe(), {}

    def step(self, actions: Any) -> Any:
        fresh = self.over & (self.mode is AutoresetMode.NEXT_STEP)
        assert fresh.any() or not self.over.any(), "a step after the end"
        moved = np.maximum(0, self.at + np.array([-1, 1])[actions - self.first])
        self.at, self.t = np.where(fresh, 0, moved), np.where(fresh, 0, self.t + 1)
        terminated = ~fresh & (self.at == 3)
        truncated = ~fresh & ~terminated & (self.t >= 4 + np.arange(self.num_envs))
        self.over = terminated | truncated
        info: dict[str, Any] = {}
        if self.mode is AutoresetMode.SAME_STEP and self.over.any():
            final = np.full(self.num_envs, None, object)
            for i in np.flatnonzero(self.over):
                final[i] = self._observe()[i]
            info = {"final_obs": final, "_final_obs": self.over.copy()}
            self.reset(options={"reset_mask": self.over.copy()})
        return (
            self._observe(),
            np.where(terminated, self.goal_reward, 0.0),
            terminated,
            truncated,
            info,
        )

    def _observe(self) -> Any:
        return self.at + self.first + self.offset
