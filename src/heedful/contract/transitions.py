"""Plain steps of a vector environment: the same in all three of Gymnasium's autoreset modes.

For those who learn while they play and keep no records, and for what makes records of it.
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
        info: what the environment said beside it, of all its members.
    """

    rows: npt.NDArray[np.int64]
    observations: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[np.float64]
    following: npt.NDArray[Any]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    info: Mapping[str, Any]

    @property
    def over(self) -> npt.NDArray[np.bool_]:
        """Whether the episode is over in either way, bool [N]."""
        return self.terminated | self.truncated


class Transitions:
    """A vector environment that is stepped, and where each of its members stands.

    Attributes:
        observation: [n, ...], what each of them shows now.
        info: what the environment said beside that.
    """

    def __init__(self, environment: Environment, *, seed: int) -> None:
        """Reset ``environment`` with ``seed``."""
        mode = environment.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._environment, self._mode = environment, AutoresetMode(mode)
        self.observation: npt.NDArray[Any] = np.empty(0)
        self.info: Mapping[str, Any] = {}
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Reset all environments with ``seed``."""
        self._stand(*self._environment.reset(seed=seed))
        self._resetting = np.zeros(self._environment.num_envs, dtype=np.bool_)

    @property
    def moving(self) -> npt.NDArray[np.int64]:
        """Which environments the next step moves, int64 [N]: all but those that it only resets."""
        return np.flatnonzero(~self._resetting)

    def _stand(self, observation: npt.NDArray[Any], info: Mapping[str, Any]) -> None:
        self.observation, self.info = np.array(observation), info

    def step(self, actions: npt.NDArray[Any]) -> Transition:
        """Do ``actions`` [n, ...]; those of environments that only reset are ignored.

        Raises:
            ValueError: a reward is NaN or infinite; the message says in which environment.
        """
        before, rows = self.observation, self.moving
        observed, rewards, terminated, truncated, info = self._environment.step(actions)
        self._stand(observed, info)
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
            info=info,
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
            self._stand(*self._environment.reset(options={"reset_mask": over}))
