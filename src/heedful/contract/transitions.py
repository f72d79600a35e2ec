"""Plain steps of a vector environment: the same in all three of Gymnasium's autoreset modes.

For those who learn while they play and keep no records; what collects experience makes records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from heedful.contract import Environment


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """One step of those environments of the vector that really moved.

    Attributes:
        rows: int64 [N], which environments these are; one that only reset is not among them.
        observations: [N, ...], where they stood.
        actions: [N, ...], what they did there.
        rewards: float64 [N].
        following: [N, ...], where that led: the last observation of an episode that is over, never
            the first one of the next.
        terminated: bool [N], the episode is over, and nothing follows.
        truncated: bool [N], the episode was cut off, and would have gone on.
    """

    rows: npt.NDArray[np.int64]
    observations: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[np.float64]
    following: npt.NDArray[Any]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]

    @property
    def over(self) -> npt.NDArray[np.bool_]:
        """Whether the episode is over in either way, bool [N]."""
        return self.terminated | self.truncated


class Transitions:
    """A vector environment that is stepped, and where each of its members stands."""

    def __init__(self, environment: Environment, *, seed: int) -> None:
        """Reset ``environment`` with ``seed``."""
        mode = environment.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._environment, self._mode = environment, AutoresetMode(mode)
        observation, _ = environment.reset(seed=seed)
        self.observation = np.array(observation)
        self._resetting = np.zeros(environment.num_envs, dtype=np.bool_)

    def step(self, actions: npt.NDArray[Any]) -> Transition:
        """Do ``actions`` [n, ...]; those of environments that only reset are ignored.

        Raises:
            ValueError: a reward is NaN or infinite; the message says in which environment.
        """
        before, rows = self.observation, np.flatnonzero(~self._resetting)
        observed, rewards, terminated, truncated, info = self._environment.step(actions)
        self.observation = np.array(observed)
        broken = rows[~np.isfinite(np.asarray(rewards, np.float64)[rows])]
        if len(broken):
            raise ValueError(
                f"environment {broken[0]} gave a reward of {rewards[broken[0]]}: rewards must be "
                "finite numbers"
            )
        following = self._following(info, np.asarray(terminated | truncated))
        self._after(np.asarray(terminated | truncated) & ~self._resetting)
        return Transition(
            rows=rows,
            observations=before[rows],
            actions=actions[rows],
            rewards=np.asarray(rewards, np.float64)[rows],
            following=following[rows],
            terminated=np.asarray(terminated, np.bool_)[rows],
            truncated=np.asarray(truncated, np.bool_)[rows],
        )

    def _following(self, info: Mapping[str, Any], over: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        final = info.get("final_obs")
        if final is None:
            return self.observation
        following = self.observation.copy()
        for row in np.flatnonzero(over):
            following[row] = final[row]
        return following

    def _after(self, over: npt.NDArray[np.bool_]) -> None:
        """Bring environments whose episode is over back to a start, as their mode wants it."""
        self._resetting = over & (self._mode is AutoresetMode.NEXT_STEP)
        if self._mode is AutoresetMode.DISABLED and over.any():
            observation, _ = self._environment.reset(options={"reset_mask": over})
            self.observation = np.array(observation)
