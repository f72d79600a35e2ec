"""Any Gymnasium environment with a learned reward in place of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from heedful.domains.games.clips.features import Floats, StepFeatures, features_of
from heedful.domains.games.clips.trajectories import TRUE

StepReward = Callable[[Floats], Floats]
"""What steps are worth: [n, F] -> [n]. A :class:`~heedful.reward.clips.ClipReward` is one."""


class LearnedReward(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """An environment whose reward is what a model makes of observation and move.

    The environment's own is in ``info["true_reward"]``. Whether an episode ends stays the
    environment's matter: put :class:`~heedful.domains.games.clips.FixedHorizon` inside where that
    would tell the score.

    Attributes:
        reward: the model; a new version may be put in its place between two steps.

    Args:
        env: the environment.
        reward: of steps; its normalisation is its own, and does not drift with what is played.
        features: how it sees a step; by default as suits the spaces.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        reward: StepReward,
        features: StepFeatures | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self, reward=reward, features=features, _disable_deepcopy=True
        )
        gymnasium.Wrapper.__init__(self, env)
        self.reward = reward
        self._features = features or features_of(env.observation_space, env.action_space)
        self._seen: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._seen = np.array(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move; the reward is the model's.

        Raises:
            ValueError: the model gave no finite number.
        """
        worth = _finite(
            self.reward(self._features(self._seen[None], np.asarray(action)[None])), "this step"
        )
        observation, own, terminated, truncated, info = self.env.step(action)
        self._seen = np.array(observation)
        return observation, float(worth[0]), terminated, truncated, {**info, TRUE: float(own)}


class LearnedRewardVector(VectorWrapper[Any, Any, Any]):
    """The same for many environments at once, in any autoreset mode.

    A step that only resets is nobody's, and earns 0.

    Attributes:
        reward: the model; a new version may be put in its place between two steps.

    Args:
        env: n environments.
        reward: of steps.
        features: how it sees a step; by default as suits the spaces.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        reward: StepReward,
        features: StepFeatures | None = None,
    ) -> None:
        super().__init__(env)
        self.reward = reward
        spaces = env.single_observation_space, env.single_action_space
        self._features = features or features_of(*spaces)
        mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self._waits = mode is AutoresetMode.NEXT_STEP
        self._seen: Any = None
        self._resetting = np.zeros(env.num_envs, np.bool_)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start all episodes, or those of ``options["reset_mask"]``."""
        observations, info = self.env.reset(seed=seed, options=options)
        self._seen = np.array(observations)
        self._resetting[:] = False
        return observations, info

    def step(self, actions: npt.NDArray[Any]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Move everywhere; the rewards are the model's.

        Raises:
            ValueError: the model gave no finite number.
        """
        worth = _finite(self.reward(self._features(self._seen, np.asarray(actions))), "a step")
        worth = np.where(self._resetting, 0.0, worth)
        observations, own, terminated, truncated, info = self.env.step(actions)
        self._seen = np.array(observations)
        self._resetting = self._waits & (terminated | truncated)
        own = np.asarray(own, np.float64)
        told = {TRUE: own, f"_{TRUE}": np.ones(len(own), np.bool_)}
        return observations, worth, terminated, truncated, {**info, **told}


def _finite(worth: Floats, what: str) -> Floats:
    if not np.isfinite(worth).all():
        raise ValueError(f"the learned reward of {what} is {worth}: a reward must be finite")
    return worth
