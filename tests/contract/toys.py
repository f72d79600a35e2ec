"""Three toy domains that prove the contract: slates, replies and moves through the same core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from heedful.contract import Observed, Streams, encode
from heedful.policy import Channel, Schema, Vocabulary
from heedful.policy.tabular import Look
from heedful.record import ChoiceSet, Context
from heedful.reward import Clicks, Given, Ratings, Reward
from heedful.store.snapshot import Snapshot


class Toy:
    """What the three share: a fixed vocabulary and the core's own encoder.

    ``reward`` is what an application would write under [reward] in heedful.toml, ``most`` the most
    that a decision can earn, ``good`` what decisions of a trained policy earn on average;
    ``states`` the rows of a table of action values; ``example`` gives some context.
    """

    name: str
    channels: tuple[Channel, ...]
    features = 0
    length: int
    units: tuple[str, ...]
    reward: Reward
    most: float
    good: float
    states: int
    look: Look = "unit"

    def example(self, rng: np.random.Generator) -> Context:
        return {}

    def vocabulary(self, snapshot: Snapshot) -> Vocabulary:
        return Vocabulary(self.units)

    def schema(self, vocabulary: Vocabulary) -> Schema:
        return Schema(len(vocabulary), self.channels, self.features)

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        return np.empty(0, np.int32), np.empty((0, self.features), np.float32)

    def encode(self, snapshot: Snapshot, vocabulary: Vocabulary, **options: Any) -> Streams:
        return encode(self, snapshot, vocabulary, **options)

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        return ChoiceSet()

    def context(self, observation: npt.NDArray[Any]) -> Context:
        return {}

    def action(self, units: Sequence[str], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
        padded = np.full(self.length, -1, np.int64)
        padded[: len(units)] = vocabulary.indexes(units)
        return padded


class Slates(Toy):
    """Slates of 3 out of 6 items; clicks come one decision late."""

    name, length = "slates", 3
    channels = (Channel("click", binary=True, silence=0.0),)
    units = tuple(f"item-{i}" for i in range(6))
    reward, most, good, states = Clicks(), 2.0, 1.5, 7

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> SlatePeople:
        return SlatePeople(n)


class Replies(Toy):
    """Replies of up to 8 tokens to a prompt, with one thumb per reply."""

    name, length = "replies", 8
    channels = (Channel("rating", binary=False, low=-1.0, high=1.0),)
    units = ("a", "b", "c", "d", "<end>")
    reward, most, good, states = Ratings(low=-1.0, high=1.0), 1.0, 0.8, 6

    def example(self, rng: np.random.Generator) -> Context:
        return self.context(rng.integers(0, 4, 2))

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        prompt = context["prompt"]
        assert isinstance(prompt, list)
        return vocabulary.indexes(prompt), np.zeros((len(prompt), 0), np.float32)

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        return ChoiceSet(repeat=True, end="<end>")

    def context(self, observation: npt.NDArray[Any]) -> Context:
        return {"prompt": [self.units[int(token)] for token in observation]}

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Listeners:
        return Listeners(n, seed)


class Grid(Toy):
    """A corridor of 5 cells with observations, legal moves and rewards at once."""

    name, length = "grid", 1
    channels = (Channel("reward", binary=False),)
    features = 2
    units = ("left", "right", "stay")
    reward, most, good, states, look = Given(), 1.0, 0.2, 5, "context"

    def example(self, rng: np.random.Generator) -> Context:
        return self.context(np.array([rng.integers(0, 4), rng.random()], np.float32))

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        numbers = np.array([context["at"]], np.float32)
        return np.full(1, -1, np.int32), numbers

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        at = request["at"]
        assert isinstance(at, list)
        legal = [unit for unit in self.units if not (unit == "left" and at[0] == 0)]
        return ChoiceSet(allowed=tuple(legal))

    def context(self, observation: npt.NDArray[Any]) -> Context:
        return {"at": [float(x) for x in observation]}

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Corridor:
        return Corridor(n)


@dataclass
class _Vector:
    num_envs: int

    def __post_init__(self) -> None:
        self.metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def close(self) -> None:
        pass


class SlatePeople(_Vector):
    """Everybody likes items 0 and 1, and says so one decision later; a visit has 4 decisions."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self._t, self._before = 0, None
        return np.zeros((self.num_envs, 0), np.float32), {}

    def step(self, actions: npt.NDArray[Any]) -> Any:
        liked = actions <= 1
        feedback = [[] for _ in range(self.num_envs)]
        if self._before is not None:
            for row, slate in enumerate(self._before):
                feedback[row] = [
                    {"kind": "click", "decision_age": 1, "unit": int(k), "value": True}
                    for k in np.flatnonzero(slate)
                ]
        self._before, self._t = liked, self._t + 1
        over = np.full(self.num_envs, self._t % 4 == 0)
        rewards = liked.mean(1)
        observation, never = np.zeros((self.num_envs, 0), np.float32), np.zeros_like(over)
        return observation, rewards, over, never, {"feedback": feedback}


class Listeners(_Vector):
    """A thumb up for a reply that repeats the prompt's first token; one reply an episode."""

    def __init__(self, n: int, seed: int) -> None:
        super().__init__(n)
        self._rng = np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self._prompt = self._rng.integers(0, 4, (self.num_envs, 2))
        return self._prompt, {}

    def step(self, actions: npt.NDArray[Any]) -> Any:
        good = (actions == self._prompt[:, :1]).any(1)
        feedback = [
            [{"kind": "rating", "decision_age": 0, "unit": -1, "value": 1.0 if up else -1.0}]
            for up in good
        ]
        observation, _ = self.reset()
        over = np.ones(self.num_envs, bool)
        return observation, good.astype(float), over, ~over, {"feedback": feedback}


class Corridor(_Vector):
    """Start in cell 0; reaching cell 4 pays 1 and ends the game; cut off after 12 moves."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self._at = np.zeros(self.num_envs, np.int64)
        self._t = np.zeros(self.num_envs, np.int64)
        return self._observe(), {}

    def step(self, actions: npt.NDArray[Any]) -> Any:
        move = np.array([-1, 1, 0])[actions[:, 0]]
        assert not ((self._at == 0) & (move < 0)).any(), "an illegal move got through"
        self._at, self._t = self._at + move, self._t + 1
        terminated = self._at == 4
        truncated = ~terminated & (self._t >= 12)
        info = {"final_obs": self._observe(), "_final_obs": terminated | truncated}
        self._at[terminated | truncated] = 0
        self._t[terminated | truncated] = 0
        return self._observe(), terminated.astype(float), terminated, truncated, info

    def _observe(self) -> npt.NDArray[np.float32]:
        return np.stack([self._at, self._t / 12], axis=1).astype(np.float32)


TOYS = (Slates(), Replies(), Grid())
