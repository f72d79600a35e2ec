"""Games without luck: a track in any autoreset mode, locks with two factors, and broken ones."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from heedful.domains.games import Game, Moves, Observations

LOCKS, TRACK = "tests/Locks-v0", "tests/Track-v0"


class Track(VectorEnv[Any, Any, Any]):
    """From 0 left (0), right (1) or stay (2); ends at 3, cut off after 4 + i moves.

    Left is illegal at the wall, where ``masked``. A move earns where it led, and 10 at the end.
    """

    single_observation_space = spaces.Box(0.0, 4.0, (2,), np.float32)
    single_action_space = spaces.Discrete(3)

    def __init__(self, n: int, mode: AutoresetMode, *, masked: bool = False) -> None:
        self.num_envs, self.mode, self.masked = n, mode, masked
        self.metadata = {"autoreset_mode": mode}
        self.observation_space = batch_space(self.single_observation_space, n)
        self.action_space = batch_space(self.single_action_space, n)
        self.at, self.t = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.over = np.zeros(n, bool)
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        if options is None:
            self.seeds.append(seed)
        self.at[mask], self.t[mask], self.over[mask] = 0, 0, False
        return self._observe(), self._info()

    def step(self, actions: Any) -> Any:
        fresh = self.over & (self.mode is AutoresetMode.NEXT_STEP)
        assert fresh.any() or not self.over.any(), "a step after the end"
        self.at = np.where(fresh, 0, np.maximum(0, self.at + np.array([-1, 1, 0])[actions]))
        self.t = np.where(fresh, 0, self.t + 1)
        terminated = ~fresh & (self.at == 3)
        truncated = ~fresh & ~terminated & (self.t >= 4 + np.arange(self.num_envs))
        rewards = np.where(fresh, 0.0, self.at + 10.0 * terminated)
        self.over = terminated | truncated
        final: dict[str, Any] = {}
        if self.mode is AutoresetMode.SAME_STEP and self.over.any():
            last = np.full(self.num_envs, None, object)
            for i in np.flatnonzero(self.over):
                last[i] = self._observe()[i]
            final = {"final_obs": last, "_final_obs": self.over.copy()}
            self.reset(options={"reset_mask": self.over.copy()})
        return self._observe(), rewards, terminated, truncated, final | self._info()

    def _observe(self) -> Any:
        return np.stack([self.at, self.t / 12], axis=1).astype(np.float32)

    def _info(self) -> dict[str, Any]:
        if not self.masked:
            return {}
        mask = np.ones((self.num_envs, 3), np.int8)
        mask[self.at == 0, 0] = 0
        mask[self.over] = 0  # nothing is to be chosen in a game that is over
        return {"action_mask": mask, "_action_mask": np.ones(self.num_envs, bool)}


SAME_STEP = AutoresetMode.SAME_STEP


def track(n: int = 2, mode: AutoresetMode = SAME_STEP, *, masked: bool = False) -> Game:
    inner = Track(n, mode, masked=masked)
    seen = Observations(inner.single_observation_space)
    return Game(inner, TRACK, seen, Moves(inner.single_action_space))


class OneTrack(gymnasium.Env[Any, Any]):
    """The track of one, for the registry."""

    def __init__(self, masked: bool = False) -> None:
        self.row = Track(1, AutoresetMode.DISABLED, masked=masked)
        self.observation_space = self.row.single_observation_space
        self.action_space = self.row.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        observed, info = self.row.reset(seed=seed)
        return observed[0], _first(info)

    def step(self, action: Any) -> Any:
        observed, rewards, terminated, truncated, info = self.row.step(np.array([action]))
        ended = bool(terminated[0]), bool(truncated[0])
        return observed[0], float(rewards[0]), *ended, _first(info)


class Locks(gymnasium.Env[Any, Any]):
    """A dial of 3 and a switch of 2 at once, for three moves; the last dial is not possible."""

    observation_space = spaces.Dict(
        {"dial": spaces.Discrete(3, start=5), "lights": spaces.MultiBinary(2)}
    )
    action_space = spaces.MultiDiscrete([3, 2], start=[1, 0])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.dial, self.switch, self.t = 0, 0, 0
        return self._seen()

    def step(self, action: Any) -> Any:
        assert action in self.action_space
        reward = float(action[0] - 1 == self.dial) + float(action[1] == self.switch)
        self.dial, self.switch, self.t = (self.dial + 1) % 3, 1 - self.switch, self.t + 1
        observed, info = self._seen()
        return observed, reward, self.t == 3, False, info

    def _seen(self) -> Any:
        lights = np.array([self.switch, 1 - self.switch], np.int8)
        info = {"action_mask": np.array([1, 1, 0, 1, 1], np.int8)}
        return {"dial": np.int64(5 + self.dial), "lights": lights}, info


class Broken(Track):
    """A track of two that breaks in its third step: ``fault`` says how."""

    def __init__(self, fault: str) -> None:
        super().__init__(2, AutoresetMode.SAME_STEP, masked=fault == "mask")
        self.fault, self.steps = fault, 0

    def step(self, actions: Any) -> Any:
        self.steps += 1
        observed, rewards, terminated, truncated, info = super().step(actions)
        if self.steps == 3:
            match self.fault:
                case "raise":
                    raise ZeroDivisionError("no track left")
                case "nan":
                    observed[1, 0] = np.nan
                case "infinite":
                    observed[1, 0] = np.inf
                case "outside":
                    observed[1, 0] = 7.0
                case "reward":
                    rewards[1] = np.nan
                case "mask":
                    info["action_mask"][1] = 0
                case "shape":
                    info["action_mask"] = np.ones((2, 5))
        return observed, rewards, terminated, truncated, info


def broken(fault: str, *, bounded: bool = True) -> Game:
    inner = Broken(fault)
    seen = Observations(inner.single_observation_space)
    return Game(inner, TRACK, seen, Moves(inner.single_action_space), bounded=bounded)


def register() -> None:
    for name, entry in ((LOCKS, "Locks"), (TRACK, "OneTrack")):
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point=f"{__name__}:{entry}")


def _first(info: dict[str, Any]) -> dict[str, Any]:
    return {name: value[0] for name, value in info.items() if not name.startswith("_")}
